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
import html
import http.client
import ipaddress
import itertools
import json
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import date, datetime, timezone
from email.utils import parsedate_to_datetime
from importlib import metadata
from types import TracebackType
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from cdr_assets.days import parse_day
from cdr_assets.enablex.answers import AnswerError, BrokenOffAnswer, RefusedAnswer, read_records, refusal
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
from cdr_assets.enablex.records import Batch

BASE_URL = "https://api.enablex.io/video/v2"

_CHUNK_BYTES = 1 << 20
_MAX_ERROR_BODY_BYTES = 64 << 10
_BASE_WAIT_S = 1.0
_MAX_WAIT_S = 60.0

_REDACTED = "[redacted]"
_BROKEN = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What reading a body may raise: the connection ends or times out, or a length or an encoding is wrong."""

_log = logging.getLogger(__name__)


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


class EnableX:
    """The four CDR routes of one EnableX project. Not to be shared between threads.

    Each route returns its attempts: one, and more while the error may pass. There are at most `tries` attempts in
    `total_seconds`, with growing waits of random length between them, or as long as the server asks for. When no answer
    was whole and good, the loop over the attempts raises an EnableXError.

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
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app_id, self._app_key, self._base_url = app_id or "", app_key or "", base_url.rstrip("/")
        self._connect_seconds, self._read_seconds = connect_seconds, read_seconds
        self._tries, self._total_seconds = tries, total_seconds
        self._sleep, self._clock = sleep, clock
        self._secrets = _secrets(self._app_id, self._app_key)
        self._session = requests.Session()
        # A proxy in the environment is not meant for this machine.
        self._session.trust_env = not _is_loopback(self._base_url)
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"cdr_assets/{_version()}"}
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_credentials(self._base_url)!r})"

    def period(self, from_date: date | str, to_date: date | str) -> Iterator[Attempt]:
        """CDRs of a period of UTC days, `date` or YYYY-MM-DD. EnableX does not say whether `to_date` is included."""
        return self._attempts(f"/cdr/period/{_period(from_date, to_date)}")

    def room(self, room_id: str) -> Iterator[Attempt]:
        """All CDRs of a room."""
        return self._attempts(f"/cdr/room/{_segment('room_id', room_id)}")

    def room_period(self, room_id: str, from_date: date | str, to_date: date | str) -> Iterator[Attempt]:
        """CDRs of a room in a period of UTC days."""
        return self._attempts(f"/cdr/room-period/{_segment('room_id', room_id)}/{_period(from_date, to_date)}")

    def conference(self, conf_num: str) -> Iterator[Attempt]:
        """All CDRs of a conference, which is one session in a room."""
        return self._attempts(f"/cdr/conf/{_segment('conf_num', conf_num)}")

    def close(self) -> None:
        """Closes the connections that are kept for the next call."""
        self._session.close()

    def _attempts(self, path: str) -> Iterator[Attempt]:
        self._check_settings()
        return self._until_whole(path)

    def _until_whole(self, path: str) -> Iterator[Attempt]:
        deadline = self._clock() + self._total_seconds
        for number in itertools.count(1):
            attempt = Attempt(number, self._answer(path, deadline))
            yield attempt
            if attempt.is_whole:
                return
            error = attempt.error
            if error is None:
                raise RuntimeError("the last attempt was not read: use `with attempt as batches` for each one")
            error.path, error.tries = path, number
            wait = self._wait(error, deadline)
            if wait is None:
                raise error
            _log.warning("GET %s: %s; try %d of %d in %.1f s", path, error.reason, number + 1, self._tries, wait)
            self._sleep(wait)

    def _wait(self, error: EnableXError, deadline: float) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        if not isinstance(error, Unavailable) or error.tries >= self._tries:
            return None
        backoff = random.uniform(0, min(_BASE_WAIT_S * 2 ** (error.tries - 1), _MAX_WAIT_S))
        wait = max(backoff, error.retry_after or 0)
        if self._clock() + wait < deadline:
            return wait
        error.reason += f"; another try, {wait:.0f} s later, is beyond the {self._total_seconds:g} s for all tries"
        return None

    def _answer(self, path: str, deadline: float) -> Generator[Batch, None, None]:
        """The batches of one answer. Raises an EnableXError as soon as the answer turns out not to be good."""
        with self._get(path, deadline) as response:
            kind = classify_status(response.status_code)
            if kind:
                raise self._status_error(kind, response, deadline)
            try:
                yield from read_records(self._chunks(response, deadline))
            except _BROKEN as error:
                raise Unavailable(self._redacted(f"the body broke off: {_innermost(error)}"), status=200) from None
            except AnswerError as error:
                raise self._answer_error(error) from None

    def _get(self, path: str, deadline: float) -> requests.Response:
        left = max(deadline - self._clock(), 0.001)
        try:
            return self._session.get(
                self._base_url + path,
                auth=HTTPBasicAuth(_utf8(self._app_id), _utf8(self._app_key)),
                stream=True,
                timeout=(min(self._connect_seconds, left), min(self._read_seconds, left)),
                allow_redirects=False,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(self._redacted(f"no answer: {_innermost(error)}")) from None

    def _chunks(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        """The body as it arrives. Reading until a buffer is full would let a slow body go on beyond the deadline."""
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            yield chunk
            if self._clock() > deadline:
                raise TimeoutError(f"the body took longer than the {self._total_seconds:g} s for all tries")

    def _status_error(self, kind: type[EnableXError], response: requests.Response, deadline: float) -> EnableXError:
        """The error of an answer whose status is not 200."""
        body = b""
        with contextlib.suppress(*_BROKEN):
            for chunk in self._chunks(response, min(deadline, self._clock() + self._read_seconds)):
                body += chunk
                if len(body) > _MAX_ERROR_BODY_BYTES:
                    break
        refused = refusal(body)
        said = self._redacted(str(refused) if refused else excerpt(body)) or "no text"
        if response.is_redirect:
            said = f"redirected to {self._redacted(_without_credentials(response.headers['Location']))}"
        return kind(
            f"{response.status_code}: {said}",
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
        if ":" in self._app_id:
            raise BadSetting("the app id has a colon, which HTTP Basic authentication cannot carry", ("app_id",))
        fault = _base_url_fault(self._base_url)
        if fault:
            shown = _without_credentials(self._base_url)
            raise BadSetting(f"the base url {fault}: {shown!r}; the default is {BASE_URL}", ("base_url",))

    def _redacted(self, text: str) -> str:
        """`text` without the secrets, and without the beginning of one before an ellipsis."""
        for secret in self._secrets:
            *cut_short, last = text.replace(secret, _REDACTED).split("…")
            text = "…".join([*(_without_start(part, secret) for part in cut_short), last])
        return text


# Parameters and settings


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
    if parts.scheme == "http" and not _is_loopback(url):
        return "is plain http to another host, over which anyone on the way could read the app key"
    return None


def _is_loopback(url: str) -> bool:
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
    """Seconds to wait by the `Retry-After` header, a number or an HTTP date; None when it is absent or neither."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # Both dates come from the server's clock, which may differ from this machine's.
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(timezone.utc)
        return max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _innermost(error: BaseException) -> str:
    """The original error, without those that libraries wrapped around it, in its own words."""
    while inner := next(
        (e for e in (error.__cause__, getattr(error, "reason", None), *error.args) if isinstance(e, BaseException)),
        None,
    ):
        error = inner
    return excerpt(f"{type(error).__name__}: {error}".encode(errors="replace"))


def _secrets(app_id: str, app_key: str) -> list[str]:
    """The app key and the Authorization header's token, in each spelling in which a server may send them back."""
    key = _utf8(app_key)
    token = base64.b64encode(_utf8(app_id) + b":" + key).decode()
    spellings = {app_key, token, json.dumps(app_key)[1:-1], html.escape(app_key), quote(key, safe="")}
    return sorted(spellings - {""}, key=len, reverse=True) if app_key else []


def _utf8(text: str) -> bytes:
    # An encoding error would quote the text, which is a credential. This never raises one: the server rejects the text.
    return text.encode(errors="surrogatepass")


def _without_start(text: str, secret: str) -> str:
    """`text` without its end, where that is the beginning of `secret`, four characters or more."""
    ends = (end for end in range(len(secret) - 1, 3, -1) if text.endswith(secret[:end]))
    end = next(ends, 0)
    return text[: len(text) - end] + _REDACTED if end else text
