"""Quality and clients: every figure is that of the warehouse's records."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cdr_assets_tests.expected import read
from cdr_assets_tests.reports.dashboard.shown import WHOLE, show

WORDS = {"send": "Sent", "receive": "Received"}


def table(page: AppTest) -> dict[str, dict[str, Any]]:
    found: pd.DataFrame = page.dataframe[0].value
    return {row["part"]: row for row in found.to_dict("records")}


def browser(client: str | None) -> str:
    return re.sub(r" \d+$", "", client.split(" on ")[0]) if client else "unknown"


def system(client: str | None) -> str:
    return client.split(" on ")[1] if client and " on " in client else "unknown"


def clients(folder: Path) -> dict[str, str]:
    """The client of each agent."""
    return {row["user_agent"]: row["client"] for row in read(folder / "cdr.duckdb", "clients")}


def test_the_share_of_good_connections_is_that_of_the_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "quality")
    rated: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for row in read(folder / "cdr.duckdb", "connection_quality"):
        what = f"{WORDS[row['direction']]} {row['media']}"
        rated[what] += row["avg_quality"] is not None
        good[what] += row["avg_quality"] == "Good"
    assert len(rated) == 6
    assert {metric.label: metric.value for metric in page.metric} == {
        what: f"{good[what] / rated[what]:.0%}" for what in rated
    }
    assert {f"of {count:,} rated connections" for count in rated.values()} <= {each.value for each in page.caption}


def test_each_browser_has_the_connections_of_its_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "quality")
    known = clients(folder)
    connections: Counter[str] = Counter()
    short: Counter[str] = Counter()
    for record in read(folder / "cdr.duckdb", "call_detail_records"):
        name = browser(known.get(record["user_agent"]))
        connections[name] += 1
        short[name] += record["room_duration_s"] is not None and record["room_duration_s"] < 10
    attendances: Counter[str] = Counter()
    rejoins: Counter[str] = Counter()
    for row in read(folder / "cdr.duckdb", "attendance"):
        if row["conf_num"] is not None:
            attendances[browser(row["client"])] += 1
            rejoins[browser(row["client"])] += row["rejoins"]
    often = {name: count for name, count in connections.items() if count >= 30}
    found = table(page)
    assert {name: row["connections"] for name, row in found.items()} == often
    for name, row in found.items():
        assert row["short_rate"] == pytest.approx(100 * short[name] / connections[name])
        assert row["rejoin_rate"] == pytest.approx(100 * rejoins[name] / attendances[name])
    drops = [row["short_rate"] + row["rejoin_rate"] for row in found.values()]
    assert drops == sorted(drops, reverse=True)


def test_each_system_has_the_share_of_good_media_of_its_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "quality")
    page.segmented_control[0].set_value("Operating system").run()
    rated: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for row in read(folder / "cdr.duckdb", "connection_quality"):
        if (row["direction"], row["media"]) == ("receive", "video"):
            rated[system(row["client"])] += row["avg_quality"] is not None
            good[system(row["client"])] += row["avg_quality"] == "Good"
    found = table(page)
    assert len(found) > 3
    for name, row in found.items():
        assert row["received_video"] == pytest.approx(100 * good[name] / rated[name])


def test_a_version_is_part_of_the_browser_where_that_is_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "quality")
    page.segmented_control[0].set_value("Browser and version").run()
    page.number_input[0].set_value(1).run()
    names = {client.split(" on ")[0] if client else "unknown" for client in clients(folder).values()}
    assert set(table(page)) - {"unknown"} == names - {"unknown"}


def test_what_is_hidden_is_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "quality")
    page.number_input[0].set_value(1).run()
    every = {name: row["connections"] for name, row in table(page).items()}
    assert not [each for each in page.caption if each.value.startswith("Not in the table")]
    page.number_input[0].set_value(200).run()
    hidden = [count for count in every.values() if count < 200]
    assert len(table(page)) == len(every) - len(hidden) > 0
    (said,) = [each.value for each in page.caption if each.value.startswith("Not in the table")]
    assert f"{len(hidden)} with fewer than 200 connections" in said
    assert f"{sum(hidden):,} of all {sum(every.values()):,} connections" in said
    page.number_input[0].set_value(1_000_000).run()
    assert "Choose a smaller number" in page.info[0].value


def test_a_period_without_a_day_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Choose other days" in show(monkeypatch, folder, "quality", WHOLE.before).info[0].value
