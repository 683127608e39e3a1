"""The pace of requests to EnableX, shared by everyone who uses the same file, or on several machines the same Postgres.

Kept there is the moment from which the next request may be sent. Whoever sends one puts that moment one interval
ahead, so requests are spread evenly, and nobody saves turns up. There is no queue: of those who wait, the one who looks
first goes first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cdr_assets.postgres import Postgres

MAX_REST_S = 3600.0
"""The longest rest. A server that asks for more is asked again after it."""

LOCK_SECONDS = 2.0
"""Patience with whoever holds the lock, who needs it for less than a millisecond."""

_MOMENT_S = 0.001

_LENGTH = 64
"""Bytes of the file. It never grows, so a full disk does not stop it."""


class SharedPace:
    """Spreads requests evenly: `per_minute` of them, without a limit if it is 0.

    `file` is made with its folder when it is first needed. `clock` counts seconds, and is one for all processes of the
    machine: the default also is, and nobody sets it.
    """

    def __init__(self, file: Path, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._interval = 60 / per_minute if per_minute else 0.0

    def take(self) -> float:
        """Takes the turn to send a request now, and returns 0; or returns after how many seconds to ask again."""
        try:
            with self._opened() as file:
                now = self._clock()
                wait = self._wait(file, now)
                if not wait and self._interval:
                    self._write(file, now + self._interval, now)
                return wait
        except Timeout:
            return max(self._interval, LOCK_SECONDS)

    def rest(self, seconds: float) -> None:
        """Nobody's turn comes before `seconds` have passed, MAX_REST_S at most. A longer rest goes on."""
        with suppress(Timeout), self._opened() as file:
            now = self._clock()
            self._write(file, now + max(self._wait(file, now), min(seconds, MAX_REST_S)), now)

    def _wait(self, file: int, now: float) -> float:
        """Seconds until the next request may be sent."""
        try:
            free_at, written_at = map(float, os.pread(file, _LENGTH, 0).split())
        except ValueError:
            return 0.0  # There is nothing in it yet, or a process was killed while it wrote.
        # Another clock wrote it, of another machine or from before a restart, if that is not in the past.
        is_known = written_at <= now and free_at <= written_at + max(MAX_REST_S, self._interval)
        return max(free_at - now, 0.0) if is_known else 0.0

    @contextmanager
    def _opened(self) -> Iterator[int]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{self._file}.lock", timeout=LOCK_SECONDS, poll_interval=0.005, mode=0o600):
            file = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                yield file
            finally:
                os.close(file)

    def _write(self, file: int, free_at: float, now: float) -> None:
        try:
            os.pwrite(file, f"{free_at:.6f} {now:.6f}".ljust(_LENGTH - 1).encode() + b"\n", 0)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._file)) from None


class PostgresPace:
    """The same for every process of every machine that uses the Postgres server of the lake. Its clock is the clock.

    Raises PostgresError where the server cannot be asked: without it nobody knows what the others send.
    """

    def __init__(self, postgres: Postgres, per_minute: float) -> None:
        self._postgres = postgres
        self._interval = 60 / per_minute if per_minute else 0.0

    def take(self) -> float:
        """Takes the turn to send a request now, and returns 0; or returns after how many seconds to ask again."""
        with self._postgres.connection() as connection:
            if self._interval and connection.execute(_TAKE, self._values()).fetchone():
                return 0.0
            row = connection.execute(_WAIT, self._values()).fetchone()
        wait = float(row[0]) if row else 0.0
        # A turn that came since it was asked for is not taken yet.
        return max(wait, _MOMENT_S) if self._interval else wait

    def rest(self, seconds: float) -> None:
        """Nobody's turn comes before `seconds` have passed, MAX_REST_S at most. A longer rest goes on."""
        with self._postgres.connection() as connection:
            connection.execute(_REST, {**self._values(), "rest": min(seconds, MAX_REST_S)})

    def _values(self) -> dict[str, float]:
        return {"interval": self._interval, "longest": max(MAX_REST_S, self._interval)}


# A moment that is farther away than any wait was written before the server's clock was set back.
_IS_AHEAD = (
    "pace.free_at > clock_timestamp() AND pace.free_at <= clock_timestamp() + make_interval(secs => %(longest)s)"
)

# The row is locked before its moment is compared, so two never take the same turn.
_TAKE = f"""
INSERT INTO cdr_assets.pace AS pace VALUES (true, clock_timestamp() + make_interval(secs => %(interval)s))
ON CONFLICT (only_row) DO UPDATE SET free_at = clock_timestamp() + make_interval(secs => %(interval)s)
WHERE NOT ({_IS_AHEAD})
RETURNING true
"""

_WAIT = f"SELECT extract(epoch FROM free_at - clock_timestamp()) FROM cdr_assets.pace WHERE {_IS_AHEAD}"

_REST = f"""
INSERT INTO cdr_assets.pace AS pace VALUES (true, clock_timestamp() + make_interval(secs => %(rest)s))
ON CONFLICT (only_row) DO UPDATE SET free_at =
    greatest(clock_timestamp() + make_interval(secs => %(rest)s), CASE WHEN {_IS_AHEAD} THEN pace.free_at END)
"""
