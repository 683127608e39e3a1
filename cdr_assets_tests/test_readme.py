"""The README names what there is: each table, check, asset, job, schedule and sensor, and no other."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import duckdb
import pytest

from cdr_assets.definitions import code_location
from cdr_assets.pipeline.checks import CHECKS
from cdr_assets.warehouse.tables import TABLES
from cdr_assets_tests.location import Location

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the first table below a heading, without the table's head."""
    _, found, section = README.partition(f"\n{heading}\n")
    assert found, f"the README has no heading {heading!r}"
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", re.split(r"^#", section, flags=re.MULTILINE)[0], re.MULTILINE)
    assert table, f"the README has no table below {heading!r}"
    return [row.strip("|").strip().split(" | ") for row in table[1].splitlines()]


def names(heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    return sorted(row[0].strip("`") for row in rows(heading))


def yes(value: bool) -> str:
    return "yes" if value else "no"


def test_each_table_has_the_row_that_its_entry_in_the_registry_gives() -> None:
    assert rows("## The tables") == [[f"`{table.name}`", table.grain, yes(table.exported)] for table in TABLES]


def test_each_check_has_the_row_that_its_entry_gives() -> None:
    assert rows("### Checks") == [
        [f"`{check.name}`", f"`{asset}`", yes(check.blocking), check.meaning]
        for asset, checks in CHECKS.items()
        for check in checks
    ]


def test_the_checks_of_the_readme_are_those_of_the_code_location() -> None:
    assert names("### Checks") == sorted(key.name for key in code_location({}).resolve_asset_graph().asset_check_keys)


def test_each_asset_is_named() -> None:
    keys = code_location({}).resolve_asset_graph().get_all_asset_keys()
    assert names("## The assets") == sorted(key.to_user_string() for key in keys)


def test_each_job_is_named() -> None:
    assert names("### Jobs") == sorted(job.name for job in code_location({}).jobs or ())


def test_each_sensor_is_named() -> None:
    assert names("### Sensors") == sorted(sensor.name for sensor in code_location({}).sensors or ())


def test_each_schedule_is_named() -> None:
    assert names("### Schedules") == sorted(schedule.name for schedule in code_location({}).schedules or ())


def test_the_files_to_open_exist() -> None:
    paths = re.findall(r"`(cdr_assets/[\w./]+)`", README)
    assert len(paths) > 10
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


def test_each_query_runs_as_written(location: Location, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert location.run(date(2026, 11, 2), date(2026, 11, 4)).success
    (tmp_path / "data").symlink_to(location.data_dir)
    monkeypatch.chdir(tmp_path)
    queries = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    assert len(queries) > 7
    with duckdb.connect("data/cdr.duckdb", read_only=True) as connection:
        for query in queries:
            found = connection.execute(query).fetchall()
            # A conference or a room of their own is for the reader to fill in; nothing changed after it landed.
            assert found or "'...'" in query or "record_changes" in query, query
