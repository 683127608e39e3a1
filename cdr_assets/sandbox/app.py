"""The HTTP side: four GET routes under `/video/v2`, Basic auth, two error envelopes, and faults on request.

EnableX's documents leave some points open. The sandbox decides them so: `to_date` is inclusive, the period filter uses
`trans_date`, the answer for a day without calls is an empty list, and a record appears some minutes after its
connection has ended, at the latest when its UTC day closes. So the open day grows, and a closed one does not.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from http import HTTPStatus
from itertools import chain, count, islice

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdr_assets.sandbox import calls
from cdr_assets.sandbox.calls import Record, Settings

BASE_PATH = "/video/v2"

_RECORDS_A_CHUNK = 250
_ERROR_CODES = {400: "INVALID_PARAMETER", 429: "RATE_LIMITED", 500: "INTERNAL_ERROR"}


@dataclass
class Faults:
    """Which answers fail, and how. May be changed while the sandbox runs; each failing answer lowers its count."""

    fail_status: int = 503
    """HTTP status of failing answers; with 200, the error envelope comes with a success status."""
    fail_times: int = 0
    """How many answers fail."""
    fail_each_path: bool = False
    """Whether `fail_times` counts for each path separately; it stays as it is then."""
    retry_after: int | None = None
    """Seconds that failing answers ask to wait."""
    cut_times: int = 0
    """How many answers break off in the middle of their body."""
    delay_ms: int = 0
    """Milliseconds before each answer."""
    spill_minutes: int = 0
    """An answer for a period also holds the records up to this long before and after it."""
    late_share: float = 0.0
    """The share of records, 0 to 1, that appear late. Each record is always late or never."""
    late_hours: float = 6.0
    """How long after their `trans_date` late records appear."""
    _failed: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    def take_failure(self, path: str) -> bool:
        """Whether the answer to this request fails."""
        if self.fail_each_path:
            self._failed[path] += 1
            return self._failed[path] <= self.fail_times
        failing = self.fail_times > 0
        self.fail_times -= failing
        return failing

    def take_cut(self) -> bool:
        """Whether the answer to this request breaks off."""
        cut = self.cut_times > 0
        self.cut_times -= cut
        return cut


@dataclass
class State:
    """One sandbox: its calls, its faults, its clock, and the requests that it answered."""

    settings: Settings
    faults: Faults
    clock: Callable[[], datetime]
    """The present, as an aware datetime."""
    requests: list[tuple[str, int]] = field(default_factory=list)
    """(path, status) of every answer, in the order in which they began. The path is decoded and starts with a slash."""


def create_app(state: State) -> Starlette:
    """The sandbox as an ASGI application. The caller may read and change `state` while it runs."""
    api = _Api(state)
    routes = {
        "/cdr/period/{from_date}/{to_date}": api.period,
        "/cdr/room/{room_id}": api.room,
        "/cdr/room-period/{room_id}/{from_date}/{to_date}": api.room_period,
        "/cdr/conf/{conf_num}": api.conference,
    }
    return Starlette(
        routes=[Route(BASE_PATH + path, endpoint, methods=["GET"]) for path, endpoint in routes.items()],
        middleware=[Middleware(_Gate, state=state, refuse=api.refuse)],
        exception_handlers={HTTPException: api.explain},
    )


class _Api:
    """The routes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._request_numbers = count(1)

    async def period(self, request: Request) -> Response:
        return self._records_of_period(request)

    async def room(self, request: Request) -> Response:
        begin, end = _midnight(self._state.settings.start), self._state.clock() + timedelta(milliseconds=1)
        return self._answer(calls.records_between(self._state.settings, begin, end, self._known_room(request)))

    async def room_period(self, request: Request) -> Response:
        return self._records_of_period(request, self._known_room(request))

    async def conference(self, request: Request) -> Response:
        settings = self._state.settings
        number = request.path_params["conf_num"]
        conference = calls.find_conference(settings, number)
        if conference is None or calls.begun_at(conference) > self._state.clock():
            raise HTTPException(404, f"No conference {number!r}")
        return self._answer(calls.records_of_conference(settings, conference))

    def refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        """An error in the envelope of the settings."""
        phrase = HTTPStatus(status).phrase
        if self._state.settings.errors == "older":
            return JSONResponse({"result": status, "error": phrase, "desc": message}, status, headers)
        code = _ERROR_CODES.get(status, phrase.upper().replace(" ", "_"))
        request_id = f"req_{next(self._request_numbers):012x}"
        return JSONResponse(
            {"status": "error", "error_code": code, "message": message, "request_id": request_id}, status, headers
        )

    async def explain(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self.refuse(error.status_code, error.detail, dict(error.headers or {}))

    def _records_of_period(self, request: Request, room_id: str | None = None) -> Response:
        first, last = (_day(request.path_params[name]) for name in ("from_date", "to_date"))
        if first > last:
            raise HTTPException(400, f"from_date {first} is after to_date {last}")
        now = self._state.clock()
        # There are no records outside these days, so a period of centuries takes no longer than the days with calls.
        first, last = max(first, self._state.settings.start), min(last, now.date())
        if first > last:
            return self._answer(())
        spill = timedelta(minutes=self._state.faults.spill_minutes)
        begin, end = _midnight(first) - spill, _midnight(last) + timedelta(days=1) + spill
        return self._answer(calls.records_between(self._state.settings, begin, end, room_id))

    def _known_room(self, request: Request) -> str:
        room_id: str = request.path_params["room_id"]
        if room_id not in calls.rooms(self._state.settings):
            raise HTTPException(404, f"No room {room_id!r}")
        return room_id

    def _answer(self, records: Iterable[Record]) -> Response:
        opening = b'{"result":0,"cdr":[' if self._state.settings.shape == "current" else b'{"result":"0","cdr":['
        return StreamingResponse(_body(opening, self._appeared(records)), media_type="application/json")

    def _appeared(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that have appeared by now."""
        now, faults, most_minutes = self._state.clock(), self._state.faults, self._state.settings.lag_minutes
        latest, latest_of_late = calls.stamp(now), calls.stamp(now - timedelta(hours=faults.late_hours))
        surely, today = calls.stamp(now - timedelta(minutes=most_minutes)), latest[:10]
        share = faults.late_share
        for record in records:
            ended = record["trans_date"]
            if ended > latest:
                continue
            if ended > surely and ended >= today and ended > calls.stamp(now - _lag(record, most_minutes)):
                continue
            if ended <= latest_of_late or not _is_late(record, share):
                yield record


class _Gate:
    """Runs before the routes: logs the request, applies the faults, and checks the credentials."""

    def __init__(self, app: ASGIApp, state: State, refuse: Callable[..., Response]) -> None:
        self._app = app
        self._state = state
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, faults = scope["path"], self._state.faults

        async def send_and_log(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._state.requests.append((path, message["status"]))
            await send(message)

        if faults.delay_ms > 0 and await _left_within(receive, faults.delay_ms / 1000):
            return
        if faults.take_failure(path):
            headers = {} if faults.retry_after is None else {"Retry-After": str(faults.retry_after)}
            await self._refuse(faults.fail_status, "As the sandbox's faults ask", headers)(scope, receive, send_and_log)
        elif not self._authorized(Request(scope)):
            headers = {"WWW-Authenticate": 'Basic realm="EnableX"'}
            await self._refuse(401, "Unknown App ID or App Key", headers)(scope, receive, send_and_log)
        elif faults.take_cut():
            await self._app(scope, receive, _cut(send_and_log))
        else:
            await self._app(scope, receive, send_and_log)

    def _authorized(self, request: Request) -> bool:
        settings = self._state.settings
        credentials = base64.b64encode(f"{settings.app_id}:{settings.app_key}".encode()).decode()
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "basic" and hmac.compare_digest(given.encode(), credentials.encode())


async def _left_within(receive: Receive, seconds: float) -> bool:
    """Waits that long, or until the client disconnects. Returns whether it disconnected."""

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(leave(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


def _cut(send: Send) -> Send:
    """A send that passes on the first half of the body. As the rest is missing, the server then disconnects."""
    body = bytearray()

    async def send_half(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        body.extend(message.get("body", b""))
        if not message.get("more_body", False):
            await send({"type": "http.response.body", "body": bytes(body[: len(body) // 2]), "more_body": True})

    return send_half


def _body(opening: bytes, records: Iterator[Record]) -> Iterator[bytes]:
    """The answer, in chunks of a few hundred records."""
    yield opening
    separator = b""
    for record in records:
        yield separator + b",".join(map(calls.encode, chain((record,), islice(records, _RECORDS_A_CHUNK - 1))))
        separator = b","
    yield b"]}"


def _lag(record: Record, most_minutes: int) -> timedelta:
    """From the end of a connection to the record of it: a tenth of the longest time, or more."""
    return timedelta(milliseconds=int(most_minutes * 60_000 * (0.1 + 0.9 * _fraction(record, 4))))


def _is_late(record: Record, share: float) -> bool:
    return share > 0 and _fraction(record, 0) < share


def _fraction(record: Record, place: int) -> float:
    """From 0 to below 1, always the same for a record. Each place gives another."""
    digest = hashlib.sha256(record["cdr_id"].encode()).digest()
    return int.from_bytes(digest[place : place + 4], "big") / 2**32


def _day(text: str) -> date:
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, f"{text!r} is not a date as YYYY-MM-DD") from None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)
