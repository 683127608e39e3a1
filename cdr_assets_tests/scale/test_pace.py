"""No request beyond the pace over all machines, by the clock of the Postgres server; and a rest is everyone's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from cdr_assets.definitions import code_location
from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import Unavailable
from cdr_assets.enablex.pacing import MAX_REST_S, PostgresPace
from cdr_assets.postgres import Postgres, PostgresError
from cdr_assets_tests.enablex.together import EMPTY, assert_the_pace_is_kept
from cdr_assets_tests.httpserver import answer, serving

Pace = Callable[..., PostgresPace]


@pytest.fixture
def pace(postgres: str) -> Pace:
    """Makes a pace as another machine would."""
    return lambda per_minute=60: PostgresPace(Postgres(postgres), per_minute)


@pytest.fixture
def pass_time(postgres: str) -> Callable[[float], None]:
    """Makes it look as if so many minutes had passed."""

    def pass_time(minutes: float) -> None:
        with psycopg.connect(postgres) as connection:
            connection.execute(
                "UPDATE cdr_assets.pace SET free_at = free_at - make_interval(secs => %s)", [60 * minutes]
            )

    return pass_time


def about(minutes: float) -> Any:
    """So many minutes, in seconds. Some of it is over when it is looked at: on a busy machine half a minute."""
    return pytest.approx(60 * minutes, abs=30)


def test_turns_are_spread_evenly_over_everyone(pace: Pace, pass_time: Callable[[float], None]) -> None:
    one, other = pace(0.1), pace(0.1)
    assert one.take() == 0
    assert other.take() == about(10)
    pass_time(5)
    assert [one.take(), other.take()] == [about(5), about(5)]
    pass_time(5)
    assert other.take() == 0
    assert one.take() == about(10)


def test_nobody_saves_turns_up(pace: Pace, pass_time: Callable[[float], None]) -> None:
    assert pace(0.1).take() == 0
    pass_time(1000)
    assert [pace(0.1).take() for _ in range(2)] == [0, about(10)]


def test_without_a_limit_only_a_rest_makes_anyone_wait(pace: Pace, pass_time: Callable[[float], None]) -> None:
    assert [pace(0).take() for _ in range(3)] == [0, 0, 0]
    pace(0).rest(60 * 30)
    assert pace(0).take() == about(30)
    pass_time(30)
    assert [pace(0).take() for _ in range(3)] == [0, 0, 0]


def test_a_rest_is_everyones_and_a_longer_one_goes_on(pace: Pace, pass_time: Callable[[float], None]) -> None:
    pace().rest(60 * 30)
    pace().rest(60 * 10)
    assert pace().take() == about(30)
    pass_time(25)
    pace().rest(60 * 10)
    assert pace().take() == about(10)


@pytest.mark.parametrize("seconds", [MAX_REST_S, 1e9, 1e308, float("inf")])
def test_no_rest_is_longer_than_an_hour(seconds: float, pace: Pace) -> None:
    pace().rest(seconds)
    assert pace().take() == about(60)


def test_a_clock_that_was_set_back_makes_nobody_wait(pace: Pace, pass_time: Callable[[float], None]) -> None:
    assert pace(0.1).take() == 0
    pass_time(-4000)
    assert pace(0.1).take() == 0
    assert pace(0.1).take() == about(10)
    pass_time(-4000)
    pace(0.1).rest(60 * 30)
    assert pace(0.1).take() == about(30)


def test_a_turn_that_comes_while_it_is_asked_for_is_not_taken_by_two(
    postgres: str, pace: Pace, pass_time: Callable[[float], None]
) -> None:
    class Slow(Postgres):
        """The turn comes between the try to take it and the question how long to wait for it."""

        @contextmanager
        def connection(self) -> Iterator[Any]:
            with super().connection() as connection:
                before = iter([0.0, 10.0])

                def execute(*statement: Any) -> Any:
                    pass_time(next(before))
                    return connection.execute(*statement)

                yield SimpleNamespace(execute=execute)

    assert pace(0.1).take() == 0
    assert 0 < PostgresPace(Slow(postgres), 0.1).take() < 1
    assert pace(0.1).take() == 0


def test_processes_and_threads_together_keep_the_pace(postgres: str) -> None:
    assert_the_pace_is_kept("postgres", postgres, 0.15)


def test_a_429_on_one_machine_holds_for_all(pace: Pace) -> None:
    came: list[str] = []

    def busy(handler: BaseHTTPRequestHandler) -> None:
        came.append(handler.path)
        answer(b"", 429, {"Retry-After": "30"})(handler)

    with serving(busy) as server:
        for seconds in (60, 5):
            client = EnableX("id", "key", server.url, pace=pace(0), tries=1, total_seconds=seconds)
            with pytest.raises(Unavailable):
                ask(client)
    assert len(came) == 1


def ask(client: EnableX) -> None:
    for attempt in client.room("1"):
        with attempt:
            pass


def test_a_server_that_is_gone_is_named_without_its_password() -> None:
    dsn = "host=127.0.0.1 port=1 dbname=cdr user=cdr password=hidden"
    with pytest.raises(PostgresError, match=r"127\.0\.0\.1:1/cdr cannot be reached") as caught:
        PostgresPace(Postgres(dsn), 60).take()
    assert "hidden" not in str(caught.value)


def test_the_client_of_a_lake_keeps_the_pace_of_the_lake(
    postgres: str, pace: Pace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = {
        "CDR_WAREHOUSE": f"ducklake:postgres:{postgres}",
        "CDR_DATA_DIR": str(tmp_path),
        "CDR_REQUESTS_PER_MINUTE": "1",
        "ENABLEX_APP_ID": "id",
        "ENABLEX_APP_KEY": "key",
    }
    with serving(answer(EMPTY)) as server:
        environment["ENABLEX_BASE_URL"] = server.url
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        enablex = (code_location(environment).resources or {})["enablex"].process_config_and_initialize()
        with enablex.client() as client:
            ask(client)
    assert pace(1).take() == about(1)
    assert not (tmp_path / "pace").exists()
