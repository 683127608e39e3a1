"""How the days, the runs and the disk stand: `status.json`, next to the exports, for what reads only these."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import dagster as dg

from cdr_assets.data_folder import STATUS_FILE, disk_usage
from cdr_assets.days import describe_days, ranges
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.pipeline.project_runs import days_of, is_of_this_project
from cdr_assets.pipeline.run_history import newest_materialization_id, newest_materializations
from cdr_assets.pipeline.scheduling import ClosedDays
from cdr_assets.places import Places
from cdr_assets.storage import make_folder

WRITTEN_AGAIN_AFTER = timedelta(minutes=5)
MAX_RUNS = 20
MAX_PAGES = 5
MAX_FETCHES = 60
ISO_8601 = "%Y-%m-%dT%H:%M:%SZ"

FIGURES = {
    "records": "records",
    "new": "new_records",
    "changed": "changed_records",
    "vanished": "vanished_records",
    "quarantined": "set_aside_records",
    "late": "late_records",
    "requests": "requests",
    "retries": "retries",
    "bytes": "bytes",
    "seconds": "seconds",
}
"""The figures of a fetch, and the metadata of period_cdr that have them."""

Content = dict[str, Any]


@dataclass(frozen=True)
class StatusFile:
    """The file of one data folder, in the folder of its exports. `first_day` is the first one that is fetched."""

    places: Places
    export_dir: str
    enablex: str
    ui_url: str
    first_day: date

    def update(self, instance: dg.DagsterInstance, now: datetime, days: ClosedDays) -> None:
        """Writes the file if it would say something else, or if it is old. Raises OSError if it cannot be written."""
        before = self.read()
        content = self._content(instance, now, days, before)
        age = now - _written_at(before)
        # A time in the future is that of a clock that was wrong.
        if _says_the_same(before, content) and timedelta(0) <= age < WRITTEN_AGAIN_AFTER:
            return
        make_folder(self.places.data_dir)
        self.places.exports(self.export_dir).write(STATUS_FILE, json.dumps(content, indent=1))

    def read(self) -> Content:
        """What the file says; empty where there is none, or one that somebody damaged."""
        with suppress(OSError, ValueError):
            content = json.loads(self.places.exports(self.export_dir).read(STATUS_FILE) or "{}")
            return content if isinstance(content, dict) else {}
        return {}

    def _content(self, instance: dg.DagsterInstance, now: datetime, days: ClosedDays, before: Content) -> Content:
        newest = newest_materialization_id(instance, PERIOD_CDR)
        is_known = before.get("newest_fetch_id") == newest and isinstance(before.get("fetches"), list)
        disk = disk_usage(self.places.data_dir)
        return {
            "written_at": _utc(now.timestamp()),
            "enablex": self.enablex,
            "ui_url": self.ui_url,
            "first_day": str(self.first_day),
            "days": {
                "complete": _ranges(days.complete),
                "provisional": _ranges(days.provisional),
                "missing": _ranges(days.missing),
                "failed": _ranges(days.failed),
                "overdue": _ranges(days.overdue),
                "waiting": _ranges(days.waiting),
            },
            "next_try": days.next_try or None,
            "runs": list(_runs(instance)),
            "newest_fetch_id": newest,
            "fetches": before["fetches"] if is_known else list(_fetches(instance)),
            "disk": {
                "free_bytes": disk.free,
                "total_bytes": disk.total,
                "warehouse_bytes": self.places.warehouse_bytes(),
            },
        }


def _runs(instance: dg.DagsterInstance) -> Iterator[Content]:
    """The newest runs of this project, newest first."""
    for record in islice(_records_of_this_project(instance), MAX_RUNS):
        run = record.dagster_run
        yield {
            "run_id": run.run_id,
            "job": run.job_name,
            "status": run.status.value,
            "started_at": _utc(record.start_time),
            "ended_at": _utc(record.end_time),
            "days": describe_days(days_of(run)) or None,
        }


def _records_of_this_project(instance: dg.DagsterInstance) -> Iterator[dg.RunRecord]:
    """The runs of this project among the newest ones; others may share the instance."""
    cursor = None
    for _ in range(MAX_PAGES):
        records = instance.get_run_records(limit=MAX_RUNS, cursor=cursor)
        yield from (record for record in records if is_of_this_project(record.dagster_run))
        if len(records) < MAX_RUNS:
            return
        cursor = records[-1].dagster_run.run_id


def _fetches(instance: dg.DagsterInstance) -> Iterator[Content]:
    """What the newest fetch of each of the newest days brought and took, newest day first."""
    newest = newest_materializations(instance, PERIOD_CDR, MAX_FETCHES)
    for day, metadata in sorted(newest.items(), reverse=True):
        yield {"day": str(day), **{name: _number(metadata.get(key)) for name, key in FIGURES.items()}}


def _number(value: object) -> int | float | None:
    return value if isinstance(value, (int, float)) else None


def _ranges(days: Collection[date]) -> list[list[str]]:
    return [[str(adjacent[0]), str(adjacent[-1])] for adjacent in ranges(days)]


def _says_the_same(before: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Whether nothing changed but the time and the bytes on the disk, which change all the time."""
    passing = ("written_at", "disk")
    return all(before.get(name) == value for name, value in content.items() if name not in passing)


def _written_at(content: Mapping[str, Any]) -> datetime:
    try:
        return datetime.strptime(str(content.get("written_at")), ISO_8601).replace(tzinfo=timezone.utc)
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)


def _utc(seconds: float | None) -> str | None:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(ISO_8601) if seconds else None
