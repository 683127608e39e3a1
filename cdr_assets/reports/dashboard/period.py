"""The period that a page is about: some UTC days, both ends included."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from cdr_assets.days import DAY, parse_day

MAX_DAYS = 3_660
FIRST_DAY = date(2000, 1, 1)
"""Before this day there were no calls. With days near the year 1 nothing before them could be computed."""
MOST_STEPS = 92


class Period(NamedTuple):
    """UTC days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    @property
    def step_days(self) -> int:
        """How many days a point of a chart stands for: one, or a week if there would be too many points."""
        return 1 if self.days <= MOST_STEPS else 7

    @property
    def before(self) -> Period:
        """The period of the same length that ends where this one begins."""
        return Period(self.first - DAY * self.days, self.first - DAY)

    def __str__(self) -> str:
        return str(self.first) if self.days == 1 else f"{self.first} to {self.last}"


def last_days(count: int, last: date) -> Period:
    """The `count` days up to `last`."""
    return Period(last - DAY * (count - 1), last)


def month_before(day: date) -> Period:
    """The calendar month before that of the day."""
    last = day.replace(day=1) - DAY
    return Period(last.replace(day=1), last)


def period_of(query: Mapping[str, str], default: Period, possible: Period) -> Period:
    """The period in the parameters `from` and `to` of an address; one alone is a single day, none is `default`.

    Raises ValueError, with the remedy, if they are no such days, or lie outside of `possible`.
    """
    given = [parse_day(f"{name} in the address", query[name]) for name in ("from", "to") if name in query]
    if not given:
        return default
    period = Period(given[0], given[-1])
    if not (possible.first <= period.first <= period.last <= possible.last and period.days <= MAX_DAYS):
        raise ValueError(
            f"from {period.first} to {period.last} is no period: give its first and its last day, in order, at most "
            f"{MAX_DAYS:,} days from {possible.first} to {possible.last}"
        )
    return period
