"""Reads the Parquet exports with DuckDB. A statement names the exported tables as if they were tables of a database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import duckdb
import pandas as pd

from cdr_assets.database import quoted
from cdr_assets.lake import load_extensions, secret_of_bucket
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.storage import SCHEME, Storage
from cdr_assets.warehouse.exports import FileStamp, exported_files, name_of
from cdr_assets.warehouse.table import Column, Table, read_sql
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, EXPORTED_TABLES

_PEOPLE_IN_CLEAR = {
    "participant_known_by": "known_by(person(user_ref, user_name, cdr_id))",
    "participant": "person(user_ref, user_name, cdr_id)[2:]",
}

TRIES = 5


class UnreadableExports(Exception):
    """A file of the exports cannot be read. Names it, and the remedy."""


class Exports:
    """The exported tables in `storage`. Its methods may be called from several threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self.place = storage, storage.place("")
        self._database = duckdb.connect()
        if self.place.startswith(SCHEME):
            load_extensions(self._database)
            self._database.execute(secret_of_bucket())
        # A page reads the same files again and again.
        self._database.execute("SET GLOBAL parquet_metadata_cache = true; SET GLOBAL TimeZone = 'UTC'")

    def days(self, table: Table) -> list[date]:
        """The days that the table has a file for, in order."""
        return sorted(exported_files(self._storage, table))

    def stamps(self, statement: str, period: Period | None) -> tuple[tuple[str, date, FileStamp], ...]:
        """What tells whether the statement would read other files than before: a value for a cache's key."""
        return tuple(
            (table.name, day, stamp)
            for table in _tables_in(read_statement(statement))
            for day, stamp in sorted(self._files(table, period).items())
        )

    def query(self, statement: str, period: Period | None, **parameters: Any) -> pd.DataFrame:
        """The rows of `sql/<statement>.sql` over the days of the period; over all days without one.

        `$first_date` and `$last_date` are the period's ends. A DECIMAL is a Decimal. Raises UnreadableExports.
        """
        for _ in range(TRIES - 1):
            before = self.stamps(statement, period)
            try:
                return self._query(statement, period, parameters)
            except UnreadableExports:
                # DuckDB opens a file several times, and a run may have replaced it in between.
                if self.stamps(statement, period) == before:
                    raise
        return self._query(statement, period, parameters)

    def _query(self, statement: str, period: Period | None, parameters: Mapping[str, Any]) -> pd.DataFrame:
        text = read_statement(statement)
        ends = {"first_date": period.first, "last_date": period.last} if period else {}
        named = {name: value for name, value in {**parameters, **ends}.items() if re.search(rf"\${name}\b", text)}
        with self._views(text, period) as connection:
            # By way of Arrow a DECIMAL stays exact: a column of Decimals. DuckDB's df() makes floats of it.
            return connection.sql(text, params=named).to_arrow_table().to_pandas(date_as_object=False)

    @contextmanager
    def _views(self, text: str, period: Period | None) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._database.cursor() as connection:
            try:
                connection.execute(read_sql("macros"))
                for table in _tables_in(text):
                    self._make_view(connection, table, period)
                yield connection
            except duckdb.Error as error:
                raise UnreadableExports(
                    # What follows the empty line repeats the statement.
                    f"A Parquet file below {self.place} cannot be read: {str(error).partition(chr(10) * 2)[0]}. "
                    "Materialize the day of that file, and it is written again."
                ) from error

    def _make_view(self, connection: duckdb.DuckDBPyConnection, table: Table, period: Period | None) -> None:
        files = [quoted(self._storage.place(name_of(table, day))) for day in sorted(self._files(table, period))]
        if files:
            # Files of different versions may lie side by side until the sensors have written all again.
            source = f"FROM read_parquet([{', '.join(files)}], union_by_name = true)"
            absent = _absent_columns(connection, table, [f"FROM read_parquet({files[-1]})", source])
            rows = f"SELECT {', '.join(['*', *map(_null, absent)])} {source}"
            if table is CALL_DETAIL_RECORDS and "user_ref" in _columns(connection, source):
                # Some of the days, or all of them, show people in clear. The others have a hash.
                people = [f"coalesce({name}, {clear}) AS {name}" for name, clear in _PEOPLE_IN_CLEAR.items()]
                rows = f"SELECT * REPLACE ({', '.join(people)}) FROM ({rows})"
        else:
            rows = f"SELECT {', '.join(map(_null, table.exported_columns))} WHERE false"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {table.name} AS {rows}")

    def _files(self, table: Table, period: Period | None) -> dict[date, FileStamp]:
        found = exported_files(self._storage, table)
        return {day: stamp for day, stamp in found.items() if not period or period.first <= day <= period.last}


@cache
def read_statement(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _tables_in(text: str) -> list[Table]:
    return [table for table in EXPORTED_TABLES if re.search(rf"\b{table.name}\b", text)]


def _absent_columns(connection: duckdb.DuckDBPyConnection, table: Table, sources: Sequence[str]) -> list[Column]:
    """The exported columns that none of the sources has."""
    absent = list(table.exported_columns)
    # The newest file alone has them as a rule, and is faster asked than all of them.
    for source in sources:
        if absent:
            there = _columns(connection, source)
            absent = [column for column in absent if column.name not in there]
    return absent


def _columns(connection: duckdb.DuckDBPyConnection, source: str) -> set[str]:
    return {name for name, *_ in connection.execute(f"DESCRIBE {source}").fetchall()}


def _null(column: Column) -> str:
    return f"NULL::{column.type} AS {column.name}"
