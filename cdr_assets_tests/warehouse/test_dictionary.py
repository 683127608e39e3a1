"""The data dictionary names every column of the exports, and says what is not in them as it is in the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


def test_it_has_every_column_of_every_table_that_is_exported() -> None:
    found = sections()
    assert list(found) == [table.name for table in EXPORTED]
    for table in EXPORTED:
        assert list(found[table.name]) == [column.name for column in table.columns]


def test_it_says_which_columns_are_left_out_or_hashed(tmp_path: Path) -> None:
    odd = {**CALLS[0], "cdr_id": "9", "sip": "perhaps"}
    build(Warehouse(tmp_path / "cdr.duckdb"), DAY, [land(tmp_path, "1", [*CALLS, odd])])
    said = sections()
    for table in EXPORTED:
        in_file, in_table = exported(tmp_path / "published", table.name), read(tmp_path / "cdr.duckdb", table.name)
        if not in_file:
            continue
        left_out = [name for name in in_table[0] if name not in in_file[0]]
        hashed = [
            name for name in in_file[0] if {row[name] for row in in_file}.isdisjoint(row[name] for row in in_table)
        ]
        assert [name for name, meaning in said[table.name].items() if meaning.endswith("; left out")] == left_out
        assert [name for name, meaning in said[table.name].items() if meaning.endswith("; hashed")] == hashed
    assert said["attendance"]["user_name"].endswith("; left out")


@pytest.mark.parametrize("table", EXPORTED, ids=lambda table: table.name)
def test_every_number_has_a_unit(table: object) -> None:
    (found,) = (each for each in EXPORTED if each is table)
    numbers = [column for column in found.columns if column.type.startswith(("DECIMAL", "BIGINT", "INTEGER"))]
    assert [column.name for column in numbers if not re.search(UNITS, column.description, re.IGNORECASE)] == []


@pytest.mark.parametrize("former", [None, "", "half of", "\udcff"])
def test_it_is_written_where_it_is_missing_or_damaged(tmp_path: Path, former: str | None) -> None:
    if former is not None:
        (tmp_path / FILE).write_bytes(former.encode("utf-8", "surrogateescape"))
    write_dictionary(tmp_path)
    assert (tmp_path / FILE).read_text() == dictionary()


def test_it_is_left_alone_where_it_is_right(tmp_path: Path) -> None:
    write_dictionary(tmp_path)
    before = (tmp_path / FILE).stat().st_mtime_ns
    write_dictionary(tmp_path)
    assert (tmp_path / FILE).stat().st_mtime_ns == before
