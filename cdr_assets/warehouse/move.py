"""Moves what one machine has to where many machines work: landing zone, tables and exports, each proved to be the same.

Nothing is changed where it comes from, but that tables of an older version get their present columns. A move that was
killed is begun again, and goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone

from cdr_assets.database import Connection, WarehouseError, quoted, run
from cdr_assets.lake import Lake
from cdr_assets.places import LAKE, Places
from cdr_assets.storage import Storage, make_folder
from cdr_assets.warehouse import build_log
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.build_log import Entry
from cdr_assets.warehouse.exports import FileStamp, exported_files
from cdr_assets.warehouse.partitions import portions
from cdr_assets.warehouse.people import KEY
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import BUILD_LOG, EXPORTED_TABLES, TABLES

FOLDERS, TEXTS = ("landing", "quarantine"), ("account", KEY)
"""What lies where the records land."""

Say = Callable[[str], None]


def move(source: Places, target: Places, export_dir: str | None, say: Say) -> None:
    """Copies everything of `source`, one machine's folder, to `target`, a lake that has no rows yet.

    Nobody may write to either meanwhile. Raises WarehouseError if the lake has rows, or if what arrived is not what was
    sent; then nothing counts as built there.
    """
    warehouse = Warehouse(target)
    lake = warehouse.lake
    if not lake:
        raise WarehouseError(
            f"{target.shown_warehouse} is a DuckDB file: set CDR_WAREHOUSE to the lake to move to, {LAKE}dbname=... "
            "host=..., and CDR_LANDING to its bucket, s3://bucket/prefix"
        )
    with warehouse.connect() as connection:
        if build_log.entries(connection):
            raise WarehouseError(
                f"the lake {target.shown_warehouse} has tables with rows already: set CDR_WAREHOUSE to a database that "
                "no lake uses yet"
            )
    with Warehouse(source).connect():
        pass  # The tables have their present columns now.
    for name in FOLDERS:
        copied = copy_files(source.storage, target.storage, name)
        say(f"{name}: {copied} files copied to {target.storage.place(name)}")
    for name in TEXTS:
        if (text := source.storage.read(name)) and text != target.storage.read(name):
            target.storage.write(name, text)
    stamps = _copy_exports(source.exports(), target.exports(export_dir), say)
    with warehouse.connect() as connection:
        connection.execute(f"ATTACH {quoted(str(source.file))} AS moved (READ_ONLY)")
        for table in TABLES:
            if table is not BUILD_LOG:
                say(f"{table.name}: {_copy_rows(lake, connection, table)} rows, the same in the lake")
        _copy_build_log(connection, stamps)
    say("Every day that was built is built in the lake")


def copy_files(source: Storage, target: Storage, under: str) -> int:
    """Copies the files under a name that are not there yet, or are others. Returns how many.

    Raises WarehouseError if a file is not the same where it arrived.
    """
    if source.place(under) == target.place(under):
        return 0
    there = {file.name: (file.size, file.mark) for file in target.files(under)}
    copied = 0
    for file in source.files(under):
        local = target.scratch / "moved"
        make_folder(local.parent)
        with file.path.open("rb") as content, local.open("wb") as copy:
            shutil.copyfileobj(content, copy)
        wanted = (file.size, target.mark_of(local))
        if there.get(file.name) != wanted:
            put = target.put(local, file.name)
            if put.size != file.size:
                raise WarehouseError(
                    f"{target.place(file.name)} has {put.size} bytes instead of {file.size}: move again"
                )
            copied += 1
        local.unlink(missing_ok=True)
    return copied


def _copy_exports(source: Storage, target: Storage, say: Say) -> dict[tuple[str, date], FileStamp]:
    """Copies the exports. Returns the stamps that they have where they arrived."""
    stamps = {}
    for table in EXPORTED_TABLES:
        copied = copy_files(source, target, table.name)
        say(f"published/{table.name}: {copied} files copied to {target.place(table.name)}")
        stamps.update({(table.name, day): stamp for day, stamp in exported_files(target, table).items()})
    return stamps


def _copy_rows(lake: Lake, connection: Connection, table: Table) -> int:
    """Copies a table range by range, and compares each. Returns how many rows it has."""
    rows = 0
    for where in _ranges(connection, table):
        with lake.transaction(connection):
            connection.execute(f"DELETE FROM {table.name} WHERE {where}")
            connection.execute(f"INSERT INTO {table.name} BY NAME FROM moved.{table.name} WHERE {where}")
        (compared,) = run(
            connection,
            f"WITH ours AS (FROM {table.name} WHERE {where}), theirs AS (FROM moved.{table.name} WHERE {where})"
            " SELECT (SELECT count(*) FROM ours) AS row_count,"
            " (SELECT count(*) FROM (FROM ours EXCEPT ALL FROM theirs))"
            " + (SELECT count(*) FROM (FROM theirs EXCEPT ALL FROM ours)) AS different",
        )
        if compared["different"]:
            raise WarehouseError(f"{table.name}: {compared['different']} rows are not the same in the lake: move again")
        rows += compared["row_count"]
    return rows


def _ranges(connection: Connection, table: Table) -> Iterator[str]:
    """Conditions, each for so many of the table's rows as fit in memory, that together cover all of them."""
    if "usage_date" not in [column.name for column in table.columns]:
        yield "true"
        return
    counted = run(
        connection,
        f"SELECT usage_date, count(*) AS row_count FROM moved.{table.name} GROUP BY usage_date ORDER BY usage_date",
    )
    for days in portions({row["usage_date"]: row["row_count"] for row in counted}):
        yield f"usage_date BETWEEN '{days[0]}' AND '{days[-1]}'"


def _copy_build_log(connection: Connection, stamps: dict[tuple[str, date], FileStamp]) -> None:
    """Notes what was built, with the exports as they are where they arrived."""
    written: list[Entry] = []
    entries = BUILD_LOG.sql("entries").replace(f"FROM {BUILD_LOG.name}", f"FROM moved.{BUILD_LOG.name}")
    for row in run(connection, entries):
        size, mark = stamps.get((row["asset"], row["usage_date"]), (None, None))
        written.append(Entry(**{**row, "export_size": size, "export_mtime_ns": mark}))
    if written:
        build_log.write(connection, written, datetime.now(timezone.utc))
