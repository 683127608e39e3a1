"""Rooms and owners: every figure is that of the warehouse, and the files have the sums of the tables."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cdr_assets.days import DAY
from cdr_assets.reports.dashboard.elements import csv, spreadsheet
from cdr_assets.reports.dashboard.pages import rooms
from cdr_assets.reports.dashboard.period import Period
from cdr_assets_tests.expected import read
from cdr_assets_tests.reference import Row
from cdr_assets_tests.reports.dashboard.shown import DAYS, WHOLE, show

FIGURES = ("connections", "conferences", "participant_minutes", "billable_minutes")


def summed(rows: Iterable[Row], *names: str) -> dict[Any, dict[str, Any]]:
    """The figures by the columns `names`, in plain Python."""
    found: dict[Any, dict[str, Any]] = defaultdict(lambda: dict.fromkeys(FIGURES, Decimal(0)))
    for row in rows:
        for figure in FIGURES:
            found[tuple(row[name] for name in names)][figure] += row[figure]
    return dict(found)


def owners(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The figures by owner and billing code, as the page calls them. Without a file of rooms, owners are hashes."""
    key = (folder / "people.key").read_text().strip()
    return {
        (
            hashlib.sha256(f"{key}:user_ref:{owner}".encode()).hexdigest()[:32] if owner else "unallocated",
            code or "no billing code",
        ): figures
        for (owner, code), figures in summed(
            read(folder / "cdr.duckdb", "owner_usage"), "owner_ref", "billing_code"
        ).items()
    }


def table(page: AppTest, tab: int) -> pd.DataFrame:
    found: pd.DataFrame = page.tabs[tab].dataframe[0].value
    return found


def shown(rows: pd.DataFrame, *names: str) -> dict[Any, dict[str, Any]]:
    """The figures of the table on the page by these columns."""
    return {
        tuple(row[name] for name in names): {figure: Decimal(row[figure]) for figure in FIGURES}
        for row in rows.to_dict("records")
    }


def metrics(page: AppTest, tab: int) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.tabs[tab].metric}


def test_each_room_has_the_sums_of_its_days_and_the_busiest_is_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = table(show(monkeypatch, folder, "rooms"), 0)
    usage = read(folder / "cdr.duckdb", "room_usage")
    assert shown(found, "room_id") == summed(usage, "room_id")
    assert found["participant_minutes"].is_monotonic_decreasing
    assert sum(found["share_of_minutes"]) == pytest.approx(1)
    peaks = {
        room: max(row["peak_participants"] for row in usage if row["room_id"] == room) for room in found["room_id"]
    }
    assert dict(zip(found["room_id"], found["peak_participants"], strict=True)) == peaks


def test_the_small_chart_of_a_room_has_the_minutes_of_each_day(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = table(show(monkeypatch, folder, "rooms"), 0).iloc[0]
    by_day: dict[Any, Decimal] = defaultdict(Decimal)
    for used in read(folder / "cdr.duckdb", "room_usage"):
        if used["room_id"] == row["room_id"]:
            by_day[used["usage_date"]] += used["participant_minutes"]
    assert list(row["minutes"]) == pytest.approx([float(by_day[day]) for day in DAYS])


def test_a_long_period_has_the_minutes_of_each_week(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = table(show(monkeypatch, folder, "rooms", Period(DAYS[0] - DAY * 70, DAYS[-1])), 0)
    assert {len(minutes) for minutes in found["minutes"]} == {15}
    sums = [sum(minutes) for minutes in found["minutes"]]
    assert sums == pytest.approx(found["participant_minutes"].astype(float).tolist())


def test_each_owner_has_the_sums_of_its_days(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "rooms", CDR_RATE_PER_MINUTE="0.0041")
    found = table(page, 1)
    expected = owners(folder)
    assert shown(found, "owner_ref", "billing_code") == expected
    assert list(found["cost"]) == [minutes * Decimal("0.0041") for minutes in found["participant_minutes"]]
    minutes = sum(figures["participant_minutes"] for figures in expected.values())
    assert metrics(page, 1)["Cost"] == f"{minutes * Decimal('0.0041'):,.2f}"
    assert [each for each in page.caption if "is a hash here" in each.value]
    for row in found.to_dict("records"):
        assert sum(row["minutes"]) == pytest.approx(float(row["participant_minutes"]))


def test_what_nobody_owns_is_named_with_its_share_and_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "rooms")
    usage = read(folder / "cdr.duckdb", "owner_usage")
    unallocated = sum(row["participant_minutes"] for row in usage if row["owner_ref"] is None)
    share = unallocated / sum(row["participant_minutes"] for row in usage)
    (said,) = page.tabs[1].error
    assert f"{unallocated:,.0f} participant minutes, {share:.0%} of all" in said.value
    assert "CDR_ROOMS" in said.value


def test_owners_and_billing_codes_can_be_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "rooms")
    expected = owners(folder)
    code = next(code for owner, code in expected if owner != "unallocated" and code.startswith("CC-"))
    owner_filter, codes = page.multiselect
    codes.select(code).run()
    some = {(owner, each): row for (owner, each), row in expected.items() if each == code}
    assert shown(table(page, 1), "owner_ref", "billing_code") == some
    minutes = sum(row["participant_minutes"] for row in some.values())
    assert metrics(page, 1)["Participant minutes"] == f"{minutes:,.0f}"
    codes.set_value([])
    owner_filter.select("").run()
    assert set(table(page, 1)["owner_ref"]) == {"unallocated"}


@pytest.mark.parametrize("name", ["rooms", "owners"])
def test_the_files_have_the_rows_of_the_table(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, Callable[[], pd.DataFrame]] = {}
    monkeypatch.setattr(rooms, "downloads", lambda read, name, _: offered.update({name: read}))
    show(monkeypatch, folder, "rooms")
    rows = offered[name]()
    usage = read(folder / "cdr.duckdb", name.removesuffix("s") + "_usage")
    in_csv = pd.read_csv(io.BytesIO(csv(rows)), dtype=str)
    head, *lines = openpyxl.load_workbook(io.BytesIO(spreadsheet(rows))).active.values
    for figure in FIGURES:
        expected = sum(row[figure] for row in usage)
        assert sum(map(Decimal, in_csv[figure])) == expected
        assert float(sum(line[head.index(figure)] for line in lines)) == pytest.approx(float(expected))


def test_the_name_of_a_file_says_that_days_are_not_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for period, said in ((WHOLE, ""), (Period(DAYS[0] - DAY, DAYS[1]), "_only_2_of_3_days")):
        page = show(monkeypatch, folder, "rooms", period)
        ids = [button.proto.id for button in page.get("download_button")]
        assert [each.rpartition("-owners")[2] for each in ids[2:]] == [
            f"_{period.first}_{period.last}{said} {kind}" for kind in ("csv", "xlsx")
        ]


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "<script>alert(1)</script>", "[x](http://evil.example)", "a\x01b"]


def test_no_text_in_a_file_is_a_formula() -> None:
    rows = pd.DataFrame({"room_id": [*HOSTILE, None], "minutes": [Decimal("-1.100")] * 9, "connections": [1] * 9})
    (_, *texts), (_, *minutes), _ = zip(*_lines(csv(rows).decode()), strict=True)
    assert not [text for text in texts if text[:1] in "=+-@\t\r" and text]
    assert set(minutes) == {"-1.100"}
    sheet = openpyxl.load_workbook(io.BytesIO(spreadsheet(rows))).active
    assert "f" not in {cell.data_type for cell in sheet["A"]}
    assert [cell.value for cell in sheet["A"]][1:5] == HOSTILE[:4]
    assert [cell.value for cell in sheet["B"]][1:] == [-1.1] * 9


def test_an_excel_file_can_be_read_whatever_a_text_holds() -> None:
    odd = "".join(map(chr, (*range(13), *range(14, 32), 0x7F, 0x85, 0xFFFE, 0xFFFF, 0x1FFFF)))
    (_,), (text,) = openpyxl.load_workbook(io.BytesIO(spreadsheet(pd.DataFrame({"a": [f"<{odd}>"]})))).active.values
    assert text == "<\t\n\x7f\x85\U0001ffff>"


def _lines(text: str) -> list[list[str]]:
    import csv

    return list(csv.reader(io.StringIO(text)))


def test_a_hostile_room_is_shown_as_text(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "published" / "room_usage"
    place.mkdir(parents=True)
    first = folder / "published" / "room_usage" / f"{DAYS[0]}.parquet"
    long = "x" * 10_000
    for number, name in enumerate([*HOSTILE, long]):
        file = place / f"{DAYS[number]}.parquet"
        duckdb.execute(f"COPY (SELECT * REPLACE ($name AS room_id) FROM '{first}' LIMIT 1) TO '{file}'", {"name": name})
    page = show(monkeypatch, tmp_path, "rooms")
    found = set(table(page, 0)["room_id"])
    assert {*HOSTILE} < found
    assert max(map(len, found)) < 200
    assert "evil" not in "".join(each.value for each in [*page.markdown, *page.caption, *page.metric])


def test_a_period_without_a_day_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "rooms", WHOLE.before)
    assert ["Choose other days" in info.value for info in page.info] == [True, True]
