"""Which landing files and which SQL each partition was built from, and its Parquet file.

The table `build_log` has an entry per partition, written in the transaction that replaces the partition. A partition
without one is built again, which changes nothing if it was right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple

from cdr_assets.database import Connection, run
from cdr_assets.warehouse.exports import Export, FileStamp
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import BUILD_LOG


class Entry(NamedTuple):
    """A row of `build_log`."""

    asset: str
    usage_date: date
    landing_version: str
    fingerprint: str
    export_size: int | None
    export_mtime_ns: int | None

    @property
    def export(self) -> FileStamp | None:
        """The partition's Parquet file; None if it has none."""
        if self.export_size is None or self.export_mtime_ns is None:
            return None
        return FileStamp(self.export_size, self.export_mtime_ns)


def entries(connection: Connection) -> list[Entry]:
    """Every entry."""
    return [Entry(**row) for row in run(connection, BUILD_LOG.sql("entries"))]


def entries_of(connection: Connection, days: Collection[date]) -> list[Entry]:
    """The entries of the days' partitions."""
    return [Entry(**row) for row in run(connection, BUILD_LOG.sql("of_days"), usage_dates=sorted(days))]


def days_of(connection: Connection, table: Table, first: date, last: date) -> set[date]:
    """The days from `first` to `last` on which the table is built."""
    statement = BUILD_LOG.sql("days_of_table")
    return {row["usage_date"] for row in run(connection, statement, asset=table.name, first_date=first, last_date=last)}


def write(connection: Connection, written: Sequence[Entry], now: datetime) -> None:
    """Adds the entries of partitions that have none. `now` is UTC."""
    run(
        connection,
        BUILD_LOG.sql("insert"),
        usage_dates=[entry.usage_date for entry in written],
        assets=[entry.asset for entry in written],
        landing_versions=[entry.landing_version for entry in written],
        fingerprints=[entry.fingerprint for entry in written],
        export_sizes=[entry.export_size for entry in written],
        export_mtimes_ns=[entry.export_mtime_ns for entry in written],
        built_at=now.replace(tzinfo=None),
    )


def forget(connection: Connection, tables: Collection[Table], days: Collection[date]) -> None:
    """Removes the entries of the tables on these days: their partitions are due to be built again."""
    assets = sorted(table.name for table in tables)
    run(connection, BUILD_LOG.sql("delete"), assets=assets, usage_dates=sorted(days))


def forget_all(connection: Connection) -> None:
    """Removes every entry."""
    run(connection, f"DELETE FROM {BUILD_LOG.name}")


def note_exports(connection: Connection, table: Table, written: Sequence[Export]) -> list[Entry]:
    """Notes the new files of the table's partitions in their entries. Returns these: some partitions may have none."""
    days = [export.usage_date for export in written]
    run(
        connection,
        BUILD_LOG.sql("update_exports"),
        asset=table.name,
        usage_dates=days,
        export_sizes=[export.stamp.size for export in written],
        export_mtimes_ns=[export.stamp.mtime_ns for export in written],
    )
    return [entry for entry in entries_of(connection, days) if entry.asset == table.name]
