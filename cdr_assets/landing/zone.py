"""The landing zone: every version of every record as EnableX sent it, one file per UTC day and request.

    account                                                    App ID of the only account in this landing zone
    landing/usage_date=YYYY-MM-DD/<name>.ndjson.zst            records, byte for byte, one per line; see `files`
    landing/usage_date=YYYY-MM-DD/.asked                       the last request for the whole day, and when it was sent
    landing/usage_date=YYYY-MM-DD/.moved, .loaded              what the tables have of it; see `moved`
    landing/.requests                                          number of the last request
    quarantine/usage_date=YYYY-MM-DD/<digest>.txt              records that are not valid, with the reason

It is in a folder or in a bucket. An answer is first written to a staging folder of this machine. When the whole answer
is good, each file is moved to its final place.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import date, datetime, timezone
from functools import partial
from pathlib import Path

import msgspec

from cdr_assets.days import DAY, days_between, end_of, utc_now
from cdr_assets.landing.files import SUFFIX, LandedFile
from cdr_assets.landing.moved import MovedRecords
from cdr_assets.landing.staging import Staging, StagingFolder
from cdr_assets.places import Places
from cdr_assets.storage import Folder, Readable, Storage, Stored

LANDING, QUARANTINE, ACCOUNT = "landing", "quarantine", "account"

MOVES_WITHIN_DAYS = 7
"""A record whose newer version is dated at most so many days away is taken for moved."""

LONGEST_SETTLING = DAY * 32
"""A day that has closed is fetched again for no longer than this."""

_REQUESTS = f"{LANDING}/.requests"
_NO_REQUEST = 10**15
"""Beyond every number: a note that says more is damaged."""
_ASKED, _MOVED, _LOADED = ".asked", ".moved", ".loaded"


class OtherAccount(Exception):
    """The landing zone holds the records of another EnableX account."""

    permanent = True


class LandingZone:
    """The files in a folder, which is created by the first write, or where the places say.

    `clock` tells when requests are sent.
    """

    def __init__(self, root: Path | Places, clock: Callable[[], datetime] = utc_now) -> None:
        self.now = clock
        """The present, as an aware datetime."""
        self.storage: Storage = Folder(root, private=LANDING) if isinstance(root, Path) else root.storage
        self._staging = Staging(self.storage)
        self._last_request = -1

    @property
    def landing(self) -> Path:
        """The folder of the records, if they are in a folder."""
        return Path(self.storage.place(LANDING))

    def claim(self, app_id: str) -> None:
        """Notes that the landing zone belongs to the account with this App ID. Call it before each fetch.

        Raises OtherAccount when it belongs to another account. An empty App ID claims nothing, and cannot fetch either.
        """
        app_id = app_id.strip()
        if app_id and self._owner() != app_id:
            with self.storage.lock(ACCOUNT):
                owner = self._owner()
                if not owner:
                    self.storage.write(ACCOUNT, app_id + "\n")
                elif owner != app_id:
                    account = self.storage.place(ACCOUNT)
                    raise OtherAccount(
                        f"{account.removesuffix(f'/{ACCOUNT}')} belongs to another EnableX account: the App ID in "
                        f"{account} is not the one that is set now. Use another data folder for this account. To adopt "
                        f"this one on purpose, delete {account}: the next fetch notes its App ID"
                    )

    def _owner(self) -> str:
        try:
            return (self.storage.read(ACCOUNT) or "").strip()
        except UnicodeDecodeError:
            return "no App ID"

    def files(self, day: date) -> list[LandedFile]:
        """What landed for the UTC day, oldest request first. No file: the day never landed.

        Files older than the newest one that replaces the day do not count. Nor does a file that did not land here.
        """
        return _counted(self._of_day(day))

    def foreign_files(self, day: date) -> list[Readable]:
        """Files in the day's folder that look like landed ones and are none: copied or renamed by hand, perhaps."""
        return [file.path for file in _records(self._of_day(day)) if LandedFile.of(file) is None]

    def days(self) -> dict[date, str]:
        """Every UTC day that landed, with its version: see `version`."""
        versions = {day: _version(_records(files.values())) for day, files in self._listed().items()}
        return {day: version for day, version in versions.items() if version}

    def version(self, day: date) -> str:
        """A short digest of the names and sizes of the day's files; empty if it never landed."""
        return _version(_records(self._of_day(day)))

    def version_of(self, files: Sequence[LandedFile]) -> str:
        """The version of a day on which exactly these of its files have landed."""
        return _version(files)

    def asked(self, day: date) -> datetime | None:
        """When the request was sent that last asked for the whole UTC day; None if none was answered.

        Days that only earlier versions fetched have no note of it. For those it is an estimate from the newest file of
        such an answer. A time in the future was told by a wrong clock, and proves nothing.
        """
        _, sent_at = _request_and_time(self._text(_name(day, _ASKED)))
        return self._asked(day, sent_at, lambda: self.files(day))

    def all_asked(self, first: date | None = None, last: date | None = None) -> dict[date, datetime | None]:
        """When each day that landed, from `first` to `last`, was last asked for whole: see `asked`."""
        landed = {day: files for day, files in self._listed(first, last).items() if _records(files.values())}
        noted = self._texts({day: files[_ASKED] for day, files in landed.items() if _ASKED in files})
        asked = {}
        for day, files in landed.items():
            _, sent_at = _request_and_time(noted.get(day, ""))
            asked[day] = self._asked(day, sent_at, partial(_counted, files.values()))
        return asked

    def _asked(self, day: date, noted: datetime | None, files: Callable[[], Sequence[LandedFile]]) -> datetime | None:
        now = self.now()
        if noted and noted <= now:
            return noted
        times = (file.landed_at for file in reversed(files()) if file.covers_day)
        sent_at = next((when for when in times if when <= now), None)
        if sent_at and not noted and sent_at >= end_of(day):
            # They went on asking, and an answer that brought nothing left no file.
            return min(sent_at + LONGEST_SETTLING, now)
        return sent_at

    def note_asked(self, day: date, request: int, sent_at: datetime) -> None:
        """Notes the answer to a request for the whole day, unless that to a later one is noted. Hold the day's lock."""
        noted, _ = _request_and_time(self._text(_name(day, _ASKED)))
        if request > noted:
            self.storage.write(_name(day, _ASKED), f"{request} {sent_at.astimezone(timezone.utc).isoformat()}")

    def moved_records(self, day: date) -> MovedRecords:
        """Records that landed on the day and may lie under another one within a week of it."""
        # A move is noticed when both of its days are loaded.
        week = DAY * MOVES_WITHIN_DAYS
        listed = self._listed(day - week, day + week)
        texts = self._texts({near: files[_LOADED] for near, files in listed.items() if _LOADED in files})
        loaded = {near: _number(texts.get(near, "")) for near in days_between(day - week, day + week)}
        landed = {near: _counted(files.values()) for near, files in listed.items()}
        noted = self._noted(day) if _MOVED in listed.get(day, {}) else {}
        if noted is None:
            # What the loaded files moved is not known, so each of them may have.
            loaded = dict.fromkeys(loaded, -1)
        own = min((file.request for file in landed.get(day, []) if file.request > loaded[day]), default=sys.maxsize)
        not_loaded = [
            file
            for near in days_between(day - week, day + week)
            if near != day
            for file in landed.get(near, [])
            if file.request > min(own, loaded[near])
        ]
        return MovedRecords(noted or {}, not_loaded)

    def note_moved(self, day: date, moved: Mapping[str, int]) -> None:
        """Notes which records of the day lie under another day: their ids, and the request that moved each."""
        if dict(moved) != self._noted(day):
            self.storage.write(_name(day, _MOVED), json.dumps(moved))

    def note_loaded(self, day: date, request: int) -> None:
        """Notes that the day's records up to this request are in the tables, and that what they moved is noted."""
        if self._noted(day) is None:
            # Else what moved would have been noted again.
            self.note_moved(day, {})
        if self._text(_name(day, _LOADED)) != str(request):
            self.storage.write(_name(day, _LOADED), str(request))

    def _noted(self, day: date) -> dict[str, int] | None:
        """Which records of the day are noted as moved; None if somebody damaged the note."""
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(self.storage.read(_name(day, _MOVED)) or "{}", type=dict[str, int])
        return None

    def next_request(self) -> int:
        """The number of a request that is about to be sent. It is larger than every one before."""
        with self.storage.lock("requests"):
            noted = _number(self._text(_REQUESTS))
            # The note can be older than the files near it: a copy that was restored took it first.
            if self._last_request < 0 or noted < 0:
                self._last_request = self._largest_request()
            self._last_request = max(noted, self._last_request) + 1
            self.storage.write(_REQUESTS, f"{self._last_request:020d}\n")
            return self._last_request

    def _largest_request(self) -> int:
        listed = self._listed()
        landed = [LandedFile.of(file) for files in listed.values() for file in _records(files.values())]
        notes = [file for files in listed.values() for name, file in files.items() if name in (_ASKED, _LOADED)]
        noted = (_number((text or "").partition(" ")[0]) for text in self.storage.texts(notes))
        return max([0, *(file.request for file in landed if file), *noted])

    def lock(self, day: date) -> AbstractContextManager[object]:
        """Hold this lock while changing the day's files, or while relying on them not to change."""
        return self.storage.lock(day.isoformat())

    def staging(self, days: Sequence[date] = ()) -> AbstractContextManager[StagingFolder]:
        """A locked folder for one answer. It is removed at the end, with everything still in it.

        `days` are the UTC days that the answer covers fully; without any, it may have records of every day.
        """
        return self._staging.folder(days)

    def is_asked_elsewhere(self, days: Collection[date], own: Path) -> bool:
        """Whether another request is under way that covers one of the days, or may have records of every day."""
        return self._staging.is_asked_elsewhere(days, own)

    def land(self, staged: Path, day: date, name: str) -> None:
        """Moves a staged file to its place. Its records have landed when this returns."""
        self.storage.put(staged, _name(day, name))

    def remove_replaced(self, day: date) -> None:
        """Removes the files that no longer count, since a newer one replaces the day."""
        found = self._of_day(day)
        counted = {file.path for file in _counted(found)}
        for file in found:
            if file.path not in counted and LandedFile.of(file):
                self.storage.delete(file.name)

    def keep_quarantined(self, staged: Path, day: date | None) -> str:
        """Moves quarantined records to the quarantine, in a file named by its content: a repeated answer adds none.

        Returns its name in the storage.
        """
        name = f"{QUARANTINE}/{partition_name(day)}/{_digest(staged)}.txt"
        self.storage.put(staged, name)
        return name

    def _of_day(self, day: date) -> list[Stored]:
        """The files in the day's folder. What is deeper is somebody else's."""
        folder = f"{LANDING}/{partition_name(day)}"
        return [file for file in self.storage.files(folder) if file.name.rpartition("/")[0] == folder]

    def _listed(self, first: date | None = None, last: date | None = None) -> dict[date, dict[str, Stored]]:
        """The files in the folders of these days, or of all days, each by the last part of its name."""
        of_days = [partition_name(day) for day in (first, last) if day]
        found: dict[date, dict[str, Stored]] = defaultdict(dict)
        for file in self.storage.files(LANDING, *of_days):
            _, folder, *name = file.name.split("/")
            # What is deeper, or in another folder, is somebody else's.
            if len(name) == 1 and folder.startswith(_PARTITION):
                with suppress(ValueError):
                    found[date.fromisoformat(folder.removeprefix(_PARTITION))][name[0]] = file
        return found

    def _text(self, name: str) -> str:
        """The text of a small file; empty where there is none, or one that somebody damaged."""
        with suppress(UnicodeDecodeError):
            return self.storage.read(name) or ""
        return ""

    def _texts(self, files: Mapping[date, Stored]) -> dict[date, str]:
        return {day: text or "" for day, text in zip(files, self.storage.texts(list(files.values())), strict=True)}


_PARTITION = "usage_date="


def partition_name(day: date | None) -> str:
    """The folder of a UTC day, named as DuckDB and other readers expect of a partition column."""
    return f"{_PARTITION}{day.isoformat() if day else 'unknown'}"


def _name(day: date, name: str) -> str:
    return f"{LANDING}/{partition_name(day)}/{name}"


def _records(files: Iterable[Stored]) -> list[Stored]:
    return [file for file in files if file.name.endswith(SUFFIX)]


def _counted(files: Iterable[Stored]) -> list[LandedFile]:
    """Of the files of a day, those that landed and were not replaced, oldest request first."""
    landed = sorted(filter(None, map(LandedFile.of, files)), key=lambda file: file.order)
    replacing = [at for at, file in enumerate(landed) if file.replaces_day]
    return landed[replacing[-1] :] if replacing else landed


def _version(files: Sequence[Stored | LandedFile]) -> str:
    named = sorted((file.path.name, file.size) for file in files)
    text = "\n".join(f"{name} {size}" for name, size in named)
    return hashlib.sha256(text.encode()).hexdigest()[:16] if files else ""


def _request_and_time(text: str) -> tuple[int, datetime | None]:
    """What a note says of the last request for a whole day: its number, and when it was sent."""
    with suppress(ValueError, OverflowError):
        request, sent_at = text.split()
        return _number(request), datetime.fromisoformat(sent_at).astimezone(timezone.utc)
    return -1, None


def _number(text: str) -> int:
    """The number of a request in a note; -1 where there is none, or one that no request has had."""
    found = re.fullmatch(r"\s*(\d{1,20})\s*", text, re.ASCII)
    return int(found[1]) if found and int(found[1]) < _NO_REQUEST else -1


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]
