"""The search finds what the warehouse has, and the page of a conference shows who was there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cdr_assets.reports.dashboard.pages import conferences
from cdr_assets.reports.dashboard.period import Period
from cdr_assets_tests.expected import exported, read
from cdr_assets_tests.reference import Row
from cdr_assets_tests.reports.calls import DAY, build, call
from cdr_assets_tests.reports.dashboard.shown import DAYS, WHOLE, show

HOSTILE = "[x](http://evil) <script>alert(1)</script> **b** $a$ :red[c]" + "y" * 10_000
NUMBERS = ("participants", "connections", "conference_minutes", "met_minutes", "participant_minutes", "rejoins")
ONE_DAY = Period(DAY, DAY)


def listed(page: AppTest) -> list[tuple[Any, ...]]:
    """The number and the figures of each conference that the search shows."""
    return [
        (row["conf_num"], *(round(float(row[name]), 3) for name in NUMBERS))
        for row in page.dataframe[0].value.to_dict("records")
    ]


def in_warehouse(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    newest = sorted(rows, key=lambda row: row["first_connect_dt"], reverse=True)
    return [(row["conf_num"], *(float(row[name]) for name in NUMBERS)) for row in newest]


# The search


def test_every_conference_of_the_period_is_listed_newest_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    period = Period(DAYS[2], DAYS[15])
    page = show(monkeypatch, folder, "conferences", period)
    rows = [
        row
        for row in read(folder / "cdr.duckdb", "conference_usage")
        if period.first <= row["usage_date"] <= period.last
    ]
    assert len(rows) > 50
    assert listed(page) == in_warehouse(rows)


def test_a_long_list_is_cut_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conferences, "MOST_CONFERENCES", 20)
    page = show(monkeypatch, folder, "conferences")
    rows = read(folder / "cdr.duckdb", "conference_usage")
    assert listed(page) == in_warehouse(rows)[:20]
    assert "The newest 20 conferences. There are more" in page.caption[0].value


def test_a_number_and_a_room_are_found_by_their_beginning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read(folder / "cdr.duckdb", "conference_usage")
    some = rows[len(rows) // 2]
    page = show(monkeypatch, folder, "conferences")
    page.text_input(key="number").set_value(some["conf_num"]).run()
    assert listed(page) == in_warehouse([some])
    assert page.query_params["number"] == some["conf_num"]
    page.text_input(key="number").set_value("").run()
    beginning = some["room_id"][:6]
    page.text_input(key="room").set_value(beginning).run()
    of_room = [row for row in rows if row["room_id"].startswith(beginning)]
    assert 1 < len(of_room) < len(rows)
    assert listed(page) == in_warehouse(of_room)
    again = show(monkeypatch, folder, "conferences", query={"room": beginning})
    assert listed(again) == in_warehouse(of_room)


def test_every_page_counts_the_conferences_that_began_in_the_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = {**call("3", 0, 5), "conf_num": None}
    earlier = [call("1", 0, 30), call("2", 0, 5, conf_num="d")]
    later = DAY + timedelta(days=1)
    build(tmp_path, (DAY, [*earlier, unnamed]), (later, [call("4", 0, 5, later), call("5", 0, 5, later, conf_num="e")]))
    for period, count in ((Period(DAY, DAY), 2), (Period(later, later), 1), (Period(DAY, later), 3)):
        found = show(monkeypatch, tmp_path, "conferences", period).caption[0].value
        assert found.startswith("One conference." if count == 1 else f"{count} conferences,")
        figures = show(monkeypatch, tmp_path, "overview", period).metric
        assert [each.value for each in figures if each.label == "Conferences"] == ["1", str(count)]


def test_a_search_without_a_result_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "conferences", query={"number": "no such number"})
    assert "Choose other days" in page.info[0].value


# One conference


def test_the_page_of_a_conference_shows_its_row_and_its_people(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read(folder / "cdr.duckdb", "conference_usage")
    row = max(rows, key=lambda row: (row["rejoins"], row["conf_num"]))
    # The period is another one: the address alone says which conference.
    page = show(monkeypatch, folder, "conferences", WHOLE.before, {"conf_num": row["conf_num"]})
    assert {metric.label: metric.value for metric in page.metric} == {
        "People": f"{row['participants']:,}",
        "Most at once": f"{row['peak_participants']:,}",
        "Returns": f"{row['rejoins']:,}",
        "Participant minutes": f"{row['participant_minutes']:,.1f}",
        "Billable minutes": f"{row['billable_minutes']:,}",
        "Minutes with anybody": f"{row['conference_minutes']:,.1f}",
        "Minutes with two or more": f"{row['met_minutes']:,.1f}",
        "Minutes with one alone": f"{row['alone_minutes']:,.1f}",
        "Minutes moderated": f"{row['moderated_minutes']:,.1f}",
    }
    assert f"together for {row['met_minutes']:,.1f} minutes" in page.subheader[0].value
    people = [each for each in read(folder / "cdr.duckdb", "attendance") if each["conf_num"] == row["conf_num"]]
    shown = page.dataframe[0].value.to_dict("records")
    columns = ("Role", "Came", "Left", "Returns", "Minutes present", "Of the conference", "Minutes alone")
    assert sorted(tuple(each[name] for name in columns) for each in shown) == sorted(
        (
            each["user_role"],
            each["first_connect_dt"],
            each["last_disconnect_dt"],
            each["rejoins"],
            *(pytest.approx(float(each[name])) for name in ("presence_minutes", "share", "alone_minutes")),
        )
        for each in people
    )
    hashes = {
        each["participant"]
        for each in exported(folder / "published", "attendance")
        if each["conf_num"] == row["conf_num"]
    }
    assert {each["Person"] for each in shown} == {each[:8] for each in hashes}
    assert {each["Page"].partition("&")[0] for each in shown} == {f"people?participant={each}" for each in hashes}


def test_bad_media_are_those_of_the_persons_connections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quality = [row for row in read(folder / "cdr.duckdb", "connection_quality") if row["avg_quality"] == "Bad"]
    records = {row["cdr_id"]: row for row in read(folder / "cdr.duckdb", "call_detail_records")}
    bad: dict[str, set[str]] = {}
    for row in quality:
        bad.setdefault(records[row["cdr_id"]]["conf_num"], set()).add(f"{row['direction']} {row['media']}")
    # Of most conferences all media are bad for somebody, which says nothing.
    conf_num = min(bad, key=lambda each: (len(bad[each]), each))
    page = show(monkeypatch, folder, "conferences", query={"conf_num": conf_num})
    shown = page.dataframe[0].value["Bad media"].dropna()
    assert {media for each in shown for media in each.split(", ")} == bad[conf_num]


def test_the_timeline_has_a_bar_for_each_connection_and_marks_moderators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor, patient = {"ref": "d", "role": "moderator"}, {"ref": "p", "role": "participant"}
    calls = [call("1", 5, 9, user=doctor), call("2", 0, 30, user=patient), call("3", 10, 20, user=doctor)]
    build(tmp_path, (DAY, [*calls, call("4", 3, None, user=patient)]))
    drawn: list[Any] = []
    monkeypatch.setattr(st, "altair_chart", drawn.append)
    page = show(monkeypatch, tmp_path, "conferences", ONE_DAY, {"conf_num": "c"})
    data = drawn[0].layer[0].data if drawn[0].data.__class__.__name__ == "UndefinedType" else drawn[0].data
    names = {each["Role"]: each["Person"] for each in page.dataframe[0].value.to_dict("records")}
    assert list(names) == ["moderator", "participant"], "the moderator is first, though the other came before"
    assert sorted(zip(data["person"], data["role"], data["from_utc"], data["minutes"], strict=True)) == sorted(
        [
            (f"{names['moderator']} (moderator)", "moderator", f"{DAY} 10:05:00", 4),
            (f"{names['moderator']} (moderator)", "moderator", f"{DAY} 10:10:00", 10),
            (names["participant"], "others", f"{DAY} 10:00:00", 30),
        ]
    )
    assert page.subheader[0].value == (
        "2 people were together for 14.0 minutes; a moderator was there with somebody for 14.0 of them."
    )


def test_a_number_that_was_used_again_is_two_conferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = DAY + timedelta(days=30)
    build(tmp_path, (DAY, [call("1", 0, 30)]), (later, [call("2", 0, 10, later)]))
    page = show(monkeypatch, tmp_path, "conferences", ONE_DAY, {"conf_num": "c"})
    assert "2 conferences have this number" in page.caption[0].value
    said = [each.value for each in page.subheader if each.value.startswith("Nobody")]
    assert said == [f"Nobody met anybody: somebody was there alone, for {minutes}.0 minutes." for minutes in (30, 10)]


def test_restated_records_are_counted_and_their_fields_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = call("1", 0, 10, user={"name": "Ann"}), call("1", 0, 20, user={"name": "Bea"})
    build(tmp_path, (DAY, [first, call("2", 0, 5, sip="perhaps")]), (DAY, [second]))
    page = show(monkeypatch, tmp_path, "conferences", ONE_DAY, {"conf_num": "c"})
    said = page.markdown[-1].value
    assert said == "2 records, 1 of which EnableX has restated. Fields that could not be read: sip."
    changes = page.dataframe[-1].value
    assert dict(zip(changes["field"], changes["changes"], strict=True)) == {
        "room.disconnect_dt": 1,
        "room.duration": 1,
        "user.name": 1,
    }


def test_hostile_texts_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {"ref": HOSTILE, "name": HOSTILE, "role": HOSTILE}
    room = {"room_id": HOSTILE, "connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T10:30:00Z", "duration": 1800}
    build(tmp_path, (DAY, [{**call("1", 0, 30), "conf_num": HOSTILE, "room": room, "user": user}]), in_clear=True)
    page = show(monkeypatch, tmp_path, "conferences", ONE_DAY, {"conf_num": HOSTILE})
    written = [each.value for each in (*page.markdown, *page.header, *page.subheader, *page.caption)]
    assert any("http" in each for each in written)
    assert [each for each in written if re.search(r"(?<!\\)[\[<*$:][A-Za-z]", each) or len(each) > 400] == []


def test_a_number_that_is_not_there_says_how_to_fetch_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "conferences", query={"conf_num": "no such number"})
    assert "fetch_conference" in page.warning[0].value
    page.button[0].click().run()
    assert "conf_num" not in page.query_params
    assert len(page.dataframe) == 1


def test_people_in_clear_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [{"ref": "a", "name": "Ann"}, {"ref": "b", "name": "Ann"}, {"name": "Ann"}]
    build(tmp_path, (DAY, [call(str(place), 0, 5, user=user) for place, user in enumerate(users)]), in_clear=True)
    page = show(monkeypatch, tmp_path, "conferences", ONE_DAY, {"conf_num": "c"})
    assert sorted(page.dataframe[0].value["Person"]) == ["Ann", "Ann (2)", "Ann (3)"]
