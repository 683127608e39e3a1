"""The landing zone: every version of every record as EnableX sent it, one file per UTC day and request.

    account                                                    App ID of the only account in this folder
    landing/usage_date=YYYY-MM-DD/<name>.ndjson.zst            records, byte for byte, one per line; see `files`
    landing/usage_date=YYYY-MM-DD/.asked                       the last request for the whole day, and when it was sent
    landing/usage_date=YYYY-MM-DD/.moved, .loaded              what the tables have of it; see `moved`
    landing/.requests                                          number of the last request
    quarantine/usage_date=YYYY-MM-DD/<digest>.txt              records that are not valid, with the reason

An answer is first written to a staging folder. When the whole answer is good, each file is moved to its final place.
A staging folder is locked by its writer. One without a living writer was left by a killed run and is removed. The same
holds for the drafts of the small files.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timezone
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from cdr_assets.data_folder import DataFolder
from cdr_assets.days import DAY, days_between, end_of, utc_now
from cdr_assets.landing.drafts import sweep, write_in_one_step
from cdr_assets.landing.files import SUFFIX, LandedFile
from cdr_assets.landing.moved import MovedRecords

MOVES_WITHIN_DAYS = 7
"""A record whose newer version is dated at most so many days away is taken for moved."""

LONGEST_SETTLING = DAY * 32
"""A day that has closed is fetched again for no longer than this."""

ANY_DAY = "any"
"""In the name of a staging folder: the answer may have records of any day."""


class OtherAccount(Exception):
    """The data folder holds the records of another EnableX account."""

    permanent = True


class LandingZone:
    """The files in one data folder, which is created by the first write. `clock` tells when requests are sent."""

    def __init__(self, data_dir: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self.now = clock
        """The present, as an aware datetime."""
        folder = DataFolder(data_dir)
        self.account, self.landing, self.quarantine = folder.account, folder.landing, folder.quarantine
        self._drafts = self.landing / ".drafts"

    def claim(self, app_id: str) -> None:
        """Notes that the data folder belongs to the account with this App ID. Call it before each fetch.

        Raises OtherAccount when it belongs to another account. An empty App ID claims nothing, and cannot fetch either.
        """
        app_id = app_id.strip()
        if app_id and self._owner() != app_id:
            with self._lock("account"):
                owner = self._owner()
                if not owner:
                    self._write(self.account, app_id + "\n")
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

    def files(self, day: date) -> list[LandedFile]:
        """What landed for the UTC day, oldest request first. No file: the day never landed.

        Files older than the newest one that replaces the day do not count. Nor does a file that did not land here.
        """
        landed = (LandedFile.at(path) for path in self._folder(day).glob(f"*{SUFFIX}"))
        files = sorted((file for file in landed if file), key=lambda file: file.order)
        replacing = [at for at, file in enumerate(files) if file.replaces_day]
        return files[replacing[-1] :] if replacing else files

    def foreign_files(self, day: date) -> list[Path]:
        """Files in the day's folder that look like landed ones and are none: copied or renamed by hand, perhaps."""
        return sorted(path for path in self._folder(day).glob(f"*{SUFFIX}") if LandedFile.at(path) is None)

    def days(self) -> dict[date, str]:
        """Every UTC day that landed, with its version: see `version`."""
        days = {}
        for folder in self.landing.glob("usage_date=*"):
            try:
                day = date.fromisoformat(folder.name.removeprefix("usage_date="))
            except ValueError:
                continue  # Somebody else's folder.
            if version := self.version(day):
                days[day] = version
        return days

    def version(self, day: date) -> str:
        """A short digest of the names and sizes of the day's files; empty if it never landed."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder(day)) as entries:
            found = [(entry.name, entry.stat().st_size) for entry in entries if entry.name.endswith(SUFFIX)]
        return _version(found)

    def version_of(self, files: Sequence[LandedFile]) -> str:
        """The version of a day on which exactly these of its files have landed."""
        return _version([(file.path.name, file.path.stat().st_size) for file in files])

    def asked(self, day: date) -> datetime | None:
        """When the request was sent that last asked for the whole UTC day; None if none was answered.

        Days that only earlier versions fetched have no note of it. For those it is an estimate from the newest file of
        such an answer.
        """
        _, sent_at = self._asked(day)
        if sent_at is None:
            sent_at = next((file.landed_at for file in reversed(self.files(day)) if file.covers_day), None)
            if sent_at and sent_at >= end_of(day):
                # They went on asking, and an answer that brought nothing left no file.
                sent_at = max(sent_at, min(sent_at + LONGEST_SETTLING, self.now()))
        return sent_at

    def note_asked(self, day: date, request: int, sent_at: datetime) -> None:
        """Notes the answer to a request for the whole day, unless that to a later one is noted. Hold the day's lock."""
        if request > self._asked(day)[0]:
            self._write(self._folder(day) / ".asked", f"{request} {sent_at.astimezone(timezone.utc).isoformat()}")

    def _asked(self, day: date) -> tuple[int, datetime | None]:
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            request, sent_at = (self._folder(day) / ".asked").read_text(encoding="utf-8").split()
            return int(request), datetime.fromisoformat(sent_at).astimezone(timezone.utc)
        return -1, None

    def moved_records(self, day: date) -> MovedRecords:
        """Records that landed on the day and may lie under another one within a week of it."""
        # A move is noticed when both of its days are loaded.
        own = min((file.request for file in self._files_after(day, self._loaded(day))), default=sys.maxsize)
        week = DAY * MOVES_WITHIN_DAYS
        not_loaded: list[LandedFile] = []
        for other in days_between(day - week, day + week):
            if other != day:
                not_loaded += self._files_after(other, min(own, self._loaded(other)))
        return MovedRecords(self._noted(day), not_loaded)

    def note_moved(self, day: date, moved: Mapping[str, int]) -> None:
        """Notes which records of the day lie under another day: their ids, and the request that moved each."""
        if dict(moved) != self._noted(day):
            self._write(self._folder(day) / ".moved", json.dumps(moved))

    def note_loaded(self, day: date, request: int) -> None:
        """Notes that the day's records up to this request are in the tables, and that what they moved is noted."""
        if request != self._loaded(day):
            self._write(self._folder(day) / ".loaded", str(request))

    def _files_after(self, day: date, request: int) -> list[LandedFile]:
        return [file for file in self.files(day) if file.request > request]

    def _noted(self, day: date) -> dict[str, int]:
        with suppress(FileNotFoundError):
            noted: dict[str, int] = json.loads((self._folder(day) / ".moved").read_text(encoding="utf-8"))
            return noted
        return {}

    def _loaded(self, day: date) -> int:
        with suppress(FileNotFoundError):
            return int((self._folder(day) / ".loaded").read_text(encoding="utf-8"))
        return -1

    def next_request(self) -> int:
        """The number of a request that is about to be sent. It is larger than every one before."""
        counter = self.landing / ".requests"
        with self._lock("requests"), os.fdopen(os.open(counter, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            text = file.read()
            last = int(text) if text.strip().isdigit() else self._largest_request()
            file.seek(0)
            file.write(b"%020d\n" % (last + 1))
            file.flush()
            os.fsync(file.fileno())
        return last + 1

    def _largest_request(self) -> int:
        landed = (LandedFile.at(path) for path in self.landing.glob(f"usage_date=*/*{SUFFIX}"))
        asked = (self._asked(day)[0] for day in self.days())
        return max(chain((file.request for file in landed if file), asked), default=0)

    def lock(self, day: date) -> FileLock:
        """Hold this lock while changing the day's files, or while relying on them not to change."""
        return self._lock(day.isoformat())

    def _lock(self, name: str) -> FileLock:
        locks = self.landing / ".locks"
        make_folder(locks)
        return FileLock(locks / f"{name}.lock", mode=0o600)

    @contextmanager
    def staging(self, days: Sequence[date] = ()) -> Iterator[Path]:
        """A locked folder for one answer. It is removed at the end, with everything still in it.

        `days` are the UTC days that the answer covers fully; without any, it may have records of every day.
        """
        of_days = f"{min(days)}_{max(days)}" if days else ANY_DAY
        folder = self.landing / f".staging-{of_days}-{secrets.token_hex(4)}"
        writer = FileLock(folder / "writer.lock", mode=0o600)
        with self._making_staging_folders():
            self._sweep()
            make_folder(folder)
            writer.acquire()
        try:
            yield folder
        finally:
            with self._making_staging_folders():
                shutil.rmtree(folder, ignore_errors=True)
                writer.release()

    def is_asked_elsewhere(self, days: Collection[date], own: Path) -> bool:
        """Whether another request is under way that covers one of the days, or may have records of every day."""
        with self._making_staging_folders():
            self._sweep()
            return any(_may_bring(folder.name, days) for folder in self.landing.glob(".staging-*/") if folder != own)

    def _making_staging_folders(self) -> FileLock:
        # Nobody may sweep a folder between its creation and its lock, nor between its removal and its unlock.
        make_folder(self.landing)
        return FileLock(self.landing / ".staging.lock", mode=0o600)

    def _sweep(self) -> None:
        sweep(self._drafts)
        for folder in self.landing.glob(".staging-*/"):
            try:
                with FileLock(folder / "writer.lock", mode=0o600, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue

    def land(self, staged: Path, day: date, name: str) -> None:
        """Moves a staged file to its place. Its records have landed when this returns."""
        _move(staged, self._folder(day) / name)

    def remove_replaced(self, day: date) -> None:
        """Removes the files that no longer count, since a newer one replaces the day."""
        counted = {file.path for file in self.files(day)}
        for path in self._folder(day).glob(f"*{SUFFIX}"):
            if path not in counted and LandedFile.at(path):
                path.unlink(missing_ok=True)

    def keep_quarantined(self, staged: Path, day: date | None) -> Path:
        """Moves quarantined records to the quarantine, in a file named by its content: a repeated answer adds none."""
        return _move(staged, self.quarantine / partition_name(day) / f"{_digest(staged)}.txt")

    def _write(self, path: Path, text: str) -> None:
        make_folder(self._drafts)
        make_folder(path.parent)
        write_in_one_step(path, text, self._drafts)
        sync(path.parent)

    def _folder(self, day: date) -> Path:
        return self.landing / partition_name(day)


def partition_name(day: date | None) -> str:
    """The folder of a UTC day, named as DuckDB and other readers expect of a partition column."""
    return f"usage_date={day.isoformat() if day else 'unknown'}"


def _version(files: Sequence[tuple[str, int]]) -> str:
    named = "\n".join(f"{name} {size}" for name, size in sorted(files))
    return hashlib.sha256(named.encode()).hexdigest()[:16] if files else ""


def _may_bring(staging_folder: str, days: Collection[date]) -> bool:
    of_days = staging_folder.removeprefix(".staging-").rpartition("-")[0]
    if of_days == ANY_DAY:
        return True
    first, _, last = of_days.partition("_")
    return any(first <= day.isoformat() <= last for day in days)


def make_folder(folder: Path) -> None:
    """Makes the folder and those above it, readable by their owner alone."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _move(source: Path, target: Path) -> Path:
    make_folder(target.parent)
    os.replace(source, target)
    sync(target.parent)
    return target


def sync(path: Path) -> None:
    """Flushes a file or a folder to the disk."""
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
