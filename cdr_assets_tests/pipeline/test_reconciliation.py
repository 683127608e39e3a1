"""The check routes_agree, in real daily runs against routes that agree and routes that do not."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import chain
from typing import Any

import dagster as dg
import pytest

from cdr_assets.sandbox.calls import records_of_day
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.expected import assert_exact
from cdr_assets_tests.httpserver import Answer, answer
from cdr_assets_tests.location import SETTINGS, Locate, Location, Script, checks, record, red, sample_of
from cdr_assets_tests.reference import Record

DAY = date(2026, 11, 3)
BEFORE, NEXT = DAY - timedelta(days=1), DAY + timedelta(days=1)


ROUTES = dg.AssetCheckKey(dg.AssetKey("call_detail_records"), "routes_agree")


def holding(*records: Record) -> Answer:
    return answer(json.dumps({"result": "0", "cdr": records}).encode())


def room_answers(script: Script, *records: Record) -> None:
    script.answers[f"/cdr/room-period/r/{DAY}/{DAY}"] = holding(*records)


def conference_answers(script: Script, *records: Record) -> None:
    script.answers["/cdr/conf/c"] = holding(*records)


def in_no_conference(cdr_id: str, **fields: Any) -> Record:
    return record(cdr_id, DAY, conf_num=None, **fields)


@pytest.fixture
def sampling(locate: Locate, script: Script) -> Location:
    """The code location over what the test writes, with the check at its default."""
    return locate({**script.environment, "CDR_AGREEMENT_SAMPLE": "", "CDR_START_DATE": str(BEFORE)})


def routes_agree(result: dg.ExecuteInProcessResult) -> Any:
    return checks(result)["routes_agree"]


def differences(result: dg.ExecuteInProcessResult) -> list[list[str]]:
    """The rows of the check's sample, without the day that each begins with."""
    return [[value for name, value in row.items() if name != "usage_date"] for row in sample_of(routes_agree(result))]


def requested_by_landed_days(location: Location) -> list[str]:
    with dg.build_sensor_context(
        instance=location.instance, definitions=location.definitions, resources=location.definitions.resources
    ) as context:
        result = location.definitions.resolve_sensor_def("landed_days").evaluate_tick(context)
    return [request.tags["dagster/partition"] for request in result.run_requests or []]


@pytest.mark.parametrize(("sample", "asked"), [("", 2), ("1", 1), ("3", 3)])
def test_routes_that_agree_are_green(locate: Locate, sandbox: Sandbox, sample: str, asked: int) -> None:
    location = locate({**sandbox.environment, "CDR_AGREEMENT_SAMPLE": sample})
    result = location.run(DAY)
    assert result.success
    assert red(result) == []
    assert routes_agree(result).description == f"No open finding. Looked at: {DAY}."
    paths = [path.split("/")[4] for path, status in sandbox.requests if status == 200]
    assert paths == ["period", *["room-period"] * asked, *["conf"] * asked]
    records = records_of_day(SETTINGS, DAY)
    assert_exact(location.places, records)
    rooms = [path.split("/")[5] for path, _ in sandbox.requests if "room-period" in path]
    by_size = sorted({each["room"]["room_id"] for each in records}, key=lambda room: connections(records, room))
    assert {connections(records, room) for room in rooms} == {connections(records, room) for room in by_size[-asked:]}


def connections(records: list[Record], room: str) -> int:
    return sum(each["room"]["room_id"] == room for each in records)


def test_a_range_asks_for_its_last_day_alone(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "CDR_AGREEMENT_SAMPLE": "1"})
    result = location.run(BEFORE, DAY)
    assert routes_agree(result).metadata["days"].value == str(DAY)
    assert [path for path, _ in sandbox.requests if "room-period" in path and not path.endswith(f"/{DAY}/{DAY}")] == []
    assert len(sandbox.requests) == 4


def test_records_that_only_a_route_has_are_shown_and_land_in_the_same_runs_tables(
    sampling: Location, script: Script
) -> None:
    early, late, later = record("early", DAY), record("late", DAY), record("later", DAY)
    script.holds(DAY, early)
    room_answers(script, early, late)
    conference_answers(script, early, late, later)
    result = sampling.run(DAY)
    assert result.success
    assert red(result) == ["routes_agree"]
    assert routes_agree(result).severity == dg.AssetCheckSeverity.WARN
    assert routes_agree(result).metadata["count"].value == 3
    assert differences(result) == [
        ["room-period", "r", "late", "only in the route's answer"],
        ["conf", "c", "late", "only in the route's answer"],
        ["conf", "c", "later", "only in the route's answer"],
    ]
    assert_exact(sampling.places, [early, late, later])
    assert requested_by_landed_days(sampling) == []

    script.holds(DAY, early, late, later)
    room_answers(script, early, late, later)
    assert red(sampling.run(DAY)) == []


@pytest.mark.lake
@pytest.mark.parametrize("text", ["a\0b", "Bob Miller"])
def test_rooms_and_conferences_without_an_id_are_not_sampled(sampling: Location, script: Script, text: str) -> None:
    odd = record("odd", DAY, conf_num=text)
    script.holds(DAY, odd | {"room": odd["room"] | {"room_id": text}})
    assert red(sampling.run(DAY)) == []
    assert script.paths == [f"/cdr/period/{DAY}/{DAY}"]


def test_a_routes_records_of_another_day_land_there_and_that_day_is_rebuilt(sampling: Location, script: Script) -> None:
    evening, morning = record("evening", DAY), record("morning", NEXT)
    script.holds(DAY, evening)
    room_answers(script, evening)
    conference_answers(script, evening, morning)
    result = sampling.run(DAY)
    assert red(result) == []
    assert_exact(sampling.places, [evening])
    assert requested_by_landed_days(sampling) == [str(NEXT)]
    rebuild = sampling.definitions.resolve_job_def("rebuild")
    assert rebuild.execute_in_process(instance=sampling.instance, partition_key=str(NEXT)).success
    assert_exact(sampling.places, [evening, morning])


def test_a_day_done_before_that_a_route_adds_to_is_built_again(sampling: Location, script: Script) -> None:
    first, last, forgotten = record("first", BEFORE), record("last", DAY), record("forgotten", BEFORE)
    script.holds(BEFORE, first)
    script.holds(DAY, last)
    room_answers(script, last)
    conference_answers(script, first, last, forgotten)
    assert sampling.run(BEFORE, DAY).success
    assert_exact(sampling.places, [first, last, forgotten])
    assert requested_by_landed_days(sampling) == []


def test_a_day_built_again_counts_in_the_other_checks_once(sampling: Location, script: Script) -> None:
    odd, late = record("odd", DAY, sip="perhaps"), record("late", DAY)
    script.holds(DAY, odd)
    room_answers(script, odd, late)
    conference_answers(script, odd)
    result = sampling.run(DAY)
    assert_exact(sampling.places, [odd, late])
    lost = checks(result)["no_field_was_lost_to_its_type"]
    assert lost.metadata["count"].value == 1
    assert [row["usage_date"] for row in sample_of(lost)] == [str(DAY)]


def test_records_that_only_the_table_has_are_shown_and_kept(sampling: Location, script: Script) -> None:
    both, gone = in_no_conference("both"), in_no_conference("gone")
    script.holds(DAY, both, gone)
    room_answers(script, both)
    result = sampling.run(DAY)
    assert result.success
    assert differences(result) == [["room-period", "r", "gone", "only in the table"]]
    assert_exact(sampling.places, [both, gone])


def test_other_minutes_are_shown_with_both_sides(sampling: Location, script: Script) -> None:
    room = {"room_id": "r", "connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T10:02:00Z", "duration": 119.5}
    corrected = in_no_conference("a", room=room)
    script.holds(DAY, in_no_conference("a"))
    room_answers(script, corrected)
    result = sampling.run(DAY)
    assert result.success
    assert differences(result) == [
        ["room-period", "r", "a", "119.500 s in the route's answer, 60.000 s in the table"],
    ]
    # It is the newer version of the record.
    assert_exact(sampling.places, [corrected])


def test_the_same_minutes_in_other_words_are_no_difference(sampling: Location, script: Script) -> None:
    room = {"room_id": "r", "connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T10:01:00Z", "duration": "60.000"}
    script.holds(DAY, in_no_conference("a"))
    room_answers(script, in_no_conference("a", room=room))
    assert red(sampling.run(DAY)) == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(b'{"error_code":"NOT_FOUND","message":"No such room"}', 404), "404: NOT_FOUND: No such room"),
        (answer(b"", 500, {"Retry-After": "86400"}), "500: no text"),
        (answer(b"<html>Maintenance</html>"), "GET /cdr/room-period/r/"),
    ],
)
def test_a_route_that_does_not_answer_is_a_warning_and_fails_nothing(
    sampling: Location, script: Script, reply: Answer, words: str
) -> None:
    script.holds(DAY, record("a", DAY))
    script.answers[f"/cdr/room-period/r/{DAY}/{DAY}"] = reply
    conference_answers(script, record("a", DAY))
    result = sampling.run(DAY)
    assert result.success
    assert red(result) == ["routes_agree"]
    evaluation = routes_agree(result)
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.metadata["count"].value == 1
    assert words in str(sample_of(evaluation))
    assert evaluation.metadata["what_to_do"].value
    assert len(script.paths) == 3, "the other route is asked all the same, and none again"
    assert_exact(sampling.places, [record("a", DAY)])


def test_a_sample_of_none_asks_nothing(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "CDR_AGREEMENT_SAMPLE": "0"})
    result = location.run(DAY)
    assert [path for path, _ in sandbox.requests] == [f"/video/v2/cdr/period/{DAY}/{DAY}"]
    assert "routes_agree" not in checks(result)


def test_what_was_found_stays_red_when_nothing_is_sampled_any_more(
    locate: Locate, sampling: Location, script: Script
) -> None:
    script.holds(DAY, in_no_conference("a"))
    room_answers(script)
    assert red(sampling.run(DAY)) == ["routes_agree"]
    script.paths.clear()
    quiet = locate({**script.environment, "CDR_START_DATE": str(BEFORE)}, sampling.data_dir)
    result = quiet.run(DAY, assets=["call_detail_records"])
    assert red(result) == ["routes_agree"]
    assert checks(result)["routes_agree"].metadata["open_days"].value == str(DAY)
    assert "Not looked at in this run." in checks(result)["routes_agree"].description
    assert script.paths == []


def test_a_day_without_calls_asks_nothing(sampling: Location, script: Script) -> None:
    script.holds(DAY)
    assert red(sampling.run(DAY)) == []
    assert script.paths == [f"/cdr/period/{DAY}/{DAY}"]


@pytest.mark.parametrize("assets", [["period_cdr"], ["call_detail_records"], ["room_usage", "conference_usage"]])
def test_a_run_that_does_not_both_fetch_and_build_asks_no_other_route(
    sampling: Location, script: Script, assets: list[str]
) -> None:
    script.holds(DAY, in_no_conference("a"))
    room_answers(script, in_no_conference("a"))
    assert sampling.run(DAY).success
    script.paths.clear()
    assert sampling.run(DAY, assets=assets).success
    assert script.paths == [f"/cdr/period/{DAY}/{DAY}"] * ("period_cdr" in assets)


def test_rebuild_asks_nothing(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "CDR_AGREEMENT_SAMPLE": "2"})
    assert location.run(BEFORE, DAY).success
    sandbox.requests.clear()
    rebuild = location.definitions.resolve_job_def("rebuild")
    result = rebuild.execute_in_process(instance=location.instance, partition_key=str(DAY))
    assert result.success
    assert "routes_agree" not in checks(result)
    assert sandbox.requests == []
    assert_exact(location.places, chain.from_iterable(records_of_day(SETTINGS, day) for day in (BEFORE, DAY)))


def test_execute_asks_for_the_last_day_and_for_the_days_that_did_not_agree(sampling: Location, script: Script) -> None:
    script.holds(DAY, in_no_conference("a"), in_no_conference("gone"))
    script.holds(NEXT, record("b", NEXT, conf_num=None))
    room_answers(script, in_no_conference("a"))
    script.answers[f"/cdr/room-period/r/{NEXT}/{NEXT}"] = holding(record("b", NEXT, conf_num=None))
    assert red(sampling.run(DAY)) == ["routes_agree"]
    assert red(sampling.run(NEXT)) == ["routes_agree"]
    room_answers(script, in_no_conference("a"), in_no_conference("gone"))
    script.paths.clear()
    job = sampling.definitions.resolve_implicit_global_asset_job_def()
    execute = job.get_subset(asset_selection=set(), asset_check_selection={ROUTES})
    result = execute.execute_in_process(instance=sampling.instance)
    assert red(result) == []
    assert routes_agree(result).description == f"No open finding. Looked at: {DAY}...{NEXT}."
    assert script.paths == [f"/cdr/room-period/r/{day}/{day}" for day in (DAY, NEXT)]


def test_a_day_that_is_current_is_not_compared_again(sampling: Location, script: Script) -> None:
    script.holds(DAY, in_no_conference("a"))
    room_answers(script, in_no_conference("a"))
    sampling.run(DAY)
    script.paths.clear()
    result = sampling.run(DAY)
    assert result.success
    assert "routes_agree" not in checks(result)
    assert script.paths == [f"/cdr/period/{DAY}/{DAY}"]
