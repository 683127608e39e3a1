"""Runs whose process is killed: their lock, their report as failed, and their days."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from itertools import islice
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from cdr_assets.days import DAY, days_between, midnight
from cdr_assets.definitions import code_location
from cdr_assets.pipeline.project_runs import report_dead_runs
from cdr_assets.pipeline.run_lock import LocksInFolder, RunLock
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.expected import TABLES, assert_exact
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Locate, Location, Script, plain_environment, record

BIN = Path(sys.executable).parent
LAUNCH = [sys.executable, "-c", "from cdr_assets.cli import main; main()", "launch"]
EVERY_ASSET = 'key:"period_cdr"+'
MATERIALIZE = [str(BIN / "dagster"), "asset", "materialize", "-m", "cdr_assets.definitions", "--select", EVERY_ASSET]
FIRST = midnight(datetime(2026, 11, 2).date())

LAST = TABLES[-1]
"""The table that is built last: a day is done when it is there."""


def age(data_dir: Path) -> None:
    """Makes every lock file look as if it had been made a minute ago."""
    for path in (data_dir / "runs").glob("*.lock"):
        a_minute_ago = path.stat().st_mtime - 60
        os.utime(path, (a_minute_ago, a_minute_ago))


# The lock


def hold(data_dir: Path, run_id: str, held: threading.Event) -> None:
    with LocksInFolder(data_dir).hold(run_id):
        held.set()
        signal.pause()


def test_a_lock_is_held_while_its_block_runs(tmp_path: Path) -> None:
    assert LocksInFolder(tmp_path).state("a") is RunLock.ABSENT
    with LocksInFolder(tmp_path).hold("a"):
        age(tmp_path)
        LocksInFolder(tmp_path).remove_abandoned()
        assert LocksInFolder(tmp_path).state("a") is RunLock.HELD
        assert LocksInFolder(tmp_path).state("b") is RunLock.ABSENT
    assert LocksInFolder(tmp_path).state("a") is RunLock.ABSENT
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_lock_is_let_go_of_by_a_killed_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, "a", held))
    process.start()
    assert held.wait(PATIENCE_S)
    age(tmp_path)
    assert LocksInFolder(tmp_path).state("a") is RunLock.HELD
    process.kill()
    process.join(PATIENCE_S)
    assert LocksInFolder(tmp_path).state("a") is RunLock.ABANDONED
    LocksInFolder(tmp_path).remove_abandoned()
    assert LocksInFolder(tmp_path).state("a") is RunLock.ABSENT


def test_a_file_that_was_just_made_counts_as_held(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.lock").touch()
    assert LocksInFolder(tmp_path).state("a") is RunLock.HELD
    age(tmp_path)
    assert LocksInFolder(tmp_path).state("a") is RunLock.ABANDONED


@pytest.mark.parametrize("data_dir", ["missing", "a file"])
def test_a_data_folder_that_is_none_has_no_locks(tmp_path: Path, data_dir: str) -> None:
    if data_dir == "a file":
        (tmp_path / data_dir).touch()
    assert LocksInFolder(tmp_path / data_dir).state("a") is RunLock.ABSENT
    LocksInFolder(tmp_path / data_dir).remove_abandoned()


# A killed command


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "home"
    folder.mkdir()
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def test_a_killed_command_is_reported_and_its_days_are_requested_at_once(
    home: dg.DagsterInstance, locate: Locate, script: Script, tmp_path: Path
) -> None:
    now = datetime.now(timezone.utc)
    days = [now.date() - DAY * number for number in (4, 3, 2)]
    asked = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        handler.connection.recv(1)  # until the client is gone
        handler.close_connection = True

    script.holds(days[0], record("a", days[0]))
    for day in days[1:]:
        script.answers_with(day, stall)
    environment = {**script.environment, "CDR_START_DATE": str(days[0]), "CDR_SETTLE_MINUTES": "0"}
    location = locate(environment, tmp_path / "data")
    location = Location(location.definitions, home, location.data_dir)
    command = start_command(location, environment, days)
    assert asked.wait(PATIENCE_S)
    assert command.stdout is not None
    assert any(f"Materialized value {LAST}" in line for line in command.stdout), "the first day was not done"
    age(location.data_dir)
    later = now + timedelta(hours=1)
    # While it lives it is left alone, however long it takes.
    assert report_dead_runs(home, LocksInFolder(location.data_dir), later) == []
    os.killpg(command.pid, signal.SIGKILL)
    command.communicate(timeout=PATIENCE_S)

    requested = requests(location)
    (run,) = home.get_runs()
    assert run.status == DagsterRunStatus.FAILURE
    messages = [event.message for event in home.all_logs(run.run_id)]
    (message,) = (each for each in messages if "The process of this run is gone" in each)
    assert "it was killed, or its machine was restarted" in message
    assert run.tags["dagster/max_retries"] == "0"
    # The first day was done before.
    left = days_between(days[1], now.date() - DAY)
    assert requested == [f"{left[0]}...{left[-1]}"]
    assert list((location.data_dir / "runs").iterdir()) == []


def test_a_command_killed_at_day_8_of_12_is_executed_again_for_the_4_days_that_are_left(
    home: dg.DagsterInstance, locate: Locate, script: Script, tmp_path: Path
) -> None:
    first = FIRST.date() - DAY * 12
    days = days_between(first, first + DAY * 11)

    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.recv(1)  # until the client is gone
        handler.close_connection = True

    # One conference goes on through all days, over the kill too.
    records = {day: record(f"a-{day}", day) for day in days}
    for day in days:
        script.holds(day, records[day])
    script.answers_with(days[8], stall)
    environment = {**script.environment, "CDR_START_DATE": str(first), "CDR_AGREEMENT_SAMPLE": "0"}
    location = locate(environment, tmp_path / "data")
    location = Location(location.definitions, home, location.data_dir)
    command = start_command(location, environment, days)
    assert command.stdout is not None
    done = (line for line in command.stdout if f"Materialized value {LAST}" in line)
    assert len(list(islice(done, 8))) == 8, "8 days were not done"
    wait_until(lambda: len(location.materialized_days(LAST)) == 8)
    os.killpg(command.pid, signal.SIGKILL)
    command.communicate(timeout=PATIENCE_S)
    assert command.returncode == -signal.SIGKILL

    (killed,) = home.get_runs()
    script.holds(days[8], records[days[8]])
    script.paths.clear()
    again = location.definitions.resolve_job_def("daily_cdr").execute_in_process(
        instance=home,
        tags={
            **{name: tag for name, tag in killed.tags.items() if "partition_range" in name},
            "dagster/parent_run_id": killed.run_id,
            "dagster/root_run_id": killed.run_id,
        },
    )
    assert again.success
    assert sorted(script.paths) == [f"/cdr/period/{day}/{day}" for day in days[8:]]
    assert len(script.paths) == 4
    assert location.materialized_days(LAST) == set(map(str, days))
    assert_exact(location.places, records.values())


def start_command(location: Location, environment: dict[str, str], days: list[date]) -> subprocess.Popen[str]:
    """Dagster's own command over a range, in a process group of its own."""
    return subprocess.Popen(
        [*MATERIALIZE, "--partition-range", f"{days[0]}...{days[-1]}"],
        env={
            **plain_environment(),
            **environment,
            "CDR_DATA_DIR": str(location.data_dir),
            "DAGSTER_HOME": location.instance.root_directory,
        },
        cwd=location.data_dir.parent,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for what another process writes: it says it on its output first."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def test_a_failed_command_says_which_day_failed(
    home: dg.DagsterInstance, scripted: Location, script: Script, tmp_path: Path
) -> None:
    day = FIRST.date()
    script.answers_with(day, answer(b"<html>Maintenance</html>"))
    subprocess.run(
        [*LAUNCH, "--job", "daily_cdr", "--partition-range", f"{day}...{day + DAY}"],
        env={
            **plain_environment(),
            **script.environment,
            "CDR_DATA_DIR": str(scripted.data_dir),
            "DAGSTER_HOME": home.root_directory,
        },
        cwd=tmp_path,
        capture_output=True,
    )
    (run,) = home.get_runs()
    assert run.status == DagsterRunStatus.FAILURE
    assert run.tags["cdr_assets/failed_day"] == str(day)


def requests(location: Location) -> list[str]:
    """What closed_days asks for, by the tag that people see."""
    with dg.build_sensor_context(
        instance=location.instance, definitions=location.definitions, resources=location.definitions.resources
    ) as context:
        result = location.definitions.resolve_sensor_def("closed_days").evaluate_tick(context)
    return [request.tags.get("cdr_assets/days", "a day") for request in result.run_requests or []]


# Runs that Dagster knows of


def started(location: Location, tags: dict[str, str], status: DagsterRunStatus) -> dg.DagsterRun:
    job = location.definitions.resolve_job_def("daily_cdr")
    return location.instance.create_run_for_job(job, tags=tags, status=status)


def later(minutes: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(minutes=minutes)


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
def test_a_run_that_never_came_to_its_step_is_dead_after_two_minutes(
    location: Location, status: DagsterRunStatus
) -> None:
    run = started(location, {"dagster/partition": "2026-11-02"}, status)
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(1.9)) == []
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(2.1)) == [run.run_id]
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(2.1)) == []
    assert location.instance.get_runs()[0].status == DagsterRunStatus.FAILURE


def test_a_killed_job_on_demand_is_reported_and_is_to_be_launched_again(location: Location) -> None:
    job = location.definitions.resolve_job_def("fetch_room")
    run = location.instance.create_run_for_job(job, status=DagsterRunStatus.STARTED)
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(2.1)) == [run.run_id]
    messages = [event.message for event in location.instance.all_logs(run.run_id)]
    assert any(message.endswith("Nothing retries it: launch it again.") for message in messages)


def test_a_run_that_waits_in_the_queue_is_not_dead(location: Location) -> None:
    repository = RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(
            LoadableTargetOrigin(module_name="cdr_assets.definitions"), location_name="cdr_assets"
        ),
        "__repository__",
    )
    location.instance.create_run_for_job(
        location.definitions.resolve_job_def("daily_cdr"),
        status=DagsterRunStatus.QUEUED,
        remote_job_origin=repository.get_job_origin("daily_cdr"),
    )
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(300)) == []


def test_a_run_between_its_last_event_and_its_end_is_not_dead(location: Location) -> None:
    run = started(location, {"dagster/partition": "2026-11-02"}, DagsterRunStatus.STARTED)
    with LocksInFolder(location.data_dir).hold(run.run_id):
        pass
    location.instance.report_engine_event("the step has ended", run)
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(1.9)) == []


def test_a_run_that_was_being_canceled_when_it_died_is_canceled(location: Location) -> None:
    started(location, {"dagster/partition": "2026-11-02"}, DagsterRunStatus.CANCELING)
    report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(3))
    assert location.instance.get_runs()[0].status == DagsterRunStatus.CANCELED


def test_a_run_on_another_data_folder_is_left_alone(location: Location) -> None:
    tags = {"dagster/partition": "2026-11-02", "cdr_assets/folder": "/srv/other"}
    started(location, tags, DagsterRunStatus.STARTED)
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(300)) == []


@pytest.mark.parametrize("dies", ["in its step", "before", "of an earlier version"])
def test_a_dead_run_is_seen_when_its_data_folder_was_moved(location: Location, tmp_path: Path, dies: str) -> None:
    locks = LocksInFolder(location.data_dir)
    tags = {"dagster/partition": "2026-11-02", "cdr_assets/folder": locks.place}
    if dies == "of an earlier version":
        tags["cdr_assets/folder"] = str(tmp_path / "moved")
    run = started(location, tags, DagsterRunStatus.STARTED)
    if dies == "in its step":
        (location.data_dir / "runs").mkdir()
        (location.data_dir / "runs" / f"{run.run_id}.lock").touch()
        age(location.data_dir)
    moved = LocksInFolder(location.data_dir.rename(tmp_path / "moved"))
    assert report_dead_runs(location.instance, moved, later(2.1)) == [run.run_id]


def test_runs_of_others_are_left_alone(location: Location) -> None:
    @dg.job
    def somebody_elses() -> None: ...

    location.instance.create_run_for_job(somebody_elses, status=DagsterRunStatus.STARTED)
    assert report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(300)) == []


def test_days_whose_run_died_once_go_on_and_after_a_second_death_wait_and_go_alone(
    locate: Locate, sandbox: Sandbox
) -> None:
    today = datetime.now(timezone.utc).date()
    first, last = today - DAY * 5, today - DAY * 2
    location = locate({**sandbox.environment, "CDR_START_DATE": str(first), "CDR_SETTLE_MINUTES": "0"})
    tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    started(location, tags, DagsterRunStatus.STARTED)
    report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(3))
    assert requests(location) == [f"{first}...{today - DAY}"]
    started(location, tags, DagsterRunStatus.STARTED)
    report_dead_runs(location.instance, LocksInFolder(location.data_dir), later(3))
    # The day that was in no dead run.
    assert requests(location) == ["a day"]


# What a live run shows


def test_a_range_run_shows_its_days_and_every_run_its_enablex(location: Location) -> None:
    first = FIRST.date()
    assert location.run(first, first + DAY).success
    assert location.run(first).success
    single, ranged = location.instance.get_runs()
    assert ranged.tags["cdr_assets/days"] == f"{first}...{first + DAY}"
    assert "cdr_assets/days" not in single.tags
    assert single.tags["cdr_assets/enablex"] == ranged.tags["cdr_assets/enablex"] == "sandbox"


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.enablex.io/video/v2", "api.enablex.io"),
        ("https://api.example:8443/v2", "api.example"),
        ("http://127.0.0.1:8080/video/v2", "127.0.0.1"),
        ("http://127.0.0.1:9/video/v2", "sandbox"),
    ],
)
def test_the_enablex_of_a_run_is_the_host_of_its_base_url(base_url: str, name: str) -> None:
    environment = {"ENABLEX_BASE_URL": base_url, "CDR_SANDBOX": "http://127.0.0.1:9/video/v2"}
    live_run = (code_location(environment).resources or {})["live_run"]
    assert live_run.enablex == name


def test_a_retried_run_does_not_tell_how_the_one_before_failed(scripted: Location, script: Script) -> None:
    day = FIRST.date()
    script.holds(day, record("a", day))
    inherited = {"cdr_assets/failed_day": str(day), "cdr_assets/refusal": "Forbidden"}
    job = scripted.definitions.resolve_job_def("daily_cdr")
    assert job.execute_in_process(instance=scripted.instance, partition_key=str(day), tags=inherited).success
    (run,) = scripted.instance.get_runs()
    assert not any(run.tags[tag] for tag in inherited)
