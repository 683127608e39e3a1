"""The build log: what it says is true of the tables and of the exports, whatever is killed, put back or damaged."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cdr_assets.database import Connection, WarehouseBusy, run
from cdr_assets.days import DAY as ONE_DAY
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.checks import BlockedByCheck
from cdr_assets.warehouse.partitions import replace_partition
from cdr_assets.warehouse.table import Inputs, LandedFiles, Rebuilt, Table
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, CONFERENCE_USAGE, DAILY_TABLES, ROOM_USAGE
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.expected import TABLES, assert_exact, assert_exports_are_the_tables, read
from cdr_assets_tests.holding import QUEUES, held
from cdr_assets_tests.places import places
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import Landed, build, land

DAY = date(2026, 11, 2)
NEXT = DAY + ONE_DAY


def call(cdr_id: str, day: date, seconds: object = 60, **fields: object) -> Record:
    """A minute in room r, in a conference that goes on for both days."""
    room = {"room_id": "r", "duration": seconds}
    return {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00Z", "conf_num": "long", "room": room, **fields}


LOST = {"sigserver": {"duration": "an hour"}}
"""Fields that do not fit their type, so that a check finds something."""

BEFORE: Mapping[str, list[Record]] = {
    "1": [call("a", DAY, **LOST), call("b", DAY)],
    "2": [call("c", NEXT)],
}
AFTER: Mapping[str, list[Record]] = {
    "3": [call("a", DAY, 90), call("b", DAY), call("d", DAY)],
    "4": [call("c", NEXT, 120, **LOST), call("e", NEXT)],
}
BOTH = (DAY, NEXT)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "cdr.duckdb")


def landed(folder: Path, answers: Mapping[str, list[Record]]) -> Landed:
    return Landed(
        {day: [land(folder, name, records)] for day, (name, records) in zip(BOTH, answers.items(), strict=True)}
    )


def build_days(
    warehouse: Warehouse, days: Iterable[date], files: LandedFiles, tables: Sequence[Table] = DAILY_TABLES
) -> None:
    with warehouse.connect() as connection:
        for day in days:
            list(warehouse.build_days(connection, [day], tables, files))


def due(warehouse: Warehouse, files: LandedFiles, tables: Sequence[Table] = DAILY_TABLES) -> list[date]:
    """The days that are not built from these files."""
    built = warehouse.built_days(tables)
    return [day for day in BOTH if built.get(day) != files.version(day)]


def everything(answers: Mapping[str, list[Record]]) -> list[Record]:
    return [record for records in answers.values() for record in records]


# Killed

KILLED = (CALL_DETAIL_RECORDS, ROOM_USAGE, CONFERENCE_USAGE)
"""Tables of the kinds that there are: loaded, of one day, and with rows under several days. All would take minutes."""


def build_and_die(folder: Path, fatal: int, operations: Any) -> None:
    """Builds the second day, and is killed just before one of its operations on a file, if that is not 0."""

    def step(event: str, arguments: Sequence[object]) -> None:
        if event in ("open", "os.rename", "os.remove") and str(folder) in str(arguments[0]):
            operations.value += 1
            if operations.value == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    files = landed(folder, AFTER)
    sys.addaudithook(step)
    build_days(Warehouse(folder / "cdr.duckdb"), [NEXT], files, KILLED)


def test_a_build_that_is_killed_at_any_operation_on_a_file_is_gone_on_with_by_what_the_log_says(
    tmp_path: Path,
) -> None:
    before = tmp_path / "before"
    before.mkdir()
    build_days(Warehouse(before / "cdr.duckdb"), BOTH, landed(before, BEFORE), KILLED)
    build_days(Warehouse(before / "cdr.duckdb"), [DAY], landed(before, AFTER), KILLED)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cdr_assets_tests.warehouse.test_build_log"])

    def start(folder: Path, fatal: int) -> tuple[Any, Any]:
        operations = context.Value("i", 0)
        shutil.copytree(before, folder)
        process = context.Process(target=build_and_die, args=(folder, fatal, operations))
        process.start()
        process.join(PATIENCE_S)
        return process.exitcode, operations.value

    exitcode, operations = start(tmp_path / "whole", 0)
    assert exitcode == 0
    assert operations > 10
    left = []
    for fatal in range(1, operations + 1):
        folder = tmp_path / f"killed-{fatal}"
        assert start(folder, fatal)[0] == -signal.SIGKILL
        warehouse, files = Warehouse(folder / "cdr.duckdb"), landed(folder, AFTER)
        left.append(due(warehouse, files, KILLED))
        build_days(warehouse, left[-1], files, KILLED)
        assert due(warehouse, files, KILLED) == [], fatal
        assert_exact(warehouse.places.file, everything(AFTER))
        assert_exports_are_the_tables(places(folder))
    # The conference of both days is exported under the first one.
    assert [NEXT] in left
    assert [DAY, NEXT] in left
    assert left[-1] == []


def test_what_is_committed_and_not_yet_exported_is_due(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    in_the_way = tmp_path / "published" / "room_usage" / f"{NEXT}.parquet"
    in_the_way.unlink()
    (in_the_way / "folder").mkdir(parents=True)
    changed = landed(tmp_path, AFTER)
    build_days(warehouse, [DAY], changed)
    with pytest.raises(IsADirectoryError):
        build_days(warehouse, [NEXT], changed)
    assert [row["connections"] for row in read(warehouse.places.file, "room_usage") if row["usage_date"] == NEXT] == [2]
    assert NEXT not in warehouse.built_partitions()["room_usage"]
    shutil.rmtree(in_the_way)
    assert due(warehouse, changed) == [NEXT]
    build_days(warehouse, [NEXT], changed)
    assert due(warehouse, changed) == []
    assert_exports_are_the_tables(places(tmp_path))


def test_an_acknowledgement_that_is_not_exported_makes_its_day_due(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    exported = tmp_path / "published" / "check_findings" / f"{DAY}.parquet"
    former = exported.read_bytes()
    exported.unlink()
    exported.mkdir()
    with pytest.raises(IsADirectoryError):
        warehouse.acknowledge("no_field_was_lost_to_its_type", DAY, DAY, "known")
    exported.rmdir()
    exported.write_bytes(former)
    assert due(warehouse, files) == [DAY]
    build_days(warehouse, [DAY], files)
    assert due(warehouse, files) == []
    assert_exports_are_the_tables(places(tmp_path))
    assert duckdb.execute(f"SELECT acknowledged_at IS NOT NULL FROM '{exported}'").fetchall() == [(True,)]


def test_unfinished_exports_of_a_killed_process_are_removed_by_the_next(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    folders = [tmp_path / "published" / table for table in ("room_usage", "conference_usage", "check_findings")]
    for folder in folders:
        (folder / f"{NEXT}.4711").touch()
        (folder / "notes.4711").touch()
    build_days(warehouse, [DAY], files)
    assert [sorted(path.name for path in folder.glob("*.4711")) for folder in folders] == [["notes.4711"]] * 3


# Put back, deleted, changed by others


def put_back_with_its_time(backup: Path, place: Path) -> None:
    shutil.copy2(backup, place)


def put_back_with_a_new_time(backup: Path, place: Path) -> None:
    shutil.copyfile(backup, place)


def put_back_as_another_file(backup: Path, place: Path) -> None:
    shutil.copy2(backup, backup.with_suffix(".copy"))
    os.replace(backup.with_suffix(".copy"), place)


@pytest.mark.parametrize("put_back", [put_back_with_its_time, put_back_with_a_new_time, put_back_as_another_file])
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_an_older_file_that_is_put_back_is_known_to_hold_what_it_held(
    warehouse: Warehouse, tmp_path: Path, put_back: Callable[[Path, Path], None], killed: bool
) -> None:
    old, new = landed(tmp_path, BEFORE), landed(tmp_path, AFTER)
    build_days(warehouse, BOTH, old)
    backup = tmp_path / "backup"
    shutil.copy2(warehouse.places.file, backup)
    build_days(warehouse, BOTH, new)
    assert due(warehouse, new) == []
    if killed:
        # What was committed last is in the write-ahead log, which is not of the file that is put back.
        program = (
            "import duckdb, os, sys; connection = duckdb.connect(sys.argv[1]); "
            "connection.execute('UPDATE room_usage SET connections = 0'); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", program, str(warehouse.places.file)])
        assert warehouse.places.file.with_name("cdr.duckdb.wal").exists()
    put_back(backup, warehouse.places.file)
    assert due(warehouse, new) == [DAY, NEXT]
    build_days(warehouse, due(warehouse, new), new)
    assert due(warehouse, new) == []
    assert_exact(warehouse.places.file, everything(AFTER))
    assert_exports_are_the_tables(places(tmp_path))


def test_without_the_file_nothing_is_built(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    warehouse.places.file.unlink()
    assert warehouse.built_partitions() == {table: {} for table in TABLES}
    assert not warehouse.places.file.exists(), "looking makes no file"


def test_what_another_program_does_to_the_log_counts(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    with duckdb.connect(warehouse.places.file) as connection:
        connection.execute("DELETE FROM build_log WHERE usage_date = ? AND asset = 'room_usage'", [NEXT])
    assert due(warehouse, files) == [NEXT]


def test_a_table_that_was_dropped_is_not_built(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    with duckdb.connect(warehouse.places.file) as connection:
        connection.execute("DROP TABLE room_usage")
    assert {table: bool(days) for table, days in warehouse.built_partitions().items()} == {
        table: table != "room_usage" for table in TABLES
    }


# Exports


def delete(file: Path) -> None:
    file.unlink()


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def change_one_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [delete, cut_short, change_one_byte])
@pytest.mark.parametrize("table", ["room_usage", "conference_usage", "check_findings"])
def test_a_damaged_export_makes_its_day_due_and_is_written_again(
    warehouse: Warehouse, tmp_path: Path, damage: Callable[[Path], None], table: str
) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    damage(tmp_path / "published" / table / f"{DAY}.parquet")
    assert due(warehouse, files) == [DAY]
    build_days(warehouse, [DAY], files)
    assert due(warehouse, files) == []
    assert_exports_are_the_tables(places(tmp_path))


def test_findings_in_a_file_that_is_of_no_finding_make_their_day_due(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    folder = tmp_path / "published" / "check_findings"
    shutil.copy2(folder / f"{DAY}.parquet", folder / f"{NEXT}.parquet")
    assert due(warehouse, files) == [NEXT]
    build_days(warehouse, [NEXT], files)
    assert_exports_are_the_tables(places(tmp_path))


def test_a_current_day_whose_export_is_damaged_is_not_left_alone(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)

    def built_again(day: date) -> list[str]:
        with warehouse.connect() as connection:
            built = warehouse.build_days(connection, [day], DAILY_TABLES, files, skip_current=True)
            return [partition.table.name for partition in built if not partition.was_current]

    assert built_again(DAY) == []
    delete(tmp_path / "published" / "room_usage" / f"{DAY}.parquet")
    assert built_again(DAY) == ["room_usage"]
    assert built_again(DAY) == []


# What makes days due


def test_a_blocked_partition_has_no_entry(warehouse: Warehouse, tmp_path: Path) -> None:
    good = [land(tmp_path, "good", [call("a", DAY)])]
    build(warehouse, DAY, good)
    assert set(warehouse.built_days()) == {DAY}
    with pytest.raises(BlockedByCheck, match="every_record_lies_in_its_partition"):
        build(warehouse, DAY, [land(tmp_path, "stray", [call("a", NEXT)])])
    assert DAY not in warehouse.built_partitions()["room_usage"]
    assert DAY not in warehouse.built_partitions()["conference_usage"], "its source has other rows now"
    build(warehouse, DAY, good)
    assert set(warehouse.built_days()) == {DAY}


def test_a_table_that_is_built_again_makes_those_below_due(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, [DAY], [CALL_DETAIL_RECORDS], files))
    assert {table: sorted(days) for table, days in warehouse.built_partitions().items()} == {
        table: [DAY, NEXT] if table == "call_detail_records" else [NEXT] for table in TABLES
    }


def test_other_days_that_a_build_makes_due_are_due_before_it_commits(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)

    def build_one_and_make_another_due(
        connection: Connection, table: Table, days: Sequence[date], inputs: Inputs
    ) -> Rebuilt:
        rebuilt = replace_partition(connection, ROOM_USAGE, days, inputs)
        return rebuilt._replace(days_due=frozenset({DAY, NEXT}))

    table = replace(ROOM_USAGE, build=build_one_and_make_another_due)
    with warehouse.connect() as connection:
        (built,) = warehouse.build_days(connection, [DAY], [table], files)
        assert run(connection, "SELECT usage_date FROM build_log WHERE asset = 'room_usage'") == [{"usage_date": DAY}]
    assert built.days_due == {NEXT}
    assert due(warehouse, files) == [NEXT]


# The copy that sensors read


def test_the_copy_is_read_without_opening_the_file(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    with held(warehouse.places.file, QUEUES):
        assert due(warehouse, files) == []
    with warehouse.connect() as connection:
        assert due(warehouse, files) == [], "it is open"
        list(warehouse.build_days(connection, [DAY], DAILY_TABLES, landed(tmp_path, AFTER)))
        assert due(warehouse, files) == [DAY], "what is committed counts at once"


def test_a_file_that_is_in_use_and_was_changed_is_waited_for_a_moment(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    os.utime(warehouse.places.file)
    with held(warehouse.places.file, QUEUES), pytest.raises(WarehouseBusy):
        warehouse.built_days()
    assert due(warehouse, files) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("[", "{", 1),
        lambda text: "\n" + text,
        lambda text: text.replace(str(DAY), "2026-13-45"),
        lambda text: "null\n" * 5 + text,
    ],
)
def test_a_damaged_copy_does_not_count(warehouse: Warehouse, tmp_path: Path, damage: Callable[[str], str]) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    copy = tmp_path / "built" / "log"
    copy.write_text(damage(copy.read_text()))
    assert due(warehouse, files) == []
    build_days(warehouse, [DAY], files)
    with held(warehouse.places.file, QUEUES):
        assert due(warehouse, files) == [], "it was written anew"


def test_a_copy_that_cannot_be_written_stops_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "built").write_text("in the way")
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    assert due(warehouse, files) == []
    assert_exact(warehouse.places.file, everything(BEFORE))


def test_a_commit_that_is_not_in_the_copy_is_not_hidden_by_a_later_one(warehouse: Warehouse, tmp_path: Path) -> None:
    files, changed = landed(tmp_path, BEFORE), landed(tmp_path, AFTER)
    build_days(warehouse, BOTH, files)
    copy = tmp_path / "built" / "log"
    with warehouse.connect() as connection:
        text = copy.read_text()
        copy.unlink()
        copy.mkdir()
        list(warehouse.build_days(connection, [DAY], DAILY_TABLES, changed))
        copy.rmdir()
        copy.write_text(text)
        list(warehouse.build_days(connection, [NEXT], DAILY_TABLES, changed))
    assert due(warehouse, changed) == []


def test_the_copy_does_not_grow_without_end(warehouse: Warehouse, tmp_path: Path) -> None:
    files = landed(tmp_path, BEFORE)
    build_days(warehouse, BOTH, files)
    copy = tmp_path / "built" / "log"
    short = copy.stat().st_size
    lines = copy.read_text().splitlines()
    copy.write_text("\n".join([lines[0], *lines[1:] * 500]) + "\n")
    assert due(warehouse, files) == []
    with warehouse.connect():
        pass
    assert copy.stat().st_size < 2 * short
    assert due(warehouse, files) == []


def test_an_entry_says_when_it_was_built(warehouse: Warehouse, tmp_path: Path) -> None:
    began = datetime.now(timezone.utc).replace(tzinfo=None)
    build(warehouse, DAY, [land(tmp_path, "1", [call("a", DAY)])])
    built_at = [row["built_at"] for row in read(warehouse.places.file, "build_log")]
    assert len(built_at) == len(DAILY_TABLES)
    assert all(began <= moment <= datetime.now(timezone.utc).replace(tzinfo=None) for moment in built_at)


def test_the_log_names_the_table_and_not_its_checks(warehouse: Warehouse, tmp_path: Path) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [call("a", DAY)])])
    by_asset = {row["asset"]: row for row in read(warehouse.places.file, "build_log")}
    # Behind the fingerprint of a table with people is how its export shows them.
    assert {asset: row["fingerprint"].partition("-")[0] for asset, row in by_asset.items()} == {
        table.name: table.fingerprint for table in DAILY_TABLES
    }
    assert {row["landing_version"] for row in by_asset.values()} == {"1"}
    exported = tmp_path / "published" / CONFERENCE_USAGE.name / f"{DAY}.parquet"
    assert by_asset[CONFERENCE_USAGE.name]["export_size"] == exported.stat().st_size
    assert by_asset[CONFERENCE_USAGE.name]["export_mtime_ns"] == exported.stat().st_mtime_ns
