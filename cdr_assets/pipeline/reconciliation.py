"""Reconciles the routes: what the room and conference routes return for a day, compared with the day's table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from cdr_assets.database import Connection, in_memory, run
from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import EnableXError
from cdr_assets.landing.files import LandedFile
from cdr_assets.landing.ingest import Attempts, IngestResult, commit, staged_answer
from cdr_assets.landing.staged import Staged
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse import schema
from cdr_assets.warehouse.build import NO_FACTS
from cdr_assets.warehouse.load import load_records
from cdr_assets.warehouse.table import Inputs
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS

Seconds = dict[str, Decimal | None]
"""Seconds in the room by cdr_id."""


@dataclass(frozen=True)
class Sampled:
    """A room or a conference of the day: the route that returns it, and its records in the table."""

    route: str
    subject: str
    in_table: Seconds

    def attempts(self, client: EnableX, day: date) -> Attempts:
        """The request for its records."""
        if self.route == "room-period":
            return client.room_period(self.subject, day, day)
        return client.conference(self.subject)


@dataclass(frozen=True)
class Reconciliation:
    """How the routes' answers differ from the table, and what they brought to the landing zone."""

    differences: list[dict[str, Any]]
    ingested: list[IngestResult]


def reconcile(
    connect: Callable[[], AbstractContextManager[Connection]],
    client: EnableX,
    zone: LandingZone,
    day: date,
    sample: int,
) -> Reconciliation:
    """Asks for the `sample` busiest rooms and as many random conferences of the day. Records that are new land.

    The warehouse is closed while EnableX is asked.
    """
    with connect() as connection:
        sampled = list(_sample(connection, day, sample))
    differences: list[dict[str, Any]] = []
    ingested = []
    for each in sampled:
        try:
            with staged_answer(zone, each.attempts(client, day), each.route) as staged:
                answer = _read(staged, day)
                ingested.append(commit(zone, staged))
        except EnableXError as error:
            differences.append({"route": each.route, "of": each.subject, "difference": str(error)})
        else:
            differences += _compare(each, answer)
    return Reconciliation(differences, ingested)


def _sample(connection: Connection, day: date, sample: int) -> Iterator[Sampled]:
    for route, statement in (("room-period", "queries/sample_rooms"), ("conf", "queries/sample_conferences")):
        in_table: dict[str, Seconds] = {}
        for row in run(connection, CALL_DETAIL_RECORDS.sql(statement), usage_date=day, sample=sample):
            in_table.setdefault(row["subject"], {})[row["cdr_id"]] = row["room_duration_s"]
        for subject, seconds in in_table.items():
            yield Sampled(route, subject, seconds)


@dataclass(frozen=True)
class _StagedFile:
    """A staged answer's records of one day, as a table is built from them."""

    file: LandedFile

    def files(self, day: date) -> Sequence[LandedFile]:
        return [self.file]

    def foreign_files(self, day: date) -> Sequence[Path]:
        return []

    def version(self, day: date) -> str:
        return self.file.path.name

    def version_of(self, files: Sequence[LandedFile]) -> str:
        return ""

    def lock(self, day: date) -> AbstractContextManager[object]:
        return nullcontext()

    def note_loaded(self, day: date, request: int) -> None:
        pass

    def note_moved(self, day: date, moved: Mapping[str, int]) -> None:
        raise AssertionError("a single answer knows of no other day")


def _read(staged: Staged, day: date) -> Seconds:
    """The answer's records of the day, typed by the table's own statement, so that only true differences show."""
    if day not in staged.records:
        return {}
    with in_memory(staged.folder) as connection:
        schema.prepare(connection)
        load_records(connection, CALL_DETAIL_RECORDS, [day], Inputs(_StagedFile(staged.as_landed(day)), NO_FACTS))
        records = run(connection, CALL_DETAIL_RECORDS.sql("queries/seconds_by_record"), usage_date=day)
    return {row["cdr_id"]: row["room_duration_s"] for row in records}


def _compare(sampled: Sampled, answer: Seconds) -> Iterator[dict[str, Any]]:
    for cdr_id in sorted({*sampled.in_table, *answer}):
        if cdr_id not in answer:
            difference = "only in the table"
        elif cdr_id not in sampled.in_table:
            difference = "only in the route's answer"
        elif answer[cdr_id] != sampled.in_table[cdr_id]:
            difference = f"{answer[cdr_id]} s in the route's answer, {sampled.in_table[cdr_id]} s in the table"
        else:
            continue
        yield {"route": sampled.route, "of": sampled.subject, "cdr_id": cdr_id, "difference": difference}
