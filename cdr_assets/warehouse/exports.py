"""The tables as Parquet files, for BI tools. Reading them locks nobody out of the warehouse.

published/<table>/YYYY-MM-DD.parquet      one partition, replaced whole
published/<table>/YYYY-MM-DD.<process>    one that is not finished; of a killed process it is removed by the next run
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from cdr_assets.database import Connection, run
from cdr_assets.warehouse.people import PeopleInExports
from cdr_assets.warehouse.table import Table

_FINISHED = re.compile(r"(\d{4}-\d{2}-\d{2})\.parquet")
# It must not match the pattern that readers use.
_UNFINISHED = re.compile(r"\d{4}-\d{2}-\d{2}\.\d+")


class FileStamp(NamedTuple):
    """What tells a file from an older or a damaged one: its bytes, and its modification time in nanoseconds."""

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
    place: Path
    stamp: FileStamp

    def put_in_place(self) -> Export:
        """Replaces the former file. A reader sees that one or this one, never a part.

        Returns the export with the stamp that it has there: some file systems do not keep a file's time.
        """
        os.replace(self.unfinished, self.place)
        return replace(self, stamp=FileStamp.of(self.place) or self.stamp)

    def discard(self) -> None:
        """Removes the file if it did not take its place."""
        self.unfinished.unlink(missing_ok=True)


def write_export(connection: Connection, folder: Path, table: Table, day: date, people: PeopleInExports) -> Export:
    """Writes the partition as the connection's transaction sees it, not yet in its place.

    A table with people has a statement `export`, by which they are hashed.
    """
    place = exported_file(folder, table, day)
    make_readable_folder(place.parent)
    unfinished = place.with_suffix(f".{os.getpid()}")
    try:
        if table.has_sql("export") and not people.in_clear:
            rows = table.query("export")
        else:
            rows = f"SELECT * FROM {table.name} WHERE usage_date = $usage_date"
        secret = {"key": people.key} if "$key" in rows else {}
        run(
            connection,
            f"COPY ({rows}) TO $file (FORMAT parquet, COMPRESSION zstd)",
            usage_date=day,
            file=str(unfinished),
            **secret,
        )
        # Another user's BI service may read it; the data folder around it decides who gets that far.
        unfinished.chmod(0o644)
        return Export(day, unfinished, place, FileStamp.from_status(unfinished.stat()))
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def exported_file(folder: Path, table: Table, day: date) -> Path:
    """The file of a partition, whether it is there or not."""
    return folder / table.name / f"{day}.parquet"


def exported_files(folder: Path, table: Table) -> dict[date, FileStamp]:
    """The stamp of each file of the table, by its day."""
    found: dict[date, FileStamp] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / table.name) as files:
        for file in files:
            if named := _FINISHED.fullmatch(file.name):
                with suppress(ValueError, FileNotFoundError):
                    found[date.fromisoformat(named[1])] = FileStamp.from_status(file.stat())
    return found


def remove_unfinished(folder: Path, table: Table) -> None:
    """Removes what killed processes left. Only one process at a time exports: the one that has the warehouse open."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder / table.name):
            if _UNFINISHED.fullmatch(name):
                (folder / table.name / name).unlink(missing_ok=True)


def make_readable_folder(folder: Path) -> None:
    """Makes the folder so that others can read it. One that exists keeps its permissions."""
    if not folder.exists():
        make_readable_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        # The umask is 077 while the warehouse is open. What a shared folder passes on, such as its group, stays.
        folder.chmod(folder.stat().st_mode | 0o055)
