"""The data dictionary names every column of the exports, and says what is not in them as it is in the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdr_assets.storage import ReadableFolder
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.dictionary import FILE, dictionary, write_dictionary
from cdr_assets.warehouse.tables import TABLES
from cdr_assets_tests.expected import exported, read
from cdr_assets_tests.warehouse.landed import build, land
from cdr_assets_tests.warehouse.test_people import CALLS, DAY

EXPORTED = [table for table in TABLES if table.exported]
UNITS = "minutes|seconds|percent|bitrate|records|distinct|people|number of|most connections|returns|rows|0 to 1"


def sections() -> dict[str, dict[str, str]]:
    """The meaning of each column, by table, as the dictionary has them."""
    _, *parts = re.split(r"^## (\w+)$", dictionary(), flags=re.MULTILINE)
    return {
        name: dict(re.findall(r"^\| `(\w+)` \| `[\w(),]+` \| (.+) \|$", text, flags=re.MULTILINE))
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def left_out_columns() -> dict[str, list[str]]:
    """The columns that the dictionary calls left out, by table."""
    _, *parts = re.split(r"^## (\w+)$", dictionary(), flags=re.MULTILINE)
    return {
        name: re.findall(r"`(\w+)`", "".join(re.findall(r"^Left out: (.+)$", text, flags=re.MULTILINE)))
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_it_has_every_column_of_every_table_that_is_exported() -> None:
    found = sections()
    assert list(found) == [table.name for table in EXPORTED]
    for table in EXPORTED:
        assert list(found[table.name]) == [column.name for column in table.exported_columns]


def test_its_columns_are_those_of_the_files_and_it_says_which_are_not_as_in_the_table(tmp_path: Path) -> None:
    odd = {**CALLS[0], "cdr_id": "9", "sip": "perhaps"}
    build(Warehouse(tmp_path / "cdr.duckdb"), DAY, [land(tmp_path, "1", [*CALLS, odd])])
    said, left_out = sections(), left_out_columns()
    for table in EXPORTED:
        in_file, in_table = exported(tmp_path / "published", table.name), read(tmp_path / "cdr.duckdb", table.name)
        if not in_file:
            continue
        assert {*in_file[0]} == {*said[table.name]}
        assert left_out[table.name] == [name for name in in_table[0] if name not in in_file[0]]
        hashed = [
            name
            for name in in_file[0]
            if {row[name] for row in in_file}.isdisjoint(row.get(name) for row in in_table) and name in in_table[0]
        ]
        marked = [name for name in said[table.name] if said[table.name][name].endswith("; hashed")]
        assert [name for name in marked if name in in_table[0]] == hashed
    assert "user_name" in left_out["attendance"]
    assert said["call_detail_records"]["participant"].endswith("; hashed")


@pytest.mark.parametrize("table", EXPORTED, ids=lambda table: table.name)
def test_every_number_has_a_unit(table: object) -> None:
    (found,) = (each for each in EXPORTED if each is table)
    numbers = [column for column in found.exported_columns if column.type.startswith(("DECIMAL", "BIGINT", "INTEGER"))]
    assert [column.name for column in numbers if not re.search(UNITS, column.description, re.IGNORECASE)] == []


@pytest.mark.parametrize("former", [None, "", "half of", "\udcff"])
def test_it_is_written_where_it_is_missing_or_damaged(tmp_path: Path, former: str | None) -> None:
    if former is not None:
        (tmp_path / FILE).write_bytes(former.encode("utf-8", "surrogateescape"))
    write_dictionary(ReadableFolder(tmp_path))
    assert (tmp_path / FILE).read_text() == dictionary()


def test_it_is_left_alone_where_it_is_right(tmp_path: Path) -> None:
    write_dictionary(ReadableFolder(tmp_path))
    before = (tmp_path / FILE).stat().st_mtime_ns
    write_dictionary(ReadableFolder(tmp_path))
    assert (tmp_path / FILE).stat().st_mtime_ns == before
