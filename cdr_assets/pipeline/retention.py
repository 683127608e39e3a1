"""Old runs: which may go from Dagster's state without a day looking missing, and their deletion in small portions.

Dagster forgets the materializations of a run that it deletes. A run therefore stays while it holds the newest
materialization of a partition, or the newest evaluation of a check.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster import RunsFilter

from cdr_assets.pipeline.project_runs import FINISHED, is_of_this_project

MAX_RUNS_PER_TICK = 200
MAX_SECONDS_PER_TICK = 20.0
"""A sensor's tick has a minute."""


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
