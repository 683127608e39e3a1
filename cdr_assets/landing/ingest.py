"""Ingests one answer: writes it to staging, compares it with the files that landed before, then commits or drops it.

No landed record is lost to a later answer. New records and newer versions are added. Records that the answer lacks stay
and are counted. A landed file is removed only when a newer one holds every record of it.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from pathlib import Path
from threading import Lock

from cdr_assets.database import in_memory, run
from cdr_assets.enablex.records import Batch
from cdr_assets.landing.zone import LandingZone, Staged, route_of

COMPARE = (files(__package__) / "compare.sql").read_text(encoding="utf-8")

# Comparing a day of half a million records takes a few hundred MB, and several days are fetched at the same time. What
# is protected is the memory of the process, so all landing zones in it share the lock.
_comparing = Lock()

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
    quarantine_files: list[Path] = field(default_factory=list)
    has_no_list: bool = False
    """The answer reported success without a list of records, which counts as no records."""

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
    with staged_answer(zone, attempts, route, days) as staged:
        return commit(zone, staged, replace)


@contextmanager
def staged_answer(zone: LandingZone, attempts: Attempts, route: str, days: Sequence[date] = ()) -> Iterator[Staged]:
    """The answer of the first attempt that is whole and good, in a staging folder that is removed at the end."""
    with zone.staging(route, days) as staged:
        for attempt in attempts:
            with attempt as batches:
                staged.write(batches)
        if not staged.is_whole:
            raise ValueError("the attempts ended without a whole answer, which is not the same as no records")
        yield staged


def commit(zone: LandingZone, staged: Staged, replace: bool = False) -> IngestResult:
    """Moves what is new in a staged answer into the landing zone, and its quarantined records into the quarantine."""
    changes = {}
    for day in sorted({*staged.records, *staged.days}):
        with zone.lock(day):
            changes[day] = _commit_day(zone, staged, day, replace and day in staged.days)
    files = zone.commit_quarantine(staged)
    return IngestResult(dict(staged.records), changes, dict(staged.quarantined), files, staged.has_no_list)


def _commit_day(zone: LandingZone, staged: Staged, day: date, replace: bool) -> Change:
    older = zone.files(day)
    covered = day in staged.days
    if day not in staged.records:
        staged.write_empty(day)
    change, superseded = _compare(older, staged, day)
    is_first_answer = covered and not any(route_of(file) == staged.route for file in older)
    if change.brings_something or is_first_answer or replace:
        zone.commit(staged, day)
        zone.remove(older if replace else superseded)
    landed = staged.records.get(day, 0) if replace else change.landed
    return Change(change.new, change.changed, change.vanished if covered else 0, landed)


def _compare(older: Sequence[Path], staged: Staged, day: date) -> tuple[Change, list[Path]]:
    """What the staged file changes, and those of the older files that it holds every record of."""
    answer = staged.records_file(day)
    if not older:
        count = staged.records.get(day, 0)
        return Change(new=count, landed=count), []
    if len(older) == 1 and filecmp.cmp(older[0], answer, shallow=False):
        return Change(landed=staged.records.get(day, 0)), list(older)
    with _comparing, in_memory(staged.folder) as connection:
        (found,) = run(
            connection,
            COMPARE,
            files=_paths([*older, answer]),
            answer=str(answer),
            former_answers=_paths(file for file in older if route_of(file) == staged.route),
        )
    kept = set(found["files_with_others"])
    return (
        Change(found["new_records"], found["changed_records"], found["vanished_records"], found["landed_records"]),
        [file for file in older if str(file) not in kept],
    )


def _paths(files: Iterable[Path]) -> list[str]:
    return [str(file) for file in files]
