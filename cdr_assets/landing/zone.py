"""The landing zone: records as EnableX sent them, one file per UTC day and request. No HTTP, no SQL.

    account                                                                  App ID of the only account in this folder
    landing/usage_date=YYYY-MM-DD/<when asked>-<route>-<random>.ndjson.zst    records, byte for byte, one per line
    quarantine/usage_date=YYYY-MM-DD/<digest>.txt                            records that are not valid, with the reason

Files of a day sort by the time of their request, so of two versions of a record the one in the later file is newer.
An answer is first written to a staging folder. When the whole answer is good, each file is moved to its final place.
A staging folder is locked by its writer. One without a living writer was left by a killed run and is removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import IO

import zstandard
from filelock import FileLock, Timeout

from cdr_assets.enablex.records import Batch, Quarantined

ZSTD_LEVEL = 1
# The compressor's hash table then fits in the processor's first cache: a sixth faster, and files are no larger.
ZSTD_HASH_LOG = 12
RECORDS_SUFFIX = ".ndjson.zst"
STAMP_FORMAT = "%Y%m%dT%H%M%S.%fZ"
STAMP_LENGTH = len("20260101T000000.000000Z")


class OtherAccount(Exception):
    """The data folder holds the records of another EnableX account."""

    permanent = True


class Staged:
    """One answer in its staging folder: one file per UTC day with valid records, and one with quarantined records."""

    def __init__(self, folder: Path, stamp: str, route: str, days: Sequence[date]) -> None:
        self.folder = folder
        self.route = route
        self.days = frozenset(days)
        """UTC days that the answer covers fully."""
        self.records: dict[date, int] = {}
        self.quarantined: dict[date | None, int] = {}
        self.has_no_list = False
        self.is_whole = False
        """The answer was written to its end."""
        self._stamp = stamp

    def records_file(self, day: date) -> Path:
        # Records of a day that was not asked for say nothing about the rest of that day.
        route = self.route if day in self.days else f"{self.route}-spill"
        return self.folder / partition_name(day) / f"{self._stamp}-{route}-{self.folder.name[-8:]}{RECORDS_SUFFIX}"

    def quarantine_file(self, day: date | None) -> Path:
        return self.folder / partition_name(day) / "quarantine.txt"

    def write(self, batches: Iterable[Batch]) -> None:
        """Writes the answer's records and flushes them to the disk. Replaces what an earlier attempt wrote.

        When `batches` raises, the files are removed.
        """
        self.records, self.quarantined, self.has_no_list, self.is_whole = {}, {}, False, False
        with _Writers(self) as writers:
            for batch in batches:
                self.has_no_list = batch.has_no_list
                for day, lines in batch.days.items():
                    writers.records(day).write(lines.text)
                    self.records[day] = self.records.get(day, 0) + lines.count
                for item in batch.quarantined:
                    writers.quarantine(item.usage_date).write(_quarantine_entry(item))
                    self.quarantined[item.usage_date] = self.quarantined.get(item.usage_date, 0) + 1
        self.is_whole = True

    def write_empty(self, day: date) -> None:
        """Writes a file without records, which says that the day was asked for and has none."""
        with _Writers(self) as writers:
            writers.records(day)


class LandingZone:
    """The files in one data folder, which is created by the first write."""

    def __init__(self, data_dir: Path) -> None:
        self.account = data_dir / "account"
        self.landing = data_dir / "landing"
        self.quarantine = data_dir / "quarantine"

    def claim(self, app_id: str) -> None:
        """Notes that the data folder belongs to the account with this App ID. Call it before each fetch.

        Raises OtherAccount when it belongs to another account. An empty App ID claims nothing, and cannot fetch either.
        """
        app_id = app_id.strip()
        if app_id and self._owner() != app_id:
            with self._lock("account"):
                owner = self._owner()
                if not owner:
                    _write(self.account, app_id + "\n")
                elif owner != app_id:
                    raise OtherAccount(
                        f"the data folder {self.account.parent} belongs to another EnableX account: the App ID in "
                        f"{self.account} is not the one that is set now. Use another data folder for this account. "
                        f"To adopt this folder on purpose, delete {self.account}: the next fetch notes its App ID"
                    )

    def _owner(self) -> str:
        with suppress(FileNotFoundError):
            return self.account.read_text(encoding="utf-8", errors="replace").strip()
        return ""

    def files(self, day: date) -> list[Path]:
        """Files with records of the UTC day, oldest request first. No file: the day never landed."""
        return sorted((self.landing / partition_name(day)).glob(f"*{RECORDS_SUFFIX}"))

    def days(self) -> dict[date, str]:
        """Every UTC day that landed, with its version: see `version`."""
        days = {}
        for folder in self.landing.glob("usage_date=*"):
            try:
                day = date.fromisoformat(folder.name.removeprefix("usage_date="))
            except ValueError:
                continue  # Somebody else's folder.
            if files := version(folder.glob(f"*{RECORDS_SUFFIX}")):
                days[day] = files
        return days

    def version(self, day: date) -> str:
        """A short digest of the names of the day's files; empty if it never landed."""
        return version(self.files(day))

    def lock(self, day: date) -> FileLock:
        """Hold this lock while changing the day's files, or while relying on them not to change."""
        return self._lock(day.isoformat())

    def _lock(self, name: str) -> FileLock:
        locks = self.landing / ".locks"
        _make_folder(locks)
        return FileLock(locks / f"{name}.lock", mode=0o600)

    @contextmanager
    def staging(self, route: str, days: Sequence[date] = ()) -> Iterator[Staged]:
        """A locked folder for one answer of `route`. It is removed at the end, with everything still in it.

        `days` are the UTC days that the answer covers fully. Its files sort after every file that landed for these
        days, even if the clock was set back.
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
            yield Staged(folder, stamp, route, days)
        finally:
            with self._making_staging_folders():
                shutil.rmtree(folder, ignore_errors=True)
                writer.release()

    def _making_staging_folders(self) -> FileLock:
        # Nobody may sweep a folder between its creation and its lock, nor between its removal and its unlock.
        _make_folder(self.landing)
        return FileLock(self.landing / ".staging.lock", mode=0o600)

    def _sweep(self) -> None:
        for folder in self.landing.glob(".staging-*/"):
            try:
                with FileLock(folder / "writer.lock", mode=0o600, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue

    def commit(self, staged: Staged, day: date) -> Path:
        """Moves the day's records to their final place. They have landed when this returns."""
        file = staged.records_file(day)
        return _move(file, self.landing / partition_name(day) / file.name)

    def commit_quarantine(self, staged: Staged) -> list[Path]:
        """Moves quarantined records to the quarantine, in files named by their content: a repeated answer adds none."""
        return [
            _move(file, self.quarantine / partition_name(day) / f"{_digest(file)}.txt")
            for day in staged.quarantined
            for file in [staged.quarantine_file(day)]
        ]

    def remove(self, files: Iterable[Path]) -> None:
        """Removes landed files. Newer files hold all their records, unless the day is replaced."""
        for file in files:
            file.unlink(missing_ok=True)


class _Writers:
    """Open files of one answer, by kind and UTC day. They are flushed to the disk at the end; an error removes them."""

    # An answer of the room route can have records of every day, and a process may open few files.
    MAX_OPEN = 64

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
            if len(self._open) == self.MAX_OPEN:
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
        # Nearly all records of an answer are of its first day. That file is compressed in a thread of its own.
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
    """The route that brought the file; `<route>-spill` when the route was asked for another day."""
    return file.name.removesuffix(RECORDS_SUFFIX)[STAMP_LENGTH + 1 :].rpartition("-")[0]


def version(files: Iterable[Path]) -> str:
    """A short digest of the names of landing files; empty for no files."""
    names = "".join(sorted(file.name for file in files))
    return hashlib.sha256(names.encode()).hexdigest()[:16] if names else ""


def partition_name(day: date | None) -> str:
    """The folder of a UTC day, named as DuckDB and other readers expect of a partition column."""
    return f"usage_date={day.isoformat() if day else 'unknown'}"


def _stamp_after(newest: str) -> str:
    now = datetime.now(timezone.utc)
    if newest >= now.strftime(STAMP_FORMAT):
        now = datetime.strptime(newest, STAMP_FORMAT) + timedelta(microseconds=1)
    return now.strftime(STAMP_FORMAT)


def _quarantine_entry(item: Quarantined) -> bytes:
    return b"reason: " + item.reason.encode() + b"\nrecord: " + item.record + b"\n\n"


def _write(path: Path, text: str) -> None:
    """Writes a small file in one step: a reader sees all of it or nothing."""
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    _sync(draft)
    _move(draft, path)


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
