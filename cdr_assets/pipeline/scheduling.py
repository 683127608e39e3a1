"""Which runs to request next, planned from plain values: days to fetch, to fetch again, and to rebuild.

Knows neither Dagster nor the clock. A decision is the runs to request, and in words why there are no more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise

from cdr_assets.days import DAY, days_between, end_of, midnight, ranges

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

MAX_GAP_DAYS = 2
"""Up to so many days between two that are fetched again go with them: a request costs less than a second run."""

JOIN_WAIT = timedelta(minutes=30)
"""How long others wait for the first fetch of a day that is due: days that are fetched again go in the same run, and
its tables are built there."""

OUTAGE_DAYS = 3
"""EnableX is down for certain when so many different days failed since it last answered; with fewer it may be the days.
As many of the last days are tried."""

PROBE_INTERVAL = timedelta(minutes=5)
"""Wait from one try to the next while EnableX is down."""

OPEN_DAY_IS_OFF = "the open day is not fetched: CDR_OPEN_DAY_MINUTES is 0"

OPEN_DAY_FAILURES = 2
"""Of the failures of the open day so many count: it is open for some hours only, so the waits stay within one."""


@dataclass(frozen=True)
class Timing:
    """When a day is fetched: `fetch_delay` after it closed, then every `refetch_interval` while it is one of the last
    `lookback_days` closed days, since CDRs appear late.

    All days are fetched at the same moments of a UTC day: `fetch_delay` past midnight, and every `refetch_interval`
    from then on. So the days that are due go in one run.

    The day that is open is fetched every `open_day_interval` from midnight on; never if that is zero.
    """

    fetch_delay: timedelta = timedelta(hours=1)
    lookback_days: int = 3
    refetch_interval: timedelta = timedelta(hours=6)
    open_day_interval: timedelta = timedelta(minutes=30)

    def as_numbers(self) -> dict[str, float]:
        """Each field as a number, times in seconds."""
        fields = vars(self).items()
        return {name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in fields}

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, float]) -> Timing:
        """The timing whose `as_numbers` these are. A field that is missing has its default."""
        times = {name: timedelta(seconds=number) for name, number in numbers.items() if name != "lookback_days"}
        return replace(cls(), lookback_days=int(numbers.get("lookback_days", cls.lookback_days)), **times)

    def due(self, day: date) -> datetime:
        """When the day is fetched first."""
        return end_of(day) + self.fetch_delay

    def moment_at(self, when: datetime) -> datetime:
        """The newest moment for fetching, at or before `when`."""
        first = midnight((when - self.fetch_delay).date()) + self.fetch_delay
        step = min(self.refetch_interval, DAY)
        return first + (when - first) // step * step

    def last_moment(self, day: date) -> datetime:
        """The last moment for fetching the day that leaves time to do it before its lookback ends."""
        return self.moment_at(self.lookback_ends(day) - min(self.refetch_interval / 2, timedelta(hours=1)))

    def final_moment(self, day: date) -> datetime:
        """The last moment at which the day is fetched, if nothing delays it; `due` where it is not fetched again."""
        latest, last = self.last_moment(day), self.due(day)
        if self.refetch_interval <= DAY:
            return max(latest, last)
        # Not every moment is one for this day.
        while (following := self.moment_at(last + self.refetch_interval)) <= latest:
            last = following
        return last

    def open_day_moment(self, now: datetime) -> datetime:
        """The newest moment for fetching the day that is open, if it is fetched."""
        opened = midnight(now.date())
        return opened + (now - opened) // self.open_day_interval * self.open_day_interval

    def open_day_rests_until(self, now: datetime) -> datetime:
        """The next such moment: midnight at the latest, when another day opens."""
        return min(self.open_day_moment(now) + self.open_day_interval, end_of(now.date()))

    def last_due(self, now: datetime) -> date:
        """The newest day that is due."""
        return (now - self.fetch_delay).date() - DAY

    def lookback_ends(self, day: date) -> datetime:
        """From when on the day is not fetched again."""
        return midnight(day + DAY * (self.lookback_days + 1))


def is_provisional(day: date, asked: datetime | None, timing: Timing) -> bool:
    """Whether the tables of the day may still change: it is open, or closed and not fetched for the last time.

    `asked` is when the whole day was last asked for; None if it never was.
    """
    return asked is None or asked < timing.final_moment(day)


def is_complete(day: date, asked: datetime | None, timing: Timing) -> bool:
    """Whether the day was asked for after it closed and settled. What was asked for before may lack its last calls."""
    return asked is not None and asked >= timing.due(day)


@dataclass(frozen=True)
class AccountError:
    """EnableX refused the account itself, or was not asked: every request fails until someone mends it."""

    when: datetime
    reason: str

    @property
    def was_asked(self) -> bool:
        return self.reason != "BadSetting"

    @property
    def what(self) -> str:
        return "EnableX refused the account" if self.was_asked else "A setting is missing or wrong, as a run found"


@dataclass(frozen=True)
class Failure:
    """A run failed on a day."""

    when: datetime
    day: date
    unavailable: str = ""
    """How EnableX was unavailable; empty when the run failed for another reason."""


@dataclass(frozen=True)
class Outage:
    """EnableX has been unavailable since a fetch last succeeded."""

    since: datetime
    last: datetime
    """When the last try failed."""
    cause: str
    """How that one failed."""
    tries: Mapping[date, int]
    """How often each day failed."""

    @property
    def is_certain(self) -> bool:
        """Whether so many days failed that it cannot be the days."""
        return len(self.tries) >= OUTAGE_DAYS


def judge_failures(
    failures: Iterable[Failure], fetched: Sequence[datetime]
) -> tuple[dict[date, list[datetime]], Outage | None]:
    """When each day failed by its own fault, oldest first; and the outage that lasts, if there is one.

    `fetched` are the times at which fetches succeeded, in order. When EnableX was unavailable for several days in a
    row, with no success in between, that was no fault of the days; unless it happens to a day again.
    """
    ordered = sorted(failures, key=lambda failure: failure.when)
    own = [failure for failure in ordered if not failure.unavailable]
    outage, before = None, set[date]()
    unavailable = [failure for failure in ordered if failure.unavailable]
    for successes, group in groupby(unavailable, key=lambda failure: bisect_right(fetched, failure.when)):
        in_a_row = list(group)
        newest = {failure.day: failure for failure in in_a_row}
        last = in_a_row[-1]
        found = Outage(in_a_row[0].when, last.when, last.unavailable, Counter(failure.day for failure in in_a_row))
        # A day that fails in one outage after the other may be the cause of both: each counts as one failure.
        own += [newest[day] for day in newest if day in before] if found.is_certain else in_a_row
        before.update(newest)
        outage = found if successes == len(fetched) else None
    by_day: dict[date, list[datetime]] = {}
    for failure in sorted(own, key=lambda failure: failure.when):
        by_day.setdefault(failure.day, []).append(failure.when)
    return by_day, outage


def split_by_closing(
    failures: Mapping[date, Sequence[datetime]],
) -> tuple[dict[date, list[datetime]], dict[date, list[datetime]]]:
    """The failures of each day from before it closed, and those since then. Days without any are absent."""
    before, since = dict[date, list[datetime]](), dict[date, list[datetime]]()
    for day, times in failures.items():
        closed_at = end_of(day)
        for when in times:
            (before if when < closed_at else since).setdefault(day, []).append(when)
    return before, since


@dataclass(frozen=True)
class Spread:
    """How many days one run takes at most, and how many runs are requested or in flight at a time."""

    days: int = MAX_DAYS_PER_RUN
    runs: int = MAX_ACTIVE_RUNS

    @classmethod
    def of(cls, days_a_run: int | None, runs_at_once: int | None) -> Spread:
        """Runs of `days_a_run`, as many as Dagster works on at once but one, which is left for the day that is open.

        Without `days_a_run` a history takes a few long runs. `runs_at_once` is None where Dagster has no limit.
        """
        if days_a_run is None:
            return cls()
        return cls(days_a_run, MAX_ACTIVE_RUNS if runs_at_once is None else max(runs_at_once - 1, 1))


@dataclass(frozen=True)
class Runs:
    """The runs that matter to a decision, whoever launched them."""

    in_flight: frozenset[date] = frozenset()
    """Days of the runs that have not ended."""
    in_flight_count: int = 0
    """How many runs have not ended. Those of one backfill count as one."""
    failures: Mapping[date, Sequence[datetime]] = field(default_factory=dict)
    """When runs failed on each day by its own fault during the last days, since the day closed, oldest first."""
    failures_while_open: Mapping[date, Sequence[datetime]] = field(default_factory=dict)
    """The same, from before the day closed. They do not hold it up once it has closed."""
    account_error: AccountError | None = None
    """The newest refusal of the account, unless something since then shows that it is mended."""
    outage: Outage | None = None
    spread: Spread = Spread()

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
    has_work: bool = field(default=True, compare=False)
    """False when a later decision can differ only if something changes."""


def plan_missing(
    now: datetime,
    start: date,
    complete: Collection[date],
    responses: Mapping[date, Responses],
    runs: Runs,
    timing: Timing,
) -> Decision:
    """Which days to fetch: those from `start` on that are due and not complete.

    Days that are due to be fetched again go with the first fetch of the newest day.
    """
    if reason := _cooling_down(now, runs):
        return Decision([], reason)
    last = timing.last_due(now)
    missing = [day for day in days_between(start, last) if day not in complete]
    if not missing:
        days = f"days to {last} are complete; " if last >= start else ""
        following = max(last + DAY, start)
        return Decision([], f"{days}{following} is due at {_clock(timing.due(following))}")
    again = []
    if missing[-1] == last and _is_idle(last, runs):
        again = _days_again(now, _settling(now, start, responses, timing), [last], responses, runs, timing)
    return _plan_fetches(now, start, sorted({*missing, *again}), runs, timing, f"{_counted(len(missing))} missing")


@dataclass(frozen=True)
class ClosedDays:
    """The days that are due, from the start date on, as they stand. Each list is in order."""

    complete: list[date]
    provisional: list[date]
    """Of these, the days that are to be fetched again."""
    missing: list[date]
    """The days that are not complete."""
    failed: list[date]
    """Of these, the days whose last fetch failed."""
    overdue: list[date]
    """Of the missing ones, those that were due long ago and that wait for more than their turn."""
    waiting: list[date]
    """The days that landed and whose tables wait to be built, also days that are not due."""
    next_try: str
    """When the next overdue day is tried, in words; empty without one."""


def look_at_closed_days(
    now: datetime,
    start: date,
    complete: Collection[date],
    runs: Runs,
    timing: Timing,
    overdue_after: timedelta,
    waiting: Sequence[date] = (),
) -> ClosedDays:
    """How the days stand. A day that has never failed is not overdue while EnableX answers: history takes its time."""
    days = days_between(start, timing.last_due(now))
    missing = [day for day in days if day not in complete]
    tried = runs.outage.tries if runs.outage else {}
    failed = [day for day in missing if day in runs.failures or day in tried]
    held_up = missing if runs.outage or _cooling_down(now, runs) else failed
    overdue = [day for day in held_up if now >= timing.due(day) + overdue_after]
    return ClosedDays(
        complete=[day for day in days if day in complete],
        provisional=[day for day in days if day in complete and now < timing.final_moment(day)],
        missing=missing,
        failed=failed,
        overdue=overdue,
        waiting=[*waiting],
        next_try=_next_try(now, overdue, runs) if overdue else "",
    )


def _next_try(now: datetime, overdue: Sequence[date], runs: Runs) -> str:
    if runs.account_error and _cooling_down(now, runs):
        return f"{runs.account_error.what}, so not before {_clock(runs.account_error.when + ACCOUNT_ERROR_COOLDOWN)}"
    if runs.outage:
        return f"EnableX is unavailable, so one day every {PROBE_INTERVAL // timedelta(minutes=1)} minutes"
    if under_way := [day for day in overdue if day in runs.in_flight]:
        return f"{_named(under_way)} is under way"
    following = min(overdue, key=lambda day: runs.retry_at(day) or now)
    return f"{following} at {_clock(max(runs.retry_at(following) or now, now))}"


def plan_refetch(
    now: datetime, start: date, responses: Mapping[date, Responses], runs: Runs, timing: Timing
) -> Decision:
    """Which of the last closed days to fetch again, for records that appeared late."""
    if timing.lookback_days == 0:
        return Decision([], "days are not fetched again: CDR_SETTLING_DAYS is 0")
    if reason := _cooling_down(now, runs):
        return Decision([], reason)
    days = _settling(now, start, responses, timing)
    if not days:
        return Decision([], "no day that closed lately has been fetched yet")
    if again := _days_again(now, days, [], responses, runs, timing):
        last = timing.last_due(now)
        if last >= start and last not in responses and _is_idle(last, runs) and now < timing.due(last) + JOIN_WAIT:
            return Decision([], f"{_counted(len(again))} settling, to be fetched together with {last} by closed_days")
        return _plan_fetches(now, start, again, runs, timing, f"{_counted(len(again))} settling")
    due = {day: _refetch_at(day, responses[day], timing) for day in days}
    if upcoming := {day: when for day, when in due.items() if when < timing.lookback_ends(day)}:
        following = min(upcoming, key=lambda day: upcoming[day])
        return Decision([], f"{following} is fetched again at {_clock(due[following])}")
    return Decision([], f"the last responses for {_named(days)} brought nothing new")


def _settling(now: datetime, start: date, responses: Mapping[date, Responses], timing: Timing) -> list[date]:
    """The days that were fetched and are among the last closed days."""
    last = timing.last_due(now)
    first = max(start, last - DAY * (timing.lookback_days - 1))
    return [day for day in days_between(first, last) if day in responses and now < timing.lookback_ends(day)]


def _days_again(
    now: datetime,
    days: Sequence[date],
    others: Sequence[date],
    responses: Mapping[date, Responses],
    runs: Runs,
    timing: Timing,
) -> list[date]:
    """Those of `days` that are due to be fetched again; and days between these and `others`, to make one range."""
    due = [day for day in days if _refetch_at(day, responses[day], timing) <= now]
    ready = sorted([*others, *(day for day in due if _is_idle(day, runs))])
    between = (
        day
        for earlier, later in pairwise(ready)
        for day in days_between(earlier + DAY, later - DAY)
        if (later - earlier).days <= MAX_GAP_DAYS + 1 and day in days and _is_idle(day, runs)
    )
    return sorted({*due, *between})


def _refetch_at(day: date, responses: Responses, timing: Timing) -> datetime:
    usual = timing.moment_at(responses.last + timing.refetch_interval)
    if responses.unchanged < MAX_UNCHANGED_RESPONSES:
        return usual
    final = timing.last_moment(day)
    return max(usual, final) if responses.last < final else timing.lookback_ends(day)


def plan_open_day(now: datetime, start: date, asked: datetime | None, runs: Runs, timing: Timing) -> Decision:
    """Whether to fetch the day that is open. `asked` is when it was last asked for.

    No closed day goes with it, also while EnableX is unavailable.
    """
    day = now.date()
    if not timing.open_day_interval:
        return Decision([], OPEN_DAY_IS_OFF, has_work=False)
    if day < start:
        return Decision([], f"{start} is the first day and has not begun", has_work=False)
    # A time in the future is that of a clock that was wrong.
    if asked is not None and timing.open_day_moment(now) <= asked <= now:
        following = timing.open_day_rests_until(now)
        reason = f"{day} is fetched again at {_clock(following)}"
        if following.date() > day:
            reason = f"{day} is not fetched again before it closes"
        return Decision([], reason, has_work=False)
    if cooling_down := _cooling_down(now, runs):
        return Decision([], cooling_down)
    # What failed before the last answer says nothing about the next one.
    failed = [when for when in runs.failures_while_open.get(day, ()) if asked is None or asked > now or when > asked]
    known = replace(runs, failures={day: failed[-OPEN_DAY_FAILURES:]} if failed else {})
    what = f"{day} is open"
    if runs.outage:
        return _plan_probe(now, [day], [], known, runs.outage, what)
    # However much history waits, it never holds up the day that people ask about.
    with_room = replace(known, in_flight_count=min(runs.in_flight_count, runs.spread.runs - 1))
    return _plan_runs(now, [day], with_room, what)


def plan_rebuild(
    now: datetime, landed: Mapping[date, str], built: Mapping[date, str], runs: Runs, timing: Timing
) -> Decision:
    """Which days to rebuild: see `days_to_build`. `runs` are those that do not fetch."""
    if changed := days_to_build(now, landed, built, timing):
        return _plan_runs(now, changed, runs, f"{_counted(len(changed))} changed")
    held = sum(built.get(day) == files for day, files in landed.items())
    return Decision([], f"the tables hold everything that landed, {_counted(held)}", has_work=held < len(landed))


def days_to_build(now: datetime, landed: Mapping[date, str], built: Mapping[date, str], timing: Timing) -> list[date]:
    """The days with other files in the landing zone than their tables were built from, in order.

    A day that was never built, and that is about to be fetched, is built by the run that fetches it.
    """
    differing = sorted(day for day, files in landed.items() if built.get(day) != files)
    return [day for day in differing if day in built or now >= _first_fetch_ends(day, now, timing)]


def _first_fetch_ends(day: date, now: datetime, timing: Timing) -> datetime:
    """Until when a day that was never built is left to the run that fetches it first."""
    is_fetched_while_open = day == now.date() and timing.open_day_interval
    return (midnight(day) if is_fetched_while_open else timing.due(day)) + JOIN_WAIT


def _cooling_down(now: datetime, runs: Runs) -> str | None:
    error = runs.account_error
    if error is None or now >= error.when + ACCOUNT_ERROR_COOLDOWN:
        return None
    account = "ENABLEX_APP_ID, ENABLEX_APP_KEY and the project in EnableX"
    return (
        f"{error.what} at {_clock(error.when)} ({error.reason}): nothing is requested until "
        f"{_clock(error.when + ACCOUNT_ERROR_COOLDOWN)}. "
        f"Check {account if error.was_asked else 'what the failed run names'}. Requests go on at once when Dagster is "
        "restarted with other credentials, or when a fetch succeeds: materialize period_cdr for one day to try"
    )


def _plan_fetches(
    now: datetime, start: date, wanted: Sequence[date], runs: Runs, timing: Timing, what: str
) -> Decision:
    if not runs.outage:
        return _plan_runs(now, wanted, runs, what)
    last = timing.last_due(now)
    recent = days_between(max(start, last - DAY * (OUTAGE_DAYS - 1)), last)
    return _plan_probe(now, wanted, recent, runs, runs.outage, what)


def _plan_probe(
    now: datetime, wanted: Sequence[date], recent: Sequence[date], runs: Runs, outage: Outage, what: str
) -> Decision:
    """One run at a time while EnableX is unavailable. It asks for a second day only when the first was answered."""
    days = "1 day" if len(outage.tries) == 1 else f"{len(outage.tries)} days"
    reasons = [
        f"EnableX has been unavailable since {_clock(outage.since)} ({outage.cause}, {days} in a row): one day is "
        f"tried every {PROBE_INTERVAL // timedelta(minutes=1)} minutes, and everything goes on when that succeeds",
        what,
    ]
    if runs.in_flight_count:
        return Decision([], "; ".join([*reasons, "a run is under way"]))
    # A different day each time, and not only those that are wanted: it may be the days that fail.
    candidates = {*wanted, *recent}
    probe_at = {day: max(outage.last + PROBE_INTERVAL, runs.retry_at(day) or outage.last) for day in candidates}
    ready = [day for day, when in probe_at.items() if when <= now]
    if not ready:
        return Decision([], "; ".join([*reasons, f"the next try is at {_clock(min(probe_at.values()))}"]))
    first = min(ready, key=lambda day: (outage.tries.get(day, 0), day))
    following = {day for day in wanted if day in ready and day > first and _is_idle(day, runs)}
    probe = ranges([first, *following], runs.spread.days)[0] if first not in runs.failures else [first]
    return Decision([probe], "; ".join([*reasons, f"{first} is tried now"]))


def _plan_runs(now: datetime, wanted: Sequence[date], runs: Runs, what: str) -> Decision:
    idle = [day for day in wanted if day not in runs.in_flight]
    waiting = {day: when for day in idle if (when := runs.retry_at(day)) and when > now}
    ready = [day for day in idle if day not in waiting]
    # A day that failed gets a run to itself, so that its neighbours do not fail with it again.
    alone = [[day] for day in ready if day in runs.failures]
    together = ranges((day for day in ready if day not in runs.failures), runs.spread.days)
    requested = sorted([*alone, *together])[: max(runs.spread.runs - runs.in_flight_count, 0)]
    reasons = [what]
    if in_flight := len(wanted) - len(idle):
        reasons.append(f"{in_flight} under way")
    if waiting:
        following = min(waiting, key=lambda day: waiting[day])
        reasons.append(f"{len(waiting)} failed, {following} is tried again at {_clock(waiting[following])}")
    if left := len(ready) - sum(map(len, requested)):
        reasons.append(f"{left} left until a run ends")
    return Decision(requested, "; ".join(reasons))


def _is_idle(day: date, runs: Runs) -> bool:
    """Whether the day is in no run and has not failed."""
    return day not in runs.in_flight and day not in runs.failures


def _counted(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _clock(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _named(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
