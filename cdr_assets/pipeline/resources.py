"""The client, the landing zone and the warehouse as Dagster resources."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.pacing import PostgresPace, SharedPace
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline import credentials
from cdr_assets.pipeline.scheduling import Timing, is_provisional
from cdr_assets.places import Places
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.rooms import NoRooms, RoomsFile
from cdr_assets.warehouse.table import Facts


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
    data_dir: str = Field(description="Folder of everything on disk, whose users share the pace of requests.")
    lake: str = Field(default="", description="The lake, a secret, whose users share the pace; empty on one machine.")
    requests_per_minute: float = Field(default=0.0, description="Most requests a minute, spread evenly; 0: no limit.")

    @property
    def credentials(self) -> str:
        """A fingerprint of the credentials, fit for a tag."""
        return credentials.fingerprint(self.app_id, self.app_key, self.base_url)

    def has_credentials(self, known: str) -> bool:
        """Whether `known` is a fingerprint of the credentials."""
        return credentials.matches(known, self.app_id, self.app_key, self.base_url)

    @contextmanager
    def client(self) -> Iterator[EnableX]:
        """A client with its own connections, closed at the end. It keeps the pace of everyone on the same data."""
        places = Places.read(Path(self.data_dir), self.lake)
        pace = (
            PostgresPace(places.postgres, self.requests_per_minute)
            if places.postgres
            else SharedPace(places.folder.pace, self.requests_per_minute)
        )
        with closing(EnableX(self.app_id, self.app_key, self.base_url, pace=pace)) as client:
            yield client


class LandingResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The landing zone: records as received, one folder per UTC day."""

    data_dir: str = Field(description="Folder of this machine.")
    lake: str = Field(default="", description="The lake, a secret, whose server has the locks; empty on one machine.")
    landing: str = Field(default="", description="Folder or bucket of the records; the data folder if empty.")

    @property
    def zone(self) -> LandingZone:
        return LandingZone(Places.read(Path(self.data_dir), self.lake, self.landing))


class WarehouseResource(DuckDBResource):
    """The DuckDB warehouse, a file or a lake. It waits while others write, and always closes what it opened."""

    data_dir: str = Field(description="Folder of this machine.")
    landing: str = Field(default="", description="Folder or bucket of the landed records; the data folder if empty.")
    export_dir: str = Field(default="", description="Folder or bucket of the Parquet copies; next to these if empty.")
    rooms_file: str = Field(default="", description="CSV file of the rooms' owners; none if empty.")
    people_in_clear: bool = Field(default=False, description="Whether the Parquet copies show people as the tables do.")
    timing: dict[str, float] = Field(default_factory=dict, description="When days are fetched; see Timing.as_numbers.")

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse with its exports and its build log."""
        places = Places.read(Path(self.data_dir), self.database, self.landing)
        zone = LandingZone(places)
        timing = Timing.from_numbers(self.timing)
        facts = Facts(
            RoomsFile(Path(self.rooms_file)) if self.rooms_file else NoRooms(),
            lambda day: is_provisional(day, zone.asked(day), timing),
        )
        return Warehouse(places, self.export_dir, facts=facts, people_in_clear=self.people_in_clear)

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.warehouse.connect() as connection:
            yield connection


@contextmanager
def account_client(enablex: EnableXResource, zone: LandingZone) -> Iterator[EnableX]:
    """A client for fetching into the landing zone, which belongs to the account that first fetched into it."""
    zone.claim(enablex.app_id)
    with enablex.client() as client:
        yield client
