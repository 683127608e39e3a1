"""The total time of a request ends it, whatever the server does and however slowly it does it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import BadCredentials, EnableXError, Rejected, Unavailable
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.rawserver import (
    Talk,
    certificate,
    drip,
    dripping,
    flooding,
    over_tls,
    proxying,
    read_request,
    saying,
    talking,
)

TOTAL_S = 0.4
FOREVER_S = 4 * PATIENCE_S
TOO_LONG = "took longer than|timed out"
HOST = "enablex.example"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = b'{"result":"0","cdr":[]}'
GOOD = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(EMPTY), EMPTY)


def silent(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


SLOW: dict[str, Talk] = {
    "status line": dripping(b"", b"HTTP/1.1 200 OK OK OK "),
    "header": dripping(HEAD + b"X: ", b"x"),
    "headers": dripping(HEAD, b"X: y\r\n"),
    "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue, fast": flooding(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "length of a chunk": dripping(CHUNKED, b"0"),
    "extension of a chunk": dripping(CHUNKED + b"5;", b"x"),
    "chunks": dripping(CHUNKED + b"17\r\n" + EMPTY + b"\r\n", b"1\r\n \r\n"),
    "trailer": dripping(CHUNKED + b"17\r\n" + EMPTY + b"\r\n0\r\nX:", b"x"),
    "trailers": dripping(CHUNKED + b"17\r\n" + EMPTY + b"\r\n0\r\n", b"X: y\r\n"),
    "body": dripping(HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "body without length": dripping(HEAD + b"\r\n" + EMPTY, b" "),
    "end of a body without length": dripping(HEAD + b"Connection: close\r\n\r\n" + EMPTY, b" "),
    "compressed body": dripping(HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\0", b"x"),
    "silence": silent,
}


@contextmanager
def leaves_no_timer() -> Iterator[None]:
    """No deadline is to come after what is inside."""
    threads = set(threading.enumerate())
    yield
    assert {thread for thread in set(threading.enumerate()) - threads if thread.name == "deadline"} == set()


def error_of(base_url: str, **options: Any) -> EnableXError:
    """The error of a request. Without the limit that the test is about it never comes: no other one is that short."""
    client = EnableX("id", "key", base_url, **{"total_seconds": TOTAL_S, "read_seconds": FOREVER_S, **options})
    with leaves_no_timer(), pytest.raises(EnableXError) as caught:
        ask(client)
    client.close()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value


def ask(client: EnableX) -> None:
    """Reads an answer without records."""
    for attempt in client.room("1"):
        with attempt as batches:
            assert list(batches) == []
    assert attempt.is_whole


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW.keys())
def test_a_slow_answer_ends_with_the_total_time(slow: Talk) -> None:
    with talking(slow) as server:
        error = error_of(f"http://{server.address}")
    assert isinstance(error, Unavailable)
    assert error.tries == 1
    assert server.connections <= 1
    assert re.search(rf"it took longer than the {TOTAL_S} s for all tries|timed out", str(error))


@pytest.mark.parametrize(
    "body",
    [
        dripping(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        dripping(b"HTTP/1.1 401 No\r\n\r\n", b" "),
        dripping(b'HTTP/1.1 401 No\r\n\r\n{"result":7,"desc":"no"}', b" "),
    ],
)
@pytest.mark.parametrize("limit", ["total_seconds", "read_seconds"])
def test_the_slow_body_of_an_error_does_not_hide_the_error(body: Talk, limit: str) -> None:
    def clock() -> float:
        # The total time is nearly over once somebody has connected: the head has all the time that it needs.
        return FOREVER_S - TOTAL_S if server.connections else 0.0

    options: dict[str, Any] = {"clock": clock} if limit == "total_seconds" else {"read_seconds": TOTAL_S}
    with talking(body) as server:
        error = error_of(f"http://{server.address}", total_seconds=FOREVER_S, **options)
    assert isinstance(error, BadCredentials)


def test_an_endless_redirect_is_not_read() -> None:
    endless = flooding(b"x" * 65_536, after=b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n")
    with talking(endless) as server:
        error = error_of(f"http://{server.address}", total_seconds=FOREVER_S)
    assert isinstance(error, Rejected)
    assert str(error).endswith("302: redirected to /login")


# TLS, and through a proxy


@pytest.fixture
def pem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = certificate(tmp_path, HOST)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    return file


@pytest.fixture(params=["http", "https"])
def proxy_scheme(request: pytest.FixtureRequest) -> str:
    """How the proxy itself is talked to."""
    return str(request.param)


@contextmanager
def through_proxy(talk: Talk, scheme: str, pem: Path) -> Iterator[str]:
    """The base URL of an EnableX that is only reached through a proxy, and that answers by `talk`."""
    with talking(talk) as server:
        proxy = proxying(server.address)
        with at_proxy(over_tls(proxy, pem) if scheme == "https" else proxy, scheme) as url:
            yield url


@contextmanager
def at_proxy(talk: Talk, scheme: str) -> Iterator[str]:
    """The base URL of an EnableX behind a proxy that answers by `talk`."""
    with pytest.MonkeyPatch.context() as patch, talking(talk) as proxy:
        patch.setenv("https_proxy", f"{scheme}://{proxy.address}")
        yield f"https://{HOST}/video/v2"


def test_an_answer_comes_through_tls_and_a_proxy(proxy_scheme: str, pem: Path) -> None:
    with through_proxy(over_tls(saying(GOOD), pem), proxy_scheme, pem) as url:
        client = EnableX("id", "key", url)
        ask(client)
        client.close()


@pytest.mark.parametrize("where", ["status line", "header", "continue", "length of a chunk", "body"])
def test_a_slow_answer_through_tls_and_a_proxy_ends_with_the_total_time(
    where: str, proxy_scheme: str, pem: Path
) -> None:
    with through_proxy(over_tls(SLOW[where], pem), proxy_scheme, pem) as url:
        assert re.search(TOO_LONG, str(error_of(url)))


def test_a_slow_handshake_behind_a_proxy_ends_with_the_total_time(proxy_scheme: str, pem: Path) -> None:
    with through_proxy(slow_handshake, proxy_scheme, pem) as url:
        assert re.search(TOO_LONG, str(error_of(url)))


def test_a_slow_proxy_ends_with_the_total_time(pem: Path) -> None:
    slow = dripping(b"HTTP/1.1 200 OK\r\nX:", b"x")
    for scheme, talk in {"http": slow, "https": over_tls(slow, pem)}.items():
        with at_proxy(talk, scheme) as url:
            assert re.search(TOO_LONG, str(error_of(url)))


def test_a_slow_handshake_of_a_proxy_ends_with_the_total_time(pem: Path) -> None:
    with at_proxy(slow_handshake, "https") as url:
        assert re.search(TOO_LONG, str(error_of(url)))


def slow_handshake(connection: socket.socket) -> None:
    """Begins a TLS record of 16 KB."""
    connection.recv(4096)
    connection.sendall(b"\x16\x03\x03\x40\x00")
    drip(connection, b"\x02")


def test_a_loopback_server_is_talked_to_over_tls_too(pem: Path) -> None:
    with talking(over_tls(saying(GOOD), pem)) as server:
        error = error_of(f"https://{server.address}", total_seconds=FOREVER_S, tries=1)
    # On loopback nothing of the environment counts, so the certificate is not trusted.
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_requests_of_one_client_have_a_deadline_each() -> None:
    now, talks = 0.0, iter([silent, saying(GOOD), saying(GOOD)])
    limits: dict[str, Any] = {"total_seconds": FOREVER_S, "read_seconds": FOREVER_S, "tries": 1}
    with talking(lambda connection: next(talks)(connection)) as server, leaves_no_timer():
        client = EnableX("id", "key", f"http://{server.address}", clock=lambda: now, **limits)
        with pytest.raises(Unavailable):  # noqa: PT012
            for attempt in client.room("1"):
                now = FOREVER_S - TOTAL_S
                with attempt:
                    pass
        for _ in range(2):
            ask(client)
        client.close()
