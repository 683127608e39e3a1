"""The code location on one screen. The only module that reads the environment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

# Single-run backfills are beta in name; they are what makes a range one run.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from cdr_assets import jobs  # noqa: E402
from cdr_assets.assets import daily_assets  # noqa: E402
from cdr_assets.partitions import utc_days  # noqa: E402
from cdr_assets.resources import EnableXResource, LandingResource, WarehouseResource  # noqa: E402


def code_location(environ: Mapping[str, str]) -> dg.Definitions:
    """Every asset, check, job and resource, set up as the environment variables say."""

    def setting(name: str, default: str) -> str:
        return environ.get(name) or default

    def secret(name: str) -> str:
        # Dagster shows the name of the variable where it would show the value of a setting.
        return dg.EnvVar(name) if environ.get(name) else ""

    data_dir = Path(setting("CDR_DATA_DIR", "data")).resolve()
    return dg.Definitions(
        assets=[daily_assets(utc_days(setting("CDR_START_DATE", "2025-01-01")))],
        jobs=[jobs.daily_cdr],
        resources={
            "enablex": EnableXResource(
                app_id=secret("ENABLEX_APP_ID"),
                app_key=secret("ENABLEX_APP_KEY"),
                base_url=setting("ENABLEX_BASE_URL", "https://api.enablex.io/video/v2"),
            ),
            "landing": LandingResource(data_dir=str(data_dir)),
            "warehouse": WarehouseResource(database=str(data_dir / "cdr.duckdb")),
        },
        # Days go one after the other, and a step in its own process would pay for the imports again.
        executor=dg.in_process_executor,
    )


defs = code_location(os.environ)
