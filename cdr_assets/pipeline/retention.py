"""Old runs: which may go from Dagster's state without a day looking missing, and their deletion in small portions.

Dagster forgets the materializations of a run that it deletes. A run therefore stays while it holds the newest
materialization of a partition, or the newest evaluation of a check.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
from dagster import RunsFilter

from cdr_assets.pipeline.event_log import INDEX, sqlite_file
from cdr_assets.pipeline.live_run import OPEN_DAY_TAG, UNAVAILABLE_TAG
from cdr_assets.pipeline.project_runs import FINISHED, IN_FLIGHT, is_of_this_project

MAX_RUNS_PER_TICK = 200
MAX_SECONDS_PER_TICK = 20.0
"""A sensor's tick has a minute."""

SECONDS_TO_LOCK = 10.0

WASTED_BYTES = 32 << 20
"""The index is rewritten when it has so much unused space, and no more in use than that. Dagster uses the space of
deleted events again, so that it grows only when far more was deleted than comes."""


@dataclass
class Portion:
    """What one call did: how many runs it deleted and kept, and where the next call goes on."""

    deleted: int = 0
    kept: int = 0
    resume_after: datetime | None = None
    """None when every old run has been looked at; the next call begins with the oldest again."""


def delete_old_runs(
    instance: dg.DagsterInstance,
    before: datetime,
    resume_after: datetime | None = None,
    max_runs: int = MAX_RUNS_PER_TICK,
) -> Portion:
    """Deletes runs of this project that ended before `before`, except those that hold the newest state of something.

    Looks at `max_runs` of them at most, oldest first, from `resume_after` on.
    """
    portion, deadline = Portion(resume_after=resume_after), time.monotonic() + MAX_SECONDS_PER_TICK
    old = RunsFilter(statuses=FINISHED, updated_before=before, updated_after=resume_after)
    records = instance.get_run_records(old, limit=max_runs, order_by="update_timestamp", ascending=True)
    for record in records:
        if time.monotonic() > deadline:
            return portion
        run = record.dagster_run
        portion.resume_after = record.update_timestamp
        if not is_of_this_project(run):
            continue
        if _holds_newest_state(instance, run.run_id):
            portion.kept += 1
        else:
            _delete(instance, run.run_id)
            portion.deleted += 1
    if len(records) < max_runs:
        portion.resume_after = None
    return portion


def delete_failed_tries(instance: dg.DagsterInstance, after: datetime, before: datetime) -> int:
    """Deletes runs of that time which failed since EnableX was unavailable; returns how many.

    While EnableX is down, there are hundreds of them in a day, and each says the same.
    """
    failed = RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after, updated_before=before)
    return _delete_tagged(instance, failed, UNAVAILABLE_TAG)


def delete_runs_of_open_days(instance: dg.DagsterInstance, after: datetime, before: datetime) -> int:
    """Deletes runs of that time which fetched a day while it was open; returns how many. There are 48 of them a day."""
    ended = RunsFilter(statuses=FINISHED, updated_after=after, updated_before=before, tags={OPEN_DAY_TAG: "true"})
    return _delete_tagged(instance, ended, OPEN_DAY_TAG)


def _delete_tagged(instance: dg.DagsterInstance, runs: RunsFilter, tag: str) -> int:
    """Deletes those of the runs that have the tag, and hold no newest state; returns how many."""
    deadline, deleted = time.monotonic() + MAX_SECONDS_PER_TICK, 0
    for record in instance.get_run_records(runs, order_by="update_timestamp", ascending=True):
        run = record.dagster_run
        if time.monotonic() > deadline:
            break
        if run.tags.get(tag) and is_of_this_project(run) and not _holds_newest_state(instance, run.run_id):
            _delete(instance, run.run_id)
            deleted += 1
    return deleted


def delete_old_check_results(instance: dg.DagsterInstance, before: datetime) -> int:
    """Deletes the results of checks from before `before`, except the newest of each check; returns how many.

    Dagster leaves them when it deletes their runs. Does nothing where Dagster's state is not in SQLite.
    """
    with _index(instance) as index:
        if index is None:
            return 0
        # The newest of each kind, so that a run that only planned to evaluate a check hides no result.
        return index.execute(
            "DELETE FROM asset_check_executions WHERE create_timestamp < ? AND id NOT IN "
            "(SELECT max(id) FROM asset_check_executions GROUP BY asset_key, check_name, partition, execution_status)",
            [before.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")],
        ).rowcount


def compact_index(instance: dg.DagsterInstance) -> bool:
    """Rewrites the index of events without its unused space, if that is most of it; returns whether it did.

    Does nothing while runs are in flight: they would wait. Dagster's other processes do so for about a second.
    """
    with _index(instance) as index:
        if index is None or instance.get_runs_count(RunsFilter(statuses=IN_FLIGHT)):
            return False
        ((page_bytes,),) = index.execute("PRAGMA page_size")
        ((pages,),) = index.execute("PRAGMA page_count")
        ((unused,),) = index.execute("PRAGMA freelist_count")
        if unused * page_bytes < WASTED_BYTES or unused * 2 < pages:
            return False
        with suppress(sqlite3.OperationalError):  # Somebody writes: there is another tick in an hour.
            index.execute("VACUUM")
            return True
        return False


@contextmanager
def _index(instance: dg.DagsterInstance) -> Iterator[sqlite3.Connection | None]:
    """Dagster's index of events and checks; None where that is not SQLite on the disk."""
    file = sqlite_file(instance, INDEX)
    if file is None:
        yield None
        return
    # Each statement is its own transaction.
    with closing(sqlite3.connect(file, timeout=SECONDS_TO_LOCK, isolation_level=None)) as index:
        yield index


def delete_old_tick_logs(instance: dg.DagsterInstance, repository: str, before: datetime) -> None:
    """Deletes what the repository's sensors logged before `before`. Dagster purges its ticks, and leaves their logs."""
    for path in (Path(instance.storage_directory()) / repository).glob("*/*"):
        if path.is_file() and path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)


def _holds_newest_state(instance: dg.DagsterInstance, run_id: str) -> bool:
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    for entry in instance.all_logs(run_id, of_type=kinds):
        event = entry.get_dagster_event()
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            newest = _run_of_newest_materialization(instance, event.step_materialization_data.materialization)
        else:
            newest = _run_of_newest_evaluation(instance, event.asset_check_evaluation_data.asset_check_key)
        if newest == run_id:
            return True
    return False


def _run_of_newest_materialization(instance: dg.DagsterInstance, done: dg.AssetMaterialization) -> str | None:
    partitions = [done.partition] if done.partition else None
    newest = dg.AssetRecordsFilter(done.asset_key, asset_partitions=partitions)
    records = instance.fetch_materializations(newest, limit=1).records
    return records[0].run_id if records else None


def _run_of_newest_evaluation(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> str | None:
    # A run that only plans to evaluate the check has a record of it too.
    for record in instance.event_log_storage.get_asset_check_execution_history(check, limit=20):
        event = record.event.get_dagster_event() if record.event else None
        if event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            return record.run_id
    return None


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    # Dagster empties the run's own SQLite file and leaves it, and does not touch what the run printed.
    path_for_shard = getattr(instance.event_log_storage, "path_for_shard", None)
    if path_for_shard is not None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
