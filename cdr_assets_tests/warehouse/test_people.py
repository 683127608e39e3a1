"""Exports show no person, and yet the same person is the same in all of them."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from cdr_assets.database import WarehouseError
from cdr_assets.days import days_between
from cdr_assets.landing.zone import LandingZone
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.storage import Folder, ReadableFolder
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.exports import write_export
from cdr_assets.warehouse.people import IDS, PeopleInExports, is_id, people_key
from cdr_assets.warehouse.rooms import RoomsFile
from cdr_assets.warehouse.table import Facts
from cdr_assets.warehouse.tables import DAILY_TABLES, RECORD_CHANGES, TABLES
from cdr_assets_tests.expected import exported, in_order, read
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import Landed, build, land, land_in

DAY = date(2026, 11, 2)
REF, BOTH, NAME = "ref-of-somebody", "Svetlana Bothnames", "Nameonly Person"
CONFERENCE = "Appointment of Svetlana"
PEOPLE = (REF, BOTH, NAME)
NAMES = {table.name for table in DAILY_TABLES}


def call(cdr_id: str, conf_num: str | None, **user: str) -> Record:
    room = {"room_id": "r", "duration": 60 * int(cdr_id)}
    return {"cdr_id": cdr_id, "trans_date": f"{DAY}T10:00:00Z", "conf_num": conf_num, "room": room, "user": user}


CALLS = [
    call("1", "X", ref=REF, name=BOTH, confName=CONFERENCE),
    call("2", "X", name=NAME),
    call("3", "X"),
    call("4", "Y", ref=REF, name=BOTH),
    call("5", "Y", name=NAME),
    # A name that is another person's reference, and a reference that is another record's id.
    call("6", "Y", name=REF),
    call("7", "Y", ref="3"),
    call("8", None, name=NAME),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the calls in the tables and in the exports."""
    folder = tmp_path_factory.mktemp("people")
    build(Warehouse(folder / "cdr.duckdb"), DAY, [land(folder, "1", CALLS)])
    return folder


def by_person(folder: Path) -> dict[tuple[str, str], set[str]]:
    """The hashes of each person. No two calls are of one length."""
    hashed = {row["participant_minutes"]: row["participant"] for row in exported(folder / "published", "attendance")}
    assert len(hashed) == len(CALLS)
    hashes = defaultdict(set)
    for row in read(folder / "cdr.duckdb", "attendance"):
        hashes[row["participant_known_by"], row["participant"]].add(hashed[row["participant_minutes"]])
    return dict(hashes)


def test_no_person_is_in_any_byte_of_the_exports(folder: Path) -> None:
    rows = read(folder / "cdr.duckdb", "attendance")
    assert {*PEOPLE} <= {row["participant"] for row in rows} | {row["user_name"] for row in rows}
    assert CONFERENCE in {row["conf_name"] for row in read(folder / "cdr.duckdb", "conference_usage")}
    secrets = [text.encode() for text in (*PEOPLE, CONFERENCE, (folder / "people.key").read_text().strip())]
    files = [*(folder / "published").glob("*/*.parquet")]
    assert {file.parent.name for file in files} >= {"attendance", "conference_usage", "owner_usage"}
    for file in files:
        # The pages are compressed, so the values are looked at, too, and what the footer says of them.
        parts = [file.read_bytes()]
        for query in ("FROM '{}'", "FROM parquet_metadata('{}')", "FROM parquet_kv_metadata('{}')"):
            parts += [repr(row).encode() for row in duckdb.execute(query.format(file)).fetchall()]
        assert [secret for secret in secrets for part in parts if secret in part] == [], file


def test_nobody_of_a_month_is_in_any_value_of_the_exports(tmp_path: Path) -> None:
    days = days_between(date(2026, 10, 1), date(2026, 10, 30))
    zone, warehouse = LandingZone(tmp_path), Warehouse(tmp_path / "cdr.duckdb")
    sandbox = Settings(connections=60)
    for number, day in enumerate(days, start=1):
        newest = records_of_day(sandbox, day)
        # Every field that can name somebody is restated once.
        older = [{**each, "user": {**each["user"], "name": f"Former {each['user']['name']}"}} for each in newest[:20]]
        land_in(zone, day, number, older)
        land_in(zone, day, 100 + number, newest)
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, days, DAILY_TABLES, zone))
    records = read(tmp_path / "cdr.duckdb", "call_detail_records")
    telling = ("user_ref", "user_name", "user_ip", "user_agent", "conf_name", "sigserver_ip")
    secrets = {row[column] for row in records for column in telling if row[column]}
    secrets |= {f"Former {row['user_name']}" for row in records}
    secrets |= {
        name for row in records if row["room_details"] for name in [json.loads(row["room_details"]).get("name")] if name
    }
    assert len(secrets) > 100
    changed = exported(tmp_path / "published", "record_changes")
    assert {row["field"] for row in changed} == {"user.name"}
    pattern = re.compile("|".join(map(re.escape, sorted(secrets))))
    tables = [table.name for table in TABLES if table.exported]
    for name in tables:
        for row in exported(tmp_path / "published", name):
            texts = [str(value) for value in row.values() if isinstance(value, str)]
            assert [text for text in texts if pattern.search(text)] == [], name
    assert len(exported(tmp_path / "published", "call_detail_records")) == len(records)


FIELDS = {
    # As EnableX names it: how the export names it, and whether it has the values.
    "room.duration": ("room.duration", True),
    "usage.published_minutes": ("usage.published_minutes", True),
    "sip": ("sip", True),
    "published_track.url": ("published_track.url", True),
    "trans_date": ("trans_date", True),
    "conf_num": ("conf_num", True),
    "user.name": ("user.name", False),
    "user.ref": ("user.ref", False),
    "user.name.of_the.mother": ("user.name", False),
    "sigserver.ip": ("sigserver.ip", False),
    "room.room_details.name": ("room.room_details", False),
    "stats_quality.send.video.avg_bitrate": ("stats_quality", False),
    "user.Svetlana Bothnames": ("another", False),
    "Svetlana Bothnames": ("another", False),
    "room.durations": ("another", False),
    "priceless": ("another", False),
}


VALUES = {
    "room.duration": ("60", "-1.5"),
    "usage.published_minutes": ("0", "2678400"),
    "sip": ("true", "No"),
    "published_track.url": ("false", "1"),
    "trans_date": ("2026-11-02T10:00:00.000Z", "2026-11-02 15:30:00+05:30"),
    "conf_num": ("507f1f77bcf86cd799439011", "a_b-c.1"),
}
TEXTS = ("sip:alice@example.com", "+4930123456", "Bob Miller", "https://a.example/?who=bob", '["a"]', "2026-11-02 Bob")


def test_an_exported_change_says_no_more_than_that_a_field_changed_if_it_can_name_somebody(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    build(warehouse, DAY, [land(tmp_path, "1", CALLS)])
    given = [(field, pair) for field in FIELDS for pair in (VALUES.get(field, ("b", "a")), *((t, t) for t in TEXTS))]
    with warehouse.connect() as connection:
        for number, (field, (before, after)) in enumerate(given):
            connection.execute(
                "INSERT INTO record_changes BY NAME SELECT "
                "$day::DATE AS usage_date, $id AS cdr_id, $field AS field, $before AS before, $after AS after",
                {"day": str(DAY), "id": str(number), "field": field, "before": before, "after": after},
            )
        write_export(
            connection, ReadableFolder(tmp_path / "out"), RECORD_CHANGES, DAY, PeopleInExports(Folder(tmp_path))
        ).put_in_place()
    found = {int(row["cdr_id"]): row for row in exported(tmp_path / "out", "record_changes")}
    for number, (field, pair) in enumerate(given):
        name, has_values = FIELDS[field]
        shown = pair if has_values and pair == VALUES[field] else (None, None)
        assert (found[number]["field"], (found[number]["before"], found[number]["after"])) == (name, shown), field


@pytest.mark.parametrize(
    ("text", "is_shown"),
    [
        ("507f1f77bcf86cd799439011", True),
        ("a_b-c.1", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("Bob Miller", False),
        ("bob@example.com", False),
        ("sip:bob", False),
        ("+4930123456", False),
        ("Zoë", False),
        ("bob\n", False),
        ("b\0b", False),
    ],
)
def test_only_what_has_the_shape_of_an_id_is_shown_for_one_and_all_tables_show_the_same(
    tmp_path: Path, text: str, is_shown: bool
) -> None:
    record = call("1", text) | {"cdr_id": text, "app_id": text, "parent_partner_id": text}
    record["room"] |= {"room_id": text, "room_details": {"settings": {"billing_code": text}}}
    record["user"] = {"role": text}
    record["stats_quality"] = {"send": {"video": {"avg_quality": "Good"}}}
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    build(warehouse, DAY, [land(tmp_path, "1", [record]), land(tmp_path, "2", [{**record, "sip": "true"}])])
    shown, tables = set(), set()
    for table in (table for table in TABLES if table.exported):
        for row in exported(tmp_path / "published", table.name):
            found = {name: row[name] for name in (*IDS, "billing_code") if name in row}
            shown |= {*found.values()}
            tables |= {table.name} if found else set()
            assert row.get("user_role") in (None, "other")
    assert len(tables) == len(DAILY_TABLES)
    assert len(shown) == 1
    assert (shown == {text}) == is_shown == is_id(text)


def test_a_billing_code_of_the_file_of_rooms_is_shown_however_it_is_written(tmp_path: Path) -> None:
    rooms = tmp_path / "rooms.csv"
    rooms.write_text("room_id,room_name,owner_ref,billing_code,valid_from,valid_to\nr,,,Cost centre 7/1,,\n")
    warehouse = Warehouse(tmp_path / "cdr.duckdb", facts=Facts(RoomsFile(rooms), is_provisional=lambda day: False))
    other = call("2", "X")
    other["room"]["room_details"] = {"settings": {"billing_code": "Bob Miller"}}
    build(warehouse, DAY, [land(tmp_path, "1", [call("1", "X"), other])])
    found = {row["billing_code"]: row["participant_minutes"] for row in exported(tmp_path / "published", "owner_usage")}
    assert found.pop("Cost centre 7/1") == 1
    ((hashed, minutes),) = found.items()
    assert re.fullmatch("[0-9a-f]{32}", hashed)
    assert minutes == 2


def test_an_exported_finding_has_no_sample_and_no_note(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    build(warehouse, DAY, [land(tmp_path, "1", [call("1", "X", ref=REF) | {"sip": BOTH}])])
    (finding,) = read(tmp_path / "cdr.duckdb", "check_findings")
    assert finding["sample"]
    (shown,) = exported(tmp_path / "published", "check_findings")
    assert shown == {name: value for name, value in finding.items() if name not in ("sample", "note")}


def test_a_record_has_the_person_that_attendance_has(folder: Path) -> None:
    def people(table: str) -> Counter[tuple[str, str, str, str]]:
        rows = exported(folder / "published", table)
        return Counter(
            (row["conf_num"], row["participant_known_by"], row["participant"], row["client"]) for row in rows
        )

    in_records, in_attendance = people("call_detail_records"), people("attendance")
    assert {*in_records} == {*in_attendance}
    assert in_records.total() == len(CALLS)


def test_an_owner_is_shown_only_if_the_file_of_rooms_names_it_and_has_the_hash_of_the_person(tmp_path: Path) -> None:
    rooms = tmp_path / "rooms.csv"
    rooms.write_text("room_id,room_name,owner_ref,billing_code,valid_from,valid_to\nother,,ward,,,\n")
    warehouse = Warehouse(tmp_path / "cdr.duckdb", facts=Facts(RoomsFile(rooms), is_provisional=lambda day: False))
    records = [call(str(number), "X", ref=REF) for number in range(1, 5)]
    for record, owner in zip(records, (REF, "ward", "ward", None), strict=True):
        record["room"]["room_details"] = {"owner_ref": owner}
    build(warehouse, DAY, [land(tmp_path, "1", records)])
    found = {row["owner_ref"]: row["connections"] for row in exported(tmp_path / "published", "owner_usage")}
    (person,) = {row["participant"] for row in exported(tmp_path / "published", "attendance")}
    assert found == {person: 1, "ward": 2, None: 1}


@pytest.mark.parametrize(("name", "hidden"), [("attendance", "user_name"), ("conference_usage", "conf_name")])
def test_the_columns_of_the_export_are_those_of_the_table_without_the_name(
    folder: Path, name: str, hidden: str
) -> None:
    (table,) = (table for table in TABLES if table.name == name)
    (row, *_) = exported(folder / "published", name)
    assert [*row] == [column.name for column in table.columns if column.name != hidden]


def test_a_person_with_a_reference_is_the_same_everywhere_and_a_name_only_in_its_conference(folder: Path) -> None:
    hashes = by_person(folder)
    assert {person: len(found) for person, found in hashes.items()} == {
        ("user_ref", REF): 1,
        ("user_name", NAME): 3,
        ("cdr_id", "3"): 1,
        ("user_name", REF): 1,
        ("user_ref", "3"): 1,
    }
    everybody = [found for of_person in hashes.values() for found in of_person]
    assert len(everybody) == len({*everybody})
    assert all(len(found) == 32 for found in everybody)
    assert not {*everybody} & {*PEOPLE, *(record["cdr_id"] for record in CALLS)}


def test_the_key_decides_the_hashes_and_stays_the_same(tmp_path: Path) -> None:
    def hashes(data: str) -> set[str]:
        (tmp_path / data).mkdir(exist_ok=True)
        build(Warehouse(tmp_path / data / "cdr.duckdb"), DAY, [land(tmp_path, "1", CALLS)])
        return {row["participant"] for row in exported(tmp_path / data / "published", "attendance")}

    first = hashes("one")
    assert hashes("one") == first
    other = hashes("other")
    assert len(other) == len(first)
    assert not first & other
    (tmp_path / "other" / "people.key").write_text((tmp_path / "one" / "people.key").read_text())
    assert hashes("other") == first, "who restores a data folder has the same people"


def not_built(warehouse: Warehouse) -> set[str]:
    """The tables that are due to be built again on the day."""
    return {name for name, days in warehouse.built_partitions().items() if DAY not in days}


def build_what_is_due(warehouse: Warehouse, file: Path) -> None:
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, [DAY], DAILY_TABLES, Landed({DAY: [file]}), skip_current=True))


def test_with_another_key_the_exports_are_written_again(tmp_path: Path) -> None:
    file = land(tmp_path, "1", CALLS)
    build(Warehouse(tmp_path / "cdr.duckdb"), DAY, [file])
    former = {row["participant"] for row in exported(tmp_path / "published", "attendance")}
    assert not_built(Warehouse(tmp_path / "cdr.duckdb")) == set()
    (tmp_path / "people.key").unlink()
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    assert not_built(warehouse) == NAMES
    build_what_is_due(warehouse, file)
    assert not_built(warehouse) == set()
    found = {row["participant"] for row in exported(tmp_path / "published", "attendance")}
    assert len(found) == len(former)
    assert not found & former


def test_exports_show_people_only_while_somebody_chose_it(tmp_path: Path) -> None:
    file = land(tmp_path, "1", CALLS)
    for in_clear in (False, True, False):
        warehouse = Warehouse(tmp_path / "cdr.duckdb", people_in_clear=in_clear)
        assert not_built(warehouse) == NAMES
        build_what_is_due(warehouse, file)
        assert not_built(warehouse) == set()
        for name in ("call_detail_records", "conference_usage", "attendance"):
            in_file, in_table = exported(tmp_path / "published", name), read(tmp_path / "cdr.duckdb", name)
            assert (in_order(in_file) == in_order(in_table)) is in_clear, name


def test_copies_in_clear_of_days_that_nobody_builds_again_go_with_the_setting(tmp_path: Path) -> None:
    records = [call("1", "X", ref=REF) | {"sip": BOTH}]
    build(Warehouse(tmp_path / "cdr.duckdb", people_in_clear=True), DAY, [land(tmp_path, "1", records)])
    assert "sample" in exported(tmp_path / "published", "check_findings")[0]
    next_day = DAY + timedelta(days=1)
    later = [{**call("2", "Y"), "trans_date": f"{next_day}T10:00:00Z"}]
    build(Warehouse(tmp_path / "cdr.duckdb"), next_day, [land(tmp_path, "2", later)])
    left = [exported(tmp_path / "published", name) for name in NAMES]
    assert not any(row["usage_date"] == DAY for rows in left for row in rows)
    (finding,) = exported(tmp_path / "published", "check_findings")
    assert finding["usage_date"] == DAY
    assert "sample" not in finding


# The key


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        key = people_key(Folder(tmp_path / "data"))
    finally:
        os.umask(former)
    assert (tmp_path / "data" / "people.key").stat().st_mode & 0o777 == 0o600
    assert len(key) >= 32
    assert people_key(Folder(tmp_path / "data")) == key
    assert people_key(Folder(tmp_path / "other")) != key


def test_a_warehouse_without_days_needs_no_key(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    with warehouse.connect():
        pass
    assert not (tmp_path / "people.key").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"short", bytes(range(128, 192)), b"\xff\xfe" + b"k" * 32], ids=repr)
def test_a_damaged_key_is_an_error_that_names_the_file_and_changes_nothing(tmp_path: Path, content: bytes) -> None:
    warehouse, file = Warehouse(tmp_path / "cdr.duckdb"), tmp_path / "people.key"
    build(warehouse, DAY, [land(tmp_path, "1", CALLS[:1])])
    attendance, before = tmp_path / "published" / "attendance", read(warehouse.places.file, "attendance")
    exported_before = {path.name: path.read_bytes() for path in attendance.iterdir()}
    file.write_bytes(content)
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    with pytest.raises(WarehouseError, match="holds no key") as error:
        build(warehouse, DAY, [land(tmp_path, "2", CALLS)])
    assert str(file) in str(error.value)
    assert file.read_bytes() == content, "the former key may come back"
    assert read(warehouse.places.file, "attendance") == before
    assert {path.name: path.read_bytes() for path in attendance.iterdir()} == exported_before
    assert DAY not in warehouse.built_days()
