"""Whether a run is alive, known by a lock that its process holds from the start of the run's step to its end.

On one machine it is the lock of a file, on several an advisory lock in the Postgres server of the lake. Either is free
once the process is dead, however it died. What the run leaves then, the file or a row, tells that it did not end.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Protocol

from cdr_assets.database import WarehouseError
from cdr_assets.places import Places
from cdr_assets.postgres import Postgres, PostgresError
from cdr_assets.warehouse.people import project_id

SECONDS_TO_LOCK = 5


class RunLock(Enum):
    """What its lock says of a run."""

    HELD = "held"
    """The run's process is alive."""
    ABANDONED = "abandoned"
    """The run's process died."""
    ABSENT = "absent"
    """The run has not come to its step yet, died before, or has ended its step."""


class RunLocks(Protocol):
    """The locks of the runs that work on the same data."""

    @property
    def place(self) -> str:
        """Where they are, for the runs' tags: others may be in the same Dagster instance."""

    def are_at(self, place: str) -> bool:
        """Whether that is the place of these locks."""

    def hold(self, run_id: str) -> AbstractContextManager[None]:
        """Holds the run's lock, and removes it at the end."""

    def state(self, run_id: str) -> RunLock:
        """The state of the run's lock."""

    def remove_abandoned(self) -> None:
        """Removes what runs left whose process died. Call it after those runs were reported as failed."""


def run_locks(places: Places) -> RunLocks:
    """The locks of the runs on these places."""
    return LocksInPostgres(places.postgres) if places.postgres else LocksInFolder(places)


class LocksInFolder:
    """A file for each run, `runs/<run id>.lock` in the data folder, locked while the run's step works.

    This is done with flock itself, since filelock creates the file that it is asked to look at.
    """

    def __init__(self, where: Path | Places) -> None:
        self._places = where if isinstance(where, Places) else Places.read(where)
        self._data_dir, self._folder = self._places.data_dir, self._places.folder.run_locks

    @property
    def place(self) -> str:
        # A path would not be known any more when the folder is moved, or restored elsewhere.
        try:
            return project_id(self._places.storage)
        except WarehouseError:  # Building says what is wrong with the key.
            return str(self._data_dir)

    def are_at(self, place: str) -> bool:
        # Earlier versions named the path.
        return place in (self.place, str(self._data_dir))

    @contextmanager
    def hold(self, run_id: str) -> Iterator[None]:
        path = self._file(run_id)
        for folder in (self._data_dir, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def state(self, run_id: str) -> RunLock:
        try:
            with self._file(run_id).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                found = os.fstat(file.fileno())
                if not found.st_nlink:
                    # The run ended between the two calls, and removed the file.
                    return RunLock.ABSENT
                # A file is made before it is locked.
                return RunLock.ABANDONED if time.time() - found.st_mtime > SECONDS_TO_LOCK else RunLock.HELD
        except BlockingIOError:
            return RunLock.HELD
        except (FileNotFoundError, NotADirectoryError):
            return RunLock.ABSENT

    def remove_abandoned(self) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self._folder.glob("*.lock"):
                if self.state(path.stem) is RunLock.ABANDONED:
                    path.unlink(missing_ok=True)

    def _file(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.lock"


class LocksInPostgres:
    """An advisory lock for each run, and a row in the table `cdr_assets.runs` while the run's step works."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    @property
    def place(self) -> str:
        return str(self._postgres)

    def are_at(self, place: str) -> bool:
        return place == self.place

    @contextmanager
    def hold(self, run_id: str) -> Iterator[None]:
        with self._postgres.lock(_name(run_id)):
            with self._postgres.connection() as connection:
                connection.execute("INSERT INTO cdr_assets.runs VALUES (%s) ON CONFLICT DO NOTHING", [run_id])
            try:
                yield
            finally:
                # A run that has done its work does not fail by this. remove_abandoned deletes the row then.
                with suppress(PostgresError):
                    self._delete(run_id)

    def state(self, run_id: str) -> RunLock:
        # A row appears after its run has the lock, and goes before the run lets go of it.
        was_there = run_id in self._rows()
        if self._postgres.is_held(_name(run_id)):
            return RunLock.HELD
        return RunLock.ABANDONED if was_there and run_id in self._rows() else RunLock.ABSENT

    def remove_abandoned(self) -> None:
        for run_id in self._rows():
            if self.state(run_id) is RunLock.ABANDONED:
                self._delete(run_id)

    def _rows(self) -> set[str]:
        with self._postgres.connection() as connection:
            return {run_id for (run_id,) in connection.execute("SELECT run_id FROM cdr_assets.runs")}

    def _delete(self, run_id: str) -> None:
        with self._postgres.connection() as connection:
            connection.execute("DELETE FROM cdr_assets.runs WHERE run_id = %s", [run_id])


def _name(run_id: str) -> str:
    return f"run {run_id}"
