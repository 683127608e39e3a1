"""A CSV file in which people keep whose each room is, and where its cost goes.

    room_id,room_name,owner_ref,billing_code,valid_from,valid_to
    5f1a2b,Consultation 3,cardiology,CC-1042,2026-01-01,

`valid_from` and `valid_to` are UTC days, both included; an empty one means that there is no such end.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from cdr_assets.days import parse_day
from cdr_assets.warehouse.table import Room

HEADER = ("room_id", "room_name", "owner_ref", "billing_code", "valid_from", "valid_to")


class BadRooms(Exception):
    """The file of rooms cannot be used. Names the file, the line and what is wrong with it."""

    permanent = True


class _Entry(NamedTuple):
    line: int
    room: Room
    valid_from: date
    valid_to: date


class NoRooms:
    """Nobody keeps a file of rooms."""

    def valid_on(self, day: date) -> Sequence[Room]:
        """None."""
        return ()

    def version(self, day: date) -> str:
        """Empty."""
        return ""


class RoomsFile:
    """The file at `path`. It is read when it is first asked for, and again after it changed.

    Every method raises BadRooms if the file cannot be read, or if a line of it is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int], _Periods] | None = None

    def valid_on(self, day: date) -> Sequence[Room]:
        """The rooms whose line is valid on that UTC day, each once."""
        return self._periods().rooms(day)

    def version(self, day: date) -> str:
        """A short digest of the rooms that are valid on that day; empty without any."""
        return self._periods().version(day)

    def _periods(self) -> _Periods:
        try:
            status = self._path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if not self._read or self._read[0] != stamp:
                self._read = stamp, _Periods(list(_entries(self._path)))
        except OSError as error:
            raise BadRooms(
                f"CDR_ROOMS: {self._path} cannot be read ({error.strerror}): mend the path, or unset CDR_ROOMS"
            ) from error
        return self._read[1]


class _Periods:
    """The entries, and the periods in which the same of them are valid."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._entries = entries
        self._versions: dict[int, str] = {}

    @cached_property
    def _starts(self) -> list[date]:
        """The days on which an entry becomes valid, or is no longer valid, in order."""
        ends = {_next(entry.valid_to) for entry in self._entries if entry.valid_to < date.max}
        return sorted({entry.valid_from for entry in self._entries} | ends)

    def rooms(self, day: date) -> list[Room]:
        return sorted(entry.room for entry in self._entries if entry.valid_from <= day <= entry.valid_to)

    def version(self, day: date) -> str:
        period = bisect_right(self._starts, day)
        if period not in self._versions:
            rooms = self.rooms(day)
            self._versions[period] = hashlib.sha256(repr(rooms).encode()).hexdigest()[:12] if rooms else ""
        return self._versions[period]


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _entries(path: Path) -> Iterator[_Entry]:
    """The lines of the file. Raises BadRooms for the first that is wrong."""
    try:
        # A spreadsheet puts a byte order mark before the header.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadRooms(f"CDR_ROOMS: {path}, line {line} is not UTF-8: save the file as CSV UTF-8") from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    known: dict[str, list[_Entry]] = {}
    # A quoted cell may lie on several lines. The line of a row is that on which it begins.
    line = 1
    try:
        header = [cell.strip() for cell in next(lines, [])]
        _check_header(header)
        line = lines.line_num + 1
        for cells in lines:
            if any(cell.strip() for cell in cells):
                entry = _entry(line, header, [cell.strip() for cell in cells])
                of_room = known.setdefault(entry.room.room_id, [])
                _check_overlap(entry, of_room)
                of_room.append(entry)
                yield entry
            line = lines.line_num + 1
    except (ValueError, csv.Error) as error:
        raise BadRooms(f"CDR_ROOMS: {path}, line {line}: {error}") from None


def _check_header(header: Sequence[str]) -> None:
    problems = [
        *(f"column {name!r} is not known" for name in header if name not in HEADER),
        *(f"column {name!r} is missing" for name in HEADER if name not in header),
        *(f"column {name!r} is there twice" for name in HEADER if header.count(name) > 1),
    ]
    if problems:
        raise ValueError(f"{'; '.join(problems)}. The header is {','.join(HEADER)}")


def _entry(line: int, header: Sequence[str], cells: Sequence[str]) -> _Entry:
    if list(cells) == list(header):
        raise ValueError("the header is there again: remove this line")
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells instead of {len(header)}: give one for each column, empty where unknown")
    values = dict(zip(header, cells, strict=True))
    if not values["room_id"]:
        raise ValueError("room_id is empty: give the id of the room, or remove the line")
    valid_from, valid_to = (
        parse_day(name, values[name]) if values[name] else end
        for name, end in (("valid_from", date.min), ("valid_to", date.max))
    )
    if valid_to < valid_from:
        raise ValueError(f"valid_to {valid_to} is before valid_from {valid_from}")
    for name in ("room_id", "owner_ref", "billing_code"):
        _check_text(name, values[name])
    room = Room(values["room_id"], values["owner_ref"] or None, values["billing_code"] or None)
    return _Entry(line, room, valid_from, valid_to)


def _check_text(name: str, value: str) -> None:
    """Raises ValueError for a text that looks like another one, or that a spreadsheet made of one."""
    if not value.isprintable():
        raise ValueError(f"{name} {value!a} has a character that cannot be seen: type the text again")
    if re.fullmatch(r"\d+([.,]\d+)?[Ee]\+\d+", value):
        raise ValueError(
            f"{name} {value} is a number that a spreadsheet has shortened: format the column as text, and put in the "
            "whole text again"
        )


def _check_overlap(entry: _Entry, others: Sequence[_Entry]) -> None:
    for other in others:
        if entry.valid_from <= other.valid_to and other.valid_from <= entry.valid_to:
            shared = max(entry.valid_from, other.valid_from)
            day = "every day" if shared == date.min else str(shared)
            raise ValueError(
                f"the room {entry.room.room_id!r} is on line {other.line}, too, and both are valid on {day}: "
                "let one end before the other begins"
            )
