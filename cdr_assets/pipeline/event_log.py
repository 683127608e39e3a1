"""Dagster's event log, where it lies in SQLite files: one with the events of each run, and an index over all runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import dagster as dg

INDEX = "index"


def sqlite_file(instance: dg.DagsterInstance, shard: str) -> Path | None:
    """The file of a run, or of the index; None where the event log lies elsewhere."""
    path_for_shard = getattr(instance.event_log_storage, "path_for_shard", None)
    return Path(path_for_shard(shard)) if path_for_shard else None


@contextmanager
def kept_open(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Keeps a connection to the files that the run writes its events to. Does nothing where these lie elsewhere.

    Dagster opens and closes a connection for each event. When the last one is closed, SQLite copies its write-ahead log
    and flushes both files. While another one is open it does so every thousand pages: an event takes two thirds of the
    time.
    """
    with ExitStack() as stack:
        for shard in (INDEX, run_id):
            file = sqlite_file(instance, shard)
            if file and file.exists():
                connection = stack.enter_context(closing(sqlite3.connect(file, check_same_thread=False)))
                with suppress(sqlite3.Error):
                    # Only one that has read counts as open.
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        yield
