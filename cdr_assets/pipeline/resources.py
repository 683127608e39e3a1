"""Dagster's view of the client, the landing zone and the warehouse, and of what can go wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import BadCredentials, BadSetting, EnableXError, Forbidden
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse


class Clock(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The time, as the sensors see it."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(timezone.utc)


class EnableXResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The EnableX account whose CDRs are kept."""

    app_id: str = Field(description="Project's app id; set ENABLEX_APP_ID.")
    app_key: str = Field(description="Project's app key, a secret; set ENABLEX_APP_KEY.")
    base_url: str = Field(description="API root; https, or http on loopback.")

    @contextmanager
    def client(self) -> Iterator[EnableX]:
        """A client with its own connections, closed at the end."""
        client = EnableX(self.app_id, self.app_key, self.base_url)
        try:
            yield client
        finally:
            client.close()


class LandingResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The landing zone: records as they came, one folder a UTC day."""

    data_dir: str = Field(description="Folder of everything on disk.")

    @property
    def zone(self) -> LandingZone:
        return LandingZone(Path(self.data_dir))


class WarehouseResource(DuckDBResource):
    """The DuckDB warehouse. It waits while other processes write, and always closes what it opened."""

    export_dir: str = Field(default="", description="Folder of the Parquet copies; next to the database if empty.")

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse with its exports and its build log."""
        return Warehouse(Path(self.database), Path(self.export_dir) if self.export_dir else None)

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.warehouse.connect() as connection:
            yield connection


@contextmanager
def account_client(enablex: EnableXResource, zone: LandingZone) -> Iterator[EnableX]:
    """A client for fetching into the landing zone, which belongs to the account that first fetched into it."""
    if enablex.app_id:
        zone.claim(enablex.app_id)
    with enablex.client() as client:
        yield client


# Tags of a failed run, by which the sensors learn what to try again and when.
FAILED_DAY_TAG = "cdr_assets/failed_day"
REFUSAL_TAG = "cdr_assets/refusal"

# What no other day would fare better with: it is about the account, not about what was asked for.
ACCOUNT_ERRORS = (BadCredentials, Forbidden, BadSetting)


def failure(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    error: Exception,
    day: date | None = None,
    outlook: str = "",
) -> dg.Failure:
    """The step's failure for `error`, with what to know besides. A permanent one stops every retry of the run."""
    tags = {FAILED_DAY_TAG: day.isoformat()} if day else {}
    permanent = isinstance(error, EnableXError) and error.permanent
    if permanent:
        # Without this tag, run retries go on after a failure that allows none.
        tags["dagster/max_retries"] = "0"
    if isinstance(error, ACCOUNT_ERRORS):
        tags[REFUSAL_TAG] = type(error).__name__
    context.instance.add_run_tags(context.run.run_id, tags)
    return dg.Failure(f"{type(error).__name__}: {error}\n{outlook}".rstrip(), allow_retries=not permanent)
