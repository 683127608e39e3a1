"""dlt's REST API source into DuckDB: argv is the base URL, the day, and the DuckDB file."""

import sys
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source

base_url, day, database = sys.argv[1:]
source = rest_api_source(
    {
        "client": {"base_url": base_url, "auth": {"type": "http_basic", "username": "app", "password": "key"}},
        "resources": [
            {
                "name": "cdr",
                "write_disposition": "replace",
                "endpoint": {"path": f"cdr/period/{day}/{day}", "data_selector": "cdr", "paginator": "single_page"},
            }
        ],
    }
)
pipeline = dlt.pipeline(
    "benchmark",
    destination=dlt.destinations.duckdb(database),
    dataset_name="main",
    pipelines_dir=str(Path(database).parent / "pipelines"),
)
pipeline.run(source).raise_on_failed_jobs()
