from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from time import monotonic

import duckdb

from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.expected import assert_exact, in_order, read
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import land

FIRST = date(2026, 9, 1)
WRITERS, DAYS_EACH, RECORDS_A_DAY = 32, 2, 40
LONGEST_GAP_S = 2.0


def records(day: date) -> list[Record]:
    """A day's records, some of them of a conference that began the day before."""
    return [
        {
            "cdr_id": f"{day}-{number}",
            "trans_date": f"{day}T{number % 24:02}:00:00.000Z",
            "conf_num": f"{day - timedelta(days=number % 2)}-{number % 5}"
            if number % 7 == 0
            else f"{day}-{number % 5}",
            "room": {"room_id": f"room-{number % 3}", "duration": 60 + number},
            "user": {"ref": f"user-{number % 11}"},
        }
        for number in range(RECORDS_A_DAY)
    ]


def write(folder: Path, days: Sequence[date], start: multiprocessing.synchronize.Barrier) -> None:
    warehouse, zone = Warehouse(folder / "cdr.duckdb"), LandingZone(folder)
    start.wait()
    for day in days:
        with warehouse.connect() as connection:
            list(warehouse.build_day(connection, day, DAILY_TABLES, zone))


def test_many_writers_and_a_reader_never_fail_and_the_reader_never_waits_or_sees_half_a_partition(
    tmp_path: Path,
) -> None:
    days = [FIRST + timedelta(days=number) for number in range(WRITERS * DAYS_EACH)]
    everything = [record for day in days for record in records(day)]
    for day in days:
        partition = LandingZone(tmp_path).landing / f"usage_date={day}"
        partition.mkdir(parents=True)
        land(partition, "1", records(day))

    context = multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS)
    writers = [
        context.Process(target=write, args=(tmp_path, days[number::WRITERS], start)) for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    room_usage = tmp_path / "published" / "room_usage"
    seen, gaps, last = 0, [0.0], monotonic()
    while any(writer.is_alive() for writer in writers):
        writers[0].join(timeout=0.1) if writers[0].is_alive() else writers[-1].join(timeout=0.1)
        if not any(room_usage.glob("*.parquet")):
            last = monotonic()
            continue
        partitions = duckdb.execute(
            f"SELECT usage_date, sum(connections) AS connections FROM '{room_usage}/*.parquet' GROUP BY usage_date"
        ).fetchall()
        assert all(connections == RECORDS_A_DAY for _, connections in partitions)
        seen = max(seen, len(partitions))
        gaps.append(monotonic() - last)
        last = monotonic()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert seen > 0
    assert max(gaps) < LONGEST_GAP_S
    assert_exact(tmp_path / "cdr.duckdb", everything)
    for table in (table.name for table in DAILY_TABLES if table.exported):
        result = duckdb.execute(f"SELECT * FROM '{tmp_path}/published/{table}/*.parquet'")
        names = [column[0] for column in result.description]
        published = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        assert in_order(published) == in_order(read(tmp_path / "cdr.duckdb", table))
