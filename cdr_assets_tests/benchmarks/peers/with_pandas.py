"""requests, pandas and DuckDB, as in Dagster's tutorials: argv is the base URL, the day, and the DuckDB file."""

import sys

import duckdb
import pandas
import requests

base_url, day, database = sys.argv[1:]
response = requests.get(f"{base_url}/cdr/period/{day}/{day}", auth=("app", "key"), timeout=600)
response.raise_for_status()
frame = pandas.json_normalize(response.json()["cdr"])
with duckdb.connect(database) as connection:
    connection.execute("CREATE OR REPLACE TABLE cdr AS SELECT * FROM frame")
