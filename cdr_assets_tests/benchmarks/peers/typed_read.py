"""The limit: DuckDB's typed read of the same records, already lines on disk: argv is their file and the DuckDB file."""

import sys

import duckdb

TEXT, TIME, NUMBER, TRUTH = "VARCHAR", "TIMESTAMP", "DECIMAL(18,3)", "BOOLEAN"


def fields(type: str, names: str) -> list[str]:
    return [f'"{name}" {type}' for name in names.split()]


COLUMNS = {
    "trans_date": TIME,
    "conf_num": TEXT,
    "call_num": TEXT,
    "call_log_id": TEXT,
    "room": [*fields(TEXT, "room_id"), *fields(TIME, "connect_dt disconnect_dt"), *fields(NUMBER, "duration")],
    "user": fields(TEXT, "ip name role ref agent token confName"),
    "sigserver": [
        *fields(TEXT, "ip"),
        *fields(TIME, "connect_dt disconnect_dt"),
        *fields(NUMBER, "duration hold_duration"),
    ],
    "published_track": fields(TRUTH, "audio data video screen url"),
    "usage": fields(NUMBER, "subscribed_minutes published_minutes"),
    "app_id": TEXT,
    "cdr_id": TEXT,
}

lines, database = sys.argv[1:]
columns = {name: type if isinstance(type, str) else f"STRUCT({', '.join(type)})" for name, type in COLUMNS.items()}
with duckdb.connect(database) as connection:
    connection.execute(
        f"CREATE TABLE cdr AS SELECT * FROM read_json($lines, format = 'newline_delimited', columns = {columns!r})",
        {"lines": lines},
    )
