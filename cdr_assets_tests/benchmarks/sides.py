"""The sides that are compared: each takes a day, or some, from the server into a folder of its own, and is measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

from cdr_assets_tests.benchmarks.process import BIN, Run, environment, run, script

LONGEST_RANGE = 31
"""Days of one run of a range: what the sensors request."""

NEEDS = {"with_dlt": "dlt", "with_pandas": "pandas"}
"""Packages that only a peer needs."""

ASK = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print(connection.execute(sys.argv[2]).fetchone()[0])
"""


COUNT_PEER = "SELECT count(*) FROM cdr"


class Wrong(Exception):
    """A side did not do its work, so its figures say nothing."""


def project(url: str, folder: Path, days: Sequence[date], count: int) -> Run:
    """This project: from HTTP to the three usage tables, through Dagster, in runs of 31 days at most."""
    total = None
    for first in range(0, len(days), LONGEST_RANGE):
        took = _materialize(url, folder, days[first : first + LONGEST_RANGE])
        total = total.then(took) if total else took
    assert total is not None
    for what in ("count(*) FROM call_detail_records", "sum(connections) FROM room_usage"):
        _expect(folder / "cdr.duckdb", f"SELECT {what} WHERE usage_date BETWEEN '{days[0]}' AND '{days[-1]}'", count)
    return total._replace(disk_mb=_disk_mb(folder))


def _materialize(url: str, folder: Path, days: Sequence[date]) -> Run:
    partitions = ["--partition", f"{days[0]}"] if len(days) == 1 else ["--partition-range", f"{days[0]}...{days[-1]}"]
    materialize = [str(BIN / "dagster"), "asset", "materialize", "-m", "cdr_assets.definitions"]
    return run(
        [*materialize, "--select", 'key:"period_cdr"+', *partitions],
        folder,
        ENABLEX_APP_ID="app",
        ENABLEX_APP_KEY="key",
        ENABLEX_BASE_URL=url,
        CDR_DATA_DIR=str(folder),
        CDR_START_DATE="2025-01-01",
        # The server has no other route, and no other side asks twice.
        CDR_AGREEMENT_SAMPLE="0",
    )


def peer(name: str, url: str, folder: Path, day: date, count: int) -> Run:
    """One of the scripts in `peers/`: from HTTP to one raw table."""
    took = run(script(f"peers/{name}.py", url, day, folder / "peer.duckdb"), folder)
    _expect(folder / "peer.duckdb", COUNT_PEER, count)
    return took


def is_installed(name: str) -> bool:
    """Whether a peer's packages are there."""
    return name not in NEEDS or find_spec(NEEDS[name]) is not None


def typed_read(lines: Path, folder: Path, count: int) -> Run:
    """DuckDB alone, from lines on disk into a table, with the types declared."""
    took = run(script("peers/typed_read.py", lines, folder / "peer.duckdb"), folder)
    _expect(folder / "peer.duckdb", COUNT_PEER, count)
    return took


def download(url: str, folder: Path, day: date) -> Run:
    """The answer, to nowhere."""
    return run(script("peers/download.py", url, day), folder)


def python(code: str, folder: Path) -> Run:
    """A Python process that runs a line of code."""
    return run([sys.executable, "-c", code], folder)


def on_history(history: Path, url: str, folder: Path, day: date, count: int) -> Run:
    """This project, on a copy of a warehouse that has history."""
    with history.open("rb") as source, (folder / "cdr.duckdb").open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 24)
        os.fsync(copy.fileno())
    return project(url, folder, [day], count)


def days_from(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def _expect(database: Path, query: str, count: int) -> None:
    command = [sys.executable, "-c", ASK, str(database), query]
    found = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout.strip()
    # The sum of no rows is None.
    if found.replace("None", "0") != str(count):
        raise Wrong(f"{query}: {found} instead of {count}")


def _disk_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
