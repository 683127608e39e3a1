"""What each table's partition is made of: the statements, in their order, that replace it. No Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb

from cdr_assets.warehouse import WarehouseError, run, transaction


def replace_call_detail_records(connection: duckdb.DuckDBPyConnection, usage_date: date, files: Sequence[Path]) -> int:
    """Types the records in `files`, oldest first, as the partition's rows, one a cdr_id. Returns their number.

    Raises WarehouseError when the day never landed, which is not the same as a day without calls.
    """
    if not files:
        raise WarehouseError(
            f"{usage_date} has not landed, so its records are unknown: materialize period_cdr for it first"
        )
    paths = [str(file) for file in files]
    with transaction(connection):
        run(connection, "delete/call_detail_records", usage_date=usage_date)
        # Only where a record comes more than once does the order of rows matter, and keeping it costs time.
        keep_order = len(files) > 1
        counts = _insert_records(connection, usage_date, paths, keep_order)
        if counts["repeated"]:
            if not keep_order:
                run(connection, "delete/call_detail_records", usage_date=usage_date)
                _insert_records(connection, usage_date, paths, keep_order=True)
            run(connection, "delete/repeated_records", usage_date=usage_date)
        if counts["unreadable"]:
            raise WarehouseError(
                f"{usage_date}: DuckDB could not read {counts['unreadable']} of the landed records in {paths}; "
                "the partition keeps its former rows"
            )
        if counts["with_bare_parts"]:
            run(connection, "update/lost_parts", usage_date=usage_date, files=paths)
    return counts["records"] - counts["repeated"]


def _insert_records(
    connection: duckdb.DuckDBPyConnection, usage_date: date, files: Sequence[str], keep_order: bool
) -> dict[str, int]:
    connection.execute(f"SET preserve_insertion_order = {str(keep_order).lower()}")
    run(connection, "insert/call_detail_records", usage_date=usage_date, files=files)
    (counts,) = run(connection, "select/loaded_records", usage_date=usage_date)
    return counts


def replace_room_usage(connection: duckdb.DuckDBPyConnection, usage_date: date) -> int:
    """Sums the day's records per room. Returns the number of rooms."""
    with transaction(connection):
        run(connection, "delete/room_usage", usage_date=usage_date)
        run(connection, "insert/room_usage", usage_date=usage_date)
    return _count(connection, "room_usage", usage_date)


def replace_conference_usage(connection: duckdb.DuckDBPyConnection, usage_date: date) -> int:
    """Sums the records of every conference that the day takes part in, over all its days.

    Returns the number of conferences that begin on the day.
    """
    with transaction(connection):
        run(connection, "create/touched_conferences", usage_date=usage_date)
        (reach,) = run(connection, "select/touched_days", usage_date=usage_date)
        run(connection, "delete/conference_usage")
        run(connection, "insert/conference_usage", **reach)
    return _count(connection, "conference_usage", usage_date)


def _count(connection: duckdb.DuckDBPyConnection, table: str, usage_date: date) -> int:
    (partition,) = run(connection, f"select/count_{table}", usage_date=usage_date)
    return int(partition["row_count"])
