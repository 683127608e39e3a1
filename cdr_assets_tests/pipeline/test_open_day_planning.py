"""When the day that is open is fetched, and until when a day is provisional: plain values, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.days import DAY, days_between, midnight
from cdr_assets.pipeline import scheduling
from cdr_assets.pipeline.scheduling import (
    MAX_ACTIVE_RUNS,
    AccountError,
    Decision,
    Failure,
    Outage,
    Responses,
    Runs,
    Spread,
    Timing,
    is_complete,
    is_provisional,
    judge_failures,
    plan_open_day,
    split_by_closing,
)
from cdr_assets_tests.pipeline.test_scheduling import NOON, TIMING, TODAY, at, before

START = before(30)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def plan(
    now: datetime = NOON,
    asked: datetime | None = None,
    runs: Runs | None = None,
    start: date = START,
    timing: Timing = TIMING,
) -> Decision:
    return plan_open_day(now, start, asked, runs or Runs(), timing)


# When it is due


def test_it_is_fetched_at_once_when_it_never_was() -> None:
    for now in (at("00:00"), at("00:01"), NOON, at("23:59:59")):
        assert plan(now).runs == [[TODAY]]


@pytest.mark.parametrize(
    ("asked", "clock", "is_due"),
    [
        ("10:00:05", "10:29:59", False),
        ("10:00:05", "10:30", True),
        # Ticks come at odd times. The next fetch does not move with the last one.
        ("10:09:59", "10:30", True),
        ("10:29:59", "10:30", True),
        ("10:30", "10:59:59", False),
        ("00:00", "00:29:59", False),
    ],
)
def test_it_is_due_at_the_half_hours_of_the_day(asked: str, clock: str, is_due: bool) -> None:
    assert plan(at(clock), at(asked)).runs == ([[TODAY]] if is_due else [])


@pytest.mark.parametrize(("minutes", "times"), [(30, 48), (1, 1440), (50, 29), (1440, 1), (720, 2), (0.5, 1440)])
def test_a_day_of_ticks_makes_as_many_requests_as_the_interval_gives(minutes: float, times: int) -> None:
    timing = Timing(open_day_interval=timedelta(minutes=minutes))
    asked: list[datetime] = []
    for number in range(1440):
        now = at("00:00:07") + MINUTE * number
        asked += [now for _ in plan(now, asked[-1] if asked else None, timing=timing).runs]
    assert len(asked) == times


def test_nothing_else_is_due_until_then_and_the_reason_says_when() -> None:
    waiting = plan(at("10:17"), at("10:00:05"))
    assert waiting == Decision([], "2026-11-22 is fetched again at 2026-11-22 10:30 UTC")
    assert not waiting.has_work
    assert TIMING.open_day_rests_until(at("10:17")) == at("10:30")
    last = plan(at("23:40"), at("23:30:05"))
    assert last == Decision([], "2026-11-22 is not fetched again before it closes")
    assert TIMING.open_day_rests_until(at("23:40")) == midnight(TODAY + DAY)
    assert plan(NOON).has_work


def test_with_an_interval_of_zero_it_is_never_fetched() -> None:
    decision = plan(timing=Timing(open_day_interval=timedelta(0)))
    assert decision == Decision([], "the open day is not fetched: CDR_OPEN_DAY_MINUTES is 0")
    assert not decision.has_work


def test_a_start_date_in_the_future_is_waited_for() -> None:
    tomorrow = TODAY + DAY
    assert plan(start=tomorrow) == Decision([], "2026-11-23 is the first day and has not begun")
    assert plan(start=TODAY).runs == [[TODAY]]
    assert plan(midnight(tomorrow), start=tomorrow).runs == [[tomorrow]]


def test_a_time_that_a_wrong_clock_left_holds_nothing_up() -> None:
    assert plan(NOON, NOON + MINUTE).runs == [[TODAY]]


# What holds it up


@pytest.mark.parametrize("others", [0, MAX_ACTIVE_RUNS - 1, MAX_ACTIVE_RUNS, MAX_ACTIVE_RUNS + 5])
def test_a_run_that_has_the_day_is_waited_for_and_others_are_not(others: int) -> None:
    assert plan(runs=Runs(frozenset([TODAY]), 1 + others)) == Decision([], "2026-11-22 is open; 1 under way")
    assert plan(runs=Runs(frozenset([before(1)]), others)).runs == [[TODAY]]


@pytest.mark.parametrize("most", [1, 9])
def test_a_history_that_is_spread_over_several_workers_does_not_hold_it_up(most: int) -> None:
    runs = Runs(frozenset([before(1)]), most, spread=Spread(2, most))
    assert plan(runs=runs).runs == [[TODAY]]


def test_a_refused_account_is_left_alone() -> None:
    refused = Runs(account_error=AccountError(NOON - MINUTE, "Forbidden"))
    decision = plan(runs=refused)
    assert decision.runs == []
    assert decision.reason.startswith("EnableX refused the account at 2026-11-22 11:59 UTC (Forbidden)")
    assert plan(NOON + HOUR, runs=refused).runs == [[TODAY]]


@pytest.mark.parametrize(
    ("failed", "waits"),
    [(["11:50"], 15 * MINUTE), (["11:00", "11:50"], HOUR), (["08:00", "09:00", "10:00", "11:50"], HOUR)],
)
def test_after_failures_it_is_tried_again_within_an_hour(failed: list[str], waits: timedelta) -> None:
    runs = Runs(failures_while_open={TODAY: [at(clock) for clock in failed]})
    last = at(failed[-1])
    early = plan(last + waits - MINUTE, runs=runs)
    assert early.runs == []
    assert early.reason.startswith("2026-11-22 is open; 1 failed, 2026-11-22 is tried again at ")
    assert plan(last + waits, runs=runs).runs == [[TODAY]]


def test_failures_from_before_its_last_answer_do_not_count() -> None:
    runs = Runs(failures_while_open={TODAY: [at("09:00"), at("10:15")]})
    assert plan(at("10:31"), at("10:20"), runs).runs == [[TODAY]]
    assert plan(at("10:31"), at("10:10"), runs).runs == [[TODAY]]
    assert plan(at("10:29"), at("10:00", before(1)), runs).runs == []


def test_while_enablex_is_down_it_is_one_try_among_the_others() -> None:
    outage = Outage(at("07:00"), NOON, "no answer", {before(3): 2, before(2): 1, TODAY: 1})
    early = plan(NOON + 4 * MINUTE, at("06:30"), Runs(outage=outage))
    assert early.runs == []
    assert "EnableX has been unavailable since 2026-11-22 07:00 UTC" in early.reason
    assert early.reason.endswith("2026-11-22 is open; the next try is at 2026-11-22 12:05 UTC")
    # Nothing that was closed goes with it.
    assert plan(NOON + 5 * MINUTE, at("06:30"), Runs(outage=outage)).runs == [[TODAY]]
    assert plan(NOON + 5 * MINUTE, at("06:30"), Runs(in_flight_count=1, outage=outage)).runs == []


def test_what_failed_while_it_was_open_does_not_hold_up_its_first_fetch() -> None:
    clocks = ("20:00", "20:15", "21:15", "22:15", "23:59:59")
    failed = [Failure(at(clock), TODAY, "503") for clock in clocks]
    closed = Failure(midnight(TODAY + DAY), TODAY)
    failures, _ = judge_failures([*failed, closed], [at("23:59:59") + timedelta(milliseconds=1)])
    while_open, since = split_by_closing(failures)
    assert while_open == {TODAY: [each.when for each in failed]}
    assert since == {TODAY: [closed.when]}
    runs = Runs(failures={}, failures_while_open=while_open)
    due = TIMING.due(TODAY)
    assert scheduling.plan_missing(due, TODAY, [], {}, runs, TIMING).runs == [[TODAY]]


# The tables of the open day


def test_the_open_day_is_rebuilt_when_more_landed_and_left_to_its_first_fetch() -> None:
    landed, off = {TODAY: "new"}, Timing(open_day_interval=timedelta(0))
    early, late = at("00:29"), at("00:30")

    def rebuild(now: datetime, built: dict[date, str], timing: Timing = TIMING) -> list[list[date]]:
        return scheduling.plan_rebuild(now, landed, built, Runs(), timing).runs

    assert rebuild(early, {TODAY: "old"}) == [[TODAY]]
    assert rebuild(NOON, {TODAY: "new"}) == []
    assert rebuild(early, {}) == []
    assert rebuild(late, {}) == [[TODAY]]
    # What spills over midnight alone does not make a day of it.
    assert rebuild(late, {}, off) == []
    assert rebuild(late, {TODAY: "old"}, off) == [[TODAY]]
    assert scheduling.plan_rebuild(NOON, landed, {}, Runs(frozenset([TODAY]), 1), TIMING).runs == []


# Until when it is provisional


def test_a_day_is_complete_when_it_was_asked_for_after_it_closed_and_settled() -> None:
    due = at("01:00", TODAY + DAY)
    assert not is_complete(TODAY, None, TIMING)
    assert not is_complete(TODAY, at("23:59:59"), TIMING)
    assert not is_complete(TODAY, due - MINUTE, TIMING)
    assert is_complete(TODAY, due, TIMING)


@pytest.mark.parametrize(
    ("settle", "days", "hours", "final"),
    [
        (60, 3, 6, at("19:00", TODAY + DAY * 3)),
        (60, 1, 6, at("19:00", TODAY + DAY)),
        (0, 3, 6, at("18:00", TODAY + DAY * 3)),
        (60, 3, 0.5, at("23:30", TODAY + DAY * 3)),
        (60, 0, 6, at("01:00", TODAY + DAY)),
        (0, 0, 6, at("00:00", TODAY + DAY)),
        (1440, 1, 6, at("00:00", TODAY + DAY * 2)),
        (60, 3, 24, at("01:00", TODAY + DAY * 3)),
        # At the third day's moment 48 hours have passed, and at the second day's not yet.
        (60, 3, 48, at("01:00", TODAY + DAY * 3)),
        (60, 3, 72, at("01:00", TODAY + DAY)),
        (60, 7, 72, at("01:00", TODAY + DAY * 7)),
        (60, 3, 168, at("01:00", TODAY + DAY)),
    ],
)
def test_a_day_is_provisional_until_it_was_asked_for_at_the_last_moment(
    settle: int, days: int, hours: float, final: datetime
) -> None:
    timing = Timing(timedelta(minutes=settle), days, timedelta(hours=hours))
    assert is_provisional(TODAY, None, timing)
    assert is_provisional(TODAY, NOON, timing)
    assert is_provisional(TODAY, final - timedelta(seconds=1), timing)
    assert not is_provisional(TODAY, final, timing)


@given(
    settle=st.integers(0, 1440), days=st.integers(0, 31), hours=st.floats(0.0001, 168), asked=st.integers(-1440, 50_000)
)
@settings(max_examples=200)
def test_a_day_that_is_final_is_complete(settle: int, days: int, hours: float, asked: int) -> None:
    timing = Timing(timedelta(minutes=settle), days, timedelta(hours=hours))
    when = midnight(TODAY + DAY) + MINUTE * asked
    assert is_provisional(TODAY, when, timing) or is_complete(TODAY, when, timing)
    assert not is_provisional(TODAY, max(timing.due(TODAY), timing.lookback_ends(TODAY)), timing)


# All three sensors over some days

DAYS = days_between(TODAY, TODAY + DAY * 5)


@pytest.mark.parametrize("has_news", [True, False])
def test_over_days_of_ticks_each_day_is_open_then_complete_then_final(has_news: bool) -> None:
    """Every ten minutes each sensor has its tick. Runs end at once."""
    asked: dict[date, datetime] = {before(1): TIMING.due(before(1))}
    responses: dict[date, Responses] = {}
    runs = Counter[str]()
    provisional: dict[date, list[bool]] = {}

    def fetch(now: datetime, sensor: str, decision: Decision) -> None:
        for days in decision.runs:
            runs[sensor] += 1
            for day in days:
                asked[day] = now
                if day < now.date():
                    unchanged = responses[day].unchanged + 1 if day in responses else 0
                    responses[day] = Responses(now, 0 if has_news else unchanged)
                provisional.setdefault(day, []).append(is_provisional(day, now, TIMING))

    planned: dict[str, Callable[[datetime], Decision]] = {
        "closed_days": lambda now: scheduling.plan_missing(
            now, before(1), [day for day in asked if is_complete(day, asked[day], TIMING)], responses, Runs(), TIMING
        ),
        "settling_days": lambda now: scheduling.plan_refetch(now, before(1), responses, Runs(), TIMING),
        "open_day": lambda now: plan_open_day(now, before(1), asked.get(now.date()), Runs(), TIMING),
    }
    for number in range(len(DAYS) * 144):
        for sensor, plan_next in planned.items():
            now = midnight(TODAY) + MINUTE * (10 * number + 3)
            fetch(now, sensor, plan_next(now))
    # The open day costs the other sensors nothing.
    assert runs["open_day"] == 48 * len(DAYS)
    assert runs["closed_days"] == len(DAYS) - 1
    assert runs["settling_days"] <= 3 * len(DAYS)
    for day in DAYS[:2]:
        flags = provisional[day]
        assert flags == sorted(flags, reverse=True)
        assert flags[:49] == [True] * 49
        assert flags[-1] is False
