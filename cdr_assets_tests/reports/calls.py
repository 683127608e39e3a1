"""A data folder with a few calls, written down in the test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import land_in

DAY = date(2026, 11, 2)


def build(folder: Path, *days: tuple[date, Sequence[Record]], in_clear: bool = False) -> None:
    """Lands the records and builds their days. With `in_clear` the exports show people as they are."""
    zone = LandingZone(folder)
    for number, (day, records) in enumerate(days, start=1):
        land_in(zone, day, number, records)
    warehouse = Warehouse(folder / "cdr.duckdb", people_in_clear=in_clear)
    with warehouse.connect() as connection:
        for day in sorted({day for day, _ in days}):
            list(warehouse.build_days(connection, [day], DAILY_TABLES, zone))


def call(cdr_id: str, start: int, end: int | None, day: date = DAY, **fields: Any) -> Record:
    """A connection to conference c from minute `start` to minute `end` after ten."""
    left = {"disconnect_dt": f"{day}T10:{end:02}:00Z", "duration": 60 * (end - start)} if end is not None else {}
    room = {"room_id": "r", "connect_dt": f"{day}T10:{start:02}:00Z", **left}
    return {"cdr_id": cdr_id, "trans_date": f"{day}T11:00:00Z", "conf_num": "c", "room": room, **fields}
