"""A webhook on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cdr_assets_tests.httpserver import on_a_thread


@dataclass
class Webhook:
    """Somebody's incoming webhook."""

    url: str = ""
    status: int = 200
    posts: list[tuple[str, str | None, Any]] = field(default_factory=list)


SECRET = "T0123/B4567/nobody-may-read-this"


@contextmanager
def listening(webhook: Webhook) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            webhook.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(webhook.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        webhook.url = f"http://127.0.0.1:{http.server_port}/services/{SECRET}"
        with on_a_thread(http):
            yield
