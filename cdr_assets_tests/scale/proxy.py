"""A proxy in front of the S3 store: it counts requests, and can refuse them, cut answers off, or kill who asks."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from cdr_assets_tests.httpserver import on_a_thread
from cdr_assets_tests.scale import S3


@dataclass
class Proxy:
    url: str
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, in the order in which they came."""
    refuses: Callable[[str], bool] = lambda request: False
    """Whether such a request is answered with 503."""
    cuts: Callable[[str], bool] = lambda request: False
    """Whether the answer to such a request breaks off in the middle."""
    kill_at: tuple[int, str] | None = None
    """At which request `victim` is killed, counted from 1: `before` it reaches the store, or `after` it did."""
    victim: int = 0

    def kill(self, number: int, when: str) -> None:
        if self.kill_at == (number, when):
            os.kill(self.victim, signal.SIGKILL)


@contextmanager
def proxied() -> Iterator[Proxy]:
    """A proxy on a free port, ready inside the `with`."""
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = f"{self.command} {self.path}"
            with counting:
                proxy.requests.append(request)
                number = len(proxy.requests)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.kill(number, "before")
            if proxy.kill_at == (number, "before"):
                self.close_connection = True
                return
            if proxy.refuses(request):
                self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                return
            # The signature holds for the host that was asked for, so the headers stay as they are.
            store = http.client.HTTPConnection(urlsplit(S3).netloc)
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                store.putheader(name, value)
            store.endheaders(body or None)
            answer = store.getresponse()
            content = answer.read()
            store.close()
            proxy.kill(number, "after")
            if proxy.kill_at == (number, "after"):
                self.close_connection = True
                return
            left_out = {"content-length", "transfer-encoding", "connection"}
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in left_out}
            if self.command == "HEAD":
                headers["Content-Length"] = answer.getheader("Content-Length") or "0"
            self._answer(answer.status, headers, content, cut=proxy.cuts(request))

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

        def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = cut

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Whoever asked is dead."""

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
        with on_a_thread(server):
            yield proxy
