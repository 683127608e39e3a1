"""What a lake costs, and what several workers gain. Needs the servers of `make test-scale`.

    python -m cdr_assets_tests.scale.servers python -m cdr_assets_tests.benchmarks.machines [--records N]

Prints the CPU seconds of a day on a file and on a lake with S3, in turn; then how long workers take for the same days
from a server that answers 5 s late. A worker is a process that does what a run does, without Dagster. "Writing" is how
long the workers together had the warehouse open, which only one of them has at a time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import date, timedelta
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psycopg

from cdr_assets.database import Connection
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
                    took = _timed(1, f"{url}/one", _places(folder, kind), [FIRST])
                    print(f"a day of {given.records:,} on a {kind}: {took}", flush=True)
            for count in WORKERS:
                took = _timed(count, f"{url}/after-{LATE_MS}-ms", _places(folder, "lake"), days)
                print(f"{given.days} days of {given.of_workers:,} by {count} workers: {took}", flush=True)
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


def _timed(workers: int, url: str, places: Places, days: list[date]) -> str:
    """Seconds by the clock, CPU seconds of all workers, and how long these had the warehouse open."""
    context = get_context("spawn")
    writing = context.Value("d", 0.0)
    processes = [
        context.Process(target=_work, args=(url, places, days[number::workers], writing)) for number in range(workers)
    ]
    began, used = time.monotonic(), _cpu()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return f"{time.monotonic() - began:.1f} s, {_cpu() - used:.1f} CPU s, writing {writing.value:.1f} s"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Timed(Warehouse):
    """A warehouse that knows how long it was open."""

    open_s = 0.0

    @contextmanager
    def connect(self, patience_s: float | None = None) -> Iterator[Connection]:
        with super().connect(patience_s) as connection:
            began = time.monotonic()
            yield connection
            self.open_s += time.monotonic() - began


def _work(url: str, places: Places, days: list[date], writing: Synchronized[float]) -> None:
    def client() -> AbstractContextManager[EnableX]:
        return closing(EnableX("app", "key", url))

    zone, warehouse = LandingZone(places), _Timed(places)
    # Runs of a single day, as they are spread over workers.
    for day in days:
        with DailyRun(zone, warehouse, client, DAILY_TABLES) as run:
            for outcome in run.fetch_and_build([day], concurrency=1):
                if outcome.error:
                    raise outcome.error
    with writing.get_lock():
        writing.value += warehouse.open_s


if __name__ == "__main__":
    main()
