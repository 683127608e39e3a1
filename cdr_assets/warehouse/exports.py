"""The tables as Parquet files, for BI tools. Reading them locks nobody out of the warehouse.

published/<table>/YYYY-MM-DD.parquet      one partition, replaced whole
published/<table>/YYYY-MM-DD.<process>    one that is not finished; of a killed process it is removed by the next run

On its way to a bucket, one that is not finished is in a folder of this machine.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from cdr_assets.database import Connection, WarehouseError, run
from cdr_assets.storage import Storage, make_readable_folder
from cdr_assets.warehouse.people import IDS, PeopleInExports, project_id
from cdr_assets.warehouse.table import Table

_FINISHED = re.compile(r"(\d{4}-\d{2}-\d{2})\.parquet")
# It must not match the pattern that readers use.
_UNFINISHED = re.compile(r"\d{4}-\d{2}-\d{2}\.\d+")


OWNER = ".project"
"""The file that says whose exports these are."""


class ForeignExports(WarehouseError):
    """The exports there are those of other data, and each would replace the other's for ever."""

    permanent = True


def claim(exports: Storage, data: Storage) -> None:
    """Notes that the exports are those of these data. Raises ForeignExports if they are those of others."""
    project = project_id(data)
    owner = exports.read(OWNER)
    if owner is None:
        exports.write(OWNER, project)
    elif owner != project:
        raise ForeignExports(
            f"{exports.place('')} has the exports of other data: set CDR_EXPORT_DIR to a folder of its own for each "
            f"project. To take it over on purpose, delete {exports.place(OWNER)}"
        )


class FileStamp(NamedTuple):
    """What tells a file from an older or a damaged one: its bytes, and its modification time in nanoseconds.

    An object has a number that is made from its ETag instead of the time.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path) -> FileStamp | None:
        """The stamp of the file; None where there is none."""
        try:
            return cls.from_status(file.stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    @classmethod
    def from_status(cls, status: os.stat_result) -> FileStamp:
        """The stamp of the file with this status."""
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Export:
    """The new file of a partition, next to the place of the former one."""

    usage_date: date
    unfinished: Path
    storage: Storage
    name: str
    stamp: FileStamp

    def put_in_place(self) -> Export:
        """Replaces the former file. A reader sees that one or this one, never a part.

        Returns the export with the stamp that it has there: some file systems do not keep a file's time.
        """
        stored = self.storage.put(self.unfinished, self.name)
        return replace(self, stamp=FileStamp(stored.size, stored.mark))

    def discard(self) -> None:
        """Removes the file if it did not take its place."""
        self.unfinished.unlink(missing_ok=True)


def write_export(connection: Connection, storage: Storage, table: Table, day: date, people: PeopleInExports) -> Export:
    """Writes the partition as the connection's transaction sees it, not yet in its place.

    A table with people has a statement `export`, by which they are hashed. What stands for an id in any table, and is
    none, is hashed, too.
    """
    unfinished = storage.scratch / table.name / f"{day}.{os.getpid()}"
    make_readable_folder(unfinished.parent)
    try:
        rows = f"SELECT * FROM {table.name} WHERE usage_date = $usage_date"
        if not people.in_clear:
            rows = table.query("export") if table.has_sql("export") else rows
            ids = (column.name for column in table.exported_columns if column.name in IDS)
            if shown := ", ".join(f"shown_id($key, {name}) AS {name}" for name in ids):
                rows = f"SELECT * REPLACE ({shown}) FROM ({rows})"
        secret = {"key": people.key} if "$key" in rows else {}
        run(
            connection,
            f"COPY ({rows}) TO $file (FORMAT parquet, COMPRESSION zstd)",
            usage_date=day,
            file=str(unfinished),
            **secret,
        )
        stamp = FileStamp(unfinished.stat().st_size, storage.mark_of(unfinished))
        return Export(day, unfinished, storage, name_of(table, day), stamp)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def name_of(table: Table, day: date) -> str:
    """The name of a partition's file, whether it is there or not."""
    return f"{table.name}/{day}.parquet"


def exported_files(
    storage: Storage, table: Table, first: date = date.min, last: date = date.max
) -> dict[date, FileStamp]:
    """The stamp of each file of the table from the day `first` to the day `last`, by its day."""
    found: dict[date, FileStamp] = {}
    for stored in storage.files(table.name, f"{first}.parquet", f"{last}.parquet"):
        if named := _FINISHED.fullmatch(stored.name.removeprefix(f"{table.name}/")):
            with suppress(ValueError):
                found[date.fromisoformat(named[1])] = FileStamp(stored.size, stored.mark)
    return found


def remove_unfinished(storage: Storage, table: Table) -> None:
    """Removes what killed processes left. Only one process at a time exports: the one that has the warehouse open."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(storage.scratch / table.name):
            if _UNFINISHED.fullmatch(name):
                (storage.scratch / table.name / name).unlink(missing_ok=True)
