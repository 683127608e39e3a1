"""Connections that end at a deadline, whatever the other side sends or holds back.

A timeout of a socket is about one read. A server that sends a byte a second, in the status line, in a header, in the
size of a chunk or in endless interim answers, never lets it pass. So a timer shuts the sockets of a request down from
outside when its time is up: whoever reads from them then finds their end.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

_log = logging.getLogger(__name__)


class Deadline:
    """When the request that is under way ends. For one request at a time."""

    def __init__(self) -> None:
        self.has_passed = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._sockets: list[socket.socket] = []

    @contextmanager
    def of_request(self, seconds: float) -> Iterator[None]:
        """The sockets used inside are shut down `seconds` from now, unless the request ends before."""
        self.has_passed = False
        self.set(seconds)
        try:
            yield
        finally:
            self._stop_timer()
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def set(self, seconds: float) -> None:
        """Sets the deadline of the request, `seconds` from now."""
        self._stop_timer()
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._pass)
        self._timer.name, self._timer.daemon = "deadline", True
        self._timer.start()

    def hold(self, used: socket.socket) -> None:
        """Notes a socket that the request uses, before anything is read from it."""
        # A descriptor of our own: TLS takes the socket's away, and the socket may be closed and its number used again.
        held = socket.socket(fileno=os.dup(used.fileno()))
        with self._lock:
            self._sockets.append(held)
            if self.has_passed:
                _shut_down(held)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer.join()

    def _pass(self) -> None:
        with self._lock:
            self.has_passed = True
            for held in self._sockets:
                _shut_down(held)


def _shut_down(used: socket.socket) -> None:
    with suppress(OSError):  # It was never connected, or the other side has closed it.
        # Once it is closed too, the other side is told so at once, even one that only sends.
        used.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        used.shutdown(socket.SHUT_RDWR)


class BoundedSession(requests.Session):
    """A session whose connections end at `deadline`. It follows no redirect."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        for prefix in [*self.adapters]:
            self.mount(prefix, _Adapter(deadline))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: even a redirect that is not followed would be read to its end, however long it is."""


class _Adapter(HTTPAdapter):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._bind(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not is_known:
            self._bind(manager)
        return manager

    def _bind(self, manager: urllib3.PoolManager) -> None:
        """Makes the pools of the manager use connections that know the deadline."""
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._bound(pool)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _bound(self, pool: Any) -> type:
        connection = pool.ConnectionCls
        return type(connection.__name__, (_BoundedConnection, connection), {"deadline": self._deadline})


class _BoundedConnection(urllib3.connection.HTTPConnection):
    """Tells the deadline of each socket that it uses, from the moment when it is connected."""

    deadline: Deadline
    _sock: socket.socket | None = None

    @property
    def sock(self) -> Any:
        return self._sock

    @sock.setter
    def sock(self, used: socket.socket | None) -> None:
        self._sock = used
        if used:
            self.deadline.hold(used)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self._sock:
            self.deadline.hold(self._sock)
        super().request(*args, **kwargs)

    class response_class(http.client.HTTPResponse):
        def begin(self) -> None:
            super().begin()
            # urllib3 would log the text of what is no header, which can be that of a record.
            if self.msg.get_payload():
                _log.warning("the answer has a header that cannot be read; it and those after it are ignored")
            self.msg.defects.clear()
            self.msg.set_payload("")
