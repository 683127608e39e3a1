"""The file of the status: written by the ticks of closed_days, read by dashboards that know nothing but the exports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdr_assets.days import DAY
from cdr_assets.pipeline.status import MAX_FETCHES, MAX_RUNS
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Locate, Location, Script, record
from cdr_assets_tests.ticks import tick

PERSON = "zoya-the-patient"
HTML = answer(b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def before(days: int) -> date:
    return now().date() - DAY * days


def status_file(location: Location) -> Path:
    return location.data_dir / "published" / "status.json"


def status(location: Location, when: datetime | None = None) -> Any:
    """What the file says after a tick."""
    tick(location, "closed_days", when)
    return json.loads(status_file(location).read_bytes())


@pytest.fixture
def scripted_days(locate: Locate, script: Script) -> Callable[[int], Location]:
    return lambda days: locate(
        {**script.environment, "CDR_START_DATE": str(before(days)), "CDR_UI_URL": "https://dagster.example/"}
    )


def test_before_the_first_run_every_day_is_missing(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "CDR_SANDBOX": sandbox.base_url, "CDR_START_DATE": str(before(4))})
    when = datetime.combine(before(0), datetime.min.time(), timezone.utc) + timedelta(hours=12)
    former = os.umask(0o077)
    try:
        found = status(location, when)
    finally:
        os.umask(former)
    assert found.pop("disk")["warehouse_bytes"] is None
    assert found == {
        "written_at": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "enablex": "sandbox",
        "ui_url": "http://localhost:3000",
        "first_day": str(before(4)),
        "days": {
            "complete": [],
            "provisional": [],
            "missing": [[str(before(4)), str(before(1))]],
            "failed": [],
            "overdue": [],
            "waiting": [],
        },
        "next_try": None,
        "runs": [],
        "newest_fetch_id": 0,
        "fetches": [],
    }
    assert status_file(location).stat().st_mode & 0o777 == 0o644
    assert location.data_dir.stat().st_mode & 0o777 == 0o700, "the folder is for its owner alone"


def test_it_says_how_days_runs_and_fetches_stand(scripted_days: Callable[[int], Location], script: Script) -> None:
    location = scripted_days(3)
    person = {"name": PERSON, "user_ref": PERSON}
    script.holds(before(3), record("a", before(3), user=person), record("b", before(3)), {"cdr_id": "no time"})
    script.answers_with(before(2), HTML)
    failed = location.run(before(3), before(2))
    assert not failed.success
    found = status(location, now() + timedelta(hours=30))
    assert found["days"]["complete"] == [[str(before(3))] * 2]
    assert found["days"]["failed"] == found["days"]["overdue"] == [[str(before(2))] * 2]
    assert found["days"]["missing"][0][0] == str(before(2))
    assert found["next_try"].startswith(f"{before(2)} at ")
    (run,) = found["runs"]
    assert (run["run_id"], run["job"], run["status"]) == (failed.run_id, "daily_cdr", "FAILURE")
    assert run["days"] == f"{before(3)}...{before(2)}"
    assert run["started_at"] <= run["ended_at"] <= f"{now():%Y-%m-%dT%H:%M:%SZ}"
    (fetch,) = found["fetches"]
    assert (fetch.pop("bytes") > 100, fetch.pop("seconds") > 0) == (True, True)
    assert fetch == {
        "day": str(before(3)),
        "records": 2,
        "new": 2,
        "changed": 0,
        "vanished": 0,
        "quarantined": 1,
        "late": 0,
        "requests": 1,
        "retries": 0,
    }
    assert 0 < found["disk"]["free_bytes"] < found["disk"]["total_bytes"]
    assert found["disk"]["warehouse_bytes"] == location.places.file.stat().st_size
    assert PERSON not in status_file(location).read_text()
    assert [path.name for path in status_file(location).parent.glob("status*")] == ["status.json"]


def test_it_is_written_when_it_says_something_else_or_is_old(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location, day = scripted_days(2), before(2)
    script.holds(day, record("a", day))
    assert location.run(day).success
    # At noon no other day closes meanwhile.
    when = datetime.combine(day + 3 * DAY, time(12), timezone.utc)
    first = status(location, when)
    assert status(location, when + timedelta(minutes=4)) == first
    assert status(location, when + timedelta(minutes=6))["written_at"] > first["written_at"]
    assert status(location, when - timedelta(minutes=1))["written_at"] < first["written_at"], "the clock was wrong"
    script.holds(day, record("a", day), record("b", day))
    assert location.run(day).success
    changed = status(location, when - timedelta(minutes=1))
    assert [fetch["new"] for fetch in changed["fetches"]] == [1]
    assert len(changed["runs"]) == 2


def test_the_event_log_is_read_again_when_there_is_a_newer_fetch(scripted_days: Callable[[int], Location]) -> None:
    location = scripted_days(2)
    fetched = dg.AssetMaterialization("period_cdr", partition=str(before(2)), metadata={"records": 7})
    location.instance.report_runless_asset_event(fetched)
    found = status(location, now())
    assert [(fetch["records"], fetch["bytes"]) for fetch in found["fetches"]] == [(7, None)]
    # What the file says is believed while no fetch came since.
    status_file(location).write_text(json.dumps({**found, "fetches": []}))
    assert status(location, now() + timedelta(hours=1))["fetches"] == []
    location.instance.report_runless_asset_event(fetched)
    assert status(location, now())["fetches"] == found["fetches"]


@pytest.mark.parametrize("left", ["", "{", "[]", '{"written_at": 7}', '{"newest_fetch_id": 1, "fetches": null}'])
def test_what_others_left_in_its_place_is_replaced(scripted_days: Callable[[int], Location], left: str) -> None:
    location = scripted_days(2)
    status_file(location).parent.mkdir(parents=True)
    status_file(location).write_text(left)
    status_file(location).with_name("status.json.4711").write_text("of a killed process")
    assert status(location)["enablex"] == "127.0.0.1"
    assert [path.name for path in status_file(location).parent.iterdir()] == ["status.json"]


def test_a_status_that_cannot_be_written_stops_no_fetch(
    scripted_days: Callable[[int], Location], capfd: pytest.CaptureFixture[str]
) -> None:
    location = scripted_days(2)
    status_file(location).mkdir(parents=True)
    assert tick(location, "closed_days").run_requests
    assert "status.json is not up to date: " in "".join(capfd.readouterr())


def test_only_the_newest_runs_and_days_are_in_it(scripted_days: Callable[[int], Location]) -> None:
    location = scripted_days(MAX_FETCHES + 2)
    for number in range(1, MAX_FETCHES + 3):
        fetched = dg.AssetMaterialization("period_cdr", partition=str(before(number)), metadata={"records": number})
        location.instance.report_runless_asset_event(fetched)
    location.instance.report_runless_asset_event(dg.AssetMaterialization("period_cdr", partition="tomorrow"))
    job = location.definitions.resolve_job_def("daily_cdr")
    runs = [location.instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS) for _ in range(MAX_RUNS + 1)]
    other = dg.JobDefinition(name="somebody_elses", graph_def=dg.GraphDefinition(name="somebody_elses"))
    location.instance.create_run_for_job(other, status=dg.DagsterRunStatus.SUCCESS)
    found = status(location)
    assert [fetch["records"] for fetch in found["fetches"]] == list(range(1, MAX_FETCHES + 1))
    assert [run["run_id"] for run in found["runs"]] == [run.run_id for run in reversed(runs)][:MAX_RUNS]
