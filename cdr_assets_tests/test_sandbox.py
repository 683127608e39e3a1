"""The sandbox over real HTTP: how the four routes tell of its calls, when these appear, and how it fails on request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
import requests

from cdr_assets.sandbox import calls
from cdr_assets.sandbox.app import Faults
from cdr_assets.sandbox.calls import Record, Settings, records_of_day
from cdr_assets.sandbox.server import Sandbox, serve, ticking
from cdr_assets_tests import MEASURED, PATIENCE_S

SETTINGS = Settings(start=date(2026, 10, 1))
DAY = date(2026, 11, 3)
LONG_AFTER = datetime(2026, 11, 20, tzinfo=timezone.utc)
MODULE = [sys.executable, "-m", "cdr_assets.sandbox"]


def get(sandbox: Sandbox, path: str) -> requests.Response:
    return requests.get(sandbox.base_url + path, auth=(sandbox.app_id, sandbox.app_key), timeout=PATIENCE_S)


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


def midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), timezone.utc)


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


# The routes


def test_the_period_route_holds_the_records_of_its_days(shared: Sandbox) -> None:
    assert period(shared) == records_of_day(SETTINGS, DAY)
    several = days(DAY, 4)
    expected = [record for day in several for record in records_of_day(SETTINGS, day)]
    assert by_id(period(shared, several[0], several[-1])) == by_id(expected)


def test_all_routes_tell_the_same_of_every_record() -> None:
    settings = Settings(start=date(2026, 10, 26), connections=120)
    first, last = settings.start, date(2026, 11, 5)
    with serve(settings, clock=lambda: datetime(2026, 11, 6, tzinfo=timezone.utc)) as sandbox:
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
        assert get(shared, f"/cdr/period/{day}/{day}").json() == {"result": 0, "cdr": []}


def test_a_period_of_centuries_is_that_of_the_calls(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(start=date(2026, 11, 17))
    expected = [record for day in days(date(2026, 11, 17), 3) for record in records_of_day(sandbox.settings, day)]
    assert ids(period(sandbox, date.min, date.max)) == ids(expected)


def test_records_can_have_the_fields_of_the_specification(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(start=SETTINGS.start, shape="specification")
    answer = get(sandbox, f"/cdr/period/{DAY}/{DAY}")
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


def test_records_have_the_fields_of_later_documents(shared: Sandbox) -> None:
    answer = get(shared, f"/cdr/period/{DAY}/{DAY}").json()
    assert answer["result"] == 0
    for record in answer["cdr"]:
        assert {type(on) for on in record["published_track"].values()} == {bool}
        assert not {"token", "confName"} & set(record["user"])
        assert set(record["room"]["room_details"]) in ({"name", "owner_ref", "settings"}, set())
        assert {"sip", "parent_partner_id", "price"} < set(record)
        assert ("stats_quality" in record) != record["sip"]
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
    answer = requests.get(shared.base_url + path, auth=credentials, timeout=PATIENCE_S)
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
    answer = requests.post(url, auth=(shared.app_id, shared.app_key), timeout=PATIENCE_S)
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
    assert requests.get(url, auth=("ours", "a:b"), timeout=PATIENCE_S).json()["cdr"][0]["app_id"] == "ours"
    assert requests.get(url, auth=("sandbox-app-id", "sandbox-app-key"), timeout=PATIENCE_S).status_code == 401


# The clock


def appeared(sandbox: Sandbox, record: Record) -> list[bool]:
    """Whether each of the four routes holds the record now."""
    day, room = record["trans_date"][:10], record["room"]["room_id"]
    return [
        record in cdrs(sandbox, path)
        for path in (
            f"/cdr/period/{day}/{day}",
            f"/cdr/room/{room}",
            f"/cdr/room-period/{room}/{day}/{day}",
            f"/cdr/conf/{record['conf_num']}",
        )
    ]


def ended_at(record: Record) -> datetime:
    return datetime.strptime(record["trans_date"], "%Y-%m-%dT%H:%M:%S.%f%z")


def test_the_open_day_grows_by_the_minute(sandbox: Sandbox) -> None:
    ten = midnight(DAY) + timedelta(hours=10)
    whole = records_of_day(SETTINGS, DAY)
    seen: list[set[str]] = []
    for now in (ten + timedelta(minutes=n) for n in range(60)):
        sandbox.clock = lambda now=now: now  # type: ignore[misc]
        seen.append(ids(period(sandbox)))
        waited = {record["cdr_id"]: now - ended_at(record) for record in whole}
        assert all(waited[cdr_id] >= timedelta(minutes=1) for cdr_id in seen[-1])
        assert {cdr_id for cdr_id, since in waited.items() if since >= timedelta(minutes=10)} <= seen[-1]
    assert all(before <= after for before, after in pairwise(seen))
    assert sum(before < after for before, after in pairwise(seen)) > 15
    assert seen[-1] < ids(whole)
    assert period(sandbox, DAY + timedelta(days=1)) == []


def test_each_record_appears_after_minutes_of_its_own_on_all_routes_at_once(sandbox: Sandbox) -> None:
    noon = midnight(DAY) + timedelta(hours=12)
    records = [record for record in records_of_day(SETTINGS, DAY) if ended_at(record) > noon][:4]
    lags = []
    for record in records:
        end = ended_at(record)
        for minutes in range(11):
            sandbox.clock = lambda now=end + timedelta(minutes=minutes): now  # type: ignore[misc]
            if all(found := appeared(sandbox, record)):
                lags.append(minutes)
                break
            assert not any(found)
    assert len(lags) == len(records)
    assert min(lags) >= 1
    assert len(set(lags)) > 1


def test_without_a_lag_a_record_is_there_at_the_moment_of_its_end(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(start=SETTINGS.start, lag_minutes=0)
    record = records_of_day(SETTINGS, DAY)[-1]
    end = ended_at(record)
    sandbox.clock = lambda: end
    assert appeared(sandbox, record) == [True] * 4
    sandbox.clock = lambda: end - timedelta(milliseconds=1)
    assert appeared(sandbox, record) == [False] * 4


def test_the_routes_agree_on_the_open_day(sandbox: Sandbox) -> None:
    now = midnight(DAY) + timedelta(hours=10, minutes=7)
    sandbox.clock = lambda: now
    by_day = period(sandbox)
    assert 0 < len(by_day) < len(records_of_day(SETTINGS, DAY))
    rooms = {room.room_id for room in calls.rooms(SETTINGS).values()}
    numbers = [plan.number for plan in calls.conferences_of_day(SETTINGS, DAY) if calls.begun_at(plan) <= now]
    numbers += {record["conf_num"] for record in by_day} - set(numbers)
    of_rooms = [record for room in rooms for record in cdrs(sandbox, f"/cdr/room/{room}")]
    of_room_periods = [record for room in rooms for record in cdrs(sandbox, f"/cdr/room-period/{room}/{DAY}/{DAY}")]
    of_conferences = [record for number in numbers for record in cdrs(sandbox, f"/cdr/conf/{number}")]
    for records in (of_rooms, of_room_periods, of_conferences):
        assert by_id([record for record in records if record["trans_date"] >= str(DAY)]) == by_id(by_day)


def test_a_day_is_complete_when_it_closes(sandbox: Sandbox) -> None:
    sandbox.settings = Settings(start=SETTINGS.start, lag_minutes=240)
    tomorrow = midnight(DAY + timedelta(days=1))
    sandbox.clock = lambda: tomorrow - timedelta(milliseconds=1)
    missing = ids(records_of_day(SETTINGS, DAY)) - ids(period(sandbox))
    assert missing
    sandbox.clock = lambda: tomorrow
    assert period(sandbox) == records_of_day(SETTINGS, DAY)


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
        answer = requests.get(
            sandbox.base_url + path, auth=(sandbox.app_id, sandbox.app_key), timeout=PATIENCE_S, stream=True
        )
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
        requests.get(f"{sandbox.base_url}/cdr/conf/x", timeout=(PATIENCE_S, 0.05))


def test_a_period_can_spill_over_its_bounds(sandbox: Sandbox) -> None:
    sandbox.faults.spill_minutes = 60
    around = [record for day in days(DAY - timedelta(days=1), 3) for record in records_of_day(SETTINGS, day)]
    begin = calls.stamp(midnight(DAY) - timedelta(hours=1))
    end = calls.stamp(midnight(DAY) + timedelta(hours=25))
    spilled = period(sandbox)
    assert {record["trans_date"][:10] for record in spilled} == {"2026-11-02", "2026-11-03", "2026-11-04"}
    assert by_id(spilled) == by_id([record for record in around if begin <= record["trans_date"] < end])
    neighbour = next(record for record in spilled if record["trans_date"].startswith("2026-11-04"))
    assert neighbour in cdrs(sandbox, f"/cdr/room-period/{neighbour['room']['room_id']}/{DAY}/{DAY}")


def test_late_records_appear_when_their_time_has_come(sandbox: Sandbox) -> None:
    whole = records_of_day(SETTINGS, DAY)
    closed = midnight(DAY) + timedelta(days=1)
    sandbox.faults = Faults(late_share=0.2, late_hours=30)
    sandbox.clock = lambda: closed
    early = period(sandbox)
    assert 0.7 < len(early) / len(whole) < 0.9
    assert period(sandbox) == early

    missing = next(record for record in whole if record not in early)
    appears = ended_at(missing) + timedelta(hours=30)
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
    requests.get(sandbox.base_url, timeout=PATIENCE_S)
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
    done = subprocess.run([*MODULE, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
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
    options = [
        "--seed",
        "3",
        "--connections",
        "90",
        "--shape",
        "current",
        "--lag",
        "0",
        "--now",
        "2026-11-04T00:00:00Z",
    ]
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
        process.communicate(timeout=PATIENCE_S)


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
    assert process.wait(PATIENCE_S) == 5


def test_a_command_killed_by_a_signal_gives_128_and_its_number(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--", "sh", "-c", "echo up; exec sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM


def test_processes_that_the_command_started_get_the_signal_too(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--", "sh", "-c", "echo up; sleep 60; echo unreached")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    # The end of the output comes when the last process that holds it is gone.
    assert process.communicate(timeout=PATIENCE_S)[0] == ""


def test_without_a_command_it_says_where_it_is_and_runs_until_interrupted(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start()
    assert process.stdout is not None
    ready, _, export = process.stdout.readline().strip().partition(": export ")
    assert ready == "sandbox is ready"
    variables = dict(variable.split("=") for variable in export.split())
    credentials = variables["ENABLEX_APP_ID"], variables["ENABLEX_APP_KEY"]
    answer = requests.get(f"{variables['ENABLEX_BASE_URL']}/cdr/conf/x", auth=credentials, timeout=PATIENCE_S)
    assert answer.status_code == 404
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
