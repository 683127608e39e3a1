"""How a partition of a table is replaced: one function per way of doing it, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from cdr_assets.database import Connection, run
from cdr_assets.days import days_between
from cdr_assets.warehouse.table import LandedFiles, Rebuilt, Table


def replace_partition(connection: Connection, table: Table, usage_date: date, landed: LandedFiles) -> Rebuilt:
    """Deletes the day's rows and runs `insert.sql`, slice by slice where the table has a `slices.sql`."""
    delete_partition(connection, table, usage_date)
    parts = slices(connection, table, usage_date=usage_date) if table.has_sql("slices") else [{}]
    for each in parts:
        run(connection, table.sql("insert"), usage_date=usage_date, **each)
    return _rebuilt(connection, table, usage_date, [usage_date])


def replace_conferences(connection: Connection, table: Table, usage_date: date, landed: LandedFiles) -> Rebuilt:
    """Sums the records of every conference that has one on the day, over all the conference's days."""
    run(connection, table.sql("touched_conferences"), usage_date=usage_date)
    (reach,) = run(connection, table.sql("touched_days"), usage_date=usage_date)
    run(connection, table.sql("conference_days"), **reach)
    run(connection, table.sql("delete"))
    for each in slices(connection, table):
        run(connection, table.sql("conference_peaks"), **reach, **each)
        run(connection, table.sql("insert"), **reach, **each)
    return _rebuilt(connection, table, usage_date, days_between(reach["first_date"], reach["last_date"]))


def count_rows(connection: Connection, table: Table, usage_date: date) -> int:
    """The rows of one partition."""
    (counted,) = run(
        connection,
        f"SELECT count(*) AS row_count FROM {table.name} WHERE usage_date = $usage_date",
        usage_date=usage_date,
    )
    return int(counted["row_count"])


def delete_partition(connection: Connection, table: Table, usage_date: date) -> None:
    """Deletes the day's rows."""
    run(connection, f"DELETE FROM {table.name} WHERE usage_date = $usage_date", usage_date=usage_date)


def _rebuilt(connection: Connection, table: Table, usage_date: date, changed_days: Sequence[date]) -> Rebuilt:
    return Rebuilt(count_rows(connection, table, usage_date), frozenset({usage_date, *changed_days}))


def slices(connection: Connection, table: Table, **values: Any) -> Iterator[dict[str, int]]:
    """The slices in which the table's `slices.sql` cuts a partition, numbered from 0."""
    (found,) = run(connection, table.sql("slices"), **values)
    return ({"slices": found["slices"], "slice": number} for number in range(found["slices"]))
