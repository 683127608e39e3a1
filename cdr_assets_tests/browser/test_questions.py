"""docs/questions.md: each answer is found where it says, in as many clicks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import openpyxl
import pytest
from playwright.sync_api import Locator, expect

from cdr_assets.days import DAY, days_between, utc_now
from cdr_assets.reports.dashboard.period import Period, month_before
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets_tests.browser.conftest import Visiting
from cdr_assets_tests.browser.test_dashboard import build, serving
from cdr_assets_tests.browser.visit import Visit
from cdr_assets_tests.changed_package import CHECKOUT

TODAY = utc_now().date()
YESTERDAY = TODAY - DAY


class Visitor:
    """Somebody at the dashboard's start page, whose clicks are counted."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.page, self.clicks = visit, visit.page, 0
        visit.open()

    def click(self, place: Locator, **how: object) -> None:
        place.click(**how)  # type: ignore[arg-type]
        self.visit.wait()
        self.clicks += 1

    def go_to(self, title: str) -> None:
        self.click(self.page.get_by_test_id("stTopNavLink").filter(has_text=title))
        expect(self.page.locator("h1")).to_have_text(title)

    def find_conference(self, conf_num: str) -> None:
        self.go_to("Conferences")
        number = self.page.get_by_label("Conference number, or its beginning")
        number.fill(conf_num)
        number.press("Enter")
        self.clicks += 1
        expect(self.visit.main).to_contain_text("One conference.")
        self.click(self.page.get_by_test_id("stDataFrame"), position={"x": 20, "y": 52})
        expect(self.visit.main).to_contain_text(f"Conference {conf_num}")
        self.visit.wait()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some days of the last month and of the last days, of the sandbox, and what the service says of them."""
    folder = tmp_path_factory.mktemp("questions")
    last_month = month_before(TODAY)
    days = sorted(
        {*days_between(last_month.last - DAY * 2, last_month.last), *days_between(TODAY - DAY * 6, YESTERDAY)}
    )
    sandbox = Settings(connections=60, start=days[0])
    build(folder, {day: records_of_day(sandbox, day) for day in days})
    fetch = {"day": str(YESTERDAY), "records": 61, "new": 7, "changed": 2, "quarantined": 1, "late": 3, "requests": 1}
    status = {
        "written_at": f"{datetime.now():%Y-%m-%d}T00:00:00Z",
        "enablex": "sandbox",
        "days": {"overdue": [[str(TODAY - DAY * 9), str(TODAY - DAY * 8)]]},
        "next_try": "in an hour",
        "fetches": [fetch],
    }
    (folder / "published" / "status.json").write_text(json.dumps(status))
    return folder


@pytest.fixture(scope="module")
def dashboard(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serving(data, tmp_path_factory.mktemp("dashboard"))


@pytest.fixture
def visitor(visit: Visiting, dashboard: str) -> Visitor:
    return Visitor(visit(dashboard))


def clicks_for(question: str) -> int:
    """The clicks that the page of questions says."""
    text = (CHECKOUT / "docs" / "questions.md").read_text()
    return int(re.findall(rf"^\| {re.escape(question)} \| .* \| (\d+) \|$", text, flags=re.MULTILINE)[0])


def asked(data: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(data / "cdr.duckdb", read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_minutes_yesterday(visitor: Visitor, data: Path) -> None:
    ((minutes,),) = asked(data, f"SELECT sum(participant_minutes) FROM daily_usage WHERE usage_date = '{YESTERDAY}'")
    expect(visitor.visit.main).to_contain_text(f"{YESTERDAY:%A, %Y-%m-%d}")
    assert visitor.visit.figures()[0] == ("Participant minutes", f"{minutes:,.0f}")
    assert visitor.clicks == clicks_for("How many minutes yesterday, and what is the trend?")


def test_the_busiest_room(visitor: Visitor, data: Path) -> None:
    ((room, _),) = asked(
        data,
        "SELECT room_id, sum(participant_minutes) FROM room_usage "
        f"WHERE usage_date > '{YESTERDAY - DAY * 30}' GROUP BY room_id ORDER BY 2 DESC LIMIT 1",
    )
    visitor.go_to("Rooms and owners")
    assert visitor.visit.column("Room", 0)[0] == room
    assert visitor.clicks == clicks_for("Which room is the busiest?")


def test_who_was_in_a_call_and_whether_they_met(visitor: Visitor, data: Path) -> None:
    ((conf_num, people),) = asked(
        data,
        "SELECT conf_num, participants FROM conference_usage "
        f"WHERE usage_date = '{YESTERDAY}' AND met_minutes > 1 ORDER BY 2, 1 LIMIT 1",
    )
    visitor.find_conference(str(conf_num))
    assert len(visitor.visit.column("Person")) == people
    expect(visitor.visit.main).to_contain_text(re.compile(r"people were together for [\d,.]+ minutes"))
    for question in ("Who was in this call, and for how long?", "Did the doctor and the patient meet?"):
        assert visitor.clicks == clicks_for(question)


def test_overdue_days_and_the_last_fetch(visitor: Visitor) -> None:
    visitor.go_to("Health")
    assert dict(visitor.visit.figures())["Overdue"] == "2"
    expect(visitor.visit.main).to_contain_text("in an hour")
    brought = {
        title: visitor.visit.column(title, 1)
        for title in ("UTC day", "Records", "New", "Changed", "Quarantined", "Late")
    }
    assert brought == {
        "UTC day": [str(YESTERDAY)],
        "Records": ["61"],
        "New": ["7"],
        "Changed": ["2"],
        "Quarantined": ["1"],
        "Late": ["3"],
    }
    for question in ("Is a day overdue, late or quarantined?", "What did the last fetch bring?"):
        assert visitor.clicks == clicks_for(question)


def test_minutes_per_owner_of_the_last_month_as_a_spreadsheet(visitor: Visitor, data: Path, tmp_path: Path) -> None:
    visitor.go_to("Rooms and owners")
    visitor.click(
        visitor.page.get_by_role("radio", name="Last month").or_(visitor.page.get_by_text("Last month")).first
    )
    visitor.click(visitor.page.get_by_role("tab", name="Owners and billing codes"))
    excel = visitor.page.get_by_test_id("stDownloadButton").filter(has_text="Excel", visible=True)
    with visitor.page.expect_download() as download:
        visitor.click(excel)
    download.value.save_as(tmp_path / "owners.xlsx")
    header, *lines = openpyxl.load_workbook(tmp_path / "owners.xlsx").active.iter_rows(values_only=True)
    place = header.index("participant_minutes")
    month = Period(*month_before(TODAY))
    ((minutes,),) = asked(
        data,
        f"SELECT sum(participant_minutes) FROM owner_usage WHERE usage_date BETWEEN '{month.first}' AND '{month.last}'",
    )
    assert sum(line[place] for line in lines) == pytest.approx(float(str(minutes)))
    assert visitor.clicks == clicks_for("Minutes per owner last month, as a spreadsheet?")


def test_which_browser_drops_and_whether_this_is_the_sandbox(visitor: Visitor) -> None:
    expect(visitor.visit.main).to_contain_text("The sandbox's invented calls")
    assert visitor.clicks == clicks_for("Is this the sandbox?")
    visitor.go_to("Quality and clients")
    assert len(visitor.visit.column("Browser")) > 0
    assert visitor.clicks == clicks_for("Which browser drops?")
