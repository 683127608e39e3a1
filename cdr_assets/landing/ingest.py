"""Ingests one answer: writes it to staging, and lands what it adds to the files of its days.

The landing zone is a log of versions. A first answer lands whole. A later one adds records that are new, and versions
that differ from the newest one. Nothing is removed, except by `replace`. Records that an answer lacks are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date

from cdr_assets.days import end_of
from cdr_assets.enablex.records import Batch
from cdr_assets.landing.comparison import Comparison, Counts
from cdr_assets.landing.files import REPLACE, SPILL, DamagedFile, LandedFile, texts
from cdr_assets.landing.moved import MovedRecords
from cdr_assets.landing.staged import Staged
from cdr_assets.landing.zone import LandingZone

Attempts = Iterable[AbstractContextManager[Iterable[Batch]]]
"""Tries of one request, each with the batches of its answer. It ends after a whole, good answer, or raises an error."""


@dataclass(frozen=True)
class Change:
    """What an answer changed on one UTC day, in records."""

    new: int = 0
    changed: int = 0
    vanished: int = 0
    """Records that an earlier answer of the same route had and this one lacks."""
    landed: int = field(default=0, compare=False)
    """Records that the landing zone now has of the day, whichever answer brought them."""

    @property
    def brings_something(self) -> bool:
        return bool(self.new or self.changed)


@dataclass(frozen=True)
class IngestResult:
    """What one answer brought."""

    records: dict[date, int] = field(default_factory=dict)
    """Valid records by UTC day. Days without any are absent."""
    changes: dict[date, Change] = field(default_factory=dict)
    """For each day that was asked for or that has records."""
    quarantined: dict[date | None, int] = field(default_factory=dict)
    """Quarantined records by UTC day, None where the day cannot be read."""
    quarantine_files: list[str] = field(default_factory=list)
    """Their names in the storage."""
    has_no_list: bool = False
    """The answer reported success without a list of records, which counts as no records."""
    signs_of_more: tuple[str, ...] = ()
    """How the answer says that it lacks records."""

    @property
    def changed_days(self) -> list[date]:
        return sorted(day for day, change in self.changes.items() if change.brings_something)


def ingest(
    zone: LandingZone, attempts: Attempts, route: str, days: Sequence[date] = (), replace: bool = False
) -> IngestResult:
    """Lands the answer of the first attempt that is whole and good, each record under its own UTC day.

    `days` are the UTC days that the answer covers fully. They land even if the answer has no record of them, and landed
    records of theirs that it lacks are counted as vanished. `replace` removes what landed for `days` before.
    An error of the attempts propagates, and then nothing has landed.
    """
    with staged_answer(zone, attempts, route, days, replace) as staged:
        return commit(zone, staged)


@contextmanager
def staged_answer(
    zone: LandingZone, attempts: Attempts, route: str, days: Sequence[date] = (), replace: bool = False
) -> Iterator[Staged]:
    """The answer of the first attempt that is whole and good, in a staging folder that is removed at the end."""
    with _naming_the_disk(zone), zone.staging(days) as folder:
        staged = Staged(zone, folder, route, days, replace)
        for attempt in attempts:
            with attempt as batches:
                staged.write(batches)
        if not staged.is_whole:
            raise ValueError("the attempts ended without a whole answer, which is not the same as no records")
        yield staged


@contextmanager
def _naming_the_disk(zone: LandingZone) -> Iterator[None]:
    """An error of the system that names no file, such as a full disk, names the landing zone."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(zone.storage.scratch)
        raise


def commit(zone: LandingZone, staged: Staged) -> IngestResult:
    """Lands what a staged answer adds, and its quarantined records in the quarantine."""
    changes = {}
    for day in sorted({*staged.records, *staged.days}):
        with zone.lock(day):
            staged.check()
            changes[day] = _commit_day(zone, staged, day)
            if day in staged.days:
                zone.note_asked(day, staged.request, staged.sent_at)
    files = [zone.keep_quarantined(staged.quarantine_file(day), day) for day in staged.quarantined]
    return IngestResult(
        dict(staged.records), changes, dict(staged.quarantined), files, staged.has_no_list, staged.signs_of_more
    )


def _commit_day(zone: LandingZone, staged: Staged, day: date) -> Change:
    older, covered = zone.files(day), day in staged.days
    if any(file.replaces_day and file.request > staged.request for file in older):
        # The day was replaced by the answer to a later request, so this one no longer counts.
        return Change()
    counts = _counts(staged, day, older)
    if covered and staged.replace:
        staged.write_empty(day)
        zone.land(staged.records_file(day), day, staged.name(day, REPLACE))
        zone.remove_replaced(day)
        return Change(counts.new, counts.changed, counts.vanished, staged.ids(day))
    if staged.lines(day) or (covered and _is_first_answer(staged, day, older)):
        staged.write_empty(day)
        # Records of a day that was not asked for as a whole say nothing about the rest of that day.
        zone.land(staged.records_file(day), day, staged.name(day, "" if covered else SPILL))
    return Change(counts.new, counts.changed, counts.vanished, counts.landed)


def _is_first_answer(staged: Staged, day: date, older: Sequence[LandedFile]) -> bool:
    """Whether the whole day was not asked for before, or not since it closed. Such an answer lands without records too:
    what comes after the first answer for a closed day is late."""
    closed_at = end_of(day)
    is_closed = staged.sent_at >= closed_at
    # A file that an earlier request brought later was named by a wrong clock.
    return not any(
        file.covers_day and (not is_closed or closed_at <= file.landed_at <= staged.sent_at) for file in older
    )


def _counts(staged: Staged, day: date, older: Sequence[LandedFile]) -> Counts:
    """How the answer differs from what landed. Leaves those records in the staged file that are to land."""
    if day in staged.counts:
        return staged.counts[day]
    if not older:
        return Counts(staged.ids(day), 0, 0, staged.ids(day))
    staged.write_empty(day)
    try:
        return _compared(staged, day, older) if staged.lands_whole else staged.write_unknown(day, older)
    except DamagedFile:
        # The building of the day names the file. Here nothing can be compared with it, so the answer has landed whole.
        return Counts(0, 0, 0, staged.ids(day))


def _compared(staged: Staged, day: date, older: Sequence[LandedFile]) -> Counts:
    """How an answer that lands whole differs from what landed before."""
    whole = staged.as_landed(day)
    with Comparison(older, day in staged.days, MovedRecords({}, [])) as comparison, whole.path.open("rb") as content:
        for text, ids in texts(whole.lines(content)):
            comparison.unknown(text, ids)
        return comparison.counts()
