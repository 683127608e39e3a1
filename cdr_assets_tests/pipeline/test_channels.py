"""Channels, and the command that tries them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from click.testing import CliRunner

from cdr_assets.cli import main
from cdr_assets.pipeline.channels import channels
from cdr_assets_tests.webhook import SECRET, Webhook, listening


@pytest.fixture
def webhooks() -> Iterator[list[Webhook]]:
    """Three webhooks."""
    found = [Webhook(), Webhook(), Webhook()]
    with ExitStack() as stack:
        for webhook in found:
            stack.enter_context(listening(webhook))
        yield found


def addresses(first: Webhook, *others: Webhook) -> dict[str, str]:
    """The variables that name them."""
    urls = " ".join(other.url.replace("http://", "json://") for other in others)
    return {"CDR_ALERT_WEBHOOK_URL": first.url, "CDR_ALERT_URLS": urls}


def alert_test(**environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["alert-test"], env=environment)
    assert SECRET not in result.output
    return result.exit_code, result.output


def test_a_test_alert_goes_to_every_channel(webhooks: list[Webhook]) -> None:
    code, said = alert_test(**addresses(*webhooks))
    assert (code, said.splitlines()) == (0, ["webhook: delivered", "JSON: delivered", "JSON: delivered"])
    ((_, _, first),), ((_, _, second),), _ = (webhook.posts for webhook in webhooks)
    assert first["text"].startswith("Test alert of cdr_assets\n")
    assert second["title"] == "Test alert of cdr_assets"
    assert [len(webhook.posts) for webhook in webhooks] == [1, 1, 1]


def test_a_channel_that_does_not_take_it_is_named_and_the_others_are_tried(webhooks: list[Webhook]) -> None:
    webhooks[0].status = webhooks[1].status = 500
    code, said = alert_test(**addresses(*webhooks))
    assert (code, said.splitlines()) == (1, ["webhook: answered 500", "JSON: did not take it", "JSON: delivered"])
    assert len(webhooks[2].posts) == 1


def test_without_a_channel_the_command_says_what_to_set() -> None:
    code, said = alert_test(CDR_ALERT_WEBHOOK_URL="", CDR_ALERT_URLS="")
    assert code == 1
    assert "set CDR_ALERT_URLS or CDR_ALERT_WEBHOOK_URL" in said


def test_a_url_that_cannot_be_used_is_named_by_its_number() -> None:
    code, said = alert_test(CDR_ALERT_URLS=f"nowhere://{SECRET} nowhere://{SECRET}")
    assert code == 1
    assert "URL 2 of CDR_ALERT_URLS: is none that apprise can use" in said


def test_two_urls_have_different_keys_that_stay_the_same() -> None:
    keys = [channel.key for channel in channels("", ["json://localhost/a", "json://localhost/b"])]
    assert len({*keys}) == 2
    assert [channel.key for channel in channels("", ["json://localhost/a", "json://localhost/b"])] == keys
    assert not any("localhost" in key for key in keys)


def test_without_apprise_the_channel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    (channel,) = channels("", ["json://localhost/"])
    assert "pip install 'cdr_assets[alerts]'" in channel.send("text")


@pytest.mark.parametrize("scheme", ["http", "json", "mmost"])
def test_what_a_server_says_reaches_every_channel_without_markup(webhooks: list[Webhook], scheme: str) -> None:
    said = "<!channel> <http://evil|Sign in> <img src=x> ![x](http://evil) @here \u202e"
    address = webhooks[0].url.replace("http:", f"{scheme}:") if scheme != "mmost" else ""
    address = address or f"mmost://{webhooks[0].url.split('/')[2]}/abcdefghijkl"
    (channel,) = channels(address, []) if scheme == "http" else channels("", [address])
    assert channel.send(f"A title\nThe server said: {said}") == ""
    ((_, _, body),) = webhooks[0].posts
    text = body.get("text") or body["message"]
    assert "The server said: \u2039!channel\u203a \u2039http://evil|Sign in\u203a" in text
    assert not any(markup in text for markup in ("<", ">", "](", "@here", "\u202e"))
