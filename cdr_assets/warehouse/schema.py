"""Makes the tables, and brings those of an older version up to date."""

from __future__ import annotations

import logging

from cdr_assets import lake
from cdr_assets.database import Connection, quoted, run, transaction
from cdr_assets.warehouse.table import Column, Table, read_sql
from cdr_assets.warehouse.tables import BUILD_LOG, TABLES

_log = logging.getLogger(__name__)

_EXISTING_COLUMNS = """
SELECT table_name, column_name AS name, data_type AS type, comment AS description
FROM duckdb_columns()
WHERE NOT internal AND database_name = current_database() AND schema_name = 'main'
ORDER BY table_name, column_index
"""


def prepare(connection: Connection) -> bool:
    """Makes the macros, and every table that is missing or has other columns than its `table.sql`.

    A table whose columns changed keeps its rows: columns that it shares with the new one are copied, new ones are NULL
    until the day is built again. A table that was made or changed has no partitions in the build log. Returns whether
    there was one.
    """
    connection.execute(read_sql("macros"))
    existing: dict[str, list[Column]] = {}
    for row in run(connection, _EXISTING_COLUMNS):
        existing.setdefault(row["table_name"], []).append(Column(row["name"], row["type"], row["description"]))
    changed = [table for table in TABLES if existing.get(table.name, []) != list(table.columns)]
    # The build log comes first, since it must exist when another table is made.
    for table in sorted(changed, key=lambda table: table is not BUILD_LOG):
        columns = existing.get(table.name, [])
        if [column[:2] for column in columns] != [column[:2] for column in table.columns]:
            with transaction(connection):
                _make(connection, table, columns)
        # If the process is killed before this, the table has no descriptions, so that it counts as changed.
        with transaction(connection):
            if lake.is_lake(connection):
                lake.remove_first_row(connection, table.name, [column.name for column in table.columns])
            _describe(connection, table)
    return bool(changed)


def _make(connection: Connection, table: Table, former: list[Column]) -> None:
    if not former:
        _create(connection, table)
        _forget_partitions(connection, table)
        return
    _log.warning("The columns of %s have changed: its rows are copied, and its days are built again", table.name)
    names = {column.name for column in table.columns}
    kept = [column.name for column in former if column.name in names]
    types = {column.name: column.type for column in table.columns}
    copied = ", ".join(f'TRY_CAST("{name}" AS {types[name]}) AS "{name}"' for name in kept) or "NULL"
    run(connection, f"ALTER TABLE {table.name} RENAME TO former_{table.name}")
    _create(connection, table)
    if kept:
        run(connection, f"INSERT INTO {table.name} BY NAME SELECT {copied} FROM former_{table.name}")
    run(connection, f"DROP TABLE former_{table.name}")
    _forget_partitions(connection, table)


def _create(connection: Connection, table: Table) -> None:
    if lake.is_lake(connection):
        lake.create_table(connection, table.sql("table"), partitioned=table.build is not None)
    else:
        run(connection, table.sql("table"))


def _forget_partitions(connection: Connection, table: Table) -> None:
    run(connection, f"DELETE FROM {BUILD_LOG.name} WHERE asset = $asset", asset=table.name)


def _describe(connection: Connection, table: Table) -> None:
    """Writes what the table and its columns mean into the database, where shells and BI tools show it."""
    # COMMENT ON takes no parameters.
    connection.execute(f"COMMENT ON TABLE {table.name} IS {quoted(table.meaning)}")
    for column in table.columns:
        connection.execute(f'COMMENT ON COLUMN {table.name}."{column.name}" IS {quoted(column.description)}')
