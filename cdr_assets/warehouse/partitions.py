"""How a partition of a table is replaced: one function per way of doing it, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from cdr_assets.database import Connection, WarehouseError, run
from cdr_assets.days import days_between
from cdr_assets.warehouse.table import LandedFiles, Rebuilt, Table


def replace_partition(connection: Connection, table: Table, usage_date: date, landed: LandedFiles) -> Rebuilt:
    """Deletes the day's rows and runs `insert.sql`, slice by slice where the table has a `slices.sql`."""
    _delete(connection, table, usage_date)
    slices = _slices(connection, table, usage_date=usage_date) if table.has_sql("slices") else [{}]
    for each in slices:
        run(connection, table.sql("insert"), usage_date=usage_date, **each)
    return _rebuilt(connection, table, usage_date, [usage_date])


def replace_conferences(connection: Connection, table: Table, usage_date: date, landed: LandedFiles) -> Rebuilt:
    """Sums the records of every conference that has one on the day, over all the conference's days."""
    run(connection, table.sql("touched_conferences"), usage_date=usage_date)
    (reach,) = run(connection, table.sql("touched_days"), usage_date=usage_date)
    run(connection, table.sql("conference_days"), **reach)
    run(connection, table.sql("delete"))
    for each in _slices(connection, table):
        run(connection, table.sql("conference_peaks"), **reach, **each)
        run(connection, table.sql("insert"), **reach, **each)
    return _rebuilt(connection, table, usage_date, days_between(reach["first_date"], reach["last_date"]))


def load_records(connection: Connection, table: Table, usage_date: date, landed: LandedFiles) -> Rebuilt:
    """Types the day's landed records, one row per cdr_id.

    Raises WarehouseError if the day never landed, which is not the same as a day without calls, and if DuckDB cannot
    read some of its records.
    """
    files = _paths(landed, [usage_date])
    if not files:
        raise WarehouseError(
            f"{usage_date} has not landed, so its records are unknown: materialize period_cdr for it first"
        )
    _delete(connection, table, usage_date)
    # Keeping the order of rows takes time. It matters only if a record comes more than once.
    keep_order = len(files) > 1
    counts = _load(connection, table, usage_date, files, keep_order)
    if counts["repeated"]:
        if not keep_order:
            _delete(connection, table, usage_date)
            _load(connection, table, usage_date, files, keep_order=True)
        run(connection, table.sql("delete_repeated"), usage_date=usage_date)
    if counts["unreadable"]:
        raise WarehouseError(
            f"{usage_date}: DuckDB could not read {counts['unreadable']} of the landed records in {files}; "
            "the partition keeps its former rows"
        )
    if counts["with_bare_parts"]:
        run(connection, table.sql("update_lost_parts"), usage_date=usage_date, files=files)
    left = _delete_moved_records(connection, table, usage_date, landed)
    return _rebuilt(connection, table, usage_date, [usage_date, *left])


def count_rows(connection: Connection, table: Table, usage_date: date) -> int:
    """The rows of one partition."""
    (counted,) = run(
        connection,
        f"SELECT count(*) AS row_count FROM {table.name} WHERE usage_date = $usage_date",
        usage_date=usage_date,
    )
    return int(counted["row_count"])


def _load(
    connection: Connection, table: Table, usage_date: date, files: Sequence[str], keep_order: bool
) -> dict[str, Any]:
    connection.execute("SET preserve_insertion_order = true" if keep_order else "SET preserve_insertion_order = false")
    run(connection, table.sql("insert"), usage_date=usage_date, files=files)
    (counts,) = run(connection, table.sql("loaded"), usage_date=usage_date)
    return counts


def _delete_moved_records(connection: Connection, table: Table, usage_date: date, landed: LandedFiles) -> list[date]:
    """Keeps only the newest of a record's versions that lie on several days. Returns the day of each deleted row."""
    days = [row["usage_date"] for row in run(connection, table.sql("days_with_same_records"), usage_date=usage_date)]
    if not days:
        return []
    days.append(usage_date)
    deleted = run(connection, table.sql("delete_moved"), files=_paths(landed, days), usage_dates=days)
    return [row["usage_date"] for row in deleted]


def _delete(connection: Connection, table: Table, usage_date: date) -> None:
    run(connection, f"DELETE FROM {table.name} WHERE usage_date = $usage_date", usage_date=usage_date)


def _rebuilt(connection: Connection, table: Table, usage_date: date, changed_days: Sequence[date]) -> Rebuilt:
    return Rebuilt(count_rows(connection, table, usage_date), frozenset({usage_date, *changed_days}))


def _slices(connection: Connection, table: Table, **values: Any) -> Iterator[dict[str, int]]:
    """The slices in which a partition is summed one after the other, numbered from 0."""
    (found,) = run(connection, table.sql("slices"), **values)
    return ({"slices": found["slices"], "slice": number} for number in range(found["slices"]))


def _paths(landed: LandedFiles, days: Sequence[date]) -> list[str]:
    return [str(file) for day in days for file in landed.files(day)]
