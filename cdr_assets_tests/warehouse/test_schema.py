"""The tables as the registry has them: made, described, and brought up to date in an older database."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pytest

from cdr_assets.warehouse import schema
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, DAILY_TABLES, ROOM_USAGE, TABLES
from cdr_assets_tests.changed_package import ChangedPackage
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import build, land

DAY = date(2026, 11, 2)
RECORD: Record = {"cdr_id": "a", "app_id": "app", "trans_date": f"{DAY}T10:00:00Z", "room": {"room_id": "r"}}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data" / "cdr.duckdb")


def columns(connection: duckdb.DuckDBPyConnection, table: Table) -> list[tuple[str, str, str]]:
    """The table's columns as a shell or a BI tool sees them."""
    return connection.execute(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
        [table.name],
    ).fetchall()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_database_describes_every_table_and_column(warehouse: Warehouse, table: Table) -> None:
    with warehouse.connect() as connection:
        made = columns(connection, table)
        (comment,) = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE table_name = ?", [table.name]
        ).fetchone() or ("",)
    assert made == [tuple(column) for column in table.columns]
    assert all(description for _, _, description in made)
    assert comment == table.meaning != ""


def test_a_second_opening_changes_nothing(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        assert not schema.prepare(connection)
        connection.execute("COMMENT ON COLUMN room_usage.room_id IS 'mine'")
    with warehouse.connect() as connection:
        assert ("room_id", "VARCHAR", "room; NULL gathers records that name none") in columns(connection, ROOM_USAGE)


def test_a_table_whose_columns_changed_keeps_its_rows_until_they_are_built_again(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("ALTER TABLE room_usage DROP COLUMN app_id")
        connection.execute("ALTER TABLE room_usage ADD COLUMN retired INTEGER")
        connection.execute("ALTER TABLE room_usage ALTER COLUMN connections TYPE VARCHAR")
        connection.execute("INSERT INTO room_usage BY NAME SELECT 'r' AS room_id, '7' AS connections, 1 AS retired")
    with warehouse.connect() as connection:
        assert columns(connection, ROOM_USAGE) == [tuple(column) for column in ROOM_USAGE.columns]
        assert connection.execute("SELECT room_id, connections, app_id FROM room_usage").fetchall() == [("r", 7, None)]


def test_the_file_can_be_opened_by_every_supported_duckdb(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'cdr'").fetchone()
    assert "v1.5.0" in str(tags)


def test_the_older_duckdb_reads_what_this_one_wrote(warehouse: Warehouse, tmp_path: Path) -> None:
    build(warehouse, DAY, [land(tmp_path, "1", [RECORD])])
    older = Path(sys.executable).parents[1] / "duckdb-1.5"
    if not older.exists():
        pytest.skip("make test installs an older DuckDB in .venv/duckdb-1.5")
    program = (
        "import duckdb, sys; assert duckdb.__version__.startswith('1.5'); "
        "print(duckdb.connect(sys.argv[1], read_only=True).execute('SELECT room_id FROM room_usage').fetchall())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(warehouse.places.file)],
        env={"PYTHONPATH": str(older)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "[('r',)]\n"


def test_files_are_their_owners_alone_in_a_folder_that_others_can_read(warehouse: Warehouse) -> None:
    warehouse.places.file.parent.mkdir(mode=0o755)
    with warehouse.connect() as connection:
        connection.execute("INSERT INTO room_usage BY NAME SELECT 'r' AS room_id")
        modes = {path.name: path.stat().st_mode & 0o777 for path in warehouse.places.file.parent.rglob("*")}
    assert modes == {
        **dict.fromkeys(("cdr.duckdb", "cdr.duckdb.wal", "cdr.duckdb.lock", "log"), 0o600),
        "built": 0o700,
    }


def test_a_file_that_others_could_read_is_its_owners_alone_once_it_was_opened(warehouse: Warehouse) -> None:
    warehouse.places.file.parent.mkdir()
    duckdb.connect(warehouse.places.file).close()
    warehouse.places.file.chmod(0o644)
    with warehouse.connect():
        pass
    assert warehouse.places.file.stat().st_mode & 0o777 == 0o600


# Fingerprints


def test_the_fingerprint_of_a_table_follows_the_sql_that_builds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints = {table: replace(table).fingerprint for table in DAILY_TABLES}
    assert len(set(fingerprints.values())) == len(DAILY_TABLES)
    changed_source = replace(CALL_DETAIL_RECORDS, name="room_usage", sources=())
    assert replace(ROOM_USAGE, sources=(changed_source,)).fingerprint != ROOM_USAGE.fingerprint


def test_a_check_does_not_count_for_the_fingerprint() -> None:
    without_checks = replace(ROOM_USAGE, checks=())
    assert without_checks.fingerprint != ROOM_USAGE.fingerprint, "its statement counts as one that builds the table"
    renamed = replace(ROOM_USAGE, description="other words", grain="other words")
    assert renamed.fingerprint == ROOM_USAGE.fingerprint


def test_what_is_only_shown_does_not_count_for_the_fingerprint(tmp_path: Path) -> None:
    program = (
        "from cdr_assets.warehouse.tables import ROOM_USAGE; import json; print(json.dumps(ROOM_USAGE.fingerprint))"
    )
    package = ChangedPackage(tmp_path)
    for statement in ("metadata", *ROOM_USAGE.lists):
        package.replace(f"warehouse/sql/room_usage/{statement}.sql", "FROM room_usage", "FROM (FROM room_usage)")
    assert package.run(program) == ROOM_USAGE.fingerprint
    package.replace("warehouse/sql/room_usage/insert.sql", "INSERT INTO room_usage", "INSERT INTO main.room_usage")
    assert package.run(program) != ROOM_USAGE.fingerprint
