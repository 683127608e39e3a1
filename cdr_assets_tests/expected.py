"""Reading the tables in tests, and what they must hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets.warehouse.tables import TABLES as BY_PARTITION
from cdr_assets_tests import reference
from cdr_assets_tests.reference import Record, Row

TABLES = tuple(table.name for table in DAILY_TABLES)


def read(warehouse: Path, table: str) -> list[Row]:
    with duckdb.connect(warehouse, read_only=True) as connection:
        result = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def exported(folder: Path, table: str) -> list[Row]:
    """The rows of the table's Parquet files."""
    if not any((folder / table).glob("*.parquet")):
        return []
    result = duckdb.execute(f"FROM '{folder / table}/*.parquet'")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def assert_exports_are_the_tables(data_dir: Path) -> None:
    """The Parquet files hold what the tables hold, and nothing else lies next to them."""
    for table in (table for table in BY_PARTITION if table.exported):
        in_files = exported(data_dir / "published", table.name)
        in_table = read(data_dir / "cdr.duckdb", table.name)
        assert in_order(without_people(table, in_files)) == in_order(without_people(table, in_table)), table.name
    others = [path for path in (data_dir / "published").glob("*/*") if path.suffix != ".parquet"]
    assert others == []


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


def assert_exact(warehouse: Path, records: Iterable[Record]) -> None:
    """The three tables hold just these records and what follows from them."""
    records = list(records)
    landed = {
        (row["usage_date"], row["cdr_id"], row["room_duration_s"]) for row in read(warehouse, "call_detail_records")
    }
    assert landed == {
        (reference.utc_day(record), str(record["cdr_id"]), reference.seconds(record)) for record in records
    }
    assert len(read(warehouse, "call_detail_records")) == len(records)
    assert in_order(read(warehouse, "room_usage")) == in_order(reference.room_usage(records))
    assert in_order(read(warehouse, "conference_usage")) == in_order(reference.conference_usage(records))
