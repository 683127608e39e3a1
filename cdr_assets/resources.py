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

from cdr_assets import credentials
from cdr_assets.built import Built
from cdr_assets.client import BadCredentials, BadSetting, EnableX, EnableXError, Forbidden
from cdr_assets.landing import LandingZone
from cdr_assets.live_run import ACCOUNT_ERROR_TAG, FAILED_DAY_TAG, REFUSED_CREDENTIALS_TAG
from cdr_assets.warehouse import Warehouse


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

    @property
    def credentials(self) -> str:
        """A fingerprint of the credentials, fit for a tag."""
        return credentials.fingerprint(self.app_id, self.app_key, self.base_url)

    def has_credentials(self, known: str) -> bool:
        """Whether `known` is a fingerprint of the credentials."""
        return credentials.matches(known, self.app_id, self.app_key, self.base_url)

    @contextmanager
    def client(self) -> Iterator[EnableX]:
        """A client with its own connections, closed at the end."""
        client = EnableX(self.app_id, self.app_key, self.base_url)
        try:
            yield client
        finally:
            client.close()


class LandingResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The landing zone: records as received, one folder per UTC day."""

    data_dir: str = Field(description="Folder of everything on disk.")

    @property
    def zone(self) -> LandingZone:
        return LandingZone(Path(self.data_dir))


class WarehouseResource(DuckDBResource):
    """The DuckDB warehouse. Waits patiently while other processes write, and always closes what it opened."""

    @property
    def built(self) -> Built:
        """Which landing files its partitions were built from."""
        path = Path(self.database)
        return Built(path.parent, path)

    @property
    def published(self) -> Path:
        """Where the usage tables lie as Parquet."""
        return Path(self.database).parent / "published"

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        path = Path(self.database)
        with Warehouse(path, made_anew=self.built.forget).connect() as connection:
            yield connection


# Errors about the account: every other request would fail with them too.
ACCOUNT_ERRORS = (BadCredentials, Forbidden, BadSetting)


def failure(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    error: Exception,
    day: date | None = None,
    outlook: str = "",
) -> dg.Failure:
    """The step's failure for `error`; `outlook` says what it means for the run. A permanent error stops every retry.

    Tags the run with what the sensors must know: the day that failed, and which credentials were refused.
    """
    tags = {FAILED_DAY_TAG: day.isoformat()} if day else {}
    permanent = isinstance(error, EnableXError) and error.permanent
    if permanent:
        # Without this tag, run retries go on after a failure that allows none.
        tags["dagster/max_retries"] = "0"
    if isinstance(error, ACCOUNT_ERRORS):
        tags[ACCOUNT_ERROR_TAG] = type(error).__name__
        tags[REFUSED_CREDENTIALS_TAG] = context.resources.enablex.credentials
    context.instance.add_run_tags(context.run.run_id, tags)
    return dg.Failure(f"{type(error).__name__}: {error}\n{outlook}".rstrip(), allow_retries=not permanent)
