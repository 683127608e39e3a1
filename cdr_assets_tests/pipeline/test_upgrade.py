"""A data folder that is out of date is brought up to date by the sensors alone, from what landed."""

from __future__ import annotations

import shutil
from datetime import date, datetime, timezone
from pathlib import Path

import duckdb
import pytest

from cdr_assets.days import DAY, days_between
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.tables import CONFERENCE_USAGE, DAILY_TABLES, ROOM_USAGE
from cdr_assets_tests.expected import TABLES, assert_exact, in_order, read, without_people
from cdr_assets_tests.location import Locate, Location, Script, record
from cdr_assets_tests.reference import Record
from cdr_assets_tests.ticks import requested, tick_until_done

V0_1 = Path(__file__).resolve().parents[1] / "warehouse" / "v0_1"
COUNT = 4


@pytest.fixture
def span() -> list[date]:
    """Some closed days."""
    today = datetime.now(timezone.utc).date()
    return days_between(today - DAY * (COUNT + 1), today - DAY * 2)


def records_of(day: date) -> list[Record]:
    """Two calls of the day's own, one of a conference that goes on for all days, one of a project that is not named."""
    own, long = f"own-{day}", "long"
    return [
        record(f"a-{day}", day, app_id="app", conf_num=own),
        record(f"b-{day}", day, app_id="app", conf_num=own),
        record(f"c-{day}", day, app_id="app", conf_num=long),
        record(f"d-{day}", day, conf_num=long),
    ]


@pytest.fixture
def landed(locate: Locate, script: Script, span: list[date]) -> Location:
    """Days that one run landed and built; EnableX is not to be asked any more."""
    location = locate({**script.environment, "CDR_START_DATE": str(span[0])})
    for day in span:
        script.holds(day, *records_of(day))
    assert location.run(span[0], span[-1]).success
    script.paths.clear()
    return location


def all_records(span: list[date]) -> list[Record]:
    return [record for day in span for record in records_of(day)]


def columns(warehouse: Path, table: str) -> list[tuple[str, str]]:
    with duckdb.connect(warehouse, read_only=True) as connection:
        return connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
        ).fetchall()


def exported(location: Location, table: str) -> list[dict[str, object]]:
    result = duckdb.execute(f"FROM '{location.data_dir}/published/{table}/*.parquet'")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


# Faults of an old warehouse, by the statement that makes each.
WRONG: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "lengths": (
        "UPDATE call_detail_records SET room_duration_s = room_duration_s + 7",
        "UPDATE room_usage SET participant_minutes = 99, billable_minutes = 99",
        "UPDATE conference_usage SET participant_minutes = 99, peak_participants = 99",
    ),
    "rows that are missing": (
        "DELETE FROM call_detail_records WHERE cdr_id < 'c'",
        "DELETE FROM room_usage",
        "DELETE FROM conference_usage",
    ),
    "rows too many": (
        "INSERT INTO call_detail_records BY NAME "
        "SELECT * REPLACE ('ghost-' || cdr_id AS cdr_id, 'ghost' AS conf_num, 'ghost' AS room_id) "
        "FROM call_detail_records",
        "INSERT INTO room_usage SELECT * REPLACE ('ghost' AS room_id) FROM room_usage",
        "INSERT INTO conference_usage SELECT * REPLACE ('ghost' AS conf_num) FROM conference_usage",
        "INSERT INTO conference_usage SELECT * FROM conference_usage",
    ),
    "days": (
        "UPDATE call_detail_records SET usage_date = usage_date - 1 "
        "WHERE usage_date > (SELECT min(usage_date) FROM call_detail_records)",
        "UPDATE conference_usage SET usage_date = usage_date - 1, last_usage_date = last_usage_date + 9 "
        "WHERE usage_date > (SELECT min(usage_date) FROM call_detail_records)",
    ),
    "conferences and rooms": (
        "UPDATE call_detail_records SET conf_num = 'other', room_id = NULL, app_id = NULL",
        "UPDATE conference_usage SET conf_num = 'other'",
    ),
}


FORMER_TABLES = sorted(path.stem for path in V0_1.glob("*.sql"))


def make_old(location: Location, span: list[date], wrong: tuple[str, ...]) -> None:
    """Makes of the data folder what version 0.1 left of it: other columns, and a build log without fingerprints."""
    new, old = location.places.file.with_name("new.duckdb"), location.places.file
    old.rename(new)
    with duckdb.connect(old) as connection:
        connection.execute(f"ATTACH '{new}' AS new (READ_ONLY)")
        for table in FORMER_TABLES:
            connection.execute((V0_1 / f"{table}.sql").read_text())
            names = ", ".join(name for (name, *_) in connection.execute(f"DESCRIBE {table}").fetchall())
            connection.execute(f"INSERT INTO {table} BY NAME SELECT {names} FROM new.{table}")
        for statement in wrong:
            connection.execute(statement)
    new.unlink()
    for folder in ("built", "published"):
        shutil.rmtree(location.data_dir / folder)
    leave_former_build_log(location, span)


def leave_former_build_log(location: Location, days: list[date]) -> None:
    """The files by which versions before this one knew what was built."""
    for table in FORMER_TABLES:
        marks = location.data_dir / "built" / table
        marks.mkdir(parents=True)
        for day in days:
            (marks / f"{day}.{LandingZone(location.data_dir).version(day)}").touch()


@pytest.mark.parametrize("wrong", WRONG)
def test_a_data_folder_of_version_0_1_is_brought_up_to_date_by_the_sensors(
    landed: Location, script: Script, span: list[date], wrong: str
) -> None:
    make_old(landed, span, WRONG[wrong])
    assert "app_id" not in dict(columns(landed.places.file, "room_usage"))

    launched, reason = tick_until_done(landed, "landed_days")
    assert launched == [span]
    assert reason == f"the tables hold everything that landed, {COUNT} days"
    assert_exact(landed.places, all_records(span))
    for table in DAILY_TABLES:
        assert columns(landed.places.file, table.name) == [(column.name, column.type) for column in table.columns]
    for table in (ROOM_USAGE, CONFERENCE_USAGE):
        in_files, in_table = exported(landed, table.name), read(landed.places, table.name)
        assert in_order(without_people(table, in_files)) == in_order(without_people(table, in_table))
    assert read(landed.places, "check_findings") == []
    assert script.paths == [], "what landed is enough"


def test_an_up_to_date_folder_is_left_alone(landed: Location, script: Script, span: list[date]) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        kept = (path for path in landed.data_dir.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in kept}

    before = files()
    assert tick_until_done(landed, "landed_days") == ([], f"the tables hold everything that landed, {COUNT} days")
    assert files() == before
    assert script.paths == []


def test_a_deleted_warehouse_is_built_again_from_what_landed(
    landed: Location, script: Script, span: list[date]
) -> None:
    landed.places.file.unlink()
    assert tick_until_done(landed, "landed_days")[0] == [span]
    assert_exact(landed.places, all_records(span))
    assert script.paths == []


def test_days_that_another_statement_built_are_built_again_and_no_other_day(
    landed: Location, script: Script, span: list[date]
) -> None:
    assert landed.definitions.resources
    warehouse = landed.definitions.resources["warehouse"].warehouse
    with duckdb.connect(landed.places.file) as connection:
        connection.execute(
            "UPDATE build_log SET fingerprint = '0123456789ab' WHERE asset = 'room_usage' AND usage_date IN ?",
            [span[1:3]],
        )
        # On a day that is not due, so it stays.
        connection.execute("UPDATE room_usage SET connections = 0 WHERE usage_date = ?", [span[0]])
    built = {table: set(days) for table, days in warehouse.built_partitions().items()}
    assert built == {table: {span[0], span[3]} if table == "room_usage" else set(span) for table in TABLES}
    assert tick_until_done(landed, "landed_days")[0] == [span[1:3]]
    assert all(set(days) == set(span) for days in warehouse.built_partitions().values())
    by_day = {row["usage_date"]: row["connections"] for row in read(landed.places, "room_usage") if row["app_id"]}
    assert by_day == {span[0]: 0, **dict.fromkeys(span[1:], 3)}
    assert script.paths == []


def test_what_an_earlier_version_built_after_this_one_is_built_again(landed: Location, span: list[date]) -> None:
    with duckdb.connect(landed.places.file) as connection:
        connection.execute("UPDATE room_usage SET participant_minutes = 99")
    leave_former_build_log(landed, span[:1])
    assert tick_until_done(landed, "landed_days")[0] == [span]
    assert_exact(landed.places, all_records(span))
    assert [path.name for path in (landed.data_dir / "built").iterdir()] == ["log"]


def test_a_run_that_died_half_way_through_an_upgrade_is_gone_on_with(landed: Location, span: list[date]) -> None:
    make_old(landed, span, WRONG["lengths"])
    assert landed.run(span[0], assets=TABLES).success
    assert requested(landed, "landed_days") == [span[1:]]
    tick_until_done(landed, "landed_days")
    assert_exact(landed.places, all_records(span))
