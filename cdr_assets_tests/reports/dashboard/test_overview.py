"""The overview's figures are those of the warehouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdr_assets_tests.expected import read
from cdr_assets_tests.reports.dashboard.shown import DAYS, WHOLE, show


def test_the_period_has_the_sums_of_all_days(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "overview")
    days = read(folder / "cdr.duckdb", "daily_usage")
    assert len(days) == len(DAYS)
    shown = {metric.label: metric.value for metric in page.metric[5:10]}
    assert shown == {
        "Participant minutes": f"{sum(day['participant_minutes'] for day in days):,.0f}",
        "Conferences": f"{sum(day['conferences'] for day in days):,}",
        "People": f"{sum(day['participants'] for day in days):,}",
        "Billable minutes": f"{sum(day['billable_minutes'] for day in days):,}",
        "Peak": f"{max(day['peak_connections'] for day in days):,}",
    }


def test_a_period_without_a_day_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "overview", WHOLE.before)
    assert "Choose other days" in page.info[0].value
