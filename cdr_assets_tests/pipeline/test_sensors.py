"""Real ticks of the sensors: real runs on a real instance, real files, and a clock that the test sets."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import freeze_time

from cdr_assets.days import DAY, days_between, midnight
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline import run_history, sensors
from cdr_assets.pipeline.run_lock import run_locks
from cdr_assets.pipeline.scheduling import MAX_UNCHANGED_RESPONSES
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.expected import TABLES, assert_exact
from cdr_assets_tests.httpserver import answer, serving
from cdr_assets_tests.landing.places import content_of, name_in, put, remove_day
from cdr_assets_tests.location import Locate, Location, Script, checks, lengthen, record, run_checks
from cdr_assets_tests.ticks import days_of, launch, requested, skipped, tick
from cdr_assets_tests.webhook import SECRET, Webhook, listening

HOUR = timedelta(hours=1)

# The client does not wait for so long.
DOWN = answer(b"", status=500, headers={"Retry-After": "86400"})
HTML = answer(b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})
SENSORS = ("closed_days", "settling_days", "open_day", "landed_days")


@cache
def present() -> datetime:
    """When the test began, to the second. Runs have the times at which they really ran, so it is the real time."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture(autouse=True)
def _another_present_for_every_test() -> None:
    present.cache_clear()


@pytest.fixture
def since_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's present is the last noon, so that what is sent at noon is not sent in the future in the morning."""
    last_noon = midnight((present() - 12 * HOUR).date()) + 12 * HOUR
    monkeypatch.setattr(f"{__name__}.present", lambda: last_noon)


def today() -> date:
    return present().date()


def yesterday() -> date:
    return before(1)


def before(days: int) -> date:
    return today() - DAY * days


def noon() -> datetime:
    return midnight(today()) + 12 * HOUR


def words(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def partition_tags(first: date, last: date) -> dict[str, str]:
    return by_itself(first) if first == last else as_a_range(first, last)


def by_itself(day: date) -> dict[str, str]:
    return {"dagster/partition": str(day)}


def as_a_range(first: date, last: date) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}


class PutInFlight(Protocol):
    def __call__(
        self,
        location: Location,
        tags: Mapping[str, str],
        *,
        job: str = ...,
        assets: tuple[str, ...] = ...,
        status: DagsterRunStatus = ...,
    ) -> dg.DagsterRun: ...


@pytest.fixture
def put_in_flight() -> Iterator[PutInFlight]:
    """Makes runs that were launched by somebody, and live to the end of the test."""
    with ExitStack() as locks:

        def put_in_flight(
            location: Location,
            tags: Mapping[str, str],
            *,
            job: str = "daily_cdr",
            assets: tuple[str, ...] = (),
            status: DagsterRunStatus = DagsterRunStatus.STARTED,
        ) -> dg.DagsterRun:
            run = create_run(location, tags, job, assets, status)
            locks.enter_context(run_locks(location.places).hold(run.run_id))
            return run

        yield put_in_flight


def create_run(
    location: Location,
    tags: Mapping[str, str],
    job: str = "daily_cdr",
    assets: tuple[str, ...] = (),
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
) -> dg.DagsterRun:
    """A run that has not ended, as Dagster knows it."""
    return location.instance.create_run_for_job(
        location.definitions.resolve_job_def(job),
        tags=dict(tags),
        status=status,
        asset_selection=frozenset(map(dg.AssetKey, assets)) or None,
    )


@pytest.fixture
def place(locate: Locate, sandbox: Sandbox) -> Callable[[int], Location]:
    """The code location over the sandbox, with a history of so many days."""
    return lambda days: locate({**sandbox.environment, "CDR_START_DATE": str(before(days))})


@pytest.fixture
def scripted_days(locate: Locate, script: Script) -> Callable[[int], Location]:
    return lambda days: locate({**script.environment, "CDR_START_DATE": str(before(days))})


# The first days


def test_a_first_start_on_ninety_days_asks_for_them_in_three_runs(
    place: Callable[[int], Location], put_in_flight: PutInFlight
) -> None:
    location = place(90)
    result = tick(location, "closed_days", noon())
    assert [days_of(request) for request in result.run_requests] == [
        days_between(before(90), before(60)),
        days_between(before(59), before(29)),
        days_between(before(28), yesterday()),
    ]
    assert all(request.asset_selection is None for request in result.run_requests)
    for request in result.run_requests:
        put_in_flight(location, request.tags)
    assert skipped(location, "closed_days", noon()) == "90 days missing; 90 under way"
    assert skipped(location, "settling_days", noon()) == "no day that closed lately has been fetched yet"


def test_a_years_history_does_not_flood_the_queue(place: Callable[[int], Location], put_in_flight: PutInFlight) -> None:
    location = place(365)
    assert len(requested(location, "closed_days", noon())) == 3
    put_in_flight(location, as_a_range(before(365), before(335)))
    assert requested(location, "closed_days", noon()) == [
        days_between(before(334), before(304)),
        days_between(before(303), before(273)),
    ]


def test_with_days_a_run_a_history_takes_short_runs(locate: Locate, sandbox: Sandbox) -> None:
    environment = {"CDR_START_DATE": str(before(20)), "CDR_DAYS_A_RUN": "2", "CDR_SETTLING_DAYS": "0"}
    location = locate({**sandbox.environment, **environment})
    assert requested(location, "closed_days", noon()) == [
        days_between(before(20), before(19)),
        days_between(before(18), before(17)),
        days_between(before(16), before(15)),
    ]


@pytest.mark.parametrize(("limit", "requests"), [(6, 5), (2, 1), (-1, 3)])
def test_with_days_a_run_as_many_runs_are_requested_as_dagster_works_on_but_one(
    limit: int, requests: int, locate: Locate, sandbox: Sandbox
) -> None:
    environment = {"CDR_START_DATE": str(before(20)), "CDR_DAYS_A_RUN": "1"}
    location = locate({**sandbox.environment, **environment})
    queue = {"module": "dagster", "class": "QueuedRunCoordinator", "config": {"max_concurrent_runs": limit}}
    with dg.instance_for_test(overrides={"run_coordinator": queue}) as instance:
        location.instance = instance
        assert len(requested(location, "closed_days", noon())) == requests


def test_the_many_runs_of_a_backfill_leave_room_for_others(
    place: Callable[[int], Location], put_in_flight: PutInFlight
) -> None:
    location = place(365)
    for day in (5, 4, 3):
        put_in_flight(location, {**by_itself(before(day)), "dagster/backfill": "one"})
    assert len(requested(location, "closed_days", noon())) == 2
    put_in_flight(location, {**by_itself(before(2)), "dagster/backfill": "another"})
    assert len(requested(location, "closed_days", noon())) == 1


def test_the_runs_of_sensors_do_not_wait_behind_a_backfill(place: Callable[[int], Location]) -> None:
    location = place(1)
    for sensor, priority in {"closed_days": "1", "open_day": "2"}.items():
        (request,) = tick(location, sensor, noon()).run_requests
        assert request.tags["dagster/priority"] == priority


@pytest.mark.lake
def test_the_runs_of_closed_days_complete_its_days(place: Callable[[int], Location], sandbox: Sandbox) -> None:
    location = place(4)
    (request,) = tick(location, "closed_days", noon()).run_requests
    assert launch(location, "closed_days", request, noon()).success
    assert skipped(location, "closed_days", noon()) == (
        f"days to {yesterday()} are complete; {today()} is due at {words(noon() + 13 * HOUR)}"
    )
    assert skipped(location, "landed_days", noon()) == "the tables hold everything that landed, 4 days"
    assert sorted(path for path, _ in sandbox.requests) == [
        f"/video/v2/cdr/period/{day}/{day}" for day in days_between(before(4), yesterday())
    ]


# Whoever launched a run


# Job, assets, and the first and last day, counted back from today.
LAUNCHES: dict[str, tuple[str, tuple[str, ...], tuple[int, int]]] = {
    "an asset, from the UI": ("__ASSET_JOB", ("period_cdr",), (2, 2)),
    "all assets, from the command line": ("__ASSET_JOB", ("period_cdr", *TABLES), (2, 2)),
    "a backfill": ("__ASSET_JOB", ("period_cdr", *TABLES), (3, 2)),
    "the daily job": ("daily_cdr", (), (2, 2)),
    "the daily job over a range": ("daily_cdr", (), (3, 2)),
    "some of the daily job": ("daily_cdr", ("period_cdr",), (3, 2)),
}


@pytest.mark.parametrize("launched", LAUNCHES)
def test_a_day_that_landed_is_complete_whoever_launched_the_run(
    locate: Locate, sandbox: Sandbox, launched: str
) -> None:
    # No day is fetched again together with the missing ones.
    environment = {**sandbox.environment, "CDR_START_DATE": str(before(4)), "CDR_SETTLING_DAYS": "0"}
    location = locate(environment)
    job, assets, (first, last) = LAUNCHES[launched]
    tags = partition_tags(before(first), before(last))
    result = location.definitions.resolve_job_def(job).execute_in_process(
        instance=location.instance,
        partition_key=tags.get("dagster/partition"),
        tags={name: day for name, day in tags.items() if name != "dagster/partition"},
        asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
    )
    assert result.success
    assert requested(location, "closed_days", noon()) == [days_between(before(4), before(first + 1)), [yesterday()]]


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
@pytest.mark.parametrize("launched", LAUNCHES)
def test_a_day_under_way_is_not_asked_for_whoever_launched_the_run(
    place: Callable[[int], Location], launched: str, status: DagsterRunStatus, put_in_flight: PutInFlight
) -> None:
    location = place(4)
    job, assets, (first, last) = LAUNCHES[launched]
    tags = partition_tags(before(first), before(last))
    put_in_flight(location, tags, job=job, assets=assets, status=status)
    assert requested(location, "closed_days", noon()) == [days_between(before(4), before(first + 1)), [yesterday()]]


@pytest.mark.lake
def test_a_rebuild_under_way_holds_its_days_and_other_jobs_hold_none(
    place: Callable[[int], Location], put_in_flight: PutInFlight
) -> None:
    location = place(3)
    put_in_flight(location, by_itself(before(2)), job="rebuild")
    put_in_flight(location, by_itself(before(3)), job="fetch_room")
    assert requested(location, "closed_days", noon()) == [[before(3)], [yesterday()]]


# Runs that failed


def test_a_failed_range_holds_up_the_day_it_failed_on_alone(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(6)
    for day in days_between(before(6), yesterday()):
        script.holds(day, record(str(day), day))
    script.answers_with(before(4), HTML)
    now = datetime.now(timezone.utc)
    assert not location.run(before(6), before(2)).success
    (run,) = location.instance.get_runs()
    assert run.tags["cdr_assets/failed_day"] == str(before(4))
    for when in (now, now + timedelta(minutes=14)):
        due = [day for day in days_between(before(3), yesterday()) if day < yesterday() or when.hour >= 1]
        assert requested(location, "closed_days", when) == [due]
    later = now + timedelta(minutes=16)
    assert requested(location, "closed_days", later)[0] == [before(4)]
    assert len(requested(location, "closed_days", later)) == 2


def test_a_run_that_could_not_say_where_it_failed_holds_up_all_its_days(
    place: Callable[[int], Location], put_in_flight: PutInFlight
) -> None:
    location = place(4)
    run = put_in_flight(location, as_a_range(before(4), before(3)))
    location.instance.report_run_failed(run)
    now = datetime.now(timezone.utc)
    assert [before(4)] not in requested(location, "closed_days", now)
    later = now + timedelta(minutes=16)
    assert requested(location, "closed_days", later)[:2] == [[before(4)], [before(3)]]


def test_a_fetch_that_failed_and_was_mended_holds_back_no_rebuild(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(3)
    for _ in range(3):
        script.answers_with(before(2), HTML)
        assert not location.run(before(2)).success
    script.holds(before(2), record("a", before(2)))
    assert location.run(before(2)).success
    drop_exports(location)
    assert requested(location, "landed_days") == [[before(2)]]
    (result,) = tick(location, "closed_days").asset_events
    assert result.metadata["waiting_days"].value == str(before(2)), "a state of its own"
    assert result.metadata["failed_days"].value == "none"


def test_a_rebuild_waits_for_failed_rebuilds_alone_until_one_succeeds(
    scripted_days: Callable[[int], Location], script: Script, put_in_flight: PutInFlight
) -> None:
    location = scripted_days(3)
    script.holds(before(2), record("a", before(2)))
    assert location.run(before(2)).success
    drop_exports(location)
    script.answers_with(before(2), HTML)
    assert not location.run(before(2)).success
    (request,) = tick(location, "landed_days").run_requests
    location.instance.report_run_failed(put_in_flight(location, by_itself(before(2)), job="rebuild"))
    assert "1 failed" in skipped(location, "landed_days")
    assert launch(location, "landed_days", request).success
    drop_exports(location)
    assert requested(location, "landed_days") == [[before(2)]]


def drop_exports(location: Location) -> None:
    """Deletes the copies of a table, so that its days are to be built again."""
    shutil.rmtree(location.data_dir / "published" / "room_usage")


def test_a_failure_that_a_wrong_clock_dates_in_the_future_holds_nothing_back(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(2)
    script.answers_with(before(2), HTML)
    with freeze_time(datetime.now(timezone.utc) + timedelta(days=2)):
        assert not location.run(before(2)).success
    assert before(2) in [day for run in requested(location, "closed_days") for day in run]


def test_a_day_that_fails_is_overdue_until_it_is_there(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    def executed() -> Any:
        return checks(run_checks(location))["no_day_is_overdue"]

    location = scripted_days(2)
    script.answers_with(before(2), HTML)
    assert not location.run(before(2)).success
    now = datetime.now(timezone.utc)
    first = tick(location, "closed_days", now)
    (result,) = first.asset_events
    assert not result.passed
    assert result.description.startswith(f"Overdue: {before(2)}. Next try: {before(2)} at ")
    assert result.metadata["overdue_days"].value == str(before(2))
    assert executed().metadata["overdue_days"].value == str(before(2))
    again = tick(location, "closed_days", now, first.cursor)
    assert again.asset_events == [], "nothing has changed"
    script.holds(before(1), record("b", before(1)))
    location.instance.report_runless_asset_event(result)
    assert not checks(location.run(before(1)))["no_day_is_overdue"].passed, "it stays red on the newest materialization"
    script.holds(before(2), record("a", before(2)))
    result = location.run(before(2))
    assert checks(result)["no_day_is_overdue"].passed
    assert "no_day_is_overdue" not in checks(location.run(before(2))), "it is green"
    mended = tick(location, "closed_days", now, again.cursor)
    (result,) = mended.asset_events
    assert result.passed
    assert result.metadata["complete_days"].value >= 1
    assert executed().passed


@pytest.mark.parametrize(("status", "error"), [(401, "BadCredentials"), (403, "Forbidden")])
def test_a_refused_account_stops_every_request_for_an_hour(
    place: Callable[[int], Location], sandbox: Sandbox, status: int, error: str
) -> None:
    location = place(9)
    sandbox.faults.fail_status, sandbox.faults.fail_times = status, 1
    assert not location.run(before(9)).success
    now = datetime.now(timezone.utc)
    reason = skipped(location, "closed_days", now)
    assert reason.startswith("EnableX refused the account at ")
    assert f"({error}): nothing is requested until " in reason
    assert "Check ENABLEX_APP_ID, ENABLEX_APP_KEY" in reason
    assert "restarted with other credentials" in reason
    assert skipped(location, "settling_days", now) == reason
    later = now + timedelta(minutes=61)
    # The day is as good as any other: it goes with its neighbours.
    assert requested(location, "closed_days", later)[0][:2] == [before(9), before(8)]


@pytest.mark.parametrize("mended", ["ENABLEX_APP_ID", "ENABLEX_APP_KEY"])
def test_with_other_credentials_requests_go_on_at_once(locate: Locate, sandbox: Sandbox, mended: str) -> None:
    environment = {**sandbox.environment, "CDR_START_DATE": str(before(9)), mended: "mistyped"}
    location = locate(environment)
    assert not location.run(before(9)).success
    now = datetime.now(timezone.utc)
    assert "(BadCredentials)" in skipped(location, "closed_days", now)
    other = locate({**environment, **sandbox.environment}, location.data_dir)
    other = Location(other.definitions, location.instance, location.data_dir)
    assert requested(other, "closed_days", now)[0][:2] == [before(9), before(8)]


def test_credentials_that_were_missing_and_are_set_now_end_the_rest(locate: Locate, sandbox: Sandbox) -> None:
    environment = {"ENABLEX_BASE_URL": sandbox.base_url, "CDR_START_DATE": str(before(9))}
    location = locate(environment)
    assert not location.run(before(9)).success
    said = skipped(location, "closed_days", datetime.now(timezone.utc))
    assert said.startswith("A setting is missing or wrong, as a run found at ")
    assert "refused" not in said
    other = locate({**environment, **sandbox.environment}, location.data_dir)
    other = Location(other.definitions, location.instance, location.data_dir)
    assert requested(other, "closed_days", datetime.now(timezone.utc))[0][0] == before(9)


def fetch_with_success(location: Location, script: Script, fetch: str) -> None:
    """Fetches a day with a record, or else a conference without any."""
    if fetch == "a day":
        script.holds(before(5), record("a", before(5)))
        assert location.run(before(5), assets=["period_cdr"]).success
    else:
        # Nothing is materialized, since nothing came.
        script.answers["/cdr/conf/c"] = answer(b'{"result": 0, "cdr": []}')
        config = {"ops": {"fetch_conference": {"config": {"conf_num": "c"}}}}
        job = location.definitions.resolve_job_def("fetch_conference")
        assert job.execute_in_process(run_config=config, instance=location.instance).success


@pytest.mark.parametrize("fetch", ["a day", "a conference"])
def test_a_fetch_that_succeeds_after_a_refusal_ends_the_rest(
    scripted_days: Callable[[int], Location], script: Script, fetch: str
) -> None:
    location = scripted_days(9)
    script.answers_with(before(9), answer(b"", status=403))
    assert not location.run(before(9)).success
    now = datetime.now(timezone.utc)
    assert "(Forbidden)" in skipped(location, "closed_days", now)
    fetch_with_success(location, script, fetch)
    assert requested(location, "closed_days", now)[0][:2] == [before(9), before(8)]


def test_no_tag_of_a_refused_run_tells_the_key(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(before(9))})
    script.answers_with(before(9), answer(b"", status=401))
    tags = []
    for _ in range(2):
        assert not location.run(before(9)).success
        tags.append(location.instance.get_runs(limit=1)[0].tags)
    assert script.app_key not in str(tags)
    fingerprints = [each["cdr_assets/refused_credentials"] for each in tags]
    # Salted, so that the same key is not known by its tag.
    assert fingerprints[0] != fingerprints[1]


def test_an_error_about_one_day_stops_no_other(place: Callable[[int], Location], sandbox: Sandbox) -> None:
    location = place(9)
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    assert not location.run(before(9)).success
    assert requested(location, "closed_days", datetime.now(timezone.utc))[0][0] == before(8)


def test_while_enablex_is_down_one_day_is_tried_at_a_time_and_then_everything_goes_on(
    locate: Locate, script: Script
) -> None:
    days = days_between(before(4), yesterday())
    location = locate({**script.environment, "CDR_START_DATE": str(days[0]), "CDR_SETTLE_MINUTES": "0"})
    for day in days:
        script.answers_with(day, DOWN)
    tried = []
    for minutes in (0, 6, 6, 6):
        now = datetime.now(timezone.utc) + timedelta(minutes=minutes)
        (request,) = tick(location, "closed_days", now).run_requests
        assert not launch(location, "closed_days", request).success
        tried.append(days_of(request)[0])
        now = datetime.now(timezone.utc) + timedelta(minutes=4)
        assert "EnableX has been unavailable since " in skipped(location, "closed_days", now)
    assert tried == days
    assert script.paths == [f"/cdr/period/{day}/{day}" for day in days]
    assert location.instance.get_runs(limit=1)[0].tags["cdr_assets/unavailable"] == "HTTP 500"
    for day in days:
        script.holds(day, record(str(day), day))
    (request,) = tick(location, "closed_days", datetime.now(timezone.utc) + timedelta(minutes=6)).run_requests
    assert launch(location, "closed_days", request).success
    assert skipped(location, "closed_days").startswith(f"days to {yesterday()} are complete")


def test_after_an_outage_its_failures_do_not_count(locate: Locate, script: Script) -> None:
    days = days_between(before(4), yesterday())
    location = locate({**script.environment, "CDR_START_DATE": str(days[0]), "CDR_SETTLE_MINUTES": "0"})
    for day in days[:3]:
        script.answers_with(day, DOWN)
        assert not location.run(day).success
    assert "(HTTP 500, 3 days in a row)" in skipped(location, "closed_days")
    script.holds(yesterday(), record("a", yesterday()))
    assert location.run(yesterday(), assets=["period_cdr"]).success
    assert requested(location, "closed_days") == [days[:3]]
    assert requested(location, "landed_days", noon() + DAY) == [[yesterday()]]


@pytest.mark.parametrize("fetch", ["a day", "a conference"])
def test_a_fetch_that_succeeds_shows_that_it_was_the_day(
    scripted_days: Callable[[int], Location], script: Script, fetch: str
) -> None:
    location = scripted_days(9)
    script.answers_with(before(9), DOWN)
    assert not location.run(before(9)).success
    now = datetime.now(timezone.utc)
    assert "(HTTP 500, 1 day in a row)" in skipped(location, "closed_days", now)
    fetch_with_success(location, script, fetch)
    assert requested(location, "closed_days", now)[0][0] == before(8)
    later = now + timedelta(minutes=16)
    assert requested(location, "closed_days", later)[0] == [before(9)]


# The landing zone and the tables


@pytest.mark.usefixtures("since_noon")
def test_the_first_fetch_of_a_day_takes_along_the_days_that_are_due_again(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(2)
    days = [before(2), yesterday(), today()]
    for day in days:
        script.holds(day, record(str(day), day))
    assert location.run(before(2), yesterday(), sent_at=noon()).success
    tomorrow = midnight(today() + DAY) + timedelta(minutes=65)
    assert skipped(location, "settling_days", tomorrow) == (
        f"2 days settling, to be fetched together with {today()} by closed_days"
    )
    assert requested(location, "closed_days", tomorrow) == [days]


@pytest.mark.lake
def test_a_day_that_spilled_records_is_built_by_the_run_that_fetches_it(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(2)
    script.holds(yesterday(), record("a", yesterday()), record("b", today()))
    assert location.run(yesterday()).success
    tomorrow = midnight(today() + DAY)
    for minutes in (1, 61, 89):
        assert skipped(location, "landed_days", tomorrow + timedelta(minutes=minutes)).startswith("the tables hold")
    assert requested(location, "landed_days", tomorrow + timedelta(minutes=90)) == [[today()]]


@pytest.mark.usefixtures("since_noon")
def test_a_day_whose_landing_folder_is_deleted_is_due_again(place: Callable[[int], Location]) -> None:
    location = place(3)
    assert location.run(before(3), yesterday(), sent_at=noon()).success
    remove_a_day(location)
    late = noon() + 7 * HOUR
    assert requested(location, "closed_days", late) == [[before(2)]]
    assert requested(location, "settling_days", late) == [[before(3)], [yesterday()]]
    (request,) = tick(location, "closed_days", late).run_requests
    assert launch(location, "closed_days", request, late).success
    assert skipped(location, "closed_days", late).startswith(f"days to {yesterday()} are complete")


@pytest.mark.lake
@pytest.mark.usefixtures("since_noon")
def test_settling_days_are_fetched_again_and_those_that_changed_are_built_in_the_same_run(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(2)
    for day in (before(2), yesterday()):
        script.holds(day, record(f"a-{day}", day))
    assert location.run(before(2), yesterday(), sent_at=noon()).success
    assert skipped(location, "landed_days") == "the tables hold everything that landed, 2 days"
    script.holds(yesterday(), record(f"a-{yesterday()}", yesterday()), record("late", yesterday()))

    (request,) = tick(location, "settling_days", noon() + 7 * HOUR).run_requests
    assert days_of(request) == [before(2), yesterday()]
    assert launch(location, "settling_days", request, noon() + 7 * HOUR).success
    assert location.metadata("period_cdr", yesterday())["answer"] == "1 new, 0 changed"
    assert location.metadata("room_usage", yesterday())["build"] == "built"
    assert location.metadata("period_cdr", before(2))["answer"] == "nothing new"
    assert location.metadata("room_usage", before(2))["build"] == "current, not built again"
    records = [record(f"a-{day}", day) for day in (before(2), yesterday())]
    assert_exact(location.places, [*records, record("late", yesterday())])
    assert skipped(location, "landed_days") == "the tables hold everything that landed, 2 days"


@pytest.mark.parametrize(
    ("new_records", "unchanged"),
    [
        ([0], 1),
        ([1], 0),
        ([1, 0, 0], 2),
        ([0, 0, 1], 0),
        ([0, 1, 0, 0, 0], 3),
        ([1, 0, 0, 0, 0, 0], MAX_UNCHANGED_RESPONSES),
    ],
)
def test_responses_that_brought_nothing_count_since_the_last_that_did(
    place: Callable[[int], Location], new_records: list[int], unchanged: int
) -> None:
    instance = place(2).instance
    for number in new_records:
        metadata = {"new_records": number, "changed_records": 0}
        answered = dg.AssetMaterialization("period_cdr", partition=str(yesterday()), metadata=metadata)
        instance.report_runless_asset_event(answered)
    responses = run_history.responses(instance, [before(2), yesterday()])
    assert {day: each.unchanged for day, each in responses.items()} == {yesterday(): unchanged}


@pytest.mark.usefixtures("since_noon")
def test_the_many_answers_of_one_day_do_not_hide_those_of_another(place: Callable[[int], Location]) -> None:
    location = place(2)
    assert location.run(before(2), sent_at=noon()).success
    assert location.run(yesterday(), sent_at=noon()).success
    metadata: dict[str, Any] = {"new_records": 1, "asked_at": dg.MetadataValue.timestamp(noon())}
    for _ in range(30):
        answered = dg.AssetMaterialization("period_cdr", partition=str(yesterday()), metadata=metadata)
        location.instance.report_runless_asset_event(answered)
    assert requested(location, "settling_days", noon() + 7 * HOUR) == [[before(2), yesterday()]]


def test_the_tables_of_days_to_come_or_before_the_start_are_not_built(
    place: Callable[[int], Location],
) -> None:
    location = place(2)
    assert location.run(yesterday()).success
    zone = LandingZone(location.places)
    (landed,) = zone.files(yesterday())
    for day in (before(3), today(), today() + DAY):
        put(zone, name_in(day, landed.path.name), content_of(landed))
    assert requested(location, "landed_days", noon()) == [[today()]]


def age_everything(location: Location) -> None:
    """Makes the data folder look as if nothing had changed for a minute."""
    # The build log knows the times of the exports.
    kept = set(location.data_dir.rglob("*.parquet"))
    paths = [path for path in location.data_dir.rglob("*") if path not in kept]
    for path in paths:
        os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))
    # It is copied again, since the warehouse has another time than before.
    tick(location, "landed_days")
    for path in [*location.data_dir.iterdir(), *(location.data_dir / "built").iterdir()]:
        if path != location.places.file:
            os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))


def quick_tick(location: Location, sensor: str, cursor: str) -> Any:
    """A tick that has neither Dagster's instance nor a resource at hand."""
    with dg.build_sensor_context(cursor=cursor) as context:
        return location.definitions.resolve_sensor_def(sensor).evaluate_tick(context)


def land_a_record(location: Location, script: Script) -> None:
    script.holds(before(2), record("late", before(2)))
    assert location.run(before(2), assets=["period_cdr"]).success


def remove_a_day(location: Location, _: Script | None = None) -> None:
    remove_day(LandingZone(location.places), before(2))


def remove_warehouse(location: Location, _: Script) -> None:
    location.places.file.unlink()


def touch_warehouse(location: Location, _: Script) -> None:
    location.places.file.touch()


def remove_an_export(location: Location, _: Script) -> None:
    next((location.data_dir / "published" / "room_usage").iterdir()).unlink()


def begin_a_run(location: Location, _: Script) -> None:
    (location.data_dir / "runs" / "a.lock").touch()


def with_three_days(location: Location, script: Script) -> Location:
    for day in days_between(before(3), yesterday()):
        script.holds(day, record(str(day), day))
    assert location.run(before(3), yesterday()).success
    return location


@pytest.mark.parametrize(
    "change", [land_a_record, remove_a_day, remove_warehouse, touch_warehouse, remove_an_export, begin_a_run]
)
def test_a_tick_on_folders_that_did_not_change_asks_dagster_nothing(
    scripted_days: Callable[[int], Location], script: Script, change: Callable[[Location, Script], None]
) -> None:
    location = with_three_days(scripted_days(3), script)
    # What changed just now may change again within the same moment. A slow machine is not past it before the tick.
    day, changed_at = next((location.data_dir / "landing").glob("usage_date=*")), time.time()
    os.utime(day, (changed_at, changed_at + PATIENCE_S))
    assert not tick(location, "landed_days").cursor
    os.utime(day, (changed_at, changed_at))
    age_everything(location)
    quiet = tick(location, "landed_days")
    for _ in range(2):
        again = quick_tick(location, "landed_days", quiet.cursor)
        assert again.skip_message == quiet.skip_message == "the tables hold everything that landed, 3 days"
    change(location, script)
    with pytest.raises(Exception, match=r"resource|instance"):
        quick_tick(location, "landed_days", quiet.cursor)
    with_cursor = tick(location, "landed_days", cursor=quiet.cursor)
    assert [days_of(request) for request in with_cursor.run_requests] == requested(location, "landed_days")


def test_a_tick_with_something_to_do_leaves_no_cursor(scripted_days: Callable[[int], Location], script: Script) -> None:
    location = with_three_days(scripted_days(3), script)
    land_a_record(location, script)
    age_everything(location)
    result = tick(location, "landed_days")
    assert [days_of(request) for request in result.run_requests] == [[before(2)]]
    assert not result.cursor


@pytest.mark.parametrize("cursor", ["nonsense", "{}", "[1]", '{"reason": "", "state": "", "when": "never"}'])
def test_a_cursor_of_others_stops_no_sensor(place: Callable[[int], Location], cursor: str) -> None:
    location = place(3)
    assert tick(location, "landed_days", cursor=cursor).skip_message == "the tables hold everything that landed, 0 days"


def test_without_the_warehouse_every_day_is_built_again(place: Callable[[int], Location]) -> None:
    location = place(3)
    assert location.run(before(3), yesterday()).success
    location.places.file.unlink()
    assert requested(location, "landed_days", noon()) == [days_between(before(3), yesterday())]


# What must never stop a sensor


@pytest.mark.parametrize("data_dir", ["missing", "empty", "a file"])
def test_nothing_on_disk_stops_no_sensor(locate: Locate, sandbox: Sandbox, data_dir: str) -> None:
    location = locate({**sandbox.environment, "CDR_START_DATE": str(before(2))})
    if data_dir == "empty":
        location.data_dir.mkdir()
    if data_dir == "a file":
        location.data_dir.touch()
    assert requested(location, "closed_days", noon()) == [[before(2), yesterday()]]
    assert skipped(location, "settling_days", noon()) == "no day that closed lately has been fetched yet"
    assert skipped(location, "landed_days", noon()) == "the tables hold everything that landed, 0 days"


@pytest.mark.parametrize(
    "path",
    [
        "landing/usage_date=2026-13-45/a.ndjson.zst",
        "landing/usage_date=unknown/a.ndjson.zst",
        "landing/usage_date=/a.ndjson.zst",
        "landing/usage_date=2026-11-02x/a.ndjson.zst",
        "landing/usage_date={day}",
        "landing/notes.txt",
        "landing/.staging-left/usage_date=2026-11-02/a.ndjson.zst",
        "landing",
        "built/call_detail_records/notes.txt",
        "built/call_detail_records/2026-13-45.0123456789abcdef",
        "built/room_usage/.nothing",
        "built/conference_usage/2026-11-02.a/b",
        "built/other_table/2026-11-02.a",
        "built/room_usage",
        "built",
    ],
)
def test_what_others_leave_on_disk_stops_no_sensor(place: Callable[[int], Location], path: str) -> None:
    location = place(2)
    path = path.format(day=before(2))
    location.data_dir.mkdir()
    (location.data_dir / "cdr.duckdb").touch()
    (location.data_dir / path).parent.mkdir(parents=True, exist_ok=True)
    (location.data_dir / path).write_text("not ours")
    assert requested(location, "closed_days", noon()) == [[before(2), yesterday()]]
    assert skipped(location, "settling_days", noon()) == "no day that closed lately has been fetched yet"
    assert skipped(location, "landed_days", noon()) == "the tables hold everything that landed, 0 days"


def test_what_others_tell_dagster_stops_no_sensor(place: Callable[[int], Location], put_in_flight: PutInFlight) -> None:
    location = place(2)
    for partition in ("tomorrow", str(before(2)), None):
        location.instance.report_runless_asset_event(dg.AssetMaterialization("period_cdr", partition=partition))
    put_in_flight(location, as_a_range(date(2039, 1, 1), date(2039, 1, 9)))
    location.instance.report_run_failed(put_in_flight(location, {"cdr_assets/failed_day": "some day"}))
    shutil.rmtree(location.data_dir, ignore_errors=True)
    assert requested(location, "closed_days", noon()) == [[before(2), yesterday()]]
    assert skipped(location, "settling_days", noon()) == "no day that closed lately has been fetched yet"
    assert skipped(location, "landed_days", noon()) == "the tables hold everything that landed, 0 days"


# Two ticks at once


def test_two_ticks_that_see_the_same_ask_by_the_same_key(place: Callable[[int], Location]) -> None:
    location = place(40)
    keys = [request.run_key for request in tick(location, "closed_days").run_requests]
    assert len(set(keys)) == len(keys) > 1
    assert [request.run_key for request in tick(location, "closed_days").run_requests] == keys


def test_a_day_asked_for_again_later_has_another_key(place: Callable[[int], Location], sandbox: Sandbox) -> None:
    location = place(1)
    (first,) = tick(location, "closed_days", noon()).run_requests
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    assert not launch(location, "closed_days", first).success
    later = datetime.now(timezone.utc) + HOUR
    again = {request.run_key: days_of(request) for request in tick(location, "closed_days", later).run_requests}
    assert [yesterday()] in again.values()
    assert first.run_key not in again


def test_the_sensors_run_by_themselves_as_often_as_set(locate: Locate, sandbox: Sandbox) -> None:
    usual = locate(sandbox.environment).definitions
    for name, seconds in zip(SENSORS, (600, 600, 600, 60), strict=True):
        sensor = usual.resolve_sensor_def(name)
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == seconds
    for name in ("failed_runs", "old_runs"):
        assert usual.resolve_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING
    hasty = locate({**sandbox.environment, "CDR_TICK_SECONDS": "5"}).definitions
    assert {hasty.resolve_sensor_def(name).minimum_interval_seconds for name in SENSORS} == {5}
    every_minute = locate({**sandbox.environment, "CDR_OPEN_DAY_MINUTES": "1"}).definitions
    assert every_minute.resolve_sensor_def("open_day").minimum_interval_seconds == 60


# Alerts


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    with listening(webhook):
        yield webhook


def nobody_listens() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/services/{SECRET}"


def alerted(location: Location, fail: Callable[[], dg.ExecuteInProcessResult]) -> dg.ExecuteInProcessResult:
    """Lets a run fail between two ticks of the sensor; the second one sees it, and a third has nothing to do."""
    cursor = tick(location, "failed_runs").cursor
    result = fail()
    assert not result.success
    cursor = tick(location, "failed_runs", cursor=cursor).cursor
    tick(location, "failed_runs", cursor=cursor)
    return result


def test_a_failed_run_is_posted_with_its_days_its_reason_and_a_link(
    locate: Locate, script: Script, webhook: Webhook
) -> None:
    environment = {"CDR_ALERT_WEBHOOK_URL": webhook.url, "CDR_UI_URL": "https://dagster.example/"}
    location = locate({**script.environment, **environment})
    days = [before(4), before(3), before(2)]
    for day in days:
        script.holds(day, record(str(day), day))
    script.answers_with(before(3), HTML)
    result = alerted(location, lambda: location.run(days[0], days[-1]))
    ((path, content_type, body),) = webhook.posts
    assert path == f"/services/{SECRET}"
    assert content_type == "application/json"
    assert list(body) == ["text"]
    lines = body["text"].splitlines()
    assert lines[0] == f"app-id: daily_cdr failed on {before(4)}...{before(2)}", "the project and the days"
    assert f"GET /cdr/period/{before(3)}/{before(3)}" in lines[1]
    assert f"Days done: {before(4)}. Days left: {before(3)}...{before(2)}." in lines
    assert lines[-1] == f"https://dagster.example/runs/{result.run_id}"


def test_a_failed_asset_run_is_posted_with_its_assets(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    result = alerted(location, lambda: location.run(yesterday(), assets=["period_cdr", "call_detail_records"]))
    text = webhook.posts[0][2]["text"]
    assert text.splitlines()[0].endswith(f": call_detail_records, period_cdr failed on {yesterday()}")
    assert "404: NOT_FOUND: As the sandbox's faults ask" in text
    assert text.endswith(f"http://localhost:3000/runs/{result.run_id}")


def test_a_failed_blocking_check_is_posted(locate: Locate, script: Script, webhook: Webhook) -> None:
    location = locate({**script.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    script.holds(yesterday(), *(record(str(number), yesterday()) for number in range(61)))
    assert location.run(yesterday(), assets=["period_cdr", "call_detail_records"]).success
    lengthen(location.places)
    alerted(location, lambda: location.run(yesterday(), assets=["room_usage"]))
    text = webhook.posts[0][2]["text"]
    assert f"room_usage_adds_up fails on {yesterday()}" in text


def test_a_failed_job_on_demand_is_posted_without_days(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    job = location.definitions.resolve_job_def("fetch_room")
    config = {"ops": {"fetch_room": {"config": {"room_id": "nowhere"}}}}
    alerted(
        location,
        lambda: job.execute_in_process(run_config=config, instance=location.instance, raise_on_error=False),
    )
    lines = webhook.posts[0][2]["text"].splitlines()
    assert lines[0].endswith(": fetch_room failed")
    assert "No room 'nowhere'" in lines[1]


@pytest.mark.parametrize("trouble", ["none", "500", "nobody listens", "no URL at all"])
def test_the_webhooks_url_is_never_said(
    locate: Locate,
    sandbox: Sandbox,
    webhook: Webhook,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    caplog.set_level(logging.INFO)
    if trouble == "500":
        webhook.status = 500
    url = {"nobody listens": nobody_listens(), "no URL at all": SECRET}.get(trouble, webhook.url)
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": url})
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    result = alerted(location, lambda: location.run(yesterday()))
    out, err = capfd.readouterr()
    said = out + err + caplog.text
    outcome = {"none": "is delivered", "500": "is tried again: webhook answered 500"}
    expected = outcome.get(trouble, "is tried again: webhook could not be reached")
    assert f"The alert about {result.run_id} {expected}" in said
    said += "".join(dg.serialize_value(event) for event in location.instance.all_logs(result.run_id))
    assert SECRET not in said
    assert "nobody-may-read-this" not in said
    assert len(webhook.posts) == (trouble in ("none", "500"))


def test_nothing_is_posted_when_no_webhook_is_set(
    locate: Locate, sandbox: Sandbox, webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": ""})
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    alerted(location, lambda: location.run(yesterday()))
    assert webhook.posts == []
    assert "The alert about" not in "".join(capfd.readouterr())


def test_a_run_that_succeeds_alerts_nobody(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    assert location.run(yesterday()).success
    assert tick(location, "failed_runs", cursor=cursor).skip_message == "every failed run and every finding is reported"
    assert webhook.posts == []


def test_without_a_webhook_a_tick_asks_dagster_nothing_and_is_made_once_an_hour(
    locate: Locate, sandbox: Sandbox, webhook: Webhook
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": ""})
    assert (
        quick_tick(location, "failed_runs", "").skip_message
        == "neither CDR_ALERT_URLS nor CDR_ALERT_WEBHOOK_URL is set"
    )
    assert location.definitions.resolve_sensor_def("failed_runs").minimum_interval_seconds == 3600
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    assert location.definitions.resolve_sensor_def("failed_runs").minimum_interval_seconds == 60


def test_the_instance_is_kept_from_tick_to_tick(tmp_path: Path) -> None:
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        contexts = [dg.SensorEvaluationContext(instance.get_ref(), None, None, None, None) for _ in range(2)]
        first, second = map(sensors.kept_instance, contexts)
        assert first is second
        assert first.root_directory == str(tmp_path)
    with dg.DagsterInstance.ephemeral() as other, dg.build_sensor_context(instance=other) as context:
        assert sensors.kept_instance(context) is other


def test_an_alert_is_tried_again_until_the_webhook_takes_it(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 2
    runs = [location.run(yesterday()).run_id, location.run(before(2)).run_id]
    webhook.status = 500
    posts = []
    # Waits of 1, 2, 4 and 8 minutes.
    for minutes in (0, 0.5, 1, 2.5, 3, 7, 14):
        result = tick(location, "failed_runs", present() + timedelta(minutes=minutes), cursor)
        cursor = result.cursor
        assert result.skip_message.startswith("2 alerts are not delivered; the next try is at ")
        posts.append(len(webhook.posts))
    assert posts == [2, 2, 4, 4, 6, 8, 8]
    webhook.status = 204
    result = tick(location, "failed_runs", present() + timedelta(minutes=15), cursor)
    assert result.skip_message == "every failed run and every finding is reported"
    delivered = [body["text"].rpartition("/")[2] for _, _, body in webhook.posts[-2:]]
    assert delivered == runs
    tick(location, "failed_runs", present() + DAY, result.cursor)
    assert len(webhook.posts) == 10


def test_a_webhook_that_is_down_is_tried_once_a_tick_and_gets_every_alert_when_it_is_back(
    locate: Locate, sandbox: Sandbox, webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    down = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": nobody_listens()})
    cursor = tick(down, "failed_runs").cursor
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 3
    runs = [down.run(before(days)).run_id for days in (3, 2, 1)]
    capfd.readouterr()
    cursor = tick(down, "failed_runs", cursor=cursor).cursor
    assert "".join(capfd.readouterr()).count("webhook could not be reached") == 1
    back = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url}, down.data_dir)
    back = Location(back.definitions, down.instance, down.data_dir)
    tick(back, "failed_runs", present() + timedelta(minutes=2), cursor)
    assert sorted(body["text"].rpartition("/")[2] for _, _, body in webhook.posts) == sorted(runs)


def test_an_alert_that_nobody_takes_for_three_days_is_dropped_loudly(
    locate: Locate, sandbox: Sandbox, webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    run = location.run(yesterday()).run_id
    webhook.status = 404
    for hours in (0, 71, 73):
        result = tick(location, "failed_runs", present() + hours * HOUR, cursor)
        cursor = result.cursor
    assert len(webhook.posts) == 3
    said = "".join(capfd.readouterr())
    assert f"ERROR - The alert about {run} is dropped, for 3 days: webhook answered 404" in said
    assert result.skip_message == "every failed run and every finding is reported"


def test_an_alert_about_a_run_that_was_deleted_is_posted_too(
    locate: Locate, sandbox: Sandbox, webhook: Webhook
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    run = location.run(yesterday()).run_id
    webhook.status = 503
    cursor = tick(location, "failed_runs", cursor=cursor).cursor
    location.instance.delete_run(run)
    webhook.status = 200
    tick(location, "failed_runs", present() + HOUR, cursor)
    assert texts(webhook)[-1] == f"A run failed and was deleted since: {run}"


def test_runs_that_failed_before_the_webhook_was_set_are_not_posted(
    locate: Locate, sandbox: Sandbox, webhook: Webhook
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": ""})
    cursor = tick(location, "failed_runs").cursor
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    assert not location.run(yesterday()).success
    cursor = tick(location, "failed_runs", cursor=cursor).cursor
    with_webhook = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url}, location.data_dir)
    with_webhook = Location(with_webhook.definitions, location.instance, location.data_dir)
    tick(with_webhook, "failed_runs", cursor=cursor)
    assert webhook.posts == []


def test_the_cursor_of_the_sensor_before_goes_on_where_it_was(
    locate: Locate, sandbox: Sandbox, webhook: Webhook
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    # As Dagster's own failure sensors write it.
    cursor = (
        '{"__class__": "RunStatusSensorCursor", "record_id": -1, "record_timestamp": null, "update_timestamp": null}'
    )
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    assert not location.run(yesterday()).success
    tick(location, "failed_runs", cursor=cursor)
    assert len(webhook.posts) == 1


def texts(webhook: Webhook) -> list[str]:
    """The first line of each alert so far, without the project."""
    return [body["text"].partition("\n")[0].partition(": ")[2] for _, _, body in webhook.posts]


def test_a_finding_is_reported_once_and_a_further_day_with_the_number_of_the_others(
    locate: Locate, script: Script, webhook: Webhook
) -> None:
    environment = {"CDR_ALERT_WEBHOOK_URL": webhook.url, "CDR_UI_URL": "https://dagster.example"}
    location = locate({**script.environment, **environment})
    cursor = tick(location, "failed_runs").cursor
    said = []
    for day, sip in ((before(3), "perhaps"), (before(2), "perhaps"), (before(3), None), (before(3), "never")):
        script.holds(day, record(str(day), day, sip=sip))
        assert location.run(day).success
        for _ in range(2):
            cursor = tick(location, "failed_runs", cursor=cursor).cursor
        said.append(texts(webhook))
    check = "no_field_was_lost_to_its_type fails on"
    expected = [f"{check} {before(3)}", f"{check} {before(2)} (1 more open)"]
    assert said == [expected[:1], expected, expected, [*expected, f"{check} {before(3)} (1 more open)"]]
    lines = webhook.posts[0][2]["text"].splitlines()
    assert lines[1].startswith(f"1 on {before(3)}.")
    assert lines[2].startswith("The field is NULL in the table")
    assert lines[3] == (
        "https://dagster.example/assets/call_detail_records?view=checks&checkDetail=no_field_was_lost_to_its_type"
    )


def test_an_overdue_day_is_reported_and_that_it_no_longer_is(locate: Locate, script: Script, webhook: Webhook) -> None:
    def say() -> None:
        # The daemon records the result of the check after the tick.
        for result in tick(location, "closed_days").asset_events:
            location.instance.report_runless_asset_event(result)

    environment = {"CDR_ALERT_WEBHOOK_URL": webhook.url, "CDR_START_DATE": str(before(2))}
    location = locate({**script.environment, **environment})
    script.answers_with(before(2), HTML)
    assert not location.run(before(2)).success
    cursor = tick(location, "failed_runs").cursor
    for _ in range(2):
        say()
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    assert texts(webhook) == [f"no_day_is_overdue fails on {before(2)}"]
    assert f"Overdue: {before(2)}. Next try: {before(2)} at " in webhook.posts[0][2]["text"]
    script.holds(before(2), record("a", before(2)))
    assert location.run(before(2)).success
    for _ in range(2):
        say()
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    assert texts(webhook)[1:] == ["No day is overdue any more"], "it failed before the first tick"


def test_of_an_outage_the_first_failed_run_is_reported(locate: Locate, script: Script, webhook: Webhook) -> None:
    location = locate({**script.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    days = [before(4), before(3), before(2)]
    for day in days:
        script.answers_with(day, DOWN)
        assert not location.run(day).success
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    assert texts(webhook) == [f"daily_cdr failed on {days[0]}"]
    script.holds(days[0])
    assert location.run(days[0]).success
    assert not location.run(days[1]).success
    tick(location, "failed_runs", present() + HOUR, cursor)
    assert texts(webhook)[1:] == ["EnableX answers again", f"daily_cdr failed on {days[1]}"]


def test_a_failed_run_is_mended_when_its_days_have_succeeded(locate: Locate, script: Script, webhook: Webhook) -> None:
    location = locate({**script.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    days = [before(4), before(3), before(2)]
    for day in days:
        script.holds(day, record(str(day), day))
    script.answers_with(before(3), HTML)
    for _ in range(2):
        assert not location.run(days[0], days[-1]).success
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    script.holds(before(3), record("a", before(3)))
    for day in (before(3), before(2)):
        assert len(texts(webhook)) == 2
        assert location.run(day).success
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    tick(location, "failed_runs", present() + HOUR, cursor)
    assert texts(webhook)[2:] == [f"Mended: daily_cdr on {before(4)}...{before(2)}"]


@pytest.mark.parametrize(
    ("job", "config"),
    [
        ("fetch_room", {"room_id": " "}),
        ("fetch_room", {"room_id": "r", "from_date": "2026-11-31", "to_date": "2026-12-01"}),
        ("fetch_conference", {"conf_num": ""}),
        ("acknowledge", {"check": "no_such_check", "first_day": "2026-11-01", "note": "fine"}),
        ("acknowledge", {"check": "routes_agree", "first_day": "1 November", "note": "fine"}),
    ],
)
def test_a_mistake_of_a_person_who_launched_a_run_is_no_alert(
    locate: Locate, sandbox: Sandbox, webhook: Webhook, job: str, config: dict[str, str]
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    alerted(
        location,
        lambda: location.definitions.resolve_job_def(job).execute_in_process(
            run_config={"ops": {job: {"config": config}}}, instance=location.instance, raise_on_error=False
        ),
    )
    assert webhook.posts == []


def test_a_run_of_every_asset_is_named_by_its_job(locate: Locate, script: Script, webhook: Webhook) -> None:
    location = locate({**script.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    script.answers_with(yesterday(), HTML)
    alerted(location, lambda: location.run(yesterday(), assets=["period_cdr", *TABLES]))
    assert texts(webhook) == [f"daily_cdr failed on {yesterday()}"]


def test_each_channel_gets_an_alert_once_though_another_does_not_take_it(
    locate: Locate, sandbox: Sandbox, webhook: Webhook
) -> None:
    other = Webhook(status=500)
    with listening(other):
        service = other.url.replace("http://", "json://")
        environment = {"CDR_ALERT_WEBHOOK_URL": webhook.url, "CDR_ALERT_URLS": service}
        location = locate({**sandbox.environment, **environment})
        cursor = tick(location, "failed_runs").cursor
        sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
        run = location.run(yesterday()).run_id
        for minutes in (0, 2):
            result = tick(location, "failed_runs", present() + timedelta(minutes=minutes), cursor)
            cursor = result.cursor
            assert result.skip_message.startswith("1 alerts are not delivered")
        assert len(webhook.posts) == 1
        other.status, tried = 200, len(other.posts)
        tick(location, "failed_runs", present() + HOUR, cursor)
        assert (len(webhook.posts), len(other.posts)) == (1, tried + 1)
    body = other.posts[-1][2]
    assert body["title"].partition(": ")[2] == f"daily_cdr failed on {yesterday()}"
    assert body["message"].endswith(f"/runs/{run}")


# To an address that urllib3 cannot parse: requests passes its error on as it is.
REDIRECTED = answer(b"", status=302, headers={"Location": "http://.example"})


@pytest.mark.parametrize("trouble", ["a redirect", "no service"])
def test_a_channel_that_raises_stops_no_other_and_nobody_gets_an_alert_twice(
    locate: Locate, sandbox: Sandbox, webhook: Webhook, capfd: pytest.CaptureFixture[str], trouble: str
) -> None:
    with serving(REDIRECTED) as server:
        first = server.url if trouble == "a redirect" else ""
        other = f" nowhere://{SECRET}" if trouble == "no service" else ""
        service = webhook.url.replace("http://", "json://")
        urls = {"CDR_ALERT_WEBHOOK_URL": first, "CDR_ALERT_URLS": f"{other} {service}"}
        location = locate({**sandbox.environment, **urls})
        cursor = tick(location, "failed_runs").cursor
        sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
        assert not location.run(yesterday()).success
        for minutes in (0, 2):
            cursor = tick(location, "failed_runs", present() + timedelta(minutes=minutes), cursor).cursor
        assert len(webhook.posts) == 1
    said = "".join(capfd.readouterr())
    assert ("webhook could not be reached" if first else "URL 1 of CDR_ALERT_URLS is none that") in said
    assert SECRET not in said
