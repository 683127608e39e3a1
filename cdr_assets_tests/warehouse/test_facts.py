"""What tables are built from besides landed records: the file of rooms, and which days are provisional."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest

from cdr_assets.days import DAY as ONE_DAY
from cdr_assets.warehouse.build import BuiltPartition, Warehouse
from cdr_assets.warehouse.rooms import BadRooms, NoRooms, RoomsFile
from cdr_assets.warehouse.table import Facts, Room, Table
from cdr_assets.warehouse.tables import DAILY_TABLES, DAILY_USAGE, OWNER_USAGE, ROOM_USAGE
from cdr_assets_tests.expected import TABLES, assert_exports_are_the_tables, read
from cdr_assets_tests.places import places
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import Landed, land

DAY = date(2026, 11, 2)
NEXT = DAY + ONE_DAY
AFTER = NEXT + ONE_DAY
DAYS = (DAY, NEXT, AFTER)
HEADER = "room_id,room_name,owner_ref,billing_code,valid_from,valid_to\n"
OTHERS = [table for table in TABLES if table != OWNER_USAGE.name]


@dataclass
class World:
    """Three landed days with a call in room r on each, a file of rooms, and days that are provisional."""

    folder: Path
    landed: Landed
    provisional: set[date] = field(default_factory=set)

    @property
    def rooms(self) -> Path:
        return self.folder / "rooms.csv"

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, as another process has it."""
        facts = Facts(RoomsFile(self.rooms), is_provisional=lambda day: day in self.provisional)
        return Warehouse(places(self.folder), facts=facts)

    def write_rooms(self, *lines: str) -> None:
        self.rooms.write_text(HEADER + "".join(f"{line}\n" for line in lines))

    def build(self, *days: date, skip_current: bool = False) -> dict[date, list[BuiltPartition]]:
        warehouse = self.warehouse
        with warehouse.connect() as connection:
            return {
                day: list(warehouse.build_days(connection, [day], DAILY_TABLES, self.landed, skip_current))
                for day in days
            }

    def due(self) -> dict[str, list[date]]:
        """The days of each table that are not built from what there is now; a table without any is left out."""
        built = self.warehouse.built_partitions()
        due = {
            table: [day for day in DAYS if built.get(table, {}).get(day) != self.landed.version(day)]
            for table in TABLES
        }
        return {table: days for table, days in due.items() if days}

    def owners(self) -> dict[date, tuple[str | None, str | None]]:
        rows = read(places(self.folder), "owner_usage")
        return {row["usage_date"]: (row["owner_ref"], row["billing_code"]) for row in rows}


def new_world(folder: Path, landed: Landed) -> World:
    """With the file that nobody owns a room in, and every day built."""
    world = World(folder, landed)
    folder.mkdir()
    world.write_rooms()
    world.build(*DAYS)
    return world


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("built")

    def records(day: date) -> list[Record]:
        room = {"room_id": "r", "connect_dt": f"{day}T10:00:00Z", "disconnect_dt": f"{day}T10:05:00Z"}
        return [{"cdr_id": f"cdr-{day}", "trans_date": f"{day}T10:05:00Z", "conf_num": f"c-{day}", "room": room}]

    return new_world(folder / "data", Landed({day: [land(folder, str(day), records(day))] for day in DAYS}))


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """A copy of it. A lake cannot be copied as files can, so it is built again."""
    if built.warehouse.lake:
        world = new_world(tmp_path / "data", built.landed)
    else:
        world = World(tmp_path / "data", built.landed)
        shutil.copytree(built.folder, world.folder)
    assert world.due() == {}
    return world


# The file of rooms


def test_a_changed_file_makes_just_the_days_due_that_it_touches_and_of_owner_usage_alone(world: World) -> None:
    assert world.owners() == dict.fromkeys(DAYS, (None, None))
    before = world.warehouse.built_partitions()
    # Each change of the file, the days that it makes due, and what the days have then.
    changes: list[tuple[list[str], list[date], list[tuple[str | None, str | None]]]] = [
        (["r,Ward,o,b,2026-11-03,2026-11-03"], [NEXT], [(None, None), ("o", "b"), (None, None)]),
        (["r,Ward 1,o,b,2026-11-03,2026-11-03"], [], [(None, None), ("o", "b"), (None, None)]),
        (["r,Ward,o,b,,2026-11-03"], [DAY], [("o", "b"), ("o", "b"), (None, None)]),
        (["r,Ward,o,b,,"], [AFTER], [("o", "b")] * 3),
        (["r,Ward,o,b,,2026-11-02", "r,Ward,o,c,2026-11-03,"], [NEXT, AFTER], [("o", "b"), ("o", "c"), ("o", "c")]),
    ]
    for lines, due, owners in changes:
        world.write_rooms(*lines)
        assert world.due() == ({OWNER_USAGE.name: due} if due else {}), lines
        assert world.warehouse.built_days().keys() == {*DAYS} - {*due}
        built = world.build(*DAYS, skip_current=True)
        assert {
            day: [partition.table for partition in partitions if not partition.was_current]
            for day, partitions in built.items()
        } == {day: [OWNER_USAGE] if day in due else [] for day in DAYS}
        assert world.due() == {}
        assert world.owners() == dict(zip(DAYS, owners, strict=True))
        assert_exports_are_the_tables(places(world.folder))
    assert {table: days for table, days in world.warehouse.built_partitions().items() if table in OTHERS} == {
        table: days for table, days in before.items() if table in OTHERS
    }


def test_the_file_is_written_and_taken_away(world: World) -> None:
    def due_without() -> list[date]:
        warehouse = Warehouse(places(world.folder))
        return [day for day in DAYS if day not in warehouse.built_days()]

    assert due_without() == [], "nobody owns a room"
    world.write_rooms("r,Ward,o,b,2026-11-03,")
    world.build(*DAYS, skip_current=True)
    assert due_without() == [NEXT, AFTER]


def test_while_the_file_is_broken_owner_usage_waits_and_all_else_is_built(world: World) -> None:
    world.write_rooms("r,Ward,o,b,,")
    world.build(*DAYS, skip_current=True)
    newer = land(world.folder, "newer", [{"cdr_id": "n", "trans_date": f"{DAY}T10:00:00Z", "room": {"room_id": "r"}}])
    world.landed = Landed({**world.landed.by_day, DAY: [newer]})
    world.rooms.write_text(HEADER + "r,Ward\n")

    waited: list[tuple[Table, str]] = []
    warehouse = world.warehouse
    with warehouse.connect() as connection:
        built = list(
            warehouse.build_days(
                connection,
                [DAY],
                DAILY_TABLES,
                world.landed,
                on_bad_rooms=lambda table, error: waited.append((table, str(error))),
            )
        )
    assert [(table, f"{world.rooms}, line 2" in error) for table, error in waited] == [(OWNER_USAGE, True)]
    assert [partition.table for partition in built] == [table for table in DAILY_TABLES if table != OWNER_USAGE]
    (row,) = (row for row in read(places(world.folder), "owner_usage") if row["usage_date"] == DAY)
    assert row["participant_minutes"] == 5, "the former rows are kept"

    # Nothing is asked for until the file is mended, again and again.
    assert world.warehouse.built_partitions().keys() == {*OTHERS}
    assert world.warehouse.built_days() == {day: world.landed.version(day) for day in DAYS}
    assert world.warehouse.built_days([OWNER_USAGE]) == {}

    world.write_rooms("r,Ward,o,b,,")
    assert world.due() == {OWNER_USAGE.name: [DAY]}
    assert DAY not in world.warehouse.built_days()
    (partitions,) = world.build(DAY, skip_current=True).values()
    assert [partition.table for partition in partitions if not partition.was_current] == [OWNER_USAGE]
    assert world.due() == {}
    (row,) = (row for row in read(places(world.folder), "owner_usage") if row["usage_date"] == DAY)
    assert (row["owner_ref"], row["participant_minutes"]) == ("o", 0)


def test_a_broken_file_stops_a_build_whose_caller_does_not_say_what_to_do(world: World) -> None:
    world.rooms.unlink()
    with pytest.raises(BadRooms, match="cannot be read"):
        world.build(DAY)


def test_a_file_that_changes_while_the_day_is_built_makes_it_due(world: World) -> None:
    @dataclass
    class ChangedAfterItWasRead:
        rooms: list[Room]

        def valid_on(self, day: date) -> Sequence[Room]:
            former, self.rooms = self.rooms, [Room("r", "new", None)]
            return former

        def version(self, day: date) -> str:
            return repr(self.rooms)

    facts = Facts(ChangedAfterItWasRead([Room("r", "old", None)]), is_provisional=lambda day: False)
    warehouse = Warehouse(places(world.folder), facts=facts)
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, [DAY], DAILY_TABLES, world.landed))
    assert world.owners()[DAY] == ("old", None)
    assert DAY not in warehouse.built_partitions()[OWNER_USAGE.name]
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, [DAY], DAILY_TABLES, world.landed, skip_current=True))
    assert world.owners()[DAY] == ("new", None)
    assert DAY in warehouse.built_partitions()[OWNER_USAGE.name]


def test_the_figures_say_how_many_minutes_have_an_owner(world: World) -> None:
    def coverage() -> object:
        (partitions,) = world.build(DAY, skip_current=True).values()
        (found,) = (partition for partition in partitions if partition.table == OWNER_USAGE)
        return found.summary.figures

    assert coverage() == {"share_of_minutes_with_owner": 0.0}
    world.write_rooms("r,Ward,o,,,")
    assert coverage() == {"share_of_minutes_with_owner": 1.0}
    world.write_rooms("r,Ward,,b,,")
    assert coverage() == {"share_of_minutes_with_owner": 0.0}


# Provisional days


def provisional(world: World) -> dict[date, bool]:
    return {row["usage_date"]: row["provisional"] for row in read(places(world.folder), "daily_usage")}


def test_a_day_that_becomes_final_is_due_in_daily_usage_alone(world: World) -> None:
    for now in ({NEXT, AFTER}, {AFTER}, {DAY}, set[date]()):
        flipped = sorted(now ^ world.provisional)
        world.provisional = now
        assert world.due() == {DAILY_USAGE.name: flipped}
        built = world.build(*DAYS, skip_current=True)
        assert {
            day: [partition.table for partition in partitions if not partition.was_current]
            for day, partitions in built.items()
        } == {day: [DAILY_USAGE] if day in flipped else [] for day in DAYS}
        assert provisional(world) == {day: day in now for day in DAYS}
        assert world.due() == {}
        assert_exports_are_the_tables(places(world.folder))


# What is current


def test_what_is_current_is_left_alone_and_said_as_it_was_built(world: World) -> None:
    (first,) = world.build(DAY).values()
    (second,) = world.build(DAY, skip_current=True).values()
    assert [partition.was_current for partition in first] == [False] * len(DAILY_TABLES)
    assert second == [replace(partition, was_current=True) for partition in first]


@pytest.mark.lake
def test_a_table_that_is_not_current_is_built_and_no_other(world: World) -> None:
    def built_again() -> Iterator[str]:
        (partitions,) = world.build(DAY, skip_current=True).values()
        return (partition.table.name for partition in partitions if not partition.was_current)

    world.warehouse.places.exports().delete(f"attendance/{DAY}.parquet")
    assert [*built_again()] == ["attendance"]
    with world.warehouse.connect() as connection:
        connection.execute("DELETE FROM build_log WHERE usage_date = ? AND asset = 'call_detail_records'", [DAY])
    assert [*built_again()] == [*TABLES]
    assert [*built_again()] == []
    world.landed = Landed({**world.landed.by_day, DAY: [land(world.folder, "newer", [])]})
    assert [*built_again()] == [*TABLES]
    assert_exports_are_the_tables(places(world.folder))


def test_only_the_tables_that_are_asked_for_are_built(world: World) -> None:
    world.warehouse.places.exports().delete(f"room_usage/{DAY}.parquet")
    warehouse = Warehouse(places(world.folder), facts=Facts(NoRooms(), is_provisional=lambda day: True))
    with warehouse.connect() as connection:
        built = list(
            warehouse.build_days(connection, [DAY], [ROOM_USAGE, DAILY_USAGE], world.landed, skip_current=True)
        )
    assert [(partition.table, partition.was_current) for partition in built] == [
        (ROOM_USAGE, False),
        (DAILY_USAGE, False),
    ]
