"""What must be true of the tables, one statement a check; each is evaluated day by day as the day is built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import dagster as dg
import duckdb

from cdr_assets.agreement import Agreement
from cdr_assets.days import describe_days as describe_days
from cdr_assets.intake import Intake
from cdr_assets.warehouse import run

SAMPLE_ROWS = 10

Row = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """A statement about an asset that is true when the check is green, and what to do when it is not.

    A blocking check stops the day that it fails on: no table below the asset is built from it.
    """

    asset: str
    name: str
    meaning: str
    remedy: str
    blocking: bool = False

    @property
    def spec(self) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(self.name, asset=self.asset, description=self.meaning, blocking=self.blocking)


NO_RECORD_WAS_SET_ASIDE = Check(
    "period_cdr",
    "no_record_was_set_aside",
    "Every record of the answer was sound. Others lie in the quarantine folder with their reason.",
    "Read the files named in the sample; a record that can be mended upstream lands when its day is fetched again.",
)
NO_RECORD_VANISHED_UPSTREAM = Check(
    "period_cdr",
    "no_record_vanished_upstream",
    "The answer holds every record that landed for the day before. Records that it lacks are kept.",
    "Expected once EnableX lets CDRs expire; on a recent day, ask EnableX. To drop them, materialize the day with "
    "replace: true.",
)
ROUTES_AGREE = Check(
    "call_detail_records",
    "routes_agree",
    "The room and conference routes tell of the same records and minutes as the table: asked, once a run that fetches, "
    "for the busiest rooms and some conferences of its last day.",
    "What only the routes had has landed, and its days are rebuilt; what only the table has, or other minutes, is for "
    "EnableX to explain. CDR_AGREEMENT_SAMPLE sets how many are asked for; 0 turns the check off.",
)
CHECKS = (
    NO_RECORD_WAS_SET_ASIDE,
    NO_RECORD_VANISHED_UPSTREAM,
    Check(
        "call_detail_records",
        "cdr_id_is_unique",
        "No cdr_id stands in the table twice, on the day itself or within 7 days of it.",
        "Of a record whose newer version has another trans_date the newest is kept, so rows were written past this "
        "code location: run the job rebuild for the days in the sample.",
        blocking=True,
    ),
    Check(
        "call_detail_records",
        "every_record_lies_in_its_partition",
        "The UTC day of every record's trans_date is its partition.",
        "Look at trans_date of the sample's records in the landing zone: it is in a form that DuckDB reads otherwise.",
        blocking=True,
    ),
    Check(
        "call_detail_records",
        "no_field_was_lost_to_its_type",
        "Every field of every record fits its column. Others are NULL, and named in lost_fields.",
        "Look the fields up in the landing zone; if EnableX now sends another form, teach it to "
        "sql/insert/call_detail_records.sql and materialize call_detail_records for the days.",
    ),
    Check(
        "call_detail_records",
        "room_duration_agrees_with_its_timestamps",
        "The time in the room is disconnect minus connect, within a second.",
        "The API does not document the unit of room.duration. If it is no longer seconds, minutes in usage are wrong: "
        "ask EnableX before you bill by them.",
    ),
    ROUTES_AGREE,
    Check(
        "room_usage",
        "room_usage_adds_up",
        "Connections and minutes of every room are those of its records.",
        "Materialize room_usage for the days; if it stays, a minute sum does not fit its column.",
        blocking=True,
    ),
    Check(
        "conference_usage",
        "conference_usage_adds_up",
        "Connections and minutes of every conference of the day are those of its records, over all its days.",
        "Materialize conference_usage for the days from the conference's first to its last.",
        blocking=True,
    ),
)


class BlockedByCheck(Exception):
    """A blocking check failed, so nothing further is built from its day."""


class Finding:
    """What one check found over the days of a run: rows that contradict its statement."""

    def __init__(self) -> None:
        self._by_day: dict[date, tuple[int, list[Row]]] = {}

    def add(self, day: date, count: int, rows: Iterable[Row]) -> None:
        """Takes the place of what was found on the day before: a day may be built again in a run."""
        self._by_day[day] = count, list(islice(rows, SAMPLE_ROWS))

    @property
    def count(self) -> int:
        return sum(count for count, _ in self._by_day.values())

    @property
    def days(self) -> str:
        return describe_days(self._by_day)

    @property
    def sample(self) -> list[Row]:
        rows = ({"usage_date": day.isoformat(), **row} for day, (_, rows) in self._by_day.items() for row in rows)
        return list(islice(rows, SAMPLE_ROWS))

    def describe(self) -> str:
        """The finding in words."""
        if self.count:
            return f"{self.count} on {describe_days(day for day, (count, _) in self._by_day.items() if count)}"
        return f"true of {self.days}" if self.days else "not looked at in this run"


class Report:
    """The checks selected in a run and what they found so far."""

    def __init__(self, selected: Iterable[dg.AssetCheckKey]) -> None:
        keys = set(selected)
        self._findings = {check: Finding() for check in CHECKS if check.spec.key in keys}

    def take_intake(self, day: date, intake: Intake) -> None:
        """Evaluates the checks on what the day's answer brought."""
        if finding := self._findings.get(NO_RECORD_WAS_SET_ASIDE):
            finding.add(day, sum(intake.set_aside.values()), ({"file": str(file)} for file in intake.quarantine))
        if finding := self._findings.get(NO_RECORD_VANISHED_UPSTREAM):
            vanished = intake.changes[day].vanished
            finding.add(day, vanished, [{"vanished_records": vanished}] if vanished else [])

    def forbid_intake_checks(self) -> None:
        """Raises ValueError when a check is wanted that only a fetch can evaluate."""
        for check in (NO_RECORD_WAS_SET_ASIDE, NO_RECORD_VANISHED_UPSTREAM):
            if check in self._findings:
                raise ValueError(f"{check.name} is about an answer of EnableX: materialize period_cdr to evaluate it")

    @property
    def wants_routes(self) -> bool:
        """Whether the room and conference routes are to be asked."""
        return ROUTES_AGREE in self._findings

    def take_agreement(self, day: date, agreement: Agreement) -> None:
        """Evaluates the check on what the other routes say."""
        self._findings[ROUTES_AGREE].add(day, len(agreement.differences), agreement.differences)

    def take_table(self, connection: duckdb.DuckDBPyConnection, table: str, day: date) -> None:
        """Evaluates the checks on `table` for the day. Raises BlockedByCheck when a blocking one fails."""
        for check, finding in self._findings.items():
            if check.asset == table and check is not ROUTES_AGREE:
                offending = run(connection, f"checks/{check.name}", usage_date=day)
                finding.add(day, len(offending), offending)
                if offending and check.blocking:
                    raise BlockedByCheck(f"{check.name} fails on {day} with {len(offending)} rows. {check.remedy}")

    def results(self) -> Iterator[dg.AssetCheckResult]:
        """One result a check, over all the days it was evaluated on."""
        for check, finding in self._findings.items():
            yield dg.AssetCheckResult(
                asset_key=check.asset,
                check_name=check.name,
                passed=not finding.count,
                severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
                description=finding.describe(),
                metadata={
                    "days": finding.days or "none",
                    "count": finding.count,
                    **({"sample": table_of(finding.sample), "what_to_do": check.remedy} if finding.count else {}),
                },
            )


def table_of(sample: list[Row]) -> dg.MetadataValue[Any]:
    """Rows as a table in the Dagster UI."""
    names = list(dict.fromkeys(name for row in sample for name in row))
    lines = [names, ["---"] * len(names), *([_cell(row.get(name)) for name in names] for row in sample)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)[:200].replace("|", "\\|")
