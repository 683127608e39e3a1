"""A month of calls, and hostile records among them, that two Celery workers fetch and build."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, datetime, time, timezone
from pathlib import Path
from random import Random
from unittest.mock import patch

import dagster as dg
import pytest
import requests
from dagster import DagsterRunStatus, RunsFilter

from cdr_assets.days import DAY
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.live_run import RANGE_END_TAG, RANGE_START_TAG
from cdr_assets.pipeline.project_runs import IN_FLIGHT
from cdr_assets.places import Places
from cdr_assets.processes import console_script
from cdr_assets.sandbox.server import Sandbox
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.move import copy_files
from cdr_assets.warehouse.people import KEY
from cdr_assets.warehouse.rooms import NoRooms
from cdr_assets.warehouse.table import Facts
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.location import Script
from cdr_assets_tests.reference import Record, hostile, utc_day
from cdr_assets_tests.scale.cluster import MODULE, Cluster, cluster
from cdr_assets_tests.scale.worlds import build_until_done, differences, restated

MONTH = 31
CHANGED = 6
"""Of so many days the records changed when they are fetched again."""
SEED = 0
"""One of those whose records have conferences that last longer than the month."""


def hostile_month(last: date) -> dict[date, list[Record]]:
    """Hostile records of a month that ends with `last`. Those that the seed has for later days are left out."""
    first = datetime.combine(last - (MONTH - 1) * DAY, time())
    begins = datetime.combine(min(hostile.hostile_days(SEED)), time())
    with patch.object(hostile, "FIRST", hostile.FIRST + (first - begins)):
        return {day: records for day, records in hostile.hostile_days(SEED).items() if day <= last}


def calls(sandbox: Sandbox, day: date) -> list[Record]:
    """What the sandbox answers for the day."""
    answer = requests.get(
        f"{sandbox.base_url}/cdr/period/{day}/{day}",
        auth=(sandbox.settings.app_id, sandbox.settings.app_key),
        timeout=PATIENCE_S,
    )
    records: list[Record] = answer.json()["cdr"]
    return records


@pytest.mark.timeout(2 * PATIENCE_S + 300)
def test_two_workers_build_what_one_process_builds(
    tmp_path: Path, postgres: str, sandbox: Sandbox, script: Script
) -> None:
    yesterday = datetime.now(timezone.utc).date() - DAY
    days = {day: [*records, *calls(sandbox, day)] for day, records in hostile_month(yesterday).items()}
    assert sum(map(len, days.values())) > 1000
    for day, records in days.items():
        script.holds(day, *records)
    # Midnight may pass.
    script.holds(yesterday + DAY)
    settings = {
        "CDR_START_DATE": str(min(days)),
        "CDR_DAYS_A_RUN": "12",
        "CDR_TICK_SECONDS": "10",
        "CDR_SETTLE_MINUTES": "0",
        "CDR_SETTLING_DAYS": "0",
        "CDR_OPEN_DAY_MINUTES": "0",
    }
    # The sensors leave one run for the day that is open.
    with cluster(tmp_path, {**script.environment, **settings}, postgres, workers=3) as machines:
        with machines.instance() as instance:
            machines.start_daemon()
            for name in ("w1", "w2"):
                machines.start_worker(name)
            wait_until_all_is_built(machines, instance, set(days))
            again = sorted(days)[:CHANGED]
            for day, records in changed({day: days[day] for day in again}).items():
                script.holds(day, *records)
            middle = CHANGED // 2
            for ends in ((again[0], again[middle - 1]), (again[middle], again[-1])):
                tags = dict(zip((RANGE_START_TAG, RANGE_END_TAG), map(str, ends), strict=True))
                launch = ("dagster", "job", "launch", "-m", MODULE, "-j", "daily_cdr", "--tags", json.dumps(tags))
                machines.run(console_script(*launch))
            wait_until_all_is_built(machines, instance, set(days))
            done = {each.tags["dagster-celery/task_id"] for each in instance.get_runs()}
            assert len(done) >= len(days) / 12
        lake = Places.from_environment(machines.environment)
        plain = copy_of_landing(lake, tmp_path / "plain")
        with patch.dict("os.environ", machines.environment):
            assert differences(lake, plain) == []


def changed(days: dict[date, list[Record]]) -> dict[date, list[Record]]:
    """The days with every sixth record restated, or moved by up to three days within them."""
    rng, now = Random(SEED), defaultdict[date, list[Record]](list)
    for day in sorted(days):
        for record in days[day]:
            if rng.random() < 1 / 6:
                other = restated(rng, record)
                record = other if utc_day(other) in days else record
            now[utc_day(record)].append(record)
    return {day: now[day] for day in days}


def wait_until_all_is_built(machines: Cluster, instance: dg.DagsterInstance, days: set[date]) -> None:
    zone = LandingZone(Places.from_environment(machines.environment))
    warehouse = Warehouse(Places.from_environment(machines.environment))

    def is_built() -> bool:
        if instance.get_runs_count(RunsFilter(statuses=IN_FLIGHT)):
            return False
        landed, built = zone.days(), warehouse.built_days()
        return set(landed) >= days and all(built.get(day) == version for day, version in landed.items())

    machines.wait(is_built, PATIENCE_S, every_s=3)
    failed = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]))
    assert not failed, [run.run_id for run in failed]


def copy_of_landing(places: Places, folder: Path) -> Path:
    """A DuckDB file that one process builds from the same landed records, in a folder. Returns its path."""
    plain = Places.read(folder)
    copy_files(places.storage, plain.storage, "landing")
    # With another key, people have other hashes.
    plain.storage.write(KEY, places.storage.read(KEY) or "")
    zone = LandingZone(plain)
    # Connections go on until days that nobody asked for.
    facts = Facts(NoRooms(), is_provisional=lambda day: zone.asked(day) is None)
    build_until_done(Warehouse(plain, facts=facts), zone, sorted(zone.days()))
    return plain.file
