"""Days of the sensors on a clock of their own: how many runs they request, and how DAGSTER_HOME grows.

    python -m cdr_assets_tests.benchmarks.simulated quiet|changing DAYS BEFORE MINUTES FOLDER

All settings have their defaults. The fetching sensors are evaluated every so many MINUTES, and what they request is run
at once, on an EnableX of this process. DAYS days are counted, after BEFORE days that are not: until as many days settle
as always will, and old ones are there. In `quiet` every answer of a day is the same; in
`changing` every answer has one record changed. Prints the figures as JSON.

DAGSTER_HOME after a year is computed: `CDR_KEEP_RUNS_DAYS` days as they grew here; for each day before, what was left
after the sensor old_runs had looked at these days as old ones; and the ticks that Dagster keeps by the shipped
dagster.yaml, as many as the sensors' intervals make.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.test_utils import freeze_time

from cdr_assets import instance
from cdr_assets.days import DAY, days_between, midnight
from cdr_assets.settings import KEEP_RUNS_DAYS
from cdr_assets_tests.location import Location
from cdr_assets_tests.reference import Record
from cdr_assets_tests.soak.processes import Place
from cdr_assets_tests.soak.world import Answer, invented, matches, serving
from cdr_assets_tests.ticks import launch, tick

FETCHING = ("closed_days", "settling_days")
BUILDING = "landed_days"
FIRST_DAY = date(2026, 1, 1)
RECORDS_A_DAY = 20
CONFERENCES = 4
YEAR_DAYS = 365
SKIPPED_TICKS_DAYS = 2
OTHER_TICKS_DAYS = 90
SAMPLE_TICKS = 100
LEAST_INTERVAL_S = 30
"""Of a sensor that sets none."""


class Steady:
    """An EnableX whose records stay as they are, or change with every answer of the period route."""

    def __init__(self, days: list[date], changing: bool) -> None:
        self.answers: list[Answer] = []
        self._changing = changing
        self._records = [
            invented(Random(f"{day} {number}"), day, f"{day}-{number}", "", CONFERENCES)
            for day in days
            for number in range(RECORDS_A_DAY)
        ]

    def records_for(self, path: str, number: int) -> list[Record]:
        found = [each for each in self._records if matches(path, each)]
        if self._changing and found and "/period/" in path:
            found[0]["call_num"] = f"changed by answer {number}"
        return found


class Simulated(NamedTuple):
    """The figures. Sizes are in bytes."""

    runs_a_day: float
    requests_a_day: float
    home_after_a_year: float
    home_a_day: float
    home_an_old_day: float
    ticks_a_day: float


def simulate(folder: Path, days: int, before: int, every: timedelta, changing: bool) -> Simulated:
    """Lets the sensors work for `before` days, which are not counted, and for `days` days more."""
    world = Steady(days_between(FIRST_DAY, FIRST_DAY + DAY * (before + days)), changing)
    home = folder / "home"
    instance.prepare(home)
    empty = _used(home)
    with serving(world) as url:
        place = Place(
            {
                "ENABLEX_BASE_URL": url,
                "ENABLEX_APP_ID": "app-id",
                "ENABLEX_APP_KEY": "key",
                "CDR_START_DATE": str(FIRST_DAY),
            },
            folder / "data",
            home,
        )
        with place.location() as location:
            now = midnight(FIRST_DAY + DAY)
            _work(location, now, now + DAY * before, every)
            settled, requests = _used(home), len(world.answers)
            now += DAY * before
            runs = _work(location, now, now + DAY * days, every)
            grown = _used(home)
            a_day = (grown - settled) / days
            _delete_old_runs(location, now + DAY * (days + KEEP_RUNS_DAYS.default + 10))
            an_old_day = (_used(home) - empty) / (before + days)
            ticks = _ticks_a_day(location)
    keep = min(KEEP_RUNS_DAYS.default, YEAR_DAYS)
    kept_ticks = ticks * SKIPPED_TICKS_DAYS + runs / days * OTHER_TICKS_DAYS
    return Simulated(
        runs_a_day=runs / days,
        requests_a_day=(len(world.answers) - requests) / days,
        home_after_a_year=empty
        + keep * a_day
        + (YEAR_DAYS - keep) * an_old_day
        + kept_ticks * _bytes_of_a_tick(folder / "ticks"),
        home_a_day=a_day,
        home_an_old_day=an_old_day,
        ticks_a_day=ticks,
    )


def _work(location: Location, now: datetime, until: datetime, every: timedelta) -> int:
    """Evaluates the sensors from tick to tick and runs what they request. Returns how many runs that were."""
    runs = 0
    while now < until:
        with freeze_time(now), dg.partition_loading_context(effective_dt=now):
            fetched = sum(_launch_requested(location, sensor, now) for sensor in FETCHING)
            runs += fetched
            # Without a run, nothing has landed.
            while fetched and (built := _launch_requested(location, BUILDING, now)):
                runs += built
        now += every
    return runs


def _launch_requested(location: Location, sensor: str, now: datetime) -> int:
    requests = tick(location, sensor, now).run_requests or []
    for request in requests:
        assert launch(location, sensor, request).success, f"a run of {sensor} failed: {request.tags}"
    return len(requests)


def _delete_old_runs(location: Location, now: datetime) -> None:
    """Lets the sensor old_runs look at everything."""
    cursor: str | None = None
    while True:
        with freeze_time(now):
            cursor = tick(location, "old_runs", now, cursor).cursor
        if not cursor:
            return


def _ticks_a_day(location: Location) -> float:
    """As many as the sensors' intervals make."""
    sensors = location.definitions.get_repository_def().sensor_defs
    return sum(DAY.total_seconds() / (sensor.minimum_interval_seconds or LEAST_INTERVAL_S) for sensor in sensors)


def _bytes_of_a_tick(home: Path) -> float:
    """What one tick takes in Dagster's state."""
    instance.prepare(home)
    empty = _used(home)
    reason = "2026-01-09 is fetched again at 2026-01-12 04:00 UTC; everything else is complete"
    with dg.DagsterInstance.from_config(str(home)) as storage:
        for number in range(SAMPLE_TICKS):
            made = storage.create_tick(
                TickData(
                    instigator_origin_id="a" * 40,
                    instigator_name="settling_days",
                    instigator_type=InstigatorType.SENSOR,
                    status=TickStatus.STARTED,
                    timestamp=float(number),
                    selector_id="b" * 40,
                )
            )
            storage.update_tick(made.with_status(TickStatus.SKIPPED, skip_reason=reason, end_timestamp=number + 0.1))
    return (_used(home) - empty) / SAMPLE_TICKS


def _used(home: Path) -> int:
    """What the files take, without the pages that a database keeps for later."""
    return sum(_used_by(path) for path in home.rglob("*") if path.is_file())


def _used_by(path: Path) -> int:
    size = path.stat().st_size
    if path.suffix == ".db":
        with contextlib.closing(sqlite3.connect(path)) as database:
            (free,) = database.execute("PRAGMA freelist_count").fetchone()
            (page,) = database.execute("PRAGMA page_size").fetchone()
        size -= free * page
    return size


def main() -> None:
    how, days, before, minutes, folder = sys.argv[1:]
    found = simulate(Path(folder), int(days), int(before), timedelta(minutes=int(minutes)), how == "changing")
    print(json.dumps({"value": found.runs_a_day, "disk_mb": found.home_after_a_year / 1e6, **found._asdict()}))


if __name__ == "__main__":
    main()
