"""Which runs to request next, planned from plain values: days to fetch, to fetch again, and to rebuild.

Knows neither Dagster nor the clock. A decision is the runs to request, and in words why there are no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from cdr_assets.days import DAY, days_between, midnight, ranges

MAX_DAYS_PER_RUN = 31
"""A run is Dagster's unit of failure and of progress; a month is some seconds of work and a page of events."""

MAX_ACTIVE_RUNS = 3
"""Runs that are requested or in flight at a time, so that a year of history does not flood the queue."""

RETRY_AFTER = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(days=1))
"""Wait after a day's first failure, its second, and so on; the last value repeats."""

ACCOUNT_ERROR_COOLDOWN = timedelta(hours=1)
"""How long to wait after EnableX refused the account, unless it is known to be mended."""

MAX_UNCHANGED_RESPONSES = 4
"""After this many responses in a row without a new or changed record, a day is fetched once more, just before its
lookback ends."""


@dataclass(frozen=True)
class Timing:
    """When a day is fetched: `fetch_delay` after it closed, then every `refetch_interval` while it is one of the last
    `lookback_days` closed days, since CDRs appear late."""

    fetch_delay: timedelta = timedelta(hours=1)
    lookback_days: int = 3
    refetch_interval: timedelta = timedelta(hours=6)

    def due(self, day: date) -> datetime:
        """When the day is fetched first."""
        return midnight(day + DAY) + self.fetch_delay

    def last_due(self, now: datetime) -> date:
        """The newest day that is due."""
        return (now - self.fetch_delay).date() - DAY

    def lookback_ends(self, day: date) -> datetime:
        """From when on the day is not fetched again."""
        return midnight(day + DAY * (self.lookback_days + 1))


@dataclass(frozen=True)
class AccountError:
    """EnableX refused the account itself: every request fails until someone mends it."""

    when: datetime
    reason: str


@dataclass(frozen=True)
class Runs:
    """The runs that matter to a decision, whoever launched them."""

    in_flight: frozenset[date] = frozenset()
    """Days of the runs that have not ended."""
    in_flight_count: int = 0
    """How many runs have not ended."""
    failures: Mapping[date, Sequence[datetime]] = field(default_factory=dict)
    """When runs failed on each day during the last days, oldest first."""
    account_error: AccountError | None = None
    """The newest refusal of the account, unless something since then shows that it is mended."""

    def retry_at(self, day: date) -> datetime | None:
        """When a day that failed may be tried again; None when it did not fail."""
        failed = self.failures.get(day)
        return failed[-1] + RETRY_AFTER[min(len(failed), len(RETRY_AFTER)) - 1] if failed else None


@dataclass(frozen=True)
class Responses:
    """A day's responses so far: when the last one landed, and how many in a row, up to it, changed nothing."""

    last: datetime
    unchanged: int


@dataclass(frozen=True)
class Decision:
    """Runs to request, each a list of adjacent days, oldest day first; and why there are no more."""

    runs: list[list[date]]
    reason: str


def plan_missing(now: datetime, start: date, complete: Collection[date], runs: Runs, timing: Timing) -> Decision:
    """Which days to fetch: those from `start` on that are due and not complete."""
    if reason := _cooling_down(now, runs):
        return Decision([], reason)
    last = timing.last_due(now)
    missing = [day for day in days_between(start, last) if day not in complete]
    if not missing:
        days = f"days to {last} are complete; " if last >= start else ""
        following = max(last + DAY, start)
        return Decision([], f"{days}{following} is due at {_clock(timing.due(following))}")
    return _plan_runs(now, missing, runs, "missing")


def plan_refetch(
    now: datetime, start: date, responses: Mapping[date, Responses], runs: Runs, timing: Timing
) -> Decision:
    """Which of the last closed days to fetch again, for records that appeared late."""
    if timing.lookback_days == 0:
        return Decision([], "days are not fetched again: CDR_SETTLING_DAYS is 0")
    if reason := _cooling_down(now, runs):
        return Decision([], reason)
    last = timing.last_due(now)
    days = [
        day
        for day in days_between(max(start, last - DAY * (timing.lookback_days - 1)), last)
        if day in responses and now < timing.lookback_ends(day)
    ]
    if not days:
        return Decision([], "no day that closed lately has been fetched yet")
    due = {day: _refetch_at(day, responses[day], timing) for day in days}
    if wanted := [day for day in days if due[day] <= now]:
        return _plan_runs(now, wanted, runs, "settling")
    if upcoming := {day: when for day, when in due.items() if when < timing.lookback_ends(day)}:
        following = min(upcoming, key=lambda day: upcoming[day])
        return Decision([], f"{following} is fetched again at {_clock(due[following])}")
    return Decision([], f"the last responses for {_named(days)} brought nothing new")


def _refetch_at(day: date, responses: Responses, timing: Timing) -> datetime:
    usual = responses.last + timing.refetch_interval
    final = timing.lookback_ends(day) - timing.refetch_interval
    return max(usual, final) if responses.unchanged >= MAX_UNCHANGED_RESPONSES else usual


def plan_rebuild(now: datetime, landed: Mapping[date, str], built: Mapping[date, str], runs: Runs) -> Decision:
    """Which days to rebuild: those with other files in the landing zone than their tables were built from."""
    changed = sorted(day for day, files in landed.items() if built.get(day) != files)
    if not changed:
        return Decision([], f"the tables hold everything that landed, {_counted(len(landed))}")
    return _plan_runs(now, changed, runs, "changed")


def _cooling_down(now: datetime, runs: Runs) -> str | None:
    error = runs.account_error
    if error is None or now >= error.when + ACCOUNT_ERROR_COOLDOWN:
        return None
    return (
        f"EnableX refused the account at {_clock(error.when)} ({error.reason}): nothing is requested until "
        f"{_clock(error.when + ACCOUNT_ERROR_COOLDOWN)}. Check ENABLEX_APP_ID, ENABLEX_APP_KEY and the project in "
        "EnableX. Requests go on at once when Dagster is restarted with other credentials, or when a fetch succeeds: "
        "materialize period_cdr for one day to try"
    )


def _plan_runs(now: datetime, wanted: Sequence[date], runs: Runs, kind: str) -> Decision:
    idle = [day for day in wanted if day not in runs.in_flight]
    waiting = {day: when for day in idle if (when := runs.retry_at(day)) and when > now}
    ready = [day for day in idle if day not in waiting]
    # A day that failed gets a run to itself, so that its neighbours do not fail with it again.
    alone = [[day] for day in ready if day in runs.failures]
    together = ranges((day for day in ready if day not in runs.failures), MAX_DAYS_PER_RUN)
    requested = sorted([*alone, *together])[: max(MAX_ACTIVE_RUNS - runs.in_flight_count, 0)]
    reasons = [f"{_counted(len(wanted))} {kind}"]
    if in_flight := len(wanted) - len(idle):
        reasons.append(f"{in_flight} under way")
    if waiting:
        following = min(waiting, key=lambda day: waiting[day])
        reasons.append(f"{len(waiting)} failed, {following} is tried again at {_clock(waiting[following])}")
    if left := len(ready) - sum(map(len, requested)):
        reasons.append(f"{left} left until a run ends")
    return Decision(requested, "; ".join(reasons))


def _counted(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _clock(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _named(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
