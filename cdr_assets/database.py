"""DuckDB: open a database file that many processes want, keep the connection for a moment, run a statement.

Only one process at a time can write to a DuckDB file. The processes of this project queue for it with a lock file next
to it. A DuckDB shell or a BI tool does not take that lock, so opening the file is retried as well.

    WarehouseError          the file cannot be opened, or a statement cannot do its work; no partition is half replaced
    └── WarehouseBusy       other processes kept the file for longer than the patience allows
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Protocol

import duckdb
from filelock import FileLock, Timeout

MEMORY_LIMIT = "200MB"
"""DuckDB spills to disk beyond this. It is enough for a day of five million records with as many rooms as conferences;
twice as much is no faster."""

MORE_MEMORY = "2GB"
"""For what does not fit and cannot be spilled: to read one record of 8 MiB takes up to 400 MB."""

STORAGE_VERSION = "v1.5.0"
"""Files are written in this format, so that DuckDB 1.5 and every newer version can read them."""

RETRY_SECONDS = (0.02, 0.2)

WAITING_LOG_SECONDS = 30.0

PROC_LOCKS = Path("/proc/locks")
"""Linux lists here who holds which file lock."""

LEASE_SECONDS = 1.0

Connection = duckdb.DuckDBPyConnection

_log = logging.getLogger(__name__)


class WarehouseError(Exception):
    """The warehouse could not be opened, or a statement could not do its work. No partition was half replaced."""


class WarehouseBusy(WarehouseError):
    """Another process kept the DuckDB file until the deadline."""


class AnyDatabase(Protocol):
    """A DuckDB file or a lake, with one writer at a time."""

    def connect(self, patience_s: float | None = None) -> AbstractContextManager[Connection]:
        """A connection for writing, which is always closed. `patience_s` is for this connection alone.

        Raises WarehouseBusy when other processes write for longer, WarehouseError when it cannot be opened.
        """

    def exists(self) -> bool:
        """Whether anybody has written to it."""

    def transaction(self, connection: Connection) -> AbstractContextManager[None]:
        """All statements inside take effect together, or none does."""


class Database:
    """The DuckDB file at `path`, which is made with its folder when it is first opened.

    `prepare` is called with every new connection. `while_open` is entered before the file is opened and left when it is
    closed; no other process of this project opens it in between. `patience_s` is how many seconds to wait for other
    processes to close the file. The file, its write-ahead log and its spill files can be read by their owner alone.
    """

    def __init__(
        self,
        path: Path,
        prepare: Callable[[Connection], None] = lambda _: None,
        patience_s: float = 900,
        while_open: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.path = path
        self.patience_s = patience_s
        self._prepare = prepare
        self._while_open = while_open

    @contextmanager
    def connect(self, patience_s: float | None = None) -> Iterator[Connection]:
        """A connection for writing, which is always closed. `patience_s` is for this connection alone.

        Raises WarehouseBusy when other processes keep the file too long, WarehouseError when it is not a DuckDB file.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        waiting = _Waiting(self.path, self.patience_s if patience_s is None else patience_s)
        # A lease is opened by one thread and may be released by another.
        queue = FileLock(f"{self.path}.lock", mode=0o600, poll_interval=RETRY_SECONDS[0], thread_local=False)
        while not queue.is_locked:
            try:
                queue.acquire(timeout=waiting.next_pause())
            except Timeout:
                waiting.go_on(_holder_of(Path(queue.lock_file)))
        with _private_files():
            try:
                with self._while_open():
                    connection = self._open(waiting)
                    try:
                        self._prepare(connection)
                        yield connection
                    finally:
                        connection.close()
            finally:
                queue.release()

    def exists(self) -> bool:
        """Whether there is a file with content."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return self.path.stat().st_size > 0
        return False

    def transaction(self, connection: Connection) -> AbstractContextManager[None]:
        return transaction(connection)

    def _open(self, waiting: _Waiting) -> Connection:
        with suppress(FileNotFoundError):
            self.path.chmod(0o600)
        while True:
            try:
                return duckdb.connect(
                    self.path, config={"memory_limit": MEMORY_LIMIT, "storage_compatibility_version": STORAGE_VERSION}
                )
            except duckdb.Error as error:
                if self._set_foreign_log_aside(error) or self._remove_empty_file():
                    continue
                # A missing folder and a file that is not DuckDB's raise the same exception; waiting mends neither.
                if "Could not set lock" not in str(error):
                    raise WarehouseError(f"{self.path} can't be opened: {error}") from error
                holder = re.search(r"held in (.+?\(PID \d+\))", str(error))
                waiting.go_on(holder[1] if holder else None)
            time.sleep(waiting.next_pause())

    def _set_foreign_log_aside(self, error: duckdb.Error) -> bool:
        """Moves a write-ahead log away that was left by a killed process and is not of the file in place.

        A file that is put back from a backup is older than the log, which then is of no use to it.
        """
        if not re.search("replaying WAL file.*does not match", str(error)):
            return False
        log, aside = Path(f"{self.path}.wal"), Path(f"{self.path}.wal.foreign")
        _log.warning("%s belongs to another version of %s, and is moved to %s", log, self.path, aside)
        log.replace(aside)
        return True

    def _remove_empty_file(self) -> bool:
        """Removes a file without content, as a process leaves that is killed when it makes it: DuckDB refuses it."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_size == 0:
                self.path.unlink()
                return True
        return False


class _Waiting:
    """A wait for the file: how long it may still take, and a line in the log every half minute."""

    def __init__(self, path: Path, patience_s: float) -> None:
        self._path, self._patience_s = path, patience_s
        self._began = self._logged = time.monotonic()

    def next_pause(self) -> float:
        """Seconds until the next try: random, so that those who wait do not all try at once."""
        return random.uniform(*RETRY_SECONDS)

    def go_on(self, holder: str | None) -> None:
        """Raises WarehouseBusy when the patience is at an end; logs who holds the file, where that is known."""
        now = time.monotonic()
        held_by = f" by {holder}" if holder else " by another process"
        if now - self._began > self._patience_s:
            raise WarehouseBusy(
                f"{self._path} was in use{held_by} for {self._patience_s:g} s: close the DuckDB shell or BI tool "
                "that holds it open, or open it there with -readonly for moments only"
            )
        if now - self._logged >= WAITING_LOG_SECONDS:
            self._logged = now
            _log.warning("Waiting for %s since %.0f s: it is held%s", self._path, now - self._began, held_by)


def _holder_of(lock_file: Path) -> str | None:
    """The process that holds the lock file, as Linux tells it; None where nobody can tell."""
    with suppress(OSError):
        inode = lock_file.stat().st_ino
        for line in PROC_LOCKS.read_text().splitlines():
            if found := re.search(rf"FLOCK +ADVISORY +WRITE (\d+) \S+:{inode} ", line):
                return f"process {found[1]}"
    return None


_private = Lock()
_private_depth = 0
_former_umask = 0


@contextmanager
def _private_files() -> Iterator[None]:
    """New files are their owner's alone. DuckDB takes the permissions of its files from the process's umask."""
    global _private_depth, _former_umask
    with _private:
        if _private_depth == 0:
            _former_umask = os.umask(0o077)
        _private_depth += 1
    try:
        yield
    finally:
        with _private:
            _private_depth -= 1
            if _private_depth == 0:
                os.umask(_former_umask)


class ConnectionLease:
    """A connection from `connect` that is kept from one piece of work to the next, for about a second.

    Opening and closing the file takes as long as the work on a small day. Call `release` before waiting for anything
    else, so that other processes can use the file. Threads use it one after the other.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._opened = ExitStack()
        self._until = 0.0
        self._turn = RLock()
        self._is_closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """The connection for one piece of work. It is closed after an error, and when its time is up.

        Raises WarehouseError when the lease is closed.
        """
        with self._turn:
            if self._is_closed:
                raise WarehouseError("the work on the warehouse was stopped")
            if self._connection is None:
                self._connection = self._opened.enter_context(self._connect())
                self._until = time.monotonic() + LEASE_SECONDS
            try:
                yield self._connection
            except BaseException:
                self.release()
                raise
            if time.monotonic() > self._until:
                self.release()

    def release(self) -> None:
        """Closes the connection if it is open. The next piece of work opens another."""
        with self._turn:
            self._connection = None
            self._opened.close()

    def close(self) -> None:
        """Closes the connection for good, when the piece of work that is under way has ended."""
        self._is_closed = True
        self.release()


@contextmanager
def in_memory(spill: Path) -> Iterator[Connection]:
    """A temporary database in memory. What does not fit goes to the folder `spill`."""
    with duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(spill)}) as connection:
        yield connection


def use_more_memory(connection: Connection) -> None:
    """Gives one thread MORE_MEMORY, until the connection is closed."""
    connection.execute(f"SET memory_limit = '{MORE_MEMORY}'")
    connection.execute("SET threads = 1")


def quoted(text: str) -> str:
    """The text as a literal, for statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All statements inside take effect together, or none does."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        # Where it fails, the connection is broken, and nothing was committed either.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def run(connection: Connection, statement: str, **values: Any) -> list[dict[str, Any]]:
    """Executes `statement` with `values` bound to its `$parameters`. Returns its rows by column name."""
    result = connection.execute(statement, values)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
