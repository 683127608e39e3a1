"""A person is found by the reference, which stays out of the address, and has the figures of the warehouse."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from cdr_assets.reports.dashboard.elements import records as rows_of
from cdr_assets.reports.dashboard.pages import people
from cdr_assets.reports.dashboard.period import Period
from cdr_assets_tests.expected import read
from cdr_assets_tests.reports.calls import DAY, build, call
from cdr_assets_tests.reports.dashboard.shown import WHOLE, show

ONE_DAY = Period(DAY, DAY)


def busiest(folder: Path) -> str:
    """The reference of the person with most records."""
    records = read(folder / "cdr.duckdb", "call_detail_records")
    return str(Counter(row["user_ref"] for row in records if row["user_ref"]).most_common(1)[0][0])


def test_a_reference_leads_to_the_person_but_is_not_in_the_address(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = busiest(folder)
    page = show(monkeypatch, folder, "people")
    assert "Give a reference" in page.info[0].value
    page.text_input(key="reference").set_value(reference).run()
    assert [each.message for each in page.exception] == []
    participant = page.query_params["participant"]
    assert reference not in str(page.query_params)
    attended = [row for row in read(folder / "cdr.duckdb", "attendance") if row["participant"] == reference]
    records = [row for row in read(folder / "cdr.duckdb", "call_detail_records") if row["user_ref"] == reference]
    assert {metric.label: metric.value for metric in page.metric} == {
        "Conferences": f"{len(attended):,}",
        "Minutes present": f"{sum(row['presence_minutes'] for row in attended):,.1f}",
        "Minutes alone": f"{sum(row['alone_minutes'] for row in attended):,.1f}",
        "Returns": f"{sum(row['rejoins'] for row in attended):,}",
        "Connections": f"{len(records):,}",
    }
    newest = sorted(attended, key=lambda row: row["first_connect_dt"], reverse=True)
    shown = rows_of(page.dataframe[0].value)
    assert [(row["conf_num"], row["presence_minutes"], row["client"]) for row in shown] == [
        (row["conf_num"], float(row["presence_minutes"]), row["client"]) for row in newest
    ]
    assert shown[0]["page"].startswith(f"conferences?conf_num={newest[0]['conf_num']}&")
    clients = page.dataframe[1].value
    assert dict(zip(clients["key"], clients["value"], strict=True)) == Counter(
        row["client"] for row in attended if row["client"]
    )
    # Only the records of the last 30 days are read.
    last = max(row["last_usage_date"] for row in attended)
    records = [row for row in records if row["usage_date"] > last - timedelta(days=30)]
    assert len(records) < int(page.metric[4].value)
    short = sum(row["room_duration_s"] < 10 for row in records)
    days = f"{last - timedelta(days=29)} to {last}"
    said = f"{short:,} of {len(records):,} connections were shorter than 10 seconds, {days}."
    assert page.markdown[-1].value == said
    ids = {row["cdr_id"] for row in records}
    rated = [
        row for row in read(folder / "cdr.duckdb", "connection_quality") if row["cdr_id"] in ids and row["avg_quality"]
    ]
    good = Counter((row["direction"], row["media"]) for row in rated if row["avg_quality"] == "Good")
    words = {"send": "sent", "receive": "received"}
    expected = {
        f"{words[direction]} {media}": (f"{good[direction, media] / count:.0%}", count)
        for (direction, media), count in Counter((row["direction"], row["media"]) for row in rated).items()
    }
    quality = page.dataframe[2].value.to_dict("records")
    assert {row["Media"]: (row["Good"], row["Rated"]) for row in quality} == expected
    # The address alone leads there again, and so do the first characters of the hash.
    for given in (participant, participant[:8]):
        again = show(monkeypatch, folder, "people", query={"participant": given})
        assert [metric.value for metric in again.metric] == [metric.value for metric in page.metric]


def test_a_long_list_is_cut_but_the_sums_are_of_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "MOST_CONFERENCES", 3)
    reference = busiest(folder)
    page = show(monkeypatch, folder, "people")
    page.text_input(key="reference").set_value(reference).run()
    attended = [row for row in read(folder / "cdr.duckdb", "attendance") if row["participant"] == reference]
    assert page.metric[0].value == str(len(attended))
    assert len(page.dataframe[0].value) == 3
    assert f"The newest 3 of {len(attended)}." in page.caption[0].value


def test_nobody_of_that_reference_or_hash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "people")
    page.text_input(key="reference").set_value("nobody").run()
    assert "Choose other days" in page.info[0].value
    for given in ("0" * 32, "00000000"):
        page = show(monkeypatch, folder, "people", query={"participant": given})
        assert "Choose other days" in page.info[0].value
    page = show(monkeypatch, folder, "people", query={"participant": "**Ann**"})
    assert page.warning[0].value.startswith(r"\*\*Ann\*\* is no hash")
    assert not page.metric


def test_without_the_key_only_a_hash_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, (DAY, [call("1", 0, 30, user={"ref": "a"})]))
    found = show(monkeypatch, tmp_path, "people", ONE_DAY)
    found.text_input(key="reference").set_value("a").run()
    participant = found.query_params["participant"]
    key = tmp_path / "people.key"
    key.unlink()
    page = show(monkeypatch, tmp_path, "people", ONE_DAY, {"participant": participant})
    assert "CDR" in page.warning[0].value
    assert page.text_input(key="reference").disabled
    assert page.metric[0].value == "1"
    assert not key.exists(), "the dashboard makes no key"
    key.write_text("short\n")
    page = show(monkeypatch, tmp_path, "people", ONE_DAY)
    assert "16 characters or more" in page.warning[0].value


def test_people_in_clear_are_found_by_the_reference_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_seconds = {"connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T10:00:10Z", "duration": 10}
    calls = [
        {**call("4", 0, 0, user={"ref": "a"}), "room": ten_seconds},
        call("1", 0, 30, user={"ref": "a"}),
        call("2", 0, 0, user={"ref": "a"}),
        call("3", 0, 9, user={"name": "b"}),
    ]
    build(tmp_path, (DAY, calls), in_clear=True)
    page = show(monkeypatch, tmp_path, "people", ONE_DAY)
    page.text_input(key="reference").set_value("a").run()
    assert [metric.value for metric in page.metric] == ["1", "30.0", "21.0", "0", "3"]
    assert page.markdown[-1].value == f"1 of 3 connections were shorter than 10 seconds, {DAY}."
    by_name = show(monkeypatch, tmp_path, "people", ONE_DAY, {"participant": "b"})
    assert "only within one conference" in by_name.caption[0].value


def test_a_day_that_is_still_masked_hides_no_connection_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY + timedelta(days=number) for number in range(3)]
    # The first one is masked: once copies are masked, those in clear go.
    for number in (1, 0, 2):
        day = days[number]
        build(
            tmp_path,
            (day, [call(f"{number}", 0, 30, day, conf_num=f"c{number}", user={"ref": "a"})]),
            in_clear=number != 1,
        )
    page = show(monkeypatch, tmp_path, "people", Period(days[0], days[-1]), {"participant": "a"})
    assert page.metric[4].value == "2"
    assert page.markdown[-1].value.startswith("0 of 2 connections")


def test_a_name_is_not_called_absent_but_sought_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = busiest(folder)
    name = next(
        row["user_name"] for row in read(folder / "cdr.duckdb", "attendance") if row["participant"] == reference
    )
    page = show(monkeypatch, folder, "people")
    page.text_input(key="reference").set_value(name).run()
    (said,) = page.info
    assert "not searched by their name" in said.value
    query = said.value.split("`")[1].replace("'...'", "$name")
    with duckdb.connect(folder / "cdr.duckdb", read_only=True) as warehouse:
        found = warehouse.execute(query, {"name": name}).fetchall()
    assert reference in {participant for participant, *_ in found}


@pytest.mark.parametrize("in_clear", [True, False])
def test_a_person_known_by_nothing_has_no_number_for_a_name(
    in_clear: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, (DAY, [call(number * 24, 0, 30) for number in "12"]), in_clear=in_clear)
    page = show(monkeypatch, tmp_path, "conferences", ONE_DAY, {"conf_num": "c"})
    people = page.dataframe[0].value
    assert list(people["Person"]) == ["Unnamed connection", "Unnamed connection (2)"]
    participant = people["Page"][0].partition("participant=")[2].partition("&")[0]
    page = show(monkeypatch, tmp_path, "people", ONE_DAY, {"participant": participant})
    assert page.header[0].value == "Unnamed connection"


def test_a_period_without_a_day_is_an_empty_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(monkeypatch, folder, "people", WHOLE.before, {"participant": "0" * 32})
    assert "Choose other days" in page.info[0].value
