"""A code location under test, and what a run of it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import dagster as dg

from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.resources import LandingResource
from cdr_assets.places import Places
from cdr_assets.sandbox.server import Settings
from cdr_assets_tests.httpserver import Answer, answer
from cdr_assets_tests.landing.places import content_of
from cdr_assets_tests.places import by_hand, places
from cdr_assets_tests.reference import Record

SETTINGS = Settings(connections=40, start=date(2026, 10, 1))


class FrozenLanding(LandingResource):
    """The landing zone, in which every request is sent at one moment."""

    moment: str

    @property
    def zone(self) -> LandingZone:
        zone = super().zone
        zone.now = lambda: datetime.fromisoformat(self.moment)
        return zone


@dataclass
class Location:
    """The code location over one EnableX and one data folder, and the Dagster instance that knows its runs."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    data_dir: Path

    @property
    def places(self) -> Places:
        return places(self.data_dir)

    def run(
        self,
        first: date,
        last: date | None = None,
        *,
        assets: Sequence[str] = (),
        replace: bool = False,
        sent_at: datetime | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Runs the daily job, or some of its assets, for a day or for a range of days.

        As far as the landing zone knows, its requests are sent at `sent_at`; at the present if that is not given.
        """
        op = self.definitions.resolve_assets_def("period_cdr").node_def.name
        ends = {"start": str(first), "end": str(last)} if last else {}
        return self.definitions.resolve_job_def("daily_cdr").execute_in_process(
            instance=self.instance,
            partition_key=None if last else str(first),
            tags={f"dagster/asset_partition_range_{end}": day for end, day in ends.items()},
            asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
            run_config={"ops": {op: {"config": {"replace": True}}}} if replace else None,
            resources=self.resources(sent_at),
            raise_on_error=False,
        )

    def resources(self, sent_at: datetime | None) -> dict[str, dg.ConfigurableResource[Any]]:
        """What to run with so that requests are sent at that moment."""
        if sent_at is None:
            return {}
        where = {"data_dir": str(self.data_dir), "lake": self.places.warehouse, "landing": self.places.landing}
        return {"landing": FrozenLanding(**where, moment=sent_at.isoformat())}

    def materialized_days(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))

    def metadata(self, asset: str, day: date) -> dict[str, Any]:
        """What the newest materialization of the partition says."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)]), limit=1
        ).records
        materialization = records[0].asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}

    def landed(self) -> dict[str, bytes]:
        """Every landed file and its content."""
        files = (file for file in self.places.storage.files("landing") if file.name.endswith(".zst"))
        return {file.name: content_of(file) for file in files}


Locate = Callable[..., Location]


@dataclass
class Script:
    """An EnableX that answers each UTC day as the test writes."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    app_key: str = "a-key-that-nobody-may-read"

    @property
    def environment(self) -> dict[str, str]:
        return {"ENABLEX_BASE_URL": self.url, "ENABLEX_APP_ID": "app-id", "ENABLEX_APP_KEY": self.app_key}

    def holds(self, day: date, *records: Any) -> None:
        """From now on the answer for the day is these records."""
        self.answers_with(day, answer(json.dumps({"result": "0", "cdr": records}).encode()))

    def answers_with(self, day: date, reply: Answer) -> None:
        self.answers[f"/cdr/period/{day}/{day}"] = reply

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        self.paths.append(handler.path)
        self.answers[handler.path](handler)


def record(cdr_id: str, day: date, **fields: Any) -> Record:
    """A minute of user `cdr_id` in room r, conference c."""
    room = {"room_id": "r", "connect_dt": f"{day}T10:00:00Z", "disconnect_dt": f"{day}T10:01:00Z", "duration": 60}
    return {"cdr_id": cdr_id, "trans_date": f"{day}T10:01:00Z", "conf_num": "c", "room": room, **fields}


def lengthen(where: Places) -> None:
    """Makes the time in the room so long that the minutes of 61 records no longer fit a column. No record can."""
    with by_hand(where) as connection:
        connection.execute("UPDATE call_detail_records SET room_duration_s = 999999999999999.999")


def run_checks(location: Location) -> dg.ExecuteInProcessResult:
    """What "Execute all" on the checks does in the UI."""
    everything = location.definitions.resolve_asset_graph().asset_check_keys
    job = location.definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=set(everything))
    return subset.execute_in_process(instance=location.instance, raise_on_error=False)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The run's check results by name."""
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def red(result: dg.ExecuteInProcessResult) -> list[str]:
    return sorted(name for name, evaluation in checks(result).items() if not evaluation.passed)


def sample_of(evaluation: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    """The rows of the result's sample."""
    sample = evaluation.metadata["sample"]
    assert isinstance(sample, dg.TableMetadataValue)
    return [dict(row.data) for row in sample.records]


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step says."""
    assert not result.success
    (event,) = (event for event in result.all_events if event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def plain_environment() -> dict[str, str]:
    """The environment without what belongs to the developer's own account or Dagster."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ENABLEX_", "CDR_", "DAGSTER_"))}
