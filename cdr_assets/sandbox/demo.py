"""A first look: the daily job over the last seven closed UTC days of the sandbox, and the tables that it made."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import duckdb

from cdr_assets.warehouse.tables import DAILY_TABLES

DAYS = 7
WIDTH = 80

# The table that is built last: a day is done when it is there.
LAST = dg.AssetKey(DAILY_TABLES[-1].name)
CONFERENCES = dg.AssetKey("conference_usage")
RECORDS = dg.AssetKey("call_detail_records")

TOP_ROOMS = """
SELECT
    room_id AS room,
    sum(connections)::BIGINT AS connections,
    sum(participant_minutes) AS minutes,
    sum(billable_minutes)::BIGINT AS billable,
    max(peak_participants) AS peak
FROM room_usage
GROUP BY room_id
ORDER BY minutes DESC, room
LIMIT 8
"""

LONGEST_CONFERENCES = """
SELECT
    usage_date AS "day (UTC)",
    conf_num AS conference,
    participants AS people,
    to_seconds(date_diff('second', first_connect_dt, last_disconnect_dt)) AS lasted,
    participant_minutes AS minutes
FROM conference_usage
ORDER BY lasted DESC, conference
LIMIT 8
"""

WHO_ATTENDED = """
SELECT
    coalesce(user_name, participant) AS name,
    user_role AS role,
    strftime(first_connect_dt, '%H:%M') AS came,
    presence_minutes AS minutes,
    rejoins
FROM attendance
WHERE (app_id, conf_num) IS NOT DISTINCT FROM (
    SELECT (app_id, conf_num)
    FROM conference_usage
    WHERE conf_num IS NOT NULL
    ORDER BY last_disconnect_dt - first_connect_dt DESC, conf_num
    LIMIT 1
)
ORDER BY presence_minutes DESC, name
LIMIT 10
"""


def run_demo(environment: Mapping[str, str], daily_job: Sequence[str]) -> int:
    """Runs the demo against the EnableX, home and data folder of `environment`. Returns the exit code.

    `daily_job` is the command that runs the daily job, without its days.
    """
    yesterday = datetime.now(timezone.utc).date() - timedelta(days=1)
    first = yesterday - timedelta(days=DAYS - 1)
    print(f"Fetching {first} to {yesterday} from the sandbox, in one Dagster run:", flush=True)
    with (
        dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance,
        tempfile.TemporaryFile("w+") as said,
    ):
        before = newest(instance)
        command = [*daily_job, "--partition-range", f"{first}...{yesterday}"]
        with subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT) as process:
            for line in days_done(instance, before, process):
                print(f"  {line}", flush=True)
        if process.returncode:
            said.seek(0)
            sys.stderr.writelines(said)
            return process.returncode
    warehouse = Path(environment["CDR_DATA_DIR"]) / "cdr.duckdb"
    try:
        with duckdb.connect(warehouse, read_only=True) as connection:
            show_tables(connection)
    except duckdb.IOException as error:
        # Runs that another command has started may hold the file.
        print(f"{warehouse} cannot be read now: {error}", file=sys.stderr)
        return 1
    print(f"The tables are in {warehouse}")
    print("Pages over them: cdr-assets dashboard (in a checkout: make dashboard)")
    print("The Dagster UI on the same data: cdr-assets dev (in a checkout: make dev)")
    return 0


def show_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Prints what a newcomer asks of the tables first."""
    for title, query in (
        ("Rooms with most minutes", TOP_ROOMS),
        ("Longest conferences", LONGEST_CONFERENCES),
        ("Who attended the longest one", WHO_ATTENDED),
    ):
        print(f"\n{title}")
        connection.sql(query).show(max_width=WIDTH)


def newest(instance: dg.DagsterInstance) -> int | None:
    """The storage id of the newest materialization that says that a day is done."""
    records = instance.fetch_materializations(LAST, limit=1).records
    return records[0].storage_id if records else None


def days_done(instance: dg.DagsterInstance, after: int | None, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Each day that the process has done since storage id `after`, in words, as soon as it is done."""
    running = True
    while running:
        try:
            process.wait(0.2)
            running = False
        except subprocess.TimeoutExpired:
            pass
        fresh = dg.AssetRecordsFilter(LAST, after_storage_id=after)
        for record in instance.fetch_materializations(fresh, limit=DAYS, ascending=True).records:
            after = record.storage_id
            day = record.partition_key
            connections, conferences = (rows_of(instance, asset, day) for asset in (RECORDS, CONFERENCES))
            yield f"{day}: {connections} connections in {conferences} conferences"


def rows_of(instance: dg.DagsterInstance, asset: dg.AssetKey, day: str | None) -> int:
    """The row count of the newest materialization of the asset's partition."""
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[str(day)])
    materialization = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert materialization is not None
    count = materialization.metadata["dagster/partition_row_count"].value
    assert isinstance(count, int)
    return count
