"""Dagster's view of the client, the landing zone and the warehouse, and of what can go wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from cdr_assets.client import EnableX, EnableXError
from cdr_assets.landing import LandingZone
from cdr_assets.warehouse import Warehouse


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
        return LandingZone(Path(self.data_dir).resolve())


class WarehouseResource(DuckDBResource):
    """The DuckDB warehouse. Waits patiently while other processes write, and always closes what it opened."""

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with Warehouse(Path(self.database).resolve()).connect() as connection:
            yield connection


def failure(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, error: Exception, outlook: str = ""
) -> dg.Failure:
    """The step's failure for `error`, with what to know besides. A permanent one stops every retry of the run."""
    permanent = isinstance(error, EnableXError) and error.permanent
    if permanent:
        # Without this tag, run retries go on after a failure that allows none.
        context.instance.add_run_tags(context.run_id, {"dagster/max_retries": "0"})
    description = f"{type(error).__name__}: {error}"
    return dg.Failure(f"{description}\n{outlook}".rstrip(), allow_retries=not permanent)
