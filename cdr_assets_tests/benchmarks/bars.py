"""The goals of this project, as ratios of the medians of one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cdr_assets_tests.benchmarks.plan import Sizes
from cdr_assets_tests.benchmarks.process import Run
from cdr_assets_tests.benchmarks.sides import LONGEST_RANGE

Medians = Mapping[str, Run]


class Bar(NamedTuple):
    """A figure, and the bar it must keep below, or reach where `at_least`."""

    what: str
    figure: Callable[[Medians], float]
    bar: float
    unit: str = "x"
    at_least: bool = False

    def held(self, value: float) -> bool:
        return value >= self.bar if self.at_least else value <= self.bar


def bars(sizes: Sizes, json_mb: Mapping[str, float]) -> list[Bar]:
    """Every bar. A figure raises KeyError where a row that it needs was not measured."""
    large, medium = f"{sizes.large:,}", f"{sizes.medium:,}"
    runs = -(-sizes.year_days // LONGEST_RANGE)

    def net(of: Medians, size: str) -> float:
        return of[f"day-{size}"].seconds - of[f"empty-{size}"].seconds

    return [
        Bar(
            f"{large}, net of an empty day, to DuckDB's typed read",
            lambda of: net(of, "large") / of["read-large"].seconds,
            1.8,
        ),
        Bar(
            f"records per second, {large} net of an empty day, to dlt's at {medium}",
            lambda of: of["dlt-medium"].seconds / sizes.medium / (net(of, "large") / sizes.large),
            60,
            at_least=True,
        ),
        Bar(
            f"records per second, a day of {large}, to dlt's at {medium}",
            lambda of: of["dlt-medium"].seconds / sizes.medium / (of["day-large"].seconds / sizes.large),
            60,
            at_least=True,
        ),
        Bar(
            f"records per second, both at {medium}, net of an empty day, to dlt's",
            lambda of: of["dlt-medium"].seconds / net(of, "medium"),
            60,
            at_least=True,
        ),
        Bar(
            f"records per second, both at {medium}, to dlt's",
            lambda of: of["dlt-medium"].seconds / of["day-medium"].seconds,
            60,
            at_least=True,
        ),
        Bar(
            f"speed, net of an empty day, to that of pandas at {large}",
            lambda of: of["pandas-large"].seconds / net(of, "large"),
            4,
            at_least=True,
        ),
        Bar(
            f"speed to that of pandas at {large}",
            lambda of: of["pandas-large"].seconds / of["day-large"].seconds,
            4,
            at_least=True,
        ),
        Bar(
            f"peak memory to that of pandas at {large}",
            lambda of: of["day-large"].peak_mb / of["pandas-large"].peak_mb,
            0.25,
        ),
        Bar(
            f"peak memory, {sizes.huge:,} to {large}", lambda of: of["day-huge"].peak_mb / of["day-large"].peak_mb, 1.2
        ),
        Bar(f"peak memory, {sizes.huge:,}", lambda of: of["day-huge"].peak_mb, 700, "MB"),
        Bar(f"{sizes.year_days} days x {sizes.year_records:,}", lambda of: of["year"].seconds, 120, "s"),
        Bar(
            f"a day of them, net of {runs} runs of an empty day",
            lambda of: (of["year"].seconds - runs * of["empty-large"].seconds) / sizes.year_days,
            0.25,
            "s",
        ),
        Bar(
            f"a day on {sizes.history_days} days of history to none",
            lambda of: of["history"].seconds / of["no-history"].seconds,
            1.25,
        ),
        Bar("import of the code location to import dagster", lambda of: _ratio(of, "load", "load-dagster"), 1.5),
        Bar("import and resolving to import dagster", lambda of: _ratio(of, "load-all", "load-dagster"), 1.5),
        Bar(
            f"{sizes.late_days} late answers, beyond the prompt ones",
            lambda of: of["late"].seconds - of["prompt"].seconds,
            5,
            "s",
        ),
        Bar(
            f"disk space of everything kept of {large} to their JSON",
            lambda of: (of["day-large"].disk_mb or 0) / json_mb["day-large"],
            0.25,
        ),
    ]


def _ratio(of: Medians, row: str, other: str) -> float:
    return of[row].seconds / of[other].seconds
