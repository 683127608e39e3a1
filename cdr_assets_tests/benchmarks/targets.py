"""The targets of this project, computed from the medians of one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cdr_assets_tests.benchmarks.plan import Sizes
from cdr_assets_tests.benchmarks.process import Run
from cdr_assets_tests.benchmarks.sides import LONGEST_RANGE

Medians = Mapping[str, Run]


class Target(NamedTuple):
    """A figure, and the target that it must not exceed, or must reach where `at_least`."""

    name: str
    what: str
    rows: tuple[str, ...]
    """The rows that it is computed from."""
    figure: Callable[[Medians], float]
    target: float
    unit: str = "x"
    at_least: bool = False
    by_cpu: bool = False
    """The target is about the processors' time, in which other work of the machine does not count."""

    def held(self, value: float) -> bool:
        return value >= self.target if self.at_least else value <= self.target


def targets(sizes: Sizes, json_mb: Mapping[str, float]) -> list[Target]:
    """Every target. A figure raises KeyError where a row that it needs was not measured."""
    return [*_of_fetching_again(sizes), *_of_years(sizes), *_of_first_loads(sizes, json_mb)]


def _of_fetching_again(sizes: Sizes) -> list[Target]:
    large, huge = f"{sizes.large:,}", f"{sizes.huge:,}"

    def again(name: str, what: str, row: str, target: float) -> Target:
        return Target(
            name,
            f"{large} again, {what}, net, to their first load, net",
            (row, "day-large", "empty-large"),
            lambda of: (of[row].seconds - of["empty-large"].seconds) / _net(of, "large"),
            target,
            by_cpu=True,
        )

    return [
        again("again-identical", "identical", "same-large", 0.35),
        again("again-order", "another order", "order-large", 0.6),
        again("again-changed", "1 % changed", "changed-large", 0.9),
        Target(
            "compare-time",
            f"{huge} in another order: landed, net of a first landing",
            ("land-huge-order", "land-huge"),
            lambda of: of["land-huge-order"].seconds - of["land-huge"].seconds,
            15,
            "s",
        ),
        Target(
            "compare-memory",
            f"{huge} in another order: peak memory",
            ("land-huge-order",),
            lambda of: of["land-huge-order"].peak_mb,
            350,
            "MB",
        ),
        Target(
            "month-disk",
            "a month's landing zone to that of one final fetch",
            ("month",),
            lambda of: _value(of, "month"),
            1.05,
        ),
        Target("runs-quiet", "runs a day, quiet", ("days-quiet",), lambda of: _value(of, "days-quiet"), 4, ""),
        Target(
            "runs-changing",
            "runs a day, every answer changes",
            ("days-changing",),
            lambda of: _value(of, "days-changing"),
            5,
            "",
        ),
    ]


def _of_years(sizes: Sizes) -> list[Target]:
    checks = f"{sizes.check_days:,} days x {sizes.small_records}"

    def home(of: Medians, row: str) -> float:
        return of[row].disk_mb or 0

    return [
        Target("checks", f"all checks executed, {checks}", ("checks",), lambda of: of["checks"].seconds, 5, "s"),
        Target(
            "rebuild",
            f"rebuild of {sizes.rebuild_days} x {sizes.small_records}, a day",
            ("rebuild-year", "rebuild-day"),
            lambda of: (of["rebuild-year"].seconds - of["rebuild-day"].seconds) / (sizes.rebuild_days - 1),
            0.08,
            "s",
            by_cpu=True,
        ),
        Target(
            "home-quiet",
            "DAGSTER_HOME after a year, quiet",
            ("days-quiet",),
            lambda of: home(of, "days-quiet"),
            300,
            "MB",
        ),
        Target(
            "home-changing",
            "DAGSTER_HOME after a year, every answer changes",
            ("days-changing",),
            lambda of: home(of, "days-changing"),
            300,
            "MB",
        ),
        Target("idle-cpu", "idle service, CPU seconds an hour", ("idle",), lambda of: _value(of, "idle"), 90, "s"),
        Target("idle-memory", "idle service, memory", ("idle",), lambda of: of["idle"].peak_mb, 400, "MB"),
    ]


def _of_first_loads(sizes: Sizes, json_mb: Mapping[str, float]) -> list[Target]:
    large, medium, huge = f"{sizes.large:,}", f"{sizes.medium:,}", f"{sizes.huge:,}"
    runs = -(-sizes.year_days // LONGEST_RANGE)
    return [
        Target(
            "typed-read",
            f"{large}, net of an empty day, to DuckDB's typed read",
            ("day-large", "empty-large", "read-large"),
            lambda of: _net(of, "large") / of["read-large"].seconds,
            2.0,
            by_cpu=True,
        ),
        Target(
            "before-time",
            f"{huge} to the older checkout",
            ("three-huge", "before-huge"),
            lambda of: _ratio(of, "three-huge", "before-huge"),
            1.05,
        ),
        Target(
            "before-memory",
            f"peak memory, {huge}, to the older checkout",
            ("three-huge", "before-huge"),
            lambda of: of["three-huge"].peak_mb / of["before-huge"].peak_mb,
            1.05,
        ),
        Target(
            "dlt-net",
            f"records per second, {large} net of an empty day, to dlt's at {medium}",
            ("dlt-medium", "day-large", "empty-large"),
            lambda of: of["dlt-medium"].seconds / sizes.medium / (_net(of, "large") / sizes.large),
            60,
            at_least=True,
        ),
        Target(
            "dlt-whole",
            f"records per second, a day of {large}, to dlt's at {medium}",
            ("dlt-medium", "day-large"),
            lambda of: of["dlt-medium"].seconds / sizes.medium / (of["day-large"].seconds / sizes.large),
            60,
            at_least=True,
        ),
        Target(
            "dlt-medium-net",
            f"records per second, both at {medium}, net of an empty day, to dlt's",
            ("dlt-medium", "day-medium", "empty-medium"),
            lambda of: of["dlt-medium"].seconds / _net(of, "medium"),
            60,
            at_least=True,
        ),
        Target(
            "dlt-medium-whole",
            f"records per second, both at {medium}, to dlt's",
            ("dlt-medium", "day-medium"),
            lambda of: _ratio(of, "dlt-medium", "day-medium"),
            60,
            at_least=True,
        ),
        Target(
            "pandas-net",
            f"speed, net of an empty day, to that of pandas at {large}",
            ("pandas-large", "day-large", "empty-large"),
            lambda of: of["pandas-large"].seconds / _net(of, "large"),
            4,
            at_least=True,
        ),
        Target(
            "pandas-whole",
            f"speed to that of pandas at {large}",
            ("pandas-large", "day-large"),
            lambda of: _ratio(of, "pandas-large", "day-large"),
            4,
            at_least=True,
        ),
        Target(
            "pandas-memory",
            f"peak memory to that of pandas at {large}",
            ("pandas-large", "day-large"),
            lambda of: of["day-large"].peak_mb / of["pandas-large"].peak_mb,
            0.25,
        ),
        Target(
            "memory-growth",
            f"peak memory, {huge} to {large}",
            ("day-huge", "day-large"),
            lambda of: of["day-huge"].peak_mb / of["day-large"].peak_mb,
            1.2,
        ),
        Target(
            "all-tables",
            f"{large} to all tables, net, to those of rooms and conferences alone",
            ("day-large", "empty-large", "three-large", "three-empty"),
            lambda of: _net(of, "large") / (of["three-large"].seconds - of["three-empty"].seconds),
            2.2,
            by_cpu=True,
        ),
        Target(
            "all-memory",
            f"peak memory, {large} to all tables, to those of rooms and conferences alone",
            ("day-large", "three-large"),
            lambda of: of["day-large"].peak_mb / of["three-large"].peak_mb,
            1.3,
        ),
        Target("memory", f"peak memory, {huge}", ("day-huge",), lambda of: of["day-huge"].peak_mb, 700, "MB"),
        Target(
            "year",
            f"{sizes.year_days} days x {sizes.year_records:,}",
            ("year",),
            lambda of: of["year"].seconds,
            200,
            "s",
        ),
        Target(
            "year-day",
            f"a day of them, net of {runs} runs of an empty day",
            ("year", "empty-large"),
            lambda of: (of["year"].seconds - runs * of["empty-large"].seconds) / sizes.year_days,
            0.25,
            "s",
        ),
        Target(
            "history",
            f"a day on {sizes.history_days} days of history to none",
            ("history", "no-history"),
            lambda of: _ratio(of, "history", "no-history"),
            1.25,
        ),
        Target(
            "import",
            "import of the code location to import dagster",
            ("load", "load-dagster"),
            lambda of: _ratio(of, "load", "load-dagster"),
            1.5,
        ),
        Target(
            "import-all",
            "import and resolving to import dagster",
            ("load-all", "load-dagster"),
            lambda of: _ratio(of, "load-all", "load-dagster"),
            1.5,
        ),
        Target(
            "late",
            f"{sizes.late_days} late answers, beyond the prompt ones",
            ("late", "prompt"),
            lambda of: of["late"].seconds - of["prompt"].seconds,
            5,
            "s",
        ),
        Target(
            "disk",
            f"disk space of everything kept of {large} to their JSON",
            ("day-large",),
            lambda of: (of["day-large"].disk_mb or 0) / json_mb["day-large"],
            0.25,
        ),
    ]


def _net(of: Medians, size: str) -> float:
    return of[f"day-{size}"].seconds - of[f"empty-{size}"].seconds


def _ratio(of: Medians, row: str, other: str) -> float:
    return of[row].seconds / of[other].seconds


def _value(of: Medians, row: str) -> float:
    value = of[row].value
    assert value is not None
    return value
