"""Versions of a record in the tables: which one counts, under which day, and what it changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdr_assets.database import Connection, WarehouseError
from cdr_assets.enablex.records import Batch, Lines
from cdr_assets.landing.ingest import ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.changes import changed_fields
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.expected import assert_exact, in_order, read
from cdr_assets_tests.landing.places import content_of, name_in, overwrite, put, remove
from cdr_assets_tests.landing.test_ingest import batches, one
from cdr_assets_tests.places import places
from cdr_assets_tests.reference import Record, Row, utc_day

DAY = date(2026, 11, 2)
DAYS = [DAY + timedelta(days=number) for number in range(3)]


class Account:
    """A landing zone and its warehouse. Days are built when they are due, as the sensors would have it."""

    def __init__(self, folder: Path) -> None:
        self.zone = LandingZone(places(folder))
        self.warehouse = Warehouse(places(folder))
        self.built: dict[date, str] = {}

    def answer(self, *records: Record, day: date | None = None, replace: bool = False) -> None:
        """Lands an answer: for a whole day, or else for whatever it has."""
        ingest(self.zone, one(batches(*records)), "period" if day else "room", [day] if day else [], replace)

    def build(self, *days: date) -> None:
        with self.warehouse.connect() as connection:
            self._build(connection, days)

    def catch_up(self) -> None:
        """Builds what is due until nothing is."""
        with self.warehouse.connect() as connection:
            for _ in range(20):
                due = [day for day, version in self.zone.days().items() if self.built.get(day) != version]
                if not due:
                    return
                self._build(connection, sorted(due))
        raise AssertionError("days are due for ever")

    def _build(self, connection: Connection, days: Sequence[date]) -> None:
        built = list(self.warehouse.build_days(connection, days, DAILY_TABLES, self.zone))
        self.built.update((day, self.zone.version(day)) for day in days)
        for other in {other for partition in built for other in partition.days_due}:
            self.built.pop(other, None)

    def rows(self, table: str) -> list[Row]:
        return read(self.warehouse.places, table)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def record(cdr_id: str, day: date = DAY, **fields: Any) -> Record:
    return {
        "cdr_id": cdr_id,
        "app_id": "app",
        "trans_date": f"{day}T10:00:00.000Z",
        "conf_num": "X",
        "room": {"room_id": "r", "duration": 60},
        **fields,
    }


def versions(account: Account) -> dict[str, tuple[date, int]]:
    return {row["cdr_id"]: (row["usage_date"], row["versions"]) for row in account.rows("call_detail_records")}


# Which version counts


@pytest.mark.lake
def test_a_record_says_when_it_landed_and_how_many_versions_did(account: Account) -> None:
    account.answer(record("a"), record("b"), day=DAY)
    account.answer(record("a", user={"name": "new"}), record("b"), record("c"), day=DAY)
    account.answer(record("a", user={"name": "new"}), record("b"), record("c"), day=DAY)
    account.answer(record("a"), record("b"), record("c"), day=DAY)
    account.catch_up()
    first, second, third = (file.landed_at.replace(tzinfo=None) for file in account.zone.files(DAY))
    found = {
        row["cdr_id"]: (row["first_landed_at"], row["landed_at"], row["versions"])
        for row in account.rows("call_detail_records")
    }
    assert found == {"a": (first, third, 3), "b": (first, first, 1), "c": (second, second, 1)}


@pytest.mark.parametrize("built_between", [False, True])
def test_a_record_that_moved_away_and_back_lies_where_it_came_back(account: Account, built_between: bool) -> None:
    here, there = record("a"), record("a", DAYS[1])
    for answer, day in ((here, DAY), (there, DAYS[1]), (here, DAY)):
        account.answer(answer, record(f"stays on {day}", day), day=day)
        if built_between or day != DAY:
            account.catch_up()
    account.catch_up()
    assert_exact(account.warehouse.places, [here, record(f"stays on {DAY}"), record(f"stays on {DAYS[1]}", DAYS[1])])
    assert versions(account)["a"] == (DAY, 3)
    account.answer(here, record(f"stays on {DAY}"), day=DAY)
    assert len(account.zone.files(DAY)) == 2


def test_a_record_that_moved_and_was_then_replaced_away_lies_where_it_was(account: Account) -> None:
    account.answer(record("a"), day=DAY)
    account.answer(record("a", DAYS[1]), record("b", DAYS[1]), day=DAYS[1])
    account.catch_up()
    account.answer(record("b", DAYS[1]), day=DAYS[1], replace=True)
    account.catch_up()
    assert_exact(account.warehouse.places, [record("a"), record("b", DAYS[1])])


def test_a_record_whose_older_version_was_replaced_away_has_one_version_fewer(account: Account) -> None:
    account.answer(record("a", room={"room_id": "r", "duration": 30}), record("b"), day=DAY)
    account.answer(record("a", DAYS[1]), day=DAYS[1])
    account.catch_up()
    assert versions(account)["a"] == (DAYS[1], 2)
    account.answer(record("b"), day=DAY, replace=True)
    account.catch_up()
    (landed,) = account.zone.files(DAYS[1])
    assert versions(account)["a"] == (DAYS[1], 1)
    (row,) = (row for row in account.rows("call_detail_records") if row["cdr_id"] == "a")
    assert row["first_landed_at"] == landed.landed_at.replace(tzinfo=None)
    assert not account.rows("record_changes")


def test_of_a_record_on_two_days_of_one_answer_the_later_day_counts(account: Account) -> None:
    for number in range(5):
        both = [record(str(number), DAYS[1]), record(str(number))]
        account.answer(*both, day=DAY)
        account.answer(*both)
    account.catch_up()
    assert {cdr_id: day for cdr_id, (day, _) in versions(account).items()} == dict.fromkeys("01234", DAYS[1])


def test_folders_above_the_landing_zone_do_not_matter(tmp_path: Path) -> None:
    account = Account(tmp_path / "usage_date=2020-01-01" / "data")
    account.answer(record("a"), day=DAY)
    account.answer(record("a", DAYS[1]), day=DAYS[1])
    account.catch_up()
    assert_exact(account.warehouse.places, [record("a", DAYS[1])])


@pytest.mark.parametrize(("moves_from", "to"), [(0, 1), (1, 0)])
def test_days_that_are_built_together_are_not_current_if_one_of_them_takes_a_record_from_another(
    account: Account, moves_from: int, to: int
) -> None:
    account.answer(record("a", DAYS[moves_from]), record("b", DAYS[moves_from]), record("c", DAYS[to]))
    account.catch_up()
    account.answer(record("a", DAYS[to]), day=DAYS[to])
    with account.warehouse.connect() as connection:
        list(account.warehouse.build_days(connection, DAYS[:2], DAILY_TABLES, account.zone, skip_current=True))
    assert_exact(
        account.warehouse.places, [record("a", DAYS[to]), record("b", DAYS[moves_from]), record("c", DAYS[to])]
    )


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.lake), *range(3, 12)])
def test_in_whatever_order_days_are_answered_and_built_the_tables_hold_the_newest_versions(
    account: Account, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    landed: dict[date, list[Record]] = {day: [] for day in DAYS}
    for request in range(random.randint(3, 12)):
        day = random.choice(DAYS)
        answer = [
            record(cdr_id, random.choice([day, day, *DAYS]), user={"name": random.choice("xy")})
            for cdr_id in random.sample("abcdef", random.randint(0, 6))
        ]
        covers, replace = random.random() < 0.6, random.random() < 0.15
        account.answer(*answer, day=day if covers else None, replace=covers and replace)
        if covers and replace:
            landed[day] = []
        # Of two versions in one answer, the one of the later day is newer.
        for number, each in enumerate(sorted(answer, key=utc_day)):
            landed[utc_day(each)].append({**each, "_order": (request, number)})
        built = [day for day in DAYS if random.random() < 0.5 and account.zone.files(day)]
        if random.random() < 0.7 and built:
            account.build(*built)
    account.catch_up()
    newest: dict[str, Record] = {}
    for each in sorted((each for day in DAYS for each in landed[day]), key=lambda each: each["_order"]):
        newest[each["cdr_id"]] = {name: value for name, value in each.items() if name != "_order"}
    assert_exact(account.warehouse.places, newest.values())
    again = Account(tmp_path)
    again.warehouse = Warehouse(places(tmp_path / "again"))
    again.catch_up()
    for table in (table.name for table in DAILY_TABLES):
        assert in_order(again.rows(table)) == in_order(account.rows(table)), table


@pytest.mark.lake
def test_only_the_files_that_landed_since_are_typed(account: Account) -> None:
    account.answer(record("a"), record("b"), day=DAY)
    account.catch_up()
    (first,) = account.zone.files(DAY)
    # Whatever is in it now, it is not read again as long as nothing in it changed.
    overwrite(account.zone, DAY, first, b"?" * first.size)
    account.answer(record("c"), day=DAY)
    with pytest.raises(WarehouseError):
        account.build(DAYS[1])
    account.build(DAY)
    assert versions(account).keys() == {"a", "b", "c"}


# What a version changed


def test_each_changed_field_of_a_later_version_has_a_row(account: Account) -> None:
    answers = [
        record("a", user={"name": "x", "token": "secret"}, price={"amount": 1}),
        record("a", user={"name": "y", "token": "other"}, price={"amount": 1.0}),
        record("a", user={"name": "y", "token": "third"}, price={"amount": 1}),
        record("a", user=None, room={"room_id": "r", "duration": 90, "room_details": {"tags": [1, 2]}}),
    ]
    for answer in answers:
        account.answer(answer, record("same"), day=DAY)
        account.catch_up()
    landed_at = [file.landed_at.replace(tzinfo=None) for file in account.zone.files(DAY)]
    assert {row["cdr_id"]: row["versions"] for row in account.rows("call_detail_records")} == {"a": 4, "same": 1}
    found = [
        (row["version"], row["landed_at"], row["field"], row["before"], row["after"])
        for row in account.rows("record_changes")
    ]
    assert sorted(found) == [
        (2, landed_at[1], "user.name", "x", "y"),
        (4, landed_at[3], "price.amount", "1", None),
        (4, landed_at[3], "room.duration", "60", "90"),
        (4, landed_at[3], "room.room_details.tags", None, "[1, 2]"),
        (4, landed_at[3], "user.name", "y", None),
    ]
    assert {(row["usage_date"], row["cdr_id"], row["app_id"]) for row in account.rows("record_changes")} == {
        (DAY, "a", "app")
    }
    if not account.warehouse.lake:
        assert b"secret" not in account.warehouse.places.file.read_bytes()
    assert "secret" not in str([account.rows(table.name) for table in DAILY_TABLES])


def test_changes_of_earlier_answers_stay_when_a_later_one_changes_other_records(account: Account) -> None:
    for names in ("xx", "yx", "yy", "yy"):
        a, b = (record(cdr_id, user={"name": name}) for cdr_id, name in zip("ab", names, strict=True))
        account.answer(a, b, record(f"late {names}"), day=DAY)
        account.catch_up()
    found = {(row["cdr_id"], row["version"], row["field"]) for row in account.rows("record_changes")}
    assert found == {("a", 2, "user.name"), ("b", 2, "user.name")}


def test_a_record_that_moved_tells_so_under_its_new_day(account: Account) -> None:
    account.answer(record("a"), day=DAY)
    account.answer(record("a", DAYS[1]), day=DAYS[1])
    account.catch_up()
    (change,) = account.rows("record_changes")
    assert (change["usage_date"], change["field"]) == (DAYS[1], "trans_date")
    assert (change["before"], change["after"]) == (f"{DAY}T10:00:00.000Z", f"{DAYS[1]}T10:00:00.000Z")


def test_odd_texts_do_not_stop_the_comparison_of_versions(account: Account) -> None:
    for value in ("1" * 5000, '"\\u00e9"', "[" * 60 + "]" * 60, "1e999", '"\\ud83d\\ude00"'):
        line = json.dumps(record("a", odd="?")).replace('"?"', value)
        batch = Batch({DAY: Lines(["a"], line.encode() + b"\n")})
        ingest(account.zone, one(iter([batch])), "period", [DAY])
        account.catch_up()
    assert sorted(row["version"] for row in account.rows("record_changes")) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": None}, {}, []),
        ({"a": {"b": 1}}, {"a": 2}, [("a", None, 2), ("a.b", 1, None)]),
        ({"a": {}}, {}, []),
        ({"a": [1, 2]}, {"a": [2, 1]}, [("a", [1, 2], [2, 1])]),
        ({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, []),
        ({"user": {"token": "x", "name": "n"}}, {"user": {"token": "y", "name": "n"}}, []),
    ],
)
def test_changed_fields(before: Any, after: Any, changes: list[Any]) -> None:
    assert list(changed_fields(before, after)) == changes


# Files that are not what landed


@pytest.mark.lake
def test_a_damaged_file_fails_its_day_with_its_name_until_it_is_moved_away(account: Account) -> None:
    account.answer(*(record(str(number)) for number in range(100)), day=DAY)
    account.catch_up()
    (file,) = account.zone.files(DAY)
    overwrite(account.zone, DAY, file, content_of(file)[:-100])
    with pytest.raises(WarehouseError, match=rf"{file.path} .*Move it out of the landing zone"):
        account.build(DAY)
    account.answer(*(record(str(number)) for number in range(101)), day=DAY)
    with pytest.raises(WarehouseError, match=str(file.path)):
        account.build(DAY)
    assert len(account.rows("call_detail_records")) == 100
    remove(account.zone, DAY, file)
    account.catch_up()
    assert len(account.rows("call_detail_records")) == 101


@pytest.mark.lake
def test_a_file_that_did_not_land_fails_its_day_with_its_name(account: Account) -> None:
    account.answer(record("a"), day=DAY)
    (file,) = account.zone.files(DAY)
    copy = name_in(DAY, f"._{file.path.name}")
    put(account.zone, copy, b"")
    with pytest.raises(WarehouseError, match=rf"{account.zone.storage.place(copy)} did not land here"):
        account.build(DAY)
    account.zone.storage.delete(copy)
    account.build(DAY)
