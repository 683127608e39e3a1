"""Sensors that fail or fall silent, and the heartbeat of a good round. Ticks are as the daemon records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo

from cdr_assets_tests.httpserver import Answer, answer, hang_up, serving
from cdr_assets_tests.location import Locate, Location, Script
from cdr_assets_tests.ticks import tick
from cdr_assets_tests.webhook import SECRET, Webhook, listening

MINUTE = timedelta(minutes=1)
NOW = datetime.now(timezone.utc).replace(microsecond=0)
SENSORS = ("closed_days", "settling_days", "open_day", "landed_days", "old_runs")


def state_of(sensor: str, status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE) -> InstigatorState:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    origin = RemoteInstigatorOrigin(repository, sensor)
    return InstigatorState(origin, InstigatorType.SENSOR, status, SensorInstigatorData(min_interval=60))


def ticks_of(location: Location, when: datetime, status: TickStatus = TickStatus.SKIPPED, *sensors: str) -> None:
    """Each of the sensors, all if none is named, ticked then."""
    error = SerializableErrorInfo(SECRET, [], "OSError") if status is TickStatus.FAILURE else None
    for sensor in sensors or SENSORS:
        state = state_of(sensor)
        if not location.instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            location.instance.add_instigator_state(state)
        location.instance.create_tick(
            TickData(
                state.instigator_origin_id,
                sensor,
                InstigatorType.SENSOR,
                status,
                when.timestamp(),
                selector_id=state.selector_id,
                error=error,
            )
        )


Rounds = Callable[[int], list[str]]


@pytest.fixture
def placed(locate: Locate, script: Script, tmp_path: Path) -> Iterator[Callable[..., Location]]:
    """A location whose instance knows ticks."""
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:

        def placed(**environment: str) -> Location:
            location = locate({**script.environment, **environment})
            return Location(location.definitions, instance, location.data_dir)

        yield placed


@pytest.fixture
def watched(placed: Callable[..., Location]) -> Iterator[tuple[Location, Rounds]]:
    """A location, and what is said by the rounds of the minutes up to that one after NOW."""
    webhook, cursor, minute = Webhook(), "", 0
    with listening(webhook):
        location = placed(CDR_ALERT_WEBHOOK_URL=webhook.url)

        def rounds(last: int) -> list[str]:
            nonlocal cursor, minute
            while minute <= last:
                cursor = tick(location, "failed_runs", NOW + minute * MINUTE, cursor).cursor
                minute += 1
            said = [body["text"] for _, _, body in webhook.posts]
            webhook.posts.clear()
            assert not any(SECRET in text for text in said)
            return [text.partition("\n")[0].removeprefix("app-id: ") for text in said]

        yield location, rounds


def test_a_sensor_that_raises_is_told_within_four_ticks_and_that_it_ticks_again(
    watched: tuple[Location, Rounds],
) -> None:
    location, rounds = watched
    ticks_of(location, NOW)
    assert rounds(1) == []
    for minute, said in ((2, []), (3, []), (4, ["The sensor closed_days failed 3 times in a row: OSError"]), (5, [])):
        ticks_of(location, NOW + minute * MINUTE, TickStatus.FAILURE, "closed_days")
        assert rounds(minute) == said
    ticks_of(location, NOW + 6 * MINUTE, TickStatus.SKIPPED, "closed_days")
    assert rounds(7) == ["The sensor closed_days ticks again"]


def test_a_sensor_that_has_not_ticked_for_ten_of_its_intervals_is_told(watched: tuple[Location, Rounds]) -> None:
    location, rounds = watched
    ticks_of(location, NOW)
    assert rounds(11) == [], "the second round is the first that looks"
    # It ticks every minute; the others less often.
    assert rounds(12) == ["The sensor landed_days has not ticked for 10 of its intervals"]
    ticks_of(location, NOW + 13 * MINUTE)
    assert rounds(13) == ["The sensor landed_days ticks again"]


def test_after_a_machine_slept_no_sensor_is_silent_before_it_could_tick(watched: tuple[Location, Rounds]) -> None:
    location, rounds = watched
    ticks_of(location, NOW - timedelta(days=1))
    assert rounds(5) == []


def test_a_sensor_that_was_stopped_for_a_day_is_told(watched: tuple[Location, Rounds]) -> None:
    location, rounds = watched
    ticks_of(location, NOW - timedelta(hours=25), TickStatus.SKIPPED, "old_runs")
    ticks_of(location, NOW - timedelta(hours=23), TickStatus.SKIPPED, "open_day")
    for sensor in ("old_runs", "open_day"):
        location.instance.update_instigator_state(state_of(sensor, InstigatorStatus.STOPPED))
    assert rounds(2) == ["The sensor old_runs has been stopped for a day"]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (answer(b"OK"), "every failed run and every finding is reported"),
        (answer(b"", status=404), "CDR_HEARTBEAT_URL answered 404"),
        (hang_up, "CDR_HEARTBEAT_URL could not be reached (ConnectionError)"),
    ],
)
def test_a_good_round_asks_for_the_heartbeat_at_most_every_five_minutes(
    placed: Callable[..., Location], capfd: pytest.CaptureFixture[str], reply: Answer, problem: str
) -> None:
    with serving(reply) as server:
        location = placed(CDR_HEARTBEAT_URL=f"{server.url}/{SECRET}")
        ticks_of(location, NOW)
        cursor, asked, said = "", [], ""
        for minute in range(12):
            if minute == 8:
                ticks_of(location, NOW + 8 * MINUTE, TickStatus.FAILURE, "old_runs")
            result = tick(location, "failed_runs", NOW + minute * MINUTE, cursor)
            cursor, said = result.cursor, said + str(result.skip_message)
            asked.append(len(server.paths))
    # The first tick makes the outbox. From the eighth on a sensor fails.
    assert asked == [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert {*server.paths} == {f"/{SECRET}"}
    assert problem in said
    assert SECRET not in "".join(capfd.readouterr()) + said + cursor
