"""Which landing files each partition of each table was built from, so that a change of them is seen without DuckDB.

    built/<table>/YYYY-MM-DD.<version>    an empty file a partition, named for the version of its landing files

A mark is set after its partition is committed: what a killed run leaves unmarked is built again, which changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from cdr_assets.database import TABLES


class BuildLog:
    """The marks under one data folder. Where the warehouse is gone they mean nothing, and none is seen."""

    def __init__(self, data_dir: Path, warehouse: Path) -> None:
        self._folder = data_dir / "built"
        self._warehouse = warehouse

    def mark(self, table: str, day: date, version: str) -> None:
        """Notes that the partition was built from the landing files of that version."""
        marks = self._folder / table
        marks.mkdir(parents=True, exist_ok=True)
        (marks / f"{day}.{version}").touch()
        for older in marks.glob(f"{day}.*"):
            if older.name != f"{day}.{version}":
                older.unlink(missing_ok=True)

    def versions(self, table: str) -> dict[date, str]:
        """The version that each built partition of the table was built from."""
        return dict(self._marks(table)) if self._warehouse.exists() else {}

    def days(self) -> dict[date, str]:
        """The days of which every table was built, with the version; it is empty where they differ."""
        versions = [self.versions(table) for table in TABLES]
        days = set.intersection(*map(set, versions))
        return {day: found.pop() if len(found := {each[day] for each in versions}) == 1 else "" for day in days}

    def forget(self) -> None:
        """Drops every mark: the warehouse is made anew."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _marks(self, table: str) -> Iterator[tuple[date, str]]:
        try:
            names = os.listdir(self._folder / table)
        except OSError:
            return
        for name in sorted(names):
            text, _, version = name.partition(".")
            try:
                day = date.fromisoformat(text)
            except ValueError:
                continue  # No mark of ours.
            yield day, version
