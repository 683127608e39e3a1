"""The loop over days, with plain functions for the fetching and the building."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from datetime import date

import pytest

from cdr_assets.database import WarehouseBusy
from cdr_assets.days import days_between
from cdr_assets.pipeline.build_days import DAYS_AT_ONCE, RECORDS_AT_ONCE, DayOutcome, build_days
from cdr_assets_tests import PATIENCE_S

FIRST = date(2026, 11, 1)
WEEK = days_between(FIRST, date(2026, 11, 7))


def fetch(day: date) -> str:
    return f"answer for {day}"


def build(fetched: Mapping[date, str | None]) -> Iterator[tuple[date, str]]:
    for table in ("records", "usage"):
        for day in fetched:
            yield day, f"{table} of {day}"


def many(day: date) -> int:
    """So many records that the day is built alone."""
    return RECORDS_AT_ONCE + 1


def few(day: date) -> int:
    return 1


def outcomes(**changes: object) -> list[DayOutcome[str, str]]:
    arguments = {"fetch": fetch, "build": build, "records": many, "concurrency": 2} | changes
    return list(build_days(WEEK, **arguments))  # type: ignore[arg-type]


def test_every_day_comes_in_order_with_its_outcome() -> None:
    assert outcomes() == [
        DayOutcome(day, f"answer for {day}", [f"records of {day}", f"usage of {day}"]) for day in WEEK
    ]


def test_without_a_fetch_the_days_are_built_all_the_same() -> None:
    assert [(outcome.day, outcome.fetched) for outcome in outcomes(fetch=None)] == [(day, None) for day in WEEK]


def test_no_days_are_no_outcomes() -> None:
    assert list(build_days([], fetch=fetch, build=build, records=many)) == []


def test_a_day_that_cannot_be_fetched_ends_the_loop_with_its_own_error() -> None:
    def failing(day: date) -> str:
        if day == WEEK[3]:
            raise ConnectionError(day)
        return fetch(day)

    *done, failed = outcomes(fetch=failing)
    assert [outcome.day for outcome in done] == WEEK[:3]
    assert all(outcome.error is None for outcome in done)
    assert failed.day == WEEK[3]
    assert isinstance(failed.error, ConnectionError)
    assert (failed.fetched, failed.built) == (None, [])


def test_a_day_that_cannot_be_built_keeps_what_came_before_its_error_and_no_later_day_is_built() -> None:
    begun = []

    def failing(fetched: Mapping[date, str | None]) -> Iterator[tuple[date, str]]:
        for day in fetched:
            begun.append(day)
            yield day, f"records of {day}"
            if day == WEEK[3]:
                raise ValueError(day)

    *done, failed = outcomes(build=failing)
    assert [outcome.day for outcome in done] == WEEK[:3]
    assert (failed.day, failed.fetched, failed.built) == (WEEK[3], fetch(WEEK[3]), [f"records of {WEEK[3]}"])
    assert isinstance(failed.error, ValueError)
    assert begun == WEEK[:4]
    # Built together, they end with the same.
    assert outcomes(build=failing, fetch=None, records=few)[:3] == [
        DayOutcome(day, None, [f"records of {day}"]) for day in WEEK[:3]
    ]
    assert [outcome.day for outcome in outcomes(build=failing, records=few)] == WEEK[:4]


def test_a_warehouse_that_is_in_use_is_waited_for_once() -> None:
    waited = []

    def busy(fetched: Mapping[date, str | None]) -> Iterator[tuple[date, str]]:
        waited.append(list(fetched))
        raise WarehouseBusy
        yield

    (outcome,) = outcomes(build=busy, fetch=None, records=few)
    assert (outcome.day, type(outcome.error)) == (WEEK[0], WarehouseBusy)
    assert waited == [WEEK]


def test_adjacent_days_that_are_there_are_built_together_while_they_are_few() -> None:
    together = []

    def noting(fetched: Mapping[date, str | None]) -> Iterator[tuple[date, str]]:
        together.append(list(fetched))
        yield from build(fetched)

    days = [*WEEK[:3], *WEEK[4:]]
    built = list(build_days(days, fetch=None, build=noting, records=lambda day: RECORDS_AT_ONCE // 2))
    assert together == [WEEK[:2], WEEK[2:3], WEEK[4:6], WEEK[6:]]
    assert built == [DayOutcome(day, None, [f"records of {day}", f"usage of {day}"]) for day in days]


def test_no_more_days_are_built_together_than_can_be_recorded_soon() -> None:
    together = []

    def noting(fetched: Mapping[date, str | None]) -> Iterator[tuple[date, str]]:
        together.append(len(fetched))
        yield from build(fetched)

    list(build_days(days_between(FIRST, date(2026, 12, 31)), fetch=None, build=noting, records=few))
    assert together == [DAYS_AT_ONCE] * 3 + [61 % DAYS_AT_ONCE]


def test_after_a_first_day_that_is_refused_no_other_is_asked_for() -> None:
    asked = []

    def refused(day: date) -> str:
        asked.append(day)
        raise PermissionError(day)

    (outcome,) = outcomes(fetch=refused, concurrency=4)
    assert isinstance(outcome.error, PermissionError)
    assert asked == WEEK[:1]


def test_a_day_is_built_while_the_one_before_is_recorded() -> None:
    begun = {day: threading.Event() for day in WEEK}

    def noting(fetched: Mapping[date, str | None]) -> Iterator[tuple[date, str]]:
        for day in fetched:
            begun[day].set()
            yield day, "built"

    for outcome in build_days(WEEK, fetch=fetch, build=noting, records=many, concurrency=2):
        # The caller has not come back for the next day yet.
        later = WEEK[WEEK.index(outcome.day) + 1 :][:1]
        assert all(begun[day].wait(PATIENCE_S) for day in later)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_days_are_fetched_in_parallel_and_no_more_of_them_than_asked_for(concurrency: int) -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    all_at_once = threading.Barrier(concurrency, timeout=PATIENCE_S)

    def counting(day: date) -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        # The first day goes alone; those after it wait here for each other.
        if WEEK[0] < day <= WEEK[concurrency]:
            all_at_once.wait()
        with lock:
            under_way -= 1
        return fetch(day)

    assert len(outcomes(fetch=counting, concurrency=concurrency)) == len(WEEK)
    assert most == concurrency


def test_the_builder_is_told_before_it_waits_for_an_answer() -> None:
    waiting = Future[bool]()

    def slow(day: date) -> str:
        assert waiting.result(PATIENCE_S)
        return fetch(day)

    def before_waiting() -> None:
        if not waiting.done():
            waiting.set_result(True)

    assert len(outcomes(fetch=slow, before_waiting=before_waiting)) == len(WEEK)


def test_a_caller_that_stops_early_leaves_the_later_days_alone() -> None:
    asked = []

    def noting(day: date) -> str:
        asked.append(day)
        return fetch(day)

    days = days_between(FIRST, date(2027, 11, 1))
    loop = build_days(days, fetch=noting, build=build, records=many, concurrency=2)
    assert next(loop).day == FIRST
    loop.close()
    assert len(asked) <= 3 * DAYS_AT_ONCE
