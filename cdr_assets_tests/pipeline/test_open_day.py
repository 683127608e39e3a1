"""The day that is open, in real runs against the sandbox: it appears, grows, closes and becomes final."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterUnknownPartitionError

from cdr_assets.days import DAY, midnight
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.live_run import OPEN_DAY_TAG
from cdr_assets.pipeline.retention import delete_runs_of_open_days
from cdr_assets.sandbox.calls import records_of_day, stamp
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.expected import TABLES, assert_exact, read
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import SETTINGS, Locate, Location, Script, failure, record
from cdr_assets_tests.ticks import days_of, launch, requested, skipped, tick

TUESDAY = date(2026, 11, 3)
HOUR = timedelta(hours=1)
SENSORS = ("closed_days", "settling_days", "open_day", "landed_days")


@dataclass
class Service:
    """The sensors and the sandbox under one clock. Every hour each sensor has its tick, and its runs are done."""

    location: Location
    sandbox: Sandbox
    now: datetime
    runs: list[tuple[datetime, str, list[date]]] = field(default_factory=list)

    def run(self, until: datetime) -> None:
        while self.now < until:
            self.sandbox.clock = lambda: self.now
            for sensor in SENSORS:
                for request in tick(self.location, sensor, self.now).run_requests or ():
                    assert launch(self.location, sensor, request, self.now).success
                    self.runs.append((self.now, sensor, days_of(request)))
            self.now += HOUR

    def appeared(self, day: date) -> list[dict[str, Any]]:
        """The day's records that the sandbox showed when the day was last asked for."""
        asked = max(now for now, _, days in self.runs if day in days)
        return [each for each in records_of_day(SETTINGS, day) if each["trans_date"] <= stamp(asked)]


@pytest.fixture
def service(locate: Locate, sandbox: Sandbox) -> Iterator[Service]:
    environment = {
        **sandbox.environment,
        "CDR_START_DATE": str(TUESDAY),
        "CDR_OPEN_DAY_MINUTES": "180",
        "CDR_SETTLING_DAYS": "1",
        "CDR_SETTLING_HOURS": "6",
        # The routes of a day that is open are not compared.
        "CDR_AGREEMENT_SAMPLE": "1",
    }
    clock = sandbox.clock
    yield Service(locate(environment), sandbox, midnight(TUESDAY) + timedelta(minutes=5))
    sandbox.clock = clock


def records_in_table(location: Location, day: date) -> int:
    return sum(row["usage_date"] == day for row in read(location.places, "call_detail_records"))


def test_todays_calls_appear_and_grow_and_after_midnight_the_day_becomes_final(service: Service) -> None:
    location, wednesday = service.location, TUESDAY + DAY
    grown = []
    for hour in range(0, 24, 3):
        service.run(midnight(TUESDAY) + HOUR * (hour + 1))
        assert_exact(location.places, service.appeared(TUESDAY))
        for asset in ("period_cdr", *TABLES):
            assert location.metadata(asset, TUESDAY)["provisional"] is True
        grown.append(records_in_table(location, TUESDAY))
        service.run(midnight(TUESDAY) + HOUR * (hour + 3))
    assert len(set(grown)) >= 4
    assert grown == sorted(grown)
    assert [each for each in service.runs if each[1] != "open_day"] == []
    assert [days for _, _, days in service.runs] == [[TUESDAY]] * 8
    assert all("/period/" in path for path, _ in service.sandbox.requests)

    # Midnight passes. Nobody asks for Tuesday until it has settled.
    service.runs.clear()
    service.run(midnight(wednesday) + HOUR)
    assert [(sensor, days) for _, sensor, days in service.runs] == [("open_day", [wednesday])]
    service.run(midnight(wednesday) + 2 * HOUR)
    assert [(sensor, days) for _, sensor, days in service.runs[1:]] == [("closed_days", [TUESDAY])]
    assert records_in_table(location, TUESDAY) == len(records_of_day(SETTINGS, TUESDAY))
    # Now the other routes are asked too.
    assert any("/conf/" in path for path, _ in service.sandbox.requests)
    assert location.metadata("period_cdr", TUESDAY)["provisional"] is True

    service.run(midnight(wednesday) + 19 * HOUR)
    assert location.metadata("room_usage", TUESDAY)["provisional"] is True
    service.run(midnight(wednesday) + 20 * HOUR)
    for asset in ("period_cdr", *TABLES):
        assert location.metadata(asset, TUESDAY)["provisional"] is False
        assert location.metadata(asset, wednesday)["provisional"] is True
    assert Counter(sensor for _, sensor, _ in service.runs) == {"open_day": 7, "closed_days": 1, "settling_days": 3}
    assert all(days == [wednesday] for _, sensor, days in service.runs if sensor == "open_day")
    records = [*records_of_day(SETTINGS, TUESDAY), *service.appeared(wednesday)]
    assert_exact(location.places, records)
    assert location.instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])) == 0


# One tick


NOON = midnight(TUESDAY) + 12 * HOUR


@pytest.fixture
def scripted_open(locate: Locate, script: Script) -> Location:
    return locate({**script.environment, "CDR_START_DATE": str(TUESDAY)})


def fetch(location: Location, now: datetime) -> dg.ExecuteInProcessResult:
    (request,) = tick(location, "open_day", now).run_requests
    return launch(location, "open_day", request, now)


def test_a_day_that_was_fetched_only_while_it_was_open_is_due_once_it_has_settled(
    scripted_open: Location, script: Script
) -> None:
    location, closed = scripted_open, midnight(TUESDAY + DAY)
    script.holds(TUESDAY, record("a", TUESDAY))
    assert fetch(location, NOON).success
    assert skipped(location, "open_day", NOON + timedelta(minutes=29)) == (
        f"{TUESDAY} is fetched again at {TUESDAY} 12:30 UTC"
    )
    assert skipped(location, "closed_days", closed + timedelta(minutes=59)).startswith(f"{TUESDAY} is due at ")
    assert skipped(location, "settling_days", closed + HOUR) == "no day that closed lately has been fetched yet"
    assert requested(location, "closed_days", closed + HOUR) == [[TUESDAY]]
    # A fetch by hand before it settled does not complete it either.
    assert launch(location, "open_day", dg.RunRequest(tags={"dagster/partition": str(TUESDAY)}), closed).success
    assert requested(location, "closed_days", closed + HOUR) == [[TUESDAY]]


def test_answers_while_it_was_open_do_not_count_for_its_settling(scripted_open: Location, script: Script) -> None:
    location, closed = scripted_open, midnight(TUESDAY + DAY)
    script.holds(TUESDAY, record("a", TUESDAY))
    for half_hours in range(5):
        assert fetch(location, NOON + HOUR * half_hours / 2).success
    (request,) = tick(location, "closed_days", closed + HOUR).run_requests
    assert launch(location, "closed_days", request, closed + HOUR).success
    assert requested(location, "settling_days", closed + 7 * HOUR) == [[TUESDAY]]
    # No record came late: the first answer since the day closed had them all.
    assert location.metadata("period_cdr", TUESDAY)["late_records"] == 0


def test_failures_while_it_was_open_do_not_hold_up_the_closed_day(scripted_open: Location, script: Script) -> None:
    # Runs fail at the real time.
    today = datetime.now(timezone.utc).date()
    script.answers_with(today, answer(b"<html>", headers={"Content-Type": "text/html"}))
    script.holds(TUESDAY)
    location = scripted_open
    now = datetime.now(timezone.utc)
    assert not fetch(location, now).success
    assert "1 failed" in skipped(location, "open_day", now)
    due = [day for days in requested(location, "closed_days", midnight(today + DAY) + HOUR) for day in days]
    assert today in due


def test_what_landed_on_demand_is_built_by_landed_days(scripted_open: Location, script: Script) -> None:
    location = scripted_open
    script.holds(TUESDAY, record("a", TUESDAY))
    assert fetch(location, NOON).success
    script.answers["/cdr/conf/c"] = answer(
        b'{"result": 0, "cdr": [%s]}' % dg.serialize_value(record("b", TUESDAY)).encode()
    )
    job = location.definitions.resolve_job_def("fetch_conference")
    config = {"ops": {"fetch_conference": {"config": {"conf_num": "c"}}}}
    assert job.execute_in_process(run_config=config, instance=location.instance).success
    (request,) = tick(location, "landed_days", NOON).run_requests
    assert days_of(request) == [TUESDAY]
    assert launch(location, "landed_days", request, NOON).success
    assert skipped(location, "landed_days", NOON) == "the tables hold everything that landed, 1 day"
    assert_exact(location.places, [record("a", TUESDAY), record("b", TUESDAY)])


def test_a_refused_account_and_a_start_date_to_come_are_respected(locate: Locate, script: Script) -> None:
    now = datetime.now(timezone.utc)
    tomorrow = now.date() + DAY
    later = locate({**script.environment, "CDR_START_DATE": str(tomorrow)})
    assert skipped(later, "open_day", now) == f"{tomorrow} is the first day and has not begun"
    location = locate(script.environment)
    script.answers_with(now.date(), answer(b"", status=403))
    assert not fetch(location, now).success
    assert skipped(location, "open_day", now).startswith("EnableX refused the account at ")


def test_with_zero_minutes_it_is_never_fetched_and_a_tick_needs_nothing(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_OPEN_DAY_MINUTES": "0"})
    sensor = location.definitions.resolve_sensor_def("open_day")
    assert sensor.minimum_interval_seconds == 3600
    with dg.build_sensor_context() as context:
        assert sensor.evaluate_tick(context).skip_message == "the open day is not fetched: CDR_OPEN_DAY_MINUTES is 0"


def test_until_it_is_due_a_tick_asks_dagster_nothing(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_OPEN_DAY_MINUTES": "1440"})
    now = datetime.now(timezone.utc)
    script.holds(now.date())
    assert not tick(location, "open_day", now).cursor
    assert fetch(location, now).success
    waiting = tick(location, "open_day", now)
    assert waiting.skip_message == f"{now.date()} is not fetched again before it closes"
    sensor = location.definitions.resolve_sensor_def("open_day")
    with dg.build_sensor_context(cursor=waiting.cursor) as context:
        assert sensor.evaluate_tick(context).skip_message == waiting.skip_message
    # Without its cursor it looks again.
    with dg.build_sensor_context() as context, pytest.raises(Exception, match=r"resource|instance"):
        sensor.evaluate_tick(context)


def test_its_old_runs_are_deleted_before_others(scripted_open: Location, script: Script) -> None:
    location = scripted_open
    runs = []
    for number in range(3):
        script.holds(TUESDAY, *(record(str(each), TUESDAY) for each in range(number)))
        runs.append(fetch(location, NOON + HOUR * number).run_id)
    assert location.instance.get_runs_count(dg.RunsFilter(tags={OPEN_DAY_TAG: "true"})) == 3
    ended = datetime.now(timezone.utc) + HOUR
    assert delete_runs_of_open_days(location.instance, ended - DAY, ended) == 2
    # The newest state of the day stays.
    assert [run.run_id for run in location.instance.get_runs()] == [runs[-1]]


def test_a_day_that_is_open_can_be_fetched_by_hand_and_one_to_come_cannot(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(TUESDAY)})
    today = datetime.now(timezone.utc).date()
    for day in (today - DAY, today, today + DAY, today + 2 * DAY):
        script.holds(day, record(str(day), day))
    assert location.run(today - DAY, today).success
    assert location.metadata("room_usage", today)["provisional"] is True
    assert "late_records" not in location.metadata("period_cdr", today)
    asked = LandingZone(location.data_dir).asked(today)
    assert asked
    assert location.metadata("period_cdr", today)["asked_at"] == asked.timestamp()
    with pytest.raises(DagsterUnknownPartitionError):
        location.run(today + 2 * DAY)
    script.paths.clear()
    said = failure(location.run(today, today + 2 * DAY))
    assert said.startswith(f"DayToCome: {today + DAY}...{today + 2 * DAY} has not begun in UTC")
    assert script.paths == []


def test_with_a_start_date_to_come_its_first_day_cannot_be_fetched_before(locate: Locate, script: Script) -> None:
    # Dagster takes it for a partition.
    tomorrow = datetime.now(timezone.utc).date() + DAY
    location = locate({**script.environment, "CDR_START_DATE": str(tomorrow)})
    assert f"{tomorrow} has not begun" in failure(location.run(tomorrow))
