"""Health: days, findings and what the service says of itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cdr_assets.days import DAY, utc_now
from cdr_assets.reports.dashboard.elements import NONE
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.status import read_status
from cdr_assets.storage import ReadableFolder
from cdr_assets_tests.expected import read
from cdr_assets_tests.reports.dashboard.shown import DAYS, WHOLE, show

RUN = {
    "run_id": "0123abcd-1234-4ee0-9876-0123456789ab",
    "job": "daily_cdr",
    "status": "SUCCESS",
    "started_at": "2026-11-09T01:00:00Z",
    "ended_at": None,
    "days": "2026-11-08",
}
FETCH = {
    "day": str(DAYS[-1]),
    "records": 60,
    "new": 7,
    "changed": 1,
    "vanished": 0,
    "quarantined": 2,
    "late": 5,
    "requests": 9,
    "retries": 3,
    "bytes": 12_345,
    "seconds": None,
}


def status(**given: object) -> dict[str, Any]:
    """What the service writes, in a good moment."""
    return {
        "written_at": utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "enablex": "api.enablex.io",
        "ui_url": "https://dagster.example/cdr",
        "first_day": str(DAYS[0]),
        "days": {"complete": [[str(DAYS[0]), str(DAYS[-1])]]},
        "next_try": None,
        "runs": [RUN],
        "fetches": [FETCH],
        "disk": {"free_bytes": 3 * 2**30, "total_bytes": 4 * 2**30, "warehouse_bytes": None},
        **given,
    }


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A data folder whose exports may be changed."""
    shutil.copytree(folder / "published", tmp_path / "published")
    return tmp_path


def write(folder: Path, content: object) -> None:
    (folder / "published" / "status.json").write_text(json.dumps(content), encoding="utf-8")


def write_finding(folder: Path, day: date, check: str, count: int, *, acknowledged: bool = False) -> None:
    place = folder / "published" / "check_findings"
    place.mkdir(exist_ok=True)
    duckdb.execute(
        "COPY (SELECT $day::DATE AS usage_date, 'call_detail_records' AS asset, $check AS check_name, $count AS count, "
        "TIMESTAMP '2026-11-09 10:00' AS found_at, TIMESTAMP '2026-11-09 11:00' AS last_seen_at, "
        f"CASE WHEN $acknowledged THEN TIMESTAMP '2026-11-09 12:00' END AS acknowledged_at) TO '{place}/{day}.parquet'",
        {"day": day, "check": check, "count": count, "acknowledged": acknowledged},
    )


def table(page: AppTest, column: str) -> list[dict[str, Any]]:
    """The rows of the table that has this column."""
    found: list[pd.DataFrame] = [each.value for each in page.dataframe if column in each.value.columns]
    assert len(found) == 1
    return [dict(row) for row in found[0].to_dict("records")]


def states(page: AppTest) -> Mapping[str, str]:
    return {row["state"]: row["days"] for row in table(page, "mark")}


def test_without_a_status_the_exports_tell_the_days(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "health", WHOLE.before._replace(last=WHOLE.last))
    provisional = [day["usage_date"] for day in read(folder / "cdr.duckdb", "daily_usage") if day["provisional"]]
    assert states(page).keys() == ({"provisional"} if len(provisional) == len(DAYS) else {"complete"}) | {"not built"}
    assert states(page)["not built"] == f"{WHOLE.before.first}...{WHOLE.before.last}"
    (said,) = page.info
    assert "cdr-assets serve" in said.value
    assert page.warning.len == 0


def test_each_day_is_in_the_state_that_the_service_tells(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next_day = DAYS[-1] + DAY
    days = {
        "complete": [[str(DAYS[0]), str(DAYS[20])]],
        "provisional": [[str(DAYS[19]), str(DAYS[20])]],
        "missing": [[str(DAYS[21]), str(next_day)]],
        "failed": [[str(DAYS[30]), str(next_day)]],
        "overdue": [[str(DAYS[30]), str(DAYS[31])]],
        "waiting": [[str(DAYS[5]), str(DAYS[5])]],
    }
    write(copied, status(days=days, next_try="2026-11-09 15:00 UTC"))
    write_finding(copied, DAYS[2], "no_field_was_lost_to_its_type", 4)
    page = show(monkeypatch, copied, "health")
    assert states(page) == {
        "complete": f"{DAYS[0]}...{DAYS[1]}, {DAYS[3]}...{DAYS[4]}, {DAYS[6]}...{DAYS[18]}",
        "provisional": f"{DAYS[19]}...{DAYS[20]}",
        "waiting": str(DAYS[5]),
        "missing": f"{DAYS[21]}...{DAYS[29]}",
        "failed": f"{DAYS[32]}...{next_day}",
        "overdue": f"{DAYS[30]}...{DAYS[31]}",
        "open finding": str(DAYS[2]),
    }
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown == {
        "Complete days": "21",
        "Provisional": "2",
        "Waiting": "1",
        "Missing days": "15",
        "Failed": "6",
        "Overdue": "2",
        "Free disk, GiB": "3.0",
    }
    assert "15:00" in page.markdown[0].value.replace("\\", "")


def test_open_findings_are_counted_per_check(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(copied, status())
    for day, count in ((DAYS[2], 4), (DAYS[3], 6), (DAYS[9], 1)):
        write_finding(copied, day, "no_field_was_lost_to_its_type", count)
    write_finding(copied, DAYS[5], "cdr_id_is_unique", 1, acknowledged=True)
    page = show(monkeypatch, copied, "health")
    (found,) = table(page, "check_name")
    assert (found["check_name"], found["days"], found["records"]) == ("no_field_was_lost_to_its_type", 3, 11)
    assert found["which"] == f"{DAYS[2]}...{DAYS[3]}, {DAYS[9]}"
    assert found["link"] == "https://dagster.example/cdr/assets/call_detail_records?view=checks"
    assert "1 more are acknowledged." in [each.value for each in page.caption]


def test_runs_and_fetches_are_those_of_the_status(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(copied, status())
    page = show(monkeypatch, copied, "health")
    (run,) = table(page, "run_id")
    assert run["run_id"] == f"https://dagster.example/cdr/runs/{RUN['run_id']}"
    (fetch,) = table(page, "requests")
    assert {name: fetch[name] for name in FETCH if name not in ("bytes", "seconds")} == {
        name: value for name, value in FETCH.items() if name not in ("bytes", "seconds")
    }
    assert page.warning.len == 0


def test_figures_say_what_they_are_about_and_cells_are_in_words(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(copied, status(runs=[{**RUN, "job": "__ASSET_JOB", "days": None}]))
    page = show(monkeypatch, copied, "health", Period(DAYS[-3], DAYS[-1]))
    assert page.metric[0].value == str(len(DAYS))
    about = [each.value for each in page.subheader]
    assert about[:2] == ["All days, whatever the period", f"Days, {DAYS[-3]} to {DAYS[-1]}"]
    assert [row["job"] for row in table(page, "run_id")] == ["picked assets"]
    assert {each.proto.placeholder for each in page.dataframe} == {NONE}, "what a cell without a value reads"


def test_an_old_status_says_that_the_service_does_not_run(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(copied, status(written_at=(utc_now() - timedelta(minutes=16)).strftime("%Y-%m-%dT%H:%M:%SZ")))
    (said,) = show(monkeypatch, copied, "health").warning
    assert "16 minutes old" in said.value
    assert "cdr-assets serve" in said.value


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff"], ids=range(6))
def test_a_damaged_status_is_none(text: bytes, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "published" / "status.json").write_bytes(text)
    assert read_status(ReadableFolder(copied / "published")) is None
    if text == b"{":
        assert "cdr-assets serve" in show(monkeypatch, copied, "health").info[0].value


ODD: list[object] = [
    None,
    1,
    "x",
    [],
    {},
    [[]],
    [["2026-01-01"]],
    [["2026-02-01", "2026-01-01"]],
    [1, {}],
    [{"day": 1, "run_id": 2}],
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_the_status_says_in_another_shape_is_not_known(odd: object, copied: Path) -> None:
    write(copied, dict.fromkeys(status(), odd))
    found = read_status(ReadableFolder(copied / "published"))
    assert found is not None
    assert (found.written_at, found.ui_url, found.free_bytes) == (None, None, None)
    write(copied, {"days": dict.fromkeys(("complete", "failed"), odd)})
    found = read_status(ReadableFolder(copied / "published"))
    assert found is not None
    assert (found.count("complete"), found.last_day) == (0, None)


def test_a_status_without_anything_is_shown(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(copied, {})
    page = show(monkeypatch, copied, "health")
    assert "does not say when it was written" in page.warning[0].value


def test_an_odd_status_is_shown_as_text(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = {"complete": [["0001-01-01", "9999-12-31"]]}
    runs = [{"run_id": "../../x?y", "job": None}, {}]
    link = "[x](a) https://evil.example www.evil.example a@evil.example"
    write(
        copied,
        status(days=days, runs=runs, next_try=link, ui_url="javascript:alert(1)", fetches=[{"day": "2026-01-01"}]),
    )
    page = show(monkeypatch, copied, "health")
    marked = "".join(each.value for each in page.markdown)
    assert "[x](a)" not in marked
    said = marked.replace("\\", "")
    assert "[x](a)" in said
    assert not [part for part in ("://", "www.", "a@evil") if part in said]
    assert [row["run_id"] for row in table(page, "run_id")] == [
        "http://localhost:3000/runs/..%2F..%2Fx%3Fy",
        "http://localhost:3000/runs/",
    ]
