"""The UTC day: ranges of days, when a day begins, and days in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone

DAY = timedelta(days=1)


def midnight(day: date) -> datetime:
    """When the UTC day begins."""
    return datetime.combine(day, time(), timezone.utc)


def days_between(first: date, last: date) -> list[date]:
    """Days from first to last, both included; none where last is earlier."""
    return [first + DAY * number for number in range((last - first).days + 1)]


def ranges(days: Iterable[date], max_days: int | None = None) -> list[list[date]]:
    """Days in order, adjacent ones together, at most `max_days` of them where that is given."""
    grouped: list[list[date]] = []
    for day in sorted(set(days)):
        if grouped and day - grouped[-1][-1] == DAY and (max_days is None or len(grouped[-1]) < max_days):
            grouped[-1].append(day)
        else:
            grouped.append([day])
    return grouped


def describe_days(days: Iterable[date]) -> str:
    """Days in words, adjacent ones as a range: `2026-11-01...2026-11-03, 2026-11-07`."""
    return ", ".join("...".join(dict.fromkeys([str(run[0]), str(run[-1])])) for run in ranges(days))
