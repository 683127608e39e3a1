"""DuckDB's extensions come from the packages of them without a check; all others need their signature."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pytest

from cdr_assets.lake import UNCHECKED, load_extensions


def test_an_extension_that_was_changed_is_not_loaded_behind_those_of_the_packages(tmp_path: Path) -> None:
    package = importlib.util.find_spec("duckdb_extension_httpfs")
    assert package
    assert package.submodule_search_locations
    (file,) = Path(package.submodule_search_locations[0]).rglob("httpfs.duckdb_extension")
    changed = tmp_path / "other.duckdb_extension"
    changed.write_bytes(file.read_bytes()[:-1] + b"?")
    with duckdb.connect(config=UNCHECKED) as connection:
        load_extensions(connection)
        with pytest.raises(duckdb.IOException, match="signature is either missing or invalid"):
            connection.execute(f"LOAD '{changed}'")
