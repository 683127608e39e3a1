from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from cdr_assets.days import days_between, days_in, describe_days, midnight, ranges

NOV = [date(2026, 11, day) for day in range(1, 31)]


def test_a_day_begins_at_midnight_utc() -> None:
    assert midnight(date(2026, 11, 2)) == datetime(2026, 11, 2, tzinfo=timezone.utc)


def test_both_ends_of_a_period_belong_to_it() -> None:
    assert days_between(NOV[0], NOV[2]) == NOV[:3]
    assert days_between(NOV[0], NOV[0]) == NOV[:1]
    assert days_between(NOV[1], NOV[0]) == []
    assert days_between(date(2026, 10, 31), NOV[0]) == [date(2026, 10, 31), NOV[0]]


def test_adjacent_days_are_one_range_in_any_order() -> None:
    assert ranges([NOV[2], NOV[0], NOV[1], NOV[1], NOV[6]]) == [NOV[:3], [NOV[6]]]
    assert ranges([]) == []


def test_a_range_is_cut_at_its_longest() -> None:
    assert ranges(NOV[:5], 2) == [NOV[:2], NOV[2:4], NOV[4:5]]


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([], ""),
        (NOV[:1], "2026-11-01"),
        (NOV[:2], "2026-11-01...2026-11-02"),
        ([NOV[6], *NOV[:3]], "2026-11-01...2026-11-03, 2026-11-07"),
        (NOV, "2026-11-01...2026-11-30"),
    ],
)
def test_days_in_words(days: list[date], words: str) -> None:
    assert describe_days(days) == words
    assert days_in(words) == sorted({*days})
