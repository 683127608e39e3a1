"""What Dagster and the landing zone know of earlier runs and answers, as the plain values that `scheduling` takes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta, timezone
from itertools import takewhile
from typing import Any

import dagster as dg
from dagster import RunsFilter

from cdr_assets.days import DAY, days_between, end_of, utc_now
from cdr_assets.pipeline import scheduling
from cdr_assets.pipeline.events import ASKED_AT
from cdr_assets.pipeline.live_run import (
    ACCOUNT_ERROR_TAG,
    BACKFILL_TAG,
    BAD_ROOMS_TAG,
    FAILED_DAY_TAG,
    REFUSED_CREDENTIALS_TAG,
    UNAVAILABLE_TAG,
)
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.project_runs import (
    DIED_TAG,
    FAILED,
    IN_FLIGHT,
    ON_DEMAND_JOBS,
    days_of,
    fetches_days,
    fetches_or_builds_days,
    is_of_this_project,
    parse_days,
)
from cdr_assets.pipeline.resources import EnableXResource, LandingResource, WarehouseResource
from cdr_assets.pipeline.scheduling import (
    ACCOUNT_ERROR_COOLDOWN,
    AccountError,
    Failure,
    Responses,
    Runs,
    Timing,
    is_complete,
    judge_failures,
    split_by_closing,
)
from cdr_assets.warehouse.tables import DAILY_TABLES

FAILURES_REMEMBERED = timedelta(days=8)
"""Long enough to count the daily tries of a day that goes on failing."""

FETCHES_COUNTED = 1_000
"""So many of the newest ones are enough to tell an outage from a day that fails."""


def complete_days(instance: dg.DagsterInstance, landing: LandingResource, timing: Timing) -> set[date]:
    """The days that were fetched after they had closed and settled, and are still in the landing zone."""
    fetched = parse_days(instance.get_materialized_partitions(dg.AssetKey(PERIOD_CDR)))
    asked = landing.zone.all_asked()
    return {day for day in fetched & asked.keys() if is_complete(day, asked[day], timing)}


def landed_and_built(
    now: datetime, start: date, landing: LandingResource, warehouse: WarehouseResource
) -> tuple[dict[date, str], dict[date, str]]:
    """The days from `start` on with the version that landed, and those with the one that their tables were built from.

    Raises WarehouseError.
    """
    landed = {day: files for day, files in landing.zone.days().items() if start <= day <= now.date()}
    return landed, warehouse.warehouse.built_days()


def known_runs(instance: dg.DagsterInstance, now: datetime, enablex: EnableXResource | None = None) -> Runs:
    """The runs in flight and the failed ones, whoever launched them.

    Without `enablex`, for a caller that never asks EnableX: a refused account is not looked for, and the failures are
    those of runs that do not fetch. With it, they are those of runs that do.
    """
    in_flight = [
        record.dagster_run
        for record in instance.get_run_records(RunsFilter(statuses=IN_FLIGHT))
        if fetches_or_builds_days(record.dagster_run)
    ]
    failures: list[Failure] = []
    died: set[date] = set()
    refused: list[tuple[datetime, dg.DagsterRun]] = []
    remembered = RunsFilter(statuses=FAILED, updated_after=now - FAILURES_REMEMBERED)
    for record in instance.get_run_records(remembered, ascending=True):
        run = record.dagster_run
        when = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)
        if when > utc_now():
            # A clock that was wrong told it. It says nothing of what can be done now.
            continue
        if run.tags.get(BAD_ROOMS_TAG):
            # All its days are done but for one table, which waits for people.
            continue
        if run.tags.get(ACCOUNT_ERROR_TAG) and is_of_this_project(run):
            # No fault of the day, which goes on with the others once the account is mended.
            refused.append((when, run))
            continue
        if not fetches_or_builds_days(run) or fetches_days(run) != bool(enablex):
            continue
        # A run that could say where it failed leaves its other days as they are: done, or never begun.
        unavailable, failed = "", days_of(run)
        if run.tags.get(FAILED_DAY_TAG):
            unavailable, failed = run.tags.get(UNAVAILABLE_TAG, ""), parse_days([run.tags[FAILED_DAY_TAG]])
        if DIED_TAG in run.tags:
            # A machine that goes down once is no fault of the days; one that dies of the same day again may be.
            failed, died = failed & died, died | failed
        failures += [Failure(when, day, unavailable) for day in failed]
    first_unavailable = min((failure.when for failure in failures if failure.unavailable), default=None)
    fetched = fetches_since(instance, first_unavailable) if first_unavailable else []
    failed_on, outage = judge_failures(failures, fetched)
    # Each run of a day ends with the materialization of this asset, if it succeeds.
    last = PERIOD_CDR if enablex else DAILY_TABLES[-1].name
    for day, done in _newest_records(instance, last, len(failed_on), failed_on).items():
        failed_on[day] = [when for when in failed_on[day] if when.timestamp() > done.timestamp]
    while_open, since_closing = split_by_closing(failed_on)
    return Runs(
        frozenset(day for run in in_flight for day in days_of(run)),
        len({run.tags.get(BACKFILL_TAG, run.run_id) for run in in_flight}),
        since_closing,
        while_open,
        _account_error(instance, now, refused, enablex) if enablex else None,
        outage,
    )


def runs_at_once(instance: dg.DagsterInstance) -> int | None:
    """How many runs Dagster works on at a time; None where it has no limit."""
    queue = instance.get_concurrency_config().run_queue_config
    return queue.max_concurrent_runs if queue and queue.max_concurrent_runs >= 0 else None


def _account_error(
    instance: dg.DagsterInstance,
    now: datetime,
    refused: list[tuple[datetime, dg.DagsterRun]],
    enablex: EnableXResource,
) -> AccountError | None:
    """The newest refusal of the credentials that are set now, unless a fetch succeeded since."""
    for when, run in sorted(refused, key=lambda each: each[0], reverse=True):
        if now >= when + ACCOUNT_ERROR_COOLDOWN or fetches_since(instance, when):
            return None
        credentials = run.tags.get(REFUSED_CREDENTIALS_TAG)
        if not credentials or enablex.has_credentials(credentials):
            return AccountError(when, run.tags[ACCOUNT_ERROR_TAG])
    return None


def fetches_since(instance: dg.DagsterInstance, when: datetime) -> list[datetime]:
    """When fetches succeeded since then, in order."""
    times = [
        record.timestamp
        for asset in (PERIOD_CDR, ROOM_CDR, CONFERENCE_CDR)
        for record in instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), after_timestamp=when.timestamp()), limit=FETCHES_COUNTED
        ).records
        # A materialization that somebody reported by hand has no run.
        if record.run_id
    ]
    # A fetch on demand that found no records materializes nothing.
    times += [
        record.end_time or record.update_timestamp.timestamp()
        for job in ON_DEMAND_JOBS
        for record in instance.get_run_records(
            RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=when)
        )
    ]
    return [datetime.fromtimestamp(time, timezone.utc) for time in sorted(times)]


def has_succeeded(instance: dg.DagsterInstance, run: dg.DagsterRun, since: datetime, event: int) -> bool:
    """Whether what the run failed on has succeeded since. It failed at that time, and with that id in the event log."""
    days = {day for day in days_of(run) if str(day) >= run.tags.get(FAILED_DAY_TAG, "")}
    if not days:
        asked = (run.run_config, run.asset_check_selection)
        later = RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=since)
        runs = (record.dagster_run for record in instance.get_run_records(later))
        return any((each.run_config, each.asset_check_selection) == asked for each in runs)
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    tables = [table.name for table in DAILY_TABLES if table.name in selected or not selected]
    for asset in [PERIOD_CDR] * fetches_days(run) + tables[-1:]:
        newest = _newest_records(instance, asset, len(days), days)
        # What the run fetched before it failed stays fetched.
        done = {day for day, each in newest.items() if each.storage_id > event or _fetched_by(each, run)}
        if not days <= done:
            return False
    return True


def _fetched_by(record: dg.EventLogRecord, run: dg.DagsterRun) -> bool:
    return record.run_id == run.run_id and record.asset_key == dg.AssetKey(PERIOD_CDR)


def newest_materialization_id(instance: dg.DagsterInstance, asset: str) -> int:
    """The id in the event log of the asset's newest materialization; 0 if there is none."""
    newest = instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
    return newest[0].storage_id if newest else 0


def newest_materializations(
    instance: dg.DagsterInstance, asset: str, most: int, days: Collection[date] | None = None
) -> dict[date, dict[str, Any]]:
    """What the newest materialization of each day says: the values of its metadata. See `_newest_records`."""
    records = _newest_records(instance, asset, most, days)
    return {
        day: {name: value.value for name, value in said.metadata.items()}
        for day, record in records.items()
        if (said := record.asset_materialization)
    }


def _newest_records(
    instance: dg.DagsterInstance, asset: str, most: int, days: Collection[date] | None = None
) -> dict[date, dg.EventLogRecord]:
    """The newest materialization of each day. Up to `most` of the newest days; of all days if `days` are not given."""
    if days is not None and not days:
        return {}
    keys = {str(day) for day in days} if days else None
    ids = instance.event_log_storage.get_latest_storage_id_by_partition(
        dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, keys
    )
    by_day = {day: number for key, number in ids.items() for day in parse_days([key])}
    newest = {by_day[day]: day for day in sorted(by_day, reverse=True)[:most]}
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), storage_ids=[*newest])
    records = instance.fetch_materializations(wanted, limit=most).records if newest else []
    return {newest[record.storage_id]: record for record in records}


def answered(
    instance: dg.DagsterInstance, now: datetime, landing: LandingResource, timing: Timing
) -> dict[date, Responses]:
    """The last responses for the days that may be due to be fetched again."""
    last = timing.last_due(now)
    recent = days_between(last - DAY * timing.lookback_days, last)
    # A day that is gone from the landing zone, or was fetched only while it was open, is for closed_days to fetch.
    asked = landing.zone.all_asked(min(recent), max(recent))
    return responses(instance, [day for day in recent if day in asked and is_complete(day, asked[day], timing)])


def responses(instance: dg.DagsterInstance, days: Collection[date]) -> dict[date, Responses]:
    """The last responses of the period route for each day that has one. Those from before it closed do not count."""
    found: dict[date, Responses] = {}
    for day in days:
        # Day by day, since the many responses of one would crowd out the few of another.
        wanted = dg.AssetRecordsFilter(dg.AssetKey(PERIOD_CDR), asset_partitions=[day.isoformat()])
        records = instance.fetch_materializations(wanted, limit=scheduling.MAX_UNCHANGED_RESPONSES).records
        records = [record for record in records if _asked_at(record) <= utc_now()]
        asked = [_asked_at(record) for record in records]
        since_closing = [record for record, when in zip(records, asked, strict=True) if when >= end_of(day)]
        if since_closing:
            found[day] = Responses(asked[0], len(list(takewhile(_is_unchanged, since_closing))))
    return found


def _asked_at(response: dg.EventLogRecord) -> datetime:
    """When the response was asked for; when it was recorded, if that is all that is known."""
    metadata = response.asset_materialization.metadata if response.asset_materialization else {}
    asked_at = metadata[ASKED_AT].value if ASKED_AT in metadata else None
    return datetime.fromtimestamp(asked_at if isinstance(asked_at, float) else response.timestamp, timezone.utc)


def _is_unchanged(response: dg.EventLogRecord) -> bool:
    metadata = response.asset_materialization.metadata if response.asset_materialization else {}
    return all(name in metadata and metadata[name].value == 0 for name in ("new_records", "changed_records"))
