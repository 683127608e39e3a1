"""Scheduling as plain values: from a fixed present, days and runs to the runs that are requested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.days import DAY, midnight, ranges
from cdr_assets.pipeline import scheduling
from cdr_assets.pipeline.scheduling import (
    MAX_ACTIVE_RUNS,
    MAX_DAYS_PER_RUN,
    AccountError,
    ClosedDays,
    Decision,
    Failure,
    Outage,
    Responses,
    Runs,
    Spread,
    Timing,
    judge_failures,
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
    responses: Mapping[date, Responses] | None = None,
) -> Decision:
    return scheduling.plan_missing(now, start, complete, responses or {}, runs or Runs(), timing)


def plan_rebuild(now: datetime, landed: Mapping[date, str], built: Mapping[date, str], runs: Runs) -> Decision:
    return scheduling.plan_rebuild(now, landed, built, runs, TIMING)


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


# Several workers


SPREAD = Spread.of(2, 4)


def test_without_days_a_run_a_history_takes_a_few_long_runs_however_many_workers_there_are() -> None:
    assert Spread.of(None, 10) == Spread.of(None, None) == Spread(31, 3) == Runs().spread


@pytest.mark.parametrize(("at_once", "runs"), [(10, 9), (4, 3), (2, 1), (1, 1), (0, 1), (None, MAX_ACTIVE_RUNS)])
def test_one_of_the_runs_at_once_is_left_for_the_day_that_is_open(at_once: int | None, runs: int) -> None:
    assert Spread.of(7, at_once) == Spread(7, runs)


def test_a_history_is_spread_over_short_runs_as_many_as_there_is_room_for() -> None:
    decision = plan_missing(start=before(9), runs=Runs(spread=SPREAD))
    assert decision.runs == [span(before(9), before(8)), span(before(7), before(6)), span(before(5), before(4))]
    assert decision.reason == "9 days missing; 3 left until a run ends"
    under_way = Runs(frozenset(span(before(9), before(6))), 2, spread=SPREAD)
    assert plan_missing(start=before(9), runs=under_way).runs == [span(before(5), before(4))]


def test_days_are_rebuilt_in_short_runs_too() -> None:
    landed = dict.fromkeys(span(before(5), before(1)), "new")
    assert plan_rebuild(NOON, landed, landed | dict.fromkeys(landed, "old"), Runs(spread=SPREAD)).runs == [
        span(before(5), before(4)),
        span(before(3), before(2)),
        [before(1)],
    ]


def test_while_enablex_is_unavailable_a_probe_takes_no_more_days_than_a_run() -> None:
    outage = Outage(at("11:00"), at("11:00"), "HTTP 500", dict.fromkeys(span(before(9), before(7)), 1))
    (probe,) = plan_missing(start=before(9), runs=Runs(outage=outage, spread=SPREAD)).runs
    assert len(probe) == 2


def test_all_workers_are_busy_with_a_history_to_its_end_and_none_is_asked_for_a_day_twice() -> None:
    queue, start = Queue(), before(40)
    while len(queue.complete) < 40:
        runs = replace(queue.runs, spread=SPREAD)
        queue.request(plan_missing(NOON, start, queue.complete, runs).runs)
        days_left = 40 - len(queue.complete)
        assert len(queue.under_way) == min(3, (days_left + 1) // 2)
        queue.end_oldest(NOON)
    assert queue.requested == dict.fromkeys(span(start, before(1)), 1)


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


def test_days_are_asked_for_again_together_at_the_next_common_moment_after_their_last_answers() -> None:
    answers = {before(2): Responses(at("01:03"), 0), before(1): Responses(at("04:30"), 0)}
    assert plan_refetch(at("06:59:59"), answers) == Decision([], "2026-11-20 is fetched again at 2026-11-22 07:00 UTC")
    assert plan_refetch(at("07:00"), answers).runs == [span(before(2), before(1))]
    answers[before(1)] = Responses(at("07:02"), 0)
    assert plan_refetch(at("12:59"), answers).runs == [[before(2)]]
    assert plan_refetch(at("13:00"), answers).runs == [span(before(2), before(1))]


@pytest.mark.parametrize(
    ("delay", "hours", "moments"),
    [
        (60, 6, "01:00 07:00 13:00 19:00"),
        (0, 6, "00:00 06:00 12:00 18:00"),
        (60, 5, "01:00 06:00 11:00 16:00 21:00"),
        (1440, 8, "00:00 08:00 16:00"),
        (60, 24, "01:00"),
        (60, 36, "01:00"),
        (60, 168, "01:00"),
    ],
)
def test_the_common_moments_are_counted_from_the_first_fetch_of_a_day(delay: int, hours: int, moments: str) -> None:
    timing = Timing(timedelta(minutes=delay), 3, timedelta(hours=hours))
    minutes = [midnight(TODAY) + timedelta(minutes=number) for number in range(1440)]
    assert " ".join(f"{now:%H:%M}" for now in minutes if timing.moment_at(now) == now) == moments
    second = timedelta(seconds=1)
    assert all(timing.moment_at(now + second) == timing.moment_at(now) for now in minutes)


@given(
    delay=st.integers(0, 1440),
    hours=st.floats(0.0001, 168),
    seconds=st.integers(0, 86_400 * 9),
)
@settings(max_examples=200)
def test_after_an_answer_comes_another_within_the_interval(delay: int, hours: float, seconds: int) -> None:
    timing = Timing(timedelta(minutes=delay), 31, timedelta(hours=hours))
    last = NOON - timedelta(seconds=seconds)
    again = timing.moment_at(last + timing.refetch_interval)
    assert last < again <= last + timing.refetch_interval
    assert timing.moment_at(again) == again


def test_days_between_two_that_are_due_go_with_them_if_they_are_few() -> None:
    quiet, busy = Responses(at("01:00"), 4), Responses(at("13:01"), 3)
    for days, runs in [(3, [[before(3), before(2), before(1)]]), (4, [[*span(before(4), before(1))]])]:
        timing = replace(TIMING, lookback_days=days)
        answers = {**dict.fromkeys(span(before(days), before(2)), quiet), before(1): busy}
        assert plan_refetch(at("19:00"), answers, timing=timing).runs == runs
        # One that is under way, or that failed, does not join them.
        for state in (Runs(frozenset([before(2)]), 1), Runs(failures={before(2): [at("18:59")]})):
            parts = plan_refetch(at("19:00"), answers, timing=timing, runs=state).runs
            assert [before(1)] in parts
            assert all(before(2) not in part for part in parts)
    many = replace(TIMING, lookback_days=5)
    answers = {**dict.fromkeys(span(before(5), before(2)), quiet), before(1): busy}
    assert plan_refetch(at("19:00"), answers, timing=many).runs == [[before(5)], [before(1)]]


def test_days_to_ask_for_again_go_with_the_first_fetch_of_the_newest_day() -> None:
    answers = {before(4): Responses(at("19:01", before(1)), 0), before(3): Responses(at("19:01", before(1)), 4)}
    answers[before(2)] = answers[before(4)]
    now, complete = at("01:00"), span(before(9), before(2))
    everything = plan_missing(now, before(9), complete, responses=answers)
    # The lookback of before(4) has ended, and before(3) was quiet.
    assert everything == Decision([span(before(2), before(1))], "1 day missing")
    assert plan_refetch(now, answers) == Decision(
        [], "1 day settling, to be fetched together with 2026-11-21 by closed_days"
    )
    assert plan_refetch(at("01:29:59"), answers).runs == []
    # When nobody fetches the newest day, or when it fails, the others don't wait for it.
    assert plan_refetch(at("01:30"), answers).runs == [[before(2)]]
    failed = Runs(failures={before(1): [at("01:02")]})
    assert plan_refetch(at("01:04"), answers, runs=failed).runs == [[before(2)]]
    assert plan_missing(at("01:17"), before(9), complete, failed, responses=answers).runs == [[before(1)]]
    under_way = Runs(frozenset([before(1)]), 1)
    assert plan_refetch(at("01:04"), answers, runs=under_way).runs == [[before(2)]]
    # A missing day of the past takes no others along.
    answers[before(1)] = Responses(at("01:02"), 0)
    assert plan_missing(NOON, before(3), [before(2), before(1)], responses=answers).runs == [[before(3)]]


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


TICK = timedelta(minutes=10)


def asks(timing: Timing, quiet_from: datetime) -> list[datetime]:
    """When one day is asked for again, by a tick every ten minutes until long after its lookback ended."""
    day, last, quiet, asked = TODAY, timing.due(TODAY), 0, []
    now = last
    while now < timing.lookback_ends(day) + DAY:
        now += TICK
        # Newer days are fetched as well, and are not due.
        others = {timing.last_due(now): Responses(now, 0)}
        if plan_refetch(now, {**others, day: Responses(last, quiet)}, timing=timing).runs:
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
    assert quiet[4:] == [settled - timedelta(hours=5)]


def test_a_day_that_is_quiet_late_is_asked_for_to_its_end() -> None:
    settled = TIMING.lookback_ends(TODAY)
    late = asks(TIMING, settled - timedelta(hours=20))
    assert late == asks(TIMING, settled)


@pytest.mark.parametrize(("delay", "hours"), [(60, 6), (0, 6), (60, 5.74), (1440, 6), (60, 5), (30, 24), (7, 0.5)])
def test_the_last_time_leaves_time_to_fetch_and_is_close_to_the_end(delay: int, hours: float) -> None:
    timing = Timing(timedelta(minutes=delay), 3, timedelta(hours=hours))
    left = timing.lookback_ends(TODAY) - timing.last_moment(TODAY)
    margin = min(timing.refetch_interval / 2, timedelta(hours=1))
    assert margin <= left <= timing.refetch_interval + margin
    late = asks(timing, timing.due(TODAY))[-1] - timing.last_moment(TODAY)
    assert timedelta() <= late < TICK


def test_when_all_is_quiet_the_reason_says_so() -> None:
    last = at("23:00")
    quiet = {before(3): Responses(last, 4), before(2): Responses(last, 5)}
    assert plan_refetch(at("23:30"), {before(3): quiet[before(3)]}) == Decision(
        [], "the last responses for 2026-11-19 brought nothing new"
    )
    assert plan_refetch(at("23:30"), quiet).reason == "2026-11-20 is fetched again at 2026-11-23 19:00 UTC"
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
    decision = plan_rebuild(NOON, files, files, Runs())
    assert decision == Decision([], f"the tables hold everything that landed, {days}")
    assert not decision.has_work


def test_a_day_that_was_never_built_is_left_to_the_run_that_is_about_to_fetch_it() -> None:
    landed = {before(2): "same", before(1): "spilled"}
    early = plan_rebuild(at("01:29:59"), landed, {before(2): "same"}, Runs())
    assert early == Decision([], "the tables hold everything that landed, 1 day")
    assert early.has_work
    assert plan_rebuild(at("01:30"), landed, {before(2): "same"}, Runs()).runs == [[before(1)]]
    # One that was built, and then got records, does not wait.
    assert plan_rebuild(at("00:01"), landed, {**landed, before(1): "old"}, Runs()).runs == [[before(1)]]


def test_a_day_whose_rebuild_fails_waits_like_any_other() -> None:
    landed = dict.fromkeys(span(before(3), before(1)), "new")
    runs = Runs(failures={before(2): [NOON]})
    decision = plan_rebuild(NOON, landed, {}, runs)
    assert decision.runs == [[before(3)], [before(1)]]
    assert "2026-11-20 is tried again at 2026-11-22 12:15 UTC" in decision.reason


# The service, left alone


@dataclass
class Service:
    """Both fetching sensors over some days, and an EnableX that is down at times. Runs take two minutes."""

    start: date
    timing: Timing = TIMING
    has_news: bool = True
    """Whether every answer brings something."""
    down: tuple[datetime, datetime] = (NOON, NOON)
    broken: frozenset[date] = frozenset()
    """Days for which EnableX answers with an error."""
    launched: list[tuple[datetime, list[date]]] = field(default_factory=list)
    asked: list[tuple[datetime, date]] = field(default_factory=list)
    answered: dict[date, list[datetime]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def run(self, first: datetime, last: datetime) -> Service:
        """Ticks every ten minutes, of one sensor after the other."""
        self._under_way: list[tuple[datetime, list[date]]] = []
        minutes = int((last - first) / timedelta(minutes=1))
        for now in (first + timedelta(minutes=number) for number in range(minutes)):
            ended = [days for end, days in self._under_way if end <= now]
            self._under_way = [each for each in self._under_way if each[0] > now]
            for days in ended:
                self._end(now, days)
            if now.minute % 10 == 3:
                self._launch(now, scheduling.plan_missing(now, self.start, self.answered, *self._known()))
            if now.minute % 10 == 5:
                self._launch(now, scheduling.plan_refetch(now, self.start, *self._known()))
        return self

    def decide(self, now: datetime) -> list[str]:
        """Why either sensor requests nothing now."""
        responses, runs, timing = self._known()
        missing = plan_missing(now, self.start, self.answered, runs, timing, responses)
        again = plan_refetch(now, responses, self.start, runs, timing)
        assert missing.runs == again.runs == []
        return [missing.reason, again.reason]

    def _known(self) -> tuple[dict[date, Responses], Runs, Timing]:
        fetched = sorted(when for times in self.answered.values() for when in times)
        failures, outage = judge_failures(self.failures, fetched)
        in_flight = frozenset(day for _, days in self._under_way for day in days)
        responses = {
            day: Responses(times[-1], 0 if self.has_news else len(times) - 1) for day, times in self.answered.items()
        }
        return responses, Runs(in_flight, len(self._under_way), failures, outage=outage), self.timing

    def _launch(self, now: datetime, decision: Decision) -> None:
        for days in decision.runs:
            self.launched.append((now, days))
            self._under_way.append((now + timedelta(minutes=2), days))

    def _end(self, now: datetime, days: list[date]) -> None:
        """A run does day after day, and stops at the first that fails."""
        for day in days:
            self.asked.append((now, day))
            if self.down[0] <= now < self.down[1]:
                self.failures.append(Failure(now, day, "no answer"))
                return
            if day in self.broken:
                self.failures.append(Failure(now, day, "500"))
                return
            self.answered.setdefault(day, []).append(now)

    def runs_of(self, day: date) -> int:
        return sum(now.date() == day for now, _ in self.launched)


HISTORY, WEEK = TODAY - DAY * 30, span(TODAY, TODAY + DAY * 6)


@pytest.mark.parametrize("has_news", [True, False])
def test_a_week_takes_four_runs_a_day_and_every_day_is_asked_for_to_its_end(has_news: bool) -> None:
    service = Service(HISTORY, has_news=has_news).run(at("12:00", before(6)), at("00:00", WEEK[-1] + DAY))
    assert [service.runs_of(day) for day in WEEK] == [4] * 7
    for day in span(before(2), before(-3)):
        times = service.answered[day]
        assert times[0] - TIMING.due(day) < TICK
        assert TIMING.lookback_ends(day) - timedelta(hours=6) <= times[-1] < TIMING.lookback_ends(day)
        # When all is quiet: five times, once between two days that are due, and once at the end.
        assert len(times) == (12 if has_news else 7)


@pytest.mark.parametrize(("days", "hours", "most"), [(3, 12, 2), (7, 6, 5), (1, 6, 4), (3, 24, 1), (3, 5, 5)])
@pytest.mark.parametrize("has_news", [True, False])
def test_other_settings_take_a_run_per_moment(days: int, hours: int, most: int, has_news: bool) -> None:
    timing = Timing(timedelta(hours=1), days, timedelta(hours=hours))
    service = Service(HISTORY, timing, has_news).run(at("12:00", before(9)), at("00:00", WEEK[-1] + DAY))
    assert max(service.runs_of(day) for day in WEEK) <= most


# EnableX is down


def plan_both(now: datetime, runs: Runs) -> tuple[Decision, Decision]:
    """What both sensors decide when the newest day is missing and the two days before it are due again."""
    answers = {day: Responses(NOON - DAY, 0) for day in (before(3), before(2))}
    missing = plan_missing(now, before(3), [before(3), before(2)], runs, responses=answers)
    return missing, plan_refetch(now, answers, runs=runs)


def test_what_fails_while_enablex_is_down_is_no_fault_of_the_days() -> None:
    down = [Failure(at(f"0{hour}:00"), before(number), "503") for hour, number in enumerate([3, 2, 1, 3])]
    own = Failure(at("02:30"), before(2))
    failures, outage = judge_failures([*down, own], [NOON - DAY])
    assert failures == {before(2): [own.when]}
    assert outage == Outage(at("00:00"), at("03:00"), "503", {before(3): 2, before(2): 1, before(1): 1})
    assert outage.is_certain
    # A fetch that succeeded since ends it, and the failures stay forgiven.
    assert judge_failures([*down, own], [NOON - DAY, at("03:01")]) == ({before(2): [own.when]}, None)
    # One that succeeded in between shows that it was the days.
    failures, outage = judge_failures(down, [at("01:30")])
    assert failures == {before(3): [at("00:00"), at("03:00")], before(2): [at("01:00")], before(1): [at("02:00")]}
    assert outage == Outage(at("02:00"), at("03:00"), "503", {before(1): 1, before(3): 1})
    assert not outage.is_certain


def test_while_enablex_is_down_one_day_is_tried_every_five_minutes_by_either_sensor() -> None:
    outage = Outage(at("07:00"), NOON, "no answer", {before(3): 2, before(2): 1, before(1): 1})
    early, late = NOON + timedelta(minutes=4, seconds=59), NOON + timedelta(minutes=5)
    said = (
        "EnableX has been unavailable since 2026-11-22 07:00 UTC (no answer, 3 days in a row): one day is tried every "
        "5 minutes, and everything goes on when that succeeds; "
    )
    missing, again = plan_both(early, Runs(outage=outage))
    assert missing == Decision([], said + "1 day missing; the next try is at 2026-11-22 12:05 UTC")
    assert again == Decision([], said + "2 days settling; the next try is at 2026-11-22 12:05 UTC")
    missing, again = plan_both(late, Runs(outage=outage))
    # The second day is asked for when the first was answered.
    assert missing == Decision([span(before(2), before(1))], said + "1 day missing; 2026-11-20 is tried now")
    assert again == Decision([[before(2)]], said + "2 days settling; 2026-11-20 is tried now")
    for decision in plan_both(late, Runs(frozenset([before(2)]), 1, outage=outage)):
        assert decision.runs == []
        assert decision.reason.endswith("; a run is under way")


def test_a_day_that_fails_by_itself_does_not_stand_for_all() -> None:
    """Other days are tried; until these fail too, it waits as it would without an outage."""
    outage = Outage(at("11:55"), at("11:55"), "500", {before(1): 1})
    runs = Runs(failures={before(1): [at("11:55")]}, outage=outage)
    complete = span(before(9), before(2))
    assert plan_missing(NOON, before(9), complete, runs).runs == [[before(3)]]
    two = replace(outage, last=NOON, tries={before(1): 1, before(3): 1})
    runs = Runs(failures={before(1): [at("11:55")], before(3): [NOON]}, outage=two)
    assert plan_missing(at("12:05"), before(9), complete, runs).runs == [[before(2)]]
    alone = plan_missing(at("12:05"), before(1), [], runs)
    assert alone.runs == []
    assert alone.reason.endswith("1 day missing; the next try is at 2026-11-22 12:10 UTC")
    assert plan_missing(at("12:10"), before(1), [], runs).runs == [[before(1)]]


@pytest.mark.parametrize("has_news", [True, False])
@pytest.mark.parametrize("hours", [0.5, 6, 30])
@pytest.mark.parametrize("since", ["00:58", "07:04", "18:59"])
def test_after_an_outage_everything_goes_on_within_two_ticks(has_news: bool, hours: float, since: str) -> None:
    down = at(since), at(since) + timedelta(hours=hours)
    soon = down[1] + 2 * TICK + timedelta(minutes=3)
    service = Service(HISTORY, has_news=has_news, down=down).run(at("12:00", before(6)), soon)
    tried = [when for when, _ in service.asked if down[0] <= when < down[1]]
    assert min(6, 2 * hours) <= len(tried) <= 2 + 60 / 5 * hours
    # Everything that was due is done or under way, and nothing waits for its next try.
    for reason in service.decide(soon):
        assert "failed" not in reason
        assert "left until" not in reason
        assert "unavailable" not in reason


def test_a_years_history_waits_for_enablex_with_a_try_every_few_minutes() -> None:
    first = before(365)
    service = Service(first, down=(NOON, NOON + timedelta(hours=6))).run(NOON, NOON + timedelta(hours=7))
    down = [when for when, _ in service.asked if when < NOON + timedelta(hours=6)]
    assert 36 <= len(down) <= 6 * 60 / 5 + MAX_ACTIVE_RUNS
    assert set(service.answered) >= set(span(first, before(1)))


def test_days_that_cannot_be_fetched_do_not_pass_for_an_outage() -> None:
    broken = frozenset([before(1), before(2), before(3), before(9)])
    service = Service(HISTORY, broken=broken).run(NOON, at("12:00", TODAY + DAY * 4))
    assert set(service.answered) == set(span(HISTORY, TODAY + DAY * 3)) - broken
    assert 12 <= len(service.answered[TODAY]) <= 24
    asked = Counter(day for _, day in service.asked)
    assert all(asked[day] <= 8 * 4 for day in broken), asked


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
@settings(max_examples=150)
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
@settings(max_examples=150)
def test_what_plan_refetch_requests_was_answered_and_is_due(
    answers: dict[date, Responses], runs: Runs, timing: Timing
) -> None:
    decision = plan_refetch(NOON, answers, runs=runs, timing=timing)
    lately = span(TODAY - DAY * timing.lookback_days, TODAY - DAY)
    fetched = [day for day in lately if day in answers]
    assert_sound(decision, fetched, runs, NOON)
    for run in decision.runs:
        for day in (run[0], run[-1]):
            assert answers[day].last < timing.moment_at(answers[day].last + timing.refetch_interval) <= NOON


outages = st.builds(
    Outage,
    moments,
    moments,
    st.just("503"),
    st.dictionaries(day_numbers.map(before), st.integers(1, 99), min_size=1),
)


@given(complete=day_sets, answers=day_sets, runs=all_runs, outage=outages, start=day_numbers.map(before))
@settings(max_examples=150)
def test_in_an_outage_there_is_one_run_at_a_time_and_five_minutes_lie_between(
    complete: set[date], answers: set[date], runs: Runs, outage: Outage, start: date
) -> None:
    runs = replace(runs, outage=outage, account_error=None)
    responses = {day: Responses(NOON - DAY, 0) for day in answers}
    for decision in (
        plan_missing(NOON, start, complete, runs, responses=responses),
        plan_refetch(NOON, responses, start, runs),
    ):
        assert len(decision.runs) <= 1
        if decision.runs:
            assert runs.in_flight_count == 0
            assert NOON - outage.last >= timedelta(minutes=5)
            assert set(decision.runs[0]) <= set(span(start, before(1)))
            assert all((runs.retry_at(day) or NOON) <= NOON for day in decision.runs[0])
        elif runs.in_flight_count == 0 and "unavailable" in decision.reason:
            assert "the next try is at" in decision.reason


@given(landed=day_sets, changed=day_sets, runs=all_runs)
@settings(max_examples=100)
def test_what_plan_rebuild_requests_has_changed(landed: set[date], changed: set[date], runs: Runs) -> None:
    built = {day: "old" if day in changed else "new" for day in landed}
    decision = plan_rebuild(NOON, dict.fromkeys(landed, "new"), built, runs)
    assert_sound(decision, landed & changed, runs, NOON)


@given(days=st.lists(day_numbers.map(before)))
@settings(max_examples=100)
def test_ranges_hold_every_day_once_and_none_could_be_joined(days: list[date]) -> None:
    grouped = ranges(days, MAX_DAYS_PER_RUN)
    assert [day for run in grouped for day in run] == sorted(set(days))
    for earlier, later in pairwise(grouped):
        assert later[0] - earlier[-1] > DAY or len(earlier) == MAX_DAYS_PER_RUN


# Days that are overdue

SIX_HOURS = timedelta(hours=6)


def look(now: datetime, complete: Collection[date] = (), runs: Runs | None = None) -> ClosedDays:
    return scheduling.look_at_closed_days(now, before(4), complete, runs or Runs(), TIMING, SIX_HOURS)


def test_a_day_that_fails_is_overdue_some_hours_after_it_was_due() -> None:
    failed = Runs(failures={before(1): [at("01:10")]})
    assert look(at("06:59"), span(before(4), before(2)), failed).overdue == []
    days = look(at("07:00"), span(before(4), before(2)), failed)
    assert (days.missing, days.failed, days.overdue) == ([before(1)], [before(1)], [before(1)])
    assert days.next_try == f"{before(1)} at {TODAY} 07:00 UTC", "its wait is over"
    failed = Runs(failures={before(1): [at("01:10"), at("06:50")]})
    assert look(at("07:00"), runs=failed).next_try == f"{before(1)} at {TODAY} 07:50 UTC"
    under_way = replace(failed, in_flight=frozenset({before(1)}))
    assert look(at("07:00"), runs=under_way).next_try == f"{before(1)} is under way"
    assert look(at("07:00"), span(before(4), before(1)), failed).overdue == [], "it is complete"


def test_a_day_that_waits_for_its_turn_is_missing_and_not_overdue() -> None:
    days = look(NOON, [before(4)], Runs(in_flight=frozenset({before(3)})))
    assert (days.complete, days.missing) == ([before(4)], span(before(3), before(1)))
    assert (days.failed, days.overdue, days.next_try) == ([], [], "")


def test_while_enablex_is_unavailable_every_missing_day_is_overdue() -> None:
    outage = Outage(at("01:00"), at("11:00"), "HTTP 503", {before(2): 1, before(1): 2})
    days = look(NOON, [before(4)], Runs(outage=outage))
    assert (days.failed, days.overdue) == ([before(2), before(1)], span(before(3), before(1)))
    assert days.next_try == "EnableX is unavailable, so one day every 5 minutes"
    assert look(at("06:59"), [before(4)], Runs(outage=outage)).overdue == span(before(3), before(2))


def test_while_the_account_is_refused_every_missing_day_is_overdue() -> None:
    refused = Runs(account_error=AccountError(at("11:30"), "Forbidden"))
    days = look(NOON, [before(4)], refused)
    assert (days.failed, days.overdue) == ([], span(before(3), before(1)))
    assert days.next_try == f"EnableX refused the account, so not before {TODAY} 12:30 UTC"
    assert look(at("12:30"), [before(4)], refused).overdue == []


def test_complete_days_are_provisional_until_their_last_fetch() -> None:
    complete = span(before(4), before(1))
    assert look(NOON, complete).provisional == span(before(3), before(1))
    assert look(at("19:00"), complete).provisional == span(before(2), before(1))
