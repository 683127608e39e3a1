"""The warehouse: one DuckDB file, opened for writing by one process at a time, each waiting patiently for its turn.

What a table means is said in `sql/`; here is only how statements reach DuckDB.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from filelock import FileLock, Timeout

TABLES = ("call_detail_records", "room_usage", "conference_usage")

# Beyond this DuckDB spills to disk beside the warehouse. A day of five million records, with as many rooms as
# conferences, can be built with 220; twice as much gains no time.
MEMORY_LIMIT = "240MB"

RETRY_SECONDS = (0.02, 0.2)

TURN_SECONDS = 1.0


class WarehouseError(Exception):
    """The warehouse could not be opened, or a statement could not do its work; no partition was half replaced."""


class WarehouseBusy(WarehouseError):
    """Another process kept the DuckDB file until the deadline."""


class Column(NamedTuple):
    """A column of a table as its `CREATE TABLE` declares and describes it."""

    name: str
    type: str
    description: str


class Warehouse:
    """The DuckDB file at `path`, made with its folder and tables when it is first opened.

    `patience_s` is how many seconds to wait for other processes to let go of the file; `made_anew` is called before
    it is made.
    """

    def __init__(self, path: Path, patience_s: float = 900, made_anew: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.patience_s = patience_s
        self.made_anew = made_anew

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for writing, with the tables made; closed whatever happens.

        Raises WarehouseBusy when the file is not to be had in time, WarehouseError when it is not DuckDB's.
        """
        deadline = time.monotonic() + self.patience_s
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The queue is for this project's writers; people who read with their own DuckDB are met by the retries.
        queue = FileLock(f"{self.path}.lock", mode=0o600, poll_interval=RETRY_SECONDS[0])
        try:
            queue.acquire(timeout=self.patience_s)
        except Timeout:
            raise self._busy() from None
        try:
            if not self.path.exists():
                self.made_anew()
            connection = self._open(deadline)
            try:
                _prepare(connection)
                yield connection
            finally:
                connection.close()
        finally:
            queue.release()

    def _open(self, deadline: float) -> duckdb.DuckDBPyConnection:
        while True:
            try:
                return duckdb.connect(self.path, config={"memory_limit": MEMORY_LIMIT})
            except duckdb.IOException as error:
                # A missing folder and a file that is not DuckDB's raise the same exception; waiting mends neither.
                if "Could not set lock" not in str(error):
                    raise WarehouseError(f"{self.path} can't be opened: {error}") from error
            if time.monotonic() > deadline:
                raise self._busy()
            time.sleep(random.uniform(*RETRY_SECONDS))

    def _busy(self) -> WarehouseBusy:
        return WarehouseBusy(
            f"{self.path} was in use by another process for {self.patience_s:g} s: close the DuckDB shell or BI tool "
            "that holds it open, or open it there with -readonly for moments only"
        )


class Turn:
    """A connection from `connect` that is kept from one piece of work to the next, for a second or so.

    Opening and closing the file takes as long as the work on a small day. Whoever is done, or waits for something else
    in between, calls `end`, so that others get at the warehouse.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]) -> None:
        self._connect = connect
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._opened = ExitStack()
        self._until = 0.0

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection for one piece of work; the turn ends with an error in it, or when its time is up."""
        if self._connection is None:
            self._connection = self._opened.enter_context(self._connect())
            self._until = time.monotonic() + TURN_SECONDS
        try:
            yield self._connection
        except BaseException:
            self.end()
            raise
        if time.monotonic() > self._until:
            self.end()

    def end(self) -> None:
        """Closes the connection, if one is open; the next piece of work opens another."""
        self._connection = None
        self._opened.close()


@contextmanager
def in_memory(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse for the moment, empty; what does not fit in memory goes to the folder `spill`."""
    with duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(spill)}) as connection:
        _prepare(connection)
        yield connection


def _prepare(connection: duckdb.DuckDBPyConnection) -> None:
    for name in ("utc", *TABLES):
        run(connection, f"create/{name}")


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All statements inside take effect together, or none does."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def run(connection: duckdb.DuckDBPyConnection, name: str, **values: Any) -> list[dict[str, Any]]:
    """Executes `sql/<name>.sql` with `values` bound to its `$parameters`. Returns its rows by column name."""
    result = connection.execute(statement(name), values)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@cache
def statement(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (files("cdr_assets") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def columns(table: str) -> tuple[Column, ...]:
    """The columns of `table`, read from its `CREATE TABLE`: name, type, and the comment behind it."""
    declared = re.findall(
        r"^    (\w+) ([\w(),]+?)(?: USING COMPRESSION \w+)?,? +-- (.+)$",
        statement(f"create/{table}"),
        flags=re.MULTILINE,
    )
    return tuple(Column(*column) for column in declared)
