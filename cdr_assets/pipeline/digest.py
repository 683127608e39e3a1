"""The digest: what people should know of yesterday, in one message. Knows no Dagster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from cdr_assets.pipeline.limits import Usage, in_words, ratio_to_same_weekday
from cdr_assets.warehouse.summary import WEEKS, same_weekdays


@dataclass(frozen=True)
class Came:
    """Records that fetches brought."""

    new: int
    changed: int
    set_aside: int


def digest_day(now: datetime, hour: int, last_sent: str) -> str:
    """The day on which a digest is due now, since its hour has come and none was sent; empty if none is."""
    today = str(now.date())
    return today if now.hour >= hour and last_sent != today else ""


def digest_text(
    day: date, usage: Usage, came: Came, standing: Mapping[str, str], findings: Sequence[str], links: Sequence[str]
) -> str:
    """The digest of the day.

    `standing` are the days that are missing, failed or overdue, in words; `findings` the checks with open ones.
    """
    days = [f"{name}: {said}" for name, said in standing.items()]
    return "\n".join(
        [
            f"Digest of {day}",
            _usage(day, usage),
            f"In the last 24 hours {came.new:,} new and {came.changed:,} changed records came; {came.set_aside:,} "
            "were set aside",
            "; ".join(days) or "No day was due yet",
            f"Open findings: {'; '.join(findings) or 'none'}",
            *links,
        ]
    )


def _usage(day: date, usage: Usage) -> str:
    if day not in usage:
        return "The day's tables are not built"
    of_day, ratio = usage[day], ratio_to_same_weekday(day, usage)
    said = f"{of_day.minutes:,.0f} participant minutes, {of_day.conferences:,} conferences"
    built = sum(each in usage for each in same_weekdays(day))
    why_none = f"{built} of the {WEEKS} days are built" if built < WEEKS else "they had no minutes"
    compared = in_words(ratio) if ratio is not None else f"not compared with this weekday before, since {why_none}"
    return "; ".join([said, compared, *(["provisional"] if of_day.provisional else [])])
