"""The soak, short: some kills, and some writers at once."""

from __future__ import annotations

from pathlib import Path

from cdr_assets_tests.soak.kills import Kills
from cdr_assets_tests.soak.writers import Writers


def say_nothing(_: str) -> None:
    pass


def test_after_kills_at_random_moments_the_sensors_put_everything_right(tmp_path: Path) -> None:
    kills = Kills(tmp_path, seed=1, days=3, records_a_day=12, say=say_nothing)
    kills.run(4, kills_a_round=4)
    assert kills.kills == 4


def test_writers_at_once_do_not_fail_and_nobody_reads_parts(tmp_path: Path) -> None:
    writers = Writers(tmp_path, seed=1, writers=6, days=2, say=say_nothing)
    writers.run(seconds=0)
    assert writers.runs >= 6
    assert writers.reads["room_usage"] > 0


def test_no_request_is_beyond_the_pace_of_all_processes(tmp_path: Path) -> None:
    writers = Writers(tmp_path, seed=1, writers=4, days=2, say=say_nothing)
    writers.run(seconds=4, requests_per_minute=60)
    # At least one a writer, whatever the pace.
    assert writers.runs >= 4
