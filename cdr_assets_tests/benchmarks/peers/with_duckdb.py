"""DuckDB's own reading of the answer, one JSON object: argv is the base URL, the day, and the DuckDB file."""

import sys
from pathlib import Path

import duckdb
import requests

base_url, day, database = sys.argv[1:]
answer = Path(database).with_suffix(".json")
with (
    requests.get(f"{base_url}/cdr/period/{day}/{day}", auth=("app", "key"), timeout=600, stream=True) as response,
    answer.open("wb") as file,
):
    response.raise_for_status()
    for chunk in response.iter_content(1 << 20):
        file.write(chunk)
with duckdb.connect(database) as connection:
    connection.execute(
        "CREATE OR REPLACE TABLE cdr AS "
        "SELECT unnest(cdr, max_depth := 2) FROM read_json($answer, maximum_object_size = $size)",
        {"answer": str(answer), "size": answer.stat().st_size + 1},
    )
