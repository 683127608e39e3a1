"""The records of a CDR answer: the bytes of one JSON object, cut into batches of sound records.

    AnswerError             the answer cannot be taken; it is never to be read as "no records"
    ├── BrokenOffAnswer     it ends before its JSON does; asking again may help
    ├── UnreadableAnswer    it is not the JSON object that the API documents
    └── RefusedAnswer       it is one of the API's two error envelopes, in the API's own words

An answer is `{"result": "0", "cdr": [record, ...]}`, keys in any order, however large. Its records are read a batch
at a time, so memory does not grow with them. Where a batch ends is guessed from the text and proved by decoding it:
JSON is read from the left, so what decodes as an array was cut between two of its elements. Where guesses fail, the
brackets and strings are followed one by one, which is exact and some twenty times slower.

A record is sound when the warehouse can read it and knows where it belongs: a valid JSON object in UTF-8, neither too
long nor too deep, with a `cdr_id` and a `trans_date`. Any other is set aside with its reason and costs no other record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import NamedTuple

import msgspec

BATCH_BYTES = 1 << 20
"""Bytes gathered before a batch is cut. Larger ones leave the processor's cache and are slower, not faster."""

LONGEST_RECORD = 8 << 20
"""Bytes of a sound record: half of what DuckDB takes by default as the largest object of a JSON file."""

LONGEST_HELD = 64 << 20
"""Bytes held in search of the end of one record; an answer that needs more is unreadable, since memory is bounded."""

LONGEST_ENVELOPE = 16 << 20
"""Bytes of an answer beside its records."""

DEEPEST_RECORD = 100
"""Nested objects and arrays of a sound record. One 128 deep costs the whole file where DuckDB infers the columns."""

_GUESSES = 3
_GUESSED_IN = 64 << 10
_SHOWN = 200

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\n\r"
_QUOTE, _COMMA, _COLON = b'",:'
_OPENERS, _CLOSERS = b"{[", b"}]"
_ARRAY, _ARRAY_END = b"[]"

_STRUCTURE = re.compile(rb'[\[\]{},:]|"[^"\\]*["\\]?')
_IN_STRING = re.compile(rb'["\\]')
_VISIBLE = re.compile(rb"[^ \t\n\r]")
_SEAM = re.compile(rb"\}[ \t\n\r]*(,)[ \t\n\r]*\{")
_FRACTION = re.compile(rb"\.[0-9]+")
_ONE_LINE = bytes.maketrans(b"\n\r", b"  ")
_UNMARKED = bytes(set(range(256)) - set(b"\n\r{["))


class AnswerError(Exception):
    """The answer cannot be taken, in whole: records already read from it are not to be kept."""


class BrokenOffAnswer(AnswerError):
    """The answer ends before its JSON does."""


class UnreadableAnswer(AnswerError):
    """The answer is not the JSON object that the API documents."""


class RefusedAnswer(AnswerError):
    """The API's own refusal. What it did not say is None.

    The older envelope has `result` (not zero), `error` and `desc`; the newer one `error_code`, `message` and
    `request_id`, which is what EnableX support asks for.
    """

    def __init__(
        self,
        *,
        result: str | None = None,
        error: str | None = None,
        desc: str | None = None,
        error_code: str | None = None,
        message: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self.result = result
        self.error = error
        self.desc = desc
        self.error_code = error_code
        self.message = message
        self.request_id = request_id
        words = [word for word in (error_code, error, message, desc) if word]
        if result is not None:
            words.insert(0, f"result {result}")
        request = f" (request_id {request_id})" if request_id else ""
        super().__init__((": ".join(words) or "an error without words") + request)


class Lines(NamedTuple):
    """Sound records, as received, one a line."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    text: bytes
    """Each line ends with a newline. Newlines between the tokens of a record became spaces; nothing else changed."""


class Quarantined(NamedTuple):
    """A record that is not sound, byte for byte as received."""

    record: bytes
    reason: str
    usage_date: date | None
    """UTC day of its `trans_date`, where that could still be read."""


class Batch(NamedTuple):
    """Some consecutive records of an answer: the sound ones by the UTC day of their `trans_date`, and the others."""

    days: dict[date, Lines]
    quarantined: list[Quarantined]


def read_records(chunks: Iterable[bytes]) -> Iterator[Batch]:
    """Read an answer that arrives in chunks of any size.

    Windows come while the answer is being read; only the end of the iteration says that the answer was whole and good.
    Raises an AnswerError otherwise, at any point of it.
    """
    body = _Body(chunks)
    head, text = _up_to_records(body)
    size, follows, ended = BATCH_BYTES, False, False
    while not ended:
        text = body.more(text, size)
        cut = _guessed_cut(text) or _exact_cut(text, follows)
        if cut is None:
            if body.ended:
                raise BrokenOffAnswer(f"the answer breaks off among its records, {body.length:,} bytes from its start")
            if len(text) > LONGEST_HELD:
                raise UnreadableAnswer(f"a record goes on for more than {LONGEST_HELD:,} bytes")
            # Doubling keeps the work linear: a long record is looked at from its start for each new size.
            size = min(2 * len(text), LONGEST_HELD + 1)
            continue
        if cut.elements:
            yield _batch(cut)
        text, size, follows, ended = text[cut.end + 1 :], BATCH_BYTES, True, cut.is_last
    fault = _fault(head + b"]" + body.more(text, LONGEST_ENVELOPE + 1))
    if fault:
        raise fault


def refusal(body: bytes) -> RefusedAnswer | None:
    """The API's own words in the body of an error status, or None where it holds neither error envelope."""
    try:
        fields = _ENVELOPE.decode(body.removeprefix(_BOM))
        return _refusal(fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def excerpt(body: bytes) -> str:
    """The first characters of a text, printable and on one line; `…` says that there is more."""
    text = body[: 8 * _SHOWN].decode(errors="replace")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:_SHOWN] + "…" if len(text) > _SHOWN or len(body) > 8 * _SHOWN else text


# The answer's bytes


class _Body:
    """The bytes of an answer, handed out in the amounts asked for."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._pieces = (chunk[at : at + BATCH_BYTES] for chunk in chunks for at in range(0, len(chunk), BATCH_BYTES))
        self.ended = False
        self.length = 0

    def more(self, held: bytes, size: int) -> bytes:
        """`held` and what follows it: `size` bytes or some more, fewer only when the answer has ended."""
        pieces, missing = [held], size - len(held)
        while missing > 0 and not self.ended:
            piece = next(self._pieces, b"")
            pieces.append(piece)
            missing -= len(piece)
            self.length += len(piece)
            self.ended = not piece
        return b"".join(pieces)


def _up_to_records(body: _Body) -> tuple[bytes, bytes]:
    """The answer up to the bracket that opens its records, and some bytes after it."""
    text, size = b"", BATCH_BYTES
    while True:
        text = body.more(text, size)
        visible = text.removeprefix(_BOM).lstrip(_SPACE)
        if visible[:1] not in (b"", b"{") and not _BOM.startswith(text):
            raise UnreadableAnswer(f"the answer is not a JSON object: {excerpt(body.more(text, 8 * _SHOWN))}")
        for key, at in _members(text):
            if key == "cdr" and text[at] == _ARRAY:
                return text[: at + 1], text[at + 1 :]
        if body.ended:
            cdr = [_kind(text[at : at + 1]) for key, at in _members(text) if key == "cdr"]
            what = f"cdr is {cdr[0]}, not a list" if cdr else "the answer has no cdr"
            raise _fault(text) or UnreadableAnswer(f"{what}: {excerpt(text)}")
        if len(text) > LONGEST_ENVELOPE:
            raise UnreadableAnswer(f"no records in the first {LONGEST_ENVELOPE:,} bytes of the answer: {excerpt(text)}")
        size = max(2 * len(text), BATCH_BYTES)


# The envelope: everything but the records

_ENVELOPE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def _fault(text: bytes) -> AnswerError | None:
    """What is wrong with an answer, seen without what is between the brackets of its records."""
    text = text.removeprefix(_BOM)
    if not text.strip(_SPACE):
        return UnreadableAnswer("the answer is empty")
    if len(text) > LONGEST_ENVELOPE:
        return UnreadableAnswer(f"the answer holds more than {LONGEST_ENVELOPE:,} bytes beside its records")
    if 0 not in _depths(text):
        return BrokenOffAnswer(f"the answer breaks off: {excerpt(text)}")
    try:
        fields = _ENVELOPE.decode(text)
        text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return UnreadableAnswer(f"the answer beside its records is not JSON ({error}): {excerpt(text)}")
    refused = _refusal(fields)
    if refused:
        return refused
    if "result" not in fields:
        return UnreadableAnswer(f"the answer has no result: {excerpt(text)}")
    if [key for key, _ in _members(text)].count("cdr") > 1:
        return UnreadableAnswer("the answer has two cdr")
    return None


def _refusal(fields: dict[str, msgspec.Raw]) -> RefusedAnswer | None:
    said = {name: _said(fields[name]) for name in _REFUSAL if name in fields}
    if "result" in fields:
        refused = bytes(fields["result"]) not in (b"0", b'"0"')
    else:
        refused = any(said.get(name) for name in ("error", "desc", "error_code"))
    if not refused and _said(fields.get("status", msgspec.Raw(b"null"))) != "error":
        return None
    return RefusedAnswer(**said)


_REFUSAL = ("result", "error", "desc", "error_code", "message", "request_id")


def _said(raw: msgspec.Raw) -> str | None:
    """A field's text: a string without its quotes, any other value as JSON."""
    value = bytes(raw)
    if value == b"null":
        return None
    return excerpt(_TEXT.decode(value).encode() if value.startswith(b'"') else value)


def _kind(value: bytes) -> str:
    kinds = {b"{": "an object", b"[": "a list", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}
    return kinds.get(value[:1], "a number" if value[:1] in b"-0123456789" else "not JSON")


# JSON's structure, without its values


def _tokens(text: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """The brackets, commas, colons and whole strings from `at` on: first byte, start, end."""
    while True:
        for match in _STRUCTURE.finditer(text, at):
            start, at = match.span()
            kind = text[start]
            if kind == _QUOTE and (at - start == 1 or text[at - 1] != _QUOTE):
                break
            yield kind, start, at
        else:
            return
        # A string with escapes. One regular expression for all of it would need a stack that grows with them.
        end = _string_end(text, start + 1)
        if end is None:
            return
        yield _QUOTE, start, end
        at = end


def _string_end(text: bytes, at: int) -> int | None:
    """Where the string that `at` is inside of ends; None where the text ends before it."""
    while match := _IN_STRING.search(text, at):
        if text[match.start()] == _QUOTE:
            return match.end()
        at = match.end() + 1
    return None


def _members(text: bytes) -> Iterator[tuple[str, int]]:
    """Each key of the outermost object and where its value begins, as far as the text goes."""
    depth, string = 0, b""
    for kind, start, end in _tokens(text):
        if kind in _OPENERS:
            depth += 1
        elif kind in _CLOSERS:
            depth -= 1
            if depth == 0:
                return
        elif depth == 1 and kind == _QUOTE:
            string = text[start:end]
        elif depth == 1 and kind == _COLON and (value := _VISIBLE.search(text, end)):
            try:
                key = _TEXT.decode(string)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            yield key, value.start()


def _depths(text: bytes) -> Iterator[int]:
    """How many brackets are open after each bracket of a text."""
    depth = 0
    for kind, _, _ in _tokens(text):
        if kind in _OPENERS:
            depth += 1
            yield depth
        elif kind in _CLOSERS:
            depth -= 1
            yield depth


# Cuts


class _Cut(NamedTuple):
    """The elements of the records' array up to the comma, or to the closing bracket, at `end`."""

    array: bytes
    elements: Sequence[msgspec.Raw | bytes]
    end: int
    is_last: bool


_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def _guessed_cut(text: bytes) -> _Cut | None:
    """Cut at one of the last places that look like the seam of two records, proved by decoding what is before it."""
    seams = [match.start(1) for match in _SEAM.finditer(text, max(len(text) - _GUESSED_IN, 0))]
    for end in reversed(seams[-_GUESSES:]):
        array = _array(text, end)
        try:
            return _Cut(array, _ELEMENTS.decode(array), end, is_last=False)
        except (msgspec.DecodeError, RecursionError):
            continue
    return None


def _exact_cut(text: bytes, follows: bool) -> _Cut | None:
    """Cut at the array's end, or else at the last comma between two elements, whatever is in them; None without either.

    `follows` says that a comma came before `text`, so that an element must come.
    """
    elements: list[bytes] = []
    awaited = bytearray()
    start = closed = 0

    def element(end: int) -> bytes:
        # A string, a list or an object was closed; any other value is a single word.
        words = text[closed:end].split()
        if closed == start and not words:
            raise UnreadableAnswer("a comma among the records has no record at one of its sides")
        if words[1:] if closed == start else words:
            raise UnreadableAnswer(f"two records have no comma between them: {excerpt(text[start:end])}")
        return text[start:end].strip(_SPACE)

    for kind, at, end in _tokens(text):
        if kind in b'{["' and not awaited and text[start:at].strip(_SPACE):
            raise UnreadableAnswer(f"two records have no comma between them: {excerpt(text[start:end])}")
        if kind in _OPENERS:
            awaited.append(kind + 2)
        elif kind in _CLOSERS and awaited:
            if awaited.pop() != kind:
                raise UnreadableAnswer(f"brackets do not match: {excerpt(text[start:end])}")
        elif kind == _COMMA and not awaited:
            elements.append(element(at))
            start = closed = end
            continue
        elif kind == _ARRAY_END:
            if follows or elements or text[:at].strip(_SPACE):
                elements.append(element(at))
            return _Cut(_array(text, at), elements, at, is_last=True)
        elif kind in _CLOSERS:
            raise UnreadableAnswer(f"brackets do not match: {excerpt(text[start:end])}")
        if not awaited and kind in b'}]"':
            closed = end
    return _Cut(_array(text, start - 1), elements, start - 1, is_last=False) if elements else None


def _array(text: bytes, end: int) -> bytes:
    return b"".join((b"[", memoryview(text)[:end], b"]"))


# What makes a record sound


class _Head(msgspec.Struct, gc=False):
    cdr_id: str | int
    trans_date: datetime


class _RawHead(msgspec.Struct):
    cdr_id: msgspec.Raw = msgspec.Raw(b"null")
    trans_date: msgspec.Raw = msgspec.Raw(b"null")


class _Unsound(Exception):
    """Why a record is set aside."""


_HEADS = msgspec.json.Decoder(list[_Head])
_RAW_HEAD = msgspec.json.Decoder(_RawHead)
_TIME = msgspec.json.Decoder(datetime)
_MANY_BRACKETS = re.compile(rb"[^\n]{%d}" % (DEEPEST_RECORD + 1))


def _batch(cut: _Cut) -> Batch:
    day = _common_day(cut.array)
    if day is not None:
        text = b"\n".join([*cut.elements, b""])
        if _is_utf8(text) and _is_plain(text, len(cut.elements)):
            return Batch({day: Lines(len(cut.elements), text)}, [])
    return _one_by_one([bytes(element) for element in cut.elements])


def _common_day(array: bytes) -> date | None:
    """The day of all records of a batch where they are plainly sound and of one day, else None."""
    if len(array) > LONGEST_RECORD:
        return None
    try:
        heads = _HEADS.decode(array)
        times = [head.trans_date for head in heads]
        day = _utc_day(times[0])
        # Midnight itself is left to the closer look: the decoder rounds a seventh digit of a second up to the next day.
        midnight = datetime.combine(day, time(), timezone.utc if times[0].tzinfo else None)
        alike = midnight < min(times) and max(times) < midnight + timedelta(days=1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, TypeError):
        return None
    return day if alike and all(head.cdr_id != "" for head in heads) else None


def _is_utf8(text: bytes) -> bool:
    # The decoder does not look into the strings that it leaves raw.
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_plain(text: bytes, count: int) -> bool:
    """True when `count` lines hold a record each and none has brackets enough, strings included, to be too deep."""
    marks = text.translate(None, _UNMARKED)
    return marks.count(b"\n") == count and b"\r" not in marks and not _MANY_BRACKETS.search(marks)


def _one_by_one(records: list[bytes]) -> Batch:
    days: dict[date, list[bytes]] = {}
    quarantined: list[Quarantined] = []
    for record in records:
        try:
            days.setdefault(_day(record), []).append(record.translate(_ONE_LINE) + b"\n")
        except _Unsound as unsound:
            quarantined.append(Quarantined(record, str(unsound), _readable_day(record)))
    return Batch({day: Lines(len(lines), b"".join(lines)) for day, lines in days.items()}, quarantined)


def _day(record: bytes) -> date:
    """The UTC day of a sound record; raises _Unsound for any other."""
    if not record.startswith(b"{"):
        raise _Unsound(f"the record is {_kind(record)}, not an object")
    if len(record) > LONGEST_RECORD:
        raise _Unsound(f"the record is longer than {LONGEST_RECORD:,} bytes")
    try:
        record.decode()
        head = _RAW_HEAD.decode(record)
    except UnicodeDecodeError as error:
        raise _Unsound(f"the record is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise _Unsound(f"the record is nested more than {DEEPEST_RECORD} deep") from None
    except msgspec.DecodeError as error:
        raise _Unsound(f"the record is not valid JSON: {error}") from None
    # Counting is cheap and settles nearly all: a record is no deeper than it has brackets.
    brackets = record.count(b"{") + record.count(b"[")
    if brackets > DEEPEST_RECORD and max(_depths(record)) > DEEPEST_RECORD:
        raise _Unsound(f"the record is nested more than {DEEPEST_RECORD} deep")
    cdr_id = bytes(head.cdr_id)
    if cdr_id in (b"null", b'""'):
        raise _Unsound("cdr_id is missing or empty")
    if cdr_id[:1] not in b'"-0123456789':
        raise _Unsound(f"cdr_id is {_kind(cdr_id)}, not a string or a number")
    return _day_of_time(bytes(head.trans_date))


def _day_of_time(value: bytes) -> date:
    """The UTC day of a JSON string that is an RFC 3339 time, UTC where it has no offset; else raises _Unsound."""
    if value == b"null":
        raise _Unsound("trans_date is missing")
    try:
        _TIME.decode(value)
        # The warehouse cuts digits of a second off where the decoder rounds: without them, both see the same day.
        return _utc_day(_TIME.decode(_FRACTION.sub(b"", value)))
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
        raise _Unsound(f"trans_date is not an RFC 3339 date and time: {excerpt(value)}") from None


def _utc_day(when: datetime) -> date:
    return (when.astimezone(timezone.utc) if when.tzinfo else when).date()


def _readable_day(record: bytes) -> date | None:
    """The UTC day of a record that is not sound, from its structure alone."""
    for key, at in _members(record):
        if key == "trans_date":
            _, start, end = next(_tokens(record, at), (0, 0, 0))
            try:
                return _day_of_time(record[start:end])
            except _Unsound:
                return None
    return None
