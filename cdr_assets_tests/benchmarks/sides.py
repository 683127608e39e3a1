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

from cdr_assets_tests.benchmarks import idle
from cdr_assets_tests.benchmarks.process import BIN, Run, environment, run, script

LONGEST_RANGE = 31
"""Days of one run of a range: what the sensors request."""

NEEDS = {"with_dlt": "dlt", "with_pandas": "pandas"}
"""Packages that only a peer needs."""

LINUX = "linux"

ASK = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print(connection.execute(sys.argv[2]).fetchone()[0])
"""


COUNT_PEER = "SELECT count(*) FROM cdr"
COUNT_RECORDS = "SELECT count(*) FROM call_detail_records"
CDR_ASSETS = [sys.executable, "-c", "from cdr_assets.cli import main; main()"]


ALL_TABLES = 'key:"period_cdr"+'
THREE_TABLES = " or ".join(
    f'key:"{name}"' for name in ("period_cdr", "call_detail_records", "room_usage", "conference_usage")
)


class Wrong(Exception):
    """A side did not do its work, so its figures say nothing."""


def project(
    url: str,
    folder: Path,
    days: Sequence[date],
    count: int,
    checkout: Path | None = None,
    selection: str = ALL_TABLES,
) -> Run:
    """This project: from HTTP to all tables, or to those of `selection`, through Dagster, in runs of 31 days at most.

    With a `checkout`, it is the project as it is there.
    """
    total = None
    for first in range(0, len(days), LONGEST_RANGE):
        took = _materialize(url, folder, days[first : first + LONGEST_RANGE], checkout, selection)
        total = total.then(took) if total else took
    assert total is not None
    for what in ("count(*) FROM call_detail_records", "sum(connections) FROM room_usage"):
        _expect(folder / "cdr.duckdb", f"SELECT {what} WHERE usage_date BETWEEN '{days[0]}' AND '{days[-1]}'", count)
    return total._replace(disk_mb=_disk_mb(folder))


def again(loaded: Path, url: str, folder: Path, day: date, count: int, changed: int) -> Run:
    """The daily assets of this project for a day that has landed. `changed` records are others than before."""
    shutil.copytree(loaded, folder, dirs_exist_ok=True)
    os.sync()
    took = _materialize(url, folder, [day])
    for query in (COUNT_RECORDS, "SELECT sum(connections) FROM room_usage"):
        _expect(folder / "cdr.duckdb", query, count)
    _expect(folder / "cdr.duckdb", f"{COUNT_RECORDS} WHERE user_role = 'moderator'", changed)
    return took


def land(url: str, folder: Path, day: date) -> Run:
    """The landing zone of this project alone, without tables and without Dagster."""
    return run(script("land.py", url, day, folder), folder)


def land_again(landed: Path, url: str, folder: Path, day: date) -> Run:
    """The same for a day that has landed."""
    shutil.copytree(landed, folder, dirs_exist_ok=True)
    os.sync()
    return land(url, folder, day)


def checks(warehouse: Path, folder: Path) -> Run:
    """Every check of this project on every day of a warehouse."""
    _copy(warehouse, folder / "cdr.duckdb")
    return run(script("checks.py"), folder, CDR_DATA_DIR=str(folder), CDR_AGREEMENT_SAMPLE="0")


def rebuild(loaded: Path, folder: Path, first: date, last: date, count: int) -> Run:
    """The command `cdr-assets rebuild`."""
    shutil.copytree(loaded, folder, dirs_exist_ok=True)
    os.sync()
    took = run(
        [*CDR_ASSETS, "rebuild", "--from", str(first), "--to", str(last)],
        folder,
        CDR_DATA_DIR=str(folder),
        CDR_START_DATE=str(first),
        DAGSTER_HOME=str(folder / "home"),
    )
    _expect(folder / "cdr.duckdb", COUNT_RECORDS, count)
    return took


def _materialize(
    url: str, folder: Path, days: Sequence[date], checkout: Path | None = None, selection: str = ALL_TABLES
) -> Run:
    partitions = ["--partition", f"{days[0]}"] if len(days) == 1 else ["--partition-range", f"{days[0]}...{days[-1]}"]
    materialize = [str(BIN / "dagster"), "asset", "materialize", "-m", "cdr_assets.definitions"]
    return run(
        [*materialize, "--select", selection, *partitions],
        folder,
        ENABLEX_APP_ID="app",
        ENABLEX_APP_KEY="key",
        ENABLEX_BASE_URL=url,
        CDR_DATA_DIR=str(folder),
        CDR_START_DATE="2025-01-01",
        # The server has no other route, and no other side asks twice.
        CDR_AGREEMENT_SAMPLE="0",
        **({"PYTHONPATH": str(checkout)} if checkout else {}),
    )


def peer(name: str, url: str, folder: Path, day: date, count: int) -> Run:
    """One of the scripts in `peers/`: from HTTP to one raw table."""
    took = run(script(f"peers/{name}.py", url, day, folder / "peer.duckdb"), folder)
    _expect(folder / "peer.duckdb", COUNT_PEER, count)
    return took


def is_measurable(needs: str) -> bool:
    """Whether what a row needs is there: a peer's packages, or Linux's figures of other processes."""
    if needs == LINUX:
        return idle.is_measurable()
    return needs not in NEEDS or find_spec(NEEDS[needs]) is not None


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
    _copy(history, folder / "cdr.duckdb")
    return project(url, folder, [day], count)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 24)
        os.fsync(copy.fileno())


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
