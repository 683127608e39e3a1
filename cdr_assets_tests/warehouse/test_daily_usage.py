"""A day of daily_usage has what lies within it, of whatever day the records are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cdr_assets.days import DAY as ONE_DAY
from cdr_assets.days import days_between
from cdr_assets.warehouse.build import NO_FACTS, Warehouse
from cdr_assets.warehouse.checks import BlockedByCheck
from cdr_assets.warehouse.table import Facts, Table
from cdr_assets.warehouse.tables import ATTENDANCE, CALL_DETAIL_RECORDS, CONFERENCE_USAGE, DAILY_TABLES, DAILY_USAGE
from cdr_assets_tests.expected import assert_exports_are_the_tables, in_order, read
from cdr_assets_tests.places import places
from cdr_assets_tests.reference import Record, Row, tables
from cdr_assets_tests.warehouse.landed import Landed, land

DAY = date(2026, 11, 2)
NEXT = DAY + ONE_DAY
AFTER = NEXT + ONE_DAY


def call(cdr_id: str, entry: str, leave: str, day: date = DAY, ref: str = "one") -> Record:
    room = {"room_id": "r", "connect_dt": f"{entry}Z", "disconnect_dt": f"{leave}Z"}
    fields = {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00Z", "conf_num": "c", "app_id": "a"}
    return fields | {"room": room, "user": {"ref": ref}}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(places(tmp_path))


def build(warehouse: Warehouse, *answers: tuple[date, list[Record]], tables: Sequence[Table] = DAILY_TABLES) -> None:
    """Builds these days one after the other, each from its answer alone."""
    folder = warehouse.places.data_dir
    number = len([*folder.glob("*.zst")])
    files = [(day, land(folder, f"{number + place}", records)) for place, (day, records) in enumerate(answers)]
    with warehouse.connect() as connection:
        for day, file in files:
            # A check of attendance compares it with conference_usage.
            with nullcontext() if tables == DAILY_TABLES else suppress(BlockedByCheck):
                list(warehouse.build_days(connection, [day], tables, Landed({day: [file]})))


def by_day(warehouse: Warehouse) -> dict[date, Row]:
    rows = read(warehouse.places, "daily_usage")
    assert len({row["usage_date"] for row in rows}) == len(rows)
    return {row["usage_date"]: row for row in rows}


def reached(warehouse: Warehouse) -> set[tuple[date, date]]:
    rows = [(row["usage_date"], row["reached_date"]) for row in read(warehouse.places, "reached_days")]
    assert len(rows) == len({*rows})
    return {*rows}


def assert_exact(warehouse: Warehouse) -> None:
    """The table holds what plain Python computes, and the exports are the tables."""
    found = [
        {name: value for name, value in row.items() if name != "provisional"} for row in by_day(warehouse).values()
    ]
    assert in_order(found) == in_order(tables.daily_usage(read(warehouse.places, "call_detail_records")))
    assert_exports_are_the_tables(warehouse.places)


@pytest.mark.parametrize("table", [CONFERENCE_USAGE, ATTENDANCE, DAILY_USAGE], ids=lambda table: table.name)
def test_a_table_that_is_built_alone_holds_what_its_sources_say(warehouse: Warehouse, table: Table) -> None:
    # On the last day one conference, or two of the same number, and the record between them joins these.
    first, between, last = (date(2026, 11, day) for day in (2, 7, 12))
    early = (first, [call("early", "2026-11-02T09:00:00", "2026-11-12T10:00:00", first)])
    late = (last, [call("late", "2026-11-12T11:00:00", "2026-11-12T12:00:00", last)])
    bridge = (between, [call("bridge", "2026-11-07T09:00:00", "2026-11-07T09:30:00", between)])
    shrunk = (first, [call("early", "2026-11-02T09:00:00", "2026-11-02T10:00:00", first)])
    for answer in (early, late, bridge, (between, []), shrunk, bridge, early, (between, [])):
        build(warehouse, answer, tables=[CALL_DETAIL_RECORDS, table])
        expected = getattr(tables, table.name)(read(warehouse.places, "call_detail_records"))
        found = [{name: row[name] for name in expected[0]} for row in read(warehouse.places, table.name)]
        assert in_order(found) == in_order(expected), answer


@pytest.mark.lake
def test_a_day_that_only_a_connection_of_another_day_overlaps_has_a_row(warehouse: Warehouse) -> None:
    build(warehouse, (DAY, [call("long", "2026-11-02T23:00:00", "2026-11-04T02:00:00")]))
    rows = by_day(warehouse)
    assert [*sorted(rows)] == [DAY, NEXT, AFTER]
    assert [rows[day]["connections"] for day in (DAY, NEXT, AFTER)] == [1, 0, 0]
    assert [rows[day]["participant_minutes"] for day in (DAY, NEXT, AFTER)] == [27 * 60, 0, 0]
    assert [rows[day]["alone_minutes"] for day in (DAY, NEXT, AFTER)] == [60, 1_440, 120]
    assert rows[NEXT] | {"provisional": False} == {
        "usage_date": NEXT,
        "app_id": "a",
        **dict.fromkeys(("connections", "conferences", "rooms", "participants", "billable_minutes"), 0),
        **dict.fromkeys(("participant_minutes", "subscribed_minutes", "published_minutes"), Decimal(0)),
        "peak_connections": 1,
        "peak_at": datetime(2026, 11, 3),
        "alone_minutes": Decimal(1_440),
        "rejoins": 0,
        "short_connections": 0,
        "median_lateness_s": None,
        "p95_lateness_s": None,
        "provisional": False,
    }
    assert_exact(warehouse)


def test_the_peak_of_a_day_counts_who_came_the_day_before(warehouse: Warehouse) -> None:
    own = [
        call("own", "2026-11-03T01:00:00", "2026-11-03T01:30:00", NEXT, "two"),
        call("back", "2026-11-03T03:00:00", "2026-11-03T03:10:00", NEXT, "one"),
    ]
    early = [call("early", "2026-11-02T23:00:00", "2026-11-03T02:00:00")]
    for order in ([(NEXT, own), (DAY, early)], [(DAY, []), (DAY, early), (NEXT, own)]):
        build(warehouse, *order)
        row = by_day(warehouse)[NEXT]
        assert (row["peak_connections"], row["peak_at"]) == (2, datetime(2026, 11, 3, 1))
        assert (row["connections"], row["rejoins"], row["alone_minutes"]) == (2, 1, Decimal(100))
        assert_exact(warehouse)
    # On the midnight itself nobody is there twice, and nobody returns.
    build(warehouse, (DAY, [call("early", "2026-11-02T23:00:00", "2026-11-03T00:00:00")]))
    row = by_day(warehouse)[NEXT]
    assert (row["peak_connections"], row["peak_at"], row["rejoins"]) == (1, datetime(2026, 11, 3, 1), 0)
    assert_exact(warehouse)


def test_a_connection_that_became_shorter_leaves_the_days_that_it_no_longer_overlaps(warehouse: Warehouse) -> None:
    build(
        warehouse,
        (AFTER, [call("own", "2026-11-04T10:00:00", "2026-11-04T10:30:00", AFTER, "two")]),
        (DAY, [call("restated", "2026-11-02T09:00:00", "2026-11-04T11:00:00")]),
    )
    assert reached(warehouse) == {(DAY, DAY), (DAY, NEXT), (DAY, AFTER), (AFTER, AFTER)}
    assert by_day(warehouse)[AFTER]["peak_connections"] == 2
    assert_exact(warehouse)

    build(warehouse, (DAY, [call("restated", "2026-11-02T09:00:00", "2026-11-03T00:00:00")]))
    assert reached(warehouse) == {(DAY, DAY), (AFTER, AFTER)}
    assert [*sorted(by_day(warehouse))] == [DAY, AFTER]
    assert by_day(warehouse)[AFTER]["peak_connections"] == 1
    assert_exact(warehouse)

    build(warehouse, (DAY, []))
    assert reached(warehouse) == {(AFTER, AFTER)}
    assert [*by_day(warehouse)] == [AFTER]
    assert_exact(warehouse)


def test_a_connection_without_a_length_reaches_no_day(warehouse: Warehouse) -> None:
    lengths = [
        call("none", "2026-11-02T09:00:00", "2026-11-02T09:00:00"),
        call("backwards", "2026-11-03T09:00:00", "2026-11-02T09:00:00"),
        call("a wrong clock", "2026-11-02T09:00:00", "2028-11-02T09:00:00"),
        {"cdr_id": "no times", "trans_date": f"{DAY}T10:00:00Z", "app_id": "a"},
    ]
    build(warehouse, (DAY, lengths))
    assert reached(warehouse) == set()
    assert {day: (row["connections"], row["peak_connections"]) for day, row in by_day(warehouse).items()} == {
        DAY: (4, 0)
    }
    assert_exact(warehouse)


def test_each_day_that_is_summed_says_itself_whether_it_is_provisional(tmp_path: Path) -> None:
    facts = Facts(NO_FACTS.rooms, is_provisional=lambda day: day > DAY)
    warehouse = Warehouse(tmp_path / "cdr.duckdb", facts=facts)
    build(warehouse, (DAY, [call("long", "2026-11-02T23:00:00", "2026-11-04T02:00:00")]))
    found = {day: row["provisional"] for day, row in by_day(warehouse).items()}
    assert found == {day: day > DAY for day in days_between(DAY, AFTER)}
