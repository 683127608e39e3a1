"""What a lake costs, and what several workers gain. Needs the servers of `make test-scale`.

    python -m cdr_assets_tests.scale.servers python -m cdr_assets_tests.benchmarks.machines [--records N]

Prints the CPU seconds of a day on a file and on a lake with S3, in turn; then how long workers take for the same days
from a server that answers 5 s late. A worker is a process that does what a run does, without Dagster.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import AbstractContextManager, closing
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path

import psycopg

from cdr_assets.enablex.client import EnableX
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.daily_run import DailyRun
from cdr_assets.places import LAKE, Places
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.benchmarks import records, server
from cdr_assets_tests.scale import BUCKET, POSTGRES

FIRST = date(2026, 11, 1)
LATE_MS = 5_000
WORKERS = (1, 2, 4)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=100_000, help="Records of the day whose cost is measured.")
    options.add_argument("--of-workers", type=int, default=20_000, help="Records of each day that the workers do.")
    options.add_argument("--days", type=int, default=12, help="Days that the workers do.")
    options.add_argument("--rounds", type=int, default=2)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = [FIRST + timedelta(days=number) for number in range(given.days)]
        _write(folder / "one", given.records, [FIRST])
        _write(folder / "range", given.of_workers, days)
        command = [sys.executable, server.__file__, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout
            url = f"http://127.0.0.1:{int(serving.stdout.readline())}"
            for _ in range(given.rounds):
                for kind in ("file", "lake"):
                    seconds, cpu = _timed(1, f"{url}/one", _places(folder, kind), [FIRST])
                    print(f"a day of {given.records} on a {kind}: {seconds:.1f} s, {cpu:.1f} CPU s", flush=True)
            for count in WORKERS:
                places = _places(folder, "lake")
                seconds, cpu = _timed(count, f"{url}/after-{LATE_MS}-ms", places, days)
                print(f"{given.days} days by {count} workers: {seconds:.1f} s, {cpu:.1f} CPU s", flush=True)
            serving.kill()


def _write(folder: Path, count: int, days: list[date]) -> None:
    command = [sys.executable, records.__file__, str(folder), str(count), *map(str, days)]
    subprocess.run(command, check=True)


def _places(folder: Path, kind: str) -> Places:
    """Places of their own, in which the tables are made already."""
    name = f"bench_{uuid.uuid4().hex}"
    places = Places.read(folder / name)
    if kind == "lake":
        with psycopg.connect(POSTGRES, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        places = Places.read(folder / name, f"{LAKE}{POSTGRES} dbname={name}", f"s3://{BUCKET}/{name}")
    with Warehouse(places).connect():
        pass
    return places


def _timed(workers: int, url: str, places: Places, days: list[date]) -> tuple[float, float]:
    """Seconds by the clock, and CPU seconds of all workers."""
    context = get_context("spawn")
    processes = [context.Process(target=_work, args=(url, places, days[number::workers])) for number in range(workers)]
    began, used = time.monotonic(), _cpu()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.monotonic() - began, _cpu() - used


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _work(url: str, places: Places, days: list[date]) -> None:
    def client() -> AbstractContextManager[EnableX]:
        return closing(EnableX("app", "key", url))

    zone = LandingZone(places)
    # Runs of a single day, as they are spread over workers.
    for day in days:
        with DailyRun(zone, Warehouse(places), client, DAILY_TABLES) as run:
            for outcome in run.fetch_and_build([day], concurrency=1):
                if outcome.error:
                    raise outcome.error


if __name__ == "__main__":
    main()
