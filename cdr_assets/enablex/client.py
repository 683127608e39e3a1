"""EnableX over HTTP: the four CDR routes, each asked in attempts that bring batches of records.

    for attempt in client.period(day, day):
        with attempt as batches:
            for batch in batches:
                ...

The loop goes on while the answer was not whole and asking again may help. It ends after a whole, good answer. It raises
an EnableXError when there is none.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import itertools
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from email.utils import parsedate_to_datetime
from importlib import metadata
from types import TracebackType
from typing import Protocol
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from cdr_assets.days import parse_day
from cdr_assets.enablex.answers import AnswerError, BrokenOffAnswer, RefusedAnswer, read_records, refusal
from cdr_assets.enablex.deadline import BoundedSession, Deadline
from cdr_assets.enablex.errors import (
    BadParameter,
    BadSetting,
    EnableXError,
    Rejected,
    Unavailable,
    Unreadable,
    classify_status,
    excerpt,
)
from cdr_assets.enablex.outline import describe
from cdr_assets.enablex.records import Batch
from cdr_assets.enablex.redaction import Redactor

BASE_URL = "https://api.enablex.io/video/v2"

_CHUNK_BYTES = 1 << 20
_MAX_ERROR_BODY_BYTES = 64 << 10
_BASE_WAIT_S = 1.0
_MAX_WAIT_S = 60.0

_LONG_WAIT_S = 30.0
"""A wait for the turn that is worth a warning, and the longest one without a look whether it still holds."""

_BROKEN = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What reading a body may raise: the connection ends or times out, or a length or an encoding is wrong."""

_log = logging.getLogger(__name__)


class Pace(Protocol):
    """When requests may be sent, by everyone who shares the account."""

    def take(self) -> float:
        """Takes the turn to send a request now, and returns 0; or returns after how many seconds to ask again."""

    def rest(self, seconds: float) -> None:
        """Nobody's turn comes before that many seconds have passed. What is absurdly long is cut."""


@dataclass(frozen=True)
class Asked:
    """What one call of a route took, over all its attempts."""

    requests: int = 0
    """Requests that were sent."""
    seconds: float = 0.0
    """From the call to the end of its last answer, with every wait."""
    bytes: int = 0
    """Bytes of the answers' bodies as received, so compressed where the server compressed them."""

    @property
    def retries(self) -> int:
        return max(self.requests - 1, 0)


class Attempt:
    """One try of a request. `with attempt as batches` sends it; `batches` are those of its answer.

    Reading the batches raises an EnableXError as soon as the answer turns out not to be whole or not to be good.
    Leaving the `with` reads the rest of the answer and suppresses that error: the loop then makes the next attempt, or
    raises it. What a failed attempt brought must be discarded. Any error of the caller's own propagates.

    Do not use `return` or `break` inside the loop: they skip the attempts that would follow.
    """

    def __init__(self, number: int, answer: Generator[Batch, None, None]) -> None:
        self.number = number
        """1 for the first try. After the loop: how many tries there were."""
        self.error: EnableXError | None = None
        """The error of the answer, as far as it was read."""
        self.is_whole = False
        """The answer was read to its end and was good."""
        self._answer = answer
        self._batches = self._read()

    def __enter__(self) -> Iterator[Batch]:
        return self._batches

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        with contextlib.closing(self._answer), contextlib.suppress(EnableXError):
            if error is None:
                # Only the end of an answer shows that it was whole, and the body may have stopped before it.
                deque(self._batches, maxlen=0)
        # An error that the body raises after its batches failed is a consequence of that.
        return self.error is not None and (error is None or isinstance(error, Exception))

    def _read(self) -> Iterator[Batch]:
        try:
            yield from self._answer
        except EnableXError as error:
            # The frames of the traceback and the text of the context can hold the credentials.
            error.__context__ = None
            self.error = error.with_traceback(None)
        if self.error:
            raise self.error
        self.is_whole = True


class Request(Iterator[Attempt]):
    """One call of a route: an iterator over its attempts, which knows what they took."""

    def __init__(self, attempts: Callable[[Request], Iterator[Attempt]]) -> None:
        self.asked = Asked()
        """What the attempts took so far."""
        self._attempts = attempts(self)

    def __next__(self) -> Attempt:
        return next(self._attempts)


class EnableX:
    """The four CDR routes of one EnableX project. Not to be shared between threads.

    Each route returns its attempts: one, and more while the error may pass. There are at most `tries` attempts in
    `total_seconds`, with growing waits of random length between them, or as long as the server asks for. When no answer
    was whole and good, the loop over the attempts raises an EnableXError.

    `total_seconds` bounds everything that a server can do, however slowly it does it. Only looking up its name, and
    connecting to more than one address of it, have time limits of their own.

    Before each attempt the loop waits until `pace` lets it send a request. It tells `pace` when the server asks for a
    rest: by a 429, or by a 503 that says when to come back.

    Construction never fails. Calling a route raises BadSetting when settings are missing or unsafe, and BadParameter
    when its arguments cannot be asked for. The request is sent when an attempt is entered.
    """

    def __init__(
        self,
        app_id: str | None,
        app_key: str | None,
        base_url: str = BASE_URL,
        *,
        connect_seconds: float = 10,
        read_seconds: float = 120,
        tries: int = 5,
        total_seconds: float = 3600,
        pace: Pace | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app_id, self._app_key, self._base_url = app_id or "", app_key or "", base_url.rstrip("/")
        self._connect_seconds, self._read_seconds = connect_seconds, read_seconds
        self._tries, self._total_seconds = tries, total_seconds
        self._pace, self._sleep, self._clock = pace, sleep, clock
        self._redacted = Redactor(_secrets(self._app_id, self._app_key))
        self._deadline = Deadline()
        self._session = BoundedSession(self._deadline)
        # A proxy in the environment is not meant for this machine.
        self._session.trust_env = not is_loopback(self._base_url)
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"cdr_assets/{_version()}"}
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_credentials(self._base_url)!r})"

    def period(self, from_date: date | str, to_date: date | str) -> Request:
        """CDRs of a period of UTC days, `date` or YYYY-MM-DD. EnableX does not say whether `to_date` is included."""
        return self._request(f"/cdr/period/{_period(from_date, to_date)}")

    def room(self, room_id: str) -> Request:
        """All CDRs of a room."""
        return self._request(f"/cdr/room/{_segment('room_id', room_id)}")

    def room_period(self, room_id: str, from_date: date | str, to_date: date | str) -> Request:
        """CDRs of a room in a period of UTC days."""
        return self._request(f"/cdr/room-period/{_segment('room_id', room_id)}/{_period(from_date, to_date)}")

    def conference(self, conf_num: str) -> Request:
        """All CDRs of a conference, which is one session in a room."""
        return self._request(f"/cdr/conf/{_segment('conf_num', conf_num)}")

    def close(self) -> None:
        """Closes the connections that are kept for the next call."""
        self._session.close()

    def _request(self, path: str) -> Request:
        self._check_settings()
        return Request(lambda request: self._until_whole(path, request))

    def _until_whole(self, path: str, request: Request) -> Iterator[Attempt]:
        began = self._clock()
        deadline = began + self._total_seconds
        for number in itertools.count(1):
            try:
                self._wait_for_turn(path, deadline)
            except Unavailable as too_late:
                too_late.path, too_late.tries = path, number - 1
                raise
            attempt = Attempt(number, self._answer(path, deadline, began, request))
            yield attempt
            if attempt.is_whole:
                return
            error = attempt.error
            if error is None:
                raise RuntimeError("the last attempt was not read: use `with attempt as batches` for each one")
            if not isinstance(error, BadSetting):
                error.path, error.tries = path, number
            self._rest(error)
            wait = self._wait(error, deadline)
            if wait is None:
                raise error
            _log.warning("GET %s: %s; try %d of %d in %.1f s", path, error.reason, number + 1, self._tries, wait)
            self._sleep(wait)

    def _wait_for_turn(self, path: str, deadline: float) -> None:
        """Returns when the pace lets a request be sent. Raises Unavailable when that is beyond the total time."""
        is_logged = False
        while self._pace and (wait := self._pace.take()):
            if self._clock() + wait >= deadline:
                raise Unavailable(
                    f"requests to EnableX are paced, and the next one may be sent in {wait:.0f} s: that is beyond the "
                    f"{self._total_seconds:g} s for all tries",
                    retry_after=wait,
                )
            if not is_logged:
                level = logging.INFO if wait < _LONG_WAIT_S else logging.WARNING
                _log.log(level, "GET %s: waits for its turn, which comes in %.1f s or later", path, wait)
                is_logged = True
            # A rest can be ended by hand.
            self._sleep(min(wait, _LONG_WAIT_S))

    def _rest(self, error: EnableXError) -> None:
        """Makes everyone rest if that is what the server asks for."""
        asks = error.status == 429 or (error.status == 503 and error.retry_after is not None)
        if self._pace and asks:
            self._pace.rest(_longest_backoff(error.tries) if error.retry_after is None else error.retry_after)

    def _wait(self, error: EnableXError, deadline: float) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        if not isinstance(error, Unavailable) or error.tries >= self._tries:
            return None
        wait = max(random.uniform(0, _longest_backoff(error.tries)), error.retry_after or 0)
        if self._clock() + wait < deadline:
            return wait
        error.reason += f"; another try, {wait:.0f} s later, is beyond the {self._total_seconds:g} s for all tries"
        return None

    def _answer(self, path: str, deadline: float, began: float, request: Request) -> Generator[Batch, None, None]:
        """The batches of one answer. Raises an EnableXError as soon as the answer turns out not to be good."""
        before, received = request.asked, 0
        try:
            with (
                self._deadline.of_request(self._left(deadline)),
                contextlib.closing(self._get(path, deadline)) as response,
            ):
                try:
                    yield from self._batches(response, deadline)
                finally:
                    received = response.raw.tell()
        finally:
            request.asked = Asked(before.requests + 1, self._clock() - began, before.bytes + received)

    def _batches(self, response: requests.Response, deadline: float) -> Iterator[Batch]:
        kind = classify_status(response.status_code)
        if kind:
            raise self._status_error(kind, response, deadline)
        try:
            yield from read_records(self._chunks(response, deadline))
        except _BROKEN as error:
            raise Unavailable(f"the body broke off: {self._why(error)}", status=200) from None
        except AnswerError as error:
            raise self._answer_error(error) from None

    def _get(self, path: str, deadline: float) -> requests.Response:
        left = self._left(deadline)
        try:
            return self._session.get(
                self._base_url + path,
                auth=HTTPBasicAuth(_utf8(self._app_id), _utf8(self._app_key)),
                stream=True,
                timeout=(min(self._connect_seconds, left), min(self._read_seconds, left)),
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError, *_BROKEN) as error:
            if fault := _fault_of_this_machine(error):
                raise BadSetting(fault) from None
            raise Unavailable(f"no answer: {self._why(error)}") from None

    def _left(self, deadline: float) -> float:
        return max(deadline - self._clock(), 0.001)

    def _chunks(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        """The body as it arrives. Reading until a buffer is full would let a slow body go on beyond the deadline."""
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            yield chunk
            if self._clock() > deadline:
                raise TimeoutError(self._took_too_long)
        if self._deadline.has_passed:
            # What looks like the end of the body is that of the connection.
            raise TimeoutError(self._took_too_long)

    @property
    def _took_too_long(self) -> str:
        return f"it took longer than the {self._total_seconds:g} s for all tries"

    def _why(self, error: BaseException) -> str:
        """Why there is no whole answer, in words."""
        return self._took_too_long if self._deadline.has_passed else self._redacted(_in_words(_innermost(error)))

    def _status_error(self, kind: type[EnableXError], response: requests.Response, deadline: float) -> EnableXError:
        """The error of an answer whose status is not 200."""
        body = b""
        limit = min(self._left(deadline), self._read_seconds)
        self._deadline.set(limit)
        with contextlib.suppress(*_BROKEN):
            for chunk in self._chunks(response, self._clock() + limit):
                body += chunk
                if len(body) > _MAX_ERROR_BODY_BYTES:
                    break
        refused = refusal(body)
        said = str(refused) if refused else describe(body, response.headers.get("Content-Type", ""))
        if response.is_redirect:
            said = f"redirected to {_without_credentials(self._redacted(response.headers['Location']))}"
        return kind(
            f"{response.status_code}: {self._redacted(said)}",
            status=response.status_code,
            api_message=self._redacted(str(refused)) if refused else None,
            request_id=self._redacted(refused.request_id) if refused and refused.request_id else None,
            retry_after=_retry_after(response.headers),
        )

    def _answer_error(self, error: AnswerError) -> EnableXError:
        """The error of an answer with status 200 that cannot be used."""
        said = self._redacted(str(error))
        if isinstance(error, RefusedAnswer):
            request_id = self._redacted(error.request_id) if error.request_id else None
            return Rejected(said, status=200, api_message=said, request_id=request_id)
        return (Unavailable if isinstance(error, BrokenOffAnswer) else Unreadable)(said, status=200)

    def _check_settings(self) -> None:
        credentials = {"app_id": self._app_id, "app_key": self._app_key}
        missing = tuple(name for name, value in credentials.items() if not value.strip())
        if missing:
            names = " and ".join(name.replace("_", " ") for name in missing)
            raise BadSetting(f"{names} not set; the EnableX portal shows them on the project's page", missing)
        check_settings(self._app_id, self._app_key, self._base_url)


# Parameters and settings


def check_settings(app_id: str, app_key: str, base_url: str) -> None:
    """Raises BadSetting for settings that nobody can be asked with. Credentials that are empty are not looked at."""
    for name, value in {"app_id": app_id, "app_key": app_key}.items():
        if any(c.isspace() or not c.isprintable() for c in value):
            shown = name.replace("_", " ")
            raise BadSetting(f"the {shown} has a space, a line break or a character that cannot be seen in it", (name,))
    if ":" in app_id:
        raise BadSetting("the app id has a colon, which HTTP Basic authentication cannot carry", ("app_id",))
    if fault := _base_url_fault(base_url):
        shown = _without_credentials(base_url)
        raise BadSetting(f"the base url {fault}: {shown!r}; the default is {BASE_URL}", ("base_url",))


def _period(from_date: date | str, to_date: date | str) -> str:
    first, last = _day("from_date", from_date), _day("to_date", to_date)
    if first > last:
        raise BadParameter(f"from_date {first} is after to_date {last}")
    return f"{first}/{last}"


def _day(name: str, value: date | str) -> date:
    # A datetime is a date too, but which day it means depends on its time zone.
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return parse_day(name, value)
    except ValueError as error:
        raise BadParameter(str(error)) from None


def _segment(name: str, value: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadParameter(f"{name} is empty or not a text: {value!r}")
    if value in (".", ".."):
        raise BadParameter(f"{name} would change the path of the request: {value!r}")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise BadParameter(f"{name} cannot be written in UTF-8: {value!r}") from None


def _base_url_fault(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in url):
        return "is not an http or https URL"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "holds more than a host and a path"
    if parts.scheme == "http" and not is_loopback(url):
        return "is plain http to another host, over which anyone on the way could read the app key"
    return None


def _fault_of_this_machine(error: Exception) -> str | None:
    """What to mend here, where the request did not even reach a server; a proxy's address may hold a password."""
    said = str(_innermost(error))
    if "SOCKS support" in said:
        return "a SOCKS proxy needs another package: pip install 'requests[socks]', or set HTTPS_PROXY to an http proxy"
    if "CA certificate bundle" in said or "NO_CERTIFICATE_OR_CRL_FOUND" in said:
        return "the file of CA certificates is missing or none: check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
    # The base url was checked before.
    if isinstance(error, ValueError):
        return "the proxy's address cannot be read: check HTTPS_PROXY and ALL_PROXY; write odd characters as in %5B"
    if re.match("Tunnel connection failed: 40[37]", said):
        return "the proxy lets nobody through to EnableX: check the name and the password in HTTPS_PROXY or ALL_PROXY"
    return None


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_credentials(url: str) -> str:
    """A URL's scheme, host and path, which may be shown."""
    scheme, colon, rest = url.rpartition("://")
    return excerpt(f"{scheme}{colon}{re.split('[?#]', rest.rpartition('@')[2])[0]}".encode(errors="replace"))


def _version() -> str:
    try:
        return metadata.version("cdr_assets")
    except metadata.PackageNotFoundError:
        return "0"


# Headers and texts that servers send


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the `Retry-After` header, a number or an HTTP date; None when it is absent or neither.

    The number can be absurdly large, even infinite.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # Both dates come from the server's clock, which may differ from this machine's.
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(timezone.utc)
        return max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def _longest_backoff(tries: int) -> float:
    """The longest wait after so many tries, in seconds."""
    return float(min(_BASE_WAIT_S * 2 ** min(tries - 1, 30), _MAX_WAIT_S))


def _innermost(error: BaseException) -> BaseException:
    """The original error, without those that libraries wrapped around it."""
    while inner := next(
        (e for e in (error.__cause__, getattr(error, "reason", None), *error.args) if isinstance(e, BaseException)),
        None,
    ):
        error = inner
    return error


_SAYS_NO_DATA = (
    OSError,
    http.client.IncompleteRead,
    http.client.RemoteDisconnected,
    http.client.LineTooLong,
    urllib3.exceptions.TimeoutError,
    urllib3.exceptions.DecodeError,
)
"""Errors whose words hold nothing of what the server sent. Others quote what should have been a status or a length,
which can be the text of a record."""


def _in_words(error: BaseException) -> str:
    name = type(error).__name__
    return excerpt(f"{name}: {error}".encode(errors="replace")) if isinstance(error, _SAYS_NO_DATA) else name


def _secrets(app_id: str, app_key: str) -> list[str]:
    """The app key and the Authorization header's token, which is found with and without its padding."""
    token = base64.b64encode(_utf8(app_id) + b":" + _utf8(app_key)).decode()
    return [app_key, token.rstrip("=")] if app_key else []


def _utf8(text: str) -> bytes:
    # An encoding error would quote the text, which is a credential. This never raises one: the server rejects the text.
    return text.encode(errors="surrogatepass")
