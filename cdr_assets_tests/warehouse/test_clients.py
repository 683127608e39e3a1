"""The client of a connection, as people say it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from cdr_assets.warehouse import clients
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.clients import client
from cdr_assets_tests.expected import read
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import build, land

DAY = date(2026, 11, 2)
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
UNKNOWN = "Kiosk of Jane Doe, ward 7"

AGENTS = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Safari/537.36": "Chrome 131 on Windows 10",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Safari/537.36 Edg/131.0.2903.51": "Edge 131 on Windows 10",
    FIREFOX: "Firefox 132 on Windows 10",
    SAFARI: "Mobile Safari 17 on iOS 17",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.6723.86 Mobile "
    "Safari/537.36": "Chrome Mobile 130 on Android 14",
    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0": "Firefox 131 on Linux",
    "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)": "Android 13",
    "okhttp/4.12.0": "okhttp 4",
    "Mozilla/5.0 (Windows NT 10.0)": "Windows 10",
    "JaneDoe-Patient4711/1.0 CFNetwork/1410.0.3 Darwin/22.6.0": "other app on iOS 16",
    "Jane Doe's Browser/7.1": None,
    "Mozilla/5.0 (Linux; Android Jane; Doe) AppleWebKit/537.36 Chrome/1.2 Safari/537.36": "Chrome 1 on Android",
    UNKNOWN: None,
    "?": None,
    "": None,
    "\x00\ud7ff\U0001f600": None,
}


@pytest.mark.parametrize("agent", AGENTS)
def test_a_client_is_browser_or_app_and_system_with_their_major_versions(agent: str) -> None:
    assert client(agent) == AGENTS[agent]


def test_what_follows_in_a_long_agent_is_not_looked_at() -> None:
    assert client(FIREFOX + " " + "x" * 100_000) == AGENTS[FIREFOX]
    assert client(" " * 100_000 + FIREFOX) is None


def call(cdr_id: str, agent: str | None, day: date = DAY, **user: str) -> Record:
    fields = {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00Z", "conf_num": f"c-{day}"}
    return fields | {"user": {"agent": agent, **user}}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "cdr.duckdb")


def test_attendance_names_clients_and_never_an_agent(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "AGENTS_AT_ONCE", 2)
    records = [
        call("1", FIREFOX, ref="one"),
        call("2", SAFARI, ref="several"),
        call("3", FIREFOX, ref="several"),
        call("4", UNKNOWN, ref="several"),
        call("5", UNKNOWN, ref="unknown"),
        call("6", None, ref="none"),
        call("7", "", ref="empty"),
    ]
    build(warehouse, DAY, [land(tmp_path, "1", records)])
    assert {row["participant"]: row["client"] for row in read(warehouse.places.file, "attendance")} == {
        "one": AGENTS[FIREFOX],
        "several": AGENTS[FIREFOX],
        "unknown": None,
        "none": None,
        "empty": None,
    }
    assert {row["user_agent"]: row["client"] for row in read(warehouse.places.file, "clients")} == {
        FIREFOX: AGENTS[FIREFOX],
        SAFARI: AGENTS[SAFARI],
        UNKNOWN: None,
    }
    assert not (tmp_path / "published" / "clients").exists()


def test_an_agent_is_looked_up_once(warehouse: Warehouse, tmp_path: Path) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [call("1", FIREFOX), call("2", UNKNOWN)])])
    with warehouse.connect() as connection:
        connection.execute("UPDATE clients SET client = 'looked up before'")
    after = DAY + timedelta(days=1)
    build(warehouse, after, [land(tmp_path, "2", [call("3", FIREFOX, after), call("4", SAFARI, after)])])
    build(warehouse, DAY, [land(tmp_path, "3", [call("1", FIREFOX), call("2", UNKNOWN)])])
    assert sorted((row["user_agent"], row["client"]) for row in read(warehouse.places.file, "clients")) == sorted(
        [(FIREFOX, "looked up before"), (UNKNOWN, "looked up before"), (SAFARI, AGENTS[SAFARI])]
    )
    assert {row["participant"]: row["client"] for row in read(warehouse.places.file, "attendance")} == {
        "1": "looked up before",
        "2": "looked up before",
        "3": "looked up before",
        "4": AGENTS[SAFARI],
    }
