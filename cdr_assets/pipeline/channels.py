"""Where alerts go: a webhook, and any service that apprise knows. No URL of one is ever said: it is a secret."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import requests

TIMEOUT_S = 10

MARKUP = {"<": "\u2039", ">": "\u203a", "@": "@\u200b", "](": "]\u200b("}
"""What a chat or a mail program takes for a mention, a tag or a link, and what looks like it."""


class Unreachable(Exception):
    """The channel did not answer, so another alert now would fail too."""


@dataclass(frozen=True)
class Channel:
    """One place where alerts go."""

    name: str
    """For people, as in "webhook"."""
    key: str
    """Tells it from the other channels, also in a later process."""
    post: Callable[[str], str]
    """Returns "" when the text was taken, else what went wrong. May raise anything."""

    def send(self, text: str) -> str:
        """Posts the text as plain text. Returns "" when it was taken, else what went wrong. Raises Unreachable."""
        try:
            return self.post(plain(text))
        except Exception as error:
            # The error's own text holds the URL.
            raise Unreachable(f"could not be reached ({type(error).__name__})") from None


def plain(text: str) -> str:
    """The text without markup of any channel: it quotes what a server said.

    Each channel has its own markup, and apprise does not escape for all of them.
    """
    printable = "".join(each if each.isprintable() or each == "\n" else " " for each in text)
    return re.sub("|".join(map(re.escape, MARKUP)), lambda found: MARKUP[found[0]], printable)


def channels(webhook_url: str, urls: Sequence[str]) -> list[Channel]:
    """The channels of CDR_ALERT_WEBHOOK_URL and CDR_ALERT_URLS. One that cannot be used says so when it is sent to."""
    found = [_webhook(webhook_url)] if webhook_url else []
    return [*found, *(_service(url, number) for number, url in enumerate(urls, start=1))]


def _webhook(url: str) -> Channel:
    def post(text: str) -> str:
        status = requests.post(url, json={"text": text}, timeout=TIMEOUT_S).status_code
        return "" if 200 <= status <= 299 else f"answered {status}"

    return Channel("webhook", "webhook", post)


def _service(url: str, number: int) -> Channel:
    key, name = hashlib.sha256(url.encode()).hexdigest()[:8], f"URL {number} of CDR_ALERT_URLS"
    try:
        from apprise import Apprise, NotifyFormat
    except ImportError:
        return Channel(name, key, lambda text: "needs apprise: pip install 'cdr_assets[alerts]'")
    # What it logs can hold parts of the URL.
    logging.getLogger("apprise").disabled = True
    service = Apprise()
    if not service.add(url):
        problem = (
            "is none that apprise can use: it lists the form of each service's URL on its web site. Put spaces between "
            "several"
        )
        return Channel(name, key, lambda text: problem)

    def post(text: str) -> str:
        title, _, body = text.partition("\n")
        taken = service.notify(title=title, body=body or title, body_format=NotifyFormat.TEXT)
        return "" if taken else "did not take it"

    return Channel(str(service[0].service_name), key, post)
