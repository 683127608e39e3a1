"""The code location on one screen. The only module that reads the environment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

import dagster as dg

# Single-run backfills are beta in name; they are what makes a range one run.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from cdr_assets.pipeline import jobs, sensors  # noqa: E402
from cdr_assets.pipeline.assets import daily_assets, on_demand_assets, set_up  # noqa: E402
from cdr_assets.pipeline.live_run import LiveRun  # noqa: E402
from cdr_assets.pipeline.overdue import Overdue  # noqa: E402
from cdr_assets.pipeline.resources import Clock, EnableXResource, LandingResource, WarehouseResource  # noqa: E402
from cdr_assets.pipeline.run_lock import run_locks  # noqa: E402
from cdr_assets.pipeline.scheduling import Timing  # noqa: E402
from cdr_assets.pipeline.status import StatusFile  # noqa: E402
from cdr_assets.settings import Settings  # noqa: E402


def code_location(environ: Mapping[str, str]) -> dg.Definitions:
    """Every asset, check, job, schedule, sensor and resource, set up as the environment variables say."""
    settings = Settings.read(environ)
    # Up to the day that is open.
    days = dg.DailyPartitionsDefinition(str(settings.start_date), timezone="UTC", end_offset=1)
    timing = Timing(settings.fetch_delay, settings.lookback_days, settings.refetch_interval, settings.open_day_interval)
    overdue = Overdue(settings.start_date, timing, settings.overdue_after)
    status = StatusFile(settings.places, settings.export_dir, settings.enablex, settings.ui_url, settings.start_date)
    runs = sensors.RunsSeen(run_locks(settings.places), settings.days_a_run)
    resources = {
        "clock": Clock(),
        "enablex": EnableXResource(
            app_id=settings.app_id,
            app_key=settings.app_key,
            base_url=settings.base_url,
            data_dir=str(settings.places.data_dir),
            lake=settings.lake,
            requests_per_minute=settings.requests_per_minute,
        ),
        "landing": LandingResource(
            data_dir=str(settings.places.data_dir), lake=settings.lake, landing=settings.places.landing
        ),
        "live_run": LiveRun(
            data_dir=str(settings.places.data_dir),
            lake=settings.lake,
            enablex=settings.enablex,
            dashboard_url=settings.dashboard_url,
        ),
        "warehouse": WarehouseResource(
            database=settings.lake or settings.places.warehouse,
            data_dir=str(settings.places.data_dir),
            landing=settings.places.landing,
            export_dir=settings.export_dir,
            rooms_file=str(settings.rooms_file or ""),
            people_in_clear=settings.people_in_clear,
            timing=timing.as_numbers(),
        ),
    }
    rebuild = jobs.rebuild(days, settings.days_a_run, resources)
    upkeep = [jobs.lake_upkeep()] if settings.places.is_lake else []
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        daily_assets(days, overdue, settings.fetch_concurrency, settings.agreement_sample, settings.days_a_run),
        *on_demand_assets(days),
    ]
    return dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: set_up(spec, settings), assets),
        jobs=[
            jobs.daily_cdr,
            jobs.weekly_checks,
            rebuild,
            jobs.fetch_room(days),
            jobs.fetch_conference(days),
            jobs.acknowledge(),
            *upkeep,
        ],
        schedules=[jobs.every_week, *map(jobs.every_night, upkeep)],
        sensors=[
            sensors.closed_days(days, timing, overdue, status, runs, settings.tick_s),
            sensors.settling_days(days, timing, runs, settings.tick_s),
            sensors.open_day(days, timing, runs, settings.tick_s),
            sensors.landed_days(rebuild, days, timing, runs, settings),
            sensors.failed_runs(settings),
            sensors.old_runs(settings.keep_runs_days),
        ],
        resources=resources,
        # Days go one after the other, and a step in its own process would pay for the imports again.
        executor=dg.in_process_executor,
    )


defs = code_location(os.environ)
