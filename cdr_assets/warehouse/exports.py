"""The tables as Parquet files, for BI tools. Reading them locks nobody out of the warehouse.

published/<table>/YYYY-MM-DD.parquet    one partition, replaced whole
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from cdr_assets.database import Connection, run
from cdr_assets.warehouse.table import Table


def export(connection: Connection, folder: Path, table: Table, days: Iterable[date]) -> None:
    """Writes the partitions of the table again. A reader sees the former file or the new one, never a part of it."""
    _make_folder(folder / table.name)
    for day in days:
        target = exported_file(folder, table, day)
        # Its name must not match the pattern that readers use.
        unfinished = target.with_suffix(f".{os.getpid()}")
        run(
            connection,
            f"COPY (SELECT * FROM {table.name} WHERE usage_date = $usage_date) TO $file "
            "(FORMAT parquet, COMPRESSION zstd)",
            usage_date=day,
            file=str(unfinished),
        )
        # Another user's BI service may read it; the data folder around it decides who gets that far.
        unfinished.chmod(0o644)
        os.replace(unfinished, target)


def remove_export(folder: Path, table: Table, day: date) -> None:
    """Removes the file of a partition that has no rows any more."""
    exported_file(folder, table, day).unlink(missing_ok=True)


def exported_file(folder: Path, table: Table, day: date) -> Path:
    """The file of a partition, whether it is there or not."""
    return folder / table.name / f"{day}.parquet"


def _make_folder(folder: Path) -> None:
    """Makes the folder so that others can read it. One that exists keeps its permissions."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        # The umask is 077 while the warehouse is open. What a shared folder passes on, such as its group, stays.
        folder.chmod(folder.stat().st_mode | 0o055)
