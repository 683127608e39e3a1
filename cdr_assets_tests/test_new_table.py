"""The registry: what a new table takes, as CONTRIBUTING.md says it, and what a changed statement makes due."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest

from cdr_assets.days import DAY, days_between
from cdr_assets.sandbox.calls import records_of_day
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.changed_package import CHECKOUT, PACKAGE, ChangedPackage
from cdr_assets_tests.expected import TABLES, assert_exact, in_order, read
from cdr_assets_tests.location import SETTINGS, Location
from cdr_assets_tests.places import reading
from cdr_assets_tests.reference import Row, number, seconds, utc_day

FIRST = date(2026, 11, 2)
BEFORE, AFTER = days_between(FIRST, FIRST + DAY * 2), days_between(FIRST + DAY * 3, FIRST + DAY * 4)
TABLE = "daily_minutes"
FILES = {f"warehouse/sql/{TABLE}/{name}.sql" for name in ("table", "insert", "checks/daily_minutes_adds_up")}
COLUMNS = [
    ["usage_date", "DATE", "UTC day; the partition"],
    ["app_id", "VARCHAR", "EnableX project; NULL gathers records that name none"],
    ["connections", "BIGINT", "records"],
    ["participant_minutes", "DECIMAL(18,3)", "minutes: sum of room_duration_s / 60"],
]

# Brings the data folder up to date by the sensor, runs the daily job over a range, and says what there is.
PROGRAM = """
import json, sys
from datetime import date
from pathlib import Path
import dagster as dg
import cdr_assets
from cdr_assets.definitions import defs
from cdr_assets_tests.location import Location, checks
from cdr_assets_tests.ticks import tick_until_done

data_dir, first, last = sys.argv[1:]
with dg.DagsterInstance.ephemeral() as instance:
    location = Location(defs, instance, Path(data_dir))
    launched, reason = tick_until_done(location, "landed_days")
    result = location.run(date.fromisoformat(first), date.fromisoformat(last))
    graph = defs.resolve_asset_graph()
    spec = graph.get(dg.AssetKey("daily_minutes"))
    print(json.dumps({
        "package": cdr_assets.__file__,
        "launched": [[str(day) for day in days] for days in launched],
        "reason": reason,
        "success": result.success,
        "passed": {name: each.passed for name, each in checks(result).items()},
        "blocking": [key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking],
        "columns": [[c.name, c.type, c.description] for c in spec.metadata["dagster/column_schema"].columns],
        "parents": [key.to_user_string() for key in spec.parent_keys],
        "days": sorted(location.materialized_days("daily_minutes")),
        "rows": [location.metadata("daily_minutes", date.fromisoformat(day))["dagster/partition_row_count"]
                 for day in sorted(location.materialized_days("daily_minutes"))],
        "jobs": {job: sorted(key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.selected_asset_keys)
                 for job in ("daily_cdr", "rebuild")},
    }))
"""


def blocks() -> dict[str, str]:
    """The fenced blocks of the five steps, by the file that the text before each names."""
    section = (CHECKOUT / "CONTRIBUTING.md").read_text().partition("## A new table in five steps\n")[2]
    section = section.partition("\n## ")[0]
    steps = re.split(r"^\d\. ", section, flags=re.MULTILINE)[1:]
    assert len(steps) == 5
    named = [re.search(r"`cdr_assets/(.+?)`.*?```\w+\n(.*?)^ *```", step, re.DOTALL | re.MULTILINE) for step in steps]
    return {found[1]: dedent(found[2]) for found in named if found}


def add_table(package: ChangedPackage) -> None:
    """Does what the steps say."""
    registry = "warehouse/tables.py"
    steps = blocks()
    entry = steps.pop(registry)
    assert set(steps) == FILES
    for file, text in steps.items():
        (package.path / file).parent.mkdir(parents=True, exist_ok=True)
        (package.path / file).write_text(text)
    package.replace(registry, "CHECK_FINDINGS = Table(", f"{entry}\nCHECK_FINDINGS = Table(")
    (listed,) = re.findall(r"^TABLES = \([^)]+\)", (package.path / registry).read_text(), flags=re.MULTILINE)
    package.replace(registry, listed, listed.replace("CHECK_FINDINGS", "DAILY_MINUTES, CHECK_FINDINGS"))


def daily_minutes(days: Sequence[date]) -> list[Row]:
    """What the table must hold."""
    by_app: dict[tuple[date, Any], list[Decimal]] = defaultdict(list)
    for record in (record for day in days for record in records_of_day(SETTINGS, day)):
        by_app[utc_day(record), record.get("app_id") or None].append(seconds(record) or Decimal(0))
    return [
        {
            "usage_date": day,
            "app_id": app_id,
            "connections": len(lengths),
            "participant_minutes": number(sum(lengths, Decimal(0)) / 60),
        }
        for (day, app_id), lengths in by_app.items()
    ]


def test_a_new_table_is_one_folder_and_one_entry_as_contributing_says(
    location: Location, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert location.run(BEFORE[0], BEFORE[-1]).success
    sandbox.requests.clear()
    source = tmp_path / "source"
    source.mkdir()
    package = ChangedPackage(source)
    add_table(package)
    assert changed_files(package) == {
        "warehouse/tables.py",
        *FILES,
    }
    said = package.run(
        PROGRAM,
        str(location.data_dir),
        str(AFTER[0]),
        str(AFTER[-1]),
        environment={
            **sandbox.environment,
            "CDR_DATA_DIR": str(location.data_dir),
            "CDR_START_DATE": str(FIRST),
            "CDR_AGREEMENT_SAMPLE": "0",
        },
    )

    assert said["package"].startswith(str(source))
    assert said["launched"] == [[str(day) for day in BEFORE]], "the warehouse that was there is brought up to date"
    assert said["reason"] == "the tables hold everything that landed, 3 days"
    assert sorted(path for path, _ in sandbox.requests) == [f"/video/v2/cdr/period/{day}/{day}" for day in AFTER]
    assert said["success"]
    assert said["passed"]["daily_minutes_adds_up"]
    assert "daily_minutes_adds_up" in said["blocking"]
    assert said["columns"] == COLUMNS
    assert said["parents"] == ["call_detail_records"]
    assert said["jobs"] == {
        "daily_cdr": sorted([*TABLES, TABLE, "period_cdr"]),
        "rebuild": sorted([*TABLES, TABLE]),
    }
    rows = daily_minutes([*BEFORE, *AFTER])
    assert said["days"] == [str(day) for day in (*BEFORE, *AFTER)]
    assert said["rows"] == [sum(row["usage_date"] == day for row in rows) for day in (*BEFORE, *AFTER)]
    assert in_order(read(location.places, TABLE)) == in_order(rows)
    assert_exact(location.places, [record for day in (*BEFORE, *AFTER) for record in records_of_day(SETTINGS, day)])

    with reading(location.places) as connection:
        described = connection.execute(
            "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
            [TABLE],
        ).fetchall()
        meaning = connection.execute("SELECT comment FROM duckdb_tables() WHERE table_name = ?", [TABLE]).fetchone()
    assert [list(column) for column in described] == COLUMNS
    assert meaning == ("One row per app and UTC day. Minutes are exact.",)
    exported = duckdb.execute(f"FROM '{location.data_dir}/published/{TABLE}/*.parquet'").fetchall()
    assert sorted(exported, key=repr) == sorted((tuple(row.values()) for row in rows), key=repr)
    built = {row["usage_date"] for row in read(location.places, "build_log") if row["asset"] == TABLE}
    assert built == {*BEFORE, *AFTER}


def changed_files(package: ChangedPackage) -> set[str]:
    def texts(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    before, now = texts(PACKAGE), texts(package.path)
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


# Says for each table on which days it is not built from what landed by the statements of today.
DUE = """
import json, sys
from pathlib import Path
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse

data_dir = Path(sys.argv[1])
built, landed = Warehouse(data_dir / "cdr.duckdb").built_partitions(), LandingZone(data_dir).days()
print(json.dumps({
    table: sorted(str(day) for day in landed if days.get(day) != landed[day]) for table, days in built.items()
}))
"""

# What is changed, and the tables whose days are due then.
CHANGES: dict[str, tuple[tuple[str, str, str], list[str]]] = {
    "the statement of a usage table": (
        ("warehouse/sql/room_usage/insert.sql", "min(room_connect_dt)", "max(room_connect_dt)"),
        ["room_usage"],
    ),
    "the statement that types records": (
        (
            "warehouse/sql/call_detail_records/insert.sql",
            "kept(user_role) AS user_role",
            "upper(kept(user_role)) AS user_role",
        ),
        [*TABLES],
    ),
    "a statement that two tables share": (
        ("warehouse/sql/conferences/conferences.sql", "any_value(app_id)", "min(app_id)"),
        ["conference_usage", "attendance", "daily_usage"],
    ),
    "the columns of a table": (
        ("warehouse/sql/conference_usage/table.sql", "connections BIGINT,", "connections HUGEINT,"),
        ["conference_usage"],
    ),
    "a macro": (
        ("warehouse/sql/macros.sql", "+ 59) // 60", "+ 29) // 60"),
        [*TABLES],
    ),
    "the code that compares versions": (
        ("warehouse/changes.py", "if name != SECRET:", "if name != 'token':"),
        ["record_changes"],
    ),
    "the code that names clients": (("warehouse/clients.py", '" on "', '" in "'), [*TABLES]),
    "the statement of an export": (
        ("warehouse/sql/attendance/export.sql", "EXCLUDE (user_name)", "EXCLUDE (user_name, user_role)"),
        ["attendance"],
    ),
    "a check": (("warehouse/sql/room_usage/checks/room_usage_adds_up.sql", "connections_in_usage", "in_usage"), []),
    "a sample": (("warehouse/sql/call_detail_records/queries/sample_rooms.sql", "LIMIT $sample", "LIMIT 1"), []),
    "a list": (("warehouse/sql/room_usage/lists/busiest_rooms.sql", "<= 10", "<= 9"), []),
    "figures": (("warehouse/sql/room_usage/metadata.sql", "AS rooms", "AS number_of_rooms"), []),
    "a comment": (("warehouse/sql/room_usage/insert.sql", "-- One row per app", "-- A row per app"), []),
    "a comment of code": (("warehouse/changes.py", '"""Which fields', '"""What fields'), []),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_a_changed_statement_makes_due_the_days_of_its_table_and_of_those_below(
    location: Location, tmp_path: Path, changed: str
) -> None:
    assert location.run(FIRST).success
    source = tmp_path / "source"
    source.mkdir()
    package = ChangedPackage(source)
    change, due = CHANGES[changed]
    package.replace(*change)
    assert package.run(DUE, str(location.data_dir)) == {table: [str(FIRST)] if table in due else [] for table in TABLES}
