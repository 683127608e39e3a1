"""Whether a run is alive, known by a lock file that its process holds.

    runs/<run id>.lock    locked from the start of the run's step to its end, then removed

The operating system releases a lock when the process dies, however it dies. So a file that nobody holds was left by
a killed run. This is done with flock itself, since filelock creates the file that it is asked to look at.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

SECONDS_TO_LOCK = 5


class RunLock(Enum):
    """What the lock file says of a run."""

    HELD = "held"
    """The run's process is alive."""
    ABANDONED = "abandoned"
    """The run's process died."""
    ABSENT = "absent"
    """The run has not come to its step yet, died before, or has ended its step."""


def _path(data_dir: Path, run_id: str) -> Path:
    return data_dir / "runs" / f"{run_id}.lock"


@contextmanager
def hold_run_lock(data_dir: Path, run_id: str) -> Iterator[None]:
    """Holds the run's lock file, and removes it at the end."""
    path = _path(data_dir, run_id)
    for folder in (data_dir, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def run_lock(data_dir: Path, run_id: str) -> RunLock:
    """The state of the run's lock file."""
    try:
        with _path(data_dir, run_id).open() as file:
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


def remove_abandoned_locks(data_dir: Path) -> None:
    """Removes the lock files of runs whose process died. Call it after those runs were reported as failed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in (data_dir / "runs").glob("*.lock"):
            if run_lock(data_dir, path.stem) is RunLock.ABANDONED:
                path.unlink(missing_ok=True)
