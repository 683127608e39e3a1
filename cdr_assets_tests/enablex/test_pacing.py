"""No request beyond the pace, over all processes; a rest is everyone's; and no wait is without an end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from filelock import FileLock

from cdr_assets.enablex import pacing
from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import Unavailable
from cdr_assets.enablex.pacing import MAX_REST_S, SharedPace
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.enablex.together import EMPTY, assert_the_pace_is_kept
from cdr_assets_tests.httpserver import Answer, answer, cut, serving


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(tmp_path: Path, clock: Clock) -> Callable[..., SharedPace]:
    """Makes a pace on one file, as another process would."""

    def make(per_minute: float = 60, clock: Callable[[], float] = clock) -> SharedPace:
        return SharedPace(tmp_path / "data" / "pace", per_minute, clock)

    return make


def test_turns_are_spread_evenly_over_everyone(pace: Callable[..., SharedPace], clock: Clock) -> None:
    one, other = pace(30), pace(30)
    assert one.take() == 0
    assert other.take() == pytest.approx(2)
    clock.now += 1.5
    assert [one.take(), other.take()] == [pytest.approx(0.5), pytest.approx(0.5)]
    clock.now += 0.5
    assert other.take() == 0
    assert one.take() == pytest.approx(2)


def test_nobody_saves_turns_up(pace: Callable[..., SharedPace], clock: Clock) -> None:
    assert pace().take() == 0
    clock.now += 1000
    assert [pace().take() for _ in range(2)] == [0, pytest.approx(1)]


def test_without_a_limit_only_a_rest_makes_anyone_wait(pace: Callable[..., SharedPace], clock: Clock) -> None:
    assert [pace(0).take() for _ in range(3)] == [0, 0, 0]
    pace(0).rest(5)
    assert pace(0).take() == pytest.approx(5)
    clock.now += 5
    assert [pace(0).take() for _ in range(3)] == [0, 0, 0]


def test_a_rest_is_everyones_and_a_longer_one_goes_on(pace: Callable[..., SharedPace], clock: Clock) -> None:
    pace().rest(30)
    pace().rest(10)
    assert pace().take() == pytest.approx(30)
    clock.now += 29
    pace().rest(10)
    clock.now += 9
    assert pace().take() == pytest.approx(1)
    clock.now += 1
    assert [pace().take() for _ in range(2)] == [0, pytest.approx(1)]


@pytest.mark.parametrize("seconds", [MAX_REST_S, 1e9, 1e308, float("inf")])
def test_no_rest_is_longer_than_an_hour(seconds: float, pace: Callable[..., SharedPace]) -> None:
    pace().rest(seconds)
    assert pace().take() == pytest.approx(3600)


@pytest.mark.parametrize("moved", [-1e9, -4000, -10, -0.001, 4000, 1e9])
@pytest.mark.parametrize("rest", [0, 30, 3600])
def test_a_clock_that_was_set_makes_nobody_wait(
    moved: float, rest: float, pace: Callable[..., SharedPace], clock: Clock
) -> None:
    assert pace().take() == 0
    if rest:
        pace().rest(rest)
    clock.now += moved
    assert pace().take() == 0
    assert pace().take() == pytest.approx(1)


@pytest.mark.parametrize(
    "left",
    [b"", b"\0" * 64, b"99999999", b"nan nan", b"inf inf", b"inf 0", b"9e9 999", b"a b", b"1 2 3", b"\xff" * 500],
)
def test_a_file_that_says_nothing_makes_nobody_wait(
    left: bytes, pace: Callable[..., SharedPace], tmp_path: Path
) -> None:
    file = tmp_path / "data" / "pace"
    file.parent.mkdir()
    file.write_bytes(left)
    assert pace().take() == 0
    assert pace().take() == pytest.approx(1)


def test_the_file_is_its_owners_alone_and_does_not_grow(pace: Callable[..., SharedPace], tmp_path: Path) -> None:
    sizes = set()
    for _ in range(3):
        pace().take()
        pace().rest(1e9)
        sizes.add((tmp_path / "data" / "pace").stat().st_size)
    assert sizes == {64}
    assert {file.name: oct(file.stat().st_mode)[-3:] for file in [tmp_path / "data", *tmp_path.glob("data/*")]} == {
        "data": "700",
        "pace": "600",
        "pace.lock": "600",
    }


def test_a_process_that_never_lets_go_of_the_lock_stops_nobody_for_good(
    pace: Callable[..., SharedPace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "LOCK_SECONDS", 0.1)
    pace().take()
    with FileLock(tmp_path / "data" / "pace.lock"):
        assert 0 < pace().take() <= 1
        pace().rest(5)
    assert pace().take() == pytest.approx(1)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(OSError, match="data"):
        SharedPace(tmp_path / "data" / "pace", 60).take()


# Against a server that counts


@contextmanager
def counting(*script: Answer) -> Iterator[tuple[str, list[float]]]:
    """The URL of a server that answers by a script, and when each request came, in seconds."""
    came: list[float] = []

    def count(handler: BaseHTTPRequestHandler) -> None:
        came.append(time.monotonic())
        script[min(len(came), len(script)) - 1](handler)

    with serving(count) as server:
        yield server.url, came


def test_processes_and_threads_together_keep_the_pace(tmp_path: Path) -> None:
    assert_the_pace_is_kept("file", str(tmp_path / "pace"), 0.1)


@pytest.mark.parametrize("rest", [answer(b"", 429, {"Retry-After": "1"}), answer(b"", 503, {"Retry-After": "1"})])
def test_one_that_is_told_to_rest_rests_everyone(rest: Answer, pace: Callable[..., SharedPace], clock: Clock) -> None:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    with counting(rest, answer(EMPTY)) as (url, came):
        one, other, hurried = (
            EnableX("id", "key", url, pace=pace(0), tries=1, total_seconds=seconds, sleep=sleep, clock=clock)
            for seconds in (60, 60, 0.5)
        )
        with pytest.raises(Unavailable):
            ask(one)
        with pytest.raises(Unavailable, match=r"beyond the 0\.5 s for all tries") as caught:
            ask(hurried)
        assert (caught.value.tries, caught.value.path) == (0, "/cdr/room/1")
        assert caught.value.retry_after == pytest.approx(1)
        assert not caught.value.permanent
        ask(other)
    assert len(came) == 2
    assert clock.now == pytest.approx(1001)


# What the client tells its pace, and when it asks


class Said:
    """A pace that lets a request go after some waits, and notes what it was told."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.events: list[object] = []

    def take(self) -> float:
        wait = self.waits.pop(0) if self.waits else 0.0
        self.events.append("wait" if wait else "go")
        return wait

    def rest(self, seconds: float) -> None:
        self.events.append(seconds)


def ask(client: EnableX) -> None:
    for attempt in client.room("1"):
        with attempt:
            pass


def test_a_turn_is_awaited_before_each_attempt_and_the_wait_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pace = Said(0.25, 0.5, 0.25)
    with counting(cut(EMPTY, 5), answer(EMPTY)) as (url, came):
        for attempt in EnableX("id", "key", url, pace=pace, sleep=pace.events.append).room("1"):
            pace.events.append(f"attempt {attempt.number}, {len(came)} requests before")
            with attempt:
                pass
    first = ["wait", 0.25, "wait", 0.5, "wait", 0.25, "go", "attempt 1, 0 requests before"]
    assert pace.events[:8] == first
    assert pace.events[9:] == ["go", "attempt 2, 1 requests before"]
    waits = [record.getMessage() for record in caplog.records if "turn" in record.getMessage()]
    assert waits == ["GET /cdr/room/1: waits for its turn, which comes in 0.2 s or later"]


def test_a_long_wait_is_a_warning_and_ends_when_the_rest_is_ended_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    pace, slept = Said(3000), list[float]()
    with counting(answer(EMPTY)) as (url, _):
        ask(EnableX("id", "key", url, pace=pace, sleep=slept.append))
    assert slept == [30]
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "GET /cdr/room/1: waits for its turn, which comes in 3000.0 s or later")
    ]


@pytest.mark.parametrize(
    ("status", "headers", "rests"),
    [
        (429, {"Retry-After": "7"}, [7, 7, 7]),
        (503, {"Retry-After": "7"}, [7, 7, 7]),
        (429, {}, [1, 2, 4]),
        (429, {"Retry-After": "soon"}, [1, 2, 4]),
        (503, {}, []),
        (500, {"Retry-After": "7"}, []),
        (404, {"Retry-After": "7"}, []),
        (429, {"Retry-After": "9" * 400}, [float("inf")]),
    ],
)
def test_the_pace_is_told_when_the_server_asks_for_a_rest(
    status: int, headers: dict[str, str], rests: list[float]
) -> None:
    pace = Said()
    with counting(answer(b"", status, headers)) as (url, _), pytest.raises(Exception, match=str(status)):
        ask(EnableX("id", "key", url, pace=pace, tries=3, sleep=lambda _: None))
    assert [said for said in pace.events if isinstance(said, float | int)] == rests


def test_all_that_wait_are_served_in_the_end(tmp_path: Path) -> None:
    served: list[str] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        pace = SharedPace(tmp_path / "pace", 60 / 0.01)
        for _ in range(5):
            while wait := pace.take():
                time.sleep(wait)
            with lock:
                served.append(name)

    threads = [threading.Thread(target=work, args=[str(number)]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(served) == sorted(str(number) for number in range(8) for _ in range(5))
