"""The landing zone: records as EnableX sent them, in one file a UTC day and request. No HTTP, no SQL.

    landing/usage_date=YYYY-MM-DD/<when asked>-<route>-<random>.ndjson.zst    records, byte for byte, one a line
    quarantine/usage_date=YYYY-MM-DD/<digest>.txt                            what could not be a record, and why

Files of a day sort by the time of their request, so of two versions of a record the one in the later file is newer.
An answer is written to a staging folder first and each file is moved into its place when the whole answer is good.
A staging folder is locked by its writer; one without a living writer is what a killed run left, and is removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import IO

import zstandard
from filelock import FileLock, Timeout

from cdr_assets.enablex.records import Quarantined, Batch

ZSTD_LEVEL = 1
# Its table then lies in the processor's first cache: a sixth faster, and no larger.
ZSTD_HASH_LOG = 12
RECORDS_SUFFIX = ".ndjson.zst"
STAMP_FORMAT = "%Y%m%dT%H%M%S.%fZ"
STAMP_LENGTH = len("20260101T000000.000000Z")


@dataclass(frozen=True)
class Staged:
    """One answer in the staging folder: a file for each UTC day that it has records of."""

    folder: Path
    stamp: str
    route: str
    covers: frozenset[date]
    records: dict[date, int] = field(default_factory=dict)
    quarantined: dict[date | None, int] = field(default_factory=dict)

    def records_file(self, day: date) -> Path:
        # What an answer holds for a day that it was not asked for says nothing of the day's other records.
        route = self.route if day in self.covers else f"{self.route}-spill"
        return self.folder / partition_name(day) / f"{self.stamp}-{route}-{self.folder.name[-8:]}{RECORDS_SUFFIX}"

    def quarantine_file(self, day: date | None) -> Path:
        return self.folder / partition_name(day) / "quarantine.txt"


class LandingZone:
    """The files under one data folder, which is made when it is first written to."""

    def __init__(self, data_dir: Path) -> None:
        self.landing = data_dir / "landing"
        self.quarantine = data_dir / "quarantine"

    def files(self, day: date) -> list[Path]:
        """Files with records of the UTC day, those asked for first coming first. Empty: the day never landed."""
        return sorted((self.landing / partition_name(day)).glob(f"*{RECORDS_SUFFIX}"))

    def days(self) -> dict[date, str]:
        """Every UTC day that landed, with the version of its files."""
        days = {}
        for folder in self.landing.glob("usage_date=*"):
            try:
                day = date.fromisoformat(folder.name.removeprefix("usage_date="))
            except ValueError:
                continue  # No folder of ours.
            if files := version(folder.glob(f"*{RECORDS_SUFFIX}")):
                days[day] = files
        return days

    def lock(self, day: date) -> FileLock:
        """Whoever changes the day's files, or relies on them to stay, holds this meanwhile."""
        locks = self.landing / ".locks"
        _make_folder(locks)
        return FileLock(locks / f"{day}.lock", mode=0o600)

    @contextmanager
    def staging(self, route: str, days: Sequence[date] = ()) -> Iterator[Staged]:
        """A locked folder for one answer of `route`; whatever is still in it is removed at the end.

        `days` are those asked for: the new files sort behind every file they have, even where the clock went back.
        """
        newest = max((file.name[:STAMP_LENGTH] for day in days for file in self.files(day)), default="")
        stamp = _stamp_after(newest)
        folder = self.landing / f".staging-{stamp}-{secrets.token_hex(4)}"
        writer = FileLock(folder / "writer.lock", mode=0o600)
        with self._making_staging_folders():
            self._sweep()
            _make_folder(folder)
            writer.acquire()
        try:
            yield Staged(folder, stamp, route, frozenset(days))
        finally:
            with self._making_staging_folders():
                shutil.rmtree(folder, ignore_errors=True)
                writer.release()

    def _making_staging_folders(self) -> FileLock:
        # A folder is made and locked, or removed and let go, in one go: nobody sweeps it in between.
        _make_folder(self.landing)
        return FileLock(self.landing / ".staging.lock", mode=0o600)

    def _sweep(self) -> None:
        for folder in self.landing.glob(".staging-*/"):
            try:
                with FileLock(folder / "writer.lock", mode=0o600, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue

    def write(self, batches: Iterable[Batch], staged: Staged) -> None:
        """Writes the records into the staging folder, and what was set aside beside them, to the disk itself.

        When `batches` raises, what was written is dropped, so that another try can begin.
        """
        staged.records.clear()
        staged.quarantined.clear()
        with _Writers(staged) as writers:
            for batch in batches:
                for day, lines in batch.days.items():
                    writers.records(day).write(lines.text)
                    staged.records[day] = staged.records.get(day, 0) + lines.count
                for item in batch.quarantined:
                    writers.quarantine(item.usage_date).write(_quarantine_entry(item))
                    staged.quarantined[item.usage_date] = staged.quarantined.get(item.usage_date, 0) + 1

    def write_empty(self, staged: Staged, day: date) -> None:
        """Makes the file that says: the day was asked for and answered with no record."""
        with _Writers(staged) as writers:
            writers.records(day)
        staged.records[day] = 0

    def commit(self, staged: Staged, day: date) -> Path:
        """Moves the day's records into their place; they have landed when this returns."""
        file = staged.records_file(day)
        return _move(file, self.landing / partition_name(day) / file.name)

    def commit_quarantine(self, staged: Staged) -> list[Path]:
        """Moves what was set aside into its place, named by its content: the same answer again adds no file."""
        return [
            _move(file, self.quarantine / partition_name(day) / f"{_digest(file)}.txt")
            for day in staged.quarantined
            for file in [staged.quarantine_file(day)]
        ]

    def remove(self, files: Iterable[Path]) -> None:
        """Removes files whose records newer files all hold."""
        for file in files:
            file.unlink(missing_ok=True)


class _Writers:
    """Open files of one answer, by kind and UTC day; on a good end they are flushed to the disk itself."""

    # An answer of the room route can touch every day of an account's history; open files are few.
    MOST_OPEN = 64

    def __init__(self, staged: Staged) -> None:
        self._staged = staged
        self._open: dict[Path, IO[bytes]] = {}
        self._paths: set[Path] = set()

    def __enter__(self) -> _Writers:
        return self

    def records(self, day: date) -> IO[bytes]:
        return self._writer(self._staged.records_file(day))

    def quarantine(self, day: date | None) -> IO[bytes]:
        return self._writer(self._staged.quarantine_file(day))

    def _writer(self, path: Path) -> IO[bytes]:
        if path not in self._open:
            if len(self._open) == self.MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[path] = self._append(path)
        return self._open[path]

    def _append(self, path: Path) -> IO[bytes]:
        if path not in self._paths:
            _make_folder(path.parent)
            path.unlink(missing_ok=True)
            self._paths.add(path)
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
        if not path.name.endswith(RECORDS_SUFFIX):
            return file
        # The first day of an answer is nearly always nearly all of it: that one is compressed beside the reading.
        parameters = zstandard.ZstdCompressionParameters.from_level(
            ZSTD_LEVEL, hash_log=ZSTD_HASH_LOG, threads=0 if self._open else 1
        )
        return zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for writer in self._open.values():
            writer.close()
        for path in self._paths:
            if error:
                path.unlink()
            else:
                _sync(path)


def route_of(file: Path) -> str:
    """The route whose answer for its day the file is; `...-spill` for what came with an answer for another day."""
    return file.name.removesuffix(RECORDS_SUFFIX)[STAMP_LENGTH + 1 :].rpartition("-")[0]


def version(files: Iterable[Path]) -> str:
    """A short name for just these landing files; empty for none."""
    names = "".join(sorted(file.name for file in files))
    return hashlib.sha256(names.encode()).hexdigest()[:16] if names else ""


def partition_name(day: date | None) -> str:
    """The folder of a UTC day, in the way that DuckDB and other readers take for a partition column."""
    return f"usage_date={day.isoformat() if day else 'unknown'}"


def _stamp_after(newest: str) -> str:
    now = datetime.now(timezone.utc)
    if newest >= now.strftime(STAMP_FORMAT):
        now = datetime.strptime(newest, STAMP_FORMAT) + timedelta(microseconds=1)
    return now.strftime(STAMP_FORMAT)


def _quarantine_entry(item: Quarantined) -> bytes:
    return b"reason: " + item.reason.encode() + b"\nrecord: " + item.record + b"\n\n"


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _move(source: Path, target: Path) -> Path:
    _make_folder(target.parent)
    os.replace(source, target)
    _sync(target.parent)
    return target


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]
