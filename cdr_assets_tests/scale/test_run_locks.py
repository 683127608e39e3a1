"""Runs on several machines: whether one is alive is known from Postgres, however its process ended."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster import DagsterRunStatus

from cdr_assets.definitions import code_location
from cdr_assets.pipeline.project_runs import report_dead_runs
from cdr_assets.pipeline.run_lock import LocksInFolder, LocksInPostgres, RunLock, run_locks
from cdr_assets.places import Places
from cdr_assets.postgres import Postgres
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.location import Locate, Script, record


@pytest.fixture
def locks(postgres: str) -> LocksInPostgres:
    return LocksInPostgres(Postgres(postgres))


def rows(postgres: str) -> list[str]:
    with psycopg.connect(postgres) as connection:
        return [run_id for (run_id,) in connection.execute("SELECT run_id FROM cdr_assets.runs")]


def break_connections(postgres: str) -> None:
    """Ends every connection to the database, as a restart of the server does."""
    with psycopg.connect(postgres) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def hold(postgres: str, run_id: str, held: threading.Event) -> None:
    with LocksInPostgres(Postgres(postgres)).hold(run_id):
        held.set()
        signal.pause()


def kill_a_run(postgres: str, run_id: str) -> None:
    """Begins a run in a separate process, which is then killed."""
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(postgres, run_id, held))
    process.start()
    assert held.wait(PATIENCE_S)
    assert LocksInPostgres(Postgres(postgres)).state(run_id) is RunLock.HELD
    process.kill()
    process.join(PATIENCE_S)


def wait_for(locks: LocksInPostgres, run_id: str, state: RunLock) -> None:
    """The server sees a moment later that a process is dead, or that a connection is closed."""
    deadline = time.monotonic() + PATIENCE_S
    while locks.state(run_id) is not state:
        assert time.monotonic() < deadline, f"the run did not become {state.value}"
        time.sleep(0.02)


def test_a_lake_has_its_locks_in_postgres_and_a_folder_in_itself(postgres: str, tmp_path: Path) -> None:
    in_lake = run_locks(Places.read(tmp_path, f"ducklake:postgres:{postgres} password=hidden"))
    assert isinstance(in_lake, LocksInPostgres)
    assert in_lake.place.startswith("127.0.0.1:")
    assert "hidden" not in in_lake.place
    assert isinstance(run_locks(Places.read(tmp_path)), LocksInFolder)


def test_no_resource_shows_the_password_of_the_lake(postgres: str) -> None:
    resources = code_location({"CDR_WAREHOUSE": f"ducklake:postgres:{postgres} password=hidden"}).resources or {}
    assert {"enablex", "landing", "live_run", "warehouse"} <= set(resources)
    for resource in resources.values():
        assert "hidden" not in repr(resource)


def test_a_lock_is_held_while_its_block_runs(locks: LocksInPostgres, postgres: str) -> None:
    elsewhere = LocksInPostgres(Postgres(postgres))
    assert elsewhere.state("a") is RunLock.ABSENT
    with locks.hold("a"):
        elsewhere.remove_abandoned()
        assert elsewhere.state("a") is RunLock.HELD
        assert elsewhere.state("b") is RunLock.ABSENT
    wait_for(elsewhere, "a", RunLock.ABSENT)
    assert rows(postgres) == []


def test_a_lock_is_let_go_of_by_a_killed_process(locks: LocksInPostgres, postgres: str) -> None:
    kill_a_run(postgres, "a")
    wait_for(locks, "a", RunLock.ABANDONED)
    with locks.hold("b"):
        locks.remove_abandoned()
        assert rows(postgres) == ["b"]
    assert locks.state("a") is RunLock.ABSENT


class Interrupted(Postgres):
    """Something happens just before, or just after, it is asked whether a lock is held."""

    def __init__(self, dsn: str, before: Callable[[], object], after: Callable[[], object]) -> None:
        super().__init__(dsn)
        self._before, self._after = before, after

    def is_held(self, name: str) -> bool:
        self._before()
        found = super().is_held(name)
        self._after()
        return found


def test_a_run_that_begins_while_it_is_looked_at_is_not_taken_for_a_dead_one(
    locks: LocksInPostgres, postgres: str
) -> None:
    with ExitStack() as alive:
        begin = partial(alive.enter_context, locks.hold("a"))
        assert LocksInPostgres(Interrupted(postgres, int, begin)).state("a") is RunLock.ABSENT
        assert locks.state("a") is RunLock.HELD


def test_a_run_that_ends_while_it_is_looked_at_is_not_taken_for_a_dead_one(
    locks: LocksInPostgres, postgres: str
) -> None:
    with ExitStack() as alive:
        alive.enter_context(locks.hold("a"))
        assert LocksInPostgres(Interrupted(postgres, alive.close, int)).state("a") is not RunLock.ABANDONED


def test_a_run_is_not_failed_by_a_server_that_restarts_as_it_ends(locks: LocksInPostgres, postgres: str) -> None:
    with locks.hold("a"):
        break_connections(postgres)
    wait_for(locks, "a", RunLock.ABSENT)


# Runs that Dagster knows of


def started(tags: dict[str, str]) -> tuple[dg.DagsterInstance, dg.DagsterRun]:
    instance = dg.DagsterInstance.ephemeral()
    job = code_location({}).resolve_job_def("daily_cdr")
    return instance, instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED)


def test_a_killed_run_is_reported_at_once_and_one_that_lives_is_not(locks: LocksInPostgres, postgres: str) -> None:
    instance, run = started({"dagster/partition": "2026-11-02"})
    now = datetime.now(timezone.utc)
    with locks.hold(run.run_id):
        assert report_dead_runs(instance, locks, now + timedelta(days=1)) == []
    kill_a_run(postgres, run.run_id)
    wait_for(locks, run.run_id, RunLock.ABANDONED)
    assert report_dead_runs(instance, locks, now) == [run.run_id]
    assert rows(postgres) == []
    (failed,) = instance.get_runs()
    assert failed.status == DagsterRunStatus.FAILURE


def test_a_run_that_never_came_to_its_step_is_dead_after_two_minutes(locks: LocksInPostgres) -> None:
    instance, run = started({"dagster/partition": "2026-11-02"})
    now = datetime.now(timezone.utc)
    assert report_dead_runs(instance, locks, now + timedelta(minutes=1.9)) == []
    assert report_dead_runs(instance, locks, now + timedelta(minutes=2.1)) == [run.run_id]


def test_a_run_on_another_lake_is_left_alone(locks: LocksInPostgres) -> None:
    instance, _ = started({"dagster/partition": "2026-11-02", "cdr_assets/folder": "db.example:5432/other"})
    assert report_dead_runs(instance, locks, datetime.now(timezone.utc) + timedelta(days=1)) == []


def test_a_run_on_a_lake_holds_its_lock_while_it_fetches(
    postgres: str, locks: LocksInPostgres, locate: Locate, script: Script
) -> None:
    day = datetime(2026, 11, 2, tzinfo=timezone.utc).date()
    states: list[RunLock] = []
    script.holds(day, record("a", day))
    reply = script.answers[f"/cdr/period/{day}/{day}"]
    location = locate({**script.environment, "CDR_WAREHOUSE": f"ducklake:postgres:{postgres}"})

    def look_and_reply(handler: object) -> None:
        (run,) = location.instance.get_runs()
        states.append(locks.state(run.run_id))
        assert run.tags["cdr_assets/folder"] == locks.place
        reply(handler)  # type: ignore[arg-type]

    script.answers_with(day, look_and_reply)
    result = location.run(day)
    assert states == [RunLock.HELD]
    assert result.success
    assert rows(postgres) == []
    assert not (location.data_dir / "runs").exists()
