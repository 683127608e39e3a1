"""Scheduling as plain values: from a fixed present, days and runs to the runs that are requested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.days import DAY, ranges
from cdr_assets.pipeline import scheduling
from cdr_assets.pipeline.scheduling import (
    MAX_ACTIVE_RUNS,
    MAX_DAYS_PER_RUN,
    AccountError,
    Decision,
    Responses,
    Runs,
    Timing,
    plan_rebuild,
)

TODAY = date(2026, 11, 22)
TIMING = Timing()
"""The default: fetched an hour after the day closed, then every 6 hours while it is one of the last 3 days."""


def at(clock: str, day: date = TODAY) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), timezone.utc)


def before(days: int) -> date:
    return TODAY - DAY * days


def span(first: date, last: date) -> list[date]:
    return [first + DAY * number for number in range((last - first).days + 1)]


NOON = at("12:00")


# plan_missing


def plan_missing(
    now: datetime = NOON,
    start: date = TODAY - DAY * 3,
    complete: Collection[date] = (),
    runs: Runs | None = None,
    timing: Timing = TIMING,
) -> Decision:
    return scheduling.plan_missing(now, start, complete, runs or Runs(), timing)


@pytest.mark.parametrize(
    ("clock", "settle", "last"),
    [
        ("00:59:59", 60, before(2)),
        ("01:00", 60, before(1)),
        ("00:00", 0, before(1)),
        ("23:59:59", 0, before(1)),
        ("23:59:59", 1440, before(2)),
        ("00:00", 1440, before(2)),
    ],
)
def test_a_day_is_due_at_the_moment_it_has_closed_and_settled(clock: str, settle: int, last: date) -> None:
    timing = Timing(fetch_delay=timedelta(minutes=settle))
    assert plan_missing(at(clock), timing=timing).runs == [span(before(3), last)]


def test_days_before_the_start_date_are_never_asked_for() -> None:
    assert plan_missing(start=before(1)).runs == [[before(1)]]
    assert plan_missing(start=before(1), complete=[before(9)]).runs == [[before(1)]]


def test_days_that_are_complete_are_not_asked_for_and_part_a_range() -> None:
    assert plan_missing(start=before(5), complete=[before(3)]).runs == [
        span(before(5), before(4)),
        span(before(2), before(1)),
    ]


def test_the_oldest_days_come_first_in_ranges_of_a_month_at_most() -> None:
    assert plan_missing(start=before(70)).runs == [
        span(before(70), before(40)),
        span(before(39), before(9)),
        span(before(8), before(1)),
    ]


def test_no_more_than_a_few_runs_are_requested_and_those_in_flight_count() -> None:
    every_other = [before(number) for number in range(1, 20, 2)]
    complete = set(span(before(20), before(1))) - set(every_other)
    oldest_first = sorted(every_other)
    for in_flight in range(MAX_ACTIVE_RUNS + 2):
        flying = frozenset(oldest_first[:in_flight])
        decision = plan_missing(start=before(20), complete=complete, runs=Runs(flying, in_flight))
        room = max(MAX_ACTIVE_RUNS - in_flight, 0)
        assert decision.runs == [[day] for day in oldest_first[in_flight : in_flight + room]]
        assert f"{10 - in_flight - room} left until a run ends" in decision.reason


def test_a_day_under_way_is_not_requested_and_parts_a_range() -> None:
    decision = plan_missing(start=before(5), runs=Runs(frozenset([before(3)]), 1))
    assert decision.runs == [span(before(5), before(4)), span(before(2), before(1))]
    assert decision.reason == "5 days missing; 1 under way"


@pytest.mark.parametrize(
    ("failures", "wait"),
    [
        (1, timedelta(minutes=15)),
        (2, timedelta(hours=1)),
        (3, timedelta(hours=4)),
        (4, timedelta(days=1)),
        (5, timedelta(days=1)),
        (40, timedelta(days=1)),
    ],
)
def test_a_failed_day_is_tried_again_ever_later(failures: int, wait: timedelta) -> None:
    failed = NOON - wait
    tries = [failed - timedelta(minutes=number) for number in range(failures)][::-1]
    runs = Runs(failures={before(1): tries})
    assert plan_missing(start=before(1), runs=runs).runs == [[before(1)]]
    early = plan_missing(NOON - timedelta(seconds=1), start=before(1), runs=runs)
    assert early == Decision([], "1 day missing; 1 failed, 2026-11-21 is tried again at 2026-11-22 12:00 UTC")


def test_a_failed_day_goes_by_itself_and_holds_up_no_neighbour() -> None:
    runs = Runs(failures={before(3): [NOON - timedelta(minutes=14)]})
    assert plan_missing(start=before(5), runs=runs).runs == [span(before(5), before(4)), span(before(2), before(1))]
    later = plan_missing(NOON + timedelta(minutes=1), start=before(5), runs=runs)
    assert later.runs == [span(before(5), before(4)), [before(3)], span(before(2), before(1))]


def test_a_day_that_failed_and_is_complete_is_left_alone() -> None:
    runs = Runs(failures={before(1): [NOON - DAY]})
    assert plan_missing(start=before(1), complete=[before(1)], runs=runs).runs == []


def test_a_refused_account_stops_every_request_for_an_hour_and_says_so() -> None:
    refused = Runs(account_error=AccountError(at("11:30"), "BadCredentials"))
    reason = (
        "EnableX refused the account at 2026-11-22 11:30 UTC (BadCredentials): nothing is requested until "
        "2026-11-22 12:30 UTC. Check ENABLEX_APP_ID, ENABLEX_APP_KEY and the project in EnableX. Requests go on at "
        "once when Dagster is restarted with other credentials, or when a fetch succeeds: materialize period_cdr for "
        "one day to try"
    )
    answers = {before(1): Responses(at("01:00"), 0)}
    for now in (at("11:30"), NOON, at("12:29:59")):
        assert plan_missing(now, runs=refused) == Decision([], reason)
        assert plan_refetch(now, answers, runs=refused) == Decision([], reason)
    assert plan_missing(at("12:30"), runs=refused).runs == [span(before(3), before(1))]
    assert plan_refetch(at("12:30"), answers, runs=refused).runs == [[before(1)]]


def test_a_refused_account_stops_no_rebuild() -> None:
    refused = Runs(account_error=AccountError(NOON, "Forbidden"))
    assert plan_rebuild(NOON, {before(1): "new"}, {}, refused).runs == [[before(1)]]


@pytest.mark.parametrize(
    ("now", "start", "reason"),
    [
        (at("00:30"), before(3), "days to 2026-11-20 are complete; 2026-11-21 is due at 2026-11-22 01:00 UTC"),
        (NOON, before(3), "days to 2026-11-21 are complete; 2026-11-22 is due at 2026-11-23 01:00 UTC"),
        (NOON, TODAY, "2026-11-22 is due at 2026-11-23 01:00 UTC"),
        (NOON, TODAY + DAY * 9, "2026-12-01 is due at 2026-12-02 01:00 UTC"),
    ],
)
def test_when_nothing_is_missing_the_reason_says_what_is_due_next(now: datetime, start: date, reason: str) -> None:
    complete = span(before(3), TIMING.last_due(now))
    assert plan_missing(now, start, complete) == Decision([], reason)


def test_the_reason_tells_of_days_under_way_failed_and_left() -> None:
    runs = Runs(
        in_flight=frozenset(span(before(9), before(8))),
        in_flight_count=3,
        failures={before(7): [at("11:50")], before(6): [at("09:00"), at("11:59")], before(5): [at("01:00")]},
    )
    assert plan_missing(start=before(9), runs=runs) == Decision(
        [],
        "9 days missing; 2 under way; 2 failed, 2026-11-15 is tried again at 2026-11-22 12:05 UTC; "
        "5 left until a run ends",
    )
    assert plan_missing(start=before(1), runs=Runs(frozenset([before(1)]), 1)).reason == "1 day missing; 1 under way"


# Ticks one after the other


class Queue:
    """Dagster as the decisions see it: what they request is under way until the test lets it end."""

    def __init__(self) -> None:
        self.under_way: list[list[date]] = []
        self.complete: set[date] = set()
        self.requested: Counter[date] = Counter()
        self.failures: dict[date, list[datetime]] = {}

    @property
    def runs(self) -> Runs:
        return Runs(frozenset(day for run in self.under_way for day in run), len(self.under_way), dict(self.failures))

    def request(self, runs: Iterable[list[date]]) -> None:
        for run in runs:
            self.under_way.append(run)
            self.requested.update(run)

    def end_oldest(self, now: datetime, poisoned: Collection[date] = ()) -> None:
        """A run does day after day and fails at the first that cannot be done, as the daily job does."""
        if not self.under_way:
            return
        for day in self.under_way.pop(0):
            if day in poisoned:
                self.failures.setdefault(day, []).append(now)
                return
            self.complete.add(day)


def test_a_first_start_on_ninety_days_asks_for_each_once_in_few_runs() -> None:
    queue, start = Queue(), before(90)
    ticks = 0
    while len(queue.complete) < 90:
        ticks += 1
        assert ticks < 20
        now = NOON + timedelta(minutes=ticks)
        decision = plan_missing(now, start, queue.complete, queue.runs)
        assert len(queue.under_way) + len(decision.runs) <= MAX_ACTIVE_RUNS
        queue.request(decision.runs)
        # A second tick at the same time, and one after a restart, see the runs that are under way.
        assert plan_missing(now, start, queue.complete, queue.runs).runs == []
        queue.end_oldest(now)
    assert queue.requested == dict.fromkeys(span(start, before(1)), 1)
    assert ticks == 3
    assert plan_missing(NOON, start, queue.complete, queue.runs) == Decision(
        [], "days to 2026-11-21 are complete; 2026-11-22 is due at 2026-11-23 01:00 UTC"
    )


def test_days_that_cannot_be_fetched_hold_up_no_other_and_are_tried_daily_in_the_end() -> None:
    start, poisoned = before(90), {before(80), before(79), before(10)}
    queue = Queue()
    for tick in range(4 * 24 * 6):
        now = NOON + timedelta(minutes=10 * tick)
        queue.request(plan_missing(now, start, queue.complete, queue.runs).runs)
        while queue.under_way:
            queue.end_oldest(now, poisoned)
        if tick == 6:
            assert queue.complete >= set(span(start, before(1))) - poisoned
    minutes = [timedelta(minutes=number) for number in (20, 60, 4 * 60, 24 * 60, 24 * 60)]
    for day in poisoned:
        waits = [later - earlier for earlier, later in pairwise(queue.failures[day])]
        assert waits[:5] == minutes[: len(waits)]
        assert len(waits) >= 5


def test_a_refused_account_is_asked_a_few_times_an_hour_however_much_is_missing() -> None:
    start, asked, error = before(365), 0, None
    for tick in range(24 * 6):
        now = NOON + timedelta(minutes=10 * tick)
        for _ in plan_missing(now, start, (), Runs(account_error=error)).runs:
            asked += 1
            error = AccountError(now, "BadCredentials")
    assert 24 <= asked <= MAX_ACTIVE_RUNS * 24


# plan_refetch


def plan_refetch(
    now: datetime,
    answers: Mapping[date, Responses],
    start: date = TODAY - DAY * 30,
    runs: Runs | None = None,
    timing: Timing = TIMING,
) -> Decision:
    return scheduling.plan_refetch(now, start, answers, runs or Runs(), timing)


def test_the_last_closed_days_are_asked_for_again_and_no_others() -> None:
    answers = {day: Responses(at("00:00"), 0) for day in span(before(10), TODAY)}
    assert plan_refetch(NOON, answers).runs == [span(before(3), before(1))]
    one = replace(TIMING, lookback_days=1)
    assert plan_refetch(NOON, answers, timing=one).runs == [[before(1)]]
    assert plan_refetch(NOON, answers, start=before(2)).runs == [span(before(2), before(1))]


def test_a_day_is_asked_for_again_six_hours_after_its_last_answer() -> None:
    answers = {before(2): Responses(at("03:00"), 0), before(1): Responses(at("06:00"), 0)}
    assert plan_refetch(at("08:59:59"), answers) == Decision([], "2026-11-20 is fetched again at 2026-11-22 09:00 UTC")
    assert plan_refetch(at("09:00"), answers).runs == [[before(2)]]
    assert plan_refetch(NOON, answers).runs == [span(before(2), before(1))]


def test_a_day_without_an_answer_is_left_to_closed_days() -> None:
    nothing = Decision([], "no day that closed lately has been fetched yet")
    assert plan_refetch(NOON, {}) == nothing
    assert plan_refetch(NOON, {before(4): Responses(NOON - DAY, 0)}) == nothing
    assert plan_refetch(NOON, {before(1): Responses(NOON - DAY, 0)}).runs == [[before(1)]]


def test_a_day_has_settled_when_as_many_days_have_closed_after_it() -> None:
    answers = {before(3): Responses(before_noon := NOON - DAY, 0)}
    assert before_noon < TIMING.lookback_ends(before(3)) == at("00:00", TODAY + DAY)
    assert plan_refetch(at("23:59:59"), answers).runs == [[before(3)]]
    # 2026-11-22 has closed but is not due yet.
    assert plan_refetch(at("00:00", TODAY + DAY), answers).runs == []


def test_zero_days_turn_it_off() -> None:
    off = replace(TIMING, lookback_days=0)
    answers = {before(1): Responses(NOON - DAY, 0)}
    assert plan_refetch(NOON, answers, timing=off) == Decision([], "days are not fetched again: CDR_SETTLING_DAYS is 0")


def test_a_day_under_way_or_failed_is_not_asked_for_again() -> None:
    answers = {day: Responses(at("00:00"), 0) for day in span(before(3), before(1))}
    runs = Runs(frozenset([before(3)]), 1, {before(2): [at("11:50")]})
    assert plan_refetch(NOON, answers, runs=runs) == Decision(
        [[before(1)]],
        "3 days settling; 1 under way; 1 failed, 2026-11-20 is tried again at 2026-11-22 12:05 UTC",
    )


def asks(timing: Timing, quiet_from: datetime) -> list[datetime]:
    """When one day is asked for again, by a tick every ten minutes until long after its lookback ended."""
    day, last, quiet, asked = TODAY, timing.due(TODAY), 0, []
    now = last
    while now < timing.lookback_ends(day) + DAY:
        now += timedelta(minutes=10)
        if plan_refetch(now, {day: Responses(last, quiet)}, timing=timing).runs:
            asked.append(now)
            last, quiet = now, quiet + 1 if now >= quiet_from else 0
    return asked


def test_a_day_that_is_quiet_is_asked_for_once_more_before_it_settles() -> None:
    settled = TIMING.lookback_ends(TODAY)
    always = asks(TIMING, settled)
    assert [later - earlier for earlier, later in pairwise(always)] == [timedelta(hours=6)] * 10
    assert settled - timedelta(hours=6) <= always[-1] < settled
    quiet = asks(TIMING, TIMING.due(TODAY))
    assert quiet[:4] == always[:4]
    assert quiet[4:] == [settled - timedelta(hours=6)]


def test_a_day_that_is_quiet_late_is_asked_for_to_its_end() -> None:
    settled = TIMING.lookback_ends(TODAY)
    late = asks(TIMING, settled - timedelta(hours=20))
    assert late == asks(TIMING, settled)


def test_when_all_is_quiet_the_reason_says_so() -> None:
    last = at("23:00")
    quiet = {before(3): Responses(last, 4), before(2): Responses(last, 5)}
    assert plan_refetch(at("23:30"), {before(3): quiet[before(3)]}) == Decision(
        [], "the last responses for 2026-11-19 brought nothing new"
    )
    assert plan_refetch(at("23:30"), quiet).reason == "2026-11-20 is fetched again at 2026-11-23 18:00 UTC"
    two = replace(TIMING, refetch_interval=timedelta(hours=48))
    late = {day: Responses(last, 4) for day in span(before(3), before(2))}
    assert plan_refetch(at("23:30"), late, timing=two).reason == (
        "the last responses for 2026-11-19 to 2026-11-20 brought nothing new"
    )


# plan_rebuild


def test_days_are_rebuilt_where_files_and_tables_differ() -> None:
    landed = {before(6): "same", before(5): "new", before(4): "new", before(3): "same", before(2): "first"}
    built = {before(7): "gone", before(6): "same", before(5): "old", before(4): "", before(3): "same"}
    decision = plan_rebuild(NOON, landed, built, Runs())
    assert decision == Decision([span(before(5), before(4)), [before(2)]], "3 days changed")


@pytest.mark.parametrize(("landed", "days"), [([], "0 days"), ([1], "1 day"), ([1, 2], "2 days")])
def test_when_everything_landed_is_in_the_tables_the_reason_says_so(landed: list[int], days: str) -> None:
    files = {before(number): "version" for number in landed}
    assert plan_rebuild(NOON, files, files, Runs()) == Decision([], f"the tables hold everything that landed, {days}")


def test_a_day_whose_rebuild_fails_waits_like_any_other() -> None:
    landed = dict.fromkeys(span(before(3), before(1)), "new")
    runs = Runs(failures={before(2): [NOON]})
    decision = plan_rebuild(NOON, landed, {}, runs)
    assert decision.runs == [[before(3)], [before(1)]]
    assert "2026-11-20 is tried again at 2026-11-22 12:15 UTC" in decision.reason


# Whatever the state


day_numbers = st.integers(-3, 100)
day_sets = st.sets(day_numbers.map(before), max_size=100)
moments = st.integers(0, 60 * 24 * 9).map(lambda minutes: NOON - timedelta(minutes=minutes))
all_runs = st.builds(
    Runs,
    in_flight=day_sets.map(frozenset),
    in_flight_count=st.integers(0, 6),
    failures=st.dictionaries(day_numbers.map(before), st.lists(moments, min_size=1, max_size=6).map(sorted)),
    account_error=st.none() | st.builds(AccountError, moments, st.just("Forbidden")),
)
timings = st.builds(
    Timing,
    fetch_delay=st.integers(0, 1440).map(lambda minutes: timedelta(minutes=minutes)),
    lookback_days=st.integers(0, 31),
    refetch_interval=st.floats(0.001, 168).map(lambda hours: timedelta(hours=hours)),
)


def assert_sound(decision: Decision, wanted: Collection[date], runs: Runs, now: datetime) -> None:
    requested = [day for run in decision.runs for day in run]
    assert set(requested) <= set(wanted)
    assert requested == sorted(set(requested))
    assert not runs.in_flight.intersection(requested)
    assert len(decision.runs) + runs.in_flight_count <= max(MAX_ACTIVE_RUNS, runs.in_flight_count)
    for run in decision.runs:
        assert run == span(run[0], run[-1])
        assert len(run) <= MAX_DAYS_PER_RUN
        assert len(run) == 1 or not set(run) & set(runs.failures)
    assert all((runs.retry_at(day) or now) <= now for day in requested)
    assert decision.reason


@given(complete=day_sets, runs=all_runs, timing=timings, start=day_numbers.map(before))
@settings(max_examples=150, deadline=None)
def test_what_plan_missing_requests_is_wanted_idle_and_adjacent(
    complete: set[date], runs: Runs, timing: Timing, start: date
) -> None:
    decision = plan_missing(NOON, start, complete, runs, timing)
    due = {day for day in span(start, TODAY) if at("00:00", day + DAY) + timing.fetch_delay <= NOON}
    assert_sound(decision, due - complete, runs, NOON)
    resting = runs.account_error and runs.account_error.when + timedelta(hours=1) > NOON
    ready = {day for day in due - complete - runs.in_flight if (runs.retry_at(day) or NOON) <= NOON}
    assert bool(decision.runs) == bool(ready and not resting and runs.in_flight_count < MAX_ACTIVE_RUNS)


@given(
    answers=st.dictionaries(day_numbers.map(before), st.builds(Responses, moments, st.integers(0, 9))),
    runs=all_runs,
    timing=timings,
)
@settings(max_examples=150, deadline=None)
def test_what_plan_refetch_requests_was_answered_and_is_due(
    answers: dict[date, Responses], runs: Runs, timing: Timing
) -> None:
    decision = plan_refetch(NOON, answers, runs=runs, timing=timing)
    lately = span(TODAY - DAY * timing.lookback_days, TODAY - DAY)
    due = [day for day in lately if day in answers and answers[day].last + timing.refetch_interval <= NOON]
    assert_sound(decision, due, runs, NOON)


@given(landed=day_sets, changed=day_sets, runs=all_runs)
@settings(max_examples=100, deadline=None)
def test_what_plan_rebuild_requests_has_changed(landed: set[date], changed: set[date], runs: Runs) -> None:
    built = {day: "old" if day in changed else "new" for day in landed}
    decision = plan_rebuild(NOON, dict.fromkeys(landed, "new"), built, runs)
    assert_sound(decision, landed & changed, runs, NOON)


@given(days=st.lists(day_numbers.map(before)))
@settings(max_examples=100, deadline=None)
def test_ranges_hold_every_day_once_and_none_could_be_joined(days: list[date]) -> None:
    grouped = ranges(days, MAX_DAYS_PER_RUN)
    assert [day for run in grouped for day in run] == sorted(set(days))
    for earlier, later in pairwise(grouped):
        assert later[0] - earlier[-1] > DAY or len(earlier) == MAX_DAYS_PER_RUN
