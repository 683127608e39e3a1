"""What each table's partition is made of: the statements, in their order, that replace it. No Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from cdr_assets.database import WarehouseError, run, transaction


class Replaced(NamedTuple):
    """What came of replacing a partition: its rows, and the days whose rows changed, its own among them."""

    row_count: int
    days: set[date]


def replace_call_detail_records(
    connection: duckdb.DuckDBPyConnection, usage_date: date, landed: Callable[[date], Sequence[Path]]
) -> Replaced:
    """Types the day's records as the partition's rows, one a cdr_id. `landed` gives a day's files, oldest first.

    Raises WarehouseError when the day never landed, which is not the same as a day without calls.
    """
    files = [str(file) for file in landed(usage_date)]
    if not files:
        raise WarehouseError(
            f"{usage_date} has not landed, so its records are unknown: materialize period_cdr for it first"
        )
    with transaction(connection):
        run(connection, "delete/call_detail_records", usage_date=usage_date)
        # Only where a record comes more than once does the order of rows matter, and keeping it costs time.
        keep_order = len(files) > 1
        counts = _insert_records(connection, usage_date, files, keep_order)
        if counts["repeated"]:
            if not keep_order:
                run(connection, "delete/call_detail_records", usage_date=usage_date)
                _insert_records(connection, usage_date, files, keep_order=True)
            run(connection, "delete/repeated_records", usage_date=usage_date)
        if counts["unreadable"]:
            raise WarehouseError(
                f"{usage_date}: DuckDB could not read {counts['unreadable']} of the landed records in {files}; "
                "the partition keeps its former rows"
            )
        if counts["with_bare_parts"]:
            run(connection, "update/lost_parts", usage_date=usage_date, files=files)
        left = _drop_moved_records(connection, usage_date, landed)
    return Replaced(counts["records"] - counts["repeated"] - left.count(usage_date), {usage_date, *left})


def _drop_moved_records(
    connection: duckdb.DuckDBPyConnection, usage_date: date, landed: Callable[[date], Sequence[Path]]
) -> list[date]:
    """Keeps the newest of the versions of a record that lie on several days. Returns the day of each row dropped."""
    days = [row["usage_date"] for row in run(connection, "select/days_with_same_records", usage_date=usage_date)]
    if not days:
        return []
    days.append(usage_date)
    files = [str(file) for day in days for file in landed(day)]
    return [row["usage_date"] for row in run(connection, "delete/moved_records", files=files, usage_dates=days)]


def _insert_records(
    connection: duckdb.DuckDBPyConnection, usage_date: date, files: Sequence[str], keep_order: bool
) -> dict[str, int]:
    connection.execute(f"SET preserve_insertion_order = {str(keep_order).lower()}")
    run(connection, "insert/call_detail_records", usage_date=usage_date, files=files)
    (counts,) = run(connection, "select/loaded_records", usage_date=usage_date)
    return counts


def replace_room_usage(connection: duckdb.DuckDBPyConnection, usage_date: date) -> Replaced:
    """Sums the day's records per room."""
    with transaction(connection):
        run(connection, "delete/room_usage", usage_date=usage_date)
        for each in _slices(connection, "rooms", usage_date=usage_date):
            run(connection, "insert/room_usage", usage_date=usage_date, **each)
    return Replaced(_count(connection, "room_usage", usage_date), {usage_date})


def replace_conference_usage(connection: duckdb.DuckDBPyConnection, usage_date: date) -> Replaced:
    """Sums the records of every conference that the day takes part in, over all its days."""
    with transaction(connection):
        run(connection, "create/touched_conferences", usage_date=usage_date)
        (reach,) = run(connection, "select/touched_days", usage_date=usage_date)
        run(connection, "create/conference_days", **reach)
        run(connection, "delete/conference_usage")
        for each in _slices(connection, "conferences"):
            run(connection, "create/conference_peaks", **reach, **each)
            run(connection, "insert/conference_usage", **reach, **each)
    first, last = reach["first_date"], reach["last_date"]
    days = {first + timedelta(days=number) for number in range((last - first).days + 1)}
    return Replaced(_count(connection, "conference_usage", usage_date), days)


def _slices(connection: duckdb.DuckDBPyConnection, of: str, **values: Any) -> Iterator[dict[str, int]]:
    """The slices in which rooms or conferences are summed one after the other, numbered from 0."""
    (found,) = run(connection, f"select/slices_of_{of}", **values)
    return ({"slices": found["slices"], "slice": number} for number in range(found["slices"]))


def _count(connection: duckdb.DuckDBPyConnection, table: str, usage_date: date) -> int:
    (partition,) = run(connection, f"select/count_{table}", usage_date=usage_date)
    return int(partition["row_count"])
