"""Dagster's own daemon, left alone with an EnableX whose records spill over midnight and appear late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from functools import cache
from http.server import BaseHTTPRequestHandler
from itertools import chain
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.scheduler.instigation import InstigatorTick

from cdr_assets.days import DAY, days_between
from cdr_assets.definitions import code_location
from cdr_assets.pipeline import run_history
from cdr_assets.pipeline.project_runs import FAILED, IN_FLIGHT, days_of
from cdr_assets.pipeline.scheduling import MAX_UNCHANGED_RESPONSES
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.sandbox.server import Faults, Sandbox, serve
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.expected import TABLES, assert_exact
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Script, plain_environment

CHECKOUT = Path(__file__).resolve().parents[2]
DAEMON = [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-m", "cdr_assets.definitions"]
SENSORS = ("closed_days", "settling_days", "landed_days")
DAYS = 3


@cache
def first_day() -> date:
    """The start date: the same for all tests, also when midnight passes."""
    return datetime.now(timezone.utc).date() - DAY * DAYS


def closed_days() -> list[date]:
    today = datetime.now(timezone.utc).date()
    return days_between(first_day(), today - DAY)


class Daemon:
    """The daemon with its code server and its runs, in a process group of their own."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self.data_dir = home, home / "data"
        self._log = (home / "daemon.log").open("wb")
        self._process = subprocess.Popen(
            DAEMON,
            cwd=home,
            env={
                **plain_environment(),
                **environment,
                "DAGSTER_HOME": str(home),
                "CDR_DATA_DIR": str(self.data_dir),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._deadline = time.monotonic() + PATIENCE_S

    def wait_until(self, what: str, holds: Callable[[], bool]) -> None:
        while not holds():
            assert self._process.poll() is None, f"the daemon stopped before {what}\n{self.said()}"
            assert time.monotonic() < self._deadline, f"not in time: {what}\n{self.said()}"
            time.sleep(0.25)

    def said(self) -> str:
        return (self.home / "daemon.log").read_text(errors="replace")[-20_000:]

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    faults = Faults(spill_minutes=90, late_share=0.4, late_hours=24 * 365)
    with serve(Settings(connections=40, start=first_day()), faults=faults) as sandbox:
        yield sandbox


def write_settings(home: Path) -> None:
    settings = (CHECKOUT / "cdr_assets" / "dagster.yaml").read_text()
    # A queued run is launched within a second.
    hasty = settings.replace("dequeue_interval_seconds: 10", "dequeue_interval_seconds: 1")
    assert hasty != settings
    (home / "dagster.yaml").write_text(hasty)


@pytest.fixture
def daemon(tmp_path: Path, sandbox: Sandbox) -> Iterator[Daemon]:
    write_settings(tmp_path)
    environment = {
        **sandbox.environment,
        "CDR_START_DATE": str(first_day()),
        "CDR_SETTLE_MINUTES": "0",
        "CDR_SETTLING_DAYS": str(DAYS + 1),
        "CDR_SETTLING_HOURS": "0.0001",
        "CDR_OPEN_DAY_MINUTES": "0",
        "CDR_TICK_SECONDS": "1",
        "CDR_AGREEMENT_SAMPLE": "1",
    }
    daemon = Daemon(tmp_path, environment)
    try:
        yield daemon
    finally:
        daemon.stop()


def test_left_alone_every_closed_day_becomes_exact_and_requests_stop(daemon: Daemon, sandbox: Sandbox) -> None:
    def asked_for_all() -> bool:
        asked = {path.rpartition("/")[2] for path, _ in list(sandbox.requests) if "/period/" in path}
        return asked >= set(map(str, closed_days()))

    def exact() -> bool:
        records = chain.from_iterable(records_of_day(sandbox.settings, day) for day in closed_days())
        try:
            assert_exact(daemon.data_dir / "cdr.duckdb", records)
        except (AssertionError, duckdb.Error):
            return False
        return True

    daemon.wait_until("every closed day was asked for", asked_for_all)
    assert not exact()
    # Now the late records appear.
    sandbox.faults.late_share = 0
    daemon.wait_until("the tables were exact", exact)

    with dg.DagsterInstance.from_config(str(daemon.home)) as instance:
        daemon.wait_until(
            "every sensor was at rest and no run was under way",
            lambda: (
                all(at_rest(instance, sensor) for sensor in SENSORS)
                and instance.get_runs_count(dg.RunsFilter(statuses=IN_FLIGHT)) == 0
            ),
        )
        requests, seen = len(sandbox.requests), len(ticks(instance, "settling_days"))
        daemon.wait_until("the next tick had passed", lambda: len(ticks(instance, "settling_days")) > seen)
        assert len(sandbox.requests) == requests
        assert exact()
        assert instance.get_runs_count(dg.RunsFilter(statuses=[*IN_FLIGHT, *FAILED])) == 0
        assert_no_day_was_in_two_runs_at_once(instance)
        for asset in ("period_cdr", *TABLES):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == set(map(str, closed_days()))
        for day in closed_days():
            # If the neighbours' answers already had every record of a day, its own answers brought nothing.
            answers = dg.AssetRecordsFilter(dg.AssetKey("period_cdr"), asset_partitions=[str(day)])
            assert len(instance.fetch_materializations(answers, limit=1_000).records) == requests_for(sandbox, day)
            assert run_history.responses(instance, [day])[day].unchanged == MAX_UNCHANGED_RESPONSES
    assert {status for _, status in sandbox.requests} == {200}


def test_when_the_machine_restarts_the_days_of_its_runs_are_fetched_again(tmp_path: Path, script: Script) -> None:
    asked = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        handler.connection.recv(1)  # until the client is gone
        handler.close_connection = True

    days = closed_days()
    for day in days:
        script.answers_with(day, stall)
    environment = {
        **script.environment,
        "CDR_START_DATE": str(days[0]),
        "CDR_SETTLE_MINUTES": "0",
        "CDR_OPEN_DAY_MINUTES": "0",
        "CDR_TICK_SECONDS": "1",
        "CDR_AGREEMENT_SAMPLE": "0",
        "CDR_HEARTBEAT_URL": f"{script.url}/heartbeat",
    }
    script.answers["/heartbeat"] = answer(b"")
    write_settings(tmp_path)
    first = Daemon(tmp_path, environment)
    try:
        first.wait_until("a day was asked for", asked.is_set)
        first.wait_until("the daemon gave a sign of life", lambda: "/heartbeat" in script.paths)
    finally:
        # With its code server and its run, as when the power fails.
        first.stop()
    signs_of_life = script.paths.count("/heartbeat")
    for day in days:
        script.holds(day)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (died,) = instance.get_runs()
        assert script.paths.count("/heartbeat") == signs_of_life, "only the daemon gives them"
        assert died.status == dg.DagsterRunStatus.STARTED
        second = Daemon(tmp_path, environment)
        try:
            second.wait_until(
                "every day was fetched",
                lambda: instance.get_materialized_partitions(dg.AssetKey("period_cdr")) >= set(map(str, days)),
            )
        finally:
            second.stop()
        (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[died.run_id]))
        assert record.dagster_run.status == dg.DagsterRunStatus.FAILURE
        # The sensors asked again, and Dagster's own retry of killed runs did not.
        assert instance.get_runs_count(dg.RunsFilter(tags={"dagster/parent_run_id": died.run_id})) == 0


def test_a_history_and_a_backfill_are_spread_over_short_runs(tmp_path: Path, script: Script) -> None:
    first = first_day() - DAY * 2
    days = days_between(first, first + DAY * 4)
    for day in days_between(first, closed_days()[-1] + DAY * 2):
        script.holds(day)
    environment = {
        **script.environment,
        "CDR_DAYS_A_RUN": "2",
        "CDR_START_DATE": str(first),
        "CDR_SETTLE_MINUTES": "0",
        "CDR_SETTLING_DAYS": "0",
        "CDR_OPEN_DAY_MINUTES": "0",
        "CDR_AGREEMENT_SAMPLE": "0",
    }
    write_settings(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assets = code_location(environment).resolve_asset_graph()
        instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id="spread",
                asset_graph=assets,
                partition_names=list(map(str, days)),
                asset_selection=[dg.AssetKey(asset) for asset in ("period_cdr", *TABLES)],
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        )
        daemon = Daemon(tmp_path, environment)
        try:
            daemon.wait_until(
                "every day was fetched",
                lambda: (
                    instance.get_materialized_partitions(dg.AssetKey("period_cdr"))
                    >= set(map(str, [*days, *closed_days()]))
                ),
            )
        finally:
            daemon.stop()
        of_backfill = [days_of(run) for run in instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "spread"}))]
        others = [run for run in instance.get_runs() if "dagster/backfill" not in run.tags]
    assert sorted(map(sorted, of_backfill)) == [days[:2], days[2:4], days[4:]]
    assert others
    assert all(len(days_of(run)) <= 2 and run.tags["dagster/priority"] == "1" for run in others)


def requests_for(sandbox: Sandbox, day: date) -> int:
    return sum(path.endswith(f"/cdr/period/{day}/{day}") for path, _ in sandbox.requests)


def ticks(instance: dg.DagsterInstance, sensor: str) -> Sequence[InstigatorTick]:
    """The sensor's ticks, the last one first."""
    (state,) = (state for state in instance.all_instigator_state() if state.instigator_name == sensor)
    return instance.get_ticks(state.instigator_origin_id, state.selector_id)


def at_rest(instance: dg.DagsterInstance, sensor: str) -> bool:
    """Whether the sensor says that there is nothing to do for now."""
    reason = ticks(instance, sensor)[0].skip_reason or ""
    if sensor != "settling_days":
        return reason.startswith(("days to ", "the tables hold everything that landed"))
    # A day whose answers brought nothing is fetched once more shortly before its lookback ends.
    _, _, when = reason.partition(" is fetched again at ")
    in_an_hour = datetime.now(timezone.utc) + timedelta(hours=1)
    return bool(when) and datetime.strptime(f"{when}+0000", "%Y-%m-%d %H:%M UTC%z") > in_an_hour


def assert_no_day_was_in_two_runs_at_once(instance: dg.DagsterInstance) -> None:
    ended: dict[date, float] = {}
    for record in instance.get_run_records(order_by="start_time", ascending=True):
        assert record.start_time
        assert record.end_time
        for day in days_of(record.dagster_run):
            assert ended.get(day, 0) <= record.start_time
            ended[day] = record.end_time
