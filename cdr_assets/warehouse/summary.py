"""What people see of a partition without opening its table: how many rows it has, its figures, and its largest rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from cdr_assets.database import Connection, run
from cdr_assets.warehouse import build_log
from cdr_assets.warehouse.partitions import count_rows
from cdr_assets.warehouse.table import Table

MINUTES = "participant_minutes"
RATIO = "minutes_to_same_weekday"
"""A figure of every table whose figures have MINUTES: these, divided by their mean on the same weekday of the four
weeks before. It is there if all four are built; a day without rows counts as 0."""
BUILT = "same_weekdays_built"
"""How many of these four days are built, where some are not. It says why there is no RATIO."""

WEEKS = 4

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """A partition at the moment at which it was built."""

    row_count: int
    table_row_count: int
    """Rows of the whole table, all its days."""
    figures: Row = field(default_factory=dict)
    """What the table's `metadata.sql` says of the day, without what it does not know."""
    lists: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """The day's rows of each statement in the table's `lists`."""


def summaries(connection: Connection, table: Table, days: Sequence[date]) -> dict[date, Summary]:
    """The summary of each of these partitions. The days are in order."""
    if not days:
        return {}
    (whole,) = run(connection, f"SELECT count(*) AS row_count FROM {table.name}")
    figures = _figures(connection, table, days)
    lists = {name: _by_day(connection, table, f"lists/{name}", days[0], days[-1]) for name in table.lists}
    return {
        day: Summary(
            row_count,
            whole["row_count"],
            figures.get(day, {}),
            {name: rows[day] for name, rows in lists.items() if day in rows},
        )
        for day, row_count in count_rows(connection, table, days).items()
    }


def _figures(connection: Connection, table: Table, days: Sequence[date]) -> dict[date, Row]:
    if not table.has_sql("metadata"):
        return {}
    found = {day: dict(row) for day, (row,) in _by_day(connection, table, "metadata", days[0], days[-1]).items()}
    if any(MINUTES in figures for figures in found.values()):
        first, last = days[0] - timedelta(weeks=WEEKS), days[-1] - timedelta(weeks=1)
        before = _by_day(connection, table, "metadata", first, last)
        minutes = {day: row[MINUTES] for day, (row,) in before.items()}
        built = build_log.days_of(connection, table, first, last)
        for day, figures in found.items():
            figures[RATIO] = to_same_weekday(figures[MINUTES], day, minutes, built)
            count = sum(each in built for each in same_weekdays(day))
            figures[BUILT] = count if count < WEEKS else None
    return {
        day: {name: value for name, value in figures.items() if value is not None} for day, figures in found.items()
    }


def to_same_weekday(minutes: float, day: date, before: Mapping[date, float], built: Collection[date]) -> float | None:
    """The day's minutes, divided by their mean on the same weekday of the four weeks before.

    None where that is 0, and unless all four days are `built`; such a day that is not in `before` has no minutes.
    """
    known = [before.get(each, 0.0) for each in same_weekdays(day) if each in built]
    return round(minutes * WEEKS / sum(known), 3) if len(known) == WEEKS and any(known) else None


def same_weekdays(day: date) -> list[date]:
    """The same weekday of the four weeks before."""
    return [day - timedelta(weeks=number) for number in range(1, WEEKS + 1)]


def _by_day(connection: Connection, table: Table, name: str, first: date, last: date) -> dict[date, list[Row]]:
    """The rows of the table's statement, without their day, by day."""
    found: dict[date, list[Row]] = {}
    for row in run(connection, table.sql(name), first_date=first, last_date=last):
        found.setdefault(row.pop("usage_date"), []).append(row)
    return found
