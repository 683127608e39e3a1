"""The loop over the days of a run: days are fetched in parallel, and those that are there are built together.

While the caller records some days, the next ones are built. The days come in order, and the first error ends the loop:
it belongs to the day whose outcome carries it, and no later day is built. Knows no Dagster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, TypeVar

from cdr_assets.database import WarehouseBusy
from cdr_assets.days import DAY

Fetched = TypeVar("Fetched")
Built = TypeVar("Built")

DAYS_AT_ONCE = 16
"""Days that are built together at most. What is done of them is recorded when all are done."""

RECORDS_AT_ONCE = 50_000
"""Records of days that are built together; a day with more is built alone. Other processes wait meanwhile, for some
seconds."""


@dataclass
class DayOutcome(Generic[Fetched, Built]):
    """What a run did for one day. With an `error`, the other fields say what it did before the error."""

    day: date
    fetched: Fetched | None = None
    """What the day's answer brought; None if the run does not fetch, or if the fetch failed."""
    built: list[Built] = field(default_factory=list)
    error: Exception | None = None


def build_days(
    days: Sequence[date],
    *,
    fetch: Callable[[date], Fetched] | None,
    build: Callable[[Mapping[date, Fetched | None]], Iterator[tuple[date, Built]]],
    records: Callable[[date], int],
    before_waiting: Callable[[], None] = lambda: None,
    concurrency: int = 1,
) -> Generator[DayOutcome[Fetched, Built], None, None]:
    """The outcome of each day, in order; none after the first with an error.

    `fetch` is called on up to `concurrency` threads at a time, ahead of the building; without it nothing is fetched.
    `build` takes adjacent days that are there, up to DAYS_AT_ONCE and RECORDS_AT_ONCE, and yields what it has done of
    each, on one thread. `records` says how many records a day has. If building several days fails, they are built again
    one by one, so that the days before the error are done and the error has its day. `before_waiting` is called on that
    thread before it waits for an answer.
    """
    with ExitStack() as stack:
        fetchers = stack.enter_context(ThreadPoolExecutor(concurrency, "fetch"))
        builder = stack.enter_context(ThreadPoolExecutor(1, "build"))
        for pool in (builder, fetchers):
            # Days that have not begun are dropped when the caller stops early.
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        ask = (lambda day: fetchers.submit(fetch, day)) if fetch else _nothing
        portions = _portions(days, ask, records, before_waiting)

        def build_next() -> list[DayOutcome[Fetched, Built]]:
            outcomes = list(_built(next(portions, []), build))
            if any(outcome.error for outcome in outcomes):
                portions.close()
            return outcomes

        under_way = builder.submit(build_next)
        while outcomes := under_way.result():
            under_way = builder.submit(build_next)
            for outcome in outcomes:
                yield outcome
                if outcome.error:
                    return


def _portions(
    days: Sequence[date],
    ask: Callable[[date], Future[Any]],
    records: Callable[[date], int],
    before_waiting: Callable[[], None],
) -> Generator[list[DayOutcome[Any, Any]], None, None]:
    """The days in order, fetched and not built. Adjacent ones that are there at the same time come together."""
    left, asked = deque(days), deque[tuple[date, Future[Any]]]()

    def ask_ahead(most: int) -> None:
        while left and len(asked) < most:
            day = left.popleft()
            asked.append((day, ask(day)))

    # The first day is asked for alone: a refused account is asked only once.
    ask_ahead(1)
    while asked:
        day, answer = asked.popleft()
        if not answer.done():
            before_waiting()
        if error := answer.exception():
            if not isinstance(error, Exception):
                raise error
            yield [DayOutcome(day, error=error)]
            return
        portion = [DayOutcome[Any, Any](day, answer.result())]
        together = records(day)
        ask_ahead(DAYS_AT_ONCE)
        while asked and len(portion) < DAYS_AT_ONCE:
            following, answer = asked[0]
            if following != day + DAY or not answer.done() or answer.exception():
                break
            together += records(following)
            if together > RECORDS_AT_ONCE:
                break
            portion.append(DayOutcome(following, answer.result()))
            asked.popleft()
            day = following
            ask_ahead(DAYS_AT_ONCE)
        yield portion


def _nothing(day: date) -> Future[Any]:
    """The answer of a day that is not asked for."""
    answer = Future[Any]()
    answer.set_result(None)
    return answer


def _built(
    outcomes: Sequence[DayOutcome[Fetched, Built]],
    build: Callable[[Mapping[date, Fetched | None]], Iterator[tuple[date, Built]]],
) -> Iterator[DayOutcome[Fetched, Built]]:
    """The outcomes with what is built of their days; none after the first with an error."""
    by_day = {outcome.day: outcome for outcome in outcomes if not outcome.error}
    try:
        for day, built in build({day: outcome.fetched for day, outcome in by_day.items()}) if by_day else ():
            by_day[day].built.append(built)
    except Exception as error:
        # A warehouse that is in use is no day's fault, and was waited for long enough.
        if len(outcomes) > 1 and not isinstance(error, WarehouseBusy):
            yield from _one_by_one(outcomes, build)
            return
        outcomes[0].error = error
        outcomes = outcomes[:1]
    yield from outcomes


def _one_by_one(
    outcomes: Sequence[DayOutcome[Fetched, Built]],
    build: Callable[[Mapping[date, Fetched | None]], Iterator[tuple[date, Built]]],
) -> Iterator[DayOutcome[Fetched, Built]]:
    for outcome in outcomes:
        (alone,) = _built([DayOutcome(outcome.day, outcome.fetched)], build)
        yield alone
        if alone.error:
            return
