"""The checks as Dagster shows them: one result per check and run, over every day that has an open finding.

In Dagster, a new result replaces the one before it, even if that was about other days. So each result is computed from
the findings that the warehouse keeps: it stays red, and names the days, until each of them was looked at again and is
clean, or was acknowledged. A check that a run does not look at gets no result from it, unless it is red.

Dagster shows a check that a run planned to evaluate, and did not, as failed: its last result is given again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from cdr_assets.database import Connection
from cdr_assets.days import days_in, describe_days
from cdr_assets.pipeline.answer_checks import INGEST_CHECKS, NO_DAY_IS_OVERDUE, ROUTES_AGREE
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.warehouse.checks import SAMPLE_ROWS, SAMPLE_TEXT_LENGTH, KeptFinding, kept_findings
from cdr_assets.warehouse.people import IDS, is_id
from cdr_assets.warehouse.table import Check
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, DAILY_TABLES

OPEN_DAYS = ("open_days", "overdue_days")
"""The metadata of a red result that name its days."""

CHECKS: Mapping[str, tuple[Check, ...]] = {
    PERIOD_CDR: (*INGEST_CHECKS, NO_DAY_IS_OVERDUE),
    **{table.name: table.checks for table in DAILY_TABLES},
    CALL_DETAIL_RECORDS.name: (*CALL_DETAIL_RECORDS.checks, ROUTES_AGREE),
}
"""The checks of each asset."""


def checks_of(assets: Collection[str]) -> Iterator[tuple[str, Check]]:
    """Each check of the assets."""
    for asset, checks in CHECKS.items():
        if asset in assets:
            yield from ((asset, check) for check in checks)


def check_named(name: str) -> tuple[str, Check]:
    """The check of that name, with its asset. Raises ValueError if there is none."""
    for asset, check in checks_of(CHECKS):
        if check.name == name:
            return asset, check
    names = ", ".join(check.name for _, check in checks_of(CHECKS))
    raise ValueError(f"there is no check {name}; the checks are {names}")


def check_specs() -> list[dg.AssetCheckSpec]:
    """Every check as Dagster lists it."""
    return [
        dg.AssetCheckSpec(check.name, asset=asset, description=check.meaning, blocking=check.blocking)
        for asset, check in checks_of(CHECKS)
    ]


@dataclass(frozen=True)
class CheckState:
    """What the newest result of a check says."""

    asset: str
    check: Check
    open_days: list[date]
    """The days on which it is red; none if it is green."""
    description: str
    says: Mapping[str, Any]
    """Its metadata."""


def states(instance: dg.DagsterInstance, assets: Collection[str]) -> Iterator[CheckState]:
    """The newest result of each check of the assets that has one and is not being evaluated."""
    by_key = {dg.AssetCheckKey(dg.AssetKey(asset), check.name): (asset, check) for asset, check in checks_of(assets)}
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(by_key))
    for key, record in newest.items():
        event = record.event.get_dagster_event() if record.event else None
        if not event or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        result = event.asset_check_evaluation_data
        says = {name: value.value for name, value in result.metadata.items()}
        days = next((says[name] for name in OPEN_DAYS if name in says), "")
        open_days = days_in(str(days)) if not result.passed else []
        yield CheckState(*by_key[key], open_days, result.description or "", says)


def last_result(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, partition: str | None
) -> Iterator[dg.AssetCheckEvaluation]:
    """The newest result of the check, to be given again; none if it never had one."""
    results = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    for record in instance.event_log_storage.get_asset_check_execution_history(key, 1, status=results):
        if record.evaluation:
            last = record.evaluation
            yield dg.AssetCheckEvaluation(
                asset_key=last.asset_key,
                check_name=last.check_name,
                passed=last.passed,
                metadata=last.metadata,
                severity=last.severity,
                description=last.description,
                partition=partition,
            )


def unanswered(instance: dg.DagsterInstance) -> Iterator[dg.AssetCheckEvaluation]:
    """The last results of the checks that a run planned to evaluate, and did not before it ended."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), check.name) for asset, check in checks_of(CHECKS)]
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
        if record.status is AssetCheckExecutionRecordStatus.PLANNED:
            run = instance.get_run_by_id(record.run_id)
            if not run or run.is_finished:
                yield from last_result(instance, key, None)


def evaluations(
    connection: Connection,
    looked_at: Mapping[tuple[str, Check], Sequence[date]],
    assets: Collection[str],
    partitions: Mapping[dg.AssetCheckKey, str | None],
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results to record: one per check that this run looked at, and one per other check that is red.

    `partitions` are those under which Dagster files the results. Each result is still about all days.
    """
    for asset, check in checks_of(assets):
        days = looked_at.get((asset, check), ())
        kept = kept_findings(connection, asset, check)
        if days or any(_is_open(finding) for finding in kept):
            partition = partitions.get(dg.AssetCheckKey(dg.AssetKey(asset), check.name))
            yield evaluation(asset, check, days, kept, partition)


def evaluation(
    asset: str,
    check: Check,
    looked_at: Sequence[date],
    kept: Sequence[KeptFinding],
    partition: str | None = None,
) -> dg.AssetCheckEvaluation:
    """The check's result over all days. `looked_at` are the days that this run looked at.

    It does not say that the check is blocking: for Dagster, that would fail the run because of other runs' days.
    """
    still_open = [finding for finding in kept if _is_open(finding)]
    acknowledged = [finding for finding in kept if not _is_open(finding)]
    count = sum(finding.count for finding in still_open)
    metadata: dict[str, Any] = {"days": describe_days(looked_at) or "none in this run", "count": count}
    if still_open:
        metadata |= {
            "open_days": describe_days(finding.usage_date for finding in still_open),
            "sample": table_of(_sample(still_open)),
            "what_to_do": check.remedy,
        }
    if acknowledged:
        metadata["acknowledged"] = table_of(
            {"usage_date": finding.usage_date, "count": finding.count, "note": finding.note} for finding in acknowledged
        )
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check.name,
        passed=not still_open,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        description=_in_words(still_open, acknowledged, looked_at),
        metadata=metadata,
        partition=partition,
    )


def _in_words(still_open: Sequence[KeptFinding], acknowledged: Sequence[KeptFinding], looked_at: Sequence[date]) -> str:
    days = describe_days(looked_at)
    seen = f"Looked at: {days}." if days else "Not looked at in this run."
    words = [f"No open finding. {seen}"]
    if still_open:
        count = sum(finding.count for finding in still_open)
        words = [f"{count} on {describe_days(finding.usage_date for finding in still_open)}. {seen}"]
    if acknowledged:
        words.append(f"Acknowledged: {describe_days(finding.usage_date for finding in acknowledged)}.")
    return " ".join(words)


def _is_open(finding: KeptFinding) -> bool:
    return finding.acknowledged_at is None


def _sample(findings: Sequence[KeptFinding]) -> Iterator[dict[str, Any]]:
    rows = ({"usage_date": finding.usage_date, **row} for finding in findings for row in finding.sample)
    return islice(rows, SAMPLE_ROWS)


def table_of(rows: Iterable[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """Rows as a table in the Dagster UI, each cell as text: rows of several kinds share the table.

    What stands for an id, and is none, is not shown: it can name somebody.
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _cell(name, row.get(name)) for name in names}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name) for name in names]),
    )


def _cell(name: str, value: Any) -> str:
    text = "" if value is None else str(value)
    if text and name in IDS and not is_id(text):
        return "not shown: no id"
    return "".join(character if character.isprintable() else " " for character in text)[:SAMPLE_TEXT_LENGTH]
