"""The runs of this project as Dagster knows them: how to recognize them, their days and tags, and which died."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone

import dagster as dg
from dagster import RunsFilter

from cdr_assets.days import days_between
from cdr_assets.pipeline.live_run import (
    ENABLEX_TAG,
    MISTAKE_TAG,
    PARTITION_TAG,
    PLACE_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
)
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.pipeline.run_lock import RunLock, RunLocks
from cdr_assets.warehouse.tables import DAILY_TABLES

# "Materialize" in the UI, backfills and the command line run assets without the job's name.
DAILY_ASSETS = frozenset(dg.AssetKey(asset) for asset in (PERIOD_CDR, *(table.name for table in DAILY_TABLES)))
DAILY_JOBS = ("daily_cdr", "rebuild")
ON_DEMAND_JOBS = ("fetch_room", "fetch_conference")

HANDED_OVER = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
STARTED_OR_ABOUT_TO = [
    *HANDED_OVER,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
IN_FLIGHT = [dg.DagsterRunStatus.QUEUED, *STARTED_OR_ABOUT_TO]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
FINISHED = [dg.DagsterRunStatus.SUCCESS, *FAILED]

DIED_TAG = "cdr_assets/died"
# The launcher of dagster-celery gives it to each run that it hands over.
CELERY_TASK_TAG = "dagster-celery/task_id"

SILENCE = timedelta(minutes=2)
"""A run without a lock is dead after so long without an event. Between its launch and its step, and between its step
and its end, a run holds no lock; each takes some seconds, more on a busy machine."""


def fetches_or_builds_days(run: dg.DagsterRun) -> bool:
    """Whether the run is one of the daily assets, by whatever job."""
    return bool(DAILY_ASSETS.intersection(run.asset_selection)) if run.asset_selection else run.job_name in DAILY_JOBS


def fetches_days(run: dg.DagsterRun) -> bool:
    """Whether a run of the daily assets asks EnableX for its days."""
    return dg.AssetKey(PERIOD_CDR) in run.asset_selection if run.asset_selection else run.job_name != "rebuild"


def is_of_this_project(run: dg.DagsterRun) -> bool:
    """Whether the run is one of this code location, on demand and of checks alone included."""
    return fetches_or_builds_days(run) or run.job_name in ON_DEMAND_JOBS or ENABLEX_TAG in run.tags


def is_a_persons_mistake(run: dg.DagsterRun) -> bool:
    """Whether a person launched the run, and asked for what cannot be done. The run's error is the answer to them."""
    return bool(run.tags.get(MISTAKE_TAG)) and not {"dagster/sensor_name", "dagster/schedule_name"} & run.tags.keys()


def days_of(run: dg.DagsterRun) -> set[date]:
    """The days that a run is about: of its partition, or of its range."""
    ends = parse_days(run.tags[tag] for tag in (PARTITION_TAG, RANGE_START_TAG, RANGE_END_TAG) if tag in run.tags)
    return set(days_between(min(ends), max(ends))) if ends else set()


def parse_days(keys: Iterable[str]) -> set[date]:
    """The days among `keys`. Others are passed over: anybody may report a partition, and tag a run, as they like."""
    days = set()
    for key in keys:
        with suppress(ValueError):
            days.add(date.fromisoformat(key))
    return days


def report_dead_runs(instance: dg.DagsterInstance, locks: RunLocks, now: datetime) -> list[str]:
    """Reports the runs whose process died as failed, so that their days are free. Returns their ids.

    A killed run from a command line stays "started" in Dagster for good, and so does a run of the daemon whose machine
    went down. Runs that wait in the queue, or for a worker, have no process yet and are left alone.
    """
    dead = []
    for record in instance.get_run_records(RunsFilter(statuses=STARTED_OR_ABOUT_TO)):
        run = record.dagster_run
        # The lock of a run on other data is there.
        place = run.tags.get(PLACE_TAG)
        if not is_of_this_project(run) or (place and not locks.are_at(place)):
            continue
        lock = locks.state(run.run_id)
        is_silent = lock is RunLock.ABSENT and now - _last_sign(instance, record) > SILENCE
        if lock is RunLock.ABANDONED or (is_silent and not _waits_for_a_worker(instance, run)):
            _report_dead(instance, run)
            dead.append(run.run_id)
    locks.remove_abandoned()
    return dead


def _waits_for_a_worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run was handed over to other machines, and none of them has begun with it. Run monitoring has a limit
    for that."""
    launcher = instance.run_launcher
    if run.status not in HANDED_OVER or not launcher.supports_check_run_worker_health:
        return False
    if CELERY_TASK_TAG not in run.tags:
        # A pod that waits for a node or for its image counts as running.
        return True
    # A task that a worker took is running, also when that worker is gone.
    return launcher.check_run_worker_health(run).status.value == "UNKNOWN"


def _report_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    message = "The process of this run is gone: it was killed, or its machine was restarted."
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
        return
    tags = {DIED_TAG: "true"}
    if days_of(run):
        # The sensors request the days that are left; a retry by Dagster itself would do them a second time.
        tags["dagster/max_retries"] = "0"
        message += " Its days are free; the sensors request those that are not done."
    else:
        message += " Nothing retries it: launch it again."
    instance.add_run_tags(run.run_id, tags)
    instance.report_run_failed(run, message)


def _last_sign(instance: dg.DagsterInstance, record: dg.RunRecord) -> datetime:
    """When the run last wrote an event; if it never did, when it was made."""
    records = instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False).records
    timestamp = records[0].timestamp if records else record.create_timestamp.timestamp()
    return datetime.fromtimestamp(timestamp, timezone.utc)
