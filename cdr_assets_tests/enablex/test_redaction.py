"""A secret is taken out of a text however it is written there, and nothing else is."""

from __future__ import annotations

import base64
import html
import html.entities
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdr_assets.enablex.errors import EXCERPT_LENGTH, excerpt
from cdr_assets.enablex.redaction import REDACTED, Redactor

KEY = 's3cr3t/k€y+&<l"o\\n😀g=>'
TOKEN = base64.b64encode(f"app-5f1:{KEY}".encode()).decode()


def named(character: str) -> str:
    names = (name for name, text in html.entities.html5.items() if text == character)
    return f"&{next(names, character + ';')}" if character in html.entities.html5.values() else character


def in_json(character: str) -> str:
    return json.dumps(character)[1:-1]


def utf16(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


SPELL: list[Callable[[str], str]] = [
    lambda c: c,
    lambda c: quote(c, safe=""),
    lambda c: quote(c, safe="").lower() if len(quote(c, safe="")) > 1 else c,
    lambda c: "".join(f"%{byte:02x}" for byte in c.encode()),
    lambda c: quote(quote(c, safe=""), safe=""),
    quote_plus,
    in_json,
    lambda c: json.dumps(c, ensure_ascii=False)[1:-1],
    lambda c: in_json(in_json(c)),
    utf16,
    lambda c: utf16(c).upper().replace("U", "u"),
    lambda c: "\\" + c if c in '/"\\' else c,
    html.escape,
    lambda c: html.escape(html.escape(c)),
    named,
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#00{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
    lambda c: f"&#X{ord(c):X};",
    lambda c: repr(c.encode())[2:-1],
    lambda c: c.encode().decode("latin-1"),
]
"""Ways in which an encoder writes one character."""

secrets = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]).filter(str.isprintable), min_size=8, max_size=40
).filter(lambda secret: " " not in secret)


@settings(max_examples=300)
@example(secret=KEY, data=None)
@example(secret=TOKEN, data=None)
@example(secret="&amp;&amp;&", data=None)
@example(secret="\\\\\\\\//\\", data=None)
@example(secret='0000";00', data=None)
@given(secrets, st.data())
def test_a_secret_is_found_in_each_mixture_of_spellings(secret: str, data: st.DataObject | None) -> None:
    if data is None:
        mixtures = [[spell] * len(secret) for spell in SPELL]
    else:
        mixtures = [[data.draw(st.sampled_from(SPELL)) for _ in secret]]
    for mixture in mixtures:
        written = "".join(spell(c) for spell, c in zip(mixture, secret, strict=True))
        assert Redactor([secret])(f"<b>{written}</b> {written}") == f"<b>{REDACTED}</b> {REDACTED}"


@settings(max_examples=300)
@given(secrets, st.sampled_from(SPELL), st.data())
def test_the_beginning_of_a_secret_is_found_where_the_text_was_cut(
    secret: str, spell: Callable[[str], str], data: st.DataObject
) -> None:
    written = [spell(c) for c in secret]
    least = len("".join(written[:4]))
    cut = data.draw(st.integers(least, len("".join(written))))
    assert Redactor([secret])(f"({''.join(written)[:cut]}…") == f"({REDACTED}…"


@pytest.mark.parametrize("start", range(150, EXCERPT_LENGTH - 4))
def test_an_excerpt_shows_no_part_of_a_secret(start: int) -> None:
    shown = Redactor([KEY, TOKEN])(excerpt(b"x" * start + KEY.encode() + b"y" * 100))
    assert shown[: start + len(REDACTED)] == "x" * start + REDACTED
    assert "s3cr" not in shown


@pytest.mark.parametrize(
    "token",
    [
        TOKEN,
        TOKEN.rstrip("="),
        base64.urlsafe_b64encode(base64.b64decode(TOKEN)).decode(),
        base64.urlsafe_b64encode(base64.b64decode(TOKEN)).decode().rstrip("="),
        quote(TOKEN, safe=""),
    ],
)
def test_a_token_is_found_with_and_without_padding(token: str) -> None:
    assert TOKEN.endswith("=")
    assert Redactor([TOKEN.rstrip("=")])(f"Basic {token}").startswith(f"Basic {REDACTED}")
    assert len(Redactor([TOKEN.rstrip("=")])(f"Basic {token}")) <= len(f"Basic {REDACTED}%3D%3D")


def test_secrets_that_overlap_and_that_hold_each_other_are_found() -> None:
    assert Redactor(["abcdef", "defghi"])("-abcdefghi-") == f"-{REDACTED}-"
    assert Redactor(["abcdef", "cd"])("-abcdef-cd-") == f"-{REDACTED}-{REDACTED}-"


def test_a_key_with_spaces_is_found_on_one_line() -> None:
    assert Redactor(["a b\t\tc\nd"])(excerpt(b"<a b\t\tc\nd>")) == f"<{REDACTED}>"
    assert Redactor(["a b\t\tc\nd"])("<a+b%09%09c%0Ad>") == f"<{REDACTED}>"


@pytest.mark.parametrize("text", ["", "…", "s3c…", "a s3cr3t", "the key is not here", "s3cr3t/k€y+…s3cr3"])
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert Redactor([KEY])(text) == text.replace("s3cr3t/k€y+", REDACTED)
    assert Redactor([])(text) == Redactor(["", " \t"])(text) == text
