"""EnableX over HTTP: the four CDR routes, each answered by batches of records.

    EnableXError              permanent
    ├── NotAsked              yes   no call was made
    │   ├── BadParameter      yes   a date or an id that cannot be asked for; also a ValueError
    │   └── BadSetting        yes   credentials that are missing, a base URL that is not safe
    ├── Rejected              yes   a 4xx status, a redirect, or one of the API's error envelopes with status 200
    │   ├── BadRequest        yes   400
    │   ├── BadCredentials    yes   401
    │   ├── Forbidden         yes   403
    │   └── NotFound          yes   404
    ├── Unreadable            no    an answer that is not what the API documents
    └── Unavailable           no    no try was answered whole: no connection, no time, 408, 429, 5xx, a broken body

Permanent: asking the same again gives the same, until someone changes something. Only what may end as Unavailable is
tried more than once. Neither these errors nor the log hold the app key or the Authorization header, whatever a server
sends back.
"""

from __future__ import annotations

import base64
import contextlib
import html
import http.client
import ipaddress
import json
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timezone
from email.utils import parsedate_to_datetime
from importlib import metadata
from typing import TypeVar
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from cdr_assets.enablex.records import AnswerError, BrokenOffAnswer, RefusedAnswer, Batch, excerpt, read_records, refusal

T = TypeVar("T")
Receive = Callable[[Iterator[Batch]], T]
"""Takes the batches of one answer. It is called anew for each try: what an earlier one brought is to be discarded.

An error that the batches raise must come through. What it returns counts only when the whole answer turned out good.
"""

BASE_URL = "https://api.enablex.io/video/v2"

_CHUNK = 1 << 20
_LONGEST_ERROR_BODY = 64 << 10
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0

_REDACTED = "[redacted]"
_BROKEN = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What reading a body may raise: a connection that ends or times out, a length or a coding that does not hold."""

_log = logging.getLogger(__name__)


class EnableXError(Exception):
    """What went wrong with a call of the API, after the tries that were worth it."""

    permanent = False
    remedy = ""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        words: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        """HTTP status of the last answer, if there was one."""
        self.words = words
        """What the API itself said, if it did."""
        self.request_id = request_id
        """What EnableX support asks for, where the API gave one."""
        self.retry_after = retry_after
        """Seconds that the server asked to wait, if it did."""
        self.path: str | None = None
        """The route asked for, below the base URL; None when no call was made."""
        self.tries = 0

    def __str__(self) -> str:
        if self.path is None:
            return self.reason
        return f"GET {self.path}, {self.tries} {'try' if self.tries == 1 else 'tries'}: {self.reason}"


class NotAsked(EnableXError):
    """No call was made."""

    permanent = True


class BadParameter(NotAsked, ValueError):
    """A date or an id that cannot be asked for."""


class BadSetting(NotAsked):
    """The environment does not say how to reach EnableX."""


class Rejected(EnableXError):
    """EnableX answered, and the answer is no."""

    permanent = True


class BadRequest(Rejected):
    """400: a parameter is wrong."""


class BadCredentials(Rejected):
    """401: the app id and the app key are not accepted."""

    remedy = "; check ENABLEX_APP_ID and ENABLEX_APP_KEY"


class Forbidden(Rejected):
    """403: the project is suspended, or lacks the right to CDRs."""


class NotFound(Rejected):
    """404: no such room, conference or route."""


class Unreadable(EnableXError):
    """EnableX answered something that is not what it documents."""


class Unavailable(EnableXError):
    """No try was answered in whole."""


def meaning(status: int) -> type[EnableXError] | None:
    """What an HTTP status says of a call: None for an answer to be read, else the error that it is."""
    named = {400: BadRequest, 401: BadCredentials, 403: Forbidden, 404: NotFound}
    if status == 200:
        return None
    if status in named:
        return named[status]
    if status in (408, 429) or 500 <= status <= 599:
        return Unavailable
    return Rejected if 300 <= status <= 499 else Unreadable


class EnableX:
    """The four CDR routes of one EnableX project. Not to be shared between threads.

    Each route asks once, and again while what went wrong may pass: `tries` calls and `total_seconds` at most, with
    growing waits of random length between them, or as long as the server asks for. Construction never fails; settings
    that are missing or unsafe are a BadSetting of the first call. Each route returns what `receive` made of the batches
    of a whole, good answer, and raises an EnableXError when there was none. `receive`'s own errors come through as they
    are.
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
        # Proxies of the environment are for the world outside.
        self._session.trust_env = not _is_loopback(self._base_url)
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"cdr_assets/{_version()}"}
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_credentials(self._base_url)!r})"

    def period(self, from_date: date | str, to_date: date | str, receive: Receive[T]) -> T:
        """CDRs of a period of UTC days, `date` or YYYY-MM-DD. Whether `to_date` is part of it is not published."""
        return self._get(f"/cdr/period/{_period(from_date, to_date)}", receive)

    def room(self, room_id: str, receive: Receive[T]) -> T:
        """All CDRs of a room."""
        return self._get(f"/cdr/room/{_segment('room_id', room_id)}", receive)

    def room_period(self, room_id: str, from_date: date | str, to_date: date | str, receive: Receive[T]) -> T:
        """CDRs of a room in a period of UTC days."""
        return self._get(f"/cdr/room-period/{_segment('room_id', room_id)}/{_period(from_date, to_date)}", receive)

    def conference(self, conf_num: str, receive: Receive[T]) -> T:
        """All CDRs of a conference: one session in a room."""
        return self._get(f"/cdr/conf/{_segment('conf_num', conf_num)}", receive)

    def close(self) -> None:
        """Close the connections that are kept for the next call."""
        self._session.close()

    def _get(self, path: str, receive: Receive[T]) -> T:
        self._check_settings()
        deadline = self._clock() + self._total_seconds
        tries = 0
        while True:
            tries += 1
            outcome = self._try(path, deadline, receive)
            if not isinstance(outcome, EnableXError):
                return outcome
            wait = self._wait(outcome, tries, deadline)
            if wait is None:
                outcome.path, outcome.tries = path, tries
                # The traceback of what was tried shows nothing more, and its frames hold the request's headers.
                raise outcome.with_traceback(None)
            _log.warning("GET %s: %s; try %d of %d in %.1f s", path, outcome.reason, tries + 1, self._tries, wait)
            self._sleep(wait)

    def _wait(self, error: EnableXError, tries: int, deadline: float) -> float | None:
        """Seconds until the next try; None when there is none."""
        if not isinstance(error, Unavailable) or tries >= self._tries:
            return None
        backoff = random.uniform(0, min(_FIRST_WAIT * 2 ** (tries - 1), _LONGEST_WAIT))
        wait = max(backoff, error.retry_after or 0)
        if self._clock() + wait < deadline:
            return wait
        error.reason += f"; a next try, {wait:.0f} s later, is beyond the {self._total_seconds:g} s that all may take"
        return None

    def _try(self, path: str, deadline: float, receive: Receive[T]) -> T | EnableXError:
        response = self._open(path, deadline)
        if isinstance(response, EnableXError):
            return response
        with response:
            if meaning(response.status_code):
                return self._refused(response, deadline)
            batches = _Batches(self._chunks(response, deadline), self._redacted)
            try:
                result = receive(batches)
                # Whether the answer was whole is known at its end only, and `receive` may have stopped before.
                deque(batches, maxlen=0)
            except Exception:
                if batches.failure is None:
                    raise
            return batches.failure or result

    def _open(self, path: str, deadline: float) -> requests.Response | EnableXError:
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
            return Unavailable(self._redacted(f"no answer: {_innermost(error)}"))

    def _chunks(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        """The body as it arrives. A read that waits for a full buffer would let a trickle go on beyond the deadline."""
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            yield chunk
            if self._clock() > deadline:
                raise TimeoutError(f"the body took longer than the {self._total_seconds:g} s that all tries may take")

    def _refused(self, response: requests.Response, deadline: float) -> EnableXError:
        """The error that a status other than 200 is."""
        body = b""
        with contextlib.suppress(*_BROKEN):
            for chunk in self._chunks(response, min(deadline, self._clock() + self._read_seconds)):
                body += chunk
                if len(body) > _LONGEST_ERROR_BODY:
                    break
        status, refused = response.status_code, refusal(body)
        said = self._redacted(str(refused) if refused else excerpt(body)) or "no words"
        if response.is_redirect:
            said = f"redirected to {self._redacted(_without_credentials(response.headers['Location']))}"
        kind = meaning(status) or Unreadable
        return kind(
            f"{status}: {said}{kind.remedy}",
            status=status,
            words=self._redacted(str(refused)) if refused else None,
            request_id=self._redacted(refused.request_id) if refused and refused.request_id else None,
            retry_after=_retry_after(response.headers),
        )

    def _check_settings(self) -> None:
        credentials = {"ENABLEX_APP_ID": self._app_id, "ENABLEX_APP_KEY": self._app_key}
        missing = [name for name, value in credentials.items() if not value.strip()]
        if missing:
            raise BadSetting(f"{' and '.join(missing)} not set; the EnableX portal shows them on the project's page")
        if ":" in self._app_id:
            raise BadSetting("ENABLEX_APP_ID holds a colon, which HTTP Basic authentication cannot carry")
        fault = _base_url_fault(self._base_url)
        if fault:
            shown = _without_credentials(self._base_url)
            raise BadSetting(f"ENABLEX_BASE_URL {fault}: {shown!r}; set it to {BASE_URL} or leave it out")

    def _redacted(self, text: str) -> str:
        """`text` without what must not be shown, whole or cut short by an ellipsis."""
        for secret in self._secrets:
            *cut_short, last = text.replace(secret, _REDACTED).split("…")
            text = "…".join([*(_without_start(part, secret) for part in cut_short), last])
        return text


class _Batches(Iterator[Batch]):
    """The batches of one answer. What was wrong with it is kept here, whatever its reader does with the error."""

    def __init__(self, chunks: Iterator[bytes], redacted: Callable[[str], str]) -> None:
        self._records = read_records(chunks)
        self._redacted = redacted
        self.failure: EnableXError | None = None

    def __next__(self) -> Batch:
        if self.failure is None:
            try:
                return next(self._records)
            except _BROKEN as error:
                self.failure = Unavailable(self._redacted(f"the body broke off: {_innermost(error)}"), status=200)
            except AnswerError as error:
                self.failure = self._failure(error)
        # Raised here, not where it was caught: the error it came from may quote what must not be shown.
        raise self.failure

    def _failure(self, error: AnswerError) -> EnableXError:
        said = self._redacted(str(error))
        if isinstance(error, RefusedAnswer):
            request_id = self._redacted(error.request_id) if error.request_id else None
            return Rejected(said, status=200, words=said, request_id=request_id)
        return (Unavailable if isinstance(error, BrokenOffAnswer) else Unreadable)(said, status=200)


# Parameters and settings


def _period(from_date: date | str, to_date: date | str) -> str:
    first, last = _day("from_date", from_date), _day("to_date", to_date)
    if first > last:
        raise BadParameter(f"from_date {first} is after to_date {last}")
    return f"{first}/{last}"


def _day(name: str, value: date | str) -> date:
    # A datetime is a date, but which day it means depends on its time zone.
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        day = None
    if day is None or day.isoformat() != value:
        raise BadParameter(f"{name} is not a day as YYYY-MM-DD: {value!r}")
    return day


def _segment(name: str, value: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadParameter(f"{name} is not a text, or is empty: {value!r}")
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
        return "is plain http, over which the app key would be readable on its way, to a host that is not this one"
    return None


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_credentials(url: str) -> str:
    """A URL's scheme, host and path: what may be shown of it."""
    scheme, colon, rest = url.rpartition("://")
    return excerpt(f"{scheme}{colon}{re.split('[?#]', rest.rpartition('@')[2])[0]}".encode(errors="replace"))


def _version() -> str:
    try:
        return metadata.version("cdr_assets")
    except metadata.PackageNotFoundError:
        return "0"


# What servers say


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header, which gives them or an HTTP date; None where it is absent or neither."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        # Both dates are of the server's clock, which may differ from this machine's.
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(timezone.utc)
        return max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _innermost(error: BaseException) -> str:
    """The error under those that libraries wrapped around it, in its own words."""
    while inner := next(
        (e for e in (error.__cause__, getattr(error, "reason", None), *error.args) if isinstance(e, BaseException)),
        None,
    ):
        error = inner
    return excerpt(f"{type(error).__name__}: {error}".encode(errors="replace"))


def _secrets(app_id: str, app_key: str) -> list[str]:
    """The app key and the Authorization header's token, in the spellings in which a server may send them back."""
    key = _utf8(app_key)
    token = base64.b64encode(_utf8(app_id) + b":" + key).decode()
    spellings = {app_key, token, json.dumps(app_key)[1:-1], html.escape(app_key), quote(key, safe="")}
    return sorted(spellings - {""}, key=len, reverse=True) if app_key else []


def _utf8(text: str) -> bytes:
    # An encoding error would hold the text, here a credential. Without one, the server says that it is wrong.
    return text.encode(errors="surrogatepass")


def _without_start(text: str, secret: str) -> str:
    """`text` without the first characters of `secret` that it ends with, four or more."""
    ends = (end for end in range(len(secret) - 1, 3, -1) if text.endswith(secret[:end]))
    end = next(ends, 0)
    return text[: len(text) - end] + _REDACTED if end else text
