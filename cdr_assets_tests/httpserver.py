"""A local HTTP server that answers from a script: one function per request, in order; the last one repeats."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    url: str
    requests: list[tuple[str, Message]] = field(default_factory=list)
    """Path and headers of each request, in the order in which they came."""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def serving(*script: Answer) -> Iterator[Server]:
    """A server on a free loopback port. It is ready inside the `with` and stopped after it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, self.headers))
            script[min(len(server.requests), len(script)) - 1](self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(f"http://127.0.0.1:{http.server_port}")
        with on_a_thread(http):
            yield server


@contextmanager
def on_a_thread(http: ThreadingHTTPServer) -> Iterator[None]:
    """The server answers inside the `with`."""
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        http.shutdown()
        thread.join()


def answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A body with a Content-Length."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, status, {"Content-Length": str(len(body)), **(headers or {})})
        handler.wfile.write(body)

    return send


def zipped(body: bytes, without_last: int = 0) -> Answer:
    """A body compressed with gzip. `without_last` bytes are cut off, and the Content-Length is that of the rest."""
    packed = gzip.compress(body)
    return answer(packed[: len(packed) - without_last], headers={"Content-Encoding": "gzip"})


def chunked(pieces: Sequence[bytes], whole: bool = True) -> Answer:
    """A body in HTTP chunks. Without `whole` the connection closes before the chunk that ends the body."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, {"Transfer-Encoding": "chunked"})
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return send


def cut(body: bytes, at: int) -> Answer:
    """The first `at` bytes of a body, with the Content-Length of all of it."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, {"Content-Length": str(len(body))})
        handler.wfile.write(body[:at])
        handler.close_connection = True

    return send


def until_closed(body: bytes) -> Answer:
    """A body without a Content-Length, which ends when the connection closes."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, {"Connection": "close"})
        handler.wfile.write(body)
        handler.close_connection = True

    return send


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """No answer at all."""
    handler.close_connection = True


def _head(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
