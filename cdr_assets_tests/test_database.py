"""The one file that many processes want to write."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Event, Thread
from types import SimpleNamespace

import duckdb
import pytest

from cdr_assets import database
from cdr_assets.database import ConnectionLease, Database, WarehouseBusy, WarehouseError, transaction
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.holding import QUEUES, READS, WRITES, held


def can_be_written_elsewhere(path: Path) -> bool:
    program = f"import sys, duckdb; {WRITES}"
    return subprocess.run([sys.executable, "-c", program, str(path)], stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cdr.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE room_usage (room_id VARCHAR)")
    return path


@pytest.mark.parametrize("how", [WRITES, READS, QUEUES])
def test_a_warehouse_in_use_is_waited_for(path: Path, how: str) -> None:
    opened = []

    def open_and_look() -> None:
        with Database(path).connect() as connection:
            opened.append(connection.execute("SELECT count(*) FROM room_usage").fetchone())

    waiting = Thread(target=open_and_look, daemon=True)
    with held(path, how) as holder:
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert opened == []
        holder.communicate("\n")
        waiting.join(PATIENCE_S)
    assert opened == [(0,)]


@pytest.mark.parametrize("how", [WRITES, READS, QUEUES])
def test_patience_ends_with_the_name_of_the_file_and_what_to_do(path: Path, how: str) -> None:
    with held(path, how):
        began = time.monotonic()
        with pytest.raises(WarehouseBusy) as busy, Database(path, patience_s=0.3).connect():
            pytest.fail("opened a file that another process holds")
        assert time.monotonic() - began >= 0.3
    assert str(path) in str(busy.value)
    assert "0.3 s" in str(busy.value)
    assert "close" in str(busy.value)
    with Database(path, patience_s=0).connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is ten seconds after the one before."""
    clock = SimpleNamespace(monotonic=itertools.count(0, 10).__next__, sleep=time.sleep)
    monkeypatch.setattr(database, "time", clock)


def said_while_waiting(path: Path, caplog: pytest.LogCaptureFixture, patience_s: float) -> list[str]:
    """What the log says of a wait that is in vain."""
    caplog.clear()
    with pytest.raises(WarehouseBusy), Database(path, patience_s=patience_s).connect():
        pytest.fail("opened a file that another process holds")
    return [record.getMessage() for record in caplog.records if record.name == "cdr_assets.database"]


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("how", [WRITES, READS, QUEUES])
def test_a_long_wait_is_logged_with_the_process_that_holds_the_file(
    path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with held(path, how) as holder:
        said = said_while_waiting(path, caplog, patience_s=100)
        with pytest.raises(WarehouseBusy, match=rf"\b{holder.pid}\b"), Database(path, patience_s=0).connect():
            pytest.fail("opened a file that another process holds")
    # Every half minute, not at each try.
    assert len(said) == 3
    for line in said:
        assert re.search(rf"(?i)Waiting for {re.escape(str(path))} since \d+ s: .*\b(PID|process) {holder.pid}\b", line)


@pytest.mark.usefixtures("ticking")
def test_a_short_wait_is_not_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with held(path, QUEUES):
        assert said_while_waiting(path, caplog, patience_s=20) == []


@pytest.mark.usefixtures("ticking")
def test_a_holder_that_cannot_be_told_is_another_process(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a system without /proc/locks, or when the holder is in another container."""
    monkeypatch.setattr(database, "PROC_LOCKS", path.with_name("missing"))
    with held(path, QUEUES):
        said = said_while_waiting(path, caplog, patience_s=100)
    assert said
    assert all(line.endswith("it is held by another process") for line in said)


def test_a_file_that_is_not_duckdbs_is_an_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cdr.duckdb"
    path.write_bytes(b"not a database\n" * 1_000)
    with pytest.raises(WarehouseError, match=str(path)) as error, Database(path).connect():
        pytest.fail("opened a file that is not DuckDB's")
    assert not isinstance(error.value, WarehouseBusy)
    assert path.read_bytes() == b"not a database\n" * 1_000


def test_a_file_without_content_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "cdr.duckdb"
    path.touch()
    with Database(path).connect() as connection:
        connection.execute("CREATE TABLE room_usage (room_id VARCHAR)")
    with Database(path).connect() as connection:
        assert connection.execute("SELECT count(*) FROM room_usage").fetchone() == (0,)


def kill_while_writing(path: Path) -> None:
    """Leaves what a killed process has committed in the write-ahead log."""
    program = (
        f"import os, sys, duckdb; writing = {WRITES}; "
        "writing.execute(\"INSERT INTO room_usage VALUES ('r')\"); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)])
    assert path.with_name("cdr.duckdb.wal").exists()


def test_what_a_killed_process_committed_is_kept(path: Path) -> None:
    kill_while_writing(path)
    with Database(path).connect() as connection:
        assert connection.execute("SELECT room_id FROM room_usage").fetchall() == [("r",)]


@pytest.mark.parametrize("other", ["an older file", "another database"])
def test_the_log_of_a_killed_process_is_set_aside_when_it_is_not_of_the_file(
    path: Path, tmp_path: Path, other: str
) -> None:
    backup = tmp_path / "backup"
    if other == "an older file":
        shutil.copy2(path, backup)
    else:
        with duckdb.connect(backup) as connection:
            connection.execute("CREATE TABLE room_usage (room_id VARCHAR)")
    with Database(path).connect() as connection:
        connection.execute("INSERT INTO room_usage VALUES ('newer')")
    kill_while_writing(path)
    shutil.copy2(backup, path)
    for _ in range(2):
        with Database(path).connect() as connection:
            assert connection.execute("SELECT count(*) FROM room_usage").fetchone() == (0,)
    assert path.with_name("cdr.duckdb.wal.foreign").exists()


def test_an_exception_inside_closes_the_file(path: Path) -> None:
    def fail() -> None:
        with Database(path).connect() as connection:
            assert not can_be_written_elsewhere(path)
            raise KeyboardInterrupt(connection)

    # The exception keeps the connection alive, so only closing it lets go of the file.
    with pytest.raises(KeyboardInterrupt) as raised:
        fail()
    assert can_be_written_elsewhere(path), raised.value


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, duckdb.Error])
def test_all_of_a_transaction_takes_effect_or_none(path: Path, error: type[BaseException]) -> None:
    def rooms() -> list[str]:
        with Database(path).connect() as connection:
            return [room for (room,) in connection.execute("SELECT room_id FROM room_usage").fetchall()]

    def replace(room: str, fail: bool) -> None:
        with Database(path).connect() as connection, transaction(connection):
            connection.execute("DELETE FROM room_usage")
            connection.execute("INSERT INTO room_usage BY NAME SELECT ? AS room_id", [room])
            if fail and error is duckdb.Error:
                connection.execute("SELECT no_such_column FROM room_usage")
            if fail:
                raise error

    replace("kept", fail=False)
    assert rooms() == ["kept"]
    with pytest.raises(error):
        replace("lost", fail=True)
    assert rooms() == ["kept"]


def test_a_lease_goes_on_from_one_piece_of_work_to_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LEASE_SECONDS", 3_600)
    lease = ConnectionLease(Database(path).connect)
    with lease.connection() as first:
        first.execute("CREATE TEMP TABLE seen AS SELECT 1")
    assert not can_be_written_elsewhere(path)
    with lease.connection() as second:
        assert second.execute("FROM seen").fetchone() == (1,)
    lease.release()
    assert can_be_written_elsewhere(path)
    with lease.connection() as third:
        assert third.execute("SELECT count(*) FROM room_usage").fetchone() == (0,)
    lease.release()
    assert can_be_written_elsewhere(path)


def test_a_lease_is_closed_after_the_work_under_way_and_for_good(path: Path) -> None:
    lease = ConnectionLease(Database(path).connect)
    working, go_on, closed = Event(), Event(), Event()

    def work() -> None:
        with lease.connection() as connection:
            working.set()
            assert go_on.wait(PATIENCE_S)
            assert not closed.is_set()
            connection.execute("SELECT 1")

    def close() -> None:
        lease.close()
        closed.set()

    with ThreadPoolExecutor(2) as threads:
        worked = threads.submit(work)
        assert working.wait(PATIENCE_S)
        closing = threads.submit(close)
        with pytest.raises(FutureTimeout):
            closing.result(0.05)
        go_on.set()
        worked.result(PATIENCE_S)
        closing.result(PATIENCE_S)
    with pytest.raises(WarehouseError, match="was stopped"), lease.connection():
        pass
    lease.close()
    with Database(path, patience_s=0).connect():
        pass


def test_a_lease_whose_time_is_up_ends_with_the_work_at_hand(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LEASE_SECONDS", 0)
    with ConnectionLease(Database(path).connect).connection():
        assert not can_be_written_elsewhere(path)
    assert can_be_written_elsewhere(path)


def test_an_error_ends_the_lease(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LEASE_SECONDS", 3_600)
    lease = ConnectionLease(Database(path).connect)
    with pytest.raises(KeyboardInterrupt), lease.connection():
        raise KeyboardInterrupt
    assert can_be_written_elsewhere(path)


# Permissions


@pytest.fixture
def umask() -> Iterator[Callable[[], int]]:
    """The umask of the process, which the test starts with 022."""
    former = os.umask(0o022)

    def umask() -> int:
        present = os.umask(0o022)
        os.umask(present)
        return present

    yield umask
    os.umask(former)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_umask_is_as_before_when_the_file_is_closed(
    path: Path, umask: Callable[[], int], error: type[BaseException] | None
) -> None:
    with suppress(ValueError, KeyboardInterrupt), Database(path).connect():
        assert umask() == 0o077
        if error:
            raise error
    assert umask() == 0o022


def test_the_umask_is_as_before_when_the_file_cannot_be_opened(tmp_path: Path, umask: Callable[[], int]) -> None:
    def fail(_: database.Connection) -> None:
        raise ValueError("not prepared")

    (tmp_path / "text").write_bytes(b"not a database\n" * 1_000)
    with pytest.raises(WarehouseError), Database(tmp_path / "text").connect():
        pytest.fail("opened a file that is not DuckDB's")
    assert umask() == 0o022
    with pytest.raises(ValueError, match="not prepared"), Database(tmp_path / "cdr.duckdb", fail).connect():
        pytest.fail("opened a file that could not be prepared")
    assert umask() == 0o022


def test_the_umask_is_as_before_when_the_last_of_several_threads_closes_its_file(
    tmp_path: Path, umask: Callable[[], int]
) -> None:
    opened, first_may_close, second_may_close = Barrier(3), Event(), Event()

    def hold(name: str, may_close: Event) -> None:
        with Database(tmp_path / name).connect():
            opened.wait(PATIENCE_S)
            may_close.wait(PATIENCE_S)

    threads = [
        Thread(target=hold, args=arguments, daemon=True)
        for arguments in (("a.duckdb", first_may_close), ("b.duckdb", second_may_close))
    ]
    for thread in threads:
        thread.start()
    opened.wait(PATIENCE_S)
    assert umask() == 0o077
    first_may_close.set()
    threads[0].join(PATIENCE_S)
    assert umask() == 0o077, "the other file is still open"
    second_may_close.set()
    threads[1].join(PATIENCE_S)
    assert umask() == 0o022
