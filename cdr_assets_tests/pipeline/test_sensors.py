"""Real ticks of the sensors: real runs on a real instance, real files, and a clock that stands still."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus

from cdr_assets.database import TABLES
from cdr_assets.pipeline import sensors
from cdr_assets.pipeline.resources import Clock
from cdr_assets.pipeline.scheduling import DAY, QUIET_ANSWERS, days_between
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Locate, Location, Script, record

# Runs have the times at which they really ran, so the clock that stands still shows about the same.
NOW = datetime.now(timezone.utc).replace(microsecond=0)
TODAY = NOW.date()
YESTERDAY = TODAY - DAY
HOUR = timedelta(hours=1)
NOON = datetime.combine(TODAY, datetime.min.time(), timezone.utc) + 12 * HOUR

HTML = answer(b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})
SENSORS = ("closed_days", "settling_days", "landed_days")


def before(days: int) -> date:
    return TODAY - DAY * days


def words(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


class FrozenClock(Clock):
    moment: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.moment)


def tick(location: Location, sensor: str, now: datetime = NOW, cursor: str | None = None) -> Any:
    """One evaluation of the sensor, as the daemon makes it."""
    context = dg.build_sensor_context(
        instance=location.instance,
        definitions=location.definitions,
        resources={**(location.definitions.resources or {}), "clock": FrozenClock(moment=now.isoformat())},
        cursor=cursor,
    )
    return location.definitions.resolve_sensor_def(sensor).evaluate_tick(context)


def days_of(request: dg.RunRequest) -> list[date]:
    tags = request.tags
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    if first and last:
        assert "dagster/partition" not in tags
        return days_between(date.fromisoformat(first), date.fromisoformat(last))
    return [date.fromisoformat(tags["dagster/partition"])]


def requested(location: Location, sensor: str, now: datetime = NOW) -> list[list[date]]:
    return [days_of(request) for request in tick(location, sensor, now).run_requests]


def skipped(location: Location, sensor: str, now: datetime = NOW) -> str:
    """The words with which the sensor asks for nothing."""
    result = tick(location, sensor, now)
    assert result.run_requests == []
    return str(result.skip_message)


def launch(location: Location, sensor: str, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """Runs what the sensor asked for."""
    job = {"landed_days": "rebuild"}.get(sensor, "daily_cdr")
    return location.definitions.resolve_job_def(job).execute_in_process(
        instance=location.instance,
        partition_key=request.tags.get("dagster/partition"),
        tags={name: value for name, value in request.tags.items() if name != "dagster/partition"},
        asset_selection=request.asset_selection,
        raise_on_error=False,
    )


def by_itself(day: date) -> dict[str, str]:
    return {"dagster/partition": str(day)}


def as_a_range(first: date, last: date) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}


def put_in_flight(
    location: Location,
    tags: Mapping[str, str],
    *,
    job: str = "daily_cdr",
    assets: tuple[str, ...] = (),
    status: DagsterRunStatus = DagsterRunStatus.STARTING,
) -> dg.DagsterRun:
    """A run that was launched by somebody and has not ended."""
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


# What is asked for first


def test_a_first_start_on_ninety_days_asks_for_them_in_three_runs(place: Callable[[int], Location]) -> None:
    location = place(90)
    result = tick(location, "closed_days", NOON)
    assert [days_of(request) for request in result.run_requests] == [
        days_between(before(90), before(60)),
        days_between(before(59), before(29)),
        days_between(before(28), YESTERDAY),
    ]
    assert all(request.asset_selection is None for request in result.run_requests)
    for request in result.run_requests:
        put_in_flight(location, request.tags)
    assert skipped(location, "closed_days", NOON) == "90 days missing; 90 under way"
    assert skipped(location, "settling_days", NOON) == "no day that closed lately has been fetched yet"


def test_a_years_history_does_not_flood_the_queue(place: Callable[[int], Location]) -> None:
    location = place(365)
    assert len(requested(location, "closed_days", NOON)) == 3
    put_in_flight(location, as_a_range(before(365), before(335)))
    assert requested(location, "closed_days", NOON) == [
        days_between(before(334), before(304)),
        days_between(before(303), before(273)),
    ]


def test_what_closed_days_asks_for_makes_the_days_complete(place: Callable[[int], Location], sandbox: Sandbox) -> None:
    location = place(4)
    (request,) = tick(location, "closed_days", NOON).run_requests
    assert launch(location, "closed_days", request).success
    assert skipped(location, "closed_days", NOON) == (
        f"days to {YESTERDAY} are complete; {TODAY} is due at {words(NOON + 13 * HOUR)}"
    )
    assert skipped(location, "landed_days", NOON) == "the tables hold all that landed, 4 days"
    assert sorted(path for path, _ in sandbox.requests) == [
        f"/video/v2/cdr/period/{day}/{day}" for day in days_between(before(4), YESTERDAY)
    ]


# Whoever launched a run


LAUNCHES = {
    "an asset, from the UI": ("__ASSET_JOB", ("period_cdr",), by_itself(before(2)), 1),
    "all assets, from the command line": ("__ASSET_JOB", ("period_cdr", *TABLES), by_itself(before(2)), 1),
    "a backfill": ("__ASSET_JOB", ("period_cdr", *TABLES), as_a_range(before(3), before(2)), 2),
    "the daily job": ("daily_cdr", (), by_itself(before(2)), 1),
    "the daily job over a range": ("daily_cdr", (), as_a_range(before(3), before(2)), 2),
    "some of the daily job": ("daily_cdr", ("period_cdr",), as_a_range(before(3), before(2)), 2),
}


@pytest.mark.parametrize("launched", LAUNCHES)
def test_a_day_that_landed_is_complete_whoever_launched_the_run(
    place: Callable[[int], Location], launched: str
) -> None:
    location = place(4)
    job, assets, tags, count = LAUNCHES[launched]
    result = location.definitions.resolve_job_def(job).execute_in_process(
        instance=location.instance,
        partition_key=tags.get("dagster/partition"),
        tags={name: day for name, day in tags.items() if name != "dagster/partition"},
        asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
    )
    assert result.success
    done = [before(2)] if count == 1 else [before(3), before(2)]
    assert requested(location, "closed_days", NOON) == [days_between(before(4), done[0] - DAY), [YESTERDAY]]


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
@pytest.mark.parametrize("launched", LAUNCHES)
def test_a_day_under_way_is_not_asked_for_whoever_launched_the_run(
    place: Callable[[int], Location], launched: str, status: DagsterRunStatus
) -> None:
    location = place(4)
    job, assets, tags, count = LAUNCHES[launched]
    put_in_flight(location, tags, job=job, assets=assets, status=status)
    result = tick(location, "closed_days", NOON)
    first = before(count + 1)
    assert [days_of(request) for request in result.run_requests] == [days_between(before(4), first - DAY), [YESTERDAY]]


def test_a_rebuild_under_way_holds_its_days_and_other_jobs_hold_none(place: Callable[[int], Location]) -> None:
    location = place(3)
    put_in_flight(location, by_itself(before(2)), job="rebuild")
    put_in_flight(location, by_itself(before(3)), job="fetch_room")
    assert requested(location, "closed_days", NOON) == [[before(3)], [YESTERDAY]]


def test_a_run_that_a_lost_machine_left_started_holds_its_days_for_a_day_only(
    place: Callable[[int], Location],
) -> None:
    location = place(2)
    run = put_in_flight(location, as_a_range(before(2), YESTERDAY))
    started = DagsterEvent(DagsterEventType.RUN_START.value, job_name=run.job_name)
    location.instance.report_dagster_event(started, run.run_id)
    assert requested(location, "closed_days", NOON) == []
    later = NOON + 2 * DAY
    assert requested(location, "closed_days", later) == [days_between(before(2), later.date() - DAY)]


# Runs that failed


def test_a_failed_range_holds_up_the_day_it_failed_on_alone(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(6)
    for day in days_between(before(6), YESTERDAY):
        script.holds(day, record(str(day), day))
    script.answers_with(before(4), HTML)
    now = datetime.now(timezone.utc)
    assert not location.run(before(6), before(2)).success
    (run,) = location.instance.get_runs()
    assert run.tags["cdr_assets/failed_day"] == str(before(4))
    due = [day for day in days_between(before(3), YESTERDAY) if day < YESTERDAY or now.hour >= 1]
    assert requested(location, "closed_days", now) == [due]
    assert requested(location, "closed_days", now + timedelta(minutes=14)) == [due]
    later = now + timedelta(minutes=16)
    assert requested(location, "closed_days", later)[0] == [before(4)]
    assert len(requested(location, "closed_days", later)) == 2


def test_a_run_that_could_not_say_where_it_failed_holds_up_all_its_days(place: Callable[[int], Location]) -> None:
    location = place(4)
    run = put_in_flight(location, as_a_range(before(4), before(3)))
    location.instance.report_run_failed(run)
    now = datetime.now(timezone.utc)
    assert [before(4)] not in requested(location, "closed_days", now)
    later = now + timedelta(minutes=16)
    assert requested(location, "closed_days", later)[:2] == [[before(4)], [before(3)]]


@pytest.mark.parametrize(("status", "error"), [(401, "BadCredentials"), (403, "Forbidden")])
def test_a_refused_account_stops_every_request_for_an_hour(
    place: Callable[[int], Location], sandbox: Sandbox, status: int, error: str
) -> None:
    location = place(9)
    sandbox.faults.fail_status, sandbox.faults.fail_times = status, 1
    assert not location.run(before(9)).success
    now = datetime.now(timezone.utc)
    said = skipped(location, "closed_days", now)
    assert said.startswith("EnableX refused the account at ")
    assert f"({error}): nothing is requested until " in said
    assert "Check ENABLEX_APP_ID, ENABLEX_APP_KEY" in said
    assert skipped(location, "settling_days", now) == said
    later = now + timedelta(minutes=61)
    assert requested(location, "closed_days", later)[0] == [before(9)]
    assert requested(location, "closed_days", later)[1][0] == before(8)


def test_settings_that_are_missing_stop_every_request_too(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({"ENABLEX_BASE_URL": sandbox.base_url, "CDR_START_DATE": str(before(9))})
    assert not location.run(before(9)).success
    assert "(BadSetting)" in skipped(location, "closed_days", datetime.now(timezone.utc))


def test_an_error_about_one_day_stops_no_other(place: Callable[[int], Location], sandbox: Sandbox) -> None:
    location = place(9)
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    assert not location.run(before(9)).success
    assert requested(location, "closed_days", datetime.now(timezone.utc))[0][0] == before(8)


# The landing zone and the tables


def test_a_day_whose_landing_folder_is_deleted_is_due_again(place: Callable[[int], Location]) -> None:
    location = place(3)
    assert location.run(before(3), YESTERDAY).success
    shutil.rmtree(location.data_dir / "landing" / f"usage_date={before(2)}")
    late = NOON + 7 * HOUR
    assert requested(location, "closed_days", late) == [[before(2)]]
    settling = [
        day for run in requested(location, "settling_days", datetime.now(timezone.utc) + 7 * HOUR) for day in run
    ]
    assert before(2) not in settling
    (request,) = tick(location, "closed_days", late).run_requests
    assert launch(location, "closed_days", request).success
    assert skipped(location, "closed_days", NOON).startswith(f"days to {YESTERDAY} are complete")


def test_settling_days_fetch_alone_and_tables_follow_what_changed(
    scripted_days: Callable[[int], Location], script: Script
) -> None:
    location = scripted_days(2)
    for day in (before(2), YESTERDAY):
        script.holds(day, record(f"a-{day}", day))
    assert location.run(before(2), YESTERDAY).success
    assert skipped(location, "landed_days") == "the tables hold all that landed, 2 days"
    script.holds(YESTERDAY, record(f"a-{YESTERDAY}", YESTERDAY), record("late", YESTERDAY))

    again = datetime.now(timezone.utc) + 6 * HOUR
    requests = tick(location, "settling_days", again).run_requests
    assert YESTERDAY in [day for request in requests for day in days_of(request)]
    for request in requests:
        assert request.asset_selection == [dg.AssetKey("period_cdr")]
        result = launch(location, "settling_days", request)
        assert result.success
        materialized = {event.asset_key for event in result.get_asset_materialization_events()}
        assert materialized == {dg.AssetKey("period_cdr")}
    assert location.metadata("period_cdr", before(2))["answer"] in ("nothing new", "1 new, 0 changed")
    assert location.metadata("period_cdr", YESTERDAY)["answer"] == "1 new, 0 changed"

    # Midnight may have passed since; no day that closed then was answered.
    paths = list(script.paths)
    (request,) = tick(location, "landed_days", again).run_requests
    assert days_of(request) == [YESTERDAY]
    result = launch(location, "landed_days", request)
    assert result.success
    assert script.paths == paths
    assert skipped(location, "landed_days") == "the tables hold all that landed, 2 days"


@pytest.mark.parametrize(
    ("new_records", "quiet"),
    [([0], 1), ([1], 0), ([1, 0, 0], 2), ([0, 0, 1], 0), ([0, 1, 0, 0, 0], 3), ([1, 0, 0, 0, 0, 0], QUIET_ANSWERS)],
)
def test_answers_that_brought_nothing_count_since_the_last_that_did(
    place: Callable[[int], Location], new_records: list[int], quiet: int
) -> None:
    instance = place(2).instance
    for number in new_records:
        metadata = {"new_records": number, "changed_records": 0}
        answered = dg.AssetMaterialization("period_cdr", partition=str(YESTERDAY), metadata=metadata)
        instance.report_runless_asset_event(answered)
    answers = sensors.answers(instance, [before(2), YESTERDAY])
    assert {day: each.quiet for day, each in answers.items()} == {YESTERDAY: quiet}


def test_the_many_answers_of_one_day_do_not_hide_those_of_another(place: Callable[[int], Location]) -> None:
    location = place(2)
    assert location.run(before(2)).success
    assert location.run(YESTERDAY).success
    for _ in range(30):
        answered = dg.AssetMaterialization("period_cdr", partition=str(YESTERDAY), metadata={"new_records": 1})
        location.instance.report_runless_asset_event(answered)
    now = datetime.now(timezone.utc) + 6 * HOUR
    assert requested(location, "settling_days", now)[0][:2] == [before(2), YESTERDAY]


def test_the_tables_of_days_not_closed_or_before_the_start_are_not_built(
    place: Callable[[int], Location],
) -> None:
    location = place(2)
    assert location.run(YESTERDAY).success
    (source,) = (location.data_dir / "landing" / f"usage_date={YESTERDAY}").iterdir()
    for day in (before(3), TODAY, TODAY + DAY):
        folder = source.parent.with_name(f"usage_date={day}")
        folder.mkdir()
        shutil.copy(source, folder)
    assert skipped(location, "landed_days", NOON) == "the tables hold all that landed, 1 day"
    assert requested(location, "landed_days", NOON + DAY) == [[TODAY]]


def test_without_the_warehouse_every_day_is_built_again(place: Callable[[int], Location]) -> None:
    location = place(3)
    assert location.run(before(3), YESTERDAY).success
    location.warehouse.unlink()
    assert requested(location, "landed_days", NOON) == [days_between(before(3), YESTERDAY)]


# What must never stop a sensor


@pytest.mark.parametrize("data_dir", ["missing", "empty", "a file"])
def test_nothing_on_disk_stops_no_sensor(locate: Locate, sandbox: Sandbox, data_dir: str) -> None:
    location = locate({**sandbox.environment, "CDR_START_DATE": str(before(2))})
    if data_dir == "empty":
        location.data_dir.mkdir()
    if data_dir == "a file":
        location.data_dir.touch()
    assert requested(location, "closed_days", NOON) == [[before(2), YESTERDAY]]
    assert skipped(location, "settling_days", NOON) == "no day that closed lately has been fetched yet"
    assert skipped(location, "landed_days", NOON) == "the tables hold all that landed, 0 days"


@pytest.mark.parametrize(
    "path",
    [
        "landing/usage_date=2026-13-45/a.ndjson.zst",
        "landing/usage_date=unknown/a.ndjson.zst",
        "landing/usage_date=/a.ndjson.zst",
        "landing/usage_date=2026-11-02x/a.ndjson.zst",
        f"landing/usage_date={before(2)}",
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
    location.data_dir.mkdir()
    (location.data_dir / "cdr.duckdb").touch()
    (location.data_dir / path).parent.mkdir(parents=True, exist_ok=True)
    (location.data_dir / path).write_text("not ours")
    assert requested(location, "closed_days", NOON) == [[before(2), YESTERDAY]]
    assert skipped(location, "settling_days", NOON) == "no day that closed lately has been fetched yet"
    assert skipped(location, "landed_days", NOON) == "the tables hold all that landed, 0 days"


def test_what_others_tell_dagster_stops_no_sensor(place: Callable[[int], Location]) -> None:
    location = place(2)
    for partition in ("tomorrow", str(before(2)), None):
        location.instance.report_runless_asset_event(dg.AssetMaterialization("period_cdr", partition=partition))
    put_in_flight(location, as_a_range(date(2039, 1, 1), date(2039, 1, 9)))
    location.instance.report_run_failed(put_in_flight(location, {"cdr_assets/failed_day": "some day"}))
    shutil.rmtree(location.data_dir, ignore_errors=True)
    assert requested(location, "closed_days", NOON) == [[before(2), YESTERDAY]]
    assert skipped(location, "settling_days", NOON) == "no day that closed lately has been fetched yet"
    assert skipped(location, "landed_days", NOON) == "the tables hold all that landed, 0 days"


# Two ticks at once


def test_two_ticks_that_see_the_same_ask_by_the_same_key(place: Callable[[int], Location]) -> None:
    location = place(40)
    keys = [request.run_key for request in tick(location, "closed_days").run_requests]
    assert len(set(keys)) == len(keys) > 1
    assert [request.run_key for request in tick(location, "closed_days").run_requests] == keys


def test_a_day_asked_for_again_later_has_another_key(place: Callable[[int], Location], sandbox: Sandbox) -> None:
    location = place(1)
    (first,) = tick(location, "closed_days", NOON).run_requests
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    assert not launch(location, "closed_days", first).success
    later = datetime.now(timezone.utc) + HOUR
    again = {request.run_key: days_of(request) for request in tick(location, "closed_days", later).run_requests}
    assert [YESTERDAY] in again.values()
    assert first.run_key not in again


def test_the_sensors_run_by_themselves_as_often_as_set(locate: Locate, sandbox: Sandbox) -> None:
    usual = locate(sandbox.environment).definitions
    for name, seconds in zip(SENSORS, (600, 600, 60), strict=True):
        sensor = usual.resolve_sensor_def(name)
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == seconds
    assert usual.resolve_sensor_def("failed_runs").default_status == dg.DefaultSensorStatus.RUNNING
    hasty = locate({**sandbox.environment, "CDR_TICK_SECONDS": "5"}).definitions
    assert {hasty.resolve_sensor_def(name).minimum_interval_seconds for name in SENSORS} == {5}


# Alerts


@dataclass
class Webhook:
    """Somebody's incoming webhook."""

    url: str = ""
    status: int = 200
    posts: list[tuple[str, str | None, Any]] = field(default_factory=list)


SECRET = "T0123/B4567/nobody-may-read-this"


@contextmanager
def listening(webhook: Webhook) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            webhook.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(webhook.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        webhook.url = f"http://127.0.0.1:{http.server_port}/services/{SECRET}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    with listening(webhook):
        yield webhook


def nobody_listens() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/services/{SECRET}"


def alerted(location: Location, fail: Callable[[], dg.ExecuteInProcessResult]) -> dg.ExecuteInProcessResult:
    """Lets a run fail between two ticks of the sensor; the second one sees it, and says that it did its work."""
    cursor = tick(location, "failed_runs").cursor
    result = fail()
    assert not result.success
    seen = tick(location, "failed_runs", cursor=cursor)
    (reaction,) = seen.dagster_run_reactions
    assert reaction.dagster_run.run_id == result.run_id
    assert reaction.error is None
    nothing = tick(location, "failed_runs", cursor=seen.cursor)
    assert nothing.dagster_run_reactions == []
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
    assert lines[0] == f"daily_cdr failed on {before(4)}...{before(2)}"
    assert f"GET /cdr/period/{before(3)}/{before(3)}" in lines[1]
    assert f"Days done: {before(4)}. Days left: {before(3)}...{before(2)}." in lines
    assert lines[-1] == f"https://dagster.example/runs/{result.run_id}"


def test_a_failed_asset_run_is_posted_with_its_assets(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    result = alerted(location, lambda: location.run(YESTERDAY, assets=["period_cdr", "call_detail_records"]))
    text = webhook.posts[0][2]["text"]
    assert text.splitlines()[0] == f"call_detail_records, period_cdr failed on {YESTERDAY}"
    assert "404: NOT_FOUND: As the sandbox's faults ask" in text
    assert text.endswith(f"http://localhost:3000/runs/{result.run_id}")


def test_a_failed_blocking_check_is_posted(locate: Locate, script: Script, webhook: Webhook) -> None:
    location = locate({**script.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    many = [record(str(n), YESTERDAY, usage={"subscribed_minutes": "99999999999999.999"}) for n in range(99)]
    script.holds(YESTERDAY, *many)
    alerted(location, lambda: location.run(YESTERDAY))
    text = webhook.posts[0][2]["text"]
    assert f"_usage_adds_up fails on {YESTERDAY}" in text


def test_a_failed_job_on_demand_is_posted_without_days(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    job = location.definitions.resolve_job_def("fetch_room")
    config = {"ops": {"fetch_room": {"config": {"room_id": "nowhere"}}}}
    alerted(
        location,
        lambda: job.execute_in_process(run_config=config, instance=location.instance, raise_on_error=False),
    )
    lines = webhook.posts[0][2]["text"].splitlines()
    assert lines[0] == "fetch_room failed"
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
    result = alerted(location, lambda: location.run(YESTERDAY))
    out, err = capfd.readouterr()
    said = out + err + caplog.text
    outcome = {"none": "answered 200", "500": "answered 500"}.get(trouble, "could not be reached")
    assert f"The alert webhook {outcome}" in said
    said += "".join(dg.serialize_value(event) for event in location.instance.all_logs(result.run_id))
    assert SECRET not in said
    assert "nobody-may-read-this" not in said
    assert len(webhook.posts) == (trouble in ("none", "500"))


def test_nothing_is_posted_when_no_webhook_is_set(
    locate: Locate, sandbox: Sandbox, webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": ""})
    sandbox.faults.fail_status, sandbox.faults.fail_times = 404, 1
    alerted(location, lambda: location.run(YESTERDAY))
    assert webhook.posts == []
    assert "webhook" not in "".join(capfd.readouterr())


def test_a_run_that_succeeds_alerts_nobody(locate: Locate, sandbox: Sandbox, webhook: Webhook) -> None:
    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = tick(location, "failed_runs").cursor
    assert location.run(YESTERDAY).success
    assert tick(location, "failed_runs", cursor=cursor).dagster_run_reactions == []
    assert webhook.posts == []
