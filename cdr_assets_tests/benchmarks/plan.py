"""The plan of a benchmark: rows, in groups that share their records. A group's rows run in turn, again and again."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cdr_assets_tests.benchmarks import idle, sides
from cdr_assets_tests.benchmarks.process import Run, environment, module, script, with_figures
from cdr_assets_tests.benchmarks.variants import CHANGED_EVERY

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
    small_records: int = 200
    rebuild_days: int = 365
    check_days: int = 5 * 365
    month_days: int = 30
    month_records: int = 10_000
    month_fetches: int = 12
    simulated_days: int = 7
    simulated_before: int = 5
    simulated_minutes: int = 10
    idle_wait_s: float = 60
    idle_s: float = 180


QUICK = Sizes(
    small=200,
    medium=1_000,
    large=4_000,
    huge=8_000,
    year_days=33,
    year_records=20,
    late_days=5,
    history_days=3,
    history_records=500,
    small_records=20,
    rebuild_days=2,
    check_days=5,
    month_days=2,
    month_records=1_000,
    month_fetches=4,
    simulated_days=1,
    simulated_before=1,
    simulated_minutes=120,
    idle_wait_s=2,
    idle_s=5,
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


def groups(sizes: Sizes, before: Path | None = None) -> list[Group]:
    """The whole plan. With `before`, an older checkout, that is measured too."""
    return [
        *(day(name, getattr(sizes, name)) for name in ("small", "medium", "large")),
        range_of_days(sizes),
        history(sizes),
        huge_day(sizes.huge, before),
        landing_again(sizes.huge),
        month(sizes),
        small_days(sizes),
        many_checks(sizes),
        simulated(sizes),
        waiting(sizes),
        loading(),
    ]


def loading() -> Group:
    def code(words: str) -> Measure:
        return lambda files, url, folder: sides.python(words, folder)

    return Group(
        _nothing,
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

    def three_tables(day: date, count: int) -> Measure:
        return lambda files, url, folder: sides.project(
            f"{url}/day", folder, [day], count, selection=sides.THREE_TABLES
        )

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
        rows += again(count)
        rows += [
            Row("three-large", "  rooms and conferences alone: this project", three_tables(DAY, count), count),
            Row("three-empty", "  the same, an empty day", three_tables(EMPTY_DAY, 0)),
        ]

    def prepare(files: Path) -> None:
        _make(files / "day", count, [DAY], lines=True)
        if size == "large":
            _vary(files, "order")
            _vary(files, "changed")

    return Group(prepare, rows)


def again(count: int) -> list[Row]:
    """The large day, when it has landed and is fetched again."""

    def fetched_again(answers: str, changed: int) -> Measure:
        def measure(files: Path, url: str, folder: Path) -> Run:
            return sides.again(_loaded(files, url, [DAY], count), f"{url}/{answers}", folder, DAY, count, changed)

        return measure

    return [
        Row("same-large", "  again, identical: this project", fetched_again("day", 0), count),
        Row("order-large", "  again, in another order: this project", fetched_again("order", 0), count),
        Row(
            "changed-large",
            "  again, 1 % changed: this project",
            fetched_again("changed", -(-count // CHANGED_EVERY)),
            count,
        ),
    ]


def _loaded(files: Path, url: str, days: list[date], count: int, answers: str = "day") -> Path:
    """A data folder that these days have been fetched into once. Made when it is first needed."""
    loaded = files / "loaded"
    if not loaded.exists():
        loading = files / "loading"
        loading.mkdir()
        sides.project(f"{url}/{answers}", loading, days, count)
        loading.rename(loaded)
    return loaded


def _typed_read(count: int, files: Path, url: str, folder: Path) -> Run:
    return sides.typed_read(files / "day" / f"{DAY}.ndjson", folder, count)


def _download(files: Path, url: str, folder: Path) -> Run:
    return sides.download(f"{url}/day", folder, DAY)


def huge_day(count: int, before: Path | None) -> Group:
    def of(checkout: Path | None, selection: str = sides.ALL_TABLES) -> Measure:
        return lambda files, url, folder: sides.project(f"{url}/day", folder, [DAY], count, checkout, selection)

    rows = [Row("day-huge", f"a day of {count:,}: this project", of(None), count, most_runs=1)]
    if before:
        three = of(None, sides.THREE_TABLES)
        rows.append(Row("three-huge", "  rooms and conferences alone: this project", three, count, most_runs=2))
        rows.append(Row("before-huge", "  the older checkout", of(before), count, most_runs=2))
    return Group(lambda files: _make(files / "day", count, [DAY]), rows)


def landing_again(count: int) -> Group:
    def prepare(files: Path) -> None:
        _make(files / "day", count, [DAY])
        _vary(files, "order")

    def first(files: Path, url: str, folder: Path) -> Run:
        return sides.land(f"{url}/day", folder, DAY)

    def order(files: Path, url: str, folder: Path) -> Run:
        landed = files / "landed"
        if not landed.exists():
            landed.mkdir()
            sides.land(f"{url}/day", landed, DAY)
        return sides.land_again(landed, f"{url}/order", folder, DAY)

    return Group(
        prepare,
        [
            Row("land-huge", f"{count:,} landed, without tables", first, count, most_runs=1),
            Row("land-huge-order", "  again, in another order", order, count, most_runs=1),
        ],
    )


def month(sizes: Sizes) -> Group:
    days, records, fetches = sizes.month_days, sizes.month_records, sizes.month_fetches

    def measure(files: Path, url: str, folder: Path) -> Run:
        return with_figures(module("month", folder, days, records, fetches), folder)

    words = f"{days} days x {records:,} fetched {fetches} times: disk, ratio"
    return Group(_nothing, [Row("month", words, measure, days * records * fetches, most_runs=1)])


def small_days(sizes: Sizes) -> Group:
    days, records = sides.days_from(YEAR, sizes.rebuild_days), sizes.small_records

    def rebuild(last: date) -> Measure:
        def measure(files: Path, url: str, folder: Path) -> Run:
            count = len(days) * records
            return sides.rebuild(_loaded(files, url, days, count, "range"), folder, days[0], last, count)

        return measure

    each = f"x {records:,}"
    return Group(
        lambda files: _make(files / "range", records, days),
        [
            Row("rebuild-year", f"rebuild of {len(days)} days {each}", rebuild(days[-1]), len(days) * records),
            Row("rebuild-day", "  of the first of them", rebuild(days[0]), records),
        ],
    )


def many_checks(sizes: Sizes) -> Group:
    records, days = sizes.small_records, sizes.check_days

    def measure(files: Path, url: str, folder: Path) -> Run:
        warehouse = files / "history.duckdb"
        if not warehouse.exists():
            _script("history.py", _loaded(files, url, [DAY], records) / "cdr.duckdb", warehouse, days)
        return sides.checks(warehouse, folder)

    return Group(
        lambda files: _make(files / "day", records, [DAY]),
        [Row("checks", f"every check on {days:,} days x {records:,}", measure, days * records)],
    )


def simulated(sizes: Sizes) -> Group:
    def of(how: str) -> Measure:
        times = (sizes.simulated_days, sizes.simulated_before, sizes.simulated_minutes)
        return lambda files, url, folder: with_figures(module("simulated", how, *times, folder), folder)

    days = f"{sizes.simulated_days} simulated days"
    return Group(
        _nothing,
        [
            Row("days-quiet", f"{days}, quiet: runs a day", of("quiet"), most_runs=1),
            Row("days-changing", "  every answer changes: runs a day", of("changing"), most_runs=1),
        ],
    )


def waiting(sizes: Sizes) -> Group:
    def measure(files: Path, url: str, folder: Path) -> Run:
        return idle.idle(f"{url}/day", folder, sizes.idle_wait_s, sizes.idle_s)

    words = f"cdr-assets serve, idle for {sizes.idle_s:g} s: CPU s an hour"
    return Group(_nothing, [Row("idle", words, measure, most_runs=1, needs=sides.LINUX)])


def _nothing(files: Path) -> None:
    pass


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


def _vary(files: Path, how: str) -> None:
    """The same day as another answer, in a set of the same name."""
    (files / how).mkdir(exist_ok=True)
    _script("variants.py", how, files / "day" / f"{DAY}.json", files / how / f"{DAY}.json")


def _script(name: str, *words: object) -> None:
    subprocess.run(script(name, *words), env=environment(), check=True)
