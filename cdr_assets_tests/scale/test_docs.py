"""What docs/scale.md tells readers to run is run, and what it names is there."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import duckdb
import psycopg
import pytest

from cdr_assets.cli import main
from cdr_assets.lake import Lake, load_extensions
from cdr_assets.postgres import Postgres
from cdr_assets_tests.scale import S3

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "docs" / "scale.md").read_text(encoding="utf-8")


def statements(first: str) -> list[str]:
    """Those of the block of SQL that begins with these words."""
    (block,) = (block for block in re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL) if block.startswith(first))
    return [statement.strip() for statement in re.sub(r" +--.*", "", block).split(";") if statement.strip()]


@pytest.fixture
def lake(postgres: str, bucket: str, tmp_path: Path) -> Lake:
    made = Lake(Postgres(postgres), f"{bucket}/lake/", tmp_path)
    with made.connect() as connection:
        connection.execute("CREATE TABLE room_usage (usage_date DATE, participant_minutes INTEGER)")
        connection.execute("INSERT INTO room_usage VALUES (DATE '2026-11-02', 5), (DATE '2026-10-31', 7)")
    return made


def test_a_reader_with_the_rights_that_are_named_reads_and_cannot_write(lake: Lake, postgres: str) -> None:
    parts = dict(part.split("=") for part in postgres.split())
    # Roles are those of the whole server.
    reader = f"reader_{parts['dbname']}"

    def here(statement: str) -> str:
        statement = re.sub(r"\breader\b", reader, statement).replace("DATABASE lake", f"DATABASE {parts['dbname']}")
        address = f"HOST '{parts['host']}', PORT '{parts['port']}'"
        statement = statement.replace("HOST 'db.example.com'", address).replace("'lake'", f"'{parts['dbname']}'")
        store = f"KEY_ID 'key', SECRET 'secret', ENDPOINT '{S3.partition('//')[2]}', URL_STYLE 'path', USE_SSL false"
        return statement.replace("KEY_ID '...', SECRET '...'", store)

    with psycopg.connect(postgres, autocommit=True) as owner:
        for statement in statements("CREATE ROLE"):
            owner.execute(here(statement))
        try:
            with duckdb.connect() as connection:
                load_extensions(connection)
                asked = [statement for statement in statements("INSTALL") if not statement.startswith("INSTALL")]
                *attaching, now, _ = map(here, asked)
                for statement in attaching:
                    connection.execute(statement)
                assert connection.execute(now).fetchall() == [(date(2026, 11, 2), 5)]
                with pytest.raises(duckdb.Error, match="read-only"):
                    connection.execute("DELETE FROM cdr.room_usage")
                connection.execute("DETACH cdr")
                connection.execute(attaching[-1].replace("READ_ONLY, ", ""))
                with pytest.raises(duckdb.Error, match="permission denied"):
                    connection.execute("DELETE FROM cdr.room_usage")
            # What the writers add from now on can be read, too.
            with lake.connect() as writing:
                writing.execute("CREATE TABLE daily_usage AS SELECT 1 AS connections")
            with duckdb.connect() as connection:
                load_extensions(connection)
                for statement in attaching:
                    connection.execute(statement)
                assert connection.execute("FROM cdr.daily_usage").fetchall() == [(1,)]
        finally:
            owner.execute(f"DROP OWNED BY {reader}")
            owner.execute(f"DROP ROLE {reader}")


def test_a_reader_sees_the_lake_as_it_was(lake: Lake) -> None:
    (*_, as_it_was) = statements("INSTALL")
    with lake.connect() as connection:
        # In the time of the newest snapshot but one.
        ((before,),) = connection.execute("SELECT max(snapshot_time)::VARCHAR FROM cdr.snapshots()").fetchall()
        connection.execute("DELETE FROM room_usage")
        moment = f"TIMESTAMPTZ '{before}'"
        found = connection.execute(as_it_was.replace("now() - INTERVAL 1 DAY", moment)).fetchall()
    assert len(found) == 2


def test_the_variables_that_are_named_are_those_of_the_readme() -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    of_readme = set(re.findall(r"^\| `(CDR_\w+)`", readme, re.MULTILINE))
    assert set(re.findall(r"\bCDR_\w+", TEXT)) <= of_readme


def test_the_commands_and_the_files_that_are_named_are_there() -> None:
    commands = set(re.findall(r"\bcdr-assets ([a-z-]+)", TEXT))
    assert commands <= set(main.commands)
    for name in re.findall(r"^\| `([\w.-]+)` \|", TEXT.partition("| file |")[2].partition("###")[0], re.MULTILINE):
        assert (CHECKOUT / "deploy" / name).exists(), name
