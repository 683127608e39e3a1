"""What a failed step says quotes no value of a record."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from cdr_assets.enablex.errors import BadParameter
from cdr_assets.pipeline.failures import without_values

STATEMENTS = [
    "SELECT 'Zoya Quillfeather'::INTEGER",
    "SELECT strptime('Zoya Quillfeather', '%Y')",
    """SELECT '{"user": {"name": "Zoya", "ip": Quillfeather}}'::JSON""",
    "CREATE TABLE t (name VARCHAR PRIMARY KEY); INSERT INTO t VALUES ('Zoya'), ('Zoya')",
    "SELECT enum_code('Zoya'::ENUM ('Quill', 'feather'))",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_words_of_duckdb_are_shown_without_the_values_in_them(statement: str) -> None:
    with duckdb.connect() as connection, pytest.raises(duckdb.Error) as caught:
        connection.execute(statement)
    shown = without_values(caught.value)
    assert "Zoya" in str(caught.value)
    assert not {word for word in ("Zoya", "Quill", "feather") if word in str(shown)}
    assert type(shown) is caught.type
    assert shown.__traceback__ is caught.value.__traceback__
    assert (shown.__cause__, shown.__context__) == (None, None)


def test_the_file_that_duckdb_names_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "usage_date=2026-11-01" / "broken.ndjson"
    file.parent.mkdir()
    file.write_text('{"a": Zoya}')
    with duckdb.connect() as connection, pytest.raises(duckdb.Error) as caught:
        connection.execute("FROM read_json($1, format = 'newline_delimited', columns = {a: 'VARCHAR'})", [str(file)])
    assert str(file) in str(without_values(caught.value))


def test_what_the_system_said_is_shown() -> None:
    said = (
        'Async write failed for range [offset=1, size=2]: {"exception_message":"Ann, \'x\': No space left on device"}'
    )
    assert str(without_values(duckdb.IOException(said))) == (
        "Async write failed for range [offset=1, size=2]: {'…'}: No space left on device"
    )


def test_every_other_error_is_its_own() -> None:
    error = BadParameter("room_id is empty")
    assert without_values(error) is error
