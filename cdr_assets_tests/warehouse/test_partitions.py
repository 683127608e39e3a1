from __future__ import annotations

import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.database import Connection, WarehouseError, run
from cdr_assets.enablex.records import MAX_RECORD_BYTES
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.checks import BlockedByCheck, look
from cdr_assets.warehouse.table import Table, read_sql
from cdr_assets.warehouse.tables import ATTENDANCE, CALL_DETAIL_RECORDS, CONFERENCE_USAGE, DAILY_TABLES, ROOM_USAGE
from cdr_assets_tests.expected import assert_exact, read
from cdr_assets_tests.location import lengthen
from cdr_assets_tests.places import examples, places
from cdr_assets_tests.reference import Record, utc_day
from cdr_assets_tests.warehouse.landed import Landed, build, land, land_in

DAY = date(2026, 11, 2)


def record(cdr_id: str, **fields: Any) -> Record:
    return {"cdr_id": cdr_id, "trans_date": f"{DAY}T10:00:00.000Z"} | fields


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(places(tmp_path))


def assert_clean(connection: Connection, days: Iterable[date]) -> None:
    """Nothing contradicts the blocking checks on these days."""
    for table in DAILY_TABLES:
        blocking = [check for check in table.checks if check.blocking]
        assert [finding.count for finding in look(connection, table, blocking, sorted(days)) if finding.count] == []


# Days that lie 1, 7, 8 and more days apart.
days = st.sampled_from([1, 2, 8, 9, 17, 20]).map(lambda day: datetime(2026, 11, day))
moments = st.builds(lambda day, second: day + timedelta(seconds=second), days, st.integers(0, 86_399))


@st.composite
def call(draw: st.DrawFn, number: int) -> Record:
    connect = draw(moments)
    length = draw(st.sampled_from([0, 1, 59, 60, 61, 3_600, 90_000])) * 1_000 + draw(st.integers(0, 999))
    disconnect = connect + timedelta(milliseconds=length)
    texts = st.sampled_from(["", "a", "b", "c"])

    def written(time: datetime) -> str:
        return time.isoformat(timespec="milliseconds") + "Z"

    duration = draw(st.sampled_from([length / 1_000, str(length / 1_000), None, ""]))
    return {
        "cdr_id": f"cdr-{number}",
        "trans_date": written(draw(st.sampled_from([connect, disconnect]))),
        "app_id": draw(st.sampled_from(["app-1", "app-2", "", None])),
        "conf_num": draw(st.sampled_from(["", "X", "Y", None])),
        "room": {
            "room_id": draw(st.sampled_from(["r1", "r2", "", None])),
            "connect_dt": written(connect),
            "disconnect_dt": written(disconnect),
            "duration": duration,
        },
        "user": {"ref": draw(texts), "name": draw(texts), "confName": draw(texts)},
        "usage": {"subscribed_minutes": draw(st.sampled_from([1.5, "0.333", 7, None])), "published_minutes": 0.001},
    }


@st.composite
def calls(draw: st.DrawFn) -> list[Record]:
    return [draw(call(number)) for number in range(draw(st.integers(1, 14)))]


@given(records=calls(), seed=st.integers(0, 2**16))
@settings(max_examples=examples(10))
def test_any_order_of_days_any_number_of_times_gives_what_computing_from_scratch_gives(
    records: list[Record], seed: int
) -> None:
    by_day = defaultdict(list)
    for each in records:
        by_day[utc_day(each)].append(each)
    with tempfile.TemporaryDirectory() as folder:
        files = {day: land(Path(folder), str(day), day_records) for day, day_records in by_day.items()}
        rng = random.Random(seed)
        order = [*files, *rng.sample(list(files), k=min(2, len(files)))]
        rng.shuffle(order)
        warehouse = Warehouse(places(Path(folder)))
        with warehouse.connect() as connection:
            while order:
                # Some of the days are built together.
                together = sorted({order.pop() for _ in range(rng.randint(1, len(order)))})
                landed = Landed({day: [file] for day, file in files.items()})
                list(warehouse.build_days(connection, together, DAILY_TABLES, landed))
            assert_clean(connection, files)
        assert_exact(warehouse.places, records)


@pytest.mark.lake
def test_a_conference_that_loses_its_records_on_a_day_is_summed_again(warehouse: Warehouse, tmp_path: Path) -> None:
    late = record("late", conf_num="X", room={"room_id": "r", "duration": 60})
    early = {**late, "cdr_id": "early", "trans_date": "2026-11-01T23:59:00.000Z"}
    build(warehouse, DAY - timedelta(days=1), [land(tmp_path, "early", [early])])
    build(warehouse, DAY, [land(tmp_path, "late", [late])])
    assert_exact(warehouse.places, [early, late])
    build(warehouse, DAY - timedelta(days=1), [land(tmp_path, "none", [])])
    assert_exact(warehouse.places, [late])


def test_of_a_record_that_landed_twice_the_one_in_the_later_file_stays(warehouse: Warehouse, tmp_path: Path) -> None:
    many = [record(f"cdr-{number}", room={"duration": 1}) for number in range(130_000)]
    older = land(tmp_path, "1", [*many, record("twice", room={"duration": 2})])
    newer = land(tmp_path, "2", [record("twice", room={"duration": 3}), record("twice", room={"duration": 4})])
    build(warehouse, DAY, [older, newer])
    assert_exact(warehouse.places, [*many, record("twice", room={"duration": 4})])


def test_of_a_record_twice_in_one_answer_the_last_one_stays(warehouse: Warehouse, tmp_path: Path) -> None:
    many = [record(f"cdr-{number}", room={"duration": 1}) for number in range(130_000)]
    build(warehouse, DAY, [land(tmp_path, "1", [many[0] | {"room": {"duration": 9}}, *many])])
    assert_exact(warehouse.places, many)


MANY = 300_000
LARGEST: dict[str, Record] = {
    "room.room_details": {"room": {"room_details": {f"field{number:06}": [number] for number in range(MANY)}}},
    "stats_quality": {"stats_quality": {"send": {"video": {"avg_bitrate": [0] * 8 * MANY}, "audio": {}}}},
    "another": {"another": ["" for _ in range(6 * MANY)]},
    "user.name": {"user": {"name": "é" * 4 * MANY}},
}


@pytest.mark.parametrize("field", LARGEST)
@pytest.mark.lake
def test_a_record_as_large_as_a_valid_one_may_be_costs_no_other_and_its_changes_are_seen(
    warehouse: Warehouse, tmp_path: Path, field: str
) -> None:
    others = [record(str(number), room={"room_id": "r", "duration": 1}) for number in range(100)]
    first = record("large", call_num="1") | LARGEST[field]
    later = first | {"call_num": "2"}
    assert MAX_RECORD_BYTES * 0.7 < len(json.dumps(later)) < MAX_RECORD_BYTES
    build(warehouse, DAY, [land(tmp_path, "1", [*others, first]), land(tmp_path, "2", [later])])
    column = {"another": None}.get(field, field.replace("user.", "user_").replace("room.", ""))
    with warehouse.connect() as connection:
        assert run(connection, "SELECT count(*) AS records FROM call_detail_records") == [{"records": 101}]
        (row,) = run(connection, "FROM call_detail_records WHERE cdr_id = 'large'")
        assert (row["call_num"], row["versions"], row["lost_fields"]) == ("2", 2, column)
        assert column is None or row[column] is None
        changes = run(connection, "SELECT field, before, after FROM record_changes")
        assert changes == [{"field": "call_num", "before": "1", "after": "2"}]


def test_a_value_of_64_kib_is_kept_and_a_longer_one_is_said_to_be_lost(warehouse: Warehouse, tmp_path: Path) -> None:
    kept = record("kept", conf_num="x" * 65_536, price="y" * 65_534)
    lost = record("lost", conf_num="x" * 65_537, price="y" * 65_535, call_num="1")
    build(warehouse, DAY, [land(tmp_path, "1", [kept, lost]), land(tmp_path, "2", [lost | {"conf_num": "z" * 70_000}])])
    with warehouse.connect() as connection:
        rows = run(connection, "SELECT conf_num, price, lost_fields FROM call_detail_records ORDER BY cdr_id")
        changes = run(connection, "SELECT before, after FROM record_changes")
    assert rows[0] == {"conf_num": kept["conf_num"], "price": f'"{kept["price"]}"', "lost_fields": None}
    assert rows[1] == {"conf_num": None, "price": None, "lost_fields": "conf_num, price"}
    assert changes == [{"before": "x" * 65_536, "after": "z" * 65_536}]


@pytest.mark.parametrize("order", [[0, 1], [1, 0], pytest.param([0, 1, 0], marks=pytest.mark.lake), [1, 0, 1]])
@pytest.mark.parametrize("newer", [0, 1])
def test_a_record_whose_newer_version_lies_on_another_day_is_counted_there(
    warehouse: Warehouse, tmp_path: Path, order: list[int], newer: int
) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    moved = [record("moved", trans_date=f"{day}T10:00:00.000Z", conf_num="X", room={"duration": 60}) for day in days]
    others = [{**each, "cdr_id": f"stays-{number}"} for number, each in enumerate(moved)]
    zone = LandingZone(warehouse.places)
    for number, day in enumerate(days):
        land_in(zone, day, 2 if number == newer else 1, [moved[number], others[number]])
    with warehouse.connect() as connection:
        for number in order:
            built = list(warehouse.build_days(connection, [days[number]], DAILY_TABLES, zone))
            for due in {day for partition in built for day in partition.days_due}:
                list(warehouse.build_days(connection, [due], DAILY_TABLES, zone))
        assert_clean(connection, days)
    assert_exact(warehouse.places, [moved[newer], *others])


WRONG_TIMES = (
    *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T24:00:00Z"),
    *("0000-01-01T00:00:00Z", "-044-03-15T00:00:00Z", "0001-01-01T00:00:00+05:00", f"{DAY} BC", "10000-01-01"),
    *(f"{DAY} 15:30:00 IST", f"{DAY} 15:30:00 PST", f"{DAY} 15:30:00 Asia/Kolkata", f"{DAY} 10:00 PM", f"{DAY}T10Z"),
    *(
        f"{DAY}T15:30:00+24:00",
        f"{DAY}T15:30:00+05:60",
        f"{DAY}T25:00:00Z",
        "2026-11-31",
        "now",
        "infinity",
        "1793613600",
    ),
)
"""Texts that are no times, or times that no record of the day can have."""


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"room": "text"}, "room"),
        ({"room": {}}, None),
        ({"room": None, "user": {}, "usage": {"unknown": 1}}, None),
        ({"room": [1], "usage": 5}, "room, usage"),
        ({"room": {"duration": "abc"}}, "room_duration_s"),
        ({"room": {"duration": "12.5", "connect_dt": "yesterday"}}, "room_connect_dt"),
        ({"room": {"disconnect_dt": "infinity"}}, "room_disconnect_dt"),
        (
            {"room": {"connect_dt": "20261-11-02T10:00:00Z", "disconnect_dt": "-infinity"}},
            "room_connect_dt, room_disconnect_dt",
        ),
        *(
            (
                {"room": {"connect_dt": wrong}, "sigserver": {"disconnect_dt": wrong}},
                "room_connect_dt, sigserver_disconnect_dt",
            )
            for wrong in WRONG_TIMES
        ),
        ({"room": {"connect_dt": "2026-05-03T10:00:00Z", "disconnect_dt": "2027-05-04T10:00:00Z"}}, "room_duration_s"),
        ({"room": {"duration": "", "connect_dt": ""}}, None),
        ({"sip": "perhaps", "published_track": {"audio": "true", "video": [1]}}, "published_video, sip"),
        ({"room": {"duration": 1e300}}, "room_duration_s"),
        ({"room": {"duration": -0.001}}, "room_duration_s"),
        ({"room": {"duration": 2_678_400}, "usage": {"screen_minutes": 44_640}}, None),
        (
            {"room": {"duration": 2_678_400.001}, "usage": {"screen_minutes": 44_640.001}},
            "room_duration_s, screen_minutes",
        ),
        ({"sigserver": {"duration": -1, "hold_duration": "2678401"}}, "sigserver_duration_s, hold_duration_s"),
        ({"usage": {"subscribed_minutes": -0.001, "published_minutes": "-0.0004"}}, "subscribed_minutes"),
        ({"room": {"connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T09:59:59.999Z"}}, "room_duration_s"),
        ({"room": {"connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": "2026-12-03T10:00:00Z"}}, None),
        ({"room": {"connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": "2026-12-03T10:00:00.001Z"}}, "room_duration_s"),
    ],
)
def test_a_field_that_does_not_fit_its_type_is_null_and_named(
    warehouse: Warehouse, tmp_path: Path, fields: Record, lost: str | None
) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [record("odd", **fields), record("even")])])
    rows = {row["cdr_id"]: row for row in read(warehouse.places, "call_detail_records")}
    assert rows["odd"]["lost_fields"] == lost
    assert rows["even"]["lost_fields"] is None
    with warehouse.connect() as connection:
        check = CALL_DETAIL_RECORDS.sql("checks/no_field_was_lost_to_its_type")
        found = run(connection, check, first_date=DAY, last_date=DAY)
    assert found == ([{"usage_date": DAY, "cdr_id": "odd", "lost_fields": lost}] if lost else [])


@pytest.mark.parametrize("boolean", [True, "true"])
def test_both_shapes_load_into_the_same_columns(warehouse: Warehouse, tmp_path: Path, boolean: object) -> None:
    fields = {"published_track": {"audio": boolean}, "room": {"duration": "60.5" if boolean == "true" else 60.5}}
    build(warehouse, DAY, [land(tmp_path, "1", [record("1", **fields)])])
    (row,) = read(warehouse.places, "call_detail_records")
    assert row["published_audio"] is True
    assert str(row["room_duration_s"]) == "60.500"


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("2026-11-02T23:59:59.999Z", datetime(2026, 11, 2, 23, 59, 59, 999_000)),
        ("2026-11-02t10:00:00z", datetime(2026, 11, 2, 10)),
        ("2026-11-03T01:00:00.5+05:30", datetime(2026, 11, 2, 19, 30, 0, 500_000)),
        ("2026-11-02T01:00:00-0800", datetime(2026, 11, 2, 9)),
        ("2026-11-02T10:00:00", datetime(2026, 11, 2, 10)),
        ("2026-11-02 10:00:00", datetime(2026, 11, 2, 10)),
        ("2026-11-02T23:59:59.9999999Z", datetime(2026, 11, 2, 23, 59, 59, 999_999)),
    ],
)
def test_a_time_is_read_in_utc(warehouse: Warehouse, tmp_path: Path, given: str, time: datetime) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [record("1", trans_date=given, room={"connect_dt": given})])])
    (row,) = read(warehouse.places, "call_detail_records")
    assert (row["trans_date"], row["room_connect_dt"], row["lost_fields"]) == (time, time, None)


@pytest.mark.lake
def test_a_day_that_never_landed_is_not_an_empty_one(warehouse: Warehouse, tmp_path: Path) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [record("1")])])
    with pytest.raises(WarehouseError, match=r"2026-11-02 has not landed.*period_cdr"):
        build(warehouse, DAY, [])
    assert_exact(warehouse.places, [record("1")])


@pytest.mark.lake
def test_a_failed_load_keeps_the_former_rows(warehouse: Warehouse, tmp_path: Path) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [record("1")])])
    unreadable = tmp_path / "2.ndjson.zst"
    unreadable.write_bytes(zstandard.compress(b'{"cdr_id": "2"}\nnot json\n'))
    with pytest.raises(WarehouseError, match="could not read 1 of the landed records"):
        build(warehouse, DAY, [unreadable])
    assert_exact(warehouse.places, [record("1")])


@pytest.mark.parametrize("offset", ["+0530", "+05:30", "+05:30:00"])
@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("clock", ["T15:30:00", " 15:30", "t15:30:00.0"])
def test_an_offset_is_never_dropped(clock: str, space: str, offset: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'").execute(read_sql("macros"))
        given = [f"{DAY}{clock}{space}{offset}", f"{DAY}{clock}"]
        found = connection.execute("SELECT utc($1), utc($2)", given).fetchone()
    assert found == (datetime(2026, 11, 2, 10), datetime(2026, 11, 2, 15, 30))


@pytest.mark.parametrize("wrong", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("end", ["connect_dt", "disconnect_dt"])
def test_a_wrong_clock_inflates_no_figure(warehouse: Warehouse, tmp_path: Path, end: str, wrong: str) -> None:
    room = {"room_id": "r", "connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T10:30:00Z", "duration": 1800}
    records = [record("right", conf_num="c", room=room), record("wrong", conf_num="c", room=room | {end: wrong})]
    build(warehouse, DAY, [land(tmp_path, "1", records)])
    assert_exact(warehouse.places, records)
    (conference,), (day,) = read(warehouse.places, "conference_usage"), read(warehouse.places, "daily_usage")
    assert conference["conference_minutes"] == 30
    assert conference["participant_minutes"] == 60
    assert day["p95_lateness_s"] < 366 * 86_400


LEFT_BEFORE_ENTRY = {"connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T09:59:30Z"}


@pytest.mark.parametrize(
    "fields",
    [
        {"room": {"room_id": "r", "duration": -60}},
        {"room": {"room_id": "r", "duration": "-0.5"}, "usage": {"subscribed_minutes": -7.5}},
        {"room": {"room_id": "r", **LEFT_BEFORE_ENTRY}},
        {"room": {"room_id": "r", "duration": "999999999999999.999"}, "usage": {"published_minutes": 999999999999999}},
    ],
)
def test_a_time_that_cannot_be_counts_as_none_and_stops_no_day(
    warehouse: Warehouse, tmp_path: Path, fields: Record
) -> None:
    records = [record(str(number), **fields) for number in range(61)]
    build(warehouse, DAY, [land(tmp_path, "1", records)])
    assert_exact(warehouse.places, records)
    (row,) = read(warehouse.places, "room_usage")
    counted = ("connections", "participant_minutes", "billable_minutes", "subscribed_minutes", "published_minutes")
    assert [row[name] for name in counted] == [61, 0, 0, 0, 0]
    assert all(row["lost_fields"] for row in read(warehouse.places, "call_detail_records"))


@pytest.mark.lake
def test_minutes_that_overflow_their_column_turn_the_check_red(warehouse: Warehouse, tmp_path: Path) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [record(str(number), room={"room_id": "r"}) for number in range(61)])])
    lengthen(warehouse.places)
    with (
        warehouse.connect() as connection,
        pytest.raises(BlockedByCheck, match="room_usage_adds_up fails on 2026-11-02 with 1 rows"),
    ):
        list(warehouse.build_days(connection, [DAY], [ROOM_USAGE], Landed({})))


def test_a_checkpoint_between_two_tables_gives_nobody_another_name(warehouse: Warehouse, tmp_path: Path) -> None:
    """It renumbers rows, if many before them were deleted."""
    people = {"user-1": "Ada", "user-2": "Bo", "user-3": "Cleo"}
    calls = [record(ref, conf_num="c", user={"ref": ref, "name": name}) for ref, name in people.items()]
    landed = Landed({DAY: [land(tmp_path, "1", calls)]})
    with warehouse.connect() as connection:
        older = "INSERT INTO call_detail_records BY NAME SELECT DATE '2020-01-01' AS usage_date, range AS cdr_id FROM "
        connection.execute(f"{older} range(300_000)")
        list(warehouse.build_days(connection, [DAY], [CALL_DETAIL_RECORDS], landed))
        connection.execute(f"{older} range(300_000, 600_000)")
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM call_detail_records WHERE cdr_id SIMILAR TO '[12].{5}'")
        for _ in warehouse.build_days(connection, [DAY], [CONFERENCE_USAGE, ATTENDANCE], landed):
            connection.execute("CHECKPOINT")
    assert {row["participant"]: row["user_name"] for row in read(warehouse.places, "attendance")} == people


def number_of_slices(connection: Connection, table: Table) -> int:
    if table is ROOM_USAGE:
        (found,) = run(connection, table.sql("slices"), first_date=DAY, last_date=DAY)
        return int(found["slices"])
    return len(run(connection, read_sql("conferences/slices"), first_date=DAY, last_date=DAY))


def test_more_rooms_and_conferences_than_are_summed_at_once_are_all_summed(warehouse: Warehouse) -> None:
    calls, each = 410_000, 3
    with warehouse.connect() as connection:
        connection.execute(
            "INSERT INTO call_detail_records BY NAME "
            "SELECT $day::DATE AS usage_date, number::VARCHAR AS cdr_id, 60.001 AS room_duration_s, "
            "if(number < $each, NULL, 'r' || number // $each) AS room_id, "
            "if(number < $each, NULL, 'c' || number // $each) AS conf_num, "
            "$day::TIMESTAMP AS room_connect_dt, $day::TIMESTAMP + INTERVAL 1 HOUR AS room_disconnect_dt "
            "FROM range($calls * $each) AS calls(number)",
            {"day": DAY, "calls": calls, "each": each},
        )
        for built in warehouse.build_days(connection, [DAY], [ROOM_USAGE, CONFERENCE_USAGE], Landed({})):
            assert built.summary.row_count == calls
            assert number_of_slices(connection, built.table) > 1
            found = connection.execute(
                "SELECT DISTINCT connections, participants, participant_minutes, billable_minutes, peak_participants "
                f"FROM {built.table.name}"
            ).fetchall()
            assert found == [(each, each, Decimal("3.000"), 2 * each, each)]
