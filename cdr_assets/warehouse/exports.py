"""The usage tables as Parquet, for people and BI tools to read whenever they like: reading them locks nobody out.

published/<table>/YYYY-MM-DD.parquet    a partition, replaced whole
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import duckdb

from cdr_assets.database import run

PUBLISHED_TABLES = ("room_usage", "conference_usage")


def publish(connection: duckdb.DuckDBPyConnection, folder: Path, table: str, days: Iterable[date]) -> None:
    """Writes the partitions of the table anew. A reader sees the former file or the new one, never a part of it."""
    (folder / table).mkdir(parents=True, exist_ok=True)
    for day in days:
        target = folder / table / f"{day}.parquet"
        # Its name must not match the pattern that readers use.
        unfinished = target.with_suffix(f".{os.getpid()}")
        run(connection, f"select/publish_{table}", usage_date=day, file=str(unfinished))
        os.replace(unfinished, target)
