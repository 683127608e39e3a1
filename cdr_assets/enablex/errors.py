"""What can go wrong with a call of the EnableX API.

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
    └── Unavailable           no    no try got a whole answer: no connection, a timeout, 408, 429, 5xx, a broken body

Permanent: the same request gets the same error until someone changes something. Only requests that end as Unavailable
are tried more than once. These errors never hold the app key or the Authorization header, whatever a server sends back.
"""

from __future__ import annotations

EXCERPT_LENGTH = 200


class EnableXError(Exception):
    """A call of the API failed, after all tries that were worth it."""

    permanent = False
    settings: tuple[str, ...] = ()
    """The parameters of `EnableX` to check: "app_id", "app_key", "base_url". Empty when none of them is the cause."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        api_message: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        """HTTP status of the last answer, if there was one."""
        self.api_message = api_message
        """The error in the API's own words, if it gave any."""
        self.request_id = request_id
        """The id that EnableX support asks for, if the API gave one."""
        self.retry_after = retry_after
        """Seconds that the server asked to wait, if it did."""
        self.path: str | None = None
        """The route that was asked, below the base URL; None when no call was made."""
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
    """Credentials are missing, or the base URL is not safe."""

    def __init__(self, reason: str, settings: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.settings = settings


class Rejected(EnableXError):
    """EnableX answered that it will not serve the request."""

    permanent = True


class BadRequest(Rejected):
    """400: a parameter is wrong."""


class BadCredentials(Rejected):
    """401: the app id and the app key are not accepted."""

    settings = ("app_id", "app_key")


class Forbidden(Rejected):
    """403: the project is suspended, or lacks the right to CDRs."""


class NotFound(Rejected):
    """404: no such room, conference or route."""


class Unreadable(EnableXError):
    """EnableX answered something that it does not document."""


class Unavailable(EnableXError):
    """No try got a whole answer."""


def classify_status(status: int) -> type[EnableXError] | None:
    """The error that an HTTP status means; None for 200, whose body is to be read."""
    named = {400: BadRequest, 401: BadCredentials, 403: Forbidden, 404: NotFound}
    if status == 200:
        return None
    if status in named:
        return named[status]
    if status in (408, 429) or 500 <= status <= 599:
        return Unavailable
    return Rejected if 300 <= status <= 499 else Unreadable


def excerpt(body: bytes) -> str:
    """The first 200 characters of a text, printable and on one line; `…` says that there is more."""
    text = body[: 8 * EXCERPT_LENGTH].decode(errors="replace")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) > EXCERPT_LENGTH or len(body) > 8 * EXCERPT_LENGTH:
        return text[:EXCERPT_LENGTH] + "…"
    return text
