"""The periods that people choose."""

from __future__ import annotations

from datetime import date

import pytest

from cdr_assets.reports.dashboard.period import Period, last_days, month_before, period_of

DEFAULT = Period(date(2026, 11, 1), date(2026, 11, 7))
POSSIBLE = Period(date(2000, 1, 1), date(2026, 11, 9))


@pytest.mark.parametrize(
    ("day", "month"),
    [
        ("2026-11-26", ("2026-10-01", "2026-10-31")),
        ("2026-01-01", ("2025-12-01", "2025-12-31")),
        ("2028-03-31", ("2028-02-01", "2028-02-29")),
    ],
)
def test_last_month_is_the_calendar_month_before(day: str, month: tuple[str, str]) -> None:
    assert month_before(date.fromisoformat(day)) == Period(*map(date.fromisoformat, month))


def test_the_period_before_is_as_long_and_ends_where_this_one_begins() -> None:
    assert DEFAULT.before == last_days(7, date(2026, 10, 31))
    assert DEFAULT.days == DEFAULT.before.days == 7


@pytest.mark.parametrize(
    ("query", "period"),
    [
        ({}, DEFAULT),
        ({"from": "2026-10-05"}, Period(date(2026, 10, 5), date(2026, 10, 5))),
        ({"from": "2026-10-05", "to": "2026-10-06"}, Period(date(2026, 10, 5), date(2026, 10, 6))),
    ],
)
def test_an_address_gives_the_period(query: dict[str, str], period: Period) -> None:
    assert period_of(query, DEFAULT, POSSIBLE) == period


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-10-05", "to": "2026-10-04"},
        {"from": "yesterday"},
        {"from": "0001-01-01"},
        {"to": "9999-12-31"},
        {"from": "2000-01-01", "to": "2026-11-09"},
        {"from": "2026-11-01", "to": "2026-11-10"},
    ],
)
def test_an_address_without_such_days_says_what_to_give(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"address|give"):
        period_of(query, DEFAULT, POSSIBLE)
