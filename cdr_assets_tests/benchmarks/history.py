"""A warehouse with history, made of one day that the project loaded.

    python history.py TEMPLATE DATABASE DAYS

Each of the days before that day gets the same calls, with identifiers of their own and times moved, in all three
tables of a new file. The days are written one after the other, as they would have been; the day itself is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cdr_assets.warehouse.build import Warehouse

MOVED = {
    "call_detail_records": [
        *(f"own({name}) AS {name}" for name in ("cdr_id", "conf_num", "call_num", "call_log_id")),
        *(
            f"moved({name}) AS {name}"
            for name in (
                "trans_date",
                "room_connect_dt",
                "room_disconnect_dt",
                "sigserver_connect_dt",
                "sigserver_disconnect_dt",
            )
        ),
    ],
    "room_usage": [
        "moved(first_connect_dt) AS first_connect_dt",
        "moved(last_disconnect_dt) AS last_disconnect_dt",
    ],
    "conference_usage": [
        "own(conf_num) AS conf_num",
        "moved(last_usage_date)::DATE AS last_usage_date",
        "moved(first_connect_dt) AS first_connect_dt",
        "moved(last_disconnect_dt) AS last_disconnect_dt",
    ],
}


def main() -> None:
    template, database, days = sys.argv[1:]
    with Warehouse(Path(database)).connect() as connection:
        connection.execute(f"ATTACH '{template}' AS template (READ_ONLY)")
        for ago in range(int(days), 0, -1):
            connection.execute(f"CREATE OR REPLACE TEMP MACRO own(id) AS left(md5(id || '{ago}'), 24)")
            connection.execute(f"CREATE OR REPLACE TEMP MACRO moved(moment) AS moment - INTERVAL {ago} DAY")
            for table in MOVED:
                changed = ", ".join(["moved(usage_date)::DATE AS usage_date", *MOVED[table]])
                connection.execute(f"INSERT INTO {table} BY NAME SELECT * REPLACE ({changed}) FROM template.{table}")


if __name__ == "__main__":
    main()
