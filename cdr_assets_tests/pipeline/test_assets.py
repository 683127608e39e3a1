"""Real runs of the daily assets, in process, over real HTTP into real DuckDB files."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterable
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler
from itertools import chain
from random import Random
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from cdr_assets.enablex.client import Request
from cdr_assets.landing.ingest import ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline import daily_run
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.sandbox.calls import Settings, Shape, records_of_day
from cdr_assets.sandbox.server import Sandbox
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.checks import look
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, DAILY_TABLES
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.expected import TABLES, assert_exact, in_order, read, without_times
from cdr_assets_tests.httpserver import answer, cut
from cdr_assets_tests.landing.places import content_of, name_in, put
from cdr_assets_tests.location import (
    SETTINGS,
    Locate,
    Location,
    Script,
    checks,
    failure,
    lengthen,
    record,
    red,
    sample_of,
)
from cdr_assets_tests.places import by_hand
from cdr_assets_tests.reference import Record, utc_day
from cdr_assets_tests.warehouse.landed import packed

DAY = date(2026, 11, 2)
NEXT = DAY + timedelta(days=1)
ASSETS = ("period_cdr", *TABLES)
BY_NAME = {table.name: table for table in DAILY_TABLES}
HTML = answer(b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def true_records(days: Iterable[date], settings: Settings = SETTINGS) -> list[Record]:
    return list(chain.from_iterable(records_of_day(settings, day) for day in days))


def requests_for(*days: date) -> list[str]:
    return [f"/cdr/period/{day}/{day}" for day in days]


def everything_said(location: Location, result: dg.ExecuteInProcessResult) -> str:
    """Everything that Dagster keeps of a run: its events, log lines and the run itself."""
    events = location.instance.all_logs(result.run_id)
    run = location.instance.get_run_by_id(result.run_id)
    assert run is not None
    return "\n".join([*(dg.serialize_value(event) for event in events), dg.serialize_value(run)])


# A day


@pytest.mark.parametrize("shape", ["specification", pytest.param("current", marks=pytest.mark.lake)])
def test_a_day_is_asked_for_once_and_its_tables_are_exact(locate: Locate, sandbox: Sandbox, shape: Shape) -> None:
    sandbox.settings = Settings(connections=40, start=SETTINGS.start, shape=shape)
    location = locate({**sandbox.environment, "CDR_AGREEMENT_SAMPLE": ""})
    result = location.run(DAY)
    assert result.success
    assert red(result) == []
    periods = [(path, status) for path, status in sandbox.requests if "/cdr/period/" in path]
    assert periods == [(f"/video/v2/cdr/period/{DAY}/{DAY}", 200)]
    assert_exact(location.places, true_records([DAY], sandbox.settings))


def test_each_partition_says_what_the_answer_brought(location: Location) -> None:
    location.run(DAY)
    records = true_records([DAY])
    said = location.metadata("period_cdr", DAY)
    expected = {
        "dagster/partition_row_count": len(records),
        "request": f"GET /cdr/period/{DAY}/{DAY}",
        "records": len(records),
        "new_records": len(records),
        "changed_records": 0,
        "vanished_records": 0,
        "set_aside_records": 0,
        "days_to_rebuild": "none",
    }
    assert {name: said[name] for name in expected} == expected
    assert (said["requests"], said["retries"]) == (1, 0)
    assert said["seconds"] > 0
    assert said["bytes"] > 100 * len(records)
    assert said["megabytes"] == round(said["bytes"] / 1e6, 3)
    for table in TABLES:
        # A day before it may have a row, too: a connection can begin before midnight.
        rows = [row for row in read(location.places, table) if row["usage_date"] == DAY]
        assert location.metadata(table, DAY)["dagster/partition_row_count"] == len(rows)


def test_each_partition_shows_its_figures_and_its_largest_rows(location: Location) -> None:
    location.run(DAY)
    location.run(NEXT)
    for table, figure in (
        ("room_usage", "rooms"),
        ("conference_usage", "conferences"),
        ("daily_usage", "participants"),
    ):
        rows = read(location.places, table)
        said = location.metadata(table, NEXT)
        assert said["dagster/row_count"] == len(rows)
        assert said[figure] > 0
        of_day = [row for row in rows if row["usage_date"] == NEXT]
        assert said["participant_minutes"] == float(sum(row["participant_minutes"] for row in of_day))
    for table, name, column in (
        ("room_usage", "busiest_rooms", "room_id"),
        ("conference_usage", "longest_conferences", "conf_num"),
    ):
        shown = [record.data[column] for record in location.metadata(table, NEXT)[name].records]
        of_day = [row[column] for row in read(location.places, table) if row["usage_date"] == NEXT]
        assert len(shown) == min(len(of_day), 10)
        assert set(shown) <= set(of_day)


def test_a_partition_says_how_often_enablex_was_asked(scripted: Location, script: Script) -> None:
    body = json.dumps({"result": "0", "cdr": [record("a", DAY)]}).encode()
    replies = [answer(b"busy", 503, {"Retry-After": "0"}), cut(body, 50), answer(body)]
    script.answers_with(DAY, lambda handler: replies.pop(0)(handler))
    script.holds(NEXT)
    assert scripted.run(DAY, NEXT).success
    said = scripted.metadata("period_cdr", DAY)
    assert (said["requests"], said["retries"], said["bytes"]) == (3, 2, len(b"busy") + 50 + len(body))
    said = scripted.metadata("period_cdr", NEXT)
    assert (said["requests"], said["retries"], said["bytes"]) == (1, 0, len(b'{"result": "0", "cdr": []}'))


def test_the_days_of_a_range_are_asked_for_at_the_pace_that_is_set(locate: Locate, script: Script) -> None:
    came = []

    def count(handler: BaseHTTPRequestHandler) -> None:
        came.append(time.monotonic())
        answer(b'{"result": "0", "cdr": []}')(handler)

    for day in days(DAY, 4):
        script.answers_with(day, count)
    location = locate({**script.environment, "CDR_REQUESTS_PER_MINUTE": "120", "CDR_FETCH_CONCURRENCY": "4"})
    began = time.monotonic()
    assert location.run(DAY, DAY + timedelta(days=3)).success
    assert len(came) == 4
    # Each but the first is sent half a second after the one before.
    assert came[-1] - began > 1.5
    assert (location.data_dir / "pace").exists()


@pytest.mark.parametrize("table", TABLES)
def test_dagster_shows_the_columns_of_each_table(location: Location, table: str) -> None:
    schema = location.definitions.resolve_assets_def(table).metadata_by_key[dg.AssetKey(table)]["dagster/column_schema"]
    shown = [(column.name, column.type, column.description) for column in schema.columns]
    assert shown == list(BY_NAME[table].columns)
    assert all(description for _, _, description in shown)


def test_a_day_without_calls_has_landed(scripted: Location, script: Script) -> None:
    script.holds(DAY)
    result = scripted.run(DAY)
    assert result.success
    assert red(result) == []
    assert_exact(scripted.places, [])
    assert len(scripted.landed()) == 1
    assert [scripted.metadata(asset, DAY)["dagster/partition_row_count"] for asset in ASSETS] == [0] * len(ASSETS)


def test_the_tables_never_hold_the_join_token(location: Location, sandbox: Sandbox) -> None:
    sandbox.settings = Settings(connections=40, start=SETTINGS.start, shape="specification")
    assert all("token" in each["user"] for each in true_records([DAY], sandbox.settings))
    location.run(DAY)
    assert all("eyJhbGciOiJIUzI1NiJ9" not in str(row) for table in TABLES for row in read(location.places, table))


# A range


def test_a_range_equals_its_days_one_by_one(locate: Locate, location: Location, sandbox: Sandbox) -> None:
    span = days(DAY, 4)
    one_by_one = locate(sandbox.environment)
    assert all(one_by_one.run(day).success for day in span)
    sandbox.requests.clear()
    result = location.run(span[0], span[-1])
    assert result.success
    assert red(result) == []
    assert sorted(path for path, _ in sandbox.requests) == [f"/video/v2{path}" for path in requests_for(*span)]
    for table in TABLES:
        rows, expected = (without_times(read(each.places, table)) for each in (location, one_by_one))
        assert in_order(rows) == in_order(expected)
    assert_exact(location.places, true_records(span))


def test_each_day_of_a_range_has_metadata_of_its_own(location: Location) -> None:
    span = days(DAY, 3)
    location.run(span[0], span[-1])
    counts = [len(records_of_day(SETTINGS, day)) for day in span]
    assert len(set(counts)) > 1
    assert [location.metadata("period_cdr", day)["dagster/partition_row_count"] for day in span] == counts
    assert [location.metadata("period_cdr", day)["request"] for day in span] == [
        f"GET /cdr/period/{day}/{day}" for day in span
    ]
    for table in TABLES:
        rows = read(location.places, table)
        counts = [sum(row["usage_date"] == day for row in rows) for day in span]
        said = [location.metadata(table, day)["dagster/partition_row_count"] for day in span]
        # A conference that the next day adds to is counted when its first day is built. It may get people after that.
        assert said == counts or (table == "attendance" and said[-1] == counts[-1])


def test_a_range_of_one_day_is_that_day(location: Location) -> None:
    assert location.run(DAY, DAY).success
    assert_exact(location.places, true_records([DAY]))
    assert [location.materialized_days(asset) for asset in ASSETS] == [{str(DAY)}] * len(ASSETS)


def test_a_range_that_fails_at_its_fourth_day_has_three_good_days_and_goes_on_from_there(
    scripted: Location, script: Script
) -> None:
    span = days(DAY, 6)
    for day in span:
        script.holds(day, *records_of_day(SETTINGS, day))
    script.answers_with(span[3], HTML)

    failed = scripted.run(span[0], span[-1])
    said = failure(failed)
    assert f"Days done: {span[0]}...{span[2]}" in said
    assert f"Days left: {span[3]}...{span[5]}" in said
    assert f"GET /cdr/period/{span[3]}/{span[3]}" in said
    assert_exact(scripted.places, true_records(span[:3]))
    done = {str(day) for day in span[:3]}
    assert [scripted.materialized_days(asset) for asset in ASSETS] == [done] * len(ASSETS)
    assert {*requests_for(*span[:4])} <= {*script.paths}
    assert len(script.paths) == len({*script.paths}), "a day was asked for twice"

    script.holds(span[3], *records_of_day(SETTINGS, span[3]))
    assert scripted.run(span[3], span[-1]).success
    assert_exact(scripted.places, true_records(span))
    assert [len(scripted.materialized_days(asset)) for asset in ASSETS] == [6] * len(ASSETS)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_days_equals_from_scratch(location: Location, seed: int) -> None:
    span = days(DAY, 4)
    overnight = [each for each in true_records(span) if utc_day(each) != date.fromisoformat(started(each))]
    assert overnight, "no conference crosses midnight, so the order of days could not matter"
    order = [*span, *Random(seed).choices(span, k=2)]
    Random(seed).shuffle(order)
    for day in order:
        result = location.run(day)
        assert result.success
        assert red(result) == []
    assert_exact(location.places, true_records(span))


def started(record: Record) -> str:
    text: str = record["room"]["connect_dt"][:10]
    return text


# Landing again


@pytest.mark.lake
def test_the_same_answer_again_changes_nothing(location: Location) -> None:
    location.run(DAY)
    landed, tables = location.landed(), [in_order(read(location.places, table)) for table in TABLES]
    result = location.run(DAY)
    assert result.success
    assert red(result) == []
    assert location.landed() == landed
    assert [in_order(read(location.places, table)) for table in TABLES] == tables
    said = location.metadata("period_cdr", DAY)
    assert [said[f"{kind}_records"] for kind in ("new", "changed", "vanished")] == [0, 0, 0]


@pytest.mark.lake
def test_newer_versions_win_and_new_records_are_added(scripted: Location, script: Script) -> None:
    older, newer = record("a", DAY), record("a", DAY, room={"room_id": "r", "duration": 120})
    script.holds(DAY, older, record("b", DAY))
    scripted.run(DAY)
    script.holds(DAY, record("b", DAY), record("c", DAY), newer)
    result = scripted.run(DAY)
    assert red(result) == []
    assert_exact(scripted.places, [newer, record("b", DAY), record("c", DAY)])
    said = scripted.metadata("period_cdr", DAY)
    assert [said[f"{kind}_records"] for kind in ("new", "changed", "vanished")] == [1, 1, 0]
    assert said["late_records"] == 1
    assert said["late_by_median_s"] > 0
    assert [file.records for file in LandingZone(scripted.places).files(DAY)] == [2, 2]


def test_records_that_vanish_upstream_are_kept_and_shown_until_they_are_dropped_by_hand(
    scripted: Location, script: Script
) -> None:
    kept = [record("a", DAY), record("b", DAY), record("c", DAY)]
    script.holds(DAY, *kept)
    scripted.run(DAY)
    script.holds(DAY, kept[0])

    result = scripted.run(DAY)
    assert result.success
    assert_exact(scripted.places, kept)
    assert scripted.metadata("period_cdr", DAY)["vanished_records"] == 2
    assert red(result) == ["no_record_vanished_upstream"]
    assert checks(result)["no_record_vanished_upstream"].severity == dg.AssetCheckSeverity.WARN

    assert scripted.run(DAY, replace=True).success
    assert_exact(scripted.places, kept[:1])
    result = scripted.run(DAY)
    assert red(result) == []
    assert_exact(scripted.places, kept[:1])


def test_an_outage_that_looks_like_an_empty_day_costs_no_record(scripted: Location, script: Script) -> None:
    script.holds(DAY, record("a", DAY))
    scripted.run(DAY)
    script.holds(DAY)
    result = scripted.run(DAY)
    assert result.success
    assert red(result) == ["no_record_vanished_upstream"]
    assert_exact(scripted.places, [record("a", DAY)])


@pytest.mark.lake
def test_a_failed_run_keeps_the_former_rows_and_files(scripted: Location, script: Script) -> None:
    script.holds(DAY, record("a", DAY))
    scripted.run(DAY)
    landed = scripted.landed()
    body = json.dumps({"cdr": [record("b", DAY)], "result": "1", "error": "no", "desc": "not today"}).encode()
    script.answers_with(DAY, answer(body))
    assert "not today" in failure(scripted.run(DAY, replace=True))
    assert scripted.landed() == landed
    assert_exact(scripted.places, [record("a", DAY)])


# Records of other days, and invalid records


def test_a_range_over_days_that_spill_needs_nothing_further(location: Location, sandbox: Sandbox) -> None:
    sandbox.faults.spill_minutes = 24 * 60
    span = days(DAY, 4)
    spilled = {utc_day(each) for each in true_records([DAY - timedelta(days=1), span[-1] + timedelta(days=1)])}
    assert len(spilled) == 2
    result = location.run(span[0], span[-1])
    assert result.success
    assert red(result) == []
    assert_exact(location.places, true_records(span))
    landed = {path.split("/")[1] for path in location.landed()}
    assert landed == {f"usage_date={day}" for day in (*span, *spilled)}


def test_a_range_rebuilds_its_days_that_a_later_answer_adds_to(scripted: Location, script: Script) -> None:
    first, spilled = record("a", DAY), record("late", DAY)
    script.holds(DAY, first)
    script.holds(NEXT, record("b", NEXT), spilled)
    result = scripted.run(DAY, NEXT)
    assert result.success
    assert red(result) == []
    assert_exact(scripted.places, [first, spilled, record("b", NEXT)])
    assert sorted(script.paths) == requests_for(DAY, NEXT)


@pytest.mark.lake
def test_a_spilled_record_lands_on_its_own_day_which_is_rebuilt_without_a_request(
    scripted: Location, script: Script
) -> None:
    script.holds(DAY, record("a", DAY))
    script.holds(NEXT, record("b", NEXT))
    scripted.run(DAY, NEXT)
    script.holds(DAY, record("a", DAY), record("late", NEXT))
    asked = len(script.paths)

    assert scripted.run(DAY).success
    assert scripted.metadata("period_cdr", DAY)["days_to_rebuild"] == str(NEXT)
    assert_exact(scripted.places, [record("a", DAY), record("b", NEXT)])

    assert scripted.run(NEXT, assets=TABLES).success
    assert_exact(scripted.places, [record("a", DAY), record("b", NEXT), record("late", NEXT)])
    assert len(script.paths) == asked + 1


def test_a_day_is_built_once_if_what_a_later_answer_adds_was_there_in_time(
    scripted: Location, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = NEXT + timedelta(days=1)
    has_landed = threading.Event()

    def ingest_third_first(zone: LandingZone, request: Request, route: str, days: list[date], replace: bool) -> Any:
        if days == [NEXT]:
            assert has_landed.wait(PATIENCE_S)
        ingested = ingest(zone, request, route, days, replace)
        if days == [third]:
            has_landed.set()
        return ingested

    monkeypatch.setattr(daily_run, "ingest", ingest_third_first)
    script.holds(DAY, record("a", DAY))
    script.holds(NEXT, record("b", NEXT))
    script.holds(third, record("late", NEXT), record("c", third))
    assert scripted.run(DAY, third).success
    assert_exact(scripted.places, [record("a", DAY), record("b", NEXT), record("late", NEXT), record("c", third)])
    built = dg.AssetRecordsFilter(dg.AssetKey("call_detail_records"), asset_partitions=[str(NEXT)])
    assert len(scripted.instance.fetch_materializations(built, limit=10).records) == 1


def test_records_spilled_onto_both_sides_are_all_named(location: Location, sandbox: Sandbox) -> None:
    sandbox.faults.spill_minutes = 24 * 60
    location.run(DAY)
    assert location.metadata("period_cdr", DAY)["days_to_rebuild"] == f"{DAY - timedelta(days=1)}, {NEXT}"
    assert_exact(location.places, true_records([DAY]))


def test_a_record_that_moved_to_another_day_is_counted_there_alone(scripted: Location, script: Script) -> None:
    script.holds(DAY, record("moved", DAY), record("a", DAY))
    script.holds(NEXT, record("moved", NEXT))
    for day in (DAY, NEXT, DAY):
        assert scripted.run(day).success
        script.holds(DAY, record("a", DAY))
    assert_exact(scripted.places, [record("a", DAY), record("moved", NEXT)])


def test_the_day_that_a_record_left_is_built_again_in_the_same_run_and_recorded(
    scripted: Location, script: Script
) -> None:
    script.holds(DAY, record("moved", DAY), record("a", DAY))
    assert scripted.run(DAY).success
    script.holds(NEXT, record("moved", NEXT))
    result = scripted.run(NEXT)
    assert result.success
    assert_exact(scripted.places, [record("a", DAY), record("moved", NEXT)])
    assert scripted.metadata("room_usage", DAY)["dagster/partition_row_count"] == 1
    recorded = [(event.asset_key, event.partition) for event in result.get_asset_materialization_events()]
    assert (dg.AssetKey("room_usage"), str(DAY)) in recorded
    assert f"{DAY}...{NEXT}" in checks(result)["room_usage_adds_up"].description


def test_the_day_that_a_record_left_is_due_if_the_run_ends_before_it_is_built_again(
    scripted: Location, script: Script
) -> None:
    script.holds(DAY, record("moved", DAY), record("a", DAY))
    assert scripted.run(DAY).success
    script.holds(NEXT, record("moved", NEXT))
    assert scripted.run(NEXT, assets=["period_cdr", "call_detail_records"]).success
    built = Warehouse(scripted.places).built_partitions()
    assert [table for table, days in built.items() if DAY in days] == ["call_detail_records"]


@pytest.mark.lake
def test_bad_records_in_a_good_answer_are_quarantined_and_cost_no_other(scripted: Location, script: Script) -> None:
    good = records_of_day(SETTINGS, DAY)
    bad = [{"trans_date": f"{DAY}T10:00:00Z", "call_num": "no id"}, {"cdr_id": "no day"}, "no object"]
    script.holds(DAY, bad[0], *good[:3], bad[1], *good[3:], bad[2])
    result = scripted.run(DAY)
    assert result.success
    assert_exact(scripted.places, good)
    assert scripted.metadata("period_cdr", DAY)["set_aside_records"] == 3
    assert red(result) == ["no_record_was_set_aside"]
    assert checks(result)["no_record_was_set_aside"].severity == dg.AssetCheckSeverity.WARN

    files = scripted.places.storage.files("quarantine")
    assert {file.name.split("/")[1] for file in files} == {f"usage_date={DAY}", "usage_date=unknown"}
    quarantined = "".join(content_of(file).decode() for file in files)
    assert all(json.dumps(each) in quarantined for each in bad)
    assert quarantined.count("reason: ") == 3


# Checks


def land_by_hand(location: Location, day: date, *records: Record) -> None:
    zone = LandingZone(location.places)
    put(zone, name_in(day, "20261201T000000.000000Z-period-00000000.ndjson.zst"), packed(records))


MANY = [record(str(number), NEXT) for number in range(61)]


@pytest.mark.parametrize(
    ("check", "records"),
    [
        ("no_record_was_set_aside", [record("a", NEXT), {"cdr_id": "no day"}]),
        ("no_record_vanished_upstream", []),
        ("no_field_was_lost_to_its_type", [record("a", NEXT, sip="perhaps"), record("b", NEXT)]),
        (
            "room_duration_agrees_with_its_timestamps",
            [record("a", NEXT), record("b", NEXT) | {"room": record("b", NEXT)["room"] | {"duration": 61.001}}],
        ),
    ],
)
def test_a_warning_names_what_it_found_and_the_day_is_built_all_the_same(
    scripted: Location, script: Script, check: str, records: list[Record]
) -> None:
    script.holds(DAY, record("first", DAY))
    script.holds(NEXT, record("a", NEXT))
    if check == "no_record_vanished_upstream":
        assert scripted.run(NEXT).success
    script.holds(NEXT, *records)
    result = scripted.run(DAY, NEXT)
    assert result.success
    assert red(result) == [check]
    evaluation = checks(result)[check]
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.metadata["count"].value == 1
    assert evaluation.metadata["days"].value == f"{DAY}...{NEXT}"
    assert str(NEXT) in evaluation.description
    assert {row["usage_date"] for row in sample_of(evaluation)} == {str(NEXT)}
    assert evaluation.metadata["what_to_do"].value
    assert [scripted.materialized_days(asset) for asset in ASSETS] == [{str(DAY), str(NEXT)}] * len(ASSETS)
    # Records that are missing upstream change nothing in the landing zone, so the day is current.
    built = str(DAY) if check == "no_record_vanished_upstream" else f"{DAY}...{NEXT}"
    for other, green in checks(result).items():
        if other != check:
            assert green.metadata["count"].value == 0
            assert green.metadata["days"].value == (
                f"{DAY}...{NEXT}" if other.startswith(("no_record", "the_answer")) else built
            )


@pytest.mark.parametrize(
    ("check", "assets", "sample", "built"),
    [
        ("every_record_lies_in_its_partition", TABLES, "stray", ["call_detail_records"]),
        (
            "room_usage_adds_up",
            ("room_usage", "conference_usage"),
            "r",
            ["period_cdr", "call_detail_records", "room_usage"],
        ),
        (
            "conference_usage_adds_up",
            ("conference_usage",),
            "c",
            ["period_cdr", "call_detail_records", "conference_usage"],
        ),
    ],
)
def test_an_error_stops_the_tables_below(
    scripted: Location, script: Script, check: str, assets: tuple[str, ...], sample: str, built: list[str]
) -> None:
    script.holds(DAY, record("before", DAY))
    assert scripted.run(DAY).success
    if check == "every_record_lies_in_its_partition":
        land_by_hand(scripted, NEXT, record("good", NEXT), record("stray", NEXT + timedelta(days=1)))
    else:
        script.holds(NEXT, *MANY)
        assert scripted.run(NEXT, assets=["period_cdr", "call_detail_records"]).success
        lengthen(scripted.places)

    result = scripted.run(NEXT, assets=assets)
    assert not result.success
    assert check in failure(result)
    assert red(result) == [check]
    evaluation = checks(result)[check]
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["count"].value == 1
    assert evaluation.metadata["days"].value == str(NEXT)
    assert str(NEXT) in evaluation.description
    assert sample in [value for row in sample_of(evaluation) for value in row.values()]
    assert evaluation.metadata["what_to_do"].value
    assert [asset for asset in ASSETS if str(NEXT) in scripted.materialized_days(asset)] == built
    for table in {*TABLES} - {*built}:
        assert NEXT not in {row["usage_date"] for row in read(scripted.places, table)}


@pytest.mark.parametrize("other_day", [DAY, NEXT])
def test_a_row_written_past_the_code_location_is_an_error(scripted: Location, script: Script, other_day: date) -> None:
    script.holds(DAY, record("twice", DAY), record("once", DAY))
    scripted.run(DAY)
    (check,) = (check for check in CALL_DETAIL_RECORDS.checks if check.name == "cdr_id_is_unique")
    with by_hand(scripted.places) as connection:
        connection.execute(
            "INSERT INTO call_detail_records BY NAME SELECT ?::DATE AS usage_date, 'twice' AS cdr_id", [other_day]
        )
        (finding,) = look(connection, CALL_DETAIL_RECORDS, [check], [DAY])
    assert check.blocking
    assert finding.count == 1
    assert finding.sample == [{"cdr_id": "twice", "usage_dates": f"{DAY}, {other_day}"}]

    assert scripted.run(DAY, assets=TABLES).success
    assert_exact(scripted.places, [record("twice", DAY), record("once", DAY)])


@pytest.mark.parametrize("table", ["room_usage", "conference_usage"])
def test_an_error_that_was_mended_is_green_again(scripted: Location, script: Script, table: str) -> None:
    script.holds(NEXT, *MANY)
    assert scripted.run(NEXT, assets=["period_cdr", "call_detail_records"]).success
    lengthen(scripted.places)
    assert red(scripted.run(NEXT, assets=[table])) == [f"{table}_adds_up"]
    result = scripted.run(NEXT, assets=TABLES)
    assert result.success
    assert checks(result)[f"{table}_adds_up"].passed
    assert_exact(scripted.places, MANY)


def test_a_sample_is_short_however_much_was_found(scripted: Location, script: Script) -> None:
    script.holds(DAY, *(record(str(number), DAY, sip="perhaps") for number in range(50)))
    evaluation = checks(scripted.run(DAY))["no_field_was_lost_to_its_type"]
    assert evaluation.metadata["count"].value == 50
    assert len(sample_of(evaluation)) == 10


def test_a_range_names_the_days_that_a_check_failed_on(scripted: Location, script: Script) -> None:
    span = days(DAY, 4)
    for day in span:
        script.holds(day, record(f"a-{day}", day, conf_num=None))
    for day in (span[1], span[3]):
        script.holds(day, record(f"a-{day}", day, conf_num=None, sip="perhaps"))
    evaluation = checks(scripted.run(span[0], span[-1]))["no_field_was_lost_to_its_type"]
    assert not evaluation.passed
    assert evaluation.metadata["count"].value == 2
    assert f"{span[1]}, {span[3]}" in evaluation.description
    assert evaluation.metadata["days"].value == f"{span[0]}...{span[3]}"


# Errors that no retry would mend


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_asked_for_once_and_stops_every_retry(locate: Locate, sandbox: Sandbox, status: int) -> None:
    environment = dict(sandbox.environment)
    if status == 401:
        environment["ENABLEX_APP_KEY"] = "not-the-key"
    else:
        sandbox.faults.fail_status, sandbox.faults.fail_times = status, 9
    location = locate(environment)
    result = location.run(DAY)
    assert str(status) in failure(result)
    assert sandbox.requests == [(f"/video/v2/cdr/period/{DAY}/{DAY}", status)]
    run = location.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert location.materialized_days("period_cdr") == set()


def test_a_refusal_ends_a_range_before_all_its_days_are_asked_for(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "ENABLEX_APP_KEY": "not-the-key", "CDR_FETCH_CONCURRENCY": "2"})
    said = failure(location.run(DAY, DAY + timedelta(days=19)))
    assert "401" in said
    assert "Days done: none" in said
    assert 1 <= len(sandbox.requests) <= 10


@pytest.mark.lake
def test_the_warehouse_is_free_while_an_answer_is_awaited(scripted: Location, script: Script) -> None:
    seen: list[int] = []
    script.holds(DAY, record("a", DAY))

    def after_a_look_at_the_day_before(handler: BaseHTTPRequestHandler) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not seen and time.monotonic() < deadline:
            with Warehouse(scripted.places).connect() as connection:
                seen.extend(connection.execute("SELECT connections FROM conference_usage").fetchone() or ())
        answer(b'{"result": "0", "cdr": []}')(handler)

    script.answers_with(NEXT, after_a_look_at_the_day_before)
    assert scripted.run(DAY, NEXT).success
    assert seen == [1]


def test_an_error_that_may_pass_leaves_retries_as_they_are(scripted: Location, script: Script) -> None:
    script.answers_with(DAY, HTML)
    result = scripted.run(DAY)
    assert not result.success
    run = scripted.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert "dagster/max_retries" not in run.tags


def test_missing_credentials_are_named_before_any_call(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({"ENABLEX_BASE_URL": sandbox.base_url})
    said = failure(location.run(DAY))
    assert "ENABLEX_APP_ID" in said
    assert "ENABLEX_APP_KEY" in said
    assert sandbox.requests == []
    assert location.landed() == {}


def test_no_credential_reaches_dagster(scripted: Location, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    def talkative(handler: BaseHTTPRequestHandler) -> None:
        words = f"refused {handler.headers['Authorization']} of {script.app_key}"
        answer(json.dumps({"error_code": "FORBIDDEN", "message": words}).encode(), 403)(handler)

    script.holds(DAY, record("a", DAY))
    script.answers_with(NEXT, talkative)
    good, refused = scripted.run(DAY), scripted.run(NEXT)
    assert good.success
    assert "refused" in failure(refused)
    said = everything_said(scripted, good) + everything_said(scripted, refused) + "".join(capfd.readouterr())
    assert f"GET /cdr/period/{NEXT}/{NEXT}" in said
    token = base64.b64encode(f"app-id:{script.app_key}".encode()).decode()
    assert script.app_key not in said
    assert token not in said


def test_no_text_of_a_record_reaches_dagster(
    scripted: Location, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    person = {"name": "Zoya Quillfeather", "ip": "198.51.100.77", "token": "eyJhbGciOi.xWvUt", "role": ["Quill"]}
    found = [
        record("a", DAY, user=person),
        record("b", DAY, user=person, sip="Zoya", trans_date="Quillfeather"),
        record("c", DAY, user=person, sip="Zoya", published_track="eyJhbGciOi"),
        record("d", NEXT, user=person),
    ]
    script.holds(DAY, *found)
    runs = [scripted.run(DAY)]
    assert set(red(runs[0])) >= {"no_record_was_set_aside", "no_field_was_lost_to_its_type"}
    whole = json.dumps({"result": "0", "cdr": found})
    for other in (json.dumps(found), json.dumps(found[0]), whole[:-40], whole.replace("cdr", "list"), whole + "Zoya"):
        script.answers_with(DAY, answer(other.encode()))
        runs.append(scripted.run(DAY))
    script.answers_with(DAY, answer(whole.encode(), 500))
    runs.append(scripted.run(DAY))
    assert [run.success for run in runs] == [True] + [False] * 6
    said = "".join([*(everything_said(scripted, run) for run in runs), *capfd.readouterr()])
    assert [word for word in ("Zoya", "Quill", "198.51", "eyJhb", "xWvUt") if word in said] == []


# Some of the assets


def test_room_usage_alone_is_rebuilt_from_the_table_above(location: Location, sandbox: Sandbox) -> None:
    location.run(DAY)
    with by_hand(location.places) as connection:
        connection.execute("UPDATE room_usage SET connections = 0; UPDATE conference_usage SET connections = 0")
    sandbox.requests.clear()
    result = location.run(DAY, assets=["room_usage"])
    assert result.success
    assert sandbox.requests == []
    assert {key.path[-1] for event in result.get_asset_materialization_events() if (key := event.asset_key)} == {
        "room_usage"
    }
    assert list(checks(result)) == ["room_usage_adds_up"]
    assert {row["connections"] for row in read(location.places, "conference_usage")} == {0}
    assert location.run(DAY, assets=["conference_usage"]).success
    assert_exact(location.places, true_records([DAY]))


def test_landing_alone_leaves_the_tables_as_they_are(scripted: Location, script: Script) -> None:
    script.holds(DAY, record("a", DAY))
    scripted.run(DAY)
    script.holds(DAY, record("a", DAY), record("b", DAY))
    assert scripted.run(DAY, assets=["period_cdr"]).success
    assert_exact(scripted.places, [record("a", DAY)])
    assert scripted.run(DAY, assets=TABLES).success
    assert_exact(scripted.places, [record("a", DAY), record("b", DAY)])


@pytest.mark.lake
def test_a_day_that_never_landed_is_not_built(location: Location, sandbox: Sandbox) -> None:
    said = failure(location.run(DAY, assets=TABLES))
    assert f"{DAY} has not landed" in said
    assert "period_cdr" in said
    assert sandbox.requests == []
    assert [location.materialized_days(table) for table in TABLES] == [set()] * len(TABLES)


# Days that are current


def built(location: Location, day: date) -> dict[str, str]:
    return {table: location.metadata(table, day)["build"] for table in TABLES}


def test_a_day_whose_answer_brings_nothing_is_not_built_again_and_says_so(location: Location) -> None:
    assert location.run(DAY).success
    assert set(built(location, DAY).values()) == {"built"}
    counts = {table: location.metadata(table, DAY)["dagster/partition_row_count"] for table in TABLES}
    exported = location.places.exports().files("room_usage")
    assert location.run(DAY).success
    assert set(built(location, DAY).values()) == {"current, not built again"}
    assert {table: location.metadata(table, DAY)["dagster/partition_row_count"] for table in TABLES} == counts
    assert location.places.exports().files("room_usage") == exported


def test_tables_without_a_fetch_are_always_built(location: Location) -> None:
    assert location.run(DAY).success
    assert location.run(DAY, assets=["call_detail_records", "room_usage"]).success
    assert built(location, DAY) == dict.fromkeys(TABLES, "built")


def test_with_replace_a_day_is_always_built(location: Location) -> None:
    assert location.run(DAY).success
    assert location.run(DAY, replace=True).success
    assert set(built(location, DAY).values()) == {"built"}


# Versions, and runs that are tried again


def test_materializations_say_which_data_and_which_code_they_are_of(location: Location) -> None:
    location.run(DAY)

    def versions(asset: str) -> dict[str, str]:
        records = location.instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
        assert records[0].asset_materialization is not None
        return dict(records[0].asset_materialization.tags or {})

    (landed,) = location.landed()
    assert versions("period_cdr")["dagster/data_version"]
    for table in TABLES:
        assert versions(table)["dagster/code_version"] == BY_NAME[table].fingerprint
        assert versions(table)["dagster/data_version"].startswith(versions("period_cdr")["dagster/data_version"])
    before = {table: versions(table) for table in TABLES}
    assert location.run(DAY, assets=TABLES).success
    assert {table: versions(table) for table in TABLES} == before, landed


@pytest.mark.parametrize("by", ["retry", "re-execution"])
def test_a_run_that_is_tried_again_does_the_days_that_are_left(scripted: Location, script: Script, by: str) -> None:
    span = days(DAY - timedelta(days=30), 31)
    for day in span:
        script.holds(day, record(f"a-{day}", day, conf_num=None))
    script.answers_with(span[20], HTML)
    failed = scripted.run(span[0], span[-1])
    assert not failed.success
    script.holds(span[20], record(f"a-{span[20]}", span[20], conf_num=None))
    script.paths.clear()
    parent = scripted.instance.get_run_by_id(failed.run_id)
    assert parent is not None
    again = scripted.definitions.resolve_job_def("daily_cdr").execute_in_process(
        instance=scripted.instance,
        tags={
            **{name: tag for name, tag in parent.tags.items() if "partition_range" in name},
            "dagster/parent_run_id": failed.run_id,
            "dagster/root_run_id": failed.run_id,
            **({"dagster/retry_number": "1"} if by == "retry" else {}),
        },
    )
    assert again.success
    assert sorted(script.paths) == requests_for(*span[20:])
    assert len(script.paths) == 11
    assert scripted.materialized_days("conference_usage") == set(map(str, span))
    assert_exact(scripted.places, [record(f"a-{day}", day, conf_num=None) for day in span])


def test_partitions_link_to_their_page_of_the_dashboard(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_DASHBOARD_URL": "https://bi.example/calls/"})
    script.holds(DAY, record("a", DAY))
    assert location.run(DAY).success
    links = {table: location.metadata(table, DAY).get("dashboard") for table in TABLES}
    days = f"?from={DAY}&to={DAY}"
    assert {table: link for table, link in links.items() if link} == {
        "daily_usage": f"https://bi.example/calls/{days}",
        "room_usage": f"https://bi.example/calls/rooms{days}",
        "conference_usage": f"https://bi.example/calls/conferences{days}",
    }


def test_a_fetch_that_fails_turns_no_table_of_a_complete_day_red(scripted: Location, script: Script) -> None:
    script.holds(DAY, record("a", DAY))
    assert scripted.run(DAY).success
    script.answers_with(DAY, answer(b"", status=400))
    assert not scripted.run(DAY).success
    graph, failed = scripted.definitions.resolve_asset_graph(), set()
    for asset in (PERIOD_CDR, *TABLES):
        partitions = graph.get(dg.AssetKey(asset)).partitions_def
        assert partitions is not None
        found = scripted.instance.get_status_by_partition(dg.AssetKey(asset), [str(DAY)], partitions) or {}
        failed |= {asset for status in found.values() if status is AssetPartitionStatus.FAILED}
    assert failed == {PERIOD_CDR}
