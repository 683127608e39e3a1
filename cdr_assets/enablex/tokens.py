"""The structure of a JSON text: where its brackets, commas, colons and strings are. Values are not decoded.

No function here checks that the text is valid JSON. The text may break off anywhere: only complete tokens are reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

SPACE = b" \t\n\r"
QUOTE, COMMA, COLON = b'",:'
OPENERS, CLOSERS = b"{[", b"}]"
ARRAY, ARRAY_END = b"[]"

_STRUCTURE = re.compile(rb'[\[\]{},:]|"[^"\\]*["\\]?')
_IN_STRING = re.compile(rb'["\\]')
_VISIBLE = re.compile(rb"[^ \t\n\r]")
_TEXT = msgspec.json.Decoder(str)


def tokens(text: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """The brackets, commas, colons and whole strings from `at` on, each as its first byte, its start and its end."""
    while True:
        for match in _STRUCTURE.finditer(text, at):
            start, at = match.span()
            kind = text[start]
            if kind == QUOTE and (at - start == 1 or text[at - 1] != QUOTE):
                break
            yield kind, start, at
        else:
            return
        # A string with escapes. A single regular expression for it would need a stack that grows with their number.
        end = _string_end(text, start + 1)
        if end is None:
            return
        yield QUOTE, start, end
        at = end


def _string_end(text: bytes, at: int) -> int | None:
    """The end of the string that has begun before `at`; None when the text ends first."""
    while match := _IN_STRING.search(text, at):
        if text[match.start()] == QUOTE:
            return match.end()
        at = match.end() + 1
    return None


def members(text: bytes) -> Iterator[tuple[str, int]]:
    """Each key of the outermost object, with the place where its value begins, as far as the text goes."""
    depth, string = 0, b""
    for kind, start, end in tokens(text):
        if kind in OPENERS:
            depth += 1
        elif kind in CLOSERS:
            depth -= 1
            if depth == 0:
                return
        elif depth == 1 and kind == QUOTE:
            string = text[start:end]
        elif depth == 1 and kind == COLON and (value := _VISIBLE.search(text, end)):
            try:
                key = _TEXT.decode(string)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            yield key, value.start()


def depths(text: bytes) -> Iterator[int]:
    """How many brackets are open after each bracket of the text."""
    depth = 0
    for kind, _, _ in tokens(text):
        if kind in OPENERS:
            depth += 1
            yield depth
        elif kind in CLOSERS:
            depth -= 1
            yield depth


def value_kind(value: bytes) -> str:
    """What a JSON value is, by its first byte, in words: "an object", "a number", "null"."""
    kinds = {b"{": "an object", b"[": "a list", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}
    return kinds.get(value[:1], "a number" if value[:1] in b"-0123456789" else "not JSON")
