"""What a run says while it works, as lines on standard error. Dagster keeps these as the run's log, in a file: unlike
its own log messages, they take nothing of the event log. Knows no Dagster.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date

from cdr_assets.days import utc_now
from cdr_assets.enablex.client import Asked
from cdr_assets.enablex.records import Batch
from cdr_assets.landing.ingest import Attempts, IngestResult
from cdr_assets.warehouse.build import BuiltPartition

EVERY_S = 5.0

MB = 1_000_000


def say(text: str) -> None:
    """Writes a line with the time, in UTC."""
    # At once, since days are fetched on several threads.
    sys.stderr.write(f"{utc_now():%H:%M:%S} {text}\n")
    sys.stderr.flush()


def reporting(what: str, attempts: Attempts, clock: Callable[[], float] = time.monotonic) -> Attempts:
    """The same attempts, which say every few seconds how much of the answer is there."""
    for attempt in attempts:
        yield _reporting(what, attempt, clock)


@contextmanager
def _reporting(
    what: str, attempt: AbstractContextManager[Iterable[Batch]], clock: Callable[[], float]
) -> Iterator[Iterator[Batch]]:
    with attempt as batches:
        yield _counted(what, batches, clock)


def _counted(what: str, batches: Iterable[Batch], clock: Callable[[], float]) -> Iterator[Batch]:
    records, size, last = 0, 0, clock()
    for batch in batches:
        yield batch
        records += sum(lines.count for lines in batch.days.values())
        size += sum(len(lines.text) for lines in batch.days.values())
        if clock() - last >= EVERY_S:
            last = clock()
            say(f"{what}: {records:,} records so far, {size / MB:,.1f} MB of text")


def say_landed(day: date, ingested: IngestResult, asked: Asked) -> None:
    """Says what the answer for a day brought, and what it took."""
    change, set_aside = ingested.changes[day], sum(ingested.quarantined.values())
    say(
        f"{day}: {sum(ingested.records.values()):,} records, {change.new:,} new, {change.changed:,} changed, "
        f"{set_aside:,} set aside; {asked.bytes / MB:,.3f} MB in {asked.seconds:.1f} s"
    )


def say_built(built: BuiltPartition) -> None:
    """Says how many rows a table has of a day."""
    if not built.was_current:
        say(f"{built.usage_date}: {built.table.name} built, {built.summary.row_count:,} rows")


def say_done(day: date, built: Collection[BuiltPartition]) -> None:
    """Says what was exported of a day, and how many tables were left as they are."""
    current = sum(partition.was_current for partition in built)
    exported = sum(partition.table.exported and not partition.was_current for partition in built)
    say(f"{day}: {exported} tables exported" + (f", {current} current" if current else ""))
