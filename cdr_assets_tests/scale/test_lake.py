"""A lake that many processes write to at once holds what a DuckDB file holds, whatever happens to them."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import psycopg
import pytest

from cdr_assets.cli import free_port
from cdr_assets.database import WarehouseError
from cdr_assets.days import DAY
from cdr_assets.lake import MOST_SMALL_FILES
from cdr_assets.landing.ingest import ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.places import Places
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.move import copy_files
from cdr_assets.warehouse.people import KEY
from cdr_assets.warehouse.tables import TABLES
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.landing.test_ingest import batches, one
from cdr_assets_tests.reference import Record
from cdr_assets_tests.reference.hostile import hostile_days
from cdr_assets_tests.scale import servers
from cdr_assets_tests.scale.proxy import proxied
from cdr_assets_tests.scale.statements import dies_at, watched
from cdr_assets_tests.scale.worlds import (
    SOME_TABLES,
    build_share,
    build_until_done,
    differences,
    in_processes,
    land_hostile,
    on_lake,
)

PROCESSES = 8

EVERY = int(os.environ.get("CDR_TEST_EVERY_STATEMENT") or 0)
"""Processes are killed at every so many statements of their work. 0 is for what each test takes; 1 takes 15 minutes."""


@pytest.mark.timeout(2 * PATIENCE_S)
def test_eight_processes_build_forty_days_as_one_process_builds_a_file(tmp_path: Path, postgres: str) -> None:
    zone = LandingZone(tmp_path)
    days = land_hostile(zone, seed=0, most=40)
    assert len(days) >= 40
    plain = Warehouse(tmp_path / "cdr.duckdb")
    build_until_done(plain, zone, days, tables=SOME_TABLES)
    lake = on_lake(tmp_path / "lake", postgres, str(tmp_path))
    for again in (False, True):
        assert in_processes(PROCESSES, build_share, lake, days, again, True) == [0] * PROCESSES
        assert differences(lake, tmp_path / "cdr.duckdb") == []


def test_no_two_records_have_the_same_row(tmp_path: Path, postgres: str) -> None:
    """The statements of conferences tell records by their rows."""
    zone = LandingZone(tmp_path)
    days = [date(2026, 11, number) for number in (2, 3, 9, 10)]
    for day in days:
        # It moves to the next day, where it is a second version; and a part without any known field is mended.
        moving = {"cdr_id": f"moved-{day.day // 7}", "trans_date": f"{day}T10:00:00Z"}
        bare = {"cdr_id": f"bare-{day}", "trans_date": f"{day}T10:00:00Z", "usage": {}}
        ingest(zone, one(batches(moving, bare)), "period", [day])
    lake = Warehouse(on_lake(tmp_path / "lake", postgres, str(tmp_path)))
    build_until_done(lake, zone, days)
    with lake.reading() as connection:
        found = connection.execute("SELECT cdr_id, rowid FROM call_detail_records").fetchall()
    assert len({row for _, row in found}) == len(found) == 6


def test_without_the_lock_they_fail_or_are_wrong(tmp_path: Path, postgres: str) -> None:
    zone = LandingZone(tmp_path)
    days = land_hostile(zone, seed=1, most=3)
    plain = Warehouse(tmp_path / "cdr.duckdb")
    build_until_done(plain, zone, days, tables=SOME_TABLES)
    lake = on_lake(tmp_path / "lake", postgres, str(tmp_path))
    with Warehouse(lake).connect():
        pass
    codes = in_processes(4, build_share, lake, days, False, False)
    assert codes != [0] * 4 or differences(lake, tmp_path / "cdr.duckdb")


def test_two_first_builds_of_a_day_do_not_double_its_rows(tmp_path: Path, postgres: str) -> None:
    zone = LandingZone(tmp_path)
    day, records = max(hostile_days(1).items(), key=lambda item: len(item[1]))
    ingest(zone, one(batches(*records)), "period", [day])
    days = [day]
    build_until_done(Warehouse(tmp_path / "cdr.duckdb"), zone, days, tables=SOME_TABLES)
    lake = on_lake(tmp_path / "lake", postgres, str(tmp_path))
    # Each gets a share that is the whole day.
    assert in_processes(2, _build_whole, lake, days) == [0, 0]
    assert differences(lake, tmp_path / "cdr.duckdb") == []


def _build_whole(_number: int, _count: int, places: Places, days: list[date]) -> None:
    build_share(0, 1, places, days, True, True)


def test_a_conference_number_may_have_a_nul(tmp_path: Path, postgres: str) -> None:
    zone, day = LandingZone(tmp_path), date(2026, 11, 2)
    ingest(zone, one(batches(_record("a", day), _record("b", day, conf_num="a\0b"))), "period", [day])
    warehouse = Warehouse(on_lake(tmp_path / "lake", postgres, str(tmp_path)))
    for again in (False, True):
        build_until_done(warehouse, zone, [day], again)
        with warehouse.reading() as connection:
            numbers = connection.execute("SELECT conf_num FROM conference_usage ORDER BY conf_num").fetchall()
        assert ("a\0b",) in numbers
        assert len(numbers) == 2


def test_writers_merge_the_small_files_of_their_transactions(tmp_path: Path, postgres: str) -> None:
    warehouse, rows_made = Warehouse(on_lake(tmp_path, postgres, str(tmp_path))), 3 * MOST_SMALL_FILES
    with warehouse.connect() as connection:
        assert warehouse.lake
        for number in range(rows_made):
            with warehouse.lake.transaction(connection):
                connection.execute(f"INSERT INTO build_log (asset) VALUES ('{number}')")
    with warehouse.reading() as connection:
        ((rows,),) = connection.execute("SELECT count(DISTINCT asset) FROM build_log").fetchall()
        ((files,),) = connection.execute(
            "SELECT file_count FROM ducklake_table_info('cdr') WHERE table_name = 'build_log'"
        ).fetchall()
    assert rows == rows_made
    assert files < 2 * MOST_SMALL_FILES


def test_tables_whose_making_was_interrupted_are_empty(tmp_path: Path, postgres: str) -> None:
    warehouse = Warehouse(on_lake(tmp_path, postgres, str(tmp_path)))
    interrupted = patch("cdr_assets.lake.remove_first_row", side_effect=InterruptedError)
    with interrupted, pytest.raises(InterruptedError), warehouse.connect():
        pass
    with warehouse.connect() as connection:
        counts = {table.name: connection.execute(f"FROM {table.name}").fetchall() for table in TABLES}
    assert counts == {table.name: [] for table in TABLES}


# What happens to one writer


class Small(NamedTuple):
    """Two days that are built in a lake, from several answers with a record that moved; and the file with the same."""

    lake: Places
    days: list[date]
    file: Path

    def build(self, again: bool = True) -> None:
        build_until_done(Warehouse(self.lake), LandingZone(self.lake), self.days, again)

    def differences(self) -> list[str]:
        """Those of the tables. What a killed build forgot is absent from the build log, and due to be built again."""
        return [each for each in differences(self.lake, self.file) if not each.startswith("build_log")]


@pytest.fixture
def small(tmp_path: Path, postgres: str) -> Small:
    return make_small(tmp_path, postgres, str(tmp_path))


def make_small(tmp_path: Path, postgres: str, landing: str) -> Small:
    """Two days in a lake, with the landing zone and the rows in a folder or in a bucket."""
    lake = on_lake(tmp_path / "lake", postgres, landing)
    zone = LandingZone(lake)
    days = [date(2026, 11, 2), date(2026, 11, 3)]
    first = {day: [_record(f"{day}-{number}", day) for number in range(5)] for day in days}
    second = {days[0]: [_record(f"{days[0]}-0", days[0], call_num="7")], days[1]: [_record(f"{days[0]}-1", days[1])]}
    for answers in (first, second):
        for day, records in answers.items():
            ingest(zone, one(batches(*records)), "period", [day])
    found = Small(lake, days, tmp_path / "file" / "cdr.duckdb")
    found.build()
    plain = Places.read(found.file.parent)
    copy_files(lake.storage, plain.storage, "landing")
    # With another key, people have other hashes.
    plain.storage.write(KEY, lake.storage.read(KEY) or "")
    build_until_done(Warehouse(plain), LandingZone(plain), days)
    return found


def _record(cdr_id: str, day: date, **fields: object) -> Record:
    room = {"room_id": "r", "connect_dt": f"{day}T23:50:00Z", "disconnect_dt": f"{day + DAY}T00:10:00Z"}
    return {"cdr_id": cdr_id, "trans_date": f"{day}T23:59:00Z", "conf_num": "c", "room": room, **fields}


def _statements(work: Callable[[], object]) -> list[str]:
    found: list[str] = []
    with watched(lambda _, statement: found.append(statement)):
        work()
    return found


def _build_and_die(_number: int, _count: int, small: Small, at: int) -> None:
    with watched(dies_at(at)):
        small.build()


def _tend_and_die(_number: int, _count: int, small: Small, at: int) -> None:
    lake = Warehouse(small.lake).lake
    assert lake
    with watched(dies_at(at)):
        lake.upkeep(timedelta(0), timedelta(0))


def _kills(work: Callable[..., None], small: Small, every: int) -> Iterator[int]:
    """Kills the work at one of so many statements, later each time, until it comes to its end."""
    step = EVERY or every
    first = step // 2
    for at in count(first, step):
        (code,) = in_processes(1, work, small, at)
        if code == 0:
            assert at > first
            return
        assert code == -signal.SIGKILL
        yield at


def _assert_no_lock(small: Small) -> None:
    assert small.lake.postgres
    with small.lake.postgres.lock("warehouse", patience_s=10):
        pass


@pytest.mark.timeout(3000)
def test_a_build_that_is_killed_leaves_the_tables_whole_and_no_lock(small: Small) -> None:
    assert small.differences() == []
    for at in _kills(_build_and_die, small, every=97):
        assert small.differences() == [], at
        _assert_no_lock(small)
    small.build(again=False)
    assert differences(small.lake, small.file) == []


@pytest.mark.timeout(3000)
def test_upkeep_that_is_killed_leaves_the_tables_whole_and_the_next_one_removes_what_it_left(small: Small) -> None:
    lake = Warehouse(small.lake).lake
    assert lake
    for at in _kills(_tend_and_die, small, every=19):
        assert small.differences() == [], at
        small.build()
    # What one replaces is in a snapshot that the next one expires, and the third one removes it.
    for _ in range(3):
        lake.upkeep(timedelta(0), timedelta(0))
    assert differences(small.lake, small.file) == []
    assert _files_of(small) == _files_in_use(small)


def test_the_upkeep_removes_what_killed_builds_left(small: Small) -> None:
    statements = _statements(small.build)
    at = max(number for number, statement in enumerate(statements) if statement == "COMMIT")
    assert in_processes(1, _build_and_die, small, at) == [-signal.SIGKILL]
    lake = Warehouse(small.lake).lake
    assert lake
    assert lake.upkeep().orphans == 0, "they may be those of a transaction that goes on"
    done = lake.upkeep(timedelta(0), timedelta(0))
    assert done.orphans
    assert done.after.files < done.before.files
    lake.upkeep(timedelta(0), timedelta(0))
    assert _files_of(small) == _files_in_use(small)
    assert small.differences() == []


def _files_of(small: Small) -> set[str]:
    return {path.name for path in Path(small.lake.landing, "lake").rglob("*.parquet")}


def _files_in_use(small: Small) -> set[str]:
    with Warehouse(small.lake).reading() as connection:
        return {
            Path(path).name
            for table in TABLES
            for found in connection.execute(
                f"SELECT data_file, delete_file FROM ducklake_list_files('cdr', '{table.name}')"
            ).fetchall()
            for path in found
            if path
        }


def test_nothing_is_committed_when_the_lock_was_lost(small: Small) -> None:
    assert small.lake.postgres
    statements = _statements(small.build)
    last = max(number for number, statement in enumerate(statements) if statement == "COMMIT")

    dsn = small.lake.postgres.dsn

    def end_the_lock(number: int, _: str) -> None:
        if number == last - 1:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database"
                    " WHERE datname = current_database() AND locktype = 'advisory' AND granted"
                )

    with watched(end_the_lock), pytest.raises(WarehouseError, match="nothing was committed"):
        small.build()
    assert small.differences() == []
    small.build(again=False)
    assert differences(small.lake, small.file) == []


@pytest.fixture
def own_postgres() -> Iterator[tuple[str, Callable[[], None]]]:
    """A server of the test's own: its address, and what restarts it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cdr-assets-") as folder:
        Path(folder).chmod(0o755)
        command = servers.postgres_command(Path(folder, "postgres"), port)
        process = servers.started(command, port)

        def restart() -> None:
            nonlocal process
            servers.stop(process)
            process = servers.started(command, port)

        yield f"host=127.0.0.1 port={port} user=cdr dbname=postgres", restart
        servers.stop(process)


def test_a_restart_of_postgres_ends_a_build_and_changes_nothing(
    tmp_path: Path, own_postgres: tuple[str, Callable[[], None]]
) -> None:
    address, restart = own_postgres
    small = make_small(tmp_path, address, str(tmp_path))
    middle = len(_statements(small.build)) // 2
    restarting = watched(lambda number, _: restart() if number == middle else None)
    with restarting, pytest.raises(WarehouseError, match="the lock 'warehouse' broke, so nothing was committed"):
        small.build()
    assert small.differences() == []
    small.build(again=False)
    assert differences(small.lake, small.file) == []


def test_a_store_that_does_not_answer_ends_a_build_and_changes_nothing(
    tmp_path: Path, postgres: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr("cdr_assets.storage.PATIENCE", timedelta(seconds=1))
        small = make_small(tmp_path, postgres, bucket)

        def refuse(number: int, _: str) -> None:
            if number == middle:
                proxy.refuses = lambda request: True

        middle = len(_statements(small.build)) // 2
        with watched(refuse), pytest.raises(Exception, match="503"):
            small.build()
        proxy.refuses = lambda request: False
        assert small.differences() == []
        small.build(again=False)
        assert differences(small.lake, small.file) == []


# Upkeep and readers


def test_upkeep_while_others_write_and_read_changes_no_row_and_makes_nobody_fail(small: Small) -> None:
    lake = Warehouse(small.lake).lake
    assert lake
    with ThreadPoolExecutor() as threads:
        written = threads.submit(in_processes, 1, _build_often, small)
        reader = threads.submit(_read_until, written, small)
        while not written.done():
            lake.upkeep()
        assert written.result() == [0]
        assert reader.result() == {10}, "a statement sees a whole state"
    # While others write, the files that they add count, too.
    done = lake.upkeep()
    assert done.after.files <= done.before.files
    assert differences(small.lake, small.file) == []


def _build_often(_number: int, _count: int, small: Small) -> None:
    for _ in range(3):
        small.build()


def _read_until(written: Future[list[int | None]], small: Small) -> set[int]:
    """What queries found."""
    seen = set[int]()
    with Warehouse(small.lake).reading() as connection:
        while not written.done():
            ((records,),) = connection.execute("SELECT count(*) FROM call_detail_records").fetchall()
            seen.add(records)
    return seen
