"""How partitions of a table are replaced: one function per way of doing it, inside the caller's transaction.

Each replaces those of adjacent days in one go: DuckDB plans a statement as long for a small day as for a month.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from cdr_assets.database import Connection, run
from cdr_assets.days import days_between
from cdr_assets.warehouse.table import Inputs, Rebuilt, Table, read_sql

PORTION_DAYS = 366
PORTION_ROWS = 500_000

_DELETE_CONFERENCES = """
DELETE FROM {table}
USING touched_conferences AS touched
WHERE {table}.conf_num IS NOT DISTINCT FROM touched.conf_num
  AND {table}.app_id IS NOT DISTINCT FROM touched.app_id
  AND {table}.usage_date <= touched.last_date
  AND {table}.last_usage_date >= touched.first_date
  -- What these two say follows from the others, but spares DuckDB the rest of the table.
  AND {table}.usage_date <= $last_date
  AND {table}.last_usage_date >= $first_date
"""


def replace_partition(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> Rebuilt:
    """Deletes the rows of the days and runs `insert.sql`, slice by slice where the table has a `slices.sql`."""
    delete_partitions(connection, table, days)
    span = _span(days)
    parts = slices(connection, table, **span) if table.has_sql("slices") else [{}]
    for each in parts:
        run(connection, table.sql("insert"), **span, **each)
    return Rebuilt(frozenset(days))


def replace_conferences(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> Rebuilt:
    """Computes the rows of every conference that has a record on the days, over all the conference's days."""
    reach = _find_conferences(connection, days, inputs)
    run(connection, _DELETE_CONFERENCES.format(table=table.name), **reach)
    for part in run(connection, read_sql("conferences/slices"), **reach):
        _find_people(connection, reach, part)
        if table.has_sql("person_presences"):
            run(connection, table.sql("person_presences"))
        run(connection, table.sql("insert"))
    return Rebuilt(frozenset({*days, *days_between(reach["first_date"], reach["last_date"])}))


def _find_conferences(connection: Connection, days: Sequence[date], inputs: Inputs) -> dict[str, date]:
    """Makes the temporary tables of the conferences that the days touch. Returns the first and last of their days."""
    span = _span(days)
    if inputs.prepared.get("conferences") != span:
        run(connection, read_sql("conferences/touched_conferences"), **span)
        (reach,) = run(connection, read_sql("conferences/touched_days"), **span)
        run(connection, read_sql("conferences/conference_days"), **reach)
        inputs.prepared.update(conferences=span, reach=reach)
    return dict(inputs.prepared["reach"])


def _find_people(connection: Connection, reach: dict[str, date], part: dict[str, int]) -> None:
    """Makes the temporary tables of a slice of these conferences: its people, and when they were there.

    They tell records by their rows, which a checkpoint can renumber. So each table makes them in its own transaction.
    """
    run(connection, read_sql("conferences/conferences"), **part)
    run(connection, read_sql("conferences/conference_records"), **reach, **part)
    for statement in ("people", "several_stays", "presences", "moments", "conference_presences"):
        run(connection, read_sql(f"conferences/{statement}"))


def replace_days(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> Rebuilt:
    """Replaces the rows of the days, and of every other day that their records reach, or did before."""
    span = _span(days)
    touched = {*days, *_reached_days(connection, span)}
    for statement in ("reached_days/delete", "reached_days/insert"):
        run(connection, read_sql(statement), **span)
    touched.update(_reached_days(connection, span))
    others = touched.difference(days)
    if not others:
        _sum_days(connection, table, days, inputs)
        return Rebuilt(frozenset(days))
    before = _rows_by_day(connection, table, others)
    counted = run(connection, table.sql("records_of_days"), usage_dates=sorted(touched))
    for portion in portions({row["usage_date"]: row["records"] for row in counted}):
        _sum_days(connection, table, portion, inputs)
    after = _rows_by_day(connection, table, others)
    return Rebuilt(frozenset(days).union(day for day in others if before.get(day) != after.get(day)))


def _reached_days(connection: Connection, span: dict[str, date]) -> set[date]:
    return {row["reached_date"] for row in run(connection, read_sql("reached_days/of_days"), **span)}


def _rows_by_day(connection: Connection, table: Table, days: Collection[date]) -> dict[date, list[Any]]:
    rows: dict[date, list[Any]] = {}
    for row in run(connection, table.sql("of_days"), usage_dates=list(days)):
        rows.setdefault(row["usage_date"], []).append(row)
    return rows


def _sum_days(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> None:
    provisional = [inputs.facts.is_provisional(day) for day in days]
    run(connection, table.sql("summed_days"), usage_dates=days, provisional=provisional)
    run(connection, table.sql("delete"))
    span = _span(days)
    run(connection, table.sql("day_stays"), **span)
    if wide := run(connection, read_sql("reached_days/wide_days")):
        columns = {f"{name}s": [row[name] for row in wide] for name in wide[0]}
        run(connection, read_sql("reached_days/insert_wide"), **columns)
    for statement in ("conferences", "conference_stays", "people", "several_stays", "peaks"):
        run(connection, table.sql(statement))
    for statement in ("presences", "moments", "conference_presences"):
        run(connection, read_sql(f"conferences/{statement}"))
    run(connection, table.sql("insert"), **span)


def replace_owners(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> Rebuilt:
    """Sums the records of the days by the owner and the billing code of their rooms."""
    rooms = [(day, room) for day in days for room in inputs.facts.rooms.valid_on(day)]
    run(
        connection,
        table.sql("rooms_of_days"),
        usage_dates=[day for day, _ in rooms],
        room_ids=[room.room_id for _, room in rooms],
        owner_refs=[room.owner_ref for _, room in rooms],
        billing_codes=[room.billing_code for _, room in rooms],
    )
    return replace_partition(connection, table, days, inputs)


def portions(days: Mapping[date, int]) -> Iterator[list[date]]:
    """Cuts days, each with its number of rows, into portions for one statement each, so that memory is bounded.

    A portion has up to a year of days and up to half a million rows; a day with more rows is a portion by itself.
    """
    pending: list[date] = []
    rows = 0
    for day, count in days.items():
        if pending and (len(pending) == PORTION_DAYS or rows + count > PORTION_ROWS):
            yield pending
            pending, rows = [], 0
        pending.append(day)
        rows += count
    if pending:
        yield pending


def count_rows(connection: Connection, table: Table, days: Sequence[date]) -> dict[date, int]:
    """The rows of each of these partitions. The days are in order."""
    if not days:
        return {}
    counted = run(
        connection,
        f"SELECT usage_date, count(*) AS row_count FROM {table.name} "
        "WHERE usage_date BETWEEN $first_date AND $last_date GROUP BY usage_date",
        **_span(days),
    )
    found = {row["usage_date"]: int(row["row_count"]) for row in counted}
    return {day: found.get(day, 0) for day in days}


def delete_partitions(connection: Connection, table: Table, days: Sequence[date]) -> None:
    """Deletes the rows of adjacent days."""
    run(connection, f"DELETE FROM {table.name} WHERE usage_date BETWEEN $first_date AND $last_date", **_span(days))


def _span(days: Sequence[date]) -> dict[str, date]:
    """The first and the last of the days, which are in order, as statements take them."""
    return {"first_date": days[0], "last_date": days[-1]}


def slices(connection: Connection, table: Table, **values: Any) -> Iterator[dict[str, int]]:
    """The slices in which the table's `slices.sql` cuts partitions, numbered from 0."""
    (found,) = run(connection, table.sql("slices"), **values)
    return ({"slices": found["slices"], "slice": number} for number in range(found["slices"]))
