"""Landing zones that are hard to build right, the processes that build them, and whether the tables are right."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from unittest.mock import patch

from cdr_assets.database import quoted
from cdr_assets.days import ranges
from cdr_assets.landing.ingest import ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.places import LAKE, Places
from cdr_assets.postgres import Postgres
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import (
    ATTENDANCE,
    CALL_DETAIL_RECORDS,
    CONFERENCE_USAGE,
    DAILY_TABLES,
    ROOM_USAGE,
    TABLES,
)
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.landing.test_ingest import batches, one
from cdr_assets_tests.reference import Record, utc_day
from cdr_assets_tests.reference.hostile import hostile_days

SOME_TABLES = (CALL_DETAIL_RECORDS, ROOM_USAGE, CONFERENCE_USAGE, ATTENDANCE)
"""Those whose rows move between days and conferences, and one that is summed from them."""

DAYS_AT_ONCE = 8

PARTLY = {
    "build_log": "SELECT * EXCLUDE (built_at, export_size, export_mtime_ns) FROM {} WHERE asset <> 'check_findings'"
}
"""Of these tables something is always different. What is found in answers is not found again in what landed."""


def on_lake(folder: Path, postgres: str, landing: str | None = None) -> Places:
    """A lake in that database, with its rows and the landing zone in a bucket, or else in the folder."""
    return Places.read(folder, f"{LAKE}{postgres}", landing)


def land_hostile(zone: LandingZone, seed: int, most: int | None = None) -> list[date]:
    """Lands hostile records of the first `most` days, or of all; then answers in which some changed, or moved by up to
    three days. Returns the days.
    """
    rng, now = Random(seed), {}
    for day, records in [*hostile_days(seed).items()][:most]:
        now.update({str(record["cdr_id"]): record for record in records})
        ingest(zone, one(batches(*records)), "period", [day])
    changed = rng.sample(sorted(now), len(now) // 6)
    days = {utc_day(now[cdr_id]) for cdr_id in changed}
    for cdr_id in changed:
        now[cdr_id] = restated(rng, now[cdr_id])
    for day in sorted(days | {utc_day(now[cdr_id]) for cdr_id in changed}):
        of_day = [record for record in now.values() if utc_day(record) == day]
        ingest(zone, one(batches(*of_day)), "period", [day])
    return sorted(zone.days())


def restated(rng: Random, record: Record) -> Record:
    """A newer version of the record, on its own day or on one near to it."""
    if rng.random() < 0.5:
        return {**record, "call_num": "restated"}
    dated = datetime.fromisoformat(str(record["trans_date"]).replace("Z", "+00:00"))
    return {**record, "trans_date": (dated + timedelta(days=rng.randint(-3, 3))).isoformat()}


def build_until_done(
    warehouse: Warehouse,
    zone: LandingZone,
    days: Sequence[date],
    again: bool = False,
    tables: Sequence[Table] = DAILY_TABLES,
) -> None:
    """Builds each of the days, once more those that are built already if `again`; then those that are due."""
    some_days = ranges(days, most=DAYS_AT_ONCE)
    while some_days:
        with warehouse.connect() as connection:
            list(warehouse.build_days(connection, some_days.pop(0), tables, zone, skip_current=not again))
        if not some_days:
            built = warehouse.built_days(tables)
            due = [day for day, version in zone.days().items() if built.get(day) != version]
            again, some_days = False, ranges(due, most=DAYS_AT_ONCE)


def in_processes(count: int, work: Callable[..., None], *arguments: object) -> list[int | None]:
    """Runs `work(number, count, ...)` in so many processes at once. Returns their exit codes."""
    # Each begins with these modules, whose import takes longer than most of what it does.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "cdr_assets_tests.scale.test_lake"])
    processes = [context.Process(target=work, args=(number, count, *arguments)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()
    return [process.exitcode for process in processes]


def build_share(number: int, count: int, places: Places, days: Sequence[date], again: bool, locks: bool) -> None:
    """Builds SOME_TABLES on one of `count` shares of the days. Without `locks` nobody waits for anybody."""
    unlocked = patch.object(Postgres, "lock", lambda *_: nullcontext(_Unlocked()))
    with nullcontext() if locks else unlocked:
        warehouse = Warehouse(places, patience_s=PATIENCE_S)
        build_until_done(warehouse, LandingZone(places), _share(days, number, count), again, SOME_TABLES)


def _share(days: Sequence[date], number: int, count: int) -> Sequence[date]:
    """Adjacent days, since these are built together."""
    return days[len(days) * number // count : len(days) * (number + 1) // count]


class _Unlocked:
    def check(self) -> None:
        pass


def differences(lake: Places, file: Path) -> list[str]:
    """The tables that do not have the same columns and the same rows, as often, in the lake and in the DuckDB file."""
    found = []
    with Warehouse(lake).reading() as connection:
        connection.execute(f"ATTACH {quoted(str(file))} AS plain (READ_ONLY)")
        for table in _compared():
            columns = (
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{}' AND database_name = '{}' "
                "ORDER BY column_index"
            )
            ours, theirs = (
                connection.execute(columns.format(table, database)).fetchall() for database in ("cdr", "plain")
            )
            if ours != theirs:
                found.append(f"{table}: columns {ours} and {theirs}")
            for sides in (("cdr", "plain"), ("plain", "cdr")):
                rows = PARTLY.get(table, "FROM {}")
                one_side, other_side = (rows.format(f"{database}.{table}") for database in sides)
                statement = f"SELECT count(*) FROM (({one_side}) EXCEPT ALL ({other_side}))"
                ((only,),) = connection.execute(statement).fetchall()
                if only:
                    found.append(f"{table}: {only} rows only in {sides[0]}")
    return found


def _compared() -> Iterable[str]:
    # Findings say when they were found.
    return [table.name for table in TABLES if table.name != "check_findings"]
