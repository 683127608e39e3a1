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

DAYS = 7
WIDTH = 80

# The table that is built last: a day is done when it is there.
LAST = dg.AssetKey("conference_usage")
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
            for title, query in (("Rooms with most minutes", TOP_ROOMS), ("Longest conferences", LONGEST_CONFERENCES)):
                print(f"\n{title}")
                connection.sql(query).show(max_width=WIDTH)
    except duckdb.IOException as error:
        # Runs that another command has started may hold the file.
        print(f"{warehouse} cannot be read now: {error}", file=sys.stderr)
        return 1
    print(f"The tables are in {warehouse}")
    print("The Dagster UI on the same data: cdr-assets dev (in a checkout: make dev)")
    return 0


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
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(RECORDS, asset_partitions=[str(day)]), limit=1
            ).records
            yield f"{day}: {rows(records[0])} connections in {rows(record)} conferences"


def rows(record: dg.EventLogRecord) -> int:
    """The row count of the partition that was materialized."""
    materialization = record.asset_materialization
    assert materialization is not None
    count = materialization.metadata["dagster/row_count"].value
    assert isinstance(count, int)
    return count
