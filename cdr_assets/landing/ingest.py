"""An answer's way into the landing zone: written whole, compared with what landed before, then kept or dropped.

Nothing that landed is lost to a later answer: newer versions and new records are added, records that the answer
lacks stay and are counted. A file goes only when a newer one holds every record of it.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from pathlib import Path
from threading import Lock

from cdr_assets.landing.zone import LandingZone, Staged, route_of
from cdr_assets.enablex.records import Batch
from cdr_assets.database import in_memory, run

COMPARE = (files(__package__) / "compare.sql").read_text(encoding="utf-8")

# Days are fetched side by side; comparing one of half a million records takes some hundred MB.
_comparing = Lock()

Receive = Callable[[Iterator[Batch]], None]


@dataclass(frozen=True)
class Change:
    """What an answer brought to one UTC day, in records."""

    new: int = 0
    changed: int = 0
    vanished: int = 0

    @property
    def brings_something(self) -> bool:
        return bool(self.new or self.changed)


@dataclass(frozen=True)
class IngestResult:
    """What came of one answer: records by their UTC day, what changed on each, and what was set aside."""

    records: dict[date, int] = field(default_factory=dict)
    changes: dict[date, Change] = field(default_factory=dict)
    quarantined: dict[date | None, int] = field(default_factory=dict)
    quarantine: list[Path] = field(default_factory=list)

    @property
    def changed_days(self) -> list[date]:
        return sorted(day for day, change in self.changes.items() if change.brings_something)


def ingest(
    zone: LandingZone,
    ask: Callable[[Receive], None],
    route: str,
    days: Sequence[date] = (),
    replace: bool = False,
    look: Callable[[Staged], None] = lambda staged: None,
) -> IngestResult:
    """Lands what `ask` receives, each record under its own UTC day.

    `days` are those that the answer covers fully: they have landed afterwards even if it holds no record of them, and
    records of theirs that it lacks are counted as vanished. `replace` drops these, and all else that landed there.
    `look` sees the good answer before it is moved into its place.
    """
    with zone.staging(route, days) as staged:
        ask(lambda batches: zone.write(batches, staged))
        look(staged)
        records, changes = dict(staged.records), {}
        for day in sorted({*staged.records, *days}):
            with zone.lock(day):
                changes[day] = _land(zone, staged, day, covered=day in days, replace=replace and day in days)
        return IngestResult(records, changes, dict(staged.quarantined), zone.commit_quarantine(staged))


def _land(zone: LandingZone, staged: Staged, day: date, covered: bool, replace: bool) -> Change:
    older = zone.files(day)
    if day not in staged.records:
        zone.write_empty(staged, day)
    change, superseded = _compare(older, staged, day)
    if replace:
        superseded = older
    first_answer = covered and not any(route_of(file) == staged.route for file in older)
    if change.brings_something or replace or first_answer:
        zone.commit(staged, day)
        zone.remove(superseded)
    return change if covered else Change(change.new, change.changed)


def _compare(older: Sequence[Path], staged: Staged, day: date) -> tuple[Change, list[Path]]:
    """What the staged file brings beside the older ones, and which of those it holds every record of."""
    answer = staged.records_file(day)
    if not older:
        return Change(new=staged.records[day]), []
    if len(older) == 1 and filecmp.cmp(older[0], answer, shallow=False):
        return Change(), list(older)
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
        Change(found["new_records"], found["changed_records"], found["vanished_records"]),
        [file for file in older if str(file) not in kept],
    )


def _paths(files: Iterable[Path]) -> list[str]:
    return [str(file) for file in files]
