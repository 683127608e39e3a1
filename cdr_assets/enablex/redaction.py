"""Takes secrets out of a text, in whatever spelling a server sent them back.

Each character of a secret may be written plainly, URL-encoded, escaped as in JSON or in a Python literal, or escaped
as in HTML, each also more than once (`%252F`, `&amp;lt;`). One text may mix all of these.
"""

from __future__ import annotations

import html.entities
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

REDACTED = "[redacted]"

MIN_BEGINNING = 4
"""Characters of a secret that count as its beginning where a text was cut short. Fewer could be any word."""

ELLIPSIS = "…"

_URL_BYTE = re.compile(r"%(?:25)*([0-9A-Fa-f]{2})")
_CODE_UNIT = re.compile(r"\\+u([0-9A-Fa-f]{4})")
_CODE_BYTE = re.compile(r"\\+x([0-9A-Fa-f]{2})")
_BACKSLASHES = re.compile(r"\\*")
_HTML_NUMBER = re.compile(r"#(?:([0-9]+)|[xX]([0-9A-Fa-f]+));?")
_SPACES = re.compile(r"\s*")

_BEGUN_ESCAPE = re.compile(
    r"%[%0-9A-Fa-f]*|&[#;\w]*|\\[\\uUxX0-9A-Fa-f]*|[\xc2-\xf4][\x80-\xbf\s]*|\ufffd+"  # the last two: bytes of UTF-8
)
"""An escape, or an encoded character, that a cut left without its end."""

_OTHER = {"+": "- ", "/": "_", " ": "+"}
"""What stands for a character in URL-safe base64 and in a form."""


class Redactor:
    """Finds `secrets`. Those that are blank are none."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret for secret in secrets if secret.strip()]

    def __call__(self, text: str) -> str:
        """`text` without the secrets, and without the beginning of one before an ellipsis."""
        pieces, at = list[str](), 0
        for start, end in sorted(span for secret in self._secrets for span in _found(text, secret)):
            if start >= at:
                pieces += [text[at:start], REDACTED]
            at = max(at, end)
        return "".join([*pieces, text[at:]])


def _found(text: str, secret: str) -> Iterator[tuple[int, int]]:
    """Where the secret is, or begins and is cut short."""
    spelled = [_Character.of(character) for character in secret]
    at = 0
    while at < len(text):
        end = _end(text, at, spelled)
        if end:
            yield at, end
        at = max(end, at + 1)


def _end(text: str, start: int, secret: Sequence[_Character]) -> int:
    """The end of the secret that begins at `start`, or that of its beginning before a cut; 0 if there is neither."""
    # One spelling can begin like another, "&amp;" like "&", so a character can end at several places.
    ends, beginning = {start}, 0
    for count, character in enumerate(secret):
        if count >= MIN_BEGINNING:
            cuts = ((end, text.find(ELLIPSIS, end)) for end in ends)
            cut = (cut for end, cut in cuts if end == cut or _BEGUN_ESCAPE.fullmatch(text, end, cut))
            beginning = max(beginning, *cut, 0)
        ends = {after for end in ends for after in character.ends(text, end)}
        if not ends:
            return beginning
    return max(beginning, *ends)


class _Character:
    """A character in all its spellings."""

    of = staticmethod(cache(lambda character: _Character(character)))

    def __init__(self, character: str) -> None:
        encoded = character.encode(errors="surrogatepass")
        utf16 = character.encode("utf-16-be", errors="surrogatepass").hex()
        self._plain = character + _OTHER.get(character, "")
        self._code = ord(character)
        self._bytes = [f"{byte:02x}" for byte in encoded]
        self._units = [utf16[at : at + 4] for at in range(0, len(utf16), 4)]
        self._entities = _entities()[character]
        # Headers are read as Latin-1, whatever they were written in. An excerpt has a space for what has no shape.
        self._latin = encoded.decode("latin-1") if len(encoded) > 1 else ""
        self._is_space = character.isspace() or not character.isprintable()

    def ends(self, text: str, at: int) -> Iterator[int]:
        """The ends of its spellings at a place in the text."""
        first = text[at : at + 1]
        if first and first in self._plain:
            yield at + 1
        if first == "%":
            yield from _run_of(_URL_BYTE, self._bytes, text, at)
        elif first == "\\":
            yield from _run_of(_CODE_UNIT, self._units, text, at)
            yield from _run_of(_CODE_BYTE, self._bytes, text, at)
            end = _end_of(_BACKSLASHES, text, at)
            # For a backslash: each number of them, which is more than one where it was escaped.
            yield from (place + 1 for place in range(at + 1, end + 1) if text[place : place + 1] in [*self._plain])
        elif first == "&":
            at += 1
            yield from self._html_ends(text, at)
            while text.startswith("amp;", at):
                at += len("amp;")
                yield from self._html_ends(text, at)
            return
        if self._latin and first == self._latin[0]:
            yield from self._latin_ends(text, at)
        if self._is_space:
            yield _end_of(_SPACES, text, at)

    def _html_ends(self, text: str, at: int) -> Iterator[int]:
        """The ends of its HTML escapes; `at` is after the ampersand."""
        number = _HTML_NUMBER.match(text, at)
        if number and self._code == (int(number[1][-9:]) if number[1] else int(number[2][-9:], 16)):
            yield number.end()
            if number[0].endswith(";"):
                yield number.end() - 1
        for name in self._entities:
            if text.startswith(name, at):
                end = at + len(name)
                # Browsers take a name without its semicolon, so a semicolon there may be the secret's own.
                yield end
                if text.startswith(";", end):
                    yield end + 1

    def _latin_ends(self, text: str, at: int) -> Iterator[int]:
        for character in self._latin:
            if text.startswith(character, at):
                at += 1
            elif character.isprintable():
                return
            else:
                at = _end_of(_SPACES, text, at)
        yield at


def _run_of(escape: re.Pattern[str], codes: Sequence[str], text: str, at: int) -> Iterator[int]:
    """The end of the escapes of these codes, one after the other."""
    for code in codes:
        match = escape.match(text, at)
        if not match or match[1].lower() != code:
            return
        at = match.end()
    yield at


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The end of what matches there. For patterns that also match nothing."""
    match = pattern.match(text, at)
    return match.end() if match else at


@cache
def _entities() -> dict[str, list[str]]:
    """The names of each character in HTML."""
    names = defaultdict[str, list[str]](list)
    for name, text in html.entities.html5.items():
        names[text].append(name.rstrip(";"))
    return names
