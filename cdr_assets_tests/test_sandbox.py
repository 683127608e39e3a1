"""The sandbox over real HTTP: which calls it holds, how the four routes tell of them, and how it fails on request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import groupby, pairwise
from typing import Any

import pytest
import requests

from cdr_assets.sandbox import calls
from cdr_assets.sandbox.app import Faults
from cdr_assets.sandbox.calls import Record, Settings, records_of_day
from cdr_assets.sandbox.server import Sandbox, serve, ticking
from cdr_assets_tests import MEASURED

SETTINGS = Settings(start=date(2026, 10, 1))
DAY = date(2026, 11, 3)
LONG_AFTER = datetime(2026, 11, 20, tzinfo=timezone.utc)
MODULE = [sys.executable, "-m", "cdr_assets.sandbox"]


def get(sandbox: Sandbox, path: str) -> requests.Response:
    return requests.get(sandbox.base_url + path, auth=(sandbox.app_id, sandbox.app_key), timeout=10)


def cdrs(sandbox: Sandbox, path: str) -> list[Record]:
    response = get(sandbox, path)
    assert response.status_code == 200, response.text
    found: list[Record] = response.json()["cdr"]
    return found


def period(sandbox: Sandbox, first: date = DAY, last: date | None = None) -> list[Record]:
    return cdrs(sandbox, f"/cdr/period/{first}/{last or first}")


def by_id(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: str(record["cdr_id"]))


def ids(records: list[Record]) -> set[str]:
    return {record["cdr_id"] for record in records}


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """Without faults and not to be changed."""
    with serve(SETTINGS, clock=lambda: LONG_AFTER) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    """The same server, put back as it was after the test."""
    settings, clock = shared.settings, shared.clock
    shared.requests.clear()
    yield shared
    shared.settings, shared.clock, shared.faults = settings, clock, Faults()


@pytest.fixture(scope="module")
def month() -> dict[date, list[Record]]:
    return {day: records_of_day(SETTINGS, day) for day in days(date(2026, 10, 5), 28)}


# The calls


def test_a_day_holds_the_same_calls_in_any_process_and_after_any_question() -> None:
    program = (
        "import sys; from datetime import date; from cdr_assets.sandbox.calls import *;"
        "records_of_day(Settings(seed=7), date(2026, 11, 9));"
        "print(*(encode(r).decode() for r in records_of_day(Settings(), date(2026, 11, 3))), sep='\\n')"
    )
    here = [calls.encode(record).decode() for record in records_of_day(Settings(), DAY)]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        elsewhere = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
        assert elsewhere.stdout.decode().splitlines() == here


def test_another_seed_holds_other_calls() -> None:
    other = records_of_day(Settings(seed=2), DAY)
    assert not ids(other) & ids(records_of_day(Settings(seed=1), DAY))


def test_an_earlier_start_leaves_a_day_as_it_is() -> None:
    assert records_of_day(Settings(start=date(2020, 1, 1)), DAY) == records_of_day(SETTINGS, DAY)


def test_ids_are_unique_over_days(month: dict[date, list[Record]]) -> None:
    every = [record["cdr_id"] for records in month.values() for record in records]
    assert len(set(every)) == len(every)
    assert all(len(cdr_id) == 24 and int(cdr_id, 16) for cdr_id in every)


def test_records_lie_on_the_day_of_their_end(month: dict[date, list[Record]]) -> None:
    for day, records in month.items():
        assert {record["trans_date"][:10] for record in records} == {str(day)}
        assert all(record["trans_date"] == record["room"]["disconnect_dt"] for record in records)


@pytest.mark.parametrize("connections", [40, 400, 1_000])
def test_a_working_day_has_as_many_connections_as_asked(connections: int) -> None:
    settings = Settings(connections=connections)
    counts = [len(records_of_day(settings, day)) for day in days(date(2026, 3, 2), 19) if day.weekday() < 5]
    assert sum(counts) / len(counts) == pytest.approx(connections, rel=0.15)


def test_no_connections_are_days_without_calls() -> None:
    assert records_of_day(Settings(connections=0), DAY) == []


def test_weekends_have_fewer_calls(month: dict[date, list[Record]]) -> None:
    working = [len(records) for day, records in month.items() if day.weekday() < 5]
    weekend = [len(records) for day, records in month.items() if day.weekday() >= 5]
    assert 0 < max(weekend) < min(working)


def test_most_calls_happen_in_working_hours(month: dict[date, list[Record]]) -> None:
    hours = [int(record["room"]["connect_dt"][11:13]) for records in month.values() for record in records]
    assert sum(7 <= hour < 19 for hour in hours) > 0.85 * len(hours)


def test_every_day_has_a_conference_over_midnight(month: dict[date, list[Record]]) -> None:
    for today, tomorrow in pairwise(sorted(month)):
        both = {record["conf_num"] for record in month[today]} & {record["conf_num"] for record in month[tomorrow]}
        assert both


def test_a_conference_lies_within_two_adjacent_days(month: dict[date, list[Record]]) -> None:
    seen: dict[str, set[date]] = {}
    for day, records in month.items():
        for record in records:
            seen.setdefault(record["conf_num"], set()).add(day)
    assert {(max(on) - min(on)).days for on in seen.values()} == {0, 1}


def test_some_users_rejoin_a_conference_after_they_left_it(month: dict[date, list[Record]]) -> None:
    def of_user(record: Record) -> tuple[str, str]:
        return record["conf_num"], record["user"]["ref"]

    every = sorted((record for records in month.values() for record in records if record["user"]["ref"]), key=of_user)
    sessions = [[record["room"] for record in group] for _, group in groupby(every, key=of_user)]
    again = [session for session in sessions if len(session) > 1]
    assert 0.05 < len(again) / len(sessions) < 0.3
    for session in again:
        for before, after in pairwise(sorted(session, key=lambda room: (room["connect_dt"], room["disconnect_dt"]))):
            assert before["disconnect_dt"] <= after["connect_dt"]


def test_a_room_recurs_and_hosts_one_conference_at_a_time(month: dict[date, list[Record]]) -> None:
    spans: dict[str, dict[str, list[str]]] = {}
    for record in (record for records in month.values() for record in records):
        room = record["room"]
        span = spans.setdefault(room["room_id"], {}).setdefault(record["conf_num"], [])
        span += [room["connect_dt"], room["disconnect_dt"]]
    assert 24 <= len(spans) <= 80
    assert len([conferences for conferences in spans.values() if len(conferences) > 5]) > 20
    for conferences in spans.values():
        in_order = sorted((min(span), max(span)) for span in conferences.values())
        assert all(end <= begin for (_, end), (begin, _) in pairwise(in_order))


def test_meetings_are_small_and_webinars_large(month: dict[date, list[Record]]) -> None:
    roles: dict[str, Counter[str]] = {}
    people: dict[str, set[tuple[str, str, str]]] = {}
    for record in (record for records in month.values() for record in records):
        user = record["user"]
        roles.setdefault(record["conf_num"], Counter())[user["role"]] += 1
        people.setdefault(record["conf_num"], set()).add((user["ref"], user["name"], user["ip"]))
    sizes = {True: [], False: []}  # type: dict[bool, list[int]]
    for number, count in roles.items():
        sizes["viewer" in count].append(len(people[number]))
    assert 30 <= min(sizes[True]) <= max(sizes[True]) <= 155
    assert 1 <= min(sizes[False]) <= max(sizes[False]) <= 12
    assert set(sum(roles.values(), Counter())) == {"moderator", "participant", "viewer", "audience"}


def test_some_users_have_no_ref_and_some_no_name(month: dict[date, list[Record]]) -> None:
    users = [record["user"] for records in month.values() for record in records]
    kinds = Counter((bool(user["ref"]), bool(user["name"])) for user in users)
    assert set(kinds) == {(True, True), (True, False), (False, True), (False, False)}
    assert kinds[True, True] > len(users) / 2


def test_durations_are_what_the_timestamps_say_and_some_are_zero(month: dict[date, list[Record]]) -> None:
    lengths = set()
    for record in (record for records in month.values() for record in records):
        for connection in (record["room"], record["sigserver"]):
            begin, end = (
                datetime.strptime(connection[key], "%Y-%m-%dT%H:%M:%S.%fZ") for key in ("connect_dt", "disconnect_dt")
            )
            assert (end - begin) / timedelta(seconds=1) == pytest.approx(connection["duration"], abs=1e-6)
        lengths.add(record["room"]["duration"])
    assert min(lengths) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"connections": -1}, {"start": date(1969, 1, 1)}, {"shape": "old"}, {"errors": "none"}, {"app_id": "a:b"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_make_no_calls_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


# The routes


def test_the_period_route_holds_the_records_of_its_days(shared: Sandbox) -> None:
    assert period(shared) == records_of_day(SETTINGS, DAY)
    several = days(DAY, 4)
    expected = [record for day in several for record in records_of_day(SETTINGS, day)]
    assert by_id(period(shared, several[0], several[-1])) == by_id(expected)


def test_all_routes_tell_the_same_of_every_record() -> None:
    settings = Settings(start=date(2026, 10, 26), connections=120)
    first, last = settings.start, date(2026, 11, 5)
    with serve(settings, clock=lambda: datetime(2026, 11, 5, 23, 59, 59, 999_000, timezone.utc)) as sandbox:
        by_day = [record for day in days(first, 11) for record in period(sandbox, day)]
        rooms = {record["room"]["room_id"] for record in by_day}
        by_room = [record for room in rooms for record in cdrs(sandbox, f"/cdr/room/{room}")]
        by_room_period = [
            record for room in rooms for record in cdrs(sandbox, f"/cdr/room-period/{room}/{first}/{last}")
        ]
        conferences = {record["conf_num"] for record in by_day}
        by_conference = [record for number in conferences for record in cdrs(sandbox, f"/cdr/conf/{number}")]
        part = [record for room in rooms for record in cdrs(sandbox, f"/cdr/room-period/{room}/{last}/{last}")]
        assert len(by_day) > 500
        assert by_id(by_room) == by_id(by_room_period) == by_id(by_conference) == by_id(by_day)
        assert by_id(part) == by_id(records_of_day(settings, last))


def test_all_routes_send_the_same_bytes(shared: Sandbox) -> None:
    record = records_of_day(SETTINGS, DAY)[0]
    room = record["room"]["room_id"]
    for path in (
        f"/cdr/period/{DAY}/{DAY}",
        f"/cdr/room/{room}",
        f"/cdr/room-period/{room}/{DAY}/{DAY}",
        f"/cdr/conf/{record['conf_num']}",
    ):
        assert calls.encode(record) in get(shared, path).content


def test_a_day_without_calls_answers_an_empty_list(shared: Sandbox) -> None:
    for day in (date(2026, 9, 30), date(2026, 12, 24)):
        assert get(shared, f"/cdr/period/{day}/{day}").json() == {"result": "0", "cdr": []}


def test_a_period_of_centuries_is_that_of_the_calls(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(start=date(2026, 11, 17))
    expected = [record for day in days(date(2026, 11, 17), 3) for record in records_of_day(sandbox.settings, day)]
    assert ids(period(sandbox, date.min, date.max)) == ids(expected)


def test_records_have_the_fields_of_the_specification(shared: Sandbox) -> None:
    answer = get(shared, f"/cdr/period/{DAY}/{DAY}")
    assert answer.json()["result"] == "0"
    for record in answer.json()["cdr"]:
        assert list(record) == [
            *("trans_date", "conf_num", "call_num", "call_log_id", "room", "user", "sigserver"),
            *("published_track", "usage", "app_id", "cdr_id"),
        ]
        assert list(record["room"]) == ["room_id", "connect_dt", "disconnect_dt", "duration"]
        assert list(record["user"]) == ["ip", "name", "role", "ref", "agent", "token", "confName"]
        assert list(record["sigserver"]) == ["connect_dt", "ip", "disconnect_dt", "duration", "hold_duration"]
        assert list(record["published_track"]) == ["audio", "data", "video", "screen", "url"]
        assert set(record["published_track"].values()) <= {"true", "false"}
        assert list(record["usage"]) == ["subscribed_minutes", "published_minutes"]
        assert record["user"]["token"]
    as_written = json.loads(answer.content, parse_float=str)["cdr"][0]
    assert len(as_written["room"]["duration"].partition(".")[2]) == 3
    assert as_written["sigserver"]["hold_duration"].endswith(".000")


def test_records_of_the_current_shape_have_the_later_fields(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(start=SETTINGS.start, shape="current")
    answer = get(sandbox, f"/cdr/period/{DAY}/{DAY}").json()
    assert answer["result"] == 0
    for record in answer["cdr"]:
        assert {type(on) for on in record["published_track"].values()} == {bool}
        assert not {"token", "confName"} & set(record["user"])
        assert {"owner_ref", "name", "settings"} == set(record["room"]["room_details"])
        assert {"sip", "parent_partner_id", "price", "stats_quality"} < set(record)
        assert {"screen_minutes", "connect_minutes", "connect_minutes_cal", "room_connect_minutes"} < set(
            record["usage"]
        )
        assert 0 <= record["usage"]["connect_minutes_cal"] - record["room"]["duration"] / 60 < 1
    assert {type(record["sigserver"]["hold_duration"]) for record in answer["cdr"]} == {int, float}
    assert {record["sip"] for record in answer["cdr"]} == {True, False}


def test_both_shapes_tell_of_the_same_calls() -> None:
    one, other = (records_of_day(Settings(shape=shape), DAY) for shape in ("specification", "current"))
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        assert {key: ours[key] for key in ("cdr_id", "conf_num", "trans_date", "sigserver")} == {
            key: theirs[key] for key in ("cdr_id", "conf_num", "trans_date", "sigserver")
        }
        assert ours["user"].items() > theirs["user"].items()


# Errors


@pytest.mark.parametrize("path", [f"/cdr/period/{DAY}/{DAY}", "/cdr/conf/x", "/nowhere"])
@pytest.mark.parametrize(
    "credentials", [None, ("sandbox-app-id", "wrong"), ("wrong", "sandbox-app-key"), ("", "")], ids=str
)
def test_wrong_credentials_are_refused(shared: Sandbox, path: str, credentials: tuple[str, str] | None) -> None:
    answer = requests.get(shared.base_url + path, auth=credentials, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert "cdr" not in answer.json()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cdr/period/2026-11-04/2026-11-03", 400),
        ("/cdr/period/2026-11-31/2026-12-01", 400),
        ("/cdr/period/2026-11-03/2026-11-3", 400),
        ("/cdr/period/20261103/20261103", 400),
        ("/cdr/period/2026-W45-2/2026-W45-2", 400),
        ("/cdr/period/%D9%A2026-11-03/2026-11-03", 400),
        ("/cdr/room/nowhere", 404),
        ("/cdr/room-period/nowhere/2026-11-03/2026-11-03", 404),
        ("/cdr/conf/nowhere", 404),
        ("/cdr/conf/0123456789abcdef01234567", 404),
        ("/cdr/conf/%F0%9F%98%80", 404),
        ("/cdr/period/2026-11-03", 404),
        ("/cdr", 404),
    ],
)
def test_a_request_that_cannot_be_answered_is_explained(shared: Sandbox, path: str, status: int) -> None:
    answer = get(shared, path)
    assert answer.status_code == status
    assert answer.json()["status"] == "error"


def test_other_methods_are_refused(shared: Sandbox) -> None:
    url = f"{shared.base_url}/cdr/period/{DAY}/{DAY}"
    answer = requests.post(url, auth=(shared.app_id, shared.app_key), timeout=10)
    assert (answer.status_code, answer.json()["error_code"]) == (405, "METHOD_NOT_ALLOWED")


def test_errors_come_in_the_envelope_of_the_settings(sandbox: Sandbox) -> None:
    newer = get(sandbox, "/cdr/room/nowhere").json()
    assert newer.pop("request_id").startswith("req_")
    assert newer == {"status": "error", "error_code": "NOT_FOUND", "message": "No room 'nowhere'"}
    sandbox.settings = Settings(errors="older")
    older = get(sandbox, "/cdr/room/nowhere").json()
    assert older == {"result": 404, "error": "Not Found", "desc": "No room 'nowhere'"}


def test_own_credentials_count(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(app_id="ours", app_key="a:b")
    url = f"{sandbox.base_url}/cdr/period/{DAY}/{DAY}"
    assert requests.get(url, auth=("ours", "a:b"), timeout=10).json()["cdr"][0]["app_id"] == "ours"
    assert requests.get(url, auth=("sandbox-app-id", "sandbox-app-key"), timeout=10).status_code == 401


# The clock


def test_only_connections_that_have_ended_are_shown(sandbox: Sandbox) -> None:
    noon = datetime.combine(DAY, datetime.min.time(), timezone.utc) + timedelta(hours=12)
    sandbox.clock = lambda: noon
    before = [record for record in records_of_day(SETTINGS, DAY) if record["trans_date"] <= calls.stamp(noon)]
    assert 0 < len(before) < len(records_of_day(SETTINGS, DAY))
    assert period(sandbox) == before
    assert period(sandbox, DAY + timedelta(days=1)) == []
    room = before[0]["room"]["room_id"]
    assert max(record["trans_date"] for record in cdrs(sandbox, f"/cdr/room/{room}")) <= calls.stamp(noon)


def test_a_record_is_there_at_the_moment_of_its_end(sandbox: Sandbox) -> None:
    record = records_of_day(SETTINGS, DAY)[-1]
    end = datetime.strptime(record["trans_date"], "%Y-%m-%dT%H:%M:%S.%f%z")
    paths = [
        f"/cdr/period/{DAY}/{DAY}",
        f"/cdr/room/{record['room']['room_id']}",
        f"/cdr/conf/{record['conf_num']}",
    ]
    sandbox.clock = lambda: end
    assert [record in cdrs(sandbox, path) for path in paths] == [True, True, True]
    sandbox.clock = lambda: end - timedelta(milliseconds=1)
    assert [record in cdrs(sandbox, path) for path in paths] == [False, False, False]


def test_a_conference_is_unknown_until_it_begins(sandbox: Sandbox) -> None:
    record = records_of_day(SETTINGS, DAY)[0]
    conference = calls.find_conference(SETTINGS, record["conf_num"])
    assert conference is not None
    begin = calls.begun_at(conference)
    sandbox.clock = lambda: begin - timedelta(milliseconds=1)
    assert get(sandbox, f"/cdr/conf/{conference.number}").status_code == 404
    sandbox.clock = lambda: begin
    assert ids(cdrs(sandbox, f"/cdr/conf/{conference.number}")) <= ids(records_of_day(SETTINGS, DAY))


def test_a_ticking_clock_runs_at_its_speed_and_a_frozen_one_not_at_all() -> None:
    frozen, fast = ticking(LONG_AFTER, 0), ticking(LONG_AFTER, 1e9)
    first = fast()
    assert LONG_AFTER < first < fast()
    assert frozen() == LONG_AFTER == frozen()


# Faults


def test_as_many_answers_fail_as_asked(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(fail_times=2, fail_status=429, retry_after=7)
    answers = [get(sandbox, f"/cdr/period/{day}/{day}") for day in days(DAY, 3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["7", "7", None]
    assert answers[0].json()["error_code"] == "RATE_LIMITED"
    sandbox.faults.fail_times = 1
    assert [get(sandbox, f"/cdr/period/{DAY}/{DAY}").status_code for _ in range(2)] == [429, 200]


def test_answers_can_fail_for_each_path_by_itself(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(fail_times=1, fail_each_path=True)
    paths = [f"/cdr/period/{day}/{day}" for day in days(DAY, 2)]
    assert [get(sandbox, path).status_code for path in paths * 2] == [503, 503, 200, 200]


def test_an_error_can_come_under_a_good_status(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(errors="older")
    sandbox.faults = Faults(fail_times=1, fail_status=200)
    answer = get(sandbox, f"/cdr/period/{DAY}/{DAY}")
    assert (answer.status_code, answer.json()["result"]) == (200, 200)


def test_as_many_answers_break_off_as_asked(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(cut_times=2)
    for path in (f"/cdr/period/{DAY}/{DAY}", "/cdr/period/2026-09-01/2026-09-01"):
        answer = requests.get(sandbox.base_url + path, auth=(sandbox.app_id, sandbox.app_key), timeout=10, stream=True)
        assert answer.status_code == 200
        received = b""
        with pytest.raises(requests.exceptions.ChunkedEncodingError):  # noqa: PT012
            for chunk in answer.iter_content(1024):
                received += chunk
        assert received.startswith(b'{"result"')
        assert not received.endswith(b"]}")
    assert period(sandbox) == records_of_day(SETTINGS, DAY)


def test_answers_can_be_slow(sandbox: Sandbox) -> None:
    sandbox.faults.delay_ms = 150
    assert get(sandbox, f"/cdr/period/{DAY}/{DAY}").elapsed >= timedelta(milliseconds=150)
    sandbox.faults.delay_ms = 60_000
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{sandbox.base_url}/cdr/conf/x", timeout=0.05)


def test_a_period_can_spill_over_its_bounds(sandbox: Sandbox) -> None:
    sandbox.faults.spill_minutes = 60
    around = [record for day in days(DAY - timedelta(days=1), 3) for record in records_of_day(SETTINGS, day)]
    midnight = datetime.combine(DAY, datetime.min.time(), timezone.utc)
    begin, end = calls.stamp(midnight - timedelta(hours=1)), calls.stamp(midnight + timedelta(hours=25))
    spilled = period(sandbox)
    assert {record["trans_date"][:10] for record in spilled} == {"2026-11-02", "2026-11-03", "2026-11-04"}
    assert by_id(spilled) == by_id([record for record in around if begin <= record["trans_date"] < end])
    neighbour = next(record for record in spilled if record["trans_date"].startswith("2026-11-04"))
    assert neighbour in cdrs(sandbox, f"/cdr/room-period/{neighbour['room']['room_id']}/{DAY}/{DAY}")


def test_late_records_appear_when_their_time_has_come(sandbox: Sandbox) -> None:
    whole = records_of_day(SETTINGS, DAY)
    closed = datetime.combine(DAY, datetime.min.time(), timezone.utc) + timedelta(days=1)
    sandbox.faults = Faults(late_share=0.2, late_hours=30)
    sandbox.clock = lambda: closed
    early = period(sandbox)
    assert 0.7 < len(early) / len(whole) < 0.9
    assert period(sandbox) == early

    missing = next(record for record in whole if record not in early)
    appears = datetime.strptime(missing["trans_date"], "%Y-%m-%dT%H:%M:%S.%f%z") + timedelta(hours=30)
    of_conference, of_room = f"/cdr/conf/{missing['conf_num']}", f"/cdr/room/{missing['room']['room_id']}"
    sandbox.clock = lambda: appears - timedelta(milliseconds=1)
    assert [missing in found for found in (period(sandbox), cdrs(sandbox, of_conference), cdrs(sandbox, of_room))] == [
        *(False, False, False)
    ]
    sandbox.clock = lambda: appears
    assert [missing in found for found in (period(sandbox), cdrs(sandbox, of_conference), cdrs(sandbox, of_room))] == [
        *(True, True, True)
    ]
    sandbox.clock = lambda: closed + timedelta(hours=30)
    assert period(sandbox) == whole


def test_requests_are_counted_with_their_status(sandbox: Sandbox) -> None:
    sandbox.faults.fail_times = 1
    for path in ("/cdr/period/2026-11-03/2026-11-03", "/cdr/period/2026-11-03/2026-11-03", "/cdr/conf/a%20b"):
        get(sandbox, path)
    requests.get(sandbox.base_url, timeout=10)
    assert sandbox.requests == [
        ("/video/v2/cdr/period/2026-11-03/2026-11-03", 503),
        ("/video/v2/cdr/period/2026-11-03/2026-11-03", 200),
        ("/video/v2/cdr/conf/a b", 404),
        ("/video/v2", 401),
    ]


def test_the_server_is_gone_after_its_context() -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "sandbox"}
    with serve(SETTINGS) as sandbox:
        assert get(sandbox, "/cdr/conf/x").status_code == 404
    with pytest.raises(requests.exceptions.ConnectionError):
        get(sandbox, "/cdr/conf/x")
    assert {thread for thread in threading.enumerate() if thread.name == "sandbox"} == before


# The command line


def run(*arguments: str, expect: int = 0) -> str:
    environment = {**os.environ, **MEASURED}
    done = subprocess.run([*MODULE, *arguments], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == expect, done.stderr
    return done.stdout + done.stderr


def test_a_command_finds_the_sandbox_in_its_environment_and_gives_its_exit_code() -> None:
    program = (
        "import os, sys, requests\n"
        "url = os.environ['ENABLEX_BASE_URL'] + '/cdr/period/2026-11-03/2026-11-04'\n"
        "answer = requests.get(url, auth=(os.environ['ENABLEX_APP_ID'], os.environ['ENABLEX_APP_KEY']))\n"
        "print(len(answer.json()['cdr']), answer.json()['result'] == 0, sys.argv[1:])\n"
        "sys.exit(7)\n"
    )
    options = ["--seed", "3", "--connections", "90", "--shape", "current", "--now", "2026-11-04T00:00:00Z"]
    output = run(*options, "--", sys.executable, "-c", program, "--port", "--", "x", expect=7)
    expected = len(records_of_day(Settings(seed=3, connections=90), DAY))
    assert output == f"{expected} True ['--port', '--', 'x']\n"


def test_the_command_line_sets_the_faults() -> None:
    program = (
        "import os, requests\n"
        "url = os.environ['ENABLEX_BASE_URL'] + '/cdr/conf/x'\n"
        "answers = [requests.get(url, auth=('me', 'key')) for _ in range(3)]\n"
        "print(*(a.status_code for a in answers), answers[0].headers['Retry-After'], *answers[0].json())\n"
    )
    options = ["--fail-times", "2", "--fail-status", "500", "--retry-after", "4", "--errors", "older"]
    output = run(*options, "--app-id", "me", "--app-key", "key", "--", sys.executable, "-c", program)
    assert output == "500 500 404 4 result error desc\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--connections", "-1"], 2, "connections must be 0 or more"),
        (["--now", "yesterday"], 2, "invalid YYYY-MM-DDTHH:MM:SSZ value: 'yesterday'"),
        (["--fail-status", "700"], 2, "invalid HTTP status value: '700'"),
        (["--"], 2, "no command after --"),
        (["--", "/no/such/command"], 127, "cannot run /no/such/command: No such file or directory"),
        (["--", "/"], 126, "cannot run /: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run_is_explained(arguments: list[str], code: int, message: str) -> None:
    output = run(*arguments, expect=code)
    assert message in output
    assert "Traceback" not in output


def test_a_port_that_is_taken_is_explained(shared: Sandbox) -> None:
    port = shared.base_url.split(":")[2].split("/")[0]
    assert "in use" in run("--port", port, "--", "true", expect=2)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def stop() -> None:
        for process in started:
            process.terminate()

    watchdog = threading.Timer(20, stop)
    watchdog.start()

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **MEASURED}
        started.append(subprocess.Popen([*MODULE, *arguments], env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    watchdog.cancel()
    stop()
    for process in started:
        process.communicate(timeout=10)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command_and_its_orderly_end_counts(
    start: Callable[..., subprocess.Popen[str]], signal_number: signal.Signals
) -> None:
    program = (
        "import signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{signal_number:d}])\n"
        "print('up', flush=True)\n"
        f"signal.sigwait([{signal_number:d}])\n"
        "print('down', flush=True)\n"
        "sys.exit(5)\n"
    )
    process = start("--", sys.executable, "-c", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal_number)
    assert process.stdout.readline() == "down\n"
    assert process.wait(10) == 5


def test_a_command_killed_by_a_signal_gives_128_and_its_number(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--", "sh", "-c", "echo up; exec sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM


def test_processes_that_the_command_started_get_the_signal_too(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--", "sh", "-c", "echo up; sleep 60; echo unreached")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    # The end of the output comes when the last process that holds it is gone.
    assert process.communicate(timeout=10)[0] == ""


def test_without_a_command_it_says_where_it_is_and_runs_until_interrupted(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start()
    assert process.stdout is not None
    ready, _, export = process.stdout.readline().strip().partition(": export ")
    assert ready == "sandbox is ready"
    variables = dict(variable.split("=") for variable in export.split())
    credentials = variables["ENABLEX_APP_ID"], variables["ENABLEX_APP_KEY"]
    answer = requests.get(f"{variables['ENABLEX_BASE_URL']}/cdr/conf/x", auth=credentials, timeout=10)
    assert answer.status_code == 404
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
