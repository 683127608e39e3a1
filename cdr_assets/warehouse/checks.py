"""The findings of the checks, kept per check and UTC day in `check_findings` until the day is looked at again.

A finding stays open until a later look at its day finds nothing, or a person acknowledges it. An acknowledged finding
is open again as soon as its count or its sample changes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from cdr_assets.database import Connection, run
from cdr_assets.warehouse.table import Check, Table
from cdr_assets.warehouse.tables import CHECK_FINDINGS

SAMPLE_ROWS = 10
SAMPLE_TEXT_LENGTH = 200

Row = Mapping[str, Any]


class BlockedByCheck(Exception):
    """A blocking check failed: its table is not exported for the day, and no further table is built from it."""


@dataclass(frozen=True)
class Finding:
    """How many rows contradict a check on one day, and up to ten of them. Without any the day is clean."""

    asset: str
    check: Check
    usage_date: date
    count: int
    sample: Sequence[Row] = ()

    @property
    def sample_json(self) -> str:
        """The sample as text, the same for the same rows."""
        return json.dumps([dict(row) for row in self.sample[:SAMPLE_ROWS]], default=str)


class Kept(NamedTuple):
    """The result of keeping findings: those that are open, and the days whose rows changed."""

    still_open: list[Finding]
    changed_days: set[date]


@dataclass(frozen=True)
class KeptFinding:
    """A row of `check_findings`."""

    usage_date: date
    count: int
    sample: list[dict[str, Any]]
    acknowledged_at: datetime | None
    note: str | None


def look(connection: Connection, table: Table, checks: Collection[Check], days: Sequence[date]) -> list[Finding]:
    """Evaluates the statements of these checks from the first to the last of `days`, which are in order.

    Returns a finding per check for each of `days`, and for any day between them that has one.
    """
    return [finding for check in checks for finding in _look(connection, table, check, days)]


def _look(connection: Connection, table: Table, check: Check, days: Sequence[date]) -> Iterator[Finding]:
    rows = run(
        connection,
        f"SELECT usage_date, count(*) AS count, min(found, {SAMPLE_ROWS}) AS sample "
        f"FROM ({table.query(f'checks/{check.name}')}) AS found GROUP BY usage_date",
        first_date=days[0],
        last_date=days[-1],
    )
    found = {row["usage_date"]: (row["count"], [_sampled(each) for each in row["sample"]]) for row in rows}
    for day in sorted({*days, *found}):
        yield Finding(table.name, check, day, *found.get(day, (0, ())))


def _sampled(row: Row) -> Row:
    """The row without its day, which the finding has, and with long texts cut: an id can be as long as a record."""
    return {
        name: value[:SAMPLE_TEXT_LENGTH] if isinstance(value, str) else value
        for name, value in row.items()
        if name != "usage_date"
    }


def keep(connection: Connection, findings: Sequence[Finding], now: datetime) -> Kept:
    """Replaces the kept findings of these checks on these days. `now` is UTC."""
    if not findings:
        return Kept([], set())
    still_open, changed_days = [], set[date]()
    days = [finding.usage_date for finding in findings]
    kept = {
        (row["usage_date"], row["asset"], row["check_name"]): row
        for row in run(connection, CHECK_FINDINGS.sql("of_days"), first_date=min(days), last_date=max(days))
    }
    for finding in findings:
        former = kept.get((finding.usage_date, finding.asset, finding.check.name), {})
        if former or finding.count:
            changed_days.add(finding.usage_date)
        if former:
            run(connection, CHECK_FINDINGS.sql("delete"), **_key(finding))
        if finding.count and _insert(connection, finding, former, now.replace(tzinfo=None)):
            still_open.append(finding)
    return Kept(still_open, changed_days)


def _insert(connection: Connection, finding: Finding, former: Row, now: datetime) -> bool:
    """Keeps the finding. Returns whether it is open."""
    unchanged = (former.get("count"), former.get("sample")) == (finding.count, finding.sample_json)
    acknowledged_at = former.get("acknowledged_at") if unchanged else None
    run(
        connection,
        CHECK_FINDINGS.sql("insert"),
        **_key(finding),
        count=finding.count,
        sample=finding.sample_json,
        found_at=former.get("found_at") or now,
        last_seen_at=now,
        acknowledged_at=acknowledged_at,
        note=former.get("note"),
    )
    return acknowledged_at is None


def _key(finding: Finding) -> dict[str, Any]:
    return {"usage_date": finding.usage_date, "asset": finding.asset, "check_name": finding.check.name}


def kept_findings(connection: Connection, asset: str, check: Check) -> list[KeptFinding]:
    """The open and the acknowledged findings of a check, oldest day first."""
    rows = run(connection, CHECK_FINDINGS.sql("of_check"), asset=asset, check_name=check.name)
    return [
        KeptFinding(row["usage_date"], row["count"], json.loads(row["sample"]), row["acknowledged_at"], row["note"])
        for row in rows
    ]


def acknowledge(
    connection: Connection, check_name: str, first: date, last: date, note: str, now: datetime
) -> list[date]:
    """Acknowledges the open findings of the check on the days from `first` to `last`. Returns the days that had one."""
    which = {"check_name": check_name, "first_date": first, "last_date": last}
    days = [row["usage_date"] for row in run(connection, CHECK_FINDINGS.sql("open_days"), **which)]
    acknowledged_at = now.replace(tzinfo=None)
    run(connection, CHECK_FINDINGS.sql("acknowledge"), **which, note=note, acknowledged_at=acknowledged_at)
    return days
