"""What makes a CDR valid, and the UTC day that it belongs to.

A record is valid when the warehouse can read it and knows where it belongs: a JSON object in UTF-8, neither too long
nor nested too deep, with one `cdr_id` and one `trans_date`. Any other record is quarantined with the reason. It never
costs another record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone

import msgspec

from cdr_assets.enablex.errors import excerpt
from cdr_assets.enablex.tokens import depths, members, tokens, value_kind

MAX_RECORD_BYTES = 8 << 20
"""Bytes of a valid record: half of DuckDB's default limit for an object in a JSON file."""

MAX_RECORD_DEPTH = 100
"""Nested objects and arrays of a valid record. Where DuckDB infers the columns, one record that is 128 deep makes the
whole file unreadable."""

_FRACTION = re.compile(rb"\.[0-9]+")
_ONE_LINE = bytes.maketrans(b"\n\r", b"  ")
_UNMARKED = bytes(set(range(256)) - set(b"\n\r{["))
_MANY_BRACKETS = re.compile(rb"[^\n]{%d}" % (MAX_RECORD_DEPTH + 1))


@dataclass(frozen=True)
class Lines:
    """Valid records, as received, one per line."""

    ids: Sequence[str]
    """The cdr_id of each."""
    text: bytes
    """Each line ends with a newline. Newlines between the tokens of a record became spaces; nothing else changed."""

    @property
    def count(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Quarantined:
    """A record that is not valid, byte for byte as received."""

    record: bytes
    reason: str
    usage_date: date | None
    """UTC day of the record's `trans_date`, where that can still be read."""


@dataclass(frozen=True)
class Batch:
    """Some consecutive records of an answer: the valid ones by the UTC day of their `trans_date`, and the others."""

    days: dict[date, Lines] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    has_no_list: bool = False
    """The answer reported success without a list of records. This batch is then the only one, and it is empty."""
    signs_of_more: tuple[str, ...] = ()
    """How the answer says that it lacks records. It quotes numbers alone. This batch is then the last one, and it is
    empty."""


class _Id:
    """Stands for a cdr_id."""


class _Time:
    """Stands for a trans_date."""


class _Head(msgspec.Struct, gc=False):
    cdr_id: _Id
    trans_date: _Time


class _RawHead(msgspec.Struct):
    cdr_id: msgspec.Raw = msgspec.Raw(b"null")
    trans_date: msgspec.Raw = msgspec.Raw(b"null")


class _Invalid(Exception):
    """Why a record is quarantined."""


_RAW_HEAD = msgspec.json.Decoder(_RawHead)
_TIME = msgspec.json.Decoder(datetime)
_TEXT = msgspec.json.Decoder(str)
_ID_OR_TIME = ("cdr_id", "trans_date")
# A key can be spelled with escapes: \u0063dr_id.
_ESCAPED_LETTER = re.compile(rb"\\u00[567]")


def to_batch(array: bytes, elements: Sequence[msgspec.Raw | bytes]) -> Batch:
    """Sorts the elements of a JSON array into valid and quarantined records. `array` is the text of the array.

    Records are checked all at once where that is possible, and one by one otherwise. Both ways give the same.
    """
    common = _common_day(array)
    if common is not None:
        day, ids = common
        text = b"\n".join([*elements, b""])
        if _is_utf8(text) and _is_plain(text, len(elements)):
            return Batch({day: Lines(ids, text)})
    return _one_by_one([bytes(element) for element in elements])


def _common_day(array: bytes) -> tuple[date, list[str]] | None:
    """The UTC day of all records and their ids, where one look shows that all are valid and of one day; else None."""
    if len(array) > MAX_RECORD_BYTES:
        return None
    try:
        ids, times = _ids_and_times(array)
        day = _utc_day(times[0])
        # Midnight itself is checked one by one: the decoder rounds the seventh digit of a second up to the next day.
        midnight = datetime.combine(day, time(), timezone.utc if times[0].tzinfo else None)
        alike = midnight < min(times) and max(times) < midnight + timedelta(days=1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, TypeError, _Invalid):
        return None
    if not alike or not {*map(type, ids)} <= {str, int} or "" in ids:
        return None
    return day, [str(cdr_id) for cdr_id in ids]


def _ids_and_times(array: bytes) -> tuple[list[object], list[datetime]]:
    """The cdr_id and the trans_date of each element; raises _Invalid if one has none, or one of them twice."""
    ids: list[object] = []
    times: list[object] = []
    id_, time_ = _Id(), _Time()

    # The decoder keeps the last of two members with one key, and DuckDB reads the first. This is called for each.
    def note(kind: type, value: object) -> _Id | _Time:
        if kind is _Id:
            ids.append(value)
            return id_
        times.append(value)
        return time_

    heads = msgspec.json.Decoder(list[_Head], dec_hook=note).decode(array)
    if not len(heads) == len(ids) == len(times):
        raise _Invalid("a record has cdr_id or trans_date twice")
    return ids, msgspec.convert(times, list[datetime])


def _is_utf8(text: bytes) -> bool:
    # The decoder does not check the strings of the fields that it does not decode.
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_plain(text: bytes, count: int) -> bool:
    """True when the text has `count` lines, one per record, and no line has enough brackets to be nested too deep.

    Brackets in strings count as well, so that False only means that the records need a closer look.
    """
    marks = text.translate(None, _UNMARKED)
    return marks.count(b"\n") == count and b"\r" not in marks and not _MANY_BRACKETS.search(marks)


def _one_by_one(records: list[bytes]) -> Batch:
    days: dict[date, tuple[list[str], list[bytes]]] = {}
    quarantined: list[Quarantined] = []
    for record in records:
        try:
            day, cdr_id = _day_and_id(record)
            ids, lines = days.setdefault(day, ([], []))
            ids.append(cdr_id)
            lines.append(record.translate(_ONE_LINE) + b"\n")
        except _Invalid as invalid:
            quarantined.append(Quarantined(record, str(invalid), _readable_day(record)))
    return Batch({day: Lines(ids, b"".join(lines)) for day, (ids, lines) in days.items()}, quarantined)


def _day_and_id(record: bytes) -> tuple[date, str]:
    """The UTC day and the cdr_id of a valid record; raises _Invalid for any other."""
    if not record.startswith(b"{"):
        raise _Invalid(f"the record is {value_kind(record)}, not an object")
    if len(record) > MAX_RECORD_BYTES:
        raise _Invalid(f"the record is longer than {MAX_RECORD_BYTES:,} bytes")
    try:
        record.decode()
        head = _RAW_HEAD.decode(record)
    except UnicodeDecodeError as error:
        raise _Invalid(f"the record is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise _Invalid(f"the record is nested more than {MAX_RECORD_DEPTH} deep") from None
    except msgspec.DecodeError as error:
        raise _Invalid(f"the record is not valid JSON: {error}") from None
    # A record has at least as many brackets as levels. Counting them is cheap and settles nearly all records.
    brackets = record.count(b"{") + record.count(b"[")
    if brackets > MAX_RECORD_DEPTH and max(depths(record)) > MAX_RECORD_DEPTH:
        raise _Invalid(f"the record is nested more than {MAX_RECORD_DEPTH} deep")
    repeated = _repeated_key(record)
    if repeated:
        raise _Invalid(f"{repeated} is given more than once")
    cdr_id = bytes(head.cdr_id)
    if cdr_id in (b"null", b'""'):
        raise _Invalid("cdr_id is missing or empty")
    if cdr_id[:1] not in b'"-0123456789':
        raise _Invalid(f"cdr_id is {value_kind(cdr_id)}, not a string or a number")
    return _day_of_time(bytes(head.trans_date)), _TEXT.decode(cdr_id) if cdr_id.startswith(b'"') else cdr_id.decode()


def _repeated_key(record: bytes) -> str | None:
    """`cdr_id` or `trans_date`, whichever the object has more than once; None if it has each of them at most once."""
    if all(record.count(b'"%b"' % key.encode()) < 2 for key in _ID_OR_TIME) and not _ESCAPED_LETTER.search(record):
        return None
    keys = [key for key, _ in members(record)]
    return next((key for key in _ID_OR_TIME if keys.count(key) > 1), None)


def _day_of_time(value: bytes) -> date:
    """The UTC day of a JSON string that is an RFC 3339 time, taken as UTC without an offset; else raises _Invalid."""
    if value == b"null":
        raise _Invalid("trans_date is missing")
    try:
        _TIME.decode(value)
        # The decoder rounds digits beyond microseconds and the warehouse cuts them off: without a fraction both agree.
        return _utc_day(_TIME.decode(_FRACTION.sub(b"", value)))
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
        raise _Invalid(f"trans_date is not an RFC 3339 date and time: {excerpt(value)}") from None


def _utc_day(when: datetime) -> date:
    return (when.astimezone(timezone.utc) if when.tzinfo else when).date()


def _readable_day(record: bytes) -> date | None:
    """The UTC day of a record that is not valid, found by its structure alone; None where there is none."""
    for key, at in members(record):
        if key == "trans_date":
            _, start, end = next(tokens(record, at), (0, 0, 0))
            try:
                return _day_of_time(record[start:end])
            except _Invalid:
                return None
    return None
