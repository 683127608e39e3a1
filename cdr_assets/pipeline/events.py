"""What Dagster is told of a run: a materialization per partition, with its versions, and which days of it are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from cdr_assets.days import describe_days
from cdr_assets.enablex.client import Asked
from cdr_assets.landing.ingest import IngestResult
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.checks import table_of
from cdr_assets.pipeline.daily_run import DailyRun, Outcome
from cdr_assets.pipeline.links import PAGES, dashboard_page
from cdr_assets.pipeline.live_run import ENABLEX_TAG, LiveRun
from cdr_assets.pipeline.names import PERIOD_CDR

LANDING_CODE_VERSION = "2"
"""To be changed when the same answer would land as other bytes."""

ASKED_AT = "asked_at"
"""When the whole day was asked for, in the metadata of period_cdr."""

PARENT_RUN_TAG = "dagster/parent_run_id"

Metadata = Mapping[str, Any]


def recorded(
    outcome: Outcome, run: DailyRun, live_run: LiveRun, fetch: Metadata | None = None
) -> Iterator[dg.AssetMaterialization]:
    """The materializations of a day of the run. Raises the day's error at the end, if it has one.

    `fetch` is what is known of the day's fetch.
    """
    yield from materializations(outcome, run, live_run, fetch or {})
    if outcome.error:
        raise outcome.error


def materializations(
    outcome: Outcome, run: DailyRun, live_run: LiveRun, fetch: Metadata
) -> Iterator[dg.AssetMaterialization]:
    """The day's partitions that were made, with the versions of their data and code, and the EnableX they are of.

    Each says whether it is provisional: the day is open, or has closed and is to be fetched again.
    """
    day, source = outcome.day, {ENABLEX_TAG: live_run.enablex}
    asked, provisional = run.zone.asked(day), run.is_provisional(day)
    if outcome.fetched:
        yield dg.AssetMaterialization(
            PERIOD_CDR,
            partition=str(day),
            metadata={
                **period_metadata(day, outcome.fetched),
                **fetch,
                **({ASKED_AT: dg.MetadataValue.timestamp(asked)} if asked else {}),
                "provisional": provisional,
            },
            tags={**source, **versions(run.zone.version(day), LANDING_CODE_VERSION)},
        )
    for built in outcome.built:
        yield dg.AssetMaterialization(
            built.table.name,
            partition=str(day),
            metadata={
                "dagster/partition_row_count": built.summary.row_count,
                "dagster/row_count": built.summary.table_row_count,
                "build": "current, not built again" if built.was_current else "built",
                "provisional": provisional,
                **built.summary.figures,
                **{name: table_of(rows) for name, rows in built.summary.lists.items()},
                **_links(built.table.name, day, live_run.dashboard_url),
            },
            tags={**source, **versions(f"{built.landing_version}-{built.fingerprint}", built.table.fingerprint)},
        )


def _links(table: str, day: date, dashboard_url: str) -> Metadata:
    """The page of the dashboard about the partition, if there is one about the table."""
    if table not in PAGES:
        return {}
    return {"dashboard": dg.MetadataValue.url(dashboard_page(dashboard_url, table, day, day))}


def landed_on_demand(
    asset: str, request: str, ingested: IngestResult, zone: LandingZone, enablex: str, asked: Asked, start: date
) -> Iterator[dg.AssetMaterialization]:
    """What an answer of the room or conference route brought, for each day from `start` on that it has records of."""
    for day in sorted(day for day in ingested.records if day >= start):
        metadata = {
            "request": request,
            "days_touched": describe_days(ingested.records),
            "days_to_rebuild": describe_days(day for day in ingested.changed_days if day >= start) or "none",
            "before_start_date": before_start_date(ingested, start) or "none",
            "set_aside_records": sum(ingested.quarantined.values()),
            **change_metadata(day, ingested),
            **asked_metadata(asked),
        }
        tags = {ENABLEX_TAG: enablex, **versions(zone.version(day), LANDING_CODE_VERSION)}
        yield dg.AssetMaterialization(asset, partition=str(day), metadata=metadata, tags=tags)


def before_start_date(ingested: IngestResult, start: date) -> str:
    """In words, the days before the start date that have records; empty for none. They are kept, but not built."""
    days = describe_days(day for day in ingested.records if day < start)
    return f"{days}: in the landing zone, not built by the sensors" if days else ""


def versions(data: str, code: str) -> dict[str, str]:
    """Tags of a materialization: the versions by which Dagster knows its data and the code that made it."""
    return {"dagster/data_version": data, "dagster/code_version": code}


def period_metadata(day: date, ingested: IngestResult) -> Metadata:
    """What the period route's answer brought, for the day's materialization."""
    spilled = [other for other in ingested.changed_days if other != day]
    return {
        "request": f"GET /cdr/period/{day}/{day}",
        **change_metadata(day, ingested),
        # Not the answer's own count: in the plot, a later and smaller answer would look like a loss.
        "dagster/partition_row_count": ingested.changes[day].landed,
        "vanished_records": ingested.changes[day].vanished,
        "set_aside_records": sum(ingested.quarantined.values()),
        "days_to_rebuild": describe_days(spilled) or "none",
    }


def change_metadata(day: date, ingested: IngestResult) -> Metadata:
    """What an answer brought to one day."""
    change = ingested.changes[day]
    answer = f"{change.new} new, {change.changed} changed" if change.brings_something else "nothing new"
    return {
        "dagster/partition_row_count": ingested.records.get(day, 0),
        "records": sum(ingested.records.values()),
        "new_records": change.new,
        "changed_records": change.changed,
        "answer": "the answer had no list of records" if ingested.has_no_list else answer,
    }


def fetch_metadata(asked: Asked | None, lateness: Mapping[str, Any] | None) -> Metadata:
    """What fetching a day took, and how late the records came that the first answer since it closed did not have.

    Lateness is from a record's disconnect to its first landing; the day must be built for it.
    """
    metadata = dict(asked_metadata(asked))
    if lateness:
        metadata["late_records"] = lateness["late_records"]
        if lateness["late_records"]:
            metadata["late_by_median_s"] = lateness["median_s"]
            metadata["late_by_95th_percentile_s"] = lateness["percentile_95_s"]
    return metadata


def asked_metadata(asked: Asked | None) -> Metadata:
    """What it took to get an answer; `bytes` are those of the bodies as received, so often compressed."""
    if asked is None:
        return {}
    return {
        "requests": asked.requests,
        "retries": asked.retries,
        "seconds": round(asked.seconds, 3),
        "bytes": asked.bytes,
        "megabytes": round(asked.bytes / 1e6, 3),
    }


def days_left(context: dg.AssetExecutionContext) -> list[date]:
    """The days of the run, without those that the failed run that it retries or re-executes had done.

    A run that succeeded and is executed again does all of its days again.
    """
    days = [date.fromisoformat(key) for key in context.partition_keys]
    retried = set(_failed_ancestors(context.instance, context.run))
    if not retried:
        return days
    done = set(days)
    for asset in context.selected_asset_keys:
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset, asset_partitions=[str(day) for day in days]), limit=100 * len(days)
        ).records
        done &= {date.fromisoformat(str(each.partition_key)) for each in records if each.run_id in retried}
    return [day for day in days if day not in done]


def _failed_ancestors(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[str]:
    """The runs that this one retries or re-executes, back to the first one or to one that succeeded."""
    while parent := instance.get_run_by_id(run.tags.get(PARENT_RUN_TAG, "")):
        if parent.status == dg.DagsterRunStatus.SUCCESS:
            return
        yield parent.run_id
        run = parent
