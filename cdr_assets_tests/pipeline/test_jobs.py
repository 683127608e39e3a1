"""The jobs by name, run in process: rooms and conferences on demand, and tables from what landed."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

import dagster as dg
import pytest

from cdr_assets.days import days_between, midnight
from cdr_assets.sandbox.calls import records_between, records_of_day
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.expected import TABLES, assert_exact, read
from cdr_assets_tests.holding import QUEUES, held
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import SETTINGS, Locate, Location, Script, failure, lengthen, record
from cdr_assets_tests.reference import Record, utc_day

FIRST = date(2026, 11, 2)
LAST = date(2026, 11, 6)
WEEK = days_between(FIRST, LAST)


def true_records(*days: date) -> list[Record]:
    return list(chain.from_iterable(records_of_day(SETTINGS, day) for day in days))


def days_of(records: list[Record]) -> list[date]:
    return sorted({utc_day(each) for each in records})


BUSY_ROOM = Counter(each["room"]["room_id"] for each in true_records(*WEEK)).most_common()[0][0]
ROOMS_RECORDS = [each for each in true_records(*WEEK) if each["room"]["room_id"] == BUSY_ROOM]
# One that goes on after midnight.
OVERNIGHT = next(
    number
    for number in dict.fromkeys(each["conf_num"] for each in true_records(*WEEK[:3]))
    if len({utc_day(each) for each in true_records(*WEEK) if each["conf_num"] == number}) == 2
)
CONFERENCES_RECORDS = [each for each in true_records(*WEEK) if each["conf_num"] == OVERNIGHT]


def run(location: Location, job: str, day: Any = None, last: Any = None, **config: Any) -> Any:
    """Runs the job with the op's config, as from the launchpad."""
    ends = {"start": str(day), "end": str(last)} if last else {}
    return location.definitions.resolve_job_def(job).execute_in_process(
        instance=location.instance,
        run_config={"ops": {job: {"config": config}}} if config else None,
        partition_key=str(day) if day and not last else None,
        tags={f"dagster/asset_partition_range_{end}": value for end, value in ends.items()},
        raise_on_error=False,
    )


def requested_by_landed_days(location: Location) -> list[dict[str, str]]:
    with dg.build_sensor_context(
        instance=location.instance, definitions=location.definitions, resources=location.definitions.resources
    ) as context:
        requests = location.definitions.resolve_sensor_def("landed_days").evaluate_tick(context).run_requests or []
    return [
        {name.rpartition("_")[2]: day for name, day in request.tags.items() if "partition" in name}
        for request in requests
    ]


def paths(sandbox: Sandbox) -> list[str]:
    return [path.removeprefix("/video/v2") for path, _ in sandbox.requests]


def on_disk(location: Location) -> dict[str, bytes]:
    """Every file but the number of the last request, and locks."""
    files = (path for path in location.data_dir.rglob("*") if path.is_file() and path.name != ".requests")
    return {str(path): path.read_bytes() for path in files if path.suffix != ".lock"}


# Routes


def test_a_room_with_dates_is_asked_for_over_its_period(location: Location, sandbox: Sandbox) -> None:
    assert run(location, "fetch_room", room_id=BUSY_ROOM, from_date=str(FIRST), to_date=str(LAST)).success
    assert paths(sandbox) == [f"/cdr/room-period/{BUSY_ROOM}/{FIRST}/{LAST}"]


@pytest.mark.parametrize("dates", [{}, {"from_date": "", "to_date": ""}])
def test_a_room_without_dates_is_asked_for_whole(
    location: Location, sandbox: Sandbox, dates: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = midnight(LAST) + timedelta(hours=12)
    monkeypatch.setattr(sandbox, "clock", lambda: now)
    assert run(location, "fetch_room", room_id=BUSY_ROOM, **dates).success
    assert paths(sandbox) == [f"/cdr/room/{BUSY_ROOM}"]
    everything = list(records_between(SETTINGS, midnight(SETTINGS.start), now, BUSY_ROOM))
    assert location.materialized_days("room_cdr") == set(map(str, days_of(everything)))


def test_a_conference_is_asked_for_by_its_number(location: Location, sandbox: Sandbox) -> None:
    assert run(location, "fetch_conference", conf_num=OVERNIGHT).success
    assert paths(sandbox) == [f"/cdr/conf/{OVERNIGHT}"]


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        ({"from_date": "2026-11-02"}, "from_date is given without to_date"),
        ({"to_date": "2026-11-02"}, "to_date is given without from_date"),
        ({"from_date": "2026-11-02", "to_date": ""}, "from_date is given without to_date"),
        ({"from_date": "", "to_date": "2026-11-02"}, "to_date is given without from_date"),
        ({"from_date": "2.11.2026", "to_date": "2026-11-02"}, "from_date is not a day as YYYY-MM-DD: '2.11.2026'"),
        ({"from_date": "2026-11-03", "to_date": "2026-11-02"}, "from_date 2026-11-03 is after to_date 2026-11-02"),
    ],
)
def test_dates_that_are_no_period_are_refused_before_any_call(
    location: Location, sandbox: Sandbox, dates: dict[str, str], words: str
) -> None:
    assert words in failure(run(location, "fetch_room", room_id=BUSY_ROOM, **dates))
    assert sandbox.requests == []
    assert location.landed() == {}


@pytest.mark.parametrize(("job", "name"), [("fetch_room", "room_id"), ("fetch_conference", "conf_num")])
def test_an_id_that_was_left_blank_is_refused_before_any_call(
    location: Location, sandbox: Sandbox, job: str, name: str
) -> None:
    for blank in ("", "  "):
        assert f"BadParameter: {name} is empty: give the " in failure(run(location, job, **{name: blank}))
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("job", "config", "path", "words"),
    [
        ("fetch_room", {"room_id": "nowhere"}, "/cdr/room/nowhere", "No room 'nowhere'"),
        (
            "fetch_room",
            {"room_id": "nowhere", "from_date": str(FIRST), "to_date": str(LAST)},
            f"/cdr/room-period/nowhere/{FIRST}/{LAST}",
            "No room 'nowhere'",
        ),
        ("fetch_conference", {"conf_num": "never"}, "/cdr/conf/never", "No conference 'never'"),
    ],
)
def test_an_id_that_enablex_does_not_know_is_reported_in_its_words_and_changes_nothing(
    location: Location, sandbox: Sandbox, job: str, config: dict[str, str], path: str, words: str
) -> None:
    assert location.run(FIRST).success
    before = on_disk(location)
    sandbox.requests.clear()
    result = run(location, job, **config)
    assert words in failure(result)
    assert sandbox.requests == [(f"/video/v2{path}", 404)]
    assert {name: content for name, content in on_disk(location).items() if not name.endswith(".lock")} == {
        name: content for name, content in before.items() if not name.endswith(".lock")
    }
    failed = location.instance.get_run_by_id(result.run_id)
    assert failed
    assert failed.tags["dagster/max_retries"] == "0"
    assert location.materialized_days("room_cdr") | location.materialized_days("conference_cdr") == set()


# What they bring


@pytest.mark.parametrize(
    ("job", "asset", "config", "request_", "records"),
    [
        (
            "fetch_room",
            "room_cdr",
            {"room_id": BUSY_ROOM, "from_date": str(FIRST), "to_date": str(LAST)},
            f"GET /cdr/room-period/{BUSY_ROOM}/{FIRST}/{LAST}",
            ROOMS_RECORDS,
        ),
        (
            "fetch_conference",
            "conference_cdr",
            {"conf_num": OVERNIGHT},
            f"GET /cdr/conf/{OVERNIGHT}",
            CONFERENCES_RECORDS,
        ),
    ],
)
def test_each_day_touched_is_materialized_with_what_it_got(
    location: Location, job: str, asset: str, config: dict[str, str], request_: str, records: list[Record]
) -> None:
    touched = days_of(records)
    assert len(touched) > 1
    assert location.run(touched[0]).success
    result = run(location, job, **config)
    assert result.success
    assert location.materialized_days(asset) == set(map(str, touched))
    for day in touched:
        said = location.metadata(asset, day)
        count = sum(utc_day(each) == day for each in records)
        assert said["request"] == request_
        assert said["records"] == len(records)
        assert said["dagster/partition_row_count"] == count
        assert said["new_records"] == (0 if day == touched[0] else count)
        assert said["changed_records"] == 0
        assert (said["requests"], said["retries"]) == (1, 0)
        assert said["bytes"] > 100 * len(records)
        assert said["seconds"] > 0
        assert said["answer"] == ("nothing new" if day == touched[0] else f"{count} new, 0 changed")
        assert str(touched[0]) in said["days_touched"]
        assert str(touched[-1]) in said["days_touched"]
        assert str(touched[0]) not in said["days_to_rebuild"]
        assert str(touched[-1]) in said["days_to_rebuild"]


def test_tables_of_the_days_fetched_on_demand_are_exact(location: Location, sandbox: Sandbox) -> None:
    assert run(location, "fetch_room", room_id=BUSY_ROOM, from_date=str(FIRST), to_date=str(LAST)).success
    assert run(location, "fetch_conference", conf_num=OVERNIGHT).success
    fetched = {each["cdr_id"]: each for each in (*ROOMS_RECORDS, *CONFERENCES_RECORDS)}
    sandbox.requests.clear()
    for day in days_of(list(fetched.values())):
        assert run(location, "rebuild", day).success
    assert sandbox.requests == []
    assert_exact(location.places, fetched.values())
    assert requested_by_landed_days(location) == []

    # The daily run adds what they did not ask for.
    assert location.run(FIRST, LAST).success
    assert_exact(location.places, true_records(*WEEK))


def test_just_the_days_that_a_fetch_changed_are_rebuilt(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "CDR_START_DATE": str(FIRST)})
    sandbox.faults.late_share, sandbox.faults.late_hours = 1, 1e5
    late = WEEK[2]
    for day in WEEK:
        # Of one day nothing can be seen yet.
        sandbox.faults.late_share = 1 if day == late else 0
        assert location.run(day).success
    sandbox.faults.late_share = 0
    assert requested_by_landed_days(location) == []
    on_that_day = records_of_day(SETTINGS, late)
    room = on_that_day[0]["room"]["room_id"]
    assert run(location, "fetch_room", room_id=room, from_date=str(FIRST), to_date=str(LAST)).success
    assert requested_by_landed_days(location) == [{"dagster/partition": str(late)}]
    assert run(location, "rebuild", late).success
    of_the_room = [each for each in on_that_day if each["room"]["room_id"] == room]
    assert_exact(location.places, [*true_records(*(day for day in WEEK if day != late)), *of_the_room])
    assert requested_by_landed_days(location) == []


def test_a_fetch_that_brings_nothing_new_rebuilds_nothing(location: Location) -> None:
    assert location.run(FIRST, LAST).success
    assert run(location, "fetch_room", room_id=BUSY_ROOM, from_date=str(FIRST), to_date=str(LAST)).success
    assert location.metadata("room_cdr", days_of(ROOMS_RECORDS)[0])["days_to_rebuild"] == "none"
    assert requested_by_landed_days(location) == []


def test_records_before_the_start_date_land_and_the_metadata_say_so(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(FIRST)})
    early = FIRST - timedelta(days=1)
    records = [record("early", early), record("in time", FIRST)]
    script.answers["/cdr/conf/c"] = answer(json.dumps({"result": "0", "cdr": records}).encode())
    assert run(location, "fetch_conference", conf_num="c").success
    assert {path.split("/")[1] for path in location.landed()} == {f"usage_date={early}", f"usage_date={FIRST}"}
    assert location.materialized_days("conference_cdr") == {str(FIRST)}
    said = location.metadata("conference_cdr", FIRST)
    assert said["before_start_date"] == f"{early}: in the landing zone, not built by the sensors"
    assert (said["days_touched"], said["days_to_rebuild"]) == (f"{early}...{FIRST}", str(FIRST))
    assert requested_by_landed_days(location) == [{"dagster/partition": str(FIRST)}]


def test_records_that_are_all_from_before_the_start_date_are_told_in_the_log(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(FIRST)})
    early = FIRST - timedelta(days=1)
    script.answers["/cdr/conf/c"] = answer(json.dumps({"result": "0", "cdr": [record("early", early)]}).encode())
    result = run(location, "fetch_conference", conf_num="c")
    assert result.success
    said = [event.message for event in location.instance.all_logs(result.run_id)]
    assert f"Records from before CDR_START_DATE: {early}: in the landing zone, not built by the sensors" in said
    assert location.materialized_days("conference_cdr") == set()


# Waiting for the tables


def check_results(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


@pytest.mark.parametrize(
    ("job", "config"), [("fetch_conference", {"conf_num": OVERNIGHT}), ("fetch_room", {"room_id": BUSY_ROOM})]
)
def test_with_wait_the_tables_hold_what_came_when_the_run_ends(
    locate: Locate, sandbox: Sandbox, job: str, config: dict[str, str]
) -> None:
    location = locate({**sandbox.environment, "CDR_START_DATE": str(FIRST)})
    period = {"from_date": str(FIRST), "to_date": str(LAST)} if job == "fetch_room" else {}
    records = CONFERENCES_RECORDS if job == "fetch_conference" else ROOMS_RECORDS
    result = run(location, job, wait=True, **config, **period)
    assert result.success
    assert_exact(location.places, records)
    for asset in TABLES:
        assert location.materialized_days(asset) == set(map(str, days_of(records)))
        for day in days_of(records):
            assert location.metadata(asset, day)["build"] == "built"
            assert location.metadata(asset, day)["provisional"] is True
    assert requested_by_landed_days(location) == []
    results = check_results(result)
    assert results["conference_usage_adds_up"]
    assert all(results.values())
    # EnableX is asked once, as without waiting.
    assert len(sandbox.requests) == 1


def test_with_wait_a_conference_of_fifty_people_takes_seconds(locate: Locate, sandbox: Sandbox) -> None:
    sandbox.settings = replace(SETTINGS, connections=2000)
    connections = Counter(each["conf_num"] for each in records_of_day(sandbox.settings, FIRST))
    number = next(number for number, count in connections.items() if count >= 50)
    location = locate({**sandbox.environment, "CDR_START_DATE": str(FIRST)})
    began = time.process_time()
    assert run(location, "fetch_conference", conf_num=number, wait=True).success
    # Not on the clock: other tests may run at the same time.
    assert time.process_time() - began < 10
    found = {row["conf_num"]: row for row in read(location.places, "conference_usage")}
    assert found[number]["connections"] == connections[number]
    assert found[number]["participants"] > 20


def test_with_wait_days_that_are_current_are_left_alone_and_others_are_built(location: Location) -> None:
    first, second = days_of(CONFERENCES_RECORDS)
    assert location.run(first).success
    assert run(location, "fetch_conference", conf_num=OVERNIGHT).success
    # Nothing lands now. The second day has landed, and is not built yet.
    result = run(location, "fetch_conference", conf_num=OVERNIGHT, wait=True)
    assert result.success
    materialized = {
        (event.asset_key.to_user_string(), event.partition) for event in result.get_asset_materialization_events()
    }
    assert {day for asset, day in materialized if asset in TABLES} == {str(second)}
    on_second = [each for each in CONFERENCES_RECORDS if utc_day(each) == second]
    assert_exact(location.places, [*true_records(first), *on_second])


def test_with_wait_the_days_that_lost_a_record_are_built_too(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(FIRST)})
    later = FIRST + timedelta(days=1)
    script.holds(FIRST, record("a", FIRST), record("b", FIRST))
    assert location.run(FIRST).success
    moved = record("b", later)
    script.answers["/cdr/conf/c"] = answer(json.dumps({"result": "0", "cdr": [moved]}).encode())
    assert run(location, "fetch_conference", conf_num="c", wait=True).success
    assert_exact(location.places, [record("a", FIRST), moved])
    assert requested_by_landed_days(location) == []


def test_with_wait_and_nothing_to_build_the_run_ends(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(FIRST)})
    records = [record("early", FIRST - timedelta(days=1))]
    script.answers["/cdr/conf/c"] = answer(json.dumps({"result": "0", "cdr": records}).encode())
    script.answers["/cdr/conf/none"] = answer(b'{"result": "0", "cdr": []}')
    for conf_num in ("c", "none"):
        assert run(location, "fetch_conference", conf_num=conf_num, wait=True).success
    assert all(location.materialized_days(asset) == set() for asset in TABLES)


def test_with_wait_another_that_holds_the_tables_is_waited_for(location: Location) -> None:
    assert location.run(days_of(CONFERENCES_RECORDS)[0]).success
    with ThreadPoolExecutor(1) as pool, held(location.places.file, QUEUES) as holder:
        waiting = pool.submit(run, location, "fetch_conference", conf_num=OVERNIGHT, wait=True)
        while not location.materialized_days("conference_cdr"):
            assert not waiting.done()
            wait([waiting], timeout=0.05)
        assert not waiting.done()
        holder.communicate("")
        assert waiting.result().success
    assert requested_by_landed_days(location) == []


def test_a_check_that_blocks_a_day_fails_the_run_that_waits(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_START_DATE": str(FIRST)})
    script.holds(FIRST, *(record(str(number), FIRST) for number in range(61)))
    assert location.run(FIRST).success
    lengthen(location.places)
    script.answers["/cdr/conf/c"] = answer(json.dumps({"result": "0", "cdr": [record("b", FIRST)]}).encode())
    result = run(location, "fetch_conference", conf_num="c", wait=True)
    assert "room_usage_adds_up fails on" in failure(result)
    assert check_results(result)["room_usage_adds_up"] is False


# rebuild


def test_without_the_warehouse_rebuild_makes_every_table_from_what_landed(location: Location, sandbox: Sandbox) -> None:
    assert location.run(FIRST, LAST).success
    location.places.file.unlink()
    sandbox.requests.clear()
    assert run(location, "rebuild", FIRST, LAST).success
    assert sandbox.requests == []
    assert_exact(location.places, true_records(*WEEK))


def test_rebuild_offers_no_setting(location: Location) -> None:
    job: Any = location.definitions.resolve_job_def("rebuild")
    (step,) = job.graph.node_defs
    assert step.config_schema.config_type.fields == {}
    daily: Any = location.definitions.resolve_job_def("daily_cdr")
    assert set(daily.graph.node_defs[0].config_schema.config_type.fields) == {"replace"}


def test_replace_needs_a_run_that_fetches(location: Location) -> None:
    assert location.run(FIRST).success
    result = location.run(FIRST, assets=TABLES, replace=True)
    assert failure(result) == "BadParameter: replace is for runs that fetch: select period_cdr too"


def test_rebuild_needs_no_credentials(locate: Locate, location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    assert location.run(FIRST).success
    location.places.file.unlink()
    for name in ("ENABLEX_APP_ID", "ENABLEX_APP_KEY", "ENABLEX_BASE_URL"):
        monkeypatch.delenv(name)
    assert run(locate({}, location.data_dir), "rebuild", FIRST).success
    assert_exact(location.places, true_records(FIRST))


# The launchpad


@pytest.mark.parametrize(
    ("job", "required", "optional"),
    [("fetch_room", {"room_id"}, {"from_date", "to_date", "wait"}), ("fetch_conference", {"conf_num"}, {"wait"})],
)
def test_the_launchpad_shows_what_each_field_is(
    location: Location, job: str, required: set[str], optional: set[str]
) -> None:
    node: Any = location.definitions.resolve_job_def(job).get_node_named(job)
    fields = node.definition.config_schema.config_type.fields
    assert {name for name, field in fields.items() if field.is_required} == required
    assert set(fields) == required | optional
    assert all(field.description for field in fields.values())


def test_materialize_all_needs_no_config_and_leaves_the_jobs_on_demand_alone(
    location: Location, sandbox: Sandbox
) -> None:
    everything = location.definitions.resolve_implicit_global_asset_job_def()
    assert everything.execute_in_process(instance=location.instance, partition_key=str(FIRST)).success
    assert paths(sandbox) == [f"/cdr/period/{FIRST}/{FIRST}"]
    for asset in ("period_cdr", *TABLES):
        assert location.materialized_days(asset) == {str(FIRST)}
    for asset in ("room_cdr", "conference_cdr"):
        assert location.materialized_days(asset) == set()
