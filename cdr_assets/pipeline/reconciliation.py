"""Proof that the routes agree: what the room and conference routes say of a day, beside the day's table. No Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb

from cdr_assets.warehouse import partitions as tables
from cdr_assets.enablex.client import EnableX, EnableXError
from cdr_assets.landing.ingest import IngestResult, Receive, ingest
from cdr_assets.landing.zone import LandingZone, Staged
from cdr_assets.database import in_memory, run

Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
Seconds = dict[str, Decimal | None]
"""Time in the room, by cdr_id."""


@dataclass(frozen=True)
class Question:
    """A room or a conference of the day, the route that tells of it, and what the table says."""

    asset: str
    route: str
    subject: str
    table: Seconds

    def ask(self, client: EnableX, day: date, receive: Receive) -> None:
        if self.asset == "room_cdr":
            client.room_period(self.subject, day, day, receive)
        else:
            client.conference(self.subject, receive)


@dataclass(frozen=True)
class Agreement:
    """How the routes' answers differ from the table, and what they brought to the landing zone."""

    asked: int
    differences: list[dict[str, Any]]
    intakes: list[IngestResult]


def compare_routes(connect: Connect, client: EnableX, zone: LandingZone, day: date, sample: int) -> Agreement:
    """Asks for the `sample` busiest rooms and as many random conferences of the day.

    The warehouse is let go while EnableX is asked. Records that are new land.
    """
    with connect() as connection:
        questions = list(_questions(connection, day, sample))
    differences: list[dict[str, Any]] = []
    intakes = []
    for question in questions:
        try:
            intake, answer = _answer(question, client, zone, day)
        except EnableXError as error:
            differences.append({"route": question.route, "of": question.subject, "difference": str(error)})
        else:
            intakes.append(intake)
            differences += _differences(question, answer)
    return Agreement(len(questions), differences, intakes)


def _questions(connection: duckdb.DuckDBPyConnection, day: date, sample: int) -> Iterator[Question]:
    for asset, route, name in (("room_cdr", "room-period", "room"), ("conference_cdr", "conf", "conference")):
        for picked in run(connection, f"select/sample_{name}s", usage_date=day, sample=sample):
            subject = picked["subject"]
            records = run(connection, f"select/records_of_{name}", usage_date=day, subject=subject)
            yield Question(asset, route, subject, {each["cdr_id"]: each["room_duration_s"] for each in records})


def _answer(question: Question, client: EnableX, zone: LandingZone, day: date) -> tuple[IngestResult, Seconds]:
    answer: Seconds = {}

    def look(staged: Staged) -> None:
        if day not in staged.records:
            return
        # Typed by the same statement as the table, so that only true differences show.
        with in_memory(staged.folder) as connection:
            tables.replace_call_detail_records(connection, day, lambda day: [staged.records_file(day)])
            for each in run(connection, "select/seconds_by_record", usage_date=day):
                answer[each["cdr_id"]] = each["room_duration_s"]

    intake = ingest(zone, lambda receive: question.ask(client, day, receive), question.route, look=look)
    return intake, answer


def _differences(question: Question, answer: Seconds) -> Iterator[dict[str, Any]]:
    for cdr_id in sorted({*question.table, *answer}):
        if cdr_id not in answer:
            difference = "only in the table"
        elif cdr_id not in question.table:
            difference = "only in the route's answer"
        elif answer[cdr_id] != question.table[cdr_id]:
            difference = f"{answer[cdr_id]} s in the route's answer, {question.table[cdr_id]} s in the table"
        else:
            continue
        yield {"route": question.route, "of": question.subject, "cdr_id": cdr_id, "difference": difference}
