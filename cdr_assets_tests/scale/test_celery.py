"""Runs on several machines, as Celery tasks, with the settings in `deploy/`."""

from __future__ import annotations

import json
import threading
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from dagster_celery.launcher import CeleryRunLauncher

from cdr_assets.days import DAY
from cdr_assets.definitions import code_location
from cdr_assets.pipeline.project_runs import DIED_TAG, report_dead_runs
from cdr_assets.pipeline.run_lock import LocksInPostgres
from cdr_assets.postgres import Postgres
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.httpserver import Answer, answer
from cdr_assets_tests.location import Script, record
from cdr_assets_tests.scale.cluster import cluster

QUIET = {"CDR_OPEN_DAY_MINUTES": "0", "CDR_SETTLING_DAYS": "0", "CDR_SETTLE_MINUTES": "0"}


def yesterday() -> date:
    return datetime.now(timezone.utc).date() - DAY


def test_two_workers_share_the_days(tmp_path: Path, postgres: str, script: Script) -> None:
    days = [yesterday() - DAY, yesterday()]
    asked, both_asked = set[date](), threading.Event()

    def held(day: date) -> Answer:
        """The answer for the day, which nobody gets before both days are asked for."""
        reply = answer(json.dumps({"result": "0", "cdr": [record(str(day), day)]}).encode())

        def hold(handler: BaseHTTPRequestHandler) -> None:
            asked.add(day)
            if asked == {*days}:
                both_asked.set()
            both_asked.wait(PATIENCE_S)
            reply(handler)

        return hold

    for day in days:
        script.answers_with(day, held(day))
    environment = {**script.environment, **QUIET, "CDR_START_DATE": str(days[0])}
    with cluster(tmp_path, environment, postgres, workers=2) as machines:
        machines.backfill(days[0], days[-1])
        machines.start_daemon()
        for name in ("w1", "w2"):
            machines.start_worker(name)
        with machines.instance() as instance:
            done = list(machines.done_runs(instance))
        assert [run.status for run, _ in done] == [DagsterRunStatus.SUCCESS] * len(days)
        assert {worker for _, worker in done} == {"w1", "w2"}
        with machines.read() as connection:
            found = connection.sql("SELECT usage_date, cdr_id FROM call_detail_records ORDER BY ALL").fetchall()
        assert found == [(day, str(day)) for day in days]


def test_a_run_whose_worker_is_killed_is_tried_again(tmp_path: Path, postgres: str, script: Script) -> None:
    day, (asked, released) = yesterday(), (threading.Event(), threading.Event())

    def hold(_: BaseHTTPRequestHandler) -> None:
        asked.set()
        released.wait(PATIENCE_S)

    script.answers_with(day, hold)
    environment = {**script.environment, **QUIET, "CDR_START_DATE": str(day)}
    with cluster(tmp_path, environment, postgres, workers=2) as machines, machines.instance() as instance:
        machines.start_daemon()
        workers = {name: machines.start_worker(name) for name in ("w1", "w2")}
        # The sensor closed_days requests the day.
        machines.wait(asked.is_set)
        (run,) = instance.get_runs()
        name = machines.done_by(instance, run.run_id)
        assert name
        script.holds(day, record("a", day))
        workers[name].kill()
        released.set()

        def tried_again() -> list[dg.RunRecord]:
            started = RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS])
            return [each for each in instance.get_run_records(started) if each.dagster_run.run_id != run.run_id]

        assert len(machines.wait(tried_again)) == 1
        dead = instance.get_run_by_id(run.run_id)
        assert dead
        assert (dead.status, dead.tags[DIED_TAG]) == (DagsterRunStatus.FAILURE, "true")
        machines.wait(lambda: instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.SUCCESS])))
        with machines.read() as connection:
            assert connection.sql("SELECT usage_date, cdr_id FROM call_detail_records").fetchall() == [(day, "a")]


def test_a_run_that_waits_for_a_worker_is_not_dead(tmp_path: Path, postgres: str, script: Script) -> None:
    with cluster(tmp_path, script.environment, postgres, workers=1) as machines, machines.instance() as instance:
        launcher, locks = instance.run_launcher, LocksInPostgres(Postgres(postgres))
        assert isinstance(launcher, CeleryRunLauncher)
        task = launcher.celery.send_task("execute_job", queue="dagster")
        tags = {"dagster-celery/task_id": task.id}
        job = code_location({}).resolve_job_def("daily_cdr")
        run = instance.create_run_for_job(job, status=DagsterRunStatus.STARTING, tags=tags)
        in_an_hour = datetime.now(timezone.utc) + timedelta(hours=1)
        assert report_dead_runs(instance, locks, in_an_hour) == []
        # A worker takes the task, and is killed before the run's step begins.
        launcher.celery.backend.store_result(task.id, None, "STARTED")
        assert report_dead_runs(instance, locks, in_an_hour) == [run.run_id]
