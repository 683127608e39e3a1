"""The loop over the days of a run: days are fetched in parallel and built one after the other. Knows no Dagster.

While the caller records one day, the next one is built. The days come in order, and the first error ends the loop: it
belongs to the day whose outcome carries it, and no later day is built.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, TypeVar

Fetched = TypeVar("Fetched")
Built = TypeVar("Built")


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
    build: Callable[[date, Fetched | None], Iterator[Built]],
    before_waiting: Callable[[], None] = lambda: None,
    concurrency: int = 1,
) -> Generator[DayOutcome[Fetched, Built], None, None]:
    """The outcome of each day, in order; none after the first with an error.

    `fetch` is called on up to `concurrency` threads at a time, ahead of the building; without it nothing is fetched.
    `build` yields what it has done of a day, on one thread. `before_waiting` is called on that thread before it waits
    for an answer.
    """
    has_failed = False

    def finish(day: date, answer: Future[Fetched] | None) -> DayOutcome[Fetched, Built] | None:
        nonlocal has_failed
        if has_failed:
            return None
        outcome = DayOutcome[Fetched, Built](day)
        try:
            if answer:
                if not answer.done():
                    before_waiting()
                outcome.fetched = answer.result()
            for built in build(day, outcome.fetched):
                outcome.built.append(built)
        except Exception as error:
            outcome.error, has_failed = error, True
        return outcome

    with ExitStack() as stack:
        fetchers = stack.enter_context(ThreadPoolExecutor(concurrency, "fetch"))
        builder = stack.enter_context(ThreadPoolExecutor(1, "build"))
        for pool in (builder, fetchers):
            # Days that have not begun are dropped when the caller stops early.
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        previous: Future[DayOutcome[Fetched, Built] | None] | None = None
        for day, answer in _ask(days, fetch, fetchers, concurrency):
            current = builder.submit(finish, day, answer)
            if previous and (outcome := previous.result()):
                yield outcome
                if outcome.error:
                    return
            previous = current
        if previous and (outcome := previous.result()):
            yield outcome


def _ask(
    days: Sequence[date], fetch: Callable[[date], Fetched] | None, fetchers: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[date, Future[Fetched] | None]]:
    """Each day with its answer under way. The first day is asked for alone: a refused account is asked only once."""
    if fetch is None:
        yield from ((day, None) for day in days)
        return
    under_way = deque[tuple[date, Future[Fetched]]]()
    for day in days:
        under_way.append((day, fetchers.submit(fetch, day)))
        if len(under_way) > ahead:
            yield under_way.popleft()
        if day == days[0]:
            first = under_way.popleft()
            yield first
            if first[1].exception():
                return
    yield from under_way
