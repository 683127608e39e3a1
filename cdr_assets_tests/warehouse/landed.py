"""Landed files for tests of the warehouse, without a landing zone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import zstandard

from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.reference import Record


@dataclass(frozen=True)
class Landed:
    """The landed files of some days."""

    by_day: Mapping[date, Sequence[Path]]

    def files(self, day: date) -> Sequence[Path]:
        return self.by_day.get(day, [])

    def version(self, day: date) -> str:
        return "-".join(file.name.partition(".")[0] for file in self.files(day))

    def lock(self, day: date) -> AbstractContextManager[object]:
        return nullcontext()


def land(folder: Path, name: str, records: Iterable[Record]) -> Path:
    path = folder / f"{name}.ndjson.zst"
    path.write_bytes(zstandard.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records)))
    return path


def build(warehouse: Warehouse, day: date, files: Sequence[Path]) -> None:
    """Builds the day's partition of every table from these files."""
    with warehouse.connect() as connection:
        list(warehouse.build_day(connection, day, DAILY_TABLES, Landed({day: files})))
