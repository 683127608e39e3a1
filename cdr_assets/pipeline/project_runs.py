"""The runs of this project as Dagster knows them: how to recognize them, their days and tags, and which died."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
from dagster import RunsFilter

from cdr_assets.days import days_between
from cdr_assets.pipeline.live_run import DATA_DIR_TAG, ENABLEX_TAG, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.pipeline.run_lock import RunLock, remove_abandoned_locks, run_lock
from cdr_assets.warehouse.tables import DAILY_TABLES

# "Materialize" in the UI, backfills and the command line run assets without the job's name.
DAILY_ASSETS = frozenset(dg.AssetKey(asset) for asset in (PERIOD_CDR, *(table.name for table in DAILY_TABLES)))
DAILY_JOBS = ("daily_cdr", "rebuild")
ON_DEMAND_JOBS = ("fetch_room", "fetch_conference")

STARTED_OR_ABOUT_TO = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
IN_FLIGHT = [dg.DagsterRunStatus.QUEUED, *STARTED_OR_ABOUT_TO]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
FINISHED = [dg.DagsterRunStatus.SUCCESS, *FAILED]

DIED_TAG = "cdr_assets/died"

SILENCE = timedelta(minutes=2)
"""A run without a lock is dead after so long without an event. Between its launch and its step, and between its step
and its end, a run holds no lock; each takes some seconds, more on a busy machine."""


def fetches_or_builds_days(run: dg.DagsterRun) -> bool:
    """Whether the run is one of the daily assets, by whatever job."""
    return bool(DAILY_ASSETS.intersection(run.asset_selection)) if run.asset_selection else run.job_name in DAILY_JOBS


def is_of_this_project(run: dg.DagsterRun) -> bool:
    """Whether the run is one of this code location, on demand and of checks alone included."""
    return fetches_or_builds_days(run) or run.job_name in ON_DEMAND_JOBS or ENABLEX_TAG in run.tags


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


def report_dead_runs(instance: dg.DagsterInstance, data_dir: Path, now: datetime) -> list[str]:
    """Reports the runs whose process died as failed, so that their days are free. Returns their ids.

    A killed run from a command line stays "started" in Dagster for good, and so does a run of the daemon whose machine
    went down. Runs that wait in the queue have no process yet and are left alone.
    """
    dead = []
    for record in instance.get_run_records(RunsFilter(statuses=STARTED_OR_ABOUT_TO)):
        run = record.dagster_run
        # The lock of a run on another data folder lies there.
        if not is_of_this_project(run) or run.tags.get(DATA_DIR_TAG, str(data_dir)) != str(data_dir):
            continue
        lock = run_lock(data_dir, run.run_id)
        if lock is RunLock.ABANDONED or (lock is RunLock.ABSENT and now - _last_sign(instance, record) > SILENCE):
            _report_dead(instance, run)
            dead.append(run.run_id)
    remove_abandoned_locks(data_dir)
    return dead


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
