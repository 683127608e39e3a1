"""What to do next, decided from plain values: days to fetch, to fetch again, and to rebuild. No Dagster, no clock.

A decision is the runs to request, each a list of adjacent UTC days, and the reason in words when there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone

DAY = timedelta(days=1)

MOST_DAYS_A_RUN = 31
"""A run is Dagster's unit of failure and of progress; a month is some seconds of work and a page of events."""

MOST_RUNS = 3
"""Runs of one kind that are requested or under way at a time, so that a year of history does not flood the queue."""

RETRY_AFTER = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(days=1))
"""Wait after a day's first failure, its second, and so on; the last one for all that follow."""

REFUSAL_REST = timedelta(hours=1)
"""No requests for so long after EnableX refused the account itself."""

QUIET_ANSWERS = 4
"""After so many answers in a row that brought nothing, a settling day is only asked for once more, at its end."""


@dataclass(frozen=True)
class Timing:
    """When days are fetched: `settle` after they closed, and again every `again_every` while among the last
    `settling_days` closed days, since CDRs appear late."""

    settle: timedelta = timedelta(hours=1)
    settling_days: int = 3
    again_every: timedelta = timedelta(hours=6)

    def due(self, day: date) -> datetime:
        """When the day is fetched first."""
        return midnight(day + DAY) + self.settle

    def last_due(self, now: datetime) -> date:
        """The newest day that is due."""
        return (now - self.settle).date() - DAY

    def settled(self, day: date) -> datetime:
        """When the day is no longer asked for again."""
        return midnight(day + DAY * (self.settling_days + 1))


@dataclass(frozen=True)
class Refusal:
    """EnableX refused the account itself: no day will fare better until someone mends it."""

    when: datetime
    reason: str


@dataclass(frozen=True)
class Runs:
    """What runs say of the days, whoever launched them."""

    in_flight: frozenset[date] = frozenset()
    in_flight_count: int = 0
    failures: Mapping[date, Sequence[datetime]] = field(default_factory=dict)
    """When runs failed on a day lately, oldest first."""
    refusal: Refusal | None = None

    def retry(self, day: date) -> datetime | None:
        """When a day that failed may be tried again; None when it did not fail."""
        failed = self.failures.get(day)
        return failed[-1] + RETRY_AFTER[min(len(failed), len(RETRY_AFTER)) - 1] if failed else None


@dataclass(frozen=True)
class Answers:
    """A day's answers so far: when the last one landed, and how many in a row, up to it, brought nothing."""

    last: datetime
    quiet: int


@dataclass(frozen=True)
class Decision:
    """Runs to request, oldest day first, and why there are no more."""

    runs: list[list[date]]
    reason: str


def closed_days(now: datetime, start: date, complete: Collection[date], runs: Runs, timing: Timing) -> Decision:
    """Fetches the days that closed and are not complete, back to the start date."""
    if resting := _resting(now, runs):
        return Decision([], resting)
    last = timing.last_due(now)
    missing = [day for day in days_between(start, last) if day not in complete]
    if not missing:
        days = f"days to {last} are complete; " if last >= start else ""
        following = max(last + DAY, start)
        return Decision([], f"{days}{following} is due at {_clock(timing.due(following))}")
    return _decide(now, missing, runs, "missing")


def settling_days(now: datetime, start: date, answers: Mapping[date, Answers], runs: Runs, timing: Timing) -> Decision:
    """Fetches the last closed days again, for records that appeared late."""
    if timing.settling_days == 0:
        return Decision([], "days are not fetched again: CDR_SETTLING_DAYS is 0")
    if resting := _resting(now, runs):
        return Decision([], resting)
    last = timing.last_due(now)
    days = [
        day
        for day in days_between(max(start, last - DAY * (timing.settling_days - 1)), last)
        if day in answers and now < timing.settled(day)
    ]
    if not days:
        return Decision([], "no day that closed lately has been fetched yet")
    due = {day: _again(day, answers[day], timing) for day in days}
    if wanted := [day for day in days if due[day] <= now]:
        return _decide(now, wanted, runs, "settling")
    if upcoming := {day: when for day, when in due.items() if when < timing.settled(day)}:
        following = min(upcoming, key=lambda day: upcoming[day])
        return Decision([], f"{following} is fetched again at {_clock(due[following])}")
    return Decision([], f"the last answers for {_named(days)} brought nothing new")


def _again(day: date, answers: Answers, timing: Timing) -> datetime:
    usual = answers.last + timing.again_every
    final = timing.settled(day) - timing.again_every
    return max(usual, final) if answers.quiet >= QUIET_ANSWERS else usual


def landed_days(now: datetime, landed: Mapping[date, str], built: Mapping[date, str], runs: Runs) -> Decision:
    """Rebuilds the days whose files in the landing zone are not those that their tables were built from."""
    changed = sorted(day for day, files in landed.items() if built.get(day) != files)
    if not changed:
        return Decision([], f"the tables hold all that landed, {_counted(len(landed))}")
    return _decide(now, changed, runs, "changed")


def _resting(now: datetime, runs: Runs) -> str | None:
    refusal = runs.refusal
    if refusal is None or now >= refusal.when + REFUSAL_REST:
        return None
    return (
        f"EnableX refused the account at {_clock(refusal.when)} ({refusal.reason}): nothing is requested until "
        f"{_clock(refusal.when + REFUSAL_REST)}. Check ENABLEX_APP_ID, ENABLEX_APP_KEY and the project in EnableX"
    )


def _decide(now: datetime, wanted: Sequence[date], runs: Runs, kind: str) -> Decision:
    idle = [day for day in wanted if day not in runs.in_flight]
    waiting = {day: when for day in idle if (when := runs.retry(day)) and when > now}
    ready = [day for day in idle if day not in waiting]
    # A day that failed goes by itself, so that it does not hold up its neighbours again.
    alone = [[day] for day in ready if day in runs.failures]
    together = ranges(day for day in ready if day not in runs.failures)
    requested = sorted([*alone, *together])[: max(MOST_RUNS - runs.in_flight_count, 0)]
    told = [f"{_counted(len(wanted))} {kind}"]
    if under_way := len(wanted) - len(idle):
        told.append(f"{under_way} under way")
    if waiting:
        following = min(waiting, key=lambda day: waiting[day])
        told.append(f"{len(waiting)} failed, {following} is tried again at {_clock(waiting[following])}")
    if left := len(ready) - sum(map(len, requested)):
        told.append(f"{left} left until a run ends")
    return Decision(requested, "; ".join(told))


def ranges(days: Iterable[date]) -> list[list[date]]:
    """Days in order, adjacent ones together, at most MOST_DAYS_A_RUN of them."""
    grouped: list[list[date]] = []
    for day in sorted(set(days)):
        if grouped and day - grouped[-1][-1] == DAY and len(grouped[-1]) < MOST_DAYS_A_RUN:
            grouped[-1].append(day)
        else:
            grouped.append([day])
    return grouped


def days_between(first: date, last: date) -> list[date]:
    """Days from first to last, both included; none where last is earlier."""
    return [first + DAY * number for number in range((last - first).days + 1)]


def midnight(day: date) -> datetime:
    """When the UTC day begins."""
    return datetime.combine(day, time(), timezone.utc)


def _counted(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _clock(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _named(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
