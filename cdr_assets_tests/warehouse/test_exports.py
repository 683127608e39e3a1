from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.exports import ForeignExports
from cdr_assets.warehouse.tables import DAILY_TABLES, TABLES
from cdr_assets_tests.expected import assert_exact, in_order, read, without_people
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import build, land, land_in

FIRST = date(2026, 9, 1)
WRITERS, DAYS_EACH, RECORDS_A_DAY = 12, 2, 40


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
            list(warehouse.build_days(connection, [day], DAILY_TABLES, zone))


def test_many_writers_and_a_reader_never_fail_and_the_reader_never_sees_half_a_partition(tmp_path: Path) -> None:
    days = [FIRST + timedelta(days=number) for number in range(WRITERS * DAYS_EACH)]
    everything = [record for day in days for record in records(day)]
    for day in days:
        land_in(LandingZone(tmp_path), day, 1, records(day))

    context = multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS)
    writers = [
        context.Process(target=write, args=(tmp_path, days[number::WRITERS], start)) for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    room_usage = tmp_path / "published" / "room_usage"
    seen = 0
    while any(writer.is_alive() for writer in writers):
        writers[0].join(timeout=0.1) if writers[0].is_alive() else writers[-1].join(timeout=0.1)
        if not any(room_usage.glob("*.parquet")):
            continue
        partitions = duckdb.execute(
            f"SELECT usage_date, sum(connections) AS connections FROM '{room_usage}/*.parquet' GROUP BY usage_date"
        ).fetchall()
        assert all(connections == RECORDS_A_DAY for _, connections in partitions)
        seen = max(seen, len(partitions))
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert seen > 0
    assert_exact(tmp_path / "cdr.duckdb", everything)
    for table in DAILY_TABLES:
        result = duckdb.execute(f"SELECT * FROM '{tmp_path}/published/{table.name}/*.parquet'")
        names = [column[0] for column in result.description]
        published = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        in_table = read(tmp_path / "cdr.duckdb", table.name)
        same = [in_order(without_people(table, rows)) for rows in (published, in_table)]
        assert same[0] == same[1], table.name


# Permissions


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def usual_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    former = os.umask(request.param)
    yield
    os.umask(former)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def export_a_day(tmp_path: Path, export_dir: Path | None) -> Warehouse:
    """Builds and exports a day with a finding, twice: also a file that is replaced has its permissions."""
    warehouse = Warehouse(tmp_path / "data" / "cdr.duckdb", export_dir or "")
    record = {"cdr_id": "a", "trans_date": f"{FIRST}T10:00:00Z", "room": {"room_id": "r", "duration": "an hour"}}
    for name in ("1", "2"):
        build(warehouse, FIRST, [land(tmp_path, name, [record])])
    return warehouse


@pytest.mark.usefixtures("usual_umask")
def test_exports_outside_can_be_read_by_others_and_the_data_folder_cannot(tmp_path: Path) -> None:
    export_dir = tmp_path / "srv" / "bi" / "cdr"
    warehouse = export_a_day(tmp_path, export_dir)
    tables = [table.name for table in TABLES if table.exported]
    assert modes(tmp_path / "srv") == {
        "bi": 0o755,
        "bi/cdr": 0o755,
        "bi/cdr/.project": 0o644,
        "bi/cdr/README.md": 0o644,
        **{f"bi/cdr/{table}": 0o755 for table in tables},
        **{f"bi/cdr/{table}/{FIRST}.parquet": 0o644 for table in tables},
    }
    assert (tmp_path / "srv").stat().st_mode & 0o777 == 0o755
    assert warehouse.places.file.parent.stat().st_mode & 0o777 == 0o700
    own = modes(warehouse.places.file.parent)
    assert own["cdr.duckdb"] == own["cdr.duckdb.lock"] == own["people.key"] == 0o600
    assert not (warehouse.places.file.parent / "published").exists()


def test_exports_of_other_data_are_refused_and_those_of_moved_data_are_not(tmp_path: Path) -> None:
    def build_in(data: str, day: date) -> None:
        warehouse = Warehouse(tmp_path / data / "cdr.duckdb", tmp_path / "srv")
        build(warehouse, day, [land(tmp_path, str(day), [{"cdr_id": "a", "trans_date": f"{day}T10:00:00Z"}])])

    build_in("one", FIRST)
    before = modes(tmp_path / "srv")
    with pytest.raises(ForeignExports, match=f"set CDR_EXPORT_DIR.*delete {tmp_path}/srv/.project") as error:
        build_in("two", FIRST + timedelta(days=1))
    assert error.value.permanent
    assert modes(tmp_path / "srv") == before
    (tmp_path / "one").rename(tmp_path / "moved")
    build_in("moved", FIRST)


@pytest.mark.usefixtures("usual_umask")
def test_folders_of_somebody_else_keep_their_permissions(tmp_path: Path) -> None:
    export_dir = tmp_path / "srv"
    export_dir.mkdir()
    export_dir.chmod(0o2750)
    export_a_day(tmp_path, export_dir)
    assert export_dir.stat().st_mode & 0o7777 == 0o2750
    assert (export_dir / "room_usage").stat().st_mode & 0o7777 == 0o2755, "its group is passed on"


@pytest.mark.usefixtures("usual_umask")
def test_exports_in_the_data_folder_are_behind_its_own_permissions(tmp_path: Path) -> None:
    warehouse = export_a_day(tmp_path, None)
    assert warehouse.places.file.parent.stat().st_mode & 0o777 == 0o700
    own = modes(warehouse.places.file.parent)
    assert own["published"] == own["published/room_usage"] == 0o755
    assert own[f"published/room_usage/{FIRST}.parquet"] == 0o644
