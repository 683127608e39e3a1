"""The Dagster UI that `cdr-assets serve` runs, in a real browser: a day is launched, its figures and findings read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect

from cdr_assets.days import DAY, utc_now
from cdr_assets.definitions import code_location
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets_tests.browser.conftest import Visiting
from cdr_assets_tests.browser.visit import free_port, running
from cdr_assets_tests.httpserver import serving
from cdr_assets_tests.location import Script
from cdr_assets_tests.pipeline.test_daemon import write_settings

YESTERDAY = utc_now().date() - DAY
TODAY = YESTERDAY + DAY
CHECK = "no_record_was_set_aside"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def ui(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the UI is. Yesterday has a record that is not valid, and no sensor fetches it today."""
    home = tmp_path_factory.mktemp("home")
    write_settings(home)
    script, calls = Script(), Settings(connections=40, start=YESTERDAY)
    script.holds(YESTERDAY, *records_of_day(calls, YESTERDAY), {"cdr_id": "undated"})
    script.holds(TODAY, *records_of_day(calls, TODAY))
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    with serving(script.reply) as server:
        script.url = server.url
        environment = {
            **script.environment,
            "CDR_START_DATE": str(YESTERDAY),
            "CDR_SETTLE_MINUTES": "1440",
            "CDR_OPEN_DAY_MINUTES": "0",
            "CDR_AGREEMENT_SAMPLE": "0",
            "CDR_DATA_DIR": str(data),
            "DAGSTER_HOME": str(home),
        }
        with running(home, f"{root}/server_info", "serve", "--port", str(port), **environment):
            yield root


def launch(page: Page, root: str, day: date, runs: int) -> None:
    """Materializes a day of every asset from the graph of assets, and waits until `runs` runs have succeeded."""
    page.goto(f"{root}/asset-groups")
    page.get_by_role("button", name=re.compile("Materialize all")).click()
    dialog = page.get_by_role("dialog")
    days = dialog.get_by_placeholder("No matching partitions")
    days.fill(str(day))
    days.press("Enter")
    dialog.get_by_role("button", name="Launch 1 run").click()
    expect(dialog).to_have_count(0)
    page.goto(f"{root}/runs")
    expect(page.get_by_text(f"partition: {day}").first).to_be_visible()
    expect(page.get_by_text("Success", exact=True)).to_have_count(runs)


def test_a_day_is_launched_and_its_figures_and_findings_are_shown(visit: Visiting, ui: str, data: Path) -> None:
    page = visit(ui, 1600).page

    page.goto(f"{ui}/asset-groups")
    for key in code_location({}).resolve_asset_graph().get_all_asset_keys():
        expect(page.get_by_text(key.to_user_string(), exact=True).first).to_be_visible()

    launch(page, ui, YESTERDAY, runs=1)
    with duckdb.connect(data / "cdr.duckdb", read_only=True) as connection:
        rooms = connection.execute(
            "SELECT room_id, sum(room_duration_s) / 60 AS minutes FROM call_detail_records GROUP BY ALL ORDER BY 2 DESC"
        ).fetchall()
    page.goto(f"{ui}/assets/room_usage?view=partitions&partition={YESTERDAY}")
    expect(page.get_by_text("Materialized (1)")).to_be_visible()
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    figure = page.locator("tr", has_text="participant_minutes").first
    expect(figure).to_contain_text(f"{float(sum(minutes for _, minutes in rooms)):.3f}".rstrip("0").rstrip("."))
    expect(page.locator("tr", has_text="busiest_rooms").first).to_contain_text(rooms[0][0])

    expect_finding(page, ui, looked_at=YESTERDAY)
    # Another day is clean, and yesterday's finding stays.
    launch(page, ui, TODAY, runs=2)
    expect_finding(page, ui, looked_at=TODAY)


def expect_finding(page: Page, root: str, looked_at: date) -> None:
    page.goto(f"{root}/assets/period_cdr?view=checks&checkDetail={CHECK}")
    expect(page.get_by_text(f"1 on {YESTERDAY}. Looked at: {looked_at}.")).to_be_visible()
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    expect(page.get_by_text("Read the quarantine files named in the sample")).to_be_visible()
