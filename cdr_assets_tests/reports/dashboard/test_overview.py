"""The overview's figures are those of the warehouse."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import pytest
import streamlit as st

from cdr_assets.days import DAY
from cdr_assets.reports.dashboard.period import Period
from cdr_assets_tests.expected import read
from cdr_assets_tests.reference import Row
from cdr_assets_tests.reports.calls import build, call
from cdr_assets_tests.reports.dashboard.shown import DAYS, WHOLE, show

LABELS = {
    "Participant minutes": "participant_minutes",
    "Conferences": "conferences",
    "People": "participants",
    "Billable minutes": "billable_minutes",
}
LAST_WEEK = Period(DAYS[-7], DAYS[-1])


@pytest.fixture
def days(folder: Path) -> list[Row]:
    """The rows of daily_usage, in order, but each with the conferences that began on it."""
    first_days: dict[str, date] = {}
    for row in read(folder / "cdr.duckdb", "call_detail_records"):
        if row["conf_num"]:
            first_days[row["conf_num"]] = min(row["usage_date"], first_days.get(row["conf_num"], date.max))
    began = Counter(first_days.values())
    found = sorted(read(folder / "cdr.duckdb", "daily_usage"), key=lambda row: row["usage_date"])
    assert sum(row["conferences"] for row in found) > began.total(), "some last over midnight"
    return [{**row, "conferences": began[row["usage_date"]]} for row in found]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The charts that the page draws."""
    charts: list[Any] = []
    monkeypatch.setattr(st, "altair_chart", charts.append)
    return charts


def data_of(chart: Any) -> pd.DataFrame:
    layers = [chart, *getattr(chart, "layer", ())]
    return next(layer.data for layer in layers if isinstance(layer.data, pd.DataFrame))


def test_the_period_has_the_sums_of_its_days_and_the_change_to_those_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, days: list[Row]
) -> None:
    assert [day["usage_date"] for day in days] == DAYS
    now, before = days[-7:], days[-14:-7]
    shown = {
        metric.label: (metric.value, metric.delta)
        for metric in show(monkeypatch, folder, "overview", LAST_WEEK).metric[5:10]
    }
    sums = {label: [sum(day[column] for day in some) for some in (now, before)] for label, column in LABELS.items()}
    peaks = [max(day["peak_connections"] for day in some) for some in (now, before)]
    assert shown == {
        label: (f"{found[0]:,.0f}", f"{float(found[0]) / float(found[1]) - 1:+.0%}")
        for label, found in {**sums, "Peak": peaks}.items()
    }


def test_a_sum_is_compared_only_with_days_that_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(folder / "published", tmp_path / "published")
    for table in ("daily_usage", "conference_usage"):
        (tmp_path / "published" / table / f"{DAYS[-1] - DAY * 28}.parquet").unlink()
    page = show(monkeypatch, tmp_path, "overview", Period(DAYS[3], DAYS[9]))
    assert [metric.delta for metric in page.metric[:10]] == [""] * 10
    assert "not all of them are built" in page.caption[0].value
    assert f"since 6 of the 7 days {DAYS[3]} to {DAYS[9]} and 3 of the 7 days" in page.caption[1].value


def test_the_newest_day_is_compared_with_the_same_weekday_of_four_weeks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, days: list[Row]
) -> None:
    page = show(monkeypatch, folder, "overview")
    assert f"{DAYS[-1]:%A, %Y-%m-%d}" in page.subheader[0].value
    shown = {metric.label: (metric.value, metric.delta) for metric in page.metric[:5]}
    for label, column in {**LABELS, "Peak": "peak_connections"}.items():
        before = mean(float(days[-1 - 7 * weeks][column]) for weeks in (1, 2, 3, 4))
        assert shown[label] == (f"{days[-1][column]:,.0f}", f"{float(days[-1][column]) / before - 1:+.0%}")


def test_the_cost_is_the_rate_for_each_participant_minute(
    folder: Path, monkeypatch: pytest.MonkeyPatch, days: list[Row]
) -> None:
    page = show(monkeypatch, folder, "overview", CDR_RATE_PER_MINUTE="0.004")
    cost = Decimal("0.004") * sum(day["participant_minutes"] for day in days)
    assert any(f"Cost: {cost:,.2f}" in text.value and "participant minute" in text.value for text in page.markdown)


def test_without_a_rate_there_is_no_cost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("Cost" in text.value for text in show(monkeypatch, folder, "overview").markdown)


def test_each_day_has_its_bar_and_the_mean_of_the_weekday_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, days: list[Row], drawn: list[Any]
) -> None:
    show(monkeypatch, folder, "overview", LAST_WEEK)
    bars = data_of(drawn[0]).to_dict("records")
    minutes = {day["usage_date"]: float(day["participant_minutes"]) for day in days}
    assert {bar["day"]: bar["minutes"] for bar in bars} == {str(day): minutes[day] for day in DAYS[-7:]}
    for bar in bars:
        day = bar["usage_date"].date()
        assert bar["before"] == pytest.approx(mean(minutes[day - DAY * 7 * weeks] for weeks in (1, 2, 3, 4)))


def test_each_hour_has_the_minutes_of_the_conferences_that_began_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    show(monkeypatch, folder, "overview")
    expected: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for row in read(folder / "cdr.duckdb", "conference_usage"):
        if row["first_connect_dt"]:
            expected[f"{row['first_connect_dt']:%a}", row["first_connect_dt"].hour] += row["participant_minutes"]
    found = {(cell["day"], cell["hour"]): cell["minutes"] for cell in data_of(drawn[1]).to_dict("records")}
    assert found == {place: float(minutes) for place, minutes in expected.items()}


def test_time_together_and_alone_is_that_of_the_conferences(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total: Counter[str] = Counter()
    for row in read(folder / "cdr.duckdb", "conference_usage"):
        for column in ("met_minutes", "alone_minutes", "conference_minutes"):
            total[column] += row[column] or 0
    page = show(monkeypatch, folder, "overview")
    assert [metric.value for metric in page.metric[10:]] == [
        f"{total[column]:,.0f}" for column in ("met_minutes", "alone_minutes")
    ]
    together = f"**{total['met_minutes'] / total['conference_minutes']:.0%}** of the {total['conference_minutes']:,.0f}"
    assert any(together in text.value for text in page.markdown)


def test_a_period_without_a_day_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "overview", WHOLE.before)
    assert "Choose other days" in page.info[0].value


def test_a_day_that_only_connections_of_other_days_overlap_is_compared_with_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = DAYS[7]
    room = {"room_id": "r", "connect_dt": f"{DAYS[0]}T23:50:00Z", "disconnect_dt": f"{DAYS[1]}T00:10:00Z"}
    over_midnight = {"cdr_id": "1", "trans_date": f"{DAYS[1]}T00:10:00Z", "conf_num": "c", "room": room}
    build(tmp_path, (DAYS[1], [over_midnight]), (day, [call("2", 0, 30, day)]))
    page = show(monkeypatch, tmp_path, "overview", Period(day, day))
    assert [metric.delta for metric in page.metric[:5]] == [""] * 5
