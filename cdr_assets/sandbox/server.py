"""The sandbox as a server on a loopback port, in a thread of this process."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from threading import Thread

import uvicorn

from cdr_assets.sandbox.app import BASE_PATH, Faults, State, create_app
from cdr_assets.sandbox.calls import Settings

__all__ = ["Faults", "Sandbox", "Settings", "serve", "ticking", "utc_now"]

_HOST = "127.0.0.1"


@dataclass(kw_only=True)
class Sandbox(State):
    """A running sandbox. `faults`, `clock` and `settings` may be replaced while it runs."""

    base_url: str

    @property
    def app_id(self) -> str:
        return self.settings.app_id

    @property
    def app_key(self) -> str:
        return self.settings.app_key

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a client here, and tell `cdr-assets` that the calls are invented."""
        return {
            "CDR_SANDBOX": self.base_url,
            "ENABLEX_BASE_URL": self.base_url,
            "ENABLEX_APP_ID": self.app_id,
            "ENABLEX_APP_KEY": self.app_key,
        }


def utc_now() -> datetime:
    """The current time, aware."""
    return datetime.now(timezone.utc)


def ticking(start: datetime, speed: float) -> Callable[[], datetime]:
    """A clock that shows `start` now and runs `speed` times as fast as real time. With 0 it stands still."""
    began = time.monotonic()
    return lambda: start + timedelta(seconds=(time.monotonic() - began) * speed)


@contextmanager
def serve(
    settings: Settings | None = None,
    *,
    faults: Faults | None = None,
    clock: Callable[[], datetime] = utc_now,
    port: int = 0,
) -> Iterator[Sandbox]:
    """A sandbox that runs while the context is open. Port 0 takes a free one.

    `clock` gives the current time as an aware datetime. Raises `OSError` if the port cannot be opened.
    """
    # The socket listens before anyone knows its address: a request that comes before the thread runs is queued.
    with socket.create_server((_HOST, port)) as listener:
        sandbox = Sandbox(
            settings=settings or Settings(),
            faults=faults or Faults(),
            clock=clock,
            base_url=f"http://{_HOST}:{listener.getsockname()[1]}{BASE_PATH}",
        )
        # With log_config=None, uvicorn leaves the logging of this process as it is.
        config = uvicorn.Config(
            create_app(sandbox),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        try:
            yield sandbox
        finally:
            server.should_exit = True
            thread.join()
