"""Checks in real runs: how long they stay red, and what they say of days that a run did not look at."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import dagster as dg
import duckdb
import pytest

from cdr_assets.pipeline.checks import CHECKS, unanswered
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.expected import TABLES, read
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Location, Script, checks, failure, lengthen, record, red, run_checks, sample_of
from cdr_assets_tests.places import by_hand
from cdr_assets_tests.ticks import tick

DAY = date(2026, 11, 18)
NEXT = DAY + timedelta(days=1)
HTML = answer(b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})
LOST, QUARANTINED, VANISHED = (
    "no_field_was_lost_to_its_type",
    "no_record_was_set_aside",
    "no_record_vanished_upstream",
)
MANY = [record(str(number), DAY) for number in range(61)]


def odd(cdr_id: str, day: date) -> dict[str, Any]:
    return record(cdr_id, day, conf_num=None, sip="perhaps")


def plain(cdr_id: str, day: date) -> dict[str, Any]:
    return record(cdr_id, day, conf_num=None)


def findings(location: Location) -> list[tuple[date, str, int]]:
    rows = read(location.places, "check_findings")
    return sorted((row["usage_date"], row["check_name"], row["count"]) for row in rows)


def latest(location: Location, check: str, asset: str = "call_detail_records") -> Any:
    """The check's newest result, as the UI shows it."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    return location.instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)


def history(location: Location, check: str, asset: str = "call_detail_records") -> list[str]:
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    records = location.instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return [each.status.value for each in records]


def test_a_finding_stays_red_when_other_days_are_built(scripted: Location, script: Script) -> None:
    script.holds(DAY, odd("a", DAY), {"cdr_id": "no day"}, {"cdr_id": "nor here"})
    script.holds(NEXT, plain("b", NEXT))
    assert red(scripted.run(DAY)) == [LOST, QUARANTINED]
    result = scripted.run(NEXT)
    assert result.success
    assert red(result) == [LOST, QUARANTINED]
    lost, quarantined = checks(result)[LOST], checks(result)[QUARANTINED]
    assert (lost.metadata["count"].value, quarantined.metadata["count"].value) == (1, 2)
    assert lost.metadata["open_days"].value == str(DAY)
    assert lost.description == f"1 on {DAY}. Looked at: {NEXT}."
    assert [row["usage_date"] for row in sample_of(lost)] == [str(DAY)]
    assert lost.metadata["what_to_do"].value
    assert findings(scripted) == [(DAY, LOST, 1), (DAY, QUARANTINED, 2)]


def test_records_of_an_answer_that_says_it_is_not_whole_land_and_its_day_is_red_until_it_is(
    scripted: Location, script: Script
) -> None:
    body = {"result": "0", "cdr": [plain("a", DAY)], "next_page_token": "a-secret", "total": 2}
    script.answers_with(DAY, answer(json.dumps(body).encode()))
    result = scripted.run(DAY)
    assert result.success
    assert red(result) == ["the_answer_is_whole"]
    (whole,) = [check for name, check in checks(result).items() if name == "the_answer_is_whole"]
    assert [row["answer"] for row in sample_of(whole)] == ["next_page_token is set", "total is 2, the list has 1"]
    assert len(read(scripted.places, "call_detail_records")) == 1
    script.holds(DAY, plain("a", DAY), plain("b", DAY))
    assert red(scripted.run(DAY)) == []


def test_a_finding_is_closed_when_its_day_is_looked_at_again_and_is_clean(scripted: Location, script: Script) -> None:
    for day in (DAY, NEXT):
        script.holds(day, odd(f"a-{day}", day))
    assert checks(scripted.run(DAY, NEXT))[LOST].metadata["open_days"].value == f"{DAY}...{NEXT}"
    script.holds(DAY, plain(f"a-{DAY}", DAY))
    result = scripted.run(DAY)
    assert checks(result)[LOST].metadata["open_days"].value == str(NEXT)
    script.holds(NEXT, plain(f"a-{NEXT}", NEXT))
    assert red(scripted.run(NEXT)) == []
    assert findings(scripted) == []


def test_a_run_that_fails_leaves_a_red_check_red_and_makes_none_green(scripted: Location, script: Script) -> None:
    script.holds(DAY, odd("a", DAY))
    scripted.run(DAY)
    script.answers_with(NEXT, HTML)
    result = scripted.run(NEXT)
    assert not result.success
    assert {name: evaluation.passed for name, evaluation in checks(result).items()} == {LOST: False}
    assert checks(result)[LOST].description == f"1 on {DAY}. Not looked at in this run."


def test_before_anything_was_built_no_check_has_a_result(scripted: Location, script: Script) -> None:
    script.answers_with(DAY, HTML)
    assert checks(scripted.run(DAY)) == {}
    assert [*checks(run_checks(scripted))] == ["no_day_is_overdue"], "it is about days that are not there"
    assert history(scripted, LOST) == ["PLANNED"], "it was asked for, and has no result"


def materialized(location: Location, first: date, last: date | None = None) -> dg.ExecuteInProcessResult:
    """What "Materialize all" does in the UI: the run plans every check."""
    ends = {"start": str(first), "end": str(last)} if last else {}
    everything = location.definitions.resolve_implicit_global_asset_job_def()
    return everything.get_subset(asset_selection={dg.AssetKey(asset) for asset in CHECKS}).execute_in_process(
        instance=location.instance,
        partition_key=None if last else str(first),
        tags={f"dagster/asset_partition_range_{end}": day for end, day in ends.items()},
        raise_on_error=False,
    )


@pytest.mark.parametrize("last", [None, NEXT])
def test_a_run_that_did_not_reach_a_check_leaves_it_as_it_was(
    scripted: Location, script: Script, last: date | None
) -> None:
    for day in (DAY, NEXT):
        script.holds(day, odd(f"a-{day}", day))
        assert materialized(scripted, day).success
    run_checks(scripted)
    before = {key.name: latest(scripted, key.name, asset) for asset, key in every_check(scripted)}
    assert before["no_day_is_overdue"].status.value == before["room_usage_adds_up"].status.value == "SUCCEEDED"
    script.answers_with(DAY, HTML)
    assert not materialized(scripted, DAY, last).success
    after = {key.name: latest(scripted, key.name, asset) for asset, key in every_check(scripted)}
    assert {name: record.status for name, record in after.items()} == {
        name: record.status for name, record in before.items()
    }
    assert after["room_usage_adds_up"].evaluation.description == before["room_usage_adds_up"].evaluation.description


def every_check(location: Location) -> list[tuple[str, dg.AssetCheckKey]]:
    keys = location.definitions.resolve_asset_graph().asset_check_keys
    return [(key.asset_key.to_user_string(), key) for key in keys if not key.name.endswith("_over_all_days")]


def test_a_run_that_was_killed_leaves_its_checks_as_they_were(scripted: Location, script: Script) -> None:
    script.holds(DAY, plain("a", DAY))
    assert materialized(scripted, DAY).success
    job = scripted.definitions.resolve_implicit_global_asset_job_def()
    run = scripted.instance.create_run_for_job(job, tags={"dagster/partition": str(DAY)})
    assert latest(scripted, "room_usage_adds_up", "room_usage").status.value == "PLANNED"
    assert not list(unanswered(scripted.instance)), "it may still evaluate them"
    scripted.instance.report_run_failed(run)
    for result in tick(scripted, "closed_days").asset_events:
        scripted.instance.report_runless_asset_event(result)
    assert latest(scripted, "room_usage_adds_up", "room_usage").status.value == "SUCCEEDED"


def test_landing_alone_looks_at_the_checks_of_landing_alone(scripted: Location, script: Script) -> None:
    script.holds(DAY, plain("a", DAY))
    scripted.run(DAY)
    assert set(checks(scripted.run(DAY, assets=["period_cdr"]))) == {QUARANTINED, VANISHED, "the_answer_is_whole"}
    assert set(checks(scripted.run(DAY, assets=["room_usage"]))) == {"room_usage_adds_up"}


def test_a_record_that_vanished_is_a_finding_of_its_day_until_it_is_back(scripted: Location, script: Script) -> None:
    script.holds(DAY, plain("a", DAY), plain("b", DAY))
    script.holds(NEXT, plain("c", NEXT))
    scripted.run(DAY, NEXT)
    script.holds(DAY, plain("a", DAY))
    assert red(scripted.run(DAY, assets=["period_cdr"])) == [VANISHED]
    assert red(scripted.run(NEXT, assets=["period_cdr"])) == [VANISHED]
    script.holds(DAY, plain("a", DAY), plain("b", DAY))
    assert red(scripted.run(DAY, assets=["period_cdr"])) == []


# Exports


def test_a_blocked_day_is_not_exported(scripted: Location, script: Script) -> None:
    script.holds(DAY, *MANY)
    assert scripted.run(DAY).success
    exported = scripted.data_dir / "published" / "room_usage" / f"{DAY}.parquet"
    good = exported.read_bytes()
    lengthen(scripted.places)
    said = failure(scripted.run(DAY, assets=["room_usage"]))
    assert "room_usage_adds_up fails on 2026-11-18" in said
    assert exported.read_bytes() == good

    script.holds(NEXT, plain("b", NEXT))
    result = scripted.run(NEXT)
    assert result.success, "a day that is red holds up no other"
    assert red(result) == ["room_usage_adds_up"]


def test_findings_are_exported_while_they_are_open(scripted: Location, script: Script) -> None:
    exported = scripted.data_dir / "published" / "check_findings" / f"{DAY}.parquet"
    script.holds(DAY, odd("a", DAY))
    scripted.run(DAY)
    with duckdb.connect() as connection:
        (row,) = connection.execute(f"SELECT check_name, count FROM '{exported}'").fetchall()
    assert row == (LOST, 1)
    script.holds(DAY, plain("a", DAY))
    scripted.run(DAY)
    assert not exported.exists()


# "Execute" in the UI


def test_execute_looks_at_every_day_again(scripted: Location, script: Script) -> None:
    for day in (DAY, NEXT):
        script.holds(day, plain(f"a-{day}", day))
    scripted.run(DAY, NEXT)
    with by_hand(scripted.places) as connection:
        connection.execute("UPDATE room_usage SET connections = 0 WHERE usage_date = ?", [DAY])
    result = run_checks(scripted)
    assert result.success
    assert red(result) == ["room_usage_adds_up"]
    assert checks(result)["room_usage_adds_up"].description == f"1 on {DAY}. Looked at: {DAY}...{NEXT}."
    assert scripted.run(DAY, assets=TABLES).success
    assert red(run_checks(scripted)) == []


# What is looked at once a week


FAR = DAY - timedelta(days=8)
UNIQUE = "cdr_id_is_unique_over_all_days"


def run_weekly(location: Location) -> dg.ExecuteInProcessResult:
    """What the schedule starts."""
    schedule = location.definitions.resolve_schedule_def("every_week")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * 0", "UTC")
    with dg.build_schedule_context(instance=location.instance) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    job = location.definitions.resolve_job_def(schedule.job_name)
    return job.execute_in_process(instance=location.instance, tags=dict(request.tags), raise_on_error=False)


def test_a_record_that_moved_far_is_found_by_the_weekly_job(scripted: Location, script: Script) -> None:
    script.holds(DAY, plain("moved", DAY), plain("a", DAY))
    script.holds(FAR, plain("moved", FAR), plain("b", FAR))
    script.holds(NEXT, plain("c", NEXT))
    for day in (FAR, DAY, NEXT):
        result = scripted.run(day)
        assert red(result) == []
        assert UNIQUE not in checks(result), "building a day does not look at it"

    result = run_weekly(scripted)
    assert result.success
    assert set(checks(result)) == {UNIQUE}
    evaluation = checks(result)[UNIQUE]
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.description == f"2 on {FAR}, {DAY}. Looked at: {FAR}, {DAY}...{NEXT}."
    assert sample_of(evaluation) == [
        {"usage_date": str(day), "cdr_id": "moved", "usage_dates": f"{FAR}, {DAY}"} for day in (FAR, DAY)
    ]
    assert findings(scripted) == [(FAR, UNIQUE, 1), (DAY, UNIQUE, 1)]
    assert red(scripted.run(NEXT)) == [UNIQUE], "it stays red in the runs in between"
    assert red(run_checks(scripted)) == [UNIQUE]

    script.holds(DAY, plain("a", DAY))
    assert scripted.run(DAY, replace=True).success
    result = run_weekly(scripted)
    assert UNIQUE not in red(result)
    assert checks(result)[UNIQUE].description == f"No open finding. Looked at: {FAR}, {DAY}...{NEXT}."
    assert UNIQUE not in [check for _, check, _ in findings(scripted)]


def test_the_weekly_job_has_nothing_to_say_before_anything_was_built(scripted: Location) -> None:
    result = run_weekly(scripted)
    assert result.success
    assert checks(result) == {}


# Acknowledged findings


def acknowledge(location: Location, **config: str) -> dg.ExecuteInProcessResult:
    job = location.definitions.resolve_job_def("acknowledge")
    return job.execute_in_process(
        instance=location.instance, run_config={"ops": {"acknowledge": {"config": config}}}, raise_on_error=False
    )


def test_an_acknowledged_finding_is_green_and_shown_with_its_note(scripted: Location, script: Script) -> None:
    for day in (DAY, NEXT):
        script.holds(day, odd(f"a-{day}", day))
    scripted.run(DAY, NEXT)
    result = acknowledge(scripted, check=LOST, first_day=str(DAY), note="EnableX will not mend it")
    assert result.success
    assert checks(result)[LOST].metadata["open_days"].value == str(NEXT)
    result = acknowledge(scripted, check=LOST, first_day=str(DAY), last_day=str(NEXT), note="nor this one")
    evaluation = checks(result)[LOST]
    assert evaluation.passed
    assert [row.data["note"] for row in evaluation.metadata["acknowledged"].records] == [
        "EnableX will not mend it",
        "nor this one",
    ]
    assert latest(scripted, LOST).event.dagster_event.event_specific_data.passed
    # The same finding again is still acknowledged.
    result = scripted.run(DAY, assets=TABLES)
    assert red(result) == []
    assert f"Acknowledged: {DAY}...{NEXT}." in checks(result)[LOST].description


def test_an_acknowledged_finding_that_changes_is_open_again(scripted: Location, script: Script) -> None:
    script.holds(DAY, odd("a", DAY))
    scripted.run(DAY)
    acknowledge(scripted, check=LOST, first_day=str(DAY), note="known")
    script.holds(DAY, odd("a", DAY), odd("b", DAY))
    assert red(scripted.run(DAY)) == [LOST]
    (row,) = read(scripted.places, "check_findings")
    assert (row["count"], row["acknowledged_at"], row["note"]) == (2, None, "known")
    assert row["found_at"] < row["last_seen_at"]


def test_an_acknowledged_blocking_finding_lets_its_day_through(scripted: Location, script: Script) -> None:
    script.holds(DAY, *MANY)
    assert scripted.run(DAY, assets=["period_cdr", "call_detail_records"]).success
    lengthen(scripted.places)
    usages = ["room_usage", "conference_usage"]
    assert not scripted.run(DAY, assets=usages).success
    acknowledge(scripted, check="room_usage_adds_up", first_day=str(DAY), note="a test call")
    assert "conference_usage_adds_up" in failure(scripted.run(DAY, assets=usages)), "it was not looked at before"
    acknowledge(scripted, check="conference_usage_adds_up", first_day=str(DAY), note="a test call")
    assert scripted.run(DAY, assets=usages).success
    assert (scripted.data_dir / "published" / "room_usage" / f"{DAY}.parquet").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"check": "no_such_check", "first_day": str(DAY)}, "there is no check no_such_check"),
        ({"check": LOST, "first_day": "yesterday"}, "first_day is not a day as YYYY-MM-DD: 'yesterday'"),
        ({"check": LOST, "first_day": str(NEXT), "last_day": str(DAY)}, f"first_day {NEXT} is after last_day {DAY}"),
        ({"check": LOST, "first_day": str(NEXT)}, f"{LOST} has no open finding on {NEXT}"),
    ],
)
def test_a_wrong_acknowledgement_is_refused(
    scripted: Location, script: Script, config: dict[str, str], words: str
) -> None:
    script.holds(DAY, odd("a", DAY))
    scripted.run(DAY)
    assert words in failure(acknowledge(scripted, note="known", **config))


# People


PEOPLE = {
    "user": {
        "ref": "customer-of-Ada",
        "name": "Ada Lovelace",
        "ip": "203.0.113.77",
        "agent": "Ada's browser",
        "token": "tok-4711",
        "role": "a role of Ada's",
        "confName": "Ada's wedding",
    },
    "sigserver": {"ip": "203.0.113.78", "duration": "Ada's", "connect_dt": "Ada at noon"},
    "stats_quality": {"of": "Ada"},
    "sip": "Ada?",
}
PERSONAL = ("Ada", "203.0.113", "tok-4711")


def test_nothing_about_a_person_reaches_a_sample_an_event_or_a_log(
    scripted: Location, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    room = {**record("a", DAY)["room"], "duration": 61.5}
    script.holds(FAR, plain("a", FAR) | PEOPLE)
    script.holds(
        DAY,
        plain("a", DAY) | PEOPLE | {"room": room, "conf_num": "c"},
        plain("b", DAY) | PEOPLE | {"trans_date": "when Ada came"},
        *(plain(f"room-{number}", DAY) | PEOPLE for number in range(61)),
    )
    assert [scripted.run(day).success for day in (FAR, DAY)] == [True, True]
    assert run_weekly(scripted).success
    lengthen(scripted.places)
    assert not scripted.run(DAY, assets=["room_usage"]).success
    with by_hand(scripted.places) as connection:
        connection.execute("UPDATE conference_usage SET connections = 0")
        connection.execute("UPDATE attendance SET presence_minutes = 9999")
        connection.execute("UPDATE daily_usage SET peak_connections = 0")
        connection.execute("INSERT INTO call_detail_records FROM call_detail_records WHERE cdr_id = 'room-1'")
        connection.execute("UPDATE call_detail_records SET trans_date = NULL WHERE cdr_id = 'room-2'")
    result = run_checks(scripted)
    assert set(red(result)) == {each.name for table in DAILY_TABLES for each in table.checks} | {QUARANTINED}
    kept = str(read(scripted.places, "check_findings"))
    events = [str(entry) for run in scripted.instance.get_runs() for entry in scripted.instance.all_logs(run.run_id)]
    assert "room-2" in kept
    assert any("room-2" in event for event in events)
    for personal in PERSONAL:
        assert personal in str(read(scripted.places, "call_detail_records")) or personal == "tok-4711"
        assert personal not in kept
        assert [event for event in events if personal in event] == []
        assert personal not in caplog.text


# What the UI lists


def test_a_run_of_a_job_over_a_range_leaves_one_line_in_a_checks_history(scripted: Location, script: Script) -> None:
    for day in (DAY, NEXT):
        script.holds(day, plain(f"a-{day}", day))
    scripted.run(DAY, NEXT)
    assert history(scripted, LOST) == ["SUCCEEDED"]


def test_materializing_one_partition_leaves_one_line_in_a_checks_history(scripted: Location, script: Script) -> None:
    script.holds(DAY, odd("a", DAY))
    everything = scripted.definitions.resolve_implicit_global_asset_job_def()
    assert everything.execute_in_process(instance=scripted.instance, partition_key=str(DAY)).success
    assert history(scripted, LOST) == ["FAILED"]
