"""Exports show no person, and yet the same person is the same in all of them."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import date
from pathlib import Path

import duckdb
import pytest

from cdr_assets.database import WarehouseError
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.people import people_key
from cdr_assets.warehouse.tables import DAILY_TABLES, TABLES
from cdr_assets_tests.expected import exported, in_order, read
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import Landed, build, land

DAY = date(2026, 11, 2)
REF, BOTH, NAME = "ref-of-somebody", "Svetlana Bothnames", "Nameonly Person"
CONFERENCE = "Appointment of Svetlana"
PEOPLE = (REF, BOTH, NAME)


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


WITH_PEOPLE = {"attendance", "conference_usage"}


def not_built(warehouse: Warehouse) -> set[str]:
    """The tables that are due to be built again on the day."""
    return {name for name, days in warehouse.built_partitions().items() if DAY not in days}


def build_what_is_due(warehouse: Warehouse, file: Path) -> None:
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, [DAY], DAILY_TABLES, Landed({DAY: [file]}), skip_current=True))


def test_with_another_key_the_exports_with_people_are_written_again(tmp_path: Path) -> None:
    file = land(tmp_path, "1", CALLS)
    build(Warehouse(tmp_path / "cdr.duckdb"), DAY, [file])
    former = {row["participant"] for row in exported(tmp_path / "published", "attendance")}
    assert not_built(Warehouse(tmp_path / "cdr.duckdb")) == set()
    (tmp_path / "people.key").unlink()
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    assert not_built(warehouse) == WITH_PEOPLE
    build_what_is_due(warehouse, file)
    assert not_built(warehouse) == set()
    found = {row["participant"] for row in exported(tmp_path / "published", "attendance")}
    assert len(found) == len(former)
    assert not found & former


def test_exports_show_people_only_while_somebody_chose_it(tmp_path: Path) -> None:
    file = land(tmp_path, "1", CALLS)
    for in_clear in (False, True, False):
        warehouse = Warehouse(tmp_path / "cdr.duckdb", people_in_clear=in_clear)
        assert not_built(warehouse) >= WITH_PEOPLE
        build_what_is_due(warehouse, file)
        assert not_built(warehouse) == set()
        for name in WITH_PEOPLE:
            in_file, in_table = exported(tmp_path / "published", name), read(tmp_path / "cdr.duckdb", name)
            assert (in_order(in_file) == in_order(in_table)) is in_clear, name


# The key


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "people.key"
    former = os.umask(0)
    try:
        (tmp_path / "people.new").write_text("of a process that was killed")
        key = people_key(file)
    finally:
        os.umask(former)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["people.key"]
    assert len(key) >= 32
    assert people_key(file) == key
    assert people_key(tmp_path / "other.key") != key


def test_a_table_without_people_needs_no_key(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    with warehouse.connect():
        pass
    assert not (tmp_path / "people.key").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"short", bytes(range(128, 192)), b"\xff\xfe" + b"k" * 32], ids=repr)
def test_a_damaged_key_is_an_error_that_names_the_file_and_changes_nothing(tmp_path: Path, content: bytes) -> None:
    warehouse, file = Warehouse(tmp_path / "cdr.duckdb"), tmp_path / "people.key"
    build(warehouse, DAY, [land(tmp_path, "1", CALLS[:1])])
    attendance, before = tmp_path / "published" / "attendance", read(warehouse.path, "attendance")
    exported_before = {path.name: path.read_bytes() for path in attendance.iterdir()}
    file.write_bytes(content)
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    with pytest.raises(WarehouseError, match="holds no key") as error:
        build(warehouse, DAY, [land(tmp_path, "2", CALLS)])
    assert str(file) in str(error.value)
    assert file.read_bytes() == content, "the former key may come back"
    assert read(warehouse.path, "attendance") == before
    assert {path.name: path.read_bytes() for path in attendance.iterdir()} == exported_before
    assert DAY not in warehouse.built_days()
