"""A first look: the daily job over the last seven closed UTC days of the sandbox, and what is in the tables then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb

DAYS = 7

# The daily assets log one line a finished day; Dagster puts when, where and which run before it.
PROGRESS = re.compile(r" - INFO - .* - (\d{4}-\d{2}-\d{2}: .*)$")

TOP_ROOMS = """
SELECT
    room_id AS room,
    sum(connections)::BIGINT AS connections,
    sum(participant_minutes) AS participant_minutes,
    sum(billable_minutes)::BIGINT AS billable_minutes,
    max(peak_participants) AS peak
FROM room_usage
GROUP BY room_id
ORDER BY participant_minutes DESC, room
LIMIT 8
"""

LONGEST_CONFERENCES = """
SELECT
    usage_date AS "day (UTC)",
    conf_num AS conference,
    participants,
    to_seconds(date_diff('second', first_connect_dt, last_disconnect_dt)) AS lasted,
    participant_minutes
FROM conference_usage
ORDER BY lasted DESC, conference
LIMIT 8
"""


def main() -> int:
    """Runs the demo against the EnableX that the environment names. Returns the job's exit code."""
    yesterday = datetime.now(timezone.utc).date() - timedelta(days=1)
    first = yesterday - timedelta(days=DAYS - 1)
    print(f"Fetching {first} to {yesterday} from {os.environ['ENABLEX_BASE_URL']}, one Dagster run:", flush=True)
    code = run_job(["dg", "launch", "--job", "daily_cdr", "--partition-range", f"{first}...{yesterday}"])
    if code:
        return code
    warehouse = Path(os.environ["CDR_DATA_DIR"]) / "cdr.duckdb"
    with duckdb.connect(warehouse, read_only=True) as connection:
        show("Rooms with most participant minutes", connection.execute(TOP_ROOMS))
        show("Longest conferences", connection.execute(LONGEST_CONFERENCES))
    print(f"\nThe tables are in {warehouse}\nThe Dagster UI on the same data: make dev")
    return 0


def run_job(command: Sequence[str]) -> int:
    """Runs `command`, showing its progress as it goes, and all it said when it fails. Returns its exit code."""
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            said.append(line)
            if progress := PROGRESS.search(line):
                print(f"  {progress[1]}", flush=True)
    if process.returncode:
        sys.stderr.writelines(said)
    return process.returncode


def show(title: str, result: duckdb.DuckDBPyConnection) -> None:
    """Prints a result as a small table; numbers stand to the right."""
    names = [column[0] for column in result.description or ()]
    rows = [["" if value is None else str(value) for value in row] for row in result.fetchall()]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    print(f"\n{title}")
    for row in [names, ["-" * width for width in widths], *rows]:
        cells = (
            cell.rjust(width) if row[0] is not names[0] and cell.replace(".", "").isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        print(f"  {'  '.join(cells)}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
