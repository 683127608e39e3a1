"""The warehouse as a lake, which many machines write to and read: a DuckLake with its catalogue in Postgres.

Its rows are Parquet files in a bucket, or in a folder that all machines share. Writers take turns by one lock in
Postgres, as they do with a DuckDB file. Two writers of DuckLake that are not kept apart can both commit, and double the
rows of a day. Readers need no lock: each statement sees what was committed before it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit

import duckdb

from cdr_assets import aws
from cdr_assets.database import MEMORY_LIMIT, Connection, WarehouseBusy, WarehouseError, quoted, transaction
from cdr_assets.postgres import Busy, HeldLock, Postgres, PostgresError

LOCK = "warehouse"
"""The lock of whoever writes."""

EXTENSIONS = ("ducklake", "postgres_scanner", "httpfs")

UNCHECKED: dict[str, str | bool | int | float | list[str]] = {"allow_unsigned_extensions": True}
"""With this in its configuration a connection takes extensions from the packages as they are, as Python does with all
packages. Checking their signatures takes 0.6 s of CPU. `load_extensions` ends it."""

SNAPSHOTS_KEPT = timedelta(days=7)
"""For so long a lake can be read as it was."""

FILES_KEPT = timedelta(days=1)
"""For so long a file stays that nobody needs any more. No query takes longer."""

MOST_SMALL_FILES = 50
"""So many files a table that is not partitioned has at most, as each takes a millisecond to read."""

_EVERY = 25
"""Each writer counts them again after so many transactions, each of which adds one or two."""

_OPTIONS = {
    "parquet_compression": "'zstd'",
    # Instead of DuckDB's usual 3: it takes less CPU, and files are 1 % (records) to 6 % (attendance) larger.
    "parquet_compression_level": "1",
    # Rows in the catalogue instead of in a file: a part of DuckLake with open faults.
    "data_inlining_row_limit": "0",
}

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": MEMORY_LIMIT,
    # By it DuckLake asks Postgres which files have the values that a join looks for. If one has a NUL, that fails.
    "disabled_optimizers": "join_filter_pushdown",
}


class Size(NamedTuple):
    """How large a lake is, as its newest snapshot has it."""

    tables: list[str]
    files: int
    """Files of rows, and of rows that were deleted from these."""
    bytes: int


class Upkeep(NamedTuple):
    """What the upkeep of a lake found and left."""

    before: Size
    after: Size
    orphans: int
    """Files that killed processes had left, and that were removed."""


class Lake:
    """The lake with its catalogue in the database of `postgres` and its rows below `data`, a folder or `s3://...`.

    It is made when it is first opened. `prepare` is called with every new connection for writing. `patience_s` is how
    many seconds to wait for other writers. What does not fit in memory goes to the folder `spill`.
    """

    def __init__(
        self,
        postgres: Postgres,
        data: str,
        spill: Path,
        prepare: Callable[[Connection], None] = lambda _: None,
        patience_s: float = 900,
    ) -> None:
        self.patience_s = patience_s
        self._postgres, self._data, self._spill = postgres, data, spill
        self._prepare = prepare
        self._lock: HeldLock | None = None
        self._transactions = 0

    @contextmanager
    def connect(self, patience_s: float | None = None) -> Iterator[Connection]:
        """A connection for writing, which is always closed. `patience_s` is for this connection alone.

        Raises WarehouseBusy when other writers keep the lock too long, WarehouseError when the lake cannot be opened.
        """
        patience_s = self.patience_s if patience_s is None else patience_s
        with self._locked(patience_s) as lock, self._open(read_only=False) as connection:
            self._lock, self._transactions = lock, 0
            try:
                self._prepare(connection)
                yield connection
            except duckdb.Error:
                # A server that went down says more by this than by what DuckDB makes of it.
                lock.check()
                raise
            finally:
                self._lock = None

    @contextmanager
    def _locked(self, patience_s: float) -> Iterator[HeldLock]:
        try:
            with self._postgres.lock(LOCK, patience_s) as lock:
                yield lock
        except Busy as error:
            raise WarehouseBusy(f"the lake {self} was in use: {error}") from None
        except PostgresError as error:
            raise WarehouseError(str(error)) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading, which waits for nobody. Raises WarehouseError when there is no such lake."""
        with self._open(read_only=True) as connection:
            yield connection

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """All statements inside take effect together, or none does. Nothing is committed without the lock."""
        assert self._lock
        if self._transactions % _EVERY == 0:
            self._merge_small_files(connection)
        self._transactions += 1
        with transaction(connection):
            yield
            self._lock.check()

    def _merge_small_files(self, connection: Connection) -> None:
        """Without this a table that each transaction adds to would be read more slowly with each until the upkeep."""
        tables = connection.execute(
            "SELECT table_name FROM ducklake_table_info('cdr') WHERE file_count + delete_file_count > $most"
            " AND table_id NOT IN (SELECT table_id FROM __ducklake_metadata_cdr.ducklake_partition_info)",
            {"most": MOST_SMALL_FILES},
        ).fetchall()
        for (name,) in tables:
            for function in _merging(name):
                connection.execute(f"CALL {function}")

    def upkeep(self, keep_snapshots: timedelta = SNAPSHOTS_KEPT, keep_files: timedelta = FILES_KEPT) -> Upkeep:
        """Makes few large files out of many small ones, and removes what nobody reads any more.

        Snapshots stay readable for `keep_snapshots`. Files that nobody needs, and those that killed processes left, are
        removed when they are older than `keep_files`. Other writers get their turn between two tables.
        """
        now = datetime.now(timezone.utc)
        with self.connect():
            pass  # Two that make the same lake at once fail.
        with self._open(read_only=False) as connection:
            before = _size(connection)
            for function in (each for table in before.tables for each in _merging(table)):
                self._call(connection, function)
            self._call(connection, f"ducklake_expire_snapshots('cdr', older_than => '{now - keep_snapshots}')")
            # Those of running transactions look like files that nobody needs, but they are not old.
            old = f"older_than => '{now - keep_files}'"
            self._call(connection, f"ducklake_cleanup_old_files('cdr', {old})")
            orphans = self._call(connection, f"ducklake_delete_orphaned_files('cdr', {old})")
            return Upkeep(before, _size(connection), orphans)

    def _call(self, connection: Connection, function: str) -> int:
        """Calls a function of DuckLake, a transaction by itself, under the lock. Returns how many rows it answers."""
        with self._locked(self.patience_s):
            return len(connection.execute(f"CALL {function}").fetchall())

    def exists(self) -> bool:
        """Whether anybody has written to the lake. Raises WarehouseError when its server cannot be reached."""
        try:
            with self._postgres.connection() as connection:
                row = connection.execute("SELECT to_regclass('public.ducklake_metadata') IS NOT NULL").fetchone()
        except PostgresError as error:
            raise WarehouseError(str(error)) from None
        return bool(row and row[0])

    @contextmanager
    def _open(self, read_only: bool) -> Iterator[Connection]:
        self._spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Two databases must not spill into one folder.
        spilling = TemporaryDirectory(prefix="spill-", dir=self._spill, ignore_cleanup_errors=True)
        with (
            spilling as spill,
            duckdb.connect(config={"temp_directory": spill, **_SETTINGS, **UNCHECKED}) as found,
        ):
            try:
                self._attach(found, read_only)
            except duckdb.Error as error:
                raise WarehouseError(f"the lake {self} can't be opened: {self._postgres.told(error)}") from None
            try:
                yield found
            except duckdb.Error as error:
                told = self._postgres.told(error)
                if told == " ".join(str(error).split()):
                    raise
                # DuckDB connects to Postgres again when it has to, and quotes the connection string if that fails.
                raise type(error)(told).with_traceback(error.__traceback__) from None

    def _attach(self, connection: Connection, read_only: bool) -> None:
        load_extensions(connection)
        options = ["READ_ONLY"] if read_only else [f"DATA_PATH {quoted(self._data)}"]
        if self._data.startswith("s3://"):
            connection.execute(secret_of_bucket())
        address = quoted(f"ducklake:postgres:{self._postgres.dsn}")
        connection.execute(f"ATTACH {address} AS cdr ({', '.join(options)})")
        connection.execute("USE cdr")
        if not read_only:
            set_options = dict(connection.execute("SELECT option_name, value FROM ducklake_options('cdr')").fetchall())
            for name, value in _OPTIONS.items():
                if set_options.get(name) != value.strip("'"):
                    connection.execute(f"CALL cdr.set_option('{name}', {value})")

    def __str__(self) -> str:
        return f"in {self._postgres}"


def _merging(table: str) -> tuple[str, str]:
    """What makes few files of many. Rows that were deleted are left out first, since such a file is not merged."""
    return (
        f"ducklake_rewrite_data_files('cdr', {quoted(table)}, delete_threshold => 0)",
        f"ducklake_merge_adjacent_files('cdr', {quoted(table)})",
    )


def _size(connection: Connection) -> Size:
    rows = connection.execute(
        "SELECT table_name, file_count + delete_file_count, file_size_bytes + delete_file_size_bytes"
        " FROM ducklake_table_info('cdr') ORDER BY table_name"
    ).fetchall()
    return Size([name for name, *_ in rows], sum(row[1] for row in rows), sum(row[2] for row in rows))


def is_lake(connection: Connection) -> bool:
    """Whether the tables of the connection are those of a lake."""
    (found,) = connection.execute(
        "SELECT type FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()
    return found == ("ducklake",)


def create_table(connection: Connection, statement: str, partitioned: bool) -> None:
    """Makes a table of a lake by its `CREATE TABLE`. The rows of a `partitioned` one are in files by `usage_date`.

    Other tables get one row of NULLs, and the caller removes it with `remove_first_row` in the next transaction. If a
    table never had a row, DuckLake keeps no statistics of it, and asks Postgres again for each column that is read.
    """
    # Compression is an option of the whole lake.
    connection.execute(re.sub(r" USING COMPRESSION \w+", "", statement))
    ((name, first_column),) = re.findall(r"^CREATE TABLE (\w+) \(\s+(\w+)", statement, flags=re.MULTILINE)
    if partitioned:
        connection.execute(f"ALTER TABLE {name} SET PARTITIONED BY (usage_date)")
    else:
        connection.execute(f"INSERT INTO {name} ({first_column}) VALUES (NULL)")


def remove_first_row(connection: Connection, name: str, columns: Sequence[str]) -> None:
    """Removes what `create_table` put into the table, if it is there."""
    connection.execute(f"DELETE FROM {name} WHERE " + " AND ".join(f'"{column}" IS NULL' for column in columns))


def secret_of_bucket() -> str:
    """The statement by which DuckDB gets the credentials and the endpoint of the bucket. Raises NoCredentials."""
    key_id, secret, token = aws.credentials()
    given = {"KEY_ID": key_id, "SECRET": secret, "SESSION_TOKEN": token, "REGION": aws.region()}
    if url := aws.endpoint():
        endpoint = urlsplit(url)
        # Other stores rarely have a host name for each bucket.
        given |= {"ENDPOINT": endpoint.netloc, "URL_STYLE": "path", "USE_SSL": str(endpoint.scheme == "https").lower()}
    options = ", ".join(f"{name} {quoted(value)}" for name, value in given.items() if value)
    return f"CREATE OR REPLACE SECRET bucket (TYPE s3, {options})"


def load_extensions(connection: Connection) -> None:
    """Loads what DuckDB needs for a lake: from the packages of it that are installed, else as DuckDB itself does.

    From here on every extension is loaded by its signature.
    """
    for name in EXTENSIONS:
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = package.submodule_search_locations if package else None
        for folder in folders or ():
            file = Path(folder, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension")
            if file.is_file():
                connection.execute(f"LOAD {quoted(str(file))}")
    connection.execute("SET allow_unsigned_extensions = false")
