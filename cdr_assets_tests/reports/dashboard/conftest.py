"""Five weeks of the sandbox's calls, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdr_assets.landing.zone import LandingZone
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.reports.dashboard.shown import DAYS
from cdr_assets_tests.warehouse.landed import land_in


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder. Nothing in it may be changed."""
    folder = tmp_path_factory.mktemp("five-weeks")
    zone, warehouse = LandingZone(folder), Warehouse(folder / "cdr.duckdb")
    sandbox = Settings(connections=60, start=DAYS[0])
    for number, day in enumerate(DAYS, start=1):
        land_in(zone, day, number, records_of_day(sandbox, day))
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, DAYS, DAILY_TABLES, zone))
    return folder
