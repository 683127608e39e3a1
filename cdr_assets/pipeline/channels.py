"""Where alerts go: a webhook, and any service that apprise knows. No URL of one is ever said: it is a secret."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import requests

TIMEOUT_S = 10


class Unreachable(Exception):
    """The channel did not answer, so another alert now would fail too."""


@dataclass(frozen=True)
class Channel:
    """One place where alerts go. `send` returns "" when the text was taken, else what went wrong."""

    name: str
    """For people, as in "webhook"."""
    key: str
    """Tells it from the other channels, also in a later process."""
    send: Callable[[str], str]
    """May raise Unreachable."""


def channels(webhook_url: str, urls: Sequence[str]) -> list[Channel]:
    """The channels of CDR_ALERT_WEBHOOK_URL and CDR_ALERT_URLS.

    Raises ValueError, with the remedy, if one of the URLs cannot be used.
    """
    found = [_webhook(webhook_url)] if webhook_url else []
    return [*found, *(_service(url, number) for number, url in enumerate(urls, start=1))]


def _webhook(url: str) -> Channel:
    def send(text: str) -> str:
        try:
            status = requests.post(url, json={"text": text}, timeout=TIMEOUT_S).status_code
        except requests.RequestException as error:
            # The error's own text holds the URL.
            raise Unreachable(f"could not be reached ({type(error).__name__})") from None
        return "" if 200 <= status <= 299 else f"answered {status}"

    return Channel("webhook", "webhook", send)


def _service(url: str, number: int) -> Channel:
    try:
        from apprise import Apprise
    except ImportError:
        raise ValueError("CDR_ALERT_URLS needs apprise: pip install 'cdr_assets[alerts]'") from None
    # What it logs can hold parts of the URL.
    logging.getLogger("apprise").disabled = True
    service = Apprise()
    if not service.add(url):
        raise ValueError(
            f"URL {number} of CDR_ALERT_URLS is none that apprise can use: it lists the form of each service's URL on "
            "its web site. Put spaces between several"
        )

    def send(text: str) -> str:
        title, _, body = text.partition("\n")
        return "" if service.notify(title=title, body=body or title) else "did not take it"

    return Channel(str(service[0].service_name), hashlib.sha256(url.encode()).hexdigest()[:8], send)
