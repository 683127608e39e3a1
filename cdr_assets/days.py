"""The UTC day: ranges of days, midnight, and days in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone

DAY = timedelta(days=1)


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(timezone.utc)


def days_between(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included; none if `last` is earlier."""
    return [first + DAY * number for number in range((last - first).days + 1)]


def parse_day(name: str, text: object) -> date:
    """The UTC day written as YYYY-MM-DD. Raises ValueError, naming the setting or parameter, if it is not a day."""
    try:
        day = date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ValueError(f"{name} is not a day as YYYY-MM-DD: {text!r}")
    return day


def ranges(days: Iterable[date], most: int | None = None) -> list[list[date]]:
    """The days in order, adjacent ones together, at most `most` of them."""
    grouped: list[list[date]] = []
    for day in sorted(set(days)):
        if grouped and day - grouped[-1][-1] == DAY and (most is None or len(grouped[-1]) < most):
            grouped[-1].append(day)
        else:
            grouped.append([day])
    return grouped


def midnight(day: date) -> datetime:
    """The moment at which the UTC day begins."""
    return datetime.combine(day, time(), timezone.utc)


def end_of(day: date) -> datetime:
    """The moment at which the UTC day ends."""
    return midnight(day + DAY)


def describe_days(days: Iterable[date]) -> str:
    """The days in words, adjacent ones as a range: `2026-11-01...2026-11-03, 2026-11-07`. Empty for none."""
    return ", ".join(
        str(adjacent[0]) if len(adjacent) == 1 else f"{adjacent[0]}...{adjacent[-1]}" for adjacent in ranges(days)
    )


def days_in(words: str) -> list[date]:
    """The days that `describe_days` put into these words."""
    ends = [[date.fromisoformat(end) for end in part.split("...")] for part in words.split(", ") if part]
    return [day for first, *last in ends for day in days_between(first, *last or [first])]
