"""What must hold of a data folder, computed in other ways than the project computes it."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import zstandard

from cdr_assets.data_folder import STATUS_FILE, DataFolder
from cdr_assets.landing.zone import LandingZone
from cdr_assets.storage import Readable
from cdr_assets.warehouse import dictionary
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import BUILD_LOG, CHECK_FINDINGS, DAILY_TABLES, TABLES
from cdr_assets_tests import reference
from cdr_assets_tests.reference import Record, tables
from cdr_assets_tests.soak.processes import Difference
from cdr_assets_tests.soak.world import revision

SHOWN = 5
UNFINISHED = (
    "landing/.staging*/*",
    "landing/.drafts/*",
    "**/*.draft",
    "**/*.part",
    "**/*.tmp",
    "**/*.wal",
    "runs/*.lock",
)

Lines = dict[date, Counter[bytes]]
"""Landed records as received, by the UTC day of their folder, with how often each is there."""


def landed_lines(data_dir: Path) -> Lines:
    """Every record in the landing zone."""
    zone, lines = LandingZone(data_dir), Lines()
    for folder in DataFolder(data_dir).landing.glob("usage_date=*"):
        day = date.fromisoformat(folder.name.removeprefix("usage_date="))
        lines[day] = Counter(line for file in zone.files(day) for line in read_lines(file.path))
    return lines


def read_lines(file: Readable) -> list[bytes]:
    """The records of one landed file."""
    with file.open("rb") as packed:
        text = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
        return [line for line in text.split(b"\n") if line]


def check_landing_zone(landed: Lines, served: Lines, required: Mapping[date, Iterable[bytes]]) -> None:
    """Every landed record was served as it is, and every required one landed."""
    for day, lines in landed.items():
        if foreign := sorted(set(lines) - set(served.get(day, ()))):
            raise Difference(f"{len(foreign)} landed records of {day} were never served so: {foreign[:SHOWN]}")
    for day, wanted in required.items():
        if lost := sorted(set(wanted) - set(landed.get(day, ()))):
            raise Difference(f"{len(lost)} records of {day} that landed once are lost: {lost[:SHOWN]}")


def newest(landed: Lines) -> list[Record]:
    """The newest version of each landed record."""
    found: dict[str, Record] = {}
    for line in (line for lines in landed.values() for line in lines):
        record = json.loads(line)
        if record["cdr_id"] not in found or revision(found[record["cdr_id"]]) < revision(record):
            found[record["cdr_id"]] = record
    return list(found.values())


def check_tables(warehouse: Path, records: Sequence[Record]) -> None:
    """The tables hold these records, and what follows from them in plain Python whenever they landed."""
    with duckdb.connect(warehouse, read_only=True) as connection:
        columns = "usage_date, cdr_id, call_num, room_duration_s"
        same_rows(
            "call_detail_records",
            rows(connection, f"SELECT {columns} FROM call_detail_records"),
            [(reference.utc_day(each), each["cdr_id"], each["call_num"], reference.seconds(each)) for each in records],
            "plain Python",
        )
        typed = [reference.typed(each) for each in records]
        for name, wanted in (
            ("room_usage", tables.room_usage(typed)),
            ("conference_usage", tables.conference_usage(typed)),
            ("attendance", tables.attendance(typed)),
            ("owner_usage", tables.owner_usage(typed, [])),
            ("connection_quality", tables.connection_quality(typed)),
            ("client_usage", tables.client_usage(typed)),
        ):
            names = sorted(wanted[0]) if wanted else ["usage_date"]
            found = rows(connection, f"SELECT {', '.join(names)} FROM {name}")
            same_rows(name, found, [tuple(row[column] for column in names) for row in wanted], "plain Python")


def check_against_scratch(warehouse: Path, scratch: Path) -> None:
    """All tables have the rows of a warehouse that was built from the same landing zone from nothing."""
    with duckdb.connect(warehouse, read_only=True) as ours, duckdb.connect(scratch, read_only=True) as other:
        for table in table_names(other):
            if table == BUILD_LOG.name:
                continue  # It also has the times of the exports, which differ. Its partitions are compared below.
            query = f"SELECT {', '.join(compared_columns(other, table))} FROM {table}"
            if table == CHECK_FINDINGS.name:
                # The findings on answers, and on other routes' answers, are not computed from what landed.
                assets = ", ".join(f"'{each.name}'" for each in DAILY_TABLES)
                query += f" WHERE asset IN ({assets}) AND check_name <> 'routes_agree'"
            same_rows(table, rows(ours, query), rows(other, query), "a warehouse built from nothing")
    built, built_other = (Warehouse(path).built_days() for path in (warehouse, scratch))
    same_rows("the build log", built.items(), built_other.items(), "a warehouse built from nothing")


def check_exports(warehouse: Path, exports: Path) -> None:
    """The Parquet files are the rows of the tables, each file one day, and there is no other file."""
    with duckdb.connect(warehouse, read_only=True) as connection:
        for table in TABLES:
            if table.exported:
                _check_export(connection, table, exports / table.name)
    files = (path for path in exports.rglob("*") if path.is_file())
    known = (exports / dictionary.FILE, exports / STATUS_FILE)
    others = [path for path in files if path.suffix != ".parquet" and path not in known]
    if others:
        raise Difference(f"files that are no exports: {others[:SHOWN]}")


def _check_export(connection: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> None:
    by_day = defaultdict[date, list[Any]](list)
    # The others are left out or hashed.
    columns = ", ".join(column.name for column in table.exported_columns if column in table.columns)
    for row in rows(connection, f"SELECT usage_date, {columns} FROM {table.name}"):
        by_day[row[0]].append(row[1:])
    files = {date.fromisoformat(path.stem): path for path in folder.glob("*.parquet")}
    if missing := sorted(set(by_day) - set(files)):
        raise Difference(f"{table.name} has no export of {missing}")
    for day, file in files.items():
        found = rows(connection, f"SELECT {columns} FROM read_parquet('{file}')")
        same_rows(str(file), found, by_day[day], f"the table {table.name}")


def check_leftovers(data_dir: Path) -> None:
    """Nothing is left of runs that were killed."""
    left = [path for pattern in UNFINISHED for path in data_dir.glob(pattern)]
    if left:
        raise Difference(f"left of killed runs: {left[:SHOWN]}")


def table_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = rows(connection, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' AND NOT internal")
    return sorted(name for (name,) in found)


def compared_columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """The columns of a table that say nothing of when it was built."""
    found = rows(connection, f"SELECT column_name FROM (DESCRIBE {table})")
    computed = {each.name for each in DAILY_TABLES}
    return [name for (name,) in found if table in computed or not name.endswith("_at")]


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return connection.execute(query).fetchall()


def same_rows(name: str, found: Iterable[Any], wanted: Iterable[Any], source: str) -> None:
    """Raises Difference unless both have the same rows, in any order."""
    found_rows, wanted_rows = Counter(map(repr, found)), Counter(map(repr, wanted))
    more, less = found_rows - wanted_rows, wanted_rows - found_rows
    if more or less:
        said = [f"{name} differs from {source}: {more.total()} rows too many, {less.total()} missing"]
        said += [f"  too many {row}" for row in sorted(more)[:SHOWN]]
        said += [f"  missing  {row}" for row in sorted(less)[:SHOWN]]
        raise Difference("\n".join(said))


def age_locks(data_dir: Path) -> None:
    """Makes the locks of killed runs look as old as they would be when a sensor finds them."""
    for path in DataFolder(data_dir).run_locks.glob("*.lock"):
        with suppress(FileNotFoundError):
            a_minute_ago = path.stat().st_mtime - 60
            os.utime(path, (a_minute_ago, a_minute_ago))
