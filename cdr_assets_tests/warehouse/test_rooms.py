"""The file of rooms: what it says of a day, and that whatever is wrong with it is an error that names the line."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from cdr_assets.days import DAY as ONE_DAY
from cdr_assets.warehouse.rooms import BadRooms, NoRooms, RoomsFile
from cdr_assets.warehouse.table import Room

DAY = date(2026, 11, 2)
HEADER = "room_id,room_name,owner_ref,billing_code,valid_from,valid_to\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rooms.csv"


def valid_on(file: Path, content: str | bytes, day: date = DAY) -> list[Room]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [*RoomsFile(file).valid_on(day)]


def test_a_day_has_the_rooms_whose_line_is_valid_on_it(file: Path) -> None:
    file.write_text(
        HEADER
        + "r1,Ward 1,before,B,,2026-11-01\n"
        + "r1,Ward 1,cardiology,CC-1,2026-11-02,2026-11-03\n"
        + "r1,Ward 1,after,A,2026-11-04,\n"
        + "r2,Ward 2,always,,,\n"
        + "r3,Ward 3,,CC-3,2026-11-03,2026-11-03\n"
    )
    rooms, always = RoomsFile(file), Room("r2", "always", None)
    found = {day: rooms.valid_on(date(2026, 11, day)) for day in range(1, 6)}
    assert found == {
        1: [Room("r1", "before", "B"), always],
        2: [Room("r1", "cardiology", "CC-1"), always],
        3: [Room("r1", "cardiology", "CC-1"), always, Room("r3", None, "CC-3")],
        4: [Room("r1", "after", "A"), always],
        5: [Room("r1", "after", "A"), always],
    }
    assert rooms.valid_on(date.min) == found[1]
    assert rooms.valid_on(date.max) == found[5]


@pytest.mark.parametrize(
    "content",
    [
        (HEADER + "r,Ward,o,b,,\n").encode("utf-8-sig"),
        (HEADER + "r,Ward,o,b,,\n").replace("\n", "\r\n").encode("utf-8-sig"),
        HEADER + "r,Ward,o,b,,",
        HEADER + '"r","Ward ""1"",\nupstairs","o","b","",""\n',
        HEADER + "\n,,,,,\n r , Ward , o , b , , \n\n",
        "valid_to,billing_code,room_id,valid_from,owner_ref,room_name\n,b,r,,o,Ward\n",
    ],
    ids=["BOM", "BOM and CRLF", "no last line end", "quotes", "spaces and empty lines", "other order"],
)
def test_what_a_spreadsheet_saves_is_read(file: Path, content: str | bytes) -> None:
    assert valid_on(file, content) == [Room("r", "o", "b")]


def test_a_text_that_is_not_ascii_is_read_as_it_is(file: Path) -> None:
    assert valid_on(file, HEADER + "r,Büro,Müller,Ω,,\n") == [Room("r", "Müller", "Ω")]


GOOD = "r0,Ward,o,b,,\n"
QUOTED = 'r1,"Ward 1,\r\nupstairs,\r\nleft",o,b,,\r\n'
"""A row that lies on lines 2 to 4."""

WRONG: dict[str, tuple[str | bytes, int, str]] = {
    **{
        f"{name} in {column}": (
            HEADER
            + GOOD
            + ",".join({"room_id": "r1", column: value}.get(each, "") for each in HEADER.strip().split(","))
            + "\n",
            3,
            f"{column} {problem}",
        )
        for column in ("room_id", "owner_ref", "billing_code")
        for name, value, problem in (
            ("a zero-width space", "r1\u200b", r"'r1\u200b' has a character that cannot be seen"),
            ("a NUL", "r\x001", r"'r\x001' has a character that cannot be seen"),
            ("a spreadsheet's number", "5.07E+23", "5.07E+23 is a number that a spreadsheet has shortened"),
        )
    },
    "an empty file": ("", 1, "column 'room_id' is missing"),
    "no header": (GOOD, 1, "column 'r0' is not known"),
    "a wrong column": (HEADER.replace("owner_ref", "owner"), 1, "column 'owner' is not known"),
    "a missing column": (HEADER.replace("owner_ref,", ""), 1, "column 'owner_ref' is missing"),
    "a column more": (HEADER.replace("\n", ",floor\n"), 1, "column 'floor' is not known"),
    "a column twice": (HEADER.replace("room_name", "room_id"), 1, "column 'room_id' is there twice"),
    "other separators": (HEADER.replace(",", ";"), 1, "is not known"),
    "the header again": (HEADER + GOOD + HEADER, 3, "the header is there again"),
    "no date": (HEADER + GOOD + "r1,Ward,o,b,2026-02-30,\n", 3, "valid_from is not a day as YYYY-MM-DD: '2026-02-30'"),
    "a date as a spreadsheet shows it": (HEADER + "r1,Ward,o,b,,02.11.2026\n", 2, "valid_to is not a day"),
    "a date without hyphens": (HEADER + "r1,Ward,o,b,20261102,\n", 2, "valid_from is not a day"),
    "an end before its beginning": (
        HEADER + "r1,Ward,o,b,2026-11-02,2026-11-01\n",
        2,
        "valid_to 2026-11-01 is before valid_from 2026-11-02",
    ),
    "too few cells": (HEADER + GOOD + "r1,Ward,o,b,\n", 3, "5 cells instead of 6"),
    "too many cells": (HEADER + GOOD + "r1,Ward, upstairs,o,b,,\n", 3, "7 cells instead of 6"),
    "no room_id": (HEADER + GOOD + " ,Ward,o,b,,\n", 3, "room_id is empty"),
    "a room twice": (HEADER + GOOD + "r0,Ward,o,b,,\n", 3, "the room 'r0' is on line 2, too"),
    "one shared day": (
        HEADER + "r1,Ward,o,b,,2026-11-02\nr2,Ward,o,b,,\nr1,Ward,o,c,2026-11-02,\n",
        4,
        "the room 'r1' is on line 2, too, and both are valid on 2026-11-02",
    ),
    "a period within another": (
        HEADER + "r1,Ward,o,b,2026-11-01,2026-11-30\nr1,Ward,o,b,2026-11-07,2026-11-08\n",
        3,
        "both are valid on 2026-11-07",
    ),
    "bytes that are not UTF-8": ((HEADER + GOOD + "r1,Büro,o,b,,\n").encode("latin-1"), 3, "is not UTF-8"),
    "bytes that are not UTF-8 after a BOM": (
        (HEADER + GOOD).encode("utf-8-sig") + b"r1,B\xfcro,o,b,,\r\n",
        3,
        "is not UTF-8",
    ),
    "UTF-16": ((HEADER + GOOD).encode("utf-16"), 1, "is not UTF-8"),
    "a quote that is not closed": (HEADER + GOOD + 'r1,"Ward,o,b,,\n' + GOOD, 3, "unexpected end of data"),
    "text after a quote": (HEADER + 'r1,"Ward" 1,o,b,,\n', 2, "expected after"),
    "a wrong row after one over three lines": (HEADER + QUOTED + "r2,Ward\n", 5, "2 cells instead of 6"),
    "a wrong row over three lines": (HEADER + QUOTED.replace("o,b,,", "o,b,x,"), 2, "valid_from is not a day"),
    "a row that repeats one over three lines": (
        HEADER + QUOTED + "r1,Ward,o,b,,\n",
        5,
        "the room 'r1' is on line 2, too, and both are valid on every day",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_with_file_and_line(file: Path, wrong: str) -> None:
    content, line, problem = WRONG[wrong]
    with pytest.raises(BadRooms) as error:
        valid_on(file, content)
    assert re.match(rf"CDR_ROOMS: {re.escape(str(file))}, line {line}\b", str(error.value))
    assert problem in str(error.value)
    with pytest.raises(BadRooms):
        RoomsFile(file).version(DAY)


@pytest.mark.parametrize("there", ["nothing", "folder"])
def test_a_file_that_is_not_there_is_an_error_that_names_it(file: Path, there: str) -> None:
    if there == "folder":
        file.mkdir()
    with pytest.raises(BadRooms, match="cannot be read") as error:
        RoomsFile(file).valid_on(DAY)
    assert str(file) in str(error.value)


def test_the_file_is_read_again_after_it_changed(file: Path) -> None:
    rooms = RoomsFile(file)
    with pytest.raises(BadRooms):
        rooms.valid_on(DAY)
    for content in (GOOD, "r0,Ward,o,b,,2026-11-01\n", "r0,Ward,o,x,,\n"):
        file.write_text(HEADER + content)
        assert rooms.valid_on(DAY) == RoomsFile(file).valid_on(DAY)
    file.write_text(HEADER + "r0\n")
    with pytest.raises(BadRooms):
        rooms.valid_on(DAY)
    file.unlink()
    with pytest.raises(BadRooms):
        rooms.valid_on(DAY)


def test_a_version_names_what_is_valid_on_the_day_and_nothing_else(file: Path) -> None:
    def versions(lines: str) -> list[str]:
        file.write_text(HEADER + lines)
        rooms = RoomsFile(file)
        return [rooms.version(day) for day in (DAY - ONE_DAY, DAY, DAY + ONE_DAY)]

    before, on, after = versions("r1,Ward,o,b,2026-11-02,2026-11-02\n")
    assert (before, after) == ("", "")
    assert on
    assert versions("r1,Other,o,b,2026-11-02,2026-11-02\n") == ["", on, ""], "the name of the room is in no table"
    assert versions("r1,Ward,o,b,,\n") == [on, on, on]
    again = "r2,Ward,o,b,2026-11-02,2026-11-02\n", "r1,Ward,o,b,,\n"
    assert versions("".join(again)) == versions("".join(reversed(again)))
    former = {on}
    for changed in ("r2,Ward,o,b,,\n", "r1,Ward,x,b,,\n", "r1,Ward,o,x,,\n", "r1,Ward,,b,,\n", "r1,Ward,o,,,\n"):
        _, version, _ = versions(changed)
        assert version not in former
        former.add(version)


def test_without_a_file_there_are_no_rooms() -> None:
    assert ([*NoRooms().valid_on(DAY)], NoRooms().version(DAY)) == ([], "")
