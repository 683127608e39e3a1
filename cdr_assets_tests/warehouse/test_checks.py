"""What the checks find in rows that something else wrote, over a range of days as on each day alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from cdr_assets.database import Connection, run
from cdr_assets.days import days_between
from cdr_assets.warehouse import partitions
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.checks import look
from cdr_assets.warehouse.partitions import portions
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, CONFERENCE_USAGE, DAILY_TABLES, ROOM_USAGE
from cdr_assets_tests.places import places
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import Landed, build, land

FIRST = date(2026, 11, 2)
DAYS = days_between(FIRST, FIRST + timedelta(days=9))
WEEKLY = "cdr_id_is_unique_over_all_days"
LONG, ALONE, NOBODY = "c-long", "c-alone", None


def record(cdr_id: str, day: date, conf_num: str | None) -> Record:
    room = {"room_id": "r", "connect_dt": f"{day}T10:00:00Z", "disconnect_dt": f"{day}T10:01:00Z", "duration": 60}
    return {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00Z", "conf_num": conf_num, "room": room}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Ten days, each with a conference of its own, a record without one, and a part of a conference over three days."""
    folder = tmp_path_factory.mktemp("warehouse")
    warehouse = Warehouse(places(folder))
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


SUMS = (
    "room_usage_adds_up",
    "conference_usage_adds_up",
    "daily_usage_adds_up",
    "client_usage_adds_up",
    "owner_usage_adds_up",
)
"""Each compares its table with the records of the day."""

INSERT = "INSERT INTO call_detail_records BY NAME SELECT * REPLACE ('{new}'::DATE AS usage_date) "
CHANGES = {
    "nothing": ("SELECT 1", {}),
    "a record twice on its day": (
        f"INSERT INTO call_detail_records FROM call_detail_records WHERE cdr_id = 'nobody-{DAYS[2]}'",
        {"cdr_id_is_unique": {2: 1}, WEEKLY: {2: 1}, **{key: {2: 1} for key in SUMS}},
    ),
    "a record again after 7 days": (
        f"{INSERT.format(new=DAYS[8])} FROM call_detail_records WHERE cdr_id = 'nobody-{DAYS[1]}'",
        {
            "cdr_id_is_unique": {1: 1, 8: 1},
            WEEKLY: {1: 1, 8: 1},
            "every_record_lies_in_its_partition": {8: 1},
            **{key: {8: 1} for key in SUMS},
        },
    ),
    "a record again after 8 days": (
        f"{INSERT.format(new=DAYS[9])} FROM call_detail_records WHERE cdr_id = 'nobody-{DAYS[1]}'",
        {
            WEEKLY: {1: 1, 9: 1},
            "every_record_lies_in_its_partition": {9: 1},
            **{key: {9: 1} for key in SUMS},
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
        {"conference_usage_adds_up": {3: 1, 4: 1, 5: 1}, "attendance_adds_up": {3: 1, 4: 1, 5: 1}},
    ),
    "a record of such a conference gone": (
        f"DELETE FROM call_detail_records WHERE cdr_id = 'long-{DAYS[4]}'",
        {**{key: {4: 1} for key in SUMS}, "conference_usage_adds_up": {3: 1, 4: 1, 5: 1}},
    ),
    "such a conference gone": (
        f"DELETE FROM conference_usage WHERE conf_num = '{LONG}'",
        {"conference_usage_adds_up": {3: 1, 4: 1, 5: 1}, "attendance_adds_up": {3: 1, 4: 1, 5: 1}},
    ),
    "a conference that counts what no record says": (
        f"UPDATE conference_usage SET subscribed_minutes = 1 WHERE conf_num IS NULL AND usage_date = '{DAYS[7]}'",
        {"conference_usage_adds_up": {7: 1}},
    ),
    "a person gone from a conference over three days": (
        f"DELETE FROM attendance WHERE participant = 'long-{DAYS[4]}'",
        {key: {3: 1, 4: 1, 5: 1} for key in ("attendance_adds_up", "presence_lies_within_the_conference")},
    ),
    "a conference that nobody attends": (
        f"DELETE FROM attendance WHERE conf_num = '{ALONE}-8'",
        {"attendance_adds_up": {8: 1}},
    ),
    "people of no conference": (
        f"UPDATE attendance SET conf_num = 'other' WHERE conf_num = '{ALONE}-8'",
        {"attendance_adds_up": {8: 2}},
    ),
    "a connection too many of somebody": (
        f"UPDATE attendance SET connections = 2 WHERE conf_num = '{ALONE}-1'",
        {"attendance_adds_up": {1: 1}},
    ),
    "whole minutes too many of somebody in no conference": (
        f"UPDATE attendance SET billable_minutes = 2 WHERE conf_num IS NULL AND usage_date = '{DAYS[7]}'",
        {"attendance_adds_up": {7: 1}},
    ),
    "minutes of somebody that rounding explains": (
        f"UPDATE attendance SET participant_minutes = 1.001 WHERE conf_num = '{ALONE}-1'",
        {},
    ),
    "minutes of somebody that it does not": (
        f"UPDATE attendance SET participant_minutes = 1.002 WHERE conf_num = '{ALONE}-1'",
        {"attendance_adds_up": {1: 1}},
    ),
    "a return that nobody made": (
        f"UPDATE conference_usage SET rejoins = 1 WHERE conf_num = '{ALONE}-1'",
        {"attendance_adds_up": {1: 1}},
    ),
    "somebody there for longer than the conference": (
        f"UPDATE attendance SET presence_minutes = 1.001 WHERE conf_num = '{ALONE}-6'",
        {"presence_lies_within_the_conference": {6: 1}},
    ),
    "people who meet for longer than they are there": (
        f"UPDATE conference_usage SET met_minutes = 0.5 WHERE conf_num = '{LONG}'",
        {"presence_lies_within_the_conference": {3: 1, 4: 1, 5: 1}},
    ),
    "a conference without a peak": (
        f"UPDATE conference_usage SET peak_participants = 0 WHERE conf_num = '{ALONE}-6'",
        {"presence_lies_within_the_conference": {6: 1}},
    ),
    "a day gone": (
        f"DELETE FROM daily_usage WHERE usage_date = '{DAYS[3]}'",
        {"daily_usage_adds_up": {3: 1}, "every_connection_counts_in_the_peak": {3: 1}},
    ),
    "a day of another app": (
        f"UPDATE daily_usage SET app_id = 'other' WHERE usage_date = '{DAYS[3]}'",
        {"daily_usage_adds_up": {3: 2}, "every_connection_counts_in_the_peak": {3: 1}},
    ),
    "a day that counts what no record says": (
        f"UPDATE daily_usage SET published_minutes = 1 WHERE usage_date = '{DAYS[9]}'",
        {"daily_usage_adds_up": {9: 1}},
    ),
    "a thousandth of a minute too many on a day": (
        f"UPDATE daily_usage SET participant_minutes = participant_minutes + 0.001 WHERE usage_date = '{DAYS[9]}'",
        {"daily_usage_adds_up": {9: 1}},
    ),
    "a day without a peak": (
        f"UPDATE daily_usage SET peak_connections = 0 WHERE usage_date = '{DAYS[0]}'",
        {"every_connection_counts_in_the_peak": {0: 1}},
    ),
    "a client gone": (
        f"DELETE FROM client_usage WHERE usage_date = '{DAYS[3]}'",
        {"client_usage_adds_up": {3: 1}},
    ),
    "a client of another app": (
        f"UPDATE client_usage SET app_id = 'other' WHERE usage_date = '{DAYS[3]}'",
        {"client_usage_adds_up": {3: 2}},
    ),
    "a rating that no record has": (
        f"UPDATE client_usage SET received_video_rated = 1 WHERE usage_date = '{DAYS[2]}'",
        {"client_usage_adds_up": {2: 1}},
    ),
    "an owner gone": (
        f"DELETE FROM owner_usage WHERE usage_date = '{DAYS[3]}'",
        {"owner_usage_adds_up": {3: 1}},
    ),
    "an owner of another app": (
        f"UPDATE owner_usage SET app_id = 'other' WHERE usage_date = '{DAYS[3]}'",
        {"owner_usage_adds_up": {3: 2}},
    ),
    "a connection twice over all owners": (
        f"INSERT INTO owner_usage BY NAME SELECT * REPLACE ('o' AS owner_ref, 1 AS connections, 0 AS billable_minutes, "
        f"0 AS participant_minutes) FROM owner_usage WHERE usage_date = '{DAYS[2]}'",
        {"owner_usage_adds_up": {2: 1}},
    ),
    "minutes too few of an owner": (
        f"UPDATE owner_usage SET participant_minutes = participant_minutes - 0.002 WHERE usage_date = '{DAYS[2]}'",
        {"owner_usage_adds_up": {2: 1}},
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


# A change by hand that only one check of the table finds.
BY_HAND = {
    "room_usage_adds_up": "UPDATE room_usage SET connections = 9",
    "conference_usage_adds_up": "UPDATE conference_usage SET published_minutes = 9",
    "attendance_adds_up": "UPDATE attendance SET billable_minutes = 9",
    "presence_lies_within_the_conference": "UPDATE attendance SET presence_minutes = 9",
    "daily_usage_adds_up": "UPDATE daily_usage SET billable_minutes = 9",
    "every_connection_counts_in_the_peak": "UPDATE daily_usage SET peak_connections = 0",
    "client_usage_adds_up": "UPDATE client_usage SET sent_audio_rated = 9",
    "owner_usage_adds_up": "UPDATE owner_usage SET billable_minutes = 9",
}


@pytest.mark.lake
def test_a_table_that_was_changed_by_hand_is_red_until_it_is_built_again(tmp_path: Path) -> None:
    warehouse, files = Warehouse(places(tmp_path)), [land(tmp_path, "1", [record("a", FIRST, "c")])]
    build(warehouse, FIRST, files)
    checks = {check: table for table in DAILY_TABLES[1:] for check in table.checks}
    assert {check.name for check in checks} == {*BY_HAND}
    with warehouse.connect() as connection:
        for check, table in checks.items():
            assert check.blocking
            connection.execute(BY_HAND[check.name])
            warehouse.look_again(connection, table, table.checks, [FIRST])
            kept = [row["check_name"] for row in run(connection, "FROM check_findings")]
            assert kept == [check.name]
            list(warehouse.build_days(connection, [FIRST], [table], Landed({FIRST: files})))
            assert run(connection, "FROM check_findings") == []
    assert warehouse.built_days().keys() == {FIRST}


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
