"""Ticks that found nothing to do: when a later one would find nothing either."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cdr_assets.pipeline.quiet import QuietTick, folder_state
from cdr_assets.places import Places

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def state(folder: Path, now: datetime = NOON, code: str = "a") -> str | None:
    return folder_state(Places.read(folder), str(folder / "published"), code, now)


def age(path: Path, seconds: float = 60) -> None:
    moment = NOON.timestamp() - seconds
    os.utime(path, (moment, moment))


@pytest.mark.parametrize(
    ("minutes", "holds"), [(0, True), (9, True), (9.99, True), (10, False), (-1, False), (-60 * 24 * 365, False)]
)
def test_a_quiet_tick_holds_for_ten_minutes_while_the_state_is_the_same(minutes: float, holds: bool) -> None:
    tick = QuietTick.read(QuietTick("nothing", "s", NOON.isoformat()).write())
    assert tick
    later = NOON + timedelta(minutes=minutes)
    assert tick.holds("s", later) is holds
    assert not tick.holds("t", later)
    assert not tick.holds(None, later)


def test_a_quiet_tick_holds_until_midnight() -> None:
    tick = QuietTick("nothing", "s", NOON.replace(hour=23, minute=55).isoformat())
    assert tick.holds("s", NOON.replace(hour=23, minute=59))
    assert not tick.holds("s", NOON.replace(hour=23, minute=59) + timedelta(minutes=1))


def test_the_state_changes_with_the_folders_and_the_code(tmp_path: Path) -> None:
    seen = [state(tmp_path)]
    for path in ("landing/usage_date=2026-11-02", "built/log", "published/room_usage", "cdr.duckdb", "cdr.duckdb.wal"):
        (tmp_path / path).mkdir(parents=True)
        age(tmp_path / path)
        seen.append(state(tmp_path))
        assert seen[-1] == state(tmp_path, NOON + timedelta(days=1))
        age(tmp_path / path, 59)
        seen.append(state(tmp_path))
    seen.append(state(tmp_path, code="b"))
    assert None not in seen
    assert len(set(seen)) == len(seen)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "published" / "status.json").touch()
    (tmp_path / "published" / "status.json.4711").touch()
    assert state(tmp_path, code="b") == seen[-1]


@pytest.mark.parametrize(("seconds", "known"), [(1.9, False), (2.1, True), (-60, False)])
def test_a_state_that_may_change_within_the_moment_is_not_known(tmp_path: Path, seconds: float, known: bool) -> None:
    (tmp_path / "landing" / "usage_date=2026-11-02").mkdir(parents=True)
    age(tmp_path / "landing" / "usage_date=2026-11-02", seconds)
    assert (state(tmp_path) is not None) is known


def test_the_state_is_not_known_while_a_run_is_alive(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert state(tmp_path)
    (tmp_path / "runs" / "a.lock").touch()
    assert state(tmp_path) is None


def test_a_data_folder_that_is_a_file_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert state(tmp_path / "data")


def test_a_warehouse_and_a_landing_zone_elsewhere_are_looked_at(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    places = Places.read(tmp_path / "data", str(elsewhere / "calls.duckdb"), str(elsewhere))
    seen = []
    for path in ("landing/usage_date=2026-11-02", "calls.duckdb", "calls.duckdb.wal"):
        (elsewhere / path).mkdir(parents=True)
        age(elsewhere / path)
        seen.append(folder_state(places, str(tmp_path / "published"), "a", NOON))
    assert None not in seen
    assert len(set(seen)) == len(seen)


def test_the_folders_of_this_machine_do_not_tell_of_a_lake(tmp_path: Path) -> None:
    places = Places.read(tmp_path, "ducklake:postgres:dbname=cdr")
    assert folder_state(places, str(tmp_path / "published"), "a", NOON) is None
