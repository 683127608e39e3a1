"""One answer in its staging folder: a file per UTC day with its records, and one with quarantined records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import IO

import zstandard

from cdr_assets.enablex.records import Batch, Quarantined
from cdr_assets.landing.comparison import Comparison, Counts
from cdr_assets.landing.files import DamagedFile, LandedFile, file_name, texts
from cdr_assets.landing.hashes import Hashes
from cdr_assets.landing.staging import StagingFolder
from cdr_assets.landing.zone import LandingZone, partition_name
from cdr_assets.storage import make_folder, sync

# With a checksum, no flipped bit reads as another record. The compressor's hash table then fits in the processor's
# first cache: a sixth faster, and files are no larger.
_ZSTD_LEVEL, _ZSTD_HASH_LOG = 1, 12


class Staged:
    """An answer while it is written and committed. `days` are the UTC days that it covers fully.

    Of a day that it covers, only records are written that are not known yet. All of them are written when they replace
    what landed, and when another request for the day is under way: that one may be older and land later.
    """

    def __init__(
        self, zone: LandingZone, staging: StagingFolder, route: str, days: Sequence[date], replace: bool
    ) -> None:
        self.folder, self.check = staging
        self.route, self.replace = route, replace
        self.days = frozenset(days)
        self.request, self.sent_at = 0, zone.now()
        """Number of the request that the answer is to, and when it was sent."""
        self.records: dict[date, int] = {}
        """Valid records of the answer by UTC day."""
        self.quarantined: dict[date | None, int] = {}
        self.has_no_list = False
        self.signs_of_more: tuple[str, ...] = ()
        self.is_whole = False
        """The answer was written to its end."""
        self.lands_whole = False
        """Known records land as well."""
        self.counts: dict[date, Counts] = {}
        """How the answer differs from what landed, for days that were compared while it was written."""
        self._zone = zone
        self._lines: dict[date, int] = {}
        self._ids: dict[date, Hashes] = {}

    def records_file(self, day: date) -> Path:
        return self.folder / partition_name(day) / "records.zst"

    def quarantine_file(self, day: date | None) -> Path:
        return self.folder / partition_name(day) / "quarantine.txt"

    def lines(self, day: date) -> int:
        """Records in the day's file."""
        return self._lines.get(day, 0)

    def ids(self, day: date) -> int:
        """Different cdr_ids in the day's file."""
        return len(self._ids[day]) if day in self._ids else 0

    def name(self, day: date, suffix: str = "") -> str:
        """The name under which the day's file lands."""
        random = self.folder.name[-8:]
        return file_name(self.request, self.sent_at, self.route + suffix, self.lines(day), self.ids(day), random)

    def as_landed(self, day: date) -> LandedFile:
        """The day's file, read as a landed one is."""
        path, lines = self.records_file(day), self.lines(day)
        has_repeats = self.ids(day) < lines
        return LandedFile(path, path.stat().st_size, self.request, self.sent_at, self.route, lines, has_repeats)

    def write(self, batches: Iterable[Batch]) -> None:
        """Writes an answer and flushes it to the disk. Replaces what an earlier attempt wrote.

        Call it right before the request is sent: this takes the request's number. When `batches` raises, the files are
        removed.
        """
        self.records, self.quarantined, self.counts = {}, {}, {}
        self._lines, self._ids = {}, {}
        self.has_no_list, self.is_whole, self.signs_of_more = False, False, ()
        self.request, self.sent_at = self._zone.next_request(), self._zone.now()
        self.lands_whole = self.replace or self._zone.is_asked_elsewhere(self.days, self.folder)
        with ExitStack() as stack:
            compared = {} if self.lands_whole else self._comparisons(stack)
            writers = stack.enter_context(_Writers(self))
            for batch in batches:
                self.has_no_list, self.signs_of_more = batch.has_no_list, batch.signs_of_more
                for day, lines in batch.days.items():
                    self.records[day] = self.records.get(day, 0) + lines.count
                    text, ids = lines.text, lines.ids
                    if day in compared:
                        try:
                            text, ids = compared[day].unknown(text, ids)
                        except DamagedFile:
                            self._write_seen(writers, day, compared.pop(day))
                    if ids:
                        self._write(writers, day, text, ids)
                for item in batch.quarantined:
                    writers.quarantine(item.usage_date).write(_quarantine_entry(item))
                    self.quarantined[item.usage_date] = self.quarantined.get(item.usage_date, 0) + 1
            for day, comparison in compared.items():
                try:
                    self.counts[day] = comparison.counts()
                except DamagedFile:
                    self._write_seen(writers, day, comparison)
        self.is_whole = True

    def write_unknown(self, day: date, files: Sequence[LandedFile]) -> Counts:
        """Compares the day's file with landed ones, and leaves only the records in it that are not known."""
        whole, covers_day = self.as_landed(day), day in self.days
        path = self.records_file(day)
        kept = path.with_name("whole.zst")
        with Comparison(files, covers_day, self._zone.moved_records(day)) as comparison:
            os.replace(path, kept)
            lines_before, ids_before = self._lines.pop(day, 0), self._ids.pop(day, Hashes())
            try:
                with kept.open("rb") as content, _Writers(self) as writers:
                    for answered in texts(whole.lines(content)):
                        text, ids = comparison.unknown(*answered)
                        if ids:
                            self._write(writers, day, text, ids)
                    return comparison.counts()
            except DamagedFile:
                os.replace(kept, path)
                self._lines[day], self._ids[day] = lines_before, ids_before
                raise

    def write_empty(self, day: date) -> None:
        """Makes the day's file if there is none: an empty one says that the day was asked for and has no records."""
        if not self.records_file(day).exists():
            with _Writers(self) as writers:
                writers.records(day)

    def _comparisons(self, stack: ExitStack) -> dict[date, Comparison]:
        landed = {day: files for day in sorted(self.days) if (files := self._zone.files(day))}
        return {
            day: stack.enter_context(Comparison(files, covers_day=True, moved=self._zone.moved_records(day)))
            for day, files in landed.items()
        }

    def _write_seen(self, writers: _Writers, day: date, comparison: Comparison) -> None:
        """Writes what was taken for known. The file that has it is damaged and will have to be moved away."""
        for text, ids in comparison.known_so_far():
            self._write(writers, day, text, ids)

    def _write(self, writers: _Writers, day: date, text: bytes, ids: Sequence[str]) -> None:
        writers.records(day).write(text)
        self._lines[day] = self._lines.get(day, 0) + len(ids)
        self._ids.setdefault(day, Hashes()).update(map(hash, ids))


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
            make_folder(path.parent)
            path.unlink(missing_ok=True)
            self._paths.add(path)
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
        if path.suffix != ".zst":
            return file
        # Nearly all records of an answer are of its first day. That file is compressed in another thread.
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _ZSTD_LEVEL, hash_log=_ZSTD_HASH_LOG, write_checksum=True, threads=0 if self._open else 1
        )
        return zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for writer in self._open.values():
            writer.close()
        for path in self._paths:
            if error:
                path.unlink()
            else:
                sync(path)


def _quarantine_entry(item: Quarantined) -> bytes:
    return b"reason: " + item.reason.encode() + b"\nrecord: " + item.record + b"\n\n"
