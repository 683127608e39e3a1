"""The seven days of `cdr-assets demo`, by two Celery workers, into a lake and a bucket. `make demo-scale` runs it."""

from __future__ import annotations

import sys
import tempfile
import uuid
from datetime import datetime, timezone
from pathlib import Path

import psycopg
from dagster import DagsterRunStatus

from cdr_assets.days import DAY
from cdr_assets.pipeline.live_run import PARTITION_TAG
from cdr_assets.sandbox.demo import CONFERENCES, DAYS, RECORDS, rows_of, show_tables
from cdr_assets.sandbox.server import Settings, serve
from cdr_assets_tests.scale import POSTGRES
from cdr_assets_tests.scale.cluster import cluster


def main() -> int:
    """Prints each day when it is done, then the tables. Returns the exit code."""
    last = datetime.now(timezone.utc).date() - DAY
    first = last - DAY * (DAYS - 1)
    database = f"demo_{uuid.uuid4().hex}"
    with psycopg.connect(POSTGRES, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
    with (
        tempfile.TemporaryDirectory(prefix="cdr-assets-demo-") as folder,
        serve(Settings()) as sandbox,
        cluster(Path(folder), sandbox.environment, f"{POSTGRES} dbname={database}", workers=2) as machines,
        machines.instance() as instance,
    ):
        machines.environment |= {"CDR_START_DATE": str(first), "CDR_OPEN_DAY_MINUTES": "0", "CDR_SETTLING_DAYS": "0"}
        print(f"Fetching {first} to {last} from the sandbox, a run for each day, with two Celery workers:", flush=True)
        # The sensors find these days under way, and request none.
        machines.backfill(first, last)
        machines.start_daemon()
        for worker in ("w1", "w2"):
            machines.start_worker(worker)
        for run, worker in machines.done_runs(instance):
            day = run.tags[PARTITION_TAG]
            if run.status is not DagsterRunStatus.SUCCESS:
                print(f"The run of {day} failed; what {worker} says: {machines.said_by(worker)}", file=sys.stderr)
                return 1
            connections, conferences = (rows_of(instance, asset, day) for asset in (RECORDS, CONFERENCES))
            print(f"  {day}: {connections} connections in {conferences} conferences, by {worker}", flush=True)
        with machines.read() as tables:
            show_tables(tables)
    print(
        "The tables were in a DuckLake with its catalogue in Postgres, and its rows and the landed records in a bucket"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
