"""Reading the tables in tests, and what they must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from cdr_assets.database import run
from cdr_assets.places import Places
from cdr_assets.warehouse.people import IDS, is_id, people_key
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets.warehouse.tables import TABLES as BY_PARTITION
from cdr_assets_tests import reference
from cdr_assets_tests.places import reading
from cdr_assets_tests.reference import Record, Row

TABLES = tuple(table.name for table in DAILY_TABLES)


def read(where: Path | Places, table: str) -> list[Row]:
    """The rows of a table, in a DuckDB file or in the places."""
    with reading(where) as connection:
        return run(connection, f"FROM {table}")


def exported(folder: Path, table: str) -> list[Row]:
    """The rows of the table's Parquet files."""
    if not any((folder / table).glob("*.parquet")):
        return []
    return run(duckdb.connect(), f"FROM '{folder / table}/*.parquet'")


def assert_exports_are_the_tables(where: Places) -> None:
    """The Parquet files hold what the tables hold, and nothing else lies next to them."""
    exports = where.exports()
    with reading(where) as connection:
        for table in (table for table in BY_PARTITION if table.exported):
            files = exports.files(table.name)
            assert [file.name for file in files if not file.name.endswith(".parquet")] == []
            in_files = run(connection, f"FROM '{exports.place(table.name)}/*.parquet'") if files else []
            in_table = [_shown(row, where) for row in run(connection, f"FROM {table.name}")]
            assert in_order(without_people(table, in_files)) == in_order(without_people(table, in_table)), table.name


def _shown(row: Row, where: Places) -> Row:
    """The row with the texts by which the exports replace ids that are none."""
    told = {name: value for name, value in row.items() if name in IDS and value and not is_id(value)}
    key = people_key(where.storage) if told else ""
    return row | {name: hashlib.sha256(f"{key}:id:{value}".encode()).hexdigest()[:32] for name, value in told.items()}


def without_people(table: Table, rows: Iterable[Row]) -> list[Row]:
    """The rows without what exports do not have as it is in the table: what tells who somebody is."""
    same = [column.name for column in table.exported_columns if column in table.columns]
    return [{name: row[name] for name in same} for row in rows]


def without_times(rows: Iterable[Row]) -> list[Row]:
    """The rows without the columns that say when something landed, or how late that was."""
    return [
        {name: value for name, value in row.items() if not name.endswith(("landed_at", "lateness_s"))} for row in rows
    ]


def in_order(rows: Iterable[Row]) -> list[list[tuple[str, Any]]]:
    return sorted((sorted(row.items()) for row in rows), key=repr)


def assert_exact(where: Path | Places, records: Iterable[Record]) -> None:
    """The three tables hold just these records and what follows from them."""
    records = list(records)
    with reading(where) as connection:
        landed = run(connection, "FROM call_detail_records")
        rooms, conferences = run(connection, "FROM room_usage"), run(connection, "FROM conference_usage")
    assert {(row["usage_date"], row["cdr_id"], row["room_duration_s"]) for row in landed} == {
        (reference.utc_day(record), str(record["cdr_id"]), reference.seconds(record)) for record in records
    }
    assert len(landed) == len(records)
    assert in_order(rooms) == in_order(reference.room_usage(records))
    assert in_order(conferences) == in_order(reference.conference_usage(records))
