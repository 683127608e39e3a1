"""How a partition of a table is replaced: one function per way of doing it, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from cdr_assets.database import Connection, run
from cdr_assets.days import days_between
from cdr_assets.warehouse.clients import name_clients
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


def replace_partition(connection: Connection, table: Table, usage_date: date, inputs: Inputs) -> Rebuilt:
    """Deletes the day's rows and runs `insert.sql`, slice by slice where the table has a `slices.sql`."""
    delete_partition(connection, table, usage_date)
    parts = slices(connection, table, usage_date=usage_date) if table.has_sql("slices") else [{}]
    for each in parts:
        run(connection, table.sql("insert"), usage_date=usage_date, **each)
    return _rebuilt(connection, table, usage_date, [usage_date])


def replace_conferences(connection: Connection, table: Table, usage_date: date, inputs: Inputs) -> Rebuilt:
    """Computes the rows of every conference that has a record on the day, over all the conference's days."""
    reach = _find_conferences(connection, usage_date, inputs)
    run(connection, _DELETE_CONFERENCES.format(table=table.name), **reach)
    (found,) = run(connection, read_sql("conferences/slices"), **reach)
    for number in range(found["slices"]):
        _find_people(connection, reach, {"slices": found["slices"], "slice": number}, inputs)
        if table.has_sql("person_presences"):
            run(connection, table.sql("person_presences"))
        run(connection, table.sql("insert"), **reach)
    return _rebuilt(connection, table, usage_date, days_between(reach["first_date"], reach["last_date"]))


def _find_conferences(connection: Connection, usage_date: date, inputs: Inputs) -> dict[str, Any]:
    """Makes the temporary tables of the conferences that the day touches. Returns the first and last of their days."""
    if "conferences" not in inputs.prepared:
        run(connection, read_sql("conferences/touched_conferences"), usage_date=usage_date)
        (reach,) = run(connection, read_sql("conferences/touched_days"), usage_date=usage_date)
        run(connection, read_sql("conferences/conference_days"), **reach)
        for statement in ("conference_records", "conferences"):
            run(connection, read_sql(f"conferences/{statement}"))
        name_clients(connection, **reach)
        inputs.prepared["conferences"] = reach
    return dict(inputs.prepared["conferences"])


def _find_people(connection: Connection, reach: dict[str, Any], part: dict[str, int], inputs: Inputs) -> None:
    """Makes the temporary tables of the people in a slice of these conferences, and of when they were there."""
    if inputs.prepared.get("people") != part:
        run(connection, read_sql("conferences/people"), **reach, **part)
        run(connection, read_sql("conferences/several_stays"), **reach)
        for statement in ("presences", "moments", "conference_presences"):
            run(connection, read_sql(f"conferences/{statement}"))
        inputs.prepared["people"] = part


def replace_days(connection: Connection, table: Table, usage_date: date, inputs: Inputs) -> Rebuilt:
    """Replaces the rows of the day, and of every other day that connections of its records overlap, or did before."""
    days = _touched_days(connection, table, usage_date)
    for statement in ("reached_days/delete", "reached_days/insert"):
        run(connection, read_sql(statement), usage_date=usage_date)
    days |= _touched_days(connection, table, usage_date)
    # The names of the temporary tables are those of the conferences.
    inputs.prepared.clear()
    if len(days) == 1:
        _sum_days(connection, table, [usage_date], inputs)
        return _rebuilt(connection, table, usage_date, [])
    before = _rows_by_day(connection, table, days)
    counted = run(connection, table.sql("records_of_days"), usage_dates=sorted(days))
    for portion in portions({row["usage_date"]: row["records"] for row in counted}):
        _sum_days(connection, table, portion, inputs)
    after = _rows_by_day(connection, table, days)
    return _rebuilt(connection, table, usage_date, [day for day in days if before.get(day) != after.get(day)])


def _touched_days(connection: Connection, table: Table, usage_date: date) -> set[date]:
    return {row["usage_date"] for row in run(connection, table.sql("touched_days"), usage_date=usage_date)}


def _rows_by_day(connection: Connection, table: Table, days: Collection[date]) -> dict[date, list[Any]]:
    rows: dict[date, list[Any]] = {}
    for row in run(connection, table.sql("of_days"), usage_dates=list(days)):
        rows.setdefault(row["usage_date"], []).append(row)
    return rows


def _sum_days(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> None:
    provisional = [inputs.facts.is_provisional(day) for day in days]
    run(connection, table.sql("summed_days"), usage_dates=days, provisional=provisional)
    run(connection, table.sql("delete"))
    reach = {"first_date": days[0], "last_date": days[-1]}
    run(connection, table.sql("day_stays"), **reach)
    for statement in ("conferences", "conference_stays", "people", "several_stays", "peaks"):
        run(connection, table.sql(statement))
    for statement in ("presences", "moments", "conference_presences"):
        run(connection, read_sql(f"conferences/{statement}"))
    run(connection, table.sql("insert"), **reach)


def replace_owners(connection: Connection, table: Table, usage_date: date, inputs: Inputs) -> Rebuilt:
    """Sums the day's records by the owner and the billing code of their rooms."""
    rooms = inputs.facts.rooms.valid_on(usage_date)
    run(
        connection,
        table.sql("rooms_of_day"),
        room_ids=[room.room_id for room in rooms],
        owner_refs=[room.owner_ref for room in rooms],
        billing_codes=[room.billing_code for room in rooms],
    )
    return replace_partition(connection, table, usage_date, inputs)


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


def count_rows(connection: Connection, table: Table, usage_date: date) -> int:
    """The rows of one partition."""
    (counted,) = run(
        connection,
        f"SELECT count(*) AS row_count FROM {table.name} WHERE usage_date = $usage_date",
        usage_date=usage_date,
    )
    return int(counted["row_count"])


def delete_partition(connection: Connection, table: Table, usage_date: date) -> None:
    """Deletes the day's rows."""
    run(connection, f"DELETE FROM {table.name} WHERE usage_date = $usage_date", usage_date=usage_date)


def _rebuilt(connection: Connection, table: Table, usage_date: date, changed_days: Sequence[date]) -> Rebuilt:
    return Rebuilt(count_rows(connection, table, usage_date), frozenset({usage_date, *changed_days}))


def slices(connection: Connection, table: Table, **values: Any) -> Iterator[dict[str, int]]:
    """The slices in which the table's `slices.sql` cuts a partition, numbered from 0."""
    (found,) = run(connection, table.sql("slices"), **values)
    return ({"slices": found["slices"], "slice": number} for number in range(found["slices"]))
