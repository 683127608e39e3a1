"""Where everything of one account is kept: on one machine a folder; on several a lake, and a folder or a bucket."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cdr_assets.data_folder import DataFolder
from cdr_assets.database import Connection, Database
from cdr_assets.lake import Lake
from cdr_assets.postgres import Postgres, PostgresError
from cdr_assets.storage import SCHEME as BUCKET
from cdr_assets.storage import Bucket, Folder, ReadableFolder, Storage

LAKE = "ducklake:postgres:"
"""With this the name of a lake begins. A connection string of libpq follows, of the database with its catalogue."""


class BadPlaces(ValueError):
    """CDR_WAREHOUSE and CDR_LANDING do not go together, or one of them names nothing that this project can use."""


@dataclass(frozen=True)
class Places:
    """`data_dir` is a folder of this machine, `warehouse` a DuckDB file or a lake, `landing` a folder or a bucket."""

    data_dir: Path
    warehouse: str = field(repr=False)
    landing: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Places:
        """The places that CDR_DATA_DIR, CDR_WAREHOUSE and CDR_LANDING name. Raises BadPlaces."""
        data_dir = Path(environ.get("CDR_DATA_DIR") or "data").resolve()
        return cls.read(data_dir, environ.get("CDR_WAREHOUSE"), environ.get("CDR_LANDING"))

    @classmethod
    def read(cls, data_dir: Path, warehouse: str | None = None, landing: str | None = None) -> Places:
        """The given places; what is not given is in `data_dir`. Raises BadPlaces."""
        warehouse = warehouse or str(DataFolder(data_dir).warehouse)
        landing = landing or str(data_dir)
        if "://" in landing and not landing.startswith(BUCKET):
            raise BadPlaces(f"CDR_LANDING is {landing!r}: give a folder, or s3://bucket/prefix")
        if re.match(r"\w\w+:|.*\bpassword\s*=", warehouse) and not warehouse.startswith(LAKE):
            raise BadPlaces(
                "CDR_WAREHOUSE is neither a DuckDB file nor a lake with its catalogue in Postgres, where the locks of "
                f"all writers are: give a path, or {LAKE}dbname=... host=..."
            )
        if landing.startswith(BUCKET) and not warehouse.startswith(LAKE):
            raise BadPlaces(
                "CDR_LANDING is a bucket, which has no locks: set CDR_WAREHOUSE to a lake with its catalogue in "
                f"Postgres, {LAKE}dbname=... host=..., or set CDR_LANDING to a folder"
            )
        if warehouse.startswith(LAKE):
            # Without the package nothing can be asked of the lake, and the first request for it says so.
            with suppress(ImportError):
                try:
                    str(Postgres(warehouse.removeprefix(LAKE)))
                except PostgresError as error:
                    raise BadPlaces(str(error)) from None
        if not landing.startswith(BUCKET):
            landing = str(Path(landing).resolve())
        return cls(data_dir, warehouse if warehouse.startswith(LAKE) else str(Path(warehouse).resolve()), landing)

    @property
    def folder(self) -> DataFolder:
        return DataFolder(self.data_dir)

    @property
    def is_lake(self) -> bool:
        return self.warehouse.startswith(LAKE)

    @property
    def is_bucket(self) -> bool:
        return self.landing.startswith(BUCKET)

    @property
    def file(self) -> Path:
        """The DuckDB file. There is none where the warehouse is a lake."""
        return Path(self.warehouse)

    @property
    def shown_warehouse(self) -> str:
        """The DuckDB file or the lake, for people: without a password."""
        return f"{LAKE}{self.postgres}" if self.postgres else self.warehouse

    def warehouse_bytes(self) -> int | None:
        """Bytes of the DuckDB file; None while there is none. A lake's are not counted: its data are many objects."""
        with suppress(OSError):
            return None if self.is_lake else self.file.stat().st_size
        return None

    @cached_property
    def storage(self) -> Storage:
        """Where landing zone, quarantine, marks and, as a rule, the exports lie."""
        if self.is_bucket:
            return Bucket(self.landing, self.folder.scratch, self.postgres)
        return Folder(Path(self.landing), private=DataFolder(Path(self.landing)).landing.name)

    def export_place(self, given: str | None) -> str:
        """The folder or the bucket of the exports: the given one; else next to the landing zone."""
        place = given or f"{self.landing.rstrip('/')}/{self.folder.exports.name}"
        return place if place.startswith(BUCKET) else str(Path(place).resolve())

    def exports(self, given: str | None = None) -> Storage:
        """Where the exports lie."""
        place = self.export_place(given)
        if place.startswith(BUCKET):
            return Bucket(place, self.folder.scratch, self.postgres)
        return ReadableFolder(Path(place))

    def database(
        self,
        prepare: Callable[[Connection], None],
        patience_s: float,
        while_open: Callable[[], AbstractContextManager[None]],
    ) -> Database | Lake:
        """The tables, in a DuckDB file or a lake. See Database for the arguments; a lake needs no `while_open`."""
        if self.postgres:
            data = f"{self.landing.rstrip('/')}/lake/"
            return Lake(self.postgres, data, self.folder.scratch, prepare, patience_s)
        return Database(self.file, prepare, patience_s, while_open)

    @cached_property
    def postgres(self) -> Postgres | None:
        """The server of the lake, which holds the locks of all machines; None on one machine."""
        return Postgres(self.warehouse.removeprefix(LAKE)) if self.is_lake else None
