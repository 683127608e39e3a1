"""Where answers are written before they land, and which other answers are under way.

A staging folder is on this machine, and locked by its writer. One without a living writer was left by a killed run and
is removed. In a bucket, where other machines land as well, a lock for each day tells of the answers under way.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from cdr_assets.storage import Bucket, Storage, make_folder

ANY_DAY = "any"
"""Stands for the days of an answer that may have records of any day."""


class StagingFolder(NamedTuple):
    """The folder of one answer."""

    path: Path
    check: Callable[[], None]
    """Raises LockLost if the others may not know any more that this answer is under way."""


class Staging:
    """The staging folders of a landing zone."""

    def __init__(self, storage: Storage) -> None:
        self._root = storage.scratch
        self._bucket = storage if isinstance(storage, Bucket) else None

    @contextmanager
    def folder(self, days: Collection[date]) -> Iterator[StagingFolder]:
        """A locked folder for an answer that covers these days fully, or may have records of every day if there are
        none. It is removed at the end, with everything still in it."""
        if not self._bucket:
            with self._folder(days) as path:
                yield StagingFolder(path, lambda: None)
            return
        with self._bucket.present(_names(days)) as held, self._folder(days) as path:
            yield StagingFolder(path, held.check)
            held.check()

    def is_asked_elsewhere(self, days: Collection[date], own: Path) -> bool:
        """Whether another request is under way that covers one of the days, or may have records of every day."""
        if self._bucket:
            return self._bucket.holders([*_names(days), _ASKING.format(ANY_DAY)]) > 1
        with self._making_folders():
            self._sweep()
            return any(_may_bring(folder.name, days) for folder in self._root.glob(".staging-*/") if folder != own)

    @contextmanager
    def _folder(self, days: Collection[date]) -> Iterator[Path]:
        of_days = f"{min(days)}_{max(days)}" if days else ANY_DAY
        folder = self._root / f".staging-{of_days}-{secrets.token_hex(4)}"
        writer = FileLock(folder / "writer.lock", mode=0o600)
        with self._making_folders():
            self._sweep()
            make_folder(folder)
            writer.acquire()
        try:
            yield folder
        finally:
            with self._making_folders():
                shutil.rmtree(folder, ignore_errors=True)
                writer.release()

    def _making_folders(self) -> FileLock:
        # Nobody may sweep a folder between its creation and its lock, nor between its removal and its unlock.
        make_folder(self._root)
        return FileLock(self._root / ".staging.lock", mode=0o600)

    def _sweep(self) -> None:
        for folder in self._root.glob(".staging-*/"):
            try:
                with FileLock(folder / "writer.lock", mode=0o600, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue


_ASKING = "asking {}"


def _names(days: Collection[date]) -> Sequence[str]:
    return [_ASKING.format(day) for day in sorted(days)] or [_ASKING.format(ANY_DAY)]


def _may_bring(staging_folder: str, days: Collection[date]) -> bool:
    of_days = staging_folder.removeprefix(".staging-").rpartition("-")[0]
    if of_days == ANY_DAY:
        return True
    first, _, last = of_days.partition("_")
    return any(first <= day.isoformat() <= last for day in days)
