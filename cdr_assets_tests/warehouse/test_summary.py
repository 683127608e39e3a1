"""What is shown of a partition is what its table holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from cdr_assets.landing.zone import LandingZone
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.summary import Summary
from cdr_assets.warehouse.tables import CONFERENCE_USAGE, DAILY_TABLES, DAILY_USAGE, ROOM_USAGE
from cdr_assets_tests.expected import read
from cdr_assets_tests.reference import Record, Row
from cdr_assets_tests.warehouse.landed import land_in

DAY = date(2026, 11, 2)
WEEK = timedelta(weeks=1)


def record(day: date, minutes: int, room: str = "r", conference: str = "c") -> Record:
    return {
        "cdr_id": f"{day}-{room}-{conference}",
        "trans_date": f"{day}T23:00:00Z",
        "conf_num": f"{day}-{conference}",
        "room": {
            "room_id": room,
            "connect_dt": f"{day}T10:00:00Z",
            "disconnect_dt": f"{day}T{10 + minutes // 60}:{minutes % 60:02}:00Z",
            "duration": 60 * minutes,
        },
    }


def build(folder: Path, *days: date) -> dict[tuple[str, date], Summary]:
    """Builds all tables of these days, which have landed. Returns the summary of each partition."""
    warehouse, zone = Warehouse(folder / "cdr.duckdb"), LandingZone(folder)
    with warehouse.connect() as connection:
        built = warehouse.build_days(connection, days, DAILY_TABLES, zone)
        return {(each.table.name, each.usage_date): each.summary for each in built}


def land(folder: Path, day: date, records: Sequence[Record]) -> None:
    land_in(LandingZone(folder), day, 1, records)


def of_day(folder: Path, table: str, day: date) -> list[Row]:
    return [row for row in read(folder / "cdr.duckdb", table) if row["usage_date"] == day]


def test_the_figures_are_those_of_the_days_rows(tmp_path: Path) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    settings = Settings(connections=200, start=DAY - 4 * WEEK)
    for day in days:
        land(tmp_path, day, records_of_day(settings, day))
    shown = build(tmp_path, *days)
    tables = {ROOM_USAGE: "rooms", CONFERENCE_USAGE: "conferences", DAILY_USAGE: "connections"}
    for day in days:
        for table, counted in tables.items():
            rows, figures = of_day(tmp_path, table.name, day), shown[table.name, day].figures
            expected = {
                "connections": sum(row["connections"] for row in rows),
                "participant_minutes": float(sum(row["participant_minutes"] for row in rows)),
                "billable_minutes": sum(row["billable_minutes"] for row in rows),
            }
            assert {name: figures[name] for name in expected} == expected, table.name
            assert figures[counted] > 0
        rooms = of_day(tmp_path, "room_usage", day)
        figures = shown["room_usage", day].figures
        assert figures["rooms"] == len({row["room_id"] for row in rooms if row["room_id"]})
        assert figures["conferences"] == sum(row["conferences"] for row in rooms)
        assert figures["peak_participants_in_a_room"] == max(row["peak_participants"] for row in rooms)
        conferences = of_day(tmp_path, "conference_usage", day)
        figures = shown["conference_usage", day].figures
        assert figures["conferences"] == sum(row["conf_num"] is not None for row in conferences)
        for name in ("met_minutes", "alone_minutes"):
            assert figures[name] == float(sum(row[name] or 0 for row in conferences)), name
        assert figures["peak_participants_in_a_conference"] == max(row["peak_participants"] for row in conferences)
        (usage,) = of_day(tmp_path, "daily_usage", day)
        figures = shown["daily_usage", day].figures
        others = set(figures) - {"connections", "participant_minutes", "billable_minutes"}
        assert {"conferences", "rooms", "participants", "peak_connections", "p95_lateness_s"} <= others
        assert figures["same_weekdays_built"] == 0
        others -= {"same_weekdays_built"}
        assert {name: figures[name] for name in others} == {name: float(usage[name]) for name in others}


def test_minutes_are_compared_with_the_same_weekday_of_the_four_weeks_before(tmp_path: Path) -> None:
    def ratio(day: date) -> object:
        """The ratio, or of how many days there is none."""
        figures = build(tmp_path, day)["room_usage", day].figures
        return figures.get("minutes_to_same_weekday", figures.get("same_weekdays_built"))

    for weeks, minutes in ((0, 30), (1, 60), (3, 120), (4, 600), (5, 600)):
        land(tmp_path, DAY - weeks * WEEK, [record(DAY - weeks * WEEK, minutes)])
    land(tmp_path, DAY - 2 * WEEK, [])
    assert ratio(DAY) == 0, "nothing is known of the weeks before"
    build(tmp_path, DAY - 5 * WEEK)
    assert ratio(DAY) == 0, "five weeks are too long ago"
    build(tmp_path, *(DAY - weeks * WEEK for weeks in (2, 1, 3)))
    assert ratio(DAY) == 3, "a mean of three weeks says nothing"
    shown = build(tmp_path, *(DAY - weeks * WEEK for weeks in (1, 4)), DAY)
    for table in (ROOM_USAGE, CONFERENCE_USAGE, DAILY_USAGE):
        # A day without records counts as 0.
        assert shown[table.name, DAY].figures["minutes_to_same_weekday"] == round(30 / (780 / 4), 3)
        assert shown[table.name, DAY - WEEK].figures["minutes_to_same_weekday"] == round(60 / (1320 / 4), 3)


def test_the_ten_busiest_rooms_and_the_ten_longest_conferences_are_listed(tmp_path: Path) -> None:
    minutes = {f"r{number:02}": 10 * (number % 7 + 1) for number in range(12)}
    land(tmp_path, DAY, [record(DAY, length, room, f"c{room}") for room, length in minutes.items()])
    land(tmp_path, DAY + WEEK, [record(DAY + WEEK, 5)])
    shown = build(tmp_path, DAY, DAY + WEEK)
    largest = sorted(minutes, key=lambda room: (-minutes[room], room))[:10]
    (rooms,) = shown["room_usage", DAY].lists.values()
    assert [row["room_id"] for row in rooms] == largest
    assert [row["participant_minutes"] for row in rooms] == [Decimal(minutes[room]) for room in largest]
    (conferences,) = shown["conference_usage", DAY].lists.values()
    assert [row["conf_num"] for row in conferences] == [f"{DAY}-c{room}" for room in largest]
    assert all("conf_name" not in row for row in conferences)
    (rooms,) = shown["room_usage", DAY + WEEK].lists.values()
    assert [row["room_id"] for row in rooms] == ["r"]


def test_a_day_without_records_has_no_figures_and_no_lists(tmp_path: Path) -> None:
    land(tmp_path, DAY, [])
    for partition, shown in build(tmp_path, DAY).items():
        assert (shown.row_count, shown.table_row_count, shown.figures) == (0, 0, {}), partition
        assert not any(shown.lists.values()), partition


def test_the_rows_of_the_whole_table_are_counted_besides_those_of_the_day(tmp_path: Path) -> None:
    for day, rooms in ((DAY, 3), (DAY + WEEK, 2)):
        land(tmp_path, day, [record(day, 1, f"r{number}", f"c{number}") for number in range(rooms)])
    first = build(tmp_path, DAY)["room_usage", DAY]
    assert (first.row_count, first.table_row_count) == (3, 3)
    second = build(tmp_path, DAY + WEEK)["room_usage", DAY + WEEK]
    assert (second.row_count, second.table_row_count) == (2, 5)
