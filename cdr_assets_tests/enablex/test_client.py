"""The client against a real HTTP server: what it asks, when it asks again, what its errors say and keep quiet."""

from __future__ import annotations

import base64
import gzip
import itertools
import logging
import os
import re
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.enablex.client import Asked, Attempt, EnableX
from cdr_assets.enablex.errors import (
    BadCredentials,
    BadParameter,
    BadRequest,
    BadSetting,
    EnableXError,
    Forbidden,
    NotAsked,
    NotFound,
    Rejected,
    Unavailable,
    Unreadable,
    classify_status,
)
from cdr_assets.enablex.records import Batch
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.httpserver import Answer, answer, chunked, cut, hang_up, serving, until_closed, zipped
from cdr_assets_tests.rawserver import saying, talking

DAY = date(2026, 11, 1)
ID, KEY = "app-5f1", "s3cr3t/k€y+&<longer>"
TOKEN = base64.b64encode(f"{ID}:{KEY}".encode()).decode()
RECORDS = [b'{"cdr_id":"%05d","trans_date":"2026-11-01T10:00:00Z"}' % i for i in range(4000)]
GOOD = b'{"result":"0","cdr":[' + b",".join(RECORDS) + b"]}"
EMPTY = b'{"result":"0","cdr":[]}'


def lines(batches: Iterator[Batch]) -> list[bytes]:
    return b"".join(text.text for batch in batches for text in batch.days.values()).splitlines()


def received(attempts: Iterator[Attempt], receive: Callable[[Iterator[Batch]], list[bytes]] = lines) -> list[bytes]:
    """What the last attempt brought, once the loop over the attempts has ended."""
    records: list[bytes] = []
    for attempt in attempts:
        with attempt as batches:
            records = receive(batches)
    return records


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def enablex(clock: Clock) -> Iterator[Callable[..., EnableX]]:
    """Makes clients of a server that do not really sleep."""
    made: list[EnableX] = []

    def make(url: str, **options: object) -> EnableX:
        made.append(EnableX(ID, KEY, f"{url}/video/v2", **{"sleep": clock.sleep, "clock": clock, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def failing(enablex: Callable[..., EnableX]) -> Callable[..., EnableXError]:
    """The error that a day ends with when the server answers by this script."""

    def fail(*script: Answer, **options: object) -> EnableXError:
        with serving(*script) as server:
            with pytest.raises(EnableXError) as caught:
                received(enablex(server.url, **options).period(DAY, DAY))
            assert caught.value.tries == len(server.requests)
        assert caught.value.path == "/cdr/period/2026-11-01/2026-11-01"
        assert caught.value.path in str(caught.value)
        return caught.value

    return fail


# Requests


def test_each_route_has_its_path(enablex: Callable[..., EnableX]) -> None:
    with serving(answer(EMPTY)) as server:
        client = enablex(server.url)
        received(client.period("2026-11-01", date(2026, 11, 30)))
        received(client.room("5f/..?#%2e é"))
        received(client.room_period("r 1", DAY, "2026-11-01"))
        received(client.conference("c&1"))
    assert server.paths == [
        "/video/v2/cdr/period/2026-11-01/2026-11-30",
        "/video/v2/cdr/room/5f%2F..%3F%23%252e%20%C3%A9",
        "/video/v2/cdr/room-period/r%201/2026-11-01/2026-11-01",
        "/video/v2/cdr/conf/c%261",
    ]


def test_a_request_says_who_asks_and_what_it_takes(enablex: Callable[..., EnableX]) -> None:
    with serving(answer(EMPTY)) as server:
        received(enablex(server.url).room("1"))
    headers = server.requests[0][1]
    assert headers["Authorization"] == f"Basic {TOKEN}"
    assert headers["Accept-Encoding"] == "gzip"
    assert re.fullmatch(r"cdr_assets/\d\S*", headers["User-Agent"])


def test_calls_share_a_connection(enablex: Callable[..., EnableX]) -> None:
    ports = set()

    def note(handler: BaseHTTPRequestHandler) -> None:
        ports.add(handler.client_address[1])
        answer(GOOD)(handler)

    with serving(note) as server:
        client = enablex(server.url)
        for _ in range(3):
            received(client.room("1"))
        assert len(server.requests) == 3
        assert len(ports) == 1
        client.close()


@pytest.mark.parametrize(
    "good",
    [
        answer(GOOD),
        zipped(GOOD),
        chunked([GOOD[at : at + 777] for at in range(0, len(GOOD), 777)]),
        until_closed(GOOD),
    ],
    ids=["length", "gzip", "chunked", "until closed"],
)
def test_an_answer_is_read_however_it_is_sent(good: Answer, enablex: Callable[..., EnableX]) -> None:
    with serving(good) as server:
        assert received(enablex(server.url).period(DAY, DAY)) == RECORDS
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-02-29", "2026-03-01"),
        ("2026-11-1", "2026-11-01"),
        ("20261101", "20261101"),
        ("2026-W45-1", "2026-11-30"),
        ("", "2026-11-01"),
        ("2026-11-01", None),
        (" 2026-11-01", "2026-11-01"),
        (datetime(2026, 11, 1), "2026-11-01"),
        ("2026-11-02", "2026-11-01"),
        (date(2026, 11, 2), date(2026, 11, 1)),
    ],
)
def test_days_that_cannot_be_asked_for_are_refused_before_any_call(
    first: str, last: str, enablex: Callable[..., EnableX]
) -> None:
    with serving(answer(EMPTY)) as server:
        client = enablex(server.url)
        with pytest.raises(BadParameter):
            client.period(first, last)
        with pytest.raises(ValueError, match="_date"):
            client.room_period("1", first, last)
    assert server.requests == []


@pytest.mark.parametrize("bad", ["", "  ", ".", "..", None, 7, "\ud800"])
def test_ids_that_cannot_be_asked_for_are_refused_before_any_call(bad: str, enablex: Callable[..., EnableX]) -> None:
    with serving(answer(EMPTY)) as server:
        client = enablex(server.url)
        for route in (client.room, client.conference):
            with pytest.raises(BadParameter, match=r"room_id|conf_num") as caught:
                route(bad)
        with pytest.raises(BadParameter, match="room_id"):
            client.room_period(bad, DAY, DAY)
    assert server.requests == []
    assert caught.value.permanent


# Settings


@pytest.mark.parametrize(
    ("app_id", "app_key", "named"),
    [
        (None, None, ["app_id", "app_key"]),
        ("", " ", ["app_id", "app_key"]),
        (ID, None, ["app_key"]),
        (None, KEY, ["app_id"]),
        ("a:b", KEY, ["app_id"]),
    ],
)
def test_bad_credentials_are_named_before_any_call(app_id: str | None, app_key: str | None, named: list[str]) -> None:
    with serving(answer(EMPTY)) as server:
        client = EnableX(app_id, app_key, server.url)
        with pytest.raises(BadSetting) as caught:
            client.period(DAY, DAY)
    assert server.requests == []
    assert list(caught.value.settings) == named
    assert all(name.replace("_", " ") in str(caught.value) for name in named)
    assert KEY not in str(caught.value)
    assert isinstance(caught.value, NotAsked)
    assert caught.value.permanent


@pytest.mark.parametrize(
    "url",
    [
        "http://api.enablex.io/video/v2",
        "http://localhost.enablex.io",
        "http://127.0.0.1.enablex.io",
        "http://128.0.0.1",
        "http://127.0.0.1@enablex.io",
        "https://user:hunter2@api.enablex.io",
        "https://api.enablex.io/?key=hunter2",
        "https://api.enablex.io/#hunter2",
        "user:hunter2@api.enablex.io",
        "ftp://127.0.0.1",
        "https://",
        "https://[::1",
        "http://127.0.0.1:port",
        "http://127.0.0.1\\@enablex.io",
        "https://api.enablex.io /",
        "",
    ],
)
def test_a_base_url_that_is_not_safe_is_refused_before_any_call(url: str) -> None:
    with pytest.raises(BadSetting, match=r"base url.*https://api.enablex.io/video/v2") as caught:
        EnableX(ID, KEY, url, tries=1).room("1")
    assert caught.value.settings == ("base_url",)
    assert "hunter2" not in str(caught.value) + repr(EnableX(ID, KEY, url))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTPS_PROXY", "http://user:hunter2[@127.0.0.1:9", "check HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:port", "check HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://user:hunter2/@127.0.0.1:9", "check HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://user:hunter2€@127.0.0.1:9", "check HTTPS_PROXY"),
        ("HTTPS_PROXY", "htp://user:hunter2@127.0.0.1:9", "check HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://", "check HTTPS_PROXY"),
        ("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:9", "pip install 'requests[socks]'"),
        ("HTTPS_PROXY", "http://user:hunter2@{proxy}", "the password in HTTPS_PROXY"),
        ("REQUESTS_CA_BUNDLE", "/missing.pem", "check REQUESTS_CA_BUNDLE"),
        ("REQUESTS_CA_BUNDLE", __file__, "check REQUESTS_CA_BUNDLE"),
    ],
)
def test_a_fault_of_this_machine_is_named_with_its_setting_and_not_tried_again(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    if "socks" in value:
        monkeypatch.setitem(sys.modules, "socks", None)
    status = b"407 Proxy Authentication Required" if "{proxy}" in value else b"200 Connection established"
    with talking(saying(b"HTTP/1.1 " + status + b"\r\n\r\n")) as proxy:
        for variable in [each for each in os.environ if each.lower().endswith("_proxy")]:
            monkeypatch.delenv(variable)
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv(name, value.format(proxy=proxy.address))
        client = EnableX(ID, KEY, "https://enablex.example", sleep=clock.sleep)
        with pytest.raises(BadSetting, match=re.escape(says)) as caught:
            received(client.period(DAY, DAY))
        client.close()
    assert clock.slept == []
    assert "hunter2" not in str(caught.value)
    assert caught.value.permanent


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}", "http://localhost:{}/", "http://[::1]:{}", "https://127.8.8.8:{}"]
)
def test_a_loopback_base_url_is_asked_past_every_proxy(url: str, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = url.format(free.getsockname()[1])
    with serving(answer(EMPTY)) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        client = EnableX(ID, KEY, url, sleep=clock.sleep)
        with pytest.raises(Unavailable, match=r"refused|unreachable|Cannot assign"):
            received(client.room("1"))
    assert proxy.requests == []


# When it asks again


def test_statuses_have_their_meaning() -> None:
    meanings = {status: classify_status(status) for status in range(100, 600)}
    assert {status for status, kind in meanings.items() if kind is None} == {200}
    assert {status for status, kind in meanings.items() if kind is Unavailable} == {408, 429, *range(500, 600)}
    assert {status for status, kind in meanings.items() if kind is Unreadable} == {*range(100, 300)} - {200}
    named = {400: BadRequest, 401: BadCredentials, 403: Forbidden, 404: NotFound}
    assert {status: meanings[status] for status in named} == named
    rest = {*range(300, 500)} - {408, 429, *named}
    assert {status for status, kind in meanings.items() if kind is Rejected} == rest


@pytest.mark.parametrize("status", [204, 206, 302, 400, 401, 403, 404, 405, 409, 410, 418, 422])
def test_a_status_that_will_not_change_is_asked_for_once(status: int, failing: Callable[..., EnableXError]) -> None:
    error = failing(answer(b"" if status == 204 else b'{"result":7,"error":"No","desc":"why not"}', status))
    assert (error.tries, error.status, type(error)) == (1, status, classify_status(status))
    assert error.permanent == (status >= 300)
    assert str(status) in str(error)
    assert status == 204 or "result 7: No: why not" in str(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_change_is_asked_for_again(
    status: int, enablex: Callable[..., EnableX], failing: Callable[..., EnableXError], clock: Clock
) -> None:
    with serving(answer(b"busy", status), answer(b"busy", status), answer(GOOD)) as server:
        assert received(enablex(server.url).period(DAY, DAY)) == RECORDS
    assert len(server.requests) == 3
    error = failing(answer(b'{"status":"error","error_code":"E7","message":"busy","request_id":"req_9"}', status))
    assert isinstance(error, Unavailable)
    assert not error.permanent
    assert (error.tries, error.status, error.api_message) == (5, status, "E7: busy (request_id req_9)")
    assert error.request_id == "req_9"
    assert "5 tries" in str(error)
    assert "E7: busy" in str(error)


BROKEN: dict[str, Answer] = {
    "no answer": hang_up,
    "shorter than its length": cut(GOOD, 60_000),
    "nothing of its length": cut(GOOD, 0),
    "chunks that stop": chunked([GOOD[:60_000]], whole=False),
    "no length, half a record": until_closed(GOOD[:60_000]),
    "no length, between records": until_closed(GOOD[: GOOD.rindex(b",{")]),
    "gzip that stops": zipped(GOOD, without_last=5000),
    "gzip that is none": answer(GOOD, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_breaks_off_is_asked_for_again_as_a_whole(
    broken: Answer, enablex: Callable[..., EnableX], failing: Callable[..., EnableXError]
) -> None:
    brought: list[list[bytes]] = []
    with serving(broken, broken, answer(GOOD)) as server:
        for attempt in enablex(server.url).period(DAY, DAY):
            brought.append([])
            with attempt as batches:
                for batch in batches:
                    brought[-1] += lines(iter([batch]))
    assert len(server.requests) == len(brought) == attempt.number == 3
    assert brought[-1] == RECORDS
    assert all(len(earlier) < len(RECORDS) for earlier in brought[:-1])
    error = failing(broken)
    assert isinstance(error, Unavailable)
    assert error.tries == 5
    assert re.search("no answer|broke off|breaks off", str(error))


def test_a_server_that_is_not_there_is_unavailable(enablex: Callable[..., EnableX], clock: Clock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="5 tries: no answer: ConnectionRefusedError") as caught:
            received(enablex(f"http://127.0.0.1:{free.getsockname()[1]}").room("1"))
    assert (caught.value.tries, len(clock.slept)) == (5, 4)


def test_a_server_that_stays_silent_is_unavailable(enablex: Callable[..., EnableX]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = enablex(f"http://127.0.0.1:{silent.getsockname()[1]}", read_seconds=0.05, tries=2)
        with pytest.raises(Unavailable, match=r"2 tries: no answer: .*timed out"):
            received(client.room("1"))


def test_no_read_waits_longer_than_the_total_time(enablex: Callable[..., EnableX]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = enablex(f"http://127.0.0.1:{silent.getsockname()[1]}", read_seconds=PATIENCE_S, total_seconds=0.05)
        with pytest.raises(Unavailable, match=r"timed out|took longer than the 0\.05 s"):
            received(client.room("1"))


def test_a_body_that_stalls_is_unavailable(failing: Callable[..., EnableXError]) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"result":')
        handler.connection.recv(1)  # until the client has gone
        handler.close_connection = True

    error = failing(stall, read_seconds=0.05, tries=2)
    assert "2 tries: the body broke off: " in str(error)
    assert "timed out" in str(error)


@pytest.mark.parametrize("status", [200, 401])
def test_a_trickle_is_cut_by_the_total_time(status: int, enablex: Callable[..., EnableX], clock: Clock) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.close_connection = True
        try:
            handler.wfile.write(b'{"result":"0","cdr":[')
            while True:
                clock.now += 60
                handler.wfile.write(b" ")
        except OSError:
            pass

    with serving(trickle) as server, pytest.raises(EnableXError) as caught:
        received(enablex(server.url, total_seconds=600).room("1"))
    assert len(server.requests) == 1
    if status == 200:
        assert "took longer than the 600 s" in str(caught.value)
        assert isinstance(caught.value, Unavailable)
    else:
        assert isinstance(caught.value, BadCredentials)


def test_waits_grow_vary_and_end_with_the_total_time(failing: Callable[..., EnableXError], clock: Clock) -> None:
    waits = []
    for _ in range(20):
        clock.slept.clear()
        failing(answer(b"", 503))
        waits.append(tuple(clock.slept))
    assert len(set(waits)) == 20
    assert [max(nth) <= limit for nth, limit in zip(zip(*waits, strict=True), (1, 2, 4, 8), strict=True)] == [True] * 4
    assert max(wait[3] for wait in waits) > 2
    clock.now, clock.slept = 0, []
    error = failing(answer(b"", 503), tries=1000, total_seconds=100)
    assert 4 < error.tries < 1000
    assert clock.now < 100
    assert "beyond the 100 s" in str(error)


def http_date(seconds: float, now: datetime) -> str:
    return format_datetime(now + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "17"}, 17, 17),
        ({"Retry-After": "0"}, 0, 1),
        ({"Retry-After": "soon"}, 0, 1),
        ({"Retry-After": "-5"}, 0, 1),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_when_to_come_back_is_obeyed(
    status: int, headers: dict[str, str], least: float, most: float, enablex: Callable[..., EnableX], clock: Clock
) -> None:
    with serving(answer(b"", status, headers), answer(GOOD)) as server:
        assert received(enablex(server.url).period(DAY, DAY)) == RECORDS
    assert len(clock.slept) == 1
    assert least <= clock.slept[0] <= most


@pytest.mark.parametrize(("seconds", "least", "most"), [(4000, 1, 4000), (-40, 0, 1)])
def test_a_date_to_come_back_at_is_of_this_clock_where_the_server_names_none(
    seconds: float, least: float, most: float, enablex: Callable[..., EnableX], clock: Clock
) -> None:
    def without_date(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(503)
        handler.send_header("Retry-After", http_date(seconds, datetime.now(timezone.utc)))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(without_date, answer(GOOD)) as server:
        received(enablex(server.url, total_seconds=5000).room("1"))
    assert len(clock.slept) == 1
    assert least <= clock.slept[0] <= most


def test_a_date_to_come_back_at_is_of_the_servers_clock(enablex: Callable[..., EnableX], clock: Clock) -> None:
    def wrong_clock(handler: BaseHTTPRequestHandler) -> None:
        then = datetime(2001, 2, 3, tzinfo=timezone.utc)
        handler.send_response_only(429)
        for name, value in {
            "Date": http_date(0, then),
            "Retry-After": http_date(25, then),
            "Content-Length": "0",
        }.items():
            handler.send_header(name, value)
        handler.end_headers()

    with serving(wrong_clock, answer(GOOD)) as server:
        received(enablex(server.url).room("1"))
    assert clock.slept == [25]


ABSURD = [
    "Sun, 01 Nov 2026 00:00:00 +9999",
    "Sun, 01 Nov 2026 00:00:00 -9999",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Sun, 01 Nov 2026 00:00:00 +99999999999999999999",
    "Sun, 01 Nov 99999999999999999999 00:00:00 GMT",
    "Sun, 01 Nov 2026 99999999999999999999:00:00 GMT",
    "Sun, 01 Nov 2026 00:00:00 -0000",
    "1e999",
    "Infinity",
    "\xb2",
    "9" * 5000,
]
date_pieces = st.sampled_from(
    [
        "Sun,",
        "01",
        "Nov",
        "2026",
        "9999",
        "0",
        "-1",
        "00:00:00",
        "23:59:60",
        "9" * 30,
        "GMT",
        "-2359",
        "+9999",
        ":",
        "T",
    ]
)


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize("date_header", ["Sun, 01 Nov 2026 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "9" * 40])
@pytest.mark.parametrize("status", [429, 503])
def test_an_absurd_moment_to_come_back_at_is_none_or_beyond_the_total_time(
    status: int, date_header: str, value: str, failing: Callable[..., EnableXError], clock: Clock
) -> None:
    def absurd(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(status)
        for name, text in {"Date": date_header, "Retry-After": value, "Content-Length": "0"}.items():
            handler.send_header(name, text)
        handler.end_headers()

    error = failing(absurd, tries=2)
    assert isinstance(error, Unavailable)
    assert "beyond the 3600 s" in str(error) if error.tries == 1 else max(clock.slept) <= 1


@settings(max_examples=100)
@given(st.lists(date_pieces, max_size=8), st.lists(date_pieces, max_size=8))
def test_no_moment_to_come_back_at_is_an_error_of_its_own(value: list[str], now: list[str]) -> None:
    head = f"HTTP/1.1 503 x\r\nDate: {' '.join(now)}\r\nRetry-After: {' '.join(value)}\r\nContent-Length: 0\r\n\r\n"
    with talking(saying(head.encode())) as server, pytest.raises(Unavailable) as caught:
        received(EnableX(ID, KEY, f"http://{server.address}", tries=1).room("1"))
    assert caught.value.retry_after is None or caught.value.retry_after >= 0


def test_a_wait_beyond_the_total_time_is_not_begun(failing: Callable[..., EnableXError], clock: Clock) -> None:
    error = failing(answer(b"", 429, {"Retry-After": "7200"}))
    assert (error.tries, error.retry_after, clock.slept) == (1, 7200, [])
    assert "7200 s later" in str(error)


# Answers that cannot be used


def test_an_error_envelope_with_status_200_is_asked_for_once(failing: Callable[..., EnableXError]) -> None:
    old = failing(answer(b'{"result":"3","error":"Bad period","desc":"too long"}'))
    assert (type(old), old.permanent, old.tries, old.api_message) == (
        Rejected,
        True,
        1,
        "result 3: Bad period: too long",
    )
    new = failing(answer(b'{"status":"error","error_code":"X","message":"no","request_id":"req_1"}'))
    assert (type(new), new.request_id, new.api_message) == (Rejected, "req_1", "X: no (request_id req_1)")
    late = failing(answer(GOOD.replace(b'"result":"0",', b"")[:-1] + b',"result":5}'))
    assert (type(late), late.api_message) == (Rejected, "result 5")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"<html><title>Login</title></html>", "bytes of HTML, titled 'Login'"),
        (b'{"result":"0","list":[]}', "no cdr"),
        (GOOD + b"x", "not JSON: wrong at byte 24"),
    ],
)
def test_an_answer_that_is_not_documented_is_asked_for_once(
    body: bytes, says: str, failing: Callable[..., EnableXError]
) -> None:
    error = failing(answer(body))
    assert (type(error), error.permanent, error.tries, error.status) == (Unreadable, False, 1, 200)
    assert says in str(error)


def test_a_redirect_is_named_and_never_followed(failing: Callable[..., EnableXError]) -> None:
    with serving(answer(EMPTY)) as elsewhere:
        target = f"http://user:hunter2@{elsewhere.url[7:]}/login?token={TOKEN}"
        error = failing(answer(b"", 302, {"Location": target}))
    assert elsewhere.requests == []
    assert (type(error), error.tries) == (Rejected, 1)
    assert f"redirected to {elsewhere.url}/login" in str(error)
    assert "hunter2" not in str(error)
    assert "token=" not in str(error)


# What was asked


def test_what_was_asked_is_counted(enablex: Callable[..., EnableX], clock: Clock) -> None:
    packed = gzip.compress(GOOD)
    script = [answer(b"busy", 503, {"Retry-After": "9"}), hang_up, cut(GOOD, 1000), zipped(GOOD), answer(EMPTY)]
    with serving(*script) as server:
        client = enablex(server.url)
        request = client.period(DAY, DAY)
        assert request.asked == Asked()
        assert received(request) == RECORDS
        assert request.asked == Asked(4, clock.now, len(b"busy") + 1000 + len(packed))
        assert (request.asked.requests, request.asked.retries) == (4, 3)
        assert clock.now > 9
        other = client.room("1")
        received(other)
        assert other.asked == Asked(1, 0, len(EMPTY))
    assert (other.asked.retries, Asked().retries) == (0, 0)


def test_what_failed_in_the_end_is_counted_too(enablex: Callable[..., EnableX]) -> None:
    with serving(answer(b"no", 404)) as server:
        request = enablex(server.url).room("1")
        with pytest.raises(NotFound):
            received(request)
    assert request.asked == Asked(1, 0, 2)


# What the caller does with the batches


def test_the_callers_own_error_propagates_and_ends_the_loop(enablex: Callable[..., EnableX]) -> None:
    def full(batches: Iterator[Batch]) -> list[bytes]:
        next(batches)
        raise OSError(28, "No space left on device")

    with serving(answer(GOOD)) as server:
        client = enablex(server.url)
        with pytest.raises(OSError, match="No space left"):
            received(client.period(DAY, DAY), full)
        assert len(server.requests) == 1
        assert received(client.period(DAY, DAY)) == RECORDS


def wrapping(batches: Iterator[Batch]) -> list[bytes]:
    try:
        return lines(batches)
    except EnableXError as error:
        raise RuntimeError("could not receive") from error


def swallowing(batches: Iterator[Batch]) -> list[bytes]:
    try:
        return lines(batches)
    except EnableXError:
        return []


def stopping(batches: Iterator[Batch]) -> list[bytes]:
    return lines(itertools.islice(batches, 1))


@pytest.mark.parametrize("receive", [wrapping, swallowing, stopping])
def test_a_broken_answer_never_counts_as_whole_whatever_the_caller_does(
    receive: Callable[[Iterator[Batch]], list[bytes]], enablex: Callable[..., EnableX]
) -> None:
    with serving(cut(GOOD, len(GOOD) - 1), answer(GOOD)) as server:
        records = received(enablex(server.url).period(DAY, DAY), receive)
    assert len(server.requests) == 2
    assert records == (RECORDS[:-1] if receive is stopping else RECORDS)
    with serving(answer(GOOD + b"x")) as server, pytest.raises(Unreadable):
        received(enablex(server.url).period(DAY, DAY), receive)


def test_an_interrupt_is_never_suppressed(enablex: Callable[..., EnableX]) -> None:
    def interrupted(batches: Iterator[Batch]) -> list[bytes]:
        try:
            return lines(batches)
        except EnableXError:
            raise KeyboardInterrupt from None

    with serving(cut(GOOD, 100)) as server, pytest.raises(KeyboardInterrupt):
        received(enablex(server.url).period(DAY, DAY), interrupted)
    assert len(server.requests) == 1


def test_an_answer_that_nobody_reads_is_still_read_to_its_end(enablex: Callable[..., EnableX]) -> None:
    with serving(cut(GOOD, len(GOOD) - 1), answer(GOOD)) as server:
        for attempt in enablex(server.url).period(DAY, DAY):
            with attempt:
                pass
    assert (len(server.requests), attempt.number, attempt.is_whole) == (2, 2, True)


def test_an_attempt_that_was_not_entered_is_an_error_of_the_caller(enablex: Callable[..., EnableX]) -> None:
    with serving(answer(GOOD)) as server, pytest.raises(RuntimeError, match="with attempt as batches"):
        list(enablex(server.url).period(DAY, DAY))
    assert server.requests == []


@pytest.mark.parametrize("body", [b'{"result":0}', b'{"cdr":null,"result":"0","desc":"none"}'])
def test_success_without_a_list_of_records_is_an_answer_that_says_so(
    body: bytes, enablex: Callable[..., EnableX]
) -> None:
    with serving(answer(body)) as server:
        for attempt in enablex(server.url).period(DAY, DAY):
            with attempt as batches:
                (batch,) = batches
    assert (len(server.requests), attempt.is_whole) == (1, True)
    assert batch == Batch(has_no_list=True)


# Secrets

SPELLINGS = [
    TOKEN,
    TOKEN.rstrip("="),
    base64.urlsafe_b64encode(base64.b64decode(TOKEN)).decode(),
    KEY,
    quote(KEY, safe="").lower(),
    KEY.replace("&<longer>", "&amp;&lt;longer&gt;"),
    KEY.replace("/", "&#x2F;"),
    KEY.replace("€", "\\u20ac").replace("/", "\\/"),
]


def echo(status: int, body: str) -> Answer:
    return answer(body.encode(), status, {"Location": f"/{TOKEN}"})


@pytest.mark.parametrize("status", [200, 302, 401, 404, 500])
@pytest.mark.parametrize("secret", SPELLINGS)
@pytest.mark.parametrize(
    "body",
    [
        "<pre>Authorization: Basic {}</pre>",
        "<html><title>Basic {}</title>",
        '{{"result":1,"error":"{0}","desc":"{0}","request_id":"{0}"}}',
        '{{"result":"0","cdr":[],"x":"{}"',
        '{{"result":1,"desc":"' + "x" * 180 + '{}"}}',
        '{{"result":1,"desc":"' + "x" * 188 + '{}"}}',
    ],
)
def test_credentials_are_never_shown(
    status: int, secret: str, body: str, enablex: Callable[..., EnableX], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(echo(status, body.format(secret))) as server:
        client = enablex(server.url)
        with pytest.raises(EnableXError) as caught:
            received(client.period(DAY, DAY))
    error = caught.value
    shown = [
        str(error),
        repr(error),
        repr(vars(error)),
        repr(client),
        caplog.text,
        "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    ]
    for text, spelling in itertools.product(shown, SPELLINGS):
        assert spelling[:6] not in text
    # A text that is no refusal is not quoted at all.
    assert ("[redacted]" in str(error)) == ("desc" in body or status == 302 or ("title" in body and "<" not in secret))
    held = [value for frame, _ in traceback.walk_tb(error.__traceback__) for value in frame.f_locals.values()]
    assert not any(isinstance(value, requests.Response) for value in held)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_credentials_that_cannot_be_written_are_not_shown_either() -> None:
    with pytest.raises(BadSetting, match="the app key has") as caught:
        EnableX(ID, "hunter\ud8002").room("1")
    assert caught.value.settings == ("app_key",)
    assert "hunter" not in "".join(traceback.format_exception(type(caught.value), caught.value, None))


def test_each_retry_is_logged_with_its_reason(
    enablex: Callable[..., EnableX], caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    with serving(
        answer(b"maintenance", 503, {"Content-Type": "text/plain; charset=utf-8"}), cut(GOOD, 100), answer(GOOD)
    ) as server:
        received(enablex(server.url).period(DAY, DAY))
    logged = [record.getMessage() for record in caplog.records if record.name == "cdr_assets.enablex.client"]
    path = "GET /cdr/period/2026-11-01/2026-11-01: "
    assert logged[0] == f"{path}503: 11 bytes of text/plain; try 2 of 5 in {clock.slept[0]:.1f} s"
    assert logged[1].startswith(f"{path}the body broke off: IncompleteRead")
    assert logged[1].endswith(f"; try 3 of 5 in {clock.slept[1]:.1f} s")
    assert len(logged) == 2
