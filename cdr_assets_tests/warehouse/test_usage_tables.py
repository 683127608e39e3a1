"""Each usage table holds what plain Python computes from the records, in whatever order days land and are built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from cdr_assets.database import Connection
from cdr_assets.days import DAY, days_between
from cdr_assets.landing.zone import LandingZone
from cdr_assets.places import Places
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.rooms import RoomsFile
from cdr_assets.warehouse.table import Facts
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.expected import read
from cdr_assets_tests.places import places
from cdr_assets_tests.reference import Record, Row, tables
from cdr_assets_tests.reference.hostile import ROOMS, hostile_days, rooms_csv
from cdr_assets_tests.scale import ON_LAKE
from cdr_assets_tests.warehouse.landed import land_in

OLDER, NEWEST = 1, 1_000
"""Numbers of the first requests that brought older versions, and the newest ones."""


class Case(NamedTuple):
    """How a table is computed from typed records, which columns tell its rows apart, and which are tested elsewhere."""

    compute: Callable[[list[Row]], list[Row]]
    key: tuple[str, ...]
    others: frozenset[str] = frozenset()


CASES = {
    "room_usage": Case(tables.room_usage, ("usage_date", "app_id", "room_id")),
    "conference_usage": Case(tables.conference_usage, ("usage_date", "app_id", "conf_num")),
    "attendance": Case(
        tables.attendance,
        ("usage_date", "app_id", "conf_num", "participant_known_by", "participant"),
        frozenset({"client"}),
    ),
    "daily_usage": Case(tables.daily_usage, ("usage_date", "app_id"), frozenset({"provisional"})),
    "owner_usage": Case(
        lambda records: tables.owner_usage(records, ROOMS), ("usage_date", "app_id", "owner_ref", "billing_code")
    ),
    "connection_quality": Case(tables.connection_quality, ("cdr_id", "direction", "media")),
    "client_usage": Case(tables.client_usage, ("usage_date", "app_id", "client")),
}


SANDBOX = "the sandbox's month"


@pytest.fixture(scope="module", params=[0, pytest.param(1, marks=pytest.mark.lake), SANDBOX])
def days(request: pytest.FixtureRequest) -> dict[date, list[Record]]:
    """The hostile records of a seed, or a month of the sandbox."""
    if request.param != SANDBOX:
        days = hostile_days(request.param)
        # On a lake each build takes longer, and these days have most records.
        return dict([*days.items()][:4]) if ON_LAKE else days
    settings = Settings(connections=40)
    return {day: records_of_day(settings, day) for day in days_between(date(2026, 10, 1), date(2026, 10, 30))}


@pytest.fixture(scope="module")
def warehouse(days: dict[date, list[Record]], tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A warehouse with these records."""
    folder, rng = tmp_path_factory.mktemp("warehouse"), Random(len(days))
    # A month costs more than the days of a seed, so it has fewer versions.
    older = [*older_versions(days, rng)]
    return build_in_any_order(folder, days, older if len(days) < 30 else rng.sample(older, 5), rng)


def build_in_any_order(
    folder: Path, days: dict[date, list[Record]], older: Sequence[tuple[date, list[Record]]], rng: Random
) -> Places:
    """Lands the days and older versions of some records, builds days in between, and at last all that are due."""
    (folder / "rooms.csv").write_bytes(rooms_csv())
    facts = Facts(RoomsFile(folder / "rooms.csv"), is_provisional=lambda day: False)
    zone, warehouse = LandingZone(places(folder)), Warehouse(places(folder), facts=facts)
    answers = [(day, NEWEST + number, records) for number, (day, records) in enumerate(days.items())]
    answers += [(day, OLDER + number, records) for number, (day, records) in enumerate(older)]
    built: dict[date, str] = {}
    with warehouse.connect() as connection:
        for day, number, records in rng.sample(answers, len(answers)):
            land_in(zone, day, number, records)
            if rng.random() < 0.4:
                build(warehouse, connection, zone, [rng.choice([*zone.days()])], built)
        for _ in range(20):
            due = [day for day, version in zone.days().items() if built.get(day) != version]
            if not due:
                break
            rng.shuffle(due)
            while due:
                together = sorted(due.pop() for _ in range(min(len(due), rng.randint(1, 8))))
                build(warehouse, connection, zone, together, built)
        else:
            raise AssertionError("days are due for ever")
    return warehouse.places


def older_versions(days: dict[date, list[Record]], rng: Random) -> Iterator[tuple[date, list[Record]]]:
    """Answers with records as they were before: in another conference, of another person, some of them a day early."""
    for day, records in days.items():
        older = [
            {**each, "conf_num": "older", "app_id": "older", "user": {"ref": "older", "role": "moderator"}}
            for each in rng.sample(records, len(records) // 3)
        ]
        moved = older[: len(older) // 2] if day - DAY in days else []
        yield day, older[len(moved) :]
        if moved:
            yield day - DAY, [{**each, "trans_date": f"{day - DAY}T12:00:00.000Z"} for each in moved]


def build(
    warehouse: Warehouse, connection: Connection, zone: LandingZone, days: Sequence[date], built: dict[date, str]
) -> None:
    partitions = list(warehouse.build_days(connection, days, DAILY_TABLES, zone))
    built.update((day, zone.version(day)) for day in days)
    for other in {other for partition in partitions for other in partition.days_due}:
        built.pop(other, None)


def test_of_each_record_the_newest_version_is_there(warehouse: Places, days: dict[date, list[Record]]) -> None:
    found = [(row["usage_date"], row["cdr_id"], row["conf_num"]) for row in read(warehouse, "call_detail_records")]
    assert sorted(found, key=repr) == sorted(
        ((day, each["cdr_id"], each.get("conf_num")) for day, records in days.items() for each in records), key=repr
    )


@pytest.mark.parametrize("table", CASES)
def test_each_column_is_what_plain_python_computes(warehouse: Places, table: str) -> None:
    case = CASES[table]
    expected = by_key(case, case.compute(read(warehouse, "call_detail_records")))
    found = by_key(case, read(warehouse, table))
    assert found.keys() == expected.keys()
    different = [
        f"{column} of {key} is {row.get(column)!r}, not {value!r}"
        for key, row in found.items()
        for column, value in expected[key].items()
        if column not in row or row[column] != value
    ]
    assert different == []
    assert {column for row in found.values() for column in row} == (
        {column for row in expected.values() for column in row} | case.others
    )


def by_key(case: Case, rows: list[Row]) -> dict[tuple[object, ...], Row]:
    keyed = {tuple(row[column] for column in case.key): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed
