"""Which landing files and which SQL each partition of each table was built from, readable without opening DuckDB.

    built/<table>/YYYY-MM-DD.<landing version>.<SQL fingerprint>    an empty file per partition

An entry is written after its partition is committed and its checks have passed. A partition without one is built again,
which changes nothing if it was right.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from pathlib import Path

from cdr_assets.warehouse.table import Table


class BuildLog:
    """The log in one data folder. It is empty when the warehouse is gone: then nothing is built."""

    def __init__(self, folder: Path, warehouse: Path) -> None:
        self._folder = folder
        self._warehouse = warehouse

    def write(self, table: Table, day: date, landing_version: str) -> None:
        """Notes that the partition was built from these landing files by the table's present SQL."""
        entry = self._entry(table, day, landing_version)
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.touch()
        for other in self._entries_of_day(table, day):
            if other != entry:
                other.unlink(missing_ok=True)

    def is_built(self, table: Table, day: date, landing_version: str) -> bool:
        """Whether the partition was built from these landing files by the table's present SQL."""
        return self._warehouse.exists() and self._entry(table, day, landing_version).exists()

    def forget(self, tables: Iterable[Table], days: Collection[date]) -> None:
        """Drops the entries of these days: their partitions are due to be built again."""
        for table in tables:
            for day in days:
                for entry in self._entries_of_day(table, day):
                    entry.unlink(missing_ok=True)

    def landing_versions(self, table: Table) -> dict[date, str]:
        """The landing version of every partition that the table's present SQL built."""
        built = (entry for entry in self._entries(table) if entry[2] == table.fingerprint)
        return {day: landing_version for day, landing_version, _ in built}

    def built_days(self, tables: Iterable[Table]) -> dict[date, str]:
        """The landing version of every day of which all `tables` are built from the same landing files."""
        versions = [self.landing_versions(table) for table in tables]
        days = set.intersection(*map(set, versions))
        return {day: versions[0][day] for day in days if len({each[day] for each in versions}) == 1}

    def clear(self) -> None:
        """Forgets every partition: the warehouse is new."""
        for entry in self._folder.glob("*/*"):
            entry.unlink(missing_ok=True)

    def _entry(self, table: Table, day: date, landing_version: str) -> Path:
        return self._folder / table.name / f"{day}.{landing_version}.{table.fingerprint}"

    def _entries_of_day(self, table: Table, day: date) -> Iterator[Path]:
        return (self._folder / table.name).glob(f"{day}.*")

    def _entries(self, table: Table) -> Iterator[tuple[date, str, str]]:
        if not self._warehouse.exists():
            return
        try:
            names = sorted(os.listdir(self._folder / table.name))
        except OSError:
            return
        for name in names:
            text, _, versions = name.partition(".")
            landing_version, _, fingerprint = versions.partition(".")
            try:
                day = date.fromisoformat(text)
            except ValueError:
                continue  # Not an entry of ours.
            yield day, landing_version, fingerprint
