"""A CDR answer: the bytes of one JSON object, cut into batches of records.

    AnswerError             the answer cannot be used; it never means "no records"
    ├── BrokenOffAnswer     it ends before its JSON does; asking again may help
    ├── UnreadableAnswer    it is not the JSON object that the API documents
    └── RefusedAnswer       it is one of the API's two error envelopes, in the API's own words

An answer is `{"result": "0", "cdr": [record, ...]}`, keys in any order, however large. Its records are read one batch
at a time, so that memory does not grow with the answer. Where a batch ends is guessed from the text and proved by
decoding it: JSON is read from the left, so text that decodes as an array was cut between two of its elements. Where
guesses fail, brackets and strings are followed one by one, which is exact and some twenty times slower.

No JSON library serves here. They yield objects instead of the received bytes, which the landing zone keeps, and one
invalid record ends their reading. ijson, the fastest, reads a third as many bytes per second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from cdr_assets.enablex.errors import excerpt
from cdr_assets.enablex.outline import BOM, describe, json_fault
from cdr_assets.enablex.records import Batch, to_batch
from cdr_assets.enablex.tokens import (
    ARRAY,
    ARRAY_END,
    CLOSERS,
    COMMA,
    OPENERS,
    SPACE,
    depths,
    members,
    tokens,
    value_kind,
)

BATCH_BYTES = 1 << 20
"""Bytes gathered before a batch is cut. More is slower: the batch no longer fits in the processor's cache."""

MAX_HELD_BYTES = 64 << 20
"""Bytes held in search of the end of one record. An answer that needs more is unreadable, since memory is bounded."""

MAX_ENVELOPE_BYTES = 16 << 20
"""Bytes of an answer outside the list of its records."""

_DESCRIBED_BYTES = 4096
"""Bytes of an answer of another shape that are looked at, so that its error can say what it is."""

_GUESSES = 3
_GUESSED_IN = 64 << 10

_SEAM = re.compile(rb"\}[ \t\n\r]*(,)[ \t\n\r]*\{")


class AnswerError(Exception):
    """The answer cannot be used, nor any batch that was read from it before."""


class BrokenOffAnswer(AnswerError):
    """The answer ends before its JSON does."""


class UnreadableAnswer(AnswerError):
    """The answer is not the JSON object that the API documents."""


class RefusedAnswer(AnswerError):
    """The API's own refusal. What it did not say is None.

    The older envelope has `result` (not zero), `error` and `desc`; the newer one has `error_code`, `message` and
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


def read_records(chunks: Iterable[bytes]) -> Iterator[Batch]:
    """Reads an answer that arrives in chunks of any size.

    Batches come while the answer is being read. Only the end of the iteration says that the answer was whole and good:
    an AnswerError can be raised at any point before. An empty list of records gives no batch. Success without a list
    of records gives one empty batch with `has_no_list`. An answer that says that it lacks records ends with an empty
    batch with `signs_of_more`: the API documents no such answer, and no way to ask for the rest.
    """
    body = _Body(chunks)
    opened = _up_to_records(body)
    head, text = opened
    if not head:
        yield Batch(has_no_list=True, signs_of_more=_signs_of_more(text, 0))
        return
    size, follows, ended, records = BATCH_BYTES, False, False, 0
    while not ended:
        text = body.more(text, size)
        cut = _guessed_cut(text) or _exact_cut(text, follows, body.length - len(text))
        if cut is None:
            if body.ended:
                raise BrokenOffAnswer(f"the answer breaks off among its records, {body.length:,} bytes from its start")
            if len(text) > MAX_HELD_BYTES:
                raise UnreadableAnswer(f"a record goes on for more than {MAX_HELD_BYTES:,} bytes")
            # A long record is scanned from its start for each new size. Doubling the size keeps that linear.
            size = min(2 * len(text), MAX_HELD_BYTES + 1)
            continue
        if cut.elements:
            yield to_batch(cut.array, cut.elements)
            records += len(cut.elements)
        text, size, follows, ended = text[cut.end + 1 :], BATCH_BYTES, True, cut.is_last
    envelope = head + b"]" + body.more(text, MAX_ENVELOPE_BYTES + 1)
    if fault := _fault(envelope):
        raise fault
    if signs := _signs_of_more(envelope, records):
        yield Batch(signs_of_more=signs)


def refusal(body: bytes) -> RefusedAnswer | None:
    """The API's own words in the body of an error status; None when the body has neither error envelope."""
    try:
        return _refusal(_ENVELOPE.decode(body.removeprefix(BOM)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# The answer's bytes


class _Body:
    """The bytes of an answer, handed out in the amounts asked for."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._pieces = (chunk[at : at + BATCH_BYTES] for chunk in chunks for at in range(0, len(chunk), BATCH_BYTES))
        self.ended = False
        self.length = 0

    def more(self, held: bytes, size: int) -> bytes:
        """`held` and the bytes after it: at least `size` bytes in all, fewer only when the answer has ended."""
        pieces, missing = [held], size - len(held)
        while missing > 0 and not self.ended:
            piece = next(self._pieces, b"")
            pieces.append(piece)
            missing -= len(piece)
            self.length += len(piece)
            self.ended = not piece
        return b"".join(pieces)


def _up_to_records(body: _Body) -> tuple[bytes, bytes]:
    """The answer up to the bracket that opens its records, and some bytes after it.

    For success without a list, nothing and the whole answer.
    """
    text, size = b"", BATCH_BYTES
    while True:
        text = body.more(text, size)
        visible = text.removeprefix(BOM).lstrip(SPACE)
        if visible[:1] not in (b"", b"{") and not BOM.startswith(text):
            text = body.more(text, _DESCRIBED_BYTES)
            raise UnreadableAnswer(
                f"the answer is not a JSON object: {'' if body.ended else 'it begins with '}{describe(text)}"
            )
        for key, at in members(text):
            if key == "cdr" and text[at] == ARRAY:
                return text[: at + 1], text[at + 1 :]
        if body.ended:
            fault = _fault(text) or _fault_without_list(text)
            if fault:
                raise fault
            return b"", text
        if len(text) > MAX_ENVELOPE_BYTES:
            raise UnreadableAnswer(
                f"no records in the first {MAX_ENVELOPE_BYTES:,} bytes of the answer: {describe(text)}"
            )
        size = max(2 * len(text), BATCH_BYTES)


# The envelope: everything but the records

_ENVELOPE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_REFUSAL = ("result", "error", "desc", "error_code", "message", "request_id")
_CODES = ("result", "error_code", "request_id")
_MAX_CODE = 80
_RECORD_KEYS = frozenset({"cdr_id", "trans_date"})
"""With one of these an object is a record, whatever else it has."""
_NOTHING: tuple[object, ...] = (None, "", False, 0, "0", "false", "False", [], {})
_MORE = re.compile(
    r"(has_?)?(more|next)(_?(page|token|url|link|cursor|records))*|(is_?)?(truncated|partial|incomplete)", re.IGNORECASE
)
_TOTAL = re.compile(r"(total|count)(_?(count|records|results|cdrs?))?", re.IGNORECASE)
_ERROR = re.compile(r"error(_?(code|message))?", re.IGNORECASE)
_JSON_IN_TEXT = re.compile(r'^\s*[\[{"]|"\s*:')


def _fault(text: bytes) -> AnswerError | None:
    """The fault of an answer, given without the text between the brackets of its records; None for a good one."""
    text = text.removeprefix(BOM)
    if not text.strip(SPACE):
        return UnreadableAnswer("the answer is empty")
    if len(text) > MAX_ENVELOPE_BYTES:
        return UnreadableAnswer(f"the answer holds more than {MAX_ENVELOPE_BYTES:,} bytes outside its records")
    if 0 not in depths(text):
        return BrokenOffAnswer(f"the answer breaks off: {describe(text)} outside its records")
    try:
        fields = _ENVELOPE.decode(text)
        text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return UnreadableAnswer(f"the answer without its records is not JSON: {json_fault(error)}, {describe(text)}")
    refused = _refusal(fields)
    if refused:
        return refused
    if "result" not in fields:
        return UnreadableAnswer(f"the answer has no result: {describe(text)}")
    if [key for key, _ in members(text)].count("cdr") > 1:
        return UnreadableAnswer("the answer has two cdr")
    return None


def _fault_without_list(text: bytes) -> UnreadableAnswer | None:
    """Why a good envelope without a list of records cannot mean "no records"; None when it does.

    Records under another name would be a list or an object, and an error in words next to a `result` of zero is no
    clear success.
    """
    fields = _ENVELOPE.decode(text.removeprefix(BOM))
    cdr = bytes(fields.get("cdr", msgspec.Raw(b"null")))
    if cdr != b"null":
        return UnreadableAnswer(f"cdr is {value_kind(cdr)}, not a list: {describe(text)}")
    # Of two members with one key the decoder keeps the last; here each counts.
    if any(text[at] in OPENERS for _, at in members(text)):
        return UnreadableAnswer(f"the answer has no cdr, but another list or object: {describe(text)}")
    if any(_said(name, fields[name]) for name in ("error", "error_code") if name in fields):
        return UnreadableAnswer(f"the answer has no cdr, but an error: {describe(text)}")
    return None


def _signs_of_more(text: bytes, records: int) -> tuple[str, ...]:
    """How a good envelope, or an object in it, says that the list of so many records is not whole."""
    try:
        fields = msgspec.json.decode(text.removeprefix(BOM))
    except RecursionError:
        return ()
    parts = [fields, *(value for value in fields.values() if isinstance(value, dict))]
    members = [(key, value) for part in parts for key, value in part.items() if value not in _NOTHING]
    signs = [f"{key} is set" for key, value in members if _MORE.fullmatch(key) or (value and _ERROR.fullmatch(key))]
    totals = ((key, int(value)) for key, value in members if _TOTAL.fullmatch(key) and str(value).isdecimal())
    return (*signs, *(f"{key} is {total:,}, the list has {records:,}" for key, total in totals if total > records))


def _refusal(fields: dict[str, msgspec.Raw]) -> RefusedAnswer | None:
    if not _RECORD_KEYS.isdisjoint(fields):
        return None
    said = {name: _said(name, fields[name]) for name in _REFUSAL if name in fields}
    if "result" in fields:
        refused = bytes(fields["result"]) not in (b"0", b'"0"')
    else:
        refused = any(said.get(name) for name in ("error", "desc", "error_code"))
    if not refused and _said("status", fields.get("status", msgspec.Raw(b"null"))) != "error":
        return None
    return RefusedAnswer(**said)


def _said(name: str, raw: msgspec.Raw) -> str | None:
    """The words of a field of the envelope; None for null.

    What is not in words, and could be a record or a part of one, is not quoted.
    """
    value = bytes(raw)
    if value == b"null":
        return None
    if value[:1] != b'"':
        return value.decode() if value[:1] not in b"{[" and len(value) <= _MAX_CODE else f"{value_kind(value)}"
    text = _TEXT.decode(value)
    if name in _CODES and not re.fullmatch(rf"[\w .:-]{{0,{_MAX_CODE}}}", text):
        return f"a text of {len(text)} characters"
    return "a text that is no message" if _JSON_IN_TEXT.search(text) else excerpt(text.encode())


# Cuts


class _Cut(NamedTuple):
    """The elements of the records' array up to `end`, which is the place of a comma or of the closing bracket."""

    array: bytes
    elements: Sequence[msgspec.Raw | bytes]
    end: int
    is_last: bool


_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def _guessed_cut(text: bytes) -> _Cut | None:
    """Cuts at one of the last places that look like the seam of two records, if the text before it decodes."""
    seams = [match.start(1) for match in _SEAM.finditer(text, max(len(text) - _GUESSED_IN, 0))]
    for end in reversed(seams[-_GUESSES:]):
        array = _array(text, end)
        try:
            return _Cut(array, _ELEMENTS.decode(array), end, is_last=False)
        except (msgspec.DecodeError, RecursionError):
            continue
    return None


def _exact_cut(text: bytes, follows: bool, offset: int) -> _Cut | None:
    """Cuts at the array's end, or else at the last comma between two elements, valid or not. None without either.

    `follows` says that a comma came before `text`, so that an element must come next. `offset` is the place of `text`
    in the answer.
    """
    elements: list[bytes] = []
    awaited = bytearray()
    start = closed = 0

    def fault(what: str, at: int) -> UnreadableAnswer:
        return UnreadableAnswer(f"{what}, {offset + at:,} bytes from the start of the answer")

    def element(end: int) -> bytes:
        # An element is a string, a list or an object that was closed, or else a single word.
        words = text[closed:end].split()
        if closed == start and not words:
            raise fault("a comma among the records has no record at one of its sides", end)
        if words[1:] if closed == start else words:
            raise fault("two records have no comma between them", end)
        return text[start:end].strip(SPACE)

    for kind, at, end in tokens(text):
        if kind in b'{["' and not awaited and text[start:at].strip(SPACE):
            raise fault("two records have no comma between them", end)
        if kind in OPENERS:
            awaited.append(kind + 2)
        elif kind in CLOSERS and awaited:
            if awaited.pop() != kind:
                raise fault("brackets do not match", end)
        elif kind == COMMA and not awaited:
            elements.append(element(at))
            start = closed = end
            continue
        elif kind == ARRAY_END:
            if follows or elements or text[:at].strip(SPACE):
                elements.append(element(at))
            return _Cut(_array(text, at), elements, at, is_last=True)
        elif kind in CLOSERS:
            raise fault("brackets do not match", end)
        if not awaited and kind in b'}]"':
            closed = end
    return _Cut(_array(text, start - 1), elements, start - 1, is_last=False) if elements else None


def _array(text: bytes, end: int) -> bytes:
    return b"".join((b"[", memoryview(text)[:end], b"]"))
