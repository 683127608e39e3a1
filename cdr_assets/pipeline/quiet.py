"""A tick that found nothing to do, and whether the data folder is as it was then. Known without Dagster.

Dagster makes a new instance for every tick that asks for one or for a resource. That takes longer than to look at the
times of thousands of folders.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cdr_assets.data_folder import STATUS_FILE, DataFolder
from cdr_assets.places import Places

T = TypeVar("T", bound="_Tick")

LOOK_AGAIN_AFTER = timedelta(minutes=10)
"""A file that is changed in place leaves the times of its folder as they are."""

SECONDS_TO_SETTLE = 2
"""Two changes within a moment can leave the same time."""


@dataclass(frozen=True)
class _Tick:
    """A tick that found nothing to do: what it said. It is kept in the sensor's cursor."""

    reason: str

    @classmethod
    def read(cls: type[T], cursor: str | None) -> T | None:
        """The tick in a cursor; None where there is none."""
        with suppress(ValueError, TypeError):
            return cls(**json.loads(cursor or ""))
        return None

    def write(self) -> str:
        """The tick as a cursor."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Rest(_Tick):
    """A tick that found nothing to do until a moment: what it said, when it was, and that moment."""

    since: str
    until: str

    def holds(self, now: datetime) -> bool:
        """Whether the moment is still to come. A clock that was set back ends the rest."""
        with suppress(ValueError, TypeError):
            return datetime.fromisoformat(self.since) <= now < datetime.fromisoformat(self.until)
        return False


@dataclass(frozen=True)
class QuietTick(_Tick):
    """What the tick said, the state of the folders when it began, and when."""

    state: str
    when: str

    def holds(self, state: str | None, now: datetime) -> bool:
        """Whether a tick would find nothing to do now either. Another day closes at midnight."""
        with suppress(ValueError):
            when = datetime.fromisoformat(self.when)
            return state == self.state and when.date() == now.date() and when <= now < when + LOOK_AGAIN_AFTER
        return False


def folder_state(places: Places, export_dir: str, code: str, now: datetime) -> str | None:
    """A digest of what lies in the folders and of `code`, which stands for the code that reads them.

    None while a run is alive, or when something changed just now: then nobody knows what it will be in a moment. Nor
    do the folders of one machine tell of a lake.
    """
    if places.is_lake:
        return None
    if any(name.endswith(".lock") for name, *_ in _entries(places.folder.run_locks)):
        return None
    warehouse = places.file
    build_log = places.folder.build_log
    folders = (DataFolder(Path(places.landing)).landing, build_log.parent, Path(export_dir))
    found = [(str(folder), *entry) for folder in folders for entry in _entries(folder)]
    # No table depends on it, and it is written again and again.
    found = [entry for entry in found if not entry[1].startswith(STATUS_FILE)]
    found += [("", *entry) for entry in _entries(warehouse.parent) if entry[0].startswith(warehouse.name)]
    newest = max((modified for *_, modified in found), default=0)
    if now.timestamp() - newest / 1e9 < SECONDS_TO_SETTLE:
        return None
    return hashlib.sha256(repr((code, sorted(found))).encode()).hexdigest()[:32]


def _entries(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Name, number on the disk, bytes and nanoseconds of everything in the folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                file = entry.stat()
                yield entry.name, file.st_ino, file.st_size, file.st_mtime_ns
