"""What the checks find in rows that something else wrote, over a range of days as on each day alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from cdr_assets.database import Connection, run
from cdr_assets.days import days_between
from cdr_assets.warehouse import partitions
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.checks import look
from cdr_assets.warehouse.partitions import portions
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, CONFERENCE_USAGE, DAILY_TABLES, ROOM_USAGE
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import build, land

FIRST = date(2026, 11, 2)
DAYS = days_between(FIRST, FIRST + timedelta(days=9))
WEEKLY = "cdr_id_is_unique_over_all_days"
LONG, ALONE, NOBODY = "c-long", "c-alone", None


def record(cdr_id: str, day: date, conf_num: str | None) -> Record:
    room = {"room_id": "r", "duration": 60}
    return {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00Z", "conf_num": conf_num, "room": room}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Ten days, each with a conference of its own, a record without one, and a part of a conference over three days."""
    folder = tmp_path_factory.mktemp("warehouse")
    warehouse = Warehouse(folder / "cdr.duckdb")
    for number, day in enumerate(DAYS):
        records = [record(f"alone-{day}", day, f"{ALONE}-{number}"), record(f"nobody-{day}", day, NOBODY)]
        if 3 <= number <= 5:
            records.append(record(f"long-{day}", day, LONG))
        build(warehouse, day, [land(folder, str(day), records)])
    return warehouse


@pytest.fixture
def connection(warehouse: Warehouse) -> Iterator[Connection]:
    """A connection whose changes are undone."""
    with warehouse.connect() as connection:
        connection.execute("BEGIN")
        yield connection
        connection.execute("ROLLBACK")


def found(connection: Connection, days: list[date] = DAYS) -> dict[str, dict[int, int]]:
    """How many rows each check that is red found, by the number of the day in `DAYS`."""
    counts: dict[str, dict[int, int]] = {}
    for table in DAILY_TABLES:
        for finding in look(connection, table, table.checks, days):
            assert finding.count >= len(finding.sample)
            assert all("usage_date" not in row for row in finding.sample)
            if finding.count:
                counts.setdefault(finding.check.name, {})[DAYS.index(finding.usage_date)] = finding.count
    return counts


INSERT = "INSERT INTO call_detail_records BY NAME SELECT * REPLACE ('{new}'::DATE AS usage_date) "
CHANGES = {
    "nothing": ("SELECT 1", {}),
    "a record twice on its day": (
        f"INSERT INTO call_detail_records FROM call_detail_records WHERE cdr_id = 'nobody-{DAYS[2]}'",
        {"cdr_id_is_unique": {2: 1}, WEEKLY: {2: 1}, "room_usage_adds_up": {2: 1}, "conference_usage_adds_up": {2: 1}},
    ),
    "a record again after 7 days": (
        f"{INSERT.format(new=DAYS[8])} FROM call_detail_records WHERE cdr_id = 'nobody-{DAYS[1]}'",
        {
            "cdr_id_is_unique": {1: 1, 8: 1},
            WEEKLY: {1: 1, 8: 1},
            "every_record_lies_in_its_partition": {8: 1},
            "room_usage_adds_up": {8: 1},
            "conference_usage_adds_up": {8: 1},
        },
    ),
    "a record again after 8 days": (
        f"{INSERT.format(new=DAYS[9])} FROM call_detail_records WHERE cdr_id = 'nobody-{DAYS[1]}'",
        {
            WEEKLY: {1: 1, 9: 1},
            "every_record_lies_in_its_partition": {9: 1},
            "room_usage_adds_up": {9: 1},
            "conference_usage_adds_up": {9: 1},
        },
    ),
    "a lost field on two days": (
        f"UPDATE call_detail_records SET lost_fields = 'sip' WHERE usage_date IN ('{DAYS[0]}', '{DAYS[9]}')",
        {"no_field_was_lost_to_its_type": {0: 2, 9: 2}},
    ),
    "other times of entry and leave": (
        "UPDATE call_detail_records SET room_connect_dt = trans_date, room_disconnect_dt = trans_date "
        f"WHERE cdr_id = 'nobody-{DAYS[4]}'",
        {"room_duration_agrees_with_its_timestamps": {4: 1}},
    ),
    "a room too few": (
        f"DELETE FROM room_usage WHERE usage_date = '{DAYS[3]}'",
        {"room_usage_adds_up": {3: 1}},
    ),
    "a room on a day without records": (
        f"UPDATE room_usage SET usage_date = '{DAYS[1]}' WHERE usage_date = '{DAYS[2]}'",
        # On the day of two rows each of them is compared with the day's records, and one of them is right.
        {"room_usage_adds_up": {2: 1}},
    ),
    "minutes too many in a conference over three days": (
        f"UPDATE conference_usage SET participant_minutes = 9 WHERE conf_num = '{LONG}'",
        {"conference_usage_adds_up": {3: 1, 4: 1, 5: 1}},
    ),
    "a record of such a conference gone": (
        f"DELETE FROM call_detail_records WHERE cdr_id = 'long-{DAYS[4]}'",
        {"room_usage_adds_up": {4: 1}, "conference_usage_adds_up": {3: 1, 4: 1, 5: 1}},
    ),
    "such a conference gone": (
        f"DELETE FROM conference_usage WHERE conf_num = '{LONG}'",
        {"conference_usage_adds_up": {3: 1, 4: 1, 5: 1}},
    ),
    "a conference that counts what no record says": (
        f"UPDATE conference_usage SET subscribed_minutes = 1 WHERE conf_num IS NULL AND usage_date = '{DAYS[7]}'",
        {"conference_usage_adds_up": {7: 1}},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_check_finds_over_a_range_what_it_finds_day_by_day(connection: Connection, change: str) -> None:
    statement, expected = CHANGES[change]
    connection.execute(statement)
    assert found(connection) == expected
    for days in ([DAYS[:4], DAYS[4:]], [[day] for day in DAYS]):
        apart: dict[str, dict[int, int]] = {}
        for some in days:
            for name, counts in found(connection, some).items():
                apart.setdefault(name, {}).update(counts)
        assert apart == expected


def test_a_sample_is_short_on_each_day_and_has_the_same_rows_every_time(connection: Connection) -> None:
    run(
        connection,
        "INSERT INTO call_detail_records BY NAME "
        "SELECT $first + (number % 2)::INTEGER AS usage_date, 'odd-' || lpad(number::VARCHAR, 3, '0') AS cdr_id, "
        "'sip' AS lost_fields FROM range(40) AS numbers(number) ORDER BY hash(number)",
        first=FIRST,
    )
    (check,) = (check for check in CALL_DETAIL_RECORDS.checks if check.name == "no_field_was_lost_to_its_type")
    first, second, *others = look(connection, CALL_DETAIL_RECORDS, [check], DAYS)
    assert [finding.usage_date for finding in (first, second, *others)] == DAYS
    assert (first.count, second.count, {finding.count for finding in others}) == (20, 20, {0})
    assert first.sample == [{"cdr_id": f"odd-{number:03d}", "lost_fields": "sip"} for number in range(0, 20, 2)]
    assert second.sample == [{"cdr_id": f"odd-{number:03d}", "lost_fields": "sip"} for number in range(1, 21, 2)]


def test_long_texts_are_cut_in_a_sample(connection: Connection) -> None:
    run(
        connection,
        "INSERT INTO call_detail_records BY NAME "
        "SELECT $day AS usage_date, repeat('long', 1000) AS cdr_id, 'sip' AS lost_fields",
        day=FIRST,
    )
    (check,) = (check for check in CALL_DETAIL_RECORDS.checks if check.name == "no_field_was_lost_to_its_type")
    (finding,) = look(connection, CALL_DETAIL_RECORDS, [check], [FIRST])
    assert finding.sample == [{"cdr_id": "long" * 50, "lost_fields": "sip"}]


def test_days_of_which_a_table_lost_every_row_are_looked_at(warehouse: Warehouse, connection: Connection) -> None:
    connection.execute("DELETE FROM room_usage")
    connection.execute("DELETE FROM conference_usage")
    assert warehouse.days(connection, CALL_DETAIL_RECORDS) == {
        day: 3 if 3 <= number <= 5 else 2 for number, day in enumerate(DAYS)
    }
    for table in (ROOM_USAGE, CONFERENCE_USAGE):
        assert [*warehouse.days(connection, table)] == DAYS


def test_days_are_cut_into_ranges_of_a_bounded_number_of_days_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PORTION_DAYS", 3)
    monkeypatch.setattr(partitions, "PORTION_ROWS", 10)
    counts = dict(zip(DAYS, [4, 6, 1, 11, 0, 2, 2, 2, 10, 1], strict=True))
    cut = [[counts[day] for day in days] for days in portions(counts)]
    assert cut == [[4, 6], [1], [11], [0, 2, 2], [2], [10], [1]]
    assert [day for days in portions(counts) for day in days] == DAYS
    assert list(portions({})) == []
