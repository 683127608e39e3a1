"""The dashboard as `cdr-assets dashboard` serves it, in a real browser, over the exports of real builds."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import duckdb
import pytest
from playwright.sync_api import expect

from cdr_assets.days import days_between
from cdr_assets.landing.zone import LandingZone
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.browser.conftest import Scheme, Visiting
from cdr_assets_tests.browser.visit import free_port, running
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import land_in

DAYS = days_between(date(2026, 11, 2), date(2026, 11, 11))
FIRST, LAST = DAYS[0], DAYS[-1]
PERIOD = f"from={FIRST}&to={LAST}"
PAGES = {
    "": "Overview",
    "rooms": "Rooms and owners",
    "conferences": "Conferences",
    "people": "People",
    "quality": "Quality and clients",
    "health": "Health",
}


def build(folder: Path, records: dict[date, list[Record]], people_in_clear: bool = False) -> None:
    """Builds the days, as their run would, in a data folder."""
    zone, warehouse = LandingZone(folder), Warehouse(folder / "cdr.duckdb", people_in_clear=people_in_clear)
    for number, (day, of_day) in enumerate(records.items(), start=1):
        land_in(zone, day, number, of_day)
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, list(records), DAILY_TABLES, zone))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of the sandbox's calls. Nothing in it may be changed."""
    folder = tmp_path_factory.mktemp("ten-days")
    sandbox = Settings(connections=40, start=FIRST)
    build(folder, {day: records_of_day(sandbox, day) for day in DAYS})
    return folder


def serving(data: Path, cwd: Path) -> Iterator[str]:
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    with running(cwd, f"{root}/_stcore/health", "dashboard", "--port", str(port), CDR_DATA_DIR=str(data)):
        yield root


@pytest.fixture(scope="module")
def dashboard(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the dashboard over these days is."""
    yield from serving(data, tmp_path_factory.mktemp("dashboard"))


def asked(data: Path, query: str) -> tuple[object, ...]:
    """The only row that the warehouse answers."""
    with duckdb.connect(data / "cdr.duckdb", read_only=True) as connection:
        (row,) = connection.execute(query).fetchall()
    return row


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_window_and_is_content_with_itself(
    visit: Visiting, dashboard: str, scheme: Scheme, pictures: Path
) -> None:
    visited = visit(dashboard, 1024, scheme)
    for path, title in PAGES.items():
        visited.open(f"{path}?{PERIOD}")
        expect(visited.page.locator("h1")).to_have_text(title)
        assert visited.complaints() == [], title
        assert "cannot be read" not in visited.main.inner_text(), title
        visited.keep_picture(pictures / f"{path or 'overview'}-{scheme}.png")


def test_the_menu_leads_to_every_page_and_keeps_the_period(visit: Visiting, dashboard: str) -> None:
    visited = visit(dashboard)
    visited.open(f"?{PERIOD}")
    picked = visited.page.get_by_test_id("stDateInput").inner_text()
    assert ["".join(day.split()) for day in re.findall(r"\d{4}\s*/\s*\d\d\s*/\s*\d\d", picked)] == [
        "2026/11/02",
        "2026/11/11",
    ]
    links = visited.page.get_by_test_id("stTopNavLink")
    expect(links).to_have_count(len(PAGES))
    for path, title in PAGES.items():
        visited.page.get_by_test_id("stTopNavLink").filter(has_text=title).click()
        expect(visited.page.locator("h1")).to_have_text(title)
        visited.wait()
        assert re.search(rf"/{path}\?.*from={FIRST}&to={LAST}", visited.page.url)
    assert visited.complaints() == []


def test_the_figures_of_the_overview_are_those_of_the_warehouse(visit: Visiting, dashboard: str, data: Path) -> None:
    visited = visit(dashboard)
    visited.open(f"?{PERIOD}")
    minutes, conferences, people, billable, peak = asked(
        data,
        """
        SELECT
            sum(room_duration_s) / 60,
            count(DISTINCT nullif(conf_num, '')),
            count(DISTINCT (usage_date, coalesce(nullif(user_ref, ''), conf_num || nullif(user_name, ''), cdr_id))),
            sum(ceil(room_duration_s / 60)),
            (SELECT max(peak_connections) FROM daily_usage)
        FROM call_detail_records
        """,
    )
    shown = visited.figures()[5:10]
    assert [label for label, _ in shown] == ["Participant minutes", "Conferences", "People", "Billable minutes", "Peak"]
    assert shown == [
        ("Participant minutes", f"{minutes:,.0f}"),
        ("Conferences", f"{conferences:,}"),
        ("People", f"{people:,}"),
        ("Billable minutes", f"{billable:,.0f}"),
        ("Peak", f"{peak:,}"),
    ]


def test_a_conference_is_found_and_shows_its_people(visit: Visiting, dashboard: str, data: Path) -> None:
    conf_num, people, minutes = asked(
        data,
        "SELECT conf_num, participants, participant_minutes FROM conference_usage ORDER BY 2 DESC, 1 LIMIT 1",
    )
    assert isinstance(conf_num, str)
    visited = visit(dashboard)
    visited.open(f"conferences?{PERIOD}")
    number = visited.page.get_by_label("Conference number, or its beginning")
    number.fill(conf_num[:-1])
    number.press("Enter")
    expect(visited.page).to_have_url(re.compile(f"number={conf_num[:-1]}"))
    number.fill(conf_num)
    number.press("Enter")
    expect(visited.main).to_contain_text("One conference.")
    visited.wait()
    # The first cell of the first row selects it.
    visited.page.get_by_test_id("stDataFrame").click(position={"x": 20, "y": 52})
    expect(visited.main).to_contain_text(f"Conference {conf_num}")
    visited.wait()
    figures = dict(visited.figures())
    assert (figures["People"], figures["Participant minutes"]) == (f"{people:,}", f"{minutes:,.1f}")
    with duckdb.connect(data / "cdr.duckdb", read_only=True) as connection:
        connection.execute("SET VARIABLE conf_num = $1", [conf_num])
        attended = connection.execute(
            f"SELECT participant FROM '{data}/published/attendance/*.parquet' WHERE conf_num = getvariable('conf_num')"
        ).fetchall()
    timeline, table = visited.timeline(), visited.column("Person")
    for (participant,) in attended:
        assert any(participant[:8] in label for label in timeline)
        assert any(participant[:8] in cell for cell in table)
    assert len(table) == people
    assert visited.complaints() == []


def test_a_file_of_the_rooms_has_the_minutes_of_the_page(visit: Visiting, dashboard: str, tmp_path: Path) -> None:
    visited = visit(dashboard)
    visited.open(f"rooms?{PERIOD}")
    with visited.page.expect_download() as download:
        visited.page.get_by_test_id("stDownloadButton").filter(has_text="CSV").first.click()
    file = tmp_path / "rooms.csv"
    download.value.save_as(file)
    with file.open(encoding="utf-8", newline="") as lines:
        minutes = sum(Decimal(row["participant_minutes"]) for row in csv.DictReader(lines))
    assert dict(visited.figures())["Participant minutes"] == f"{minutes:,.0f}"
    assert visited.complaints() == []


WRONG = {
    "from=yesterday": "from in the address is not a day as YYYY-MM-DD: 'yesterday'",
    "from=2026-11-09&to=2026-11-02": "from 2026-11-09 to 2026-11-02 is no period",
    "from=0001-01-01&to=9999-12-31": "is no period",
    "to=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E": "to in the address is not a day",
}


def test_an_address_that_is_wrong_is_explained_and_the_page_shown(visit: Visiting, dashboard: str) -> None:
    visited = visit(dashboard)
    for query, said in WRONG.items():
        visited.open(f"?{query}")
        expect(visited.page.get_by_test_id("stAlert").first).to_contain_text(said)
        assert len(visited.figures()) >= 10, query
        assert visited.page.evaluate("window.hacked") is None
        assert visited.complaints() == [], query


def test_days_appear_when_they_are_built_and_a_damaged_file_is_named(
    visit: Visiting, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for root in serving(folder, tmp_path):
        visited = visit(root)
        visited.open()
        expect(visited.page.get_by_test_id("stAlert")).to_contain_text(f"There are no exports in {folder}/published")
        shutil.copytree(data / "published", folder / "published")
        visited.open()
        assert len(visited.figures()) >= 10
        damaged = folder / "published" / "daily_usage" / f"{LAST}.parquet"
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[: len(whole) // 2])
        visited.open()
        alert = visited.page.get_by_test_id("stAlert")
        expect(alert).to_contain_text(str(damaged))
        expect(alert).to_contain_text("Materialize the day")
        damaged.write_bytes(whole)
        visited.open()
        assert len(visited.figures()) >= 10
        assert visited.page.get_by_test_id("stAlert").count() == 0
        assert visited.complaints() == []


SCRIPT = '<script>window.hacked=1</script><img src="x" onerror="window.hacked=1">'
MARKDOWN = "[a link](http://evil.example/) ![a picture](http://evil.example/x.png) **bold** $x^2$ :red[x] `x`"
LONG = "long " * 2_000
HOSTILE = (SCRIPT, MARKDOWN, LONG)


def hostile_records(day: date) -> list[Record]:
    """Three conferences, each of which two people attend, with hostile texts wherever there is a text."""
    return [
        {
            "cdr_id": f"{number}-{person}",
            "trans_date": f"{day}T10:30:00Z",
            "conf_num": f"{text} {number}",
            "conf_name": text,
            "app_id": text,
            "room": {
                "room_id": text,
                "connect_dt": f"{day}T10:0{person}:00Z",
                "disconnect_dt": f"{day}T10:30:00Z",
                "duration": 60 * (30 - person),
                "room_details": {"name": text, "owner_ref": text, "settings": {"billing_code": text}},
            },
            "user": {"ref": f"{text} {person}", "name": text, "role": text, "agent": text},
            "stats_quality": {"send": {"audio": {"avg_bitrate": 20, "avg_quality": text, "good_percent": 10}}},
        }
        for number, text in enumerate(HOSTILE)
        for person in range(2)
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard over hostile texts, with people as the tables have them."""
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "data"
    data.mkdir()
    build(data, {day: hostile_records(day) for day in DAYS[:1]}, people_in_clear=True)
    yield from serving(data, folder)


def test_hostile_texts_are_shown_as_texts(visit: Visiting, hostile: str) -> None:
    visited = visit(hostile, 1024)
    for path, title in PAGES.items():
        visited.open(path)
        expect(visited.page.locator("h1")).to_have_text(title)
        assert visited.complaints() == [], title
        assert visited.page.evaluate("window.hacked") is None, title
        assert visited.leads_to("evil.example") == [], title


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_conference_with_hostile_texts_is_shown(visit: Visiting, hostile: str, number: int) -> None:
    visited = visit(hostile, 1024)
    visited.open(f"conferences?{urlencode({'conf_num': f'{HOSTILE[number]} {number}'})}")
    assert dict(visited.figures())["People"] == "2"
    assert visited.complaints() == []
    assert visited.page.evaluate("window.hacked") is None
    assert visited.leads_to("evil.example") == []
