"""The plan of a benchmark: rows, in groups that share their records. A group's rows run in turn, again and again."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cdr_assets_tests.benchmarks import sides
from cdr_assets_tests.benchmarks.process import Run, environment, script

DAY = date(2026, 1, 1)
EMPTY_DAY = date(2026, 1, 3)
YEAR = date(2025, 1, 1)
DELAY_MS = 300


class Sizes(NamedTuple):
    """Records of the days, and how many days there are of them."""

    small: int = 10_000
    medium: int = 100_000
    large: int = 500_000
    huge: int = 5_000_000
    year_days: int = 365
    year_records: int = 2_000
    late_days: int = 30
    history_days: int = 365
    history_records: int = 100_000


QUICK = Sizes(
    small=200,
    medium=1_000,
    large=4_000,
    huge=20_000,
    year_days=33,
    year_records=20,
    late_days=5,
    history_days=10,
    history_records=500,
)

Measure = Callable[[Path, str, Path], Run]
"""Measures one process, given the folder of prepared files, the server's URL, and an empty folder to work in."""


class Row(NamedTuple):
    name: str
    what: str
    measure: Measure
    records: int = 0
    most_runs: int = 1_000
    needs: str = ""


class Group(NamedTuple):
    """Rows over the same prepared files."""

    prepare: Callable[[Path], None]
    rows: list[Row]


def groups(sizes: Sizes) -> list[Group]:
    """The whole plan."""
    return [
        *(day(name, getattr(sizes, name)) for name in ("small", "medium", "large")),
        range_of_days(sizes),
        history(sizes),
        huge_day(sizes.huge),
        loading(),
    ]


def loading() -> Group:
    def code(words: str) -> Measure:
        return lambda files, url, folder: sides.python(words, folder)

    return Group(
        lambda files: None,
        [
            Row("load", "import cdr_assets.definitions", code("import cdr_assets.definitions")),
            Row("load-all", "... and resolve all it defines", code(RESOLVE)),
            Row("load-dagster", "import dagster", code("import dagster")),
        ],
    )


RESOLVE = "from cdr_assets.definitions import defs; defs.get_repository_def()"


def day(size: str, count: int) -> Group:
    def ours(files: Path, url: str, folder: Path) -> Run:
        return sides.project(f"{url}/day", folder, [DAY], count)

    def empty(files: Path, url: str, folder: Path) -> Run:
        return sides.project(f"{url}/day", folder, [EMPTY_DAY], 0)

    def peer(name: str) -> Measure:
        return lambda files, url, folder: sides.peer(name, f"{url}/day", folder, DAY, count)

    rows = [
        Row(f"day-{size}", f"a day of {count:,}: this project", ours, count),
        Row(f"empty-{size}", "  an empty day: this project", empty),
        Row(f"read-{size}", "  limit: DuckDB's typed read of lines on disk", partial(_typed_read, count), count),
        Row(f"download-{size}", "  limit: the bare download", _download, count),
        Row(f"duckdb-{size}", "  DuckDB's read of the whole object", peer("with_duckdb"), count),
        Row(f"pandas-{size}", "  requests, pandas, DuckDB", peer("with_pandas"), count, needs="with_pandas"),
        Row(f"dlt-{size}", "  dlt's REST API source", peer("with_dlt"), count, needs="with_dlt"),
    ]
    if size == "large":
        # dlt's time is in proportion to the records: it would take most of the benchmark's.
        rows.pop()
    return Group(lambda files: _make(files / "day", count, [DAY], lines=True), rows)


def _typed_read(count: int, files: Path, url: str, folder: Path) -> Run:
    return sides.typed_read(files / "day" / f"{DAY}.ndjson", folder, count)


def _download(files: Path, url: str, folder: Path) -> Run:
    return sides.download(f"{url}/day", folder, DAY)


def huge_day(count: int) -> Group:
    def ours(files: Path, url: str, folder: Path) -> Run:
        return sides.project(f"{url}/day", folder, [DAY], count)

    return Group(
        lambda files: _make(files / "day", count, [DAY]),
        [Row("day-huge", f"a day of {count:,}: this project", ours, count, most_runs=1)],
    )


def range_of_days(sizes: Sizes) -> Group:
    year = sides.days_from(YEAR, sizes.year_days)
    some = year[: sizes.late_days]

    def run(name: str, days: list[date]) -> Measure:
        count = len(days) * sizes.year_records
        return lambda files, url, folder: sides.project(f"{url}/{name}", folder, days, count)

    each = f"x {sizes.year_records:,}"
    return Group(
        lambda files: _make(files / "range", sizes.year_records, year),
        [
            Row("prompt", f"{len(some)} days {each}, one run", run("range", some), len(some) * sizes.year_records),
            Row(
                "late",
                f"  answers begin after {DELAY_MS} ms",
                run(f"after-{DELAY_MS}-ms", some),
                len(some) * sizes.year_records,
            ),
            Row(
                "year",
                f"{len(year)} days {each}, runs of {sides.LONGEST_RANGE} days",
                run("range", year),
                len(year) * sizes.year_records,
            ),
        ],
    )


def history(sizes: Sizes) -> Group:
    count, days = sizes.history_records, sizes.history_days

    def prepare(files: Path) -> None:
        _make(files / "day", count, [DAY])

    def without(files: Path, url: str, folder: Path) -> Run:
        return sides.project(f"{url}/day", folder, [DAY], count)

    def behind(files: Path, url: str, folder: Path) -> Run:
        warehouse = files / "history.duckdb"
        if not warehouse.exists():
            with tempfile.TemporaryDirectory(dir=folder) as template:
                without(files, url, Path(template))
                _script("history.py", Path(template) / "cdr.duckdb", warehouse, days)
        return sides.on_history(warehouse, f"{url}/day", folder, DAY, count)

    return Group(
        prepare,
        [
            Row("history", f"a day of {count:,} on {days} x {count:,}", behind, count),
            Row("no-history", "  on an empty warehouse", without, count),
        ],
    )


def _make(folder: Path, count: int, days: list[date], lines: bool = False) -> None:
    _script("records.py", folder, count, *days, *["--lines"][:lines])


def _script(name: str, *words: object) -> None:
    subprocess.run(script(name, *words), env=environment(), check=True)
