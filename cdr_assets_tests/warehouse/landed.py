"""Landed files for tests of the warehouse, without a landing zone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import zstandard

from cdr_assets.landing.files import PERIOD, file_name
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.landing.places import name_in, put
from cdr_assets_tests.reference import Record


@dataclass(frozen=True)
class File:
    """A landed file whose request has this number."""

    path: Path
    request: int
    records: int | None = None
    has_repeats: bool = True

    @property
    def landed_at(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=timezone.utc) + timedelta(hours=self.request)

    def damage(self) -> str | None:
        return None


@dataclass(frozen=True)
class Landed:
    """The landed files of some days, oldest request first."""

    by_day: Mapping[date, Sequence[Path]]

    def files(self, day: date) -> Sequence[File]:
        return [File(path, number) for number, path in enumerate(self.by_day.get(day, []), start=1)]

    def foreign_files(self, day: date) -> Sequence[Path]:
        return []

    def version(self, day: date) -> str:
        return self.version_of(self.files(day))

    def version_of(self, files: Sequence[File]) -> str:
        return "-".join(file.path.name.partition(".")[0] for file in files)

    def lock(self, day: date) -> AbstractContextManager[object]:
        return nullcontext()

    def note_loaded(self, day: date, request: int) -> None:
        pass

    def note_moved(self, day: date, moved: Mapping[str, int]) -> None:
        pass


def land(folder: Path, name: str, records: Iterable[Record]) -> Path:
    path = folder / f"{name}.ndjson.zst"
    path.write_bytes(packed(records))
    return path


def packed(records: Iterable[Record]) -> bytes:
    return zstandard.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records))


def land_in(zone: LandingZone, day: date, request: int, records: Sequence[Record]) -> None:
    """Lands the records under the day, as the answer to the request with this number."""
    ids = {record["cdr_id"] for record in records}
    sent_at = datetime(2026, 11, 20, tzinfo=timezone.utc) + timedelta(hours=request)
    name = file_name(request, sent_at, PERIOD, len(records), len(ids), "0123abcd")
    put(zone, name_in(day, name), packed(records))


def build(warehouse: Warehouse, day: date, files: Sequence[Path]) -> None:
    """Builds the day's partition of every table from these files."""
    with warehouse.connect() as connection:
        list(warehouse.build_days(connection, [day], DAILY_TABLES, Landed({day: files})))
