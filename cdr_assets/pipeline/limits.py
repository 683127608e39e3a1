"""Limits that the operator set: which days are beyond one, whether the disk is, and the words for it. Knows no Dagster.

Each day is reported once, and days that are found together in one message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

from cdr_assets.days import DAY, days_between, describe_days
from cdr_assets.warehouse.summary import WEEKS, to_same_weekday

RECENT_DAYS = 7
"""Only days that ended, or stopped being provisional, in so many days are reported: not a history that is late."""

ROOM_AGAIN = 1.1
"""The disk has room again when so many times the limit is free: what comes and goes on it is not worth an alert."""

GB = 1e9


@dataclass(frozen=True)
class Limits:
    """What is reported; None: it is not."""

    minutes: float | None = None
    """Participant minutes of a UTC day."""
    change: float | None = None
    """A ratio above 1: so many times more or fewer minutes than on the same weekday of the four weeks before."""
    disk_gb: float | None = None
    """Free space on the disk, in GB."""

    @property
    def are_of_usage(self) -> bool:
        return self.minutes is not None or self.change is not None


@dataclass(frozen=True)
class DayUsage:
    """A built day, over all apps."""

    minutes: float
    conferences: int
    provisional: bool


Usage: TypeAlias = Mapping[date, DayUsage]

Links: TypeAlias = Callable[[date, date], str]
"""The links for the days from the first to the second."""


@dataclass
class Reported:
    """What was reported before."""

    beyond: list[str] = field(default_factory=list)
    """Days with more minutes than the limit."""
    changed: list[str] = field(default_factory=list)
    """Days with minutes that are unlike those of the weeks before."""
    disk_is_low: bool = False
    looked_at: str = ""
    """What was looked at last: nothing is read again while it is the same."""
    digest: str = ""
    """The day on which the last digest was sent."""


@dataclass(frozen=True)
class Alert:
    """What to report, under a key that no other alert has."""

    key: str
    text: str


def days_to_read(today: date, settling_days: int) -> list[date]:
    """The days whose usage decides, today included."""
    return days_between(_first(today, settling_days) - DAY * 7 * WEEKS, today)


def usage_alerts(
    usage: Usage, today: date, settling_days: int, limits: Limits, reported: Reported, links: Links
) -> Iterator[Alert]:
    """What is to be reported of the usage. Notes it as reported.

    For `settling_days` after it has closed a day may be provisional.
    """
    if limits.minutes is not None:
        first = today - DAY * RECENT_DAYS
        beyond = [day for day in sorted(usage) if day >= first and usage[day].minutes > limits.minutes]
        reported.beyond, new = _new(reported.beyond, beyond, first)
        if new:
            lines = [f"{day}: {_minutes(usage[day])}" for day in new]
            yield _alert(f"More than {limits.minutes:,.15g} participant minutes", new, lines, links)
    if limits.change is not None:
        first = _first(today, settling_days)
        final = [day for day in sorted(usage) if day >= first and not usage[day].provisional]
        ratios = {day: ratio for day in final if (ratio := ratio_to_same_weekday(day, usage)) is not None}
        unlike = [day for day, ratio in ratios.items() if not 1 / limits.change <= ratio <= limits.change]
        reported.changed, new = _new(reported.changed, unlike, first)
        if new:
            lines = [f"{day}: {_minutes(usage[day])}, {in_words(ratios[day])}" for day in new]
            yield _alert("Participant minutes unlike those of the weeks before", new, lines, links)


def disk_alert(free_bytes: int, limit_gb: float, reported: Reported, link: str) -> str:
    """What is to be reported of the disk, empty for nothing, and notes it as reported."""
    free = free_bytes / GB
    if not reported.disk_is_low and free < limit_gb:
        reported.disk_is_low = True
        return (
            f"The disk is nearly full: {free:,.1f} GB are free\n"
            f"It holds CDR_DATA_DIR, and the limit is {limit_gb:,.15g} GB (CDR_ALERT_DISK_GB). Make room, or move the "
            f"folder to a larger disk: runs fail when it is full.\n{link}"
        )
    if reported.disk_is_low and free > limit_gb * ROOM_AGAIN:
        reported.disk_is_low = False
        return f"The disk has room again: {free:,.1f} GB are free\n{link}"
    return ""


def ratio_to_same_weekday(day: date, usage: Usage) -> float | None:
    """What `to_same_weekday` says of the day."""
    return to_same_weekday(usage[day].minutes, day, {each: of_day.minutes for each, of_day in usage.items()}, usage)


def in_words(ratio: float) -> str:
    """The ratio, for people."""
    return f"{ratio:,.2f} times the mean of this weekday in the four weeks before"


def _first(today: date, settling_days: int) -> date:
    """The oldest day that can have been provisional in the last days."""
    return today - DAY * (RECENT_DAYS + settling_days)


def _new(before: Sequence[str], found: Sequence[date], first: date) -> tuple[list[str], list[date]]:
    """What is reported together with what was found, without days before `first`; and which of it is new."""
    new = [day for day in found if str(day) not in before]
    return [*(day for day in before if day >= str(first)), *map(str, new)], new


def _minutes(of_day: DayUsage) -> str:
    return f"{of_day.minutes:,.0f} minutes{' so far' if of_day.provisional else ''}"


def _alert(what: str, days: Sequence[date], lines: Sequence[str], links: Callable[[date, date], str]) -> Alert:
    title = f"{what} on {describe_days(days)}"
    return Alert(title, "\n".join([title, *lines, links(days[0], days[-1])]))
