"""What happens to a process at a chosen statement of its work on a lake."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import duckdb


class Watched:
    """A DuckDB connection that calls `before` with the number and the text of each statement, from 0."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, before: Callable[[int, str], object]) -> None:
        self._connection, self._before = connection, before
        self._count = 0

    def execute(self, statement: str, *values: Any) -> duckdb.DuckDBPyConnection:
        self._before(self._count, statement)
        self._count += 1
        return self._connection.execute(statement, *values)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@contextmanager
def watched(before: Callable[[int, str], object]) -> Iterator[None]:
    """Calls `before` before each statement of the connections to lakes that are opened inside."""
    connect = duckdb.connect
    with patch("cdr_assets.lake.duckdb.connect", lambda **config: Watched(connect(**config), before)):
        yield


def dies_at(chosen: int) -> Callable[[int, str], None]:
    """The process is killed before it comes to the statement of that number."""

    def before(number: int, _: str) -> None:
        if number == chosen:
            os.kill(os.getpid(), signal.SIGKILL)

    return before
