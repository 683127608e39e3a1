"""Where tests keep everything: in a folder; with CDR_TEST_ON=lake in a lake and a bucket, each test in its own."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from cdr_assets.database import Connection
from cdr_assets.places import LAKE, Places
from cdr_assets.warehouse.build import Warehouse
from cdr_assets_tests.scale import BUCKET, ON_LAKE, POSTGRES

if TYPE_CHECKING:
    import psycopg

_lakes: dict[Path, str] = {}
"""The databases that this process made, by the folder that each is for."""


def places(folder: Path) -> Places:
    """The places of a data folder. The same folder has the same lake."""
    if not ON_LAKE:
        return Places.read(folder)
    database = f"lake_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    found = Places.read(folder, _address(database), f"s3://{BUCKET}/{database}")
    if folder not in _lakes:
        _copy(_empty_lake(), database, f"{found.landing}/lake/")
        _lakes[folder] = database
    return found


def variables(folder: Path) -> dict[str, str]:
    """What the environment says of the places of a data folder, besides the folder."""
    if not ON_LAKE:
        return {}
    found = places(folder)
    return {"CDR_WAREHOUSE": found.warehouse, "CDR_LANDING": found.landing}


def examples(usually: int) -> int:
    """How many examples to try: fewer on a lake, on which each takes several times as long."""
    return max(usually // 10, 1) if ON_LAKE else usually


def reading(where: Path | Places) -> AbstractContextManager[Connection]:
    """A connection for reading, to a DuckDB file or to the tables of the places."""
    if isinstance(where, Places) and where.is_lake:
        return Warehouse(where).reading()
    return duckdb.connect(where.file if isinstance(where, Places) else where, read_only=True)


def by_hand(where: Places) -> AbstractContextManager[Connection]:
    """A connection for changes that are none of this project's."""
    return Warehouse(where).connect() if where.is_lake else duckdb.connect(where.file)


def _address(database: str) -> str:
    return f"{LAKE}{POSTGRES} dbname={database}"


@contextmanager
def _server() -> Iterator[psycopg.Connection[Any]]:
    import psycopg

    with psycopg.connect(POSTGRES, dbname="postgres", autocommit=True) as connection:
        yield connection


@lru_cache
def _empty_lake() -> str:
    """The database of a lake with empty tables. Making them takes seconds, and copying them a tenth of one."""
    database = f"empty_{uuid.uuid4().hex[:16]}"
    with _server() as server:
        server.execute(f"CREATE DATABASE {database}")
    with tempfile.TemporaryDirectory() as name, Warehouse(Places.read(Path(name), _address(database))).connect():
        return database


def _copy(empty: str, database: str, data: str) -> None:
    import psycopg

    # A test's other processes look for the same lake.
    with _server() as server, suppress(psycopg.errors.DuplicateDatabase):
        server.execute(f"CREATE DATABASE {database} TEMPLATE {empty}")
        with psycopg.connect(POSTGRES, dbname=database) as connection:
            connection.execute("UPDATE ducklake_metadata SET value = %s WHERE key = 'data_path'", [data])


def drop_lakes(below: Path) -> None:
    """Drops the lakes of folders below this one, and of folders that are not there any more."""
    gone = [folder for folder in _lakes if folder.is_relative_to(below) or not folder.exists()]
    if gone:
        with _server() as server:
            for folder in gone:
                server.execute(f"DROP DATABASE {_lakes.pop(folder)} WITH (FORCE)")


def drop_all_lakes() -> None:
    """Drops all that this process made."""
    drop_lakes(Path("/"))
    if _empty_lake.cache_info().currsize:
        with _server() as server:
            server.execute(f"DROP DATABASE {_empty_lake()} WITH (FORCE)")
        _empty_lake.cache_clear()
