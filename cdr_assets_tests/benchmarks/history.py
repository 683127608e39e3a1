"""A warehouse with history, made of one day that the project loaded.

    python history.py TEMPLATE DATABASE DAYS

Each of the days before that day gets the same calls, with identifiers of their own and times moved, in all tables of a
new file. The days are written one after the other, as they would have been; the day itself is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import DAILY_TABLES

IDENTIFIERS = {"cdr_id", "conf_num", "call_num", "call_log_id"}


def moved(table: Table) -> str:
    """The columns of the table that differ from day to day, as they are on another day."""
    changed = []
    for column in table.columns:
        if column.name in IDENTIFIERS:
            changed.append(f"own({column.name}) AS {column.name}")
        elif column.type in ("DATE", "TIMESTAMP"):
            changed.append(f"moved({column.name})::{column.type} AS {column.name}")
    return ", ".join(changed)


def main() -> None:
    template, database, days = sys.argv[1:]
    with Warehouse(Path(database)).connect() as connection:
        connection.execute(f"ATTACH '{template}' AS template (READ_ONLY)")
        for ago in range(int(days), 0, -1):
            connection.execute(f"CREATE OR REPLACE TEMP MACRO own(id) AS left(md5(id || '{ago}'), 24)")
            connection.execute(f"CREATE OR REPLACE TEMP MACRO moved(moment) AS moment - INTERVAL {ago} DAY")
            for table in DAILY_TABLES:
                connection.execute(
                    f"INSERT INTO {table.name} BY NAME SELECT * REPLACE ({moved(table)}) FROM template.{table.name}"
                )


if __name__ == "__main__":
    main()
