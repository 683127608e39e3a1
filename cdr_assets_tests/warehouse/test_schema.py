"""The tables as the registry has them: made, described, and brought up to date in an older database."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
import ua_parser_builtins

from cdr_assets.database import transaction
from cdr_assets.warehouse import schema
from cdr_assets.warehouse.build import NO_FACTS, Warehouse
from cdr_assets.warehouse.table import SQL, Inputs, Table, code_of, read_sql
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, DAILY_TABLES, ROOM_USAGE, TABLES
from cdr_assets_tests.changed_package import ChangedPackage
from cdr_assets_tests.reference import Record
from cdr_assets_tests.warehouse.landed import Landed, build, land

DAY = date(2026, 11, 2)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
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


def test_a_comment_is_no_code_but_a_text_in_quotes_is() -> None:
    assert code_of("SELECT 1,\n    -- isn't\n    2;  -- 'two'\n") == code_of("SELECT 1, 2;")
    assert code_of("SELECT '-- a', \"b  --c\" -- d") == "SELECT '-- a', \"b  --c\""
    assert code_of("SELECT 'it''s -- a'") != code_of("SELECT 'it''s -- b'")
    assert code_of("SELECT 'a b'") != code_of("SELECT 'a  b'")


@pytest.mark.parametrize("table", DAILY_TABLES, ids=lambda table: table.name)
def test_a_table_reads_its_declared_sources_only(table: Table) -> None:
    # Tables that share statements find what they replace by each other's former rows: one of them may lack some.
    siblings = [each for each in DAILY_TABLES if {*each.shared_sql} & {*table.shared_sql}]
    declared = {table.name, *(each.name for each in (*siblings, *table.sources, *table.support))}
    read = {
        each.name: name
        for name in {name for each in (table, *table.support) for name in each.statements}
        for each in TABLES
        if re.search(rf"\b(FROM|JOIN|INTO|UPDATE|TABLE|USING) \(?(FROM )?{each.name}\b", code_of(read_sql(name)))
    }
    assert read.keys() <= declared, read


def test_the_statements_of_the_fingerprint_are_those_that_run_when_rows_are_built(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    opened: set[str] = set()
    sys.addaudithook(lambda event, about: opened.add(str(about[0])) if event == "open" else None)
    moved = [
        RECORD | {"trans_date": f"{DAY + timedelta(days=1)}T10:00:00Z", "room": {"room_id": number}} for number in "rs"
    ]
    answers = [
        (DAY, [RECORD]),
        (DAY + timedelta(days=1), [*moved, RECORD | {"cdr_id": "b", "room": 7, "user": {"agent": "x"}}]),
    ]
    landed = Landed({day: [land(tmp_path, str(day), records)] for day, records in answers})
    ran: dict[str, set[str]] = {table.name: set() for table in DAILY_TABLES}
    with warehouse.connect() as connection:
        for day in landed.by_day:
            for table in DAILY_TABLES:
                assert table.build is not None
                opened.clear()
                read_sql.cache_clear()
                with transaction(connection):
                    table.build(connection, table, [day], Inputs(landed, NO_FACTS))
                ran[table.name] |= {
                    str(Path(each).relative_to(str(SQL)))[:-4] for each in opened if each.endswith(".sql")
                }
    for table in DAILY_TABLES:
        known = {name for each in (table, *table.support, *table.sources) for name in each.statements}
        # The build log says what need not be typed again.
        assert {name for name in ran[table.name] if not name.startswith("build_log/")} <= known, table.name
        assert f"{table.name}/insert" in ran[table.name], table.name


# Builds a day in folders, and says what is built before, and what the client is called afterwards.
BUILD = """
import json, sys
from datetime import date
from pathlib import Path
from cdr_assets.warehouse.build import Warehouse
from cdr_assets_tests.expected import read
from cdr_assets_tests.warehouse.landed import build

day, file, *folders = sys.argv[1:]
said = []
for folder in folders:
    warehouse = Warehouse(Path(folder) / "cdr.duckdb")
    built = any(warehouse.built_partitions().values())
    build(warehouse, date.fromisoformat(day), [Path(file)])
    tables = ("clients", "attendance", "client_usage")
    said.append([built, *(row["client"] for table in tables for row in read(warehouse.places, table))])
print(json.dumps(said))
"""


def test_a_new_parser_of_agents_names_them_again_as_a_build_from_scratch_does(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    file = land(tmp_path, "1", [RECORD | {"user": {"agent": SAFARI}}])
    build(warehouse, DAY, [file])
    package = ChangedPackage(tmp_path)
    folders = [str(warehouse.places.data_dir), str(tmp_path / "scratch")]
    assert package.run(BUILD, str(DAY), str(file), folders[0]) == [[True, *["Mobile Safari 17 on iOS 17"] * 3]]

    patterns = Path(ua_parser_builtins.__file__).parent
    for folder in (patterns, *patterns.parent.glob("ua_parser_builtins-*.dist-info")):
        shutil.copytree(folder, tmp_path / folder.name)
    (about,) = tmp_path.glob("ua_parser_builtins-*.dist-info/METADATA")
    about.write_text(re.sub(r"^Version: .*", "Version: 999999", about.read_text(), flags=re.MULTILINE))
    for each in (tmp_path / patterns.name).glob("*.py"):
        each.write_text(each.read_text().replace("Mobile Safari", "Vivaldi"))
    assert package.run(BUILD, str(DAY), str(file), *folders) == [[False, *["Vivaldi 17 on iOS 17"] * 3]] * 2
