"""How the landed records of a day become rows: one per record, its newest version, under the day of that version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timezone
from typing import Any

import duckdb

from cdr_assets.database import Connection, WarehouseError, run
from cdr_assets.lake import is_lake
from cdr_assets.warehouse.clients import name_clients
from cdr_assets.warehouse.partitions import delete_partitions
from cdr_assets.warehouse.table import Inputs, LandedFile, LandedFiles, Rebuilt, Table, read_sql

LOADED = "loaded_records"
"""The temporary table in which records are typed that may come more than once."""

MAX_TEXTS = 200_000
"""Records whose versions are held as text at a time, so that they fit in memory."""


def load_records(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> Rebuilt:
    """Types the day's landed records, one row per cdr_id.

    Raises WarehouseError if the day never landed, which is not the same as a day without calls, and if a file is not
    what landed.
    """
    (usage_date,) = days
    landed = inputs.landed
    files = landed_files(landed, usage_date)
    if not files:
        raise WarehouseError(
            f"{usage_date} has not landed, so its records are unknown: materialize period_cdr for it first"
        )
    loaded = _already_loaded(connection, table, usage_date, landed, files)
    if not loaded:
        delete_partitions(connection, table, days)
    # A record that comes more than once needs the order of the lines, which takes time to keep.
    may_repeat = len(files) > 1 or files[0].has_repeats
    connection.execute("SET preserve_insertion_order = true" if may_repeat else "SET preserve_insertion_order = false")
    # In a lake, rows that are inserted and updated in one transaction can get the same rowid.
    if may_repeat or is_lake(connection):
        run(connection, table.sql("loaded_records"))
        _type(connection, table, usage_date, files[loaded:], LOADED)
        run(connection, table.sql("repeated_ids"), usage_date=usage_date)
        run(connection, table.sql("delete_older_versions"))
        if loaded:
            run(connection, table.sql("delete_repeated"), usage_date=usage_date)
        run(connection, table.sql("insert_loaded"))
        connection.execute(f"DROP TABLE {LOADED}")
    else:
        _type(connection, table, usage_date, files, table.name)
    changed_days, days_due = _keep_newest_versions(
        connection, table, usage_date, landed, may_repeat=may_repeat, is_whole=not loaded
    )
    name_clients(connection, usage_date, usage_date, table.fingerprint)
    landed.note_loaded(usage_date, files[-1].request)
    return Rebuilt(frozenset({usage_date, *changed_days}), frozenset(days_due))


def _type(connection: Connection, table: Table, usage_date: date, files: Sequence[LandedFile], target: str) -> None:
    """Types the records of the files into `target`, which is the table or has its columns.

    Raises WarehouseError if not all of them can be read.
    """

    def sql(name: str) -> str:
        return table.sql(name).replace(table.name, target)

    with explaining_damage(usage_date, files):
        run(connection, sql("insert"), usage_date=usage_date, **_as_lists(files))
        (counts,) = run(connection, sql("loaded"), usage_date=usage_date)
        landed_records = [file.records for file in files if file.records is not None]
        if len(landed_records) == len(files) and counts["records"] != (expected := sum(landed_records)):
            raise WarehouseError(f"{usage_date}: {counts['records']} of {expected} records were read")
        if counts["unreadable"]:
            raise WarehouseError(
                f"{usage_date}: DuckDB could not read {counts['unreadable']} of the landed records in "
                f"{[str(file.path) for file in files]}; the partition keeps its former rows"
            )
    if counts["with_bare_parts"]:
        paths = [str(file.path) for file in files]
        run(connection, sql("update_lost_parts"), usage_date=usage_date, files=paths)


def _already_loaded(
    connection: Connection, table: Table, usage_date: date, landed: LandedFiles, files: Sequence[LandedFile]
) -> int:
    """How many of the files, from the oldest on, the day's rows hold already; 0 if all of them are to be typed.

    It is not 0 if the build log says that the rows were built from these files by the table's present SQL, and newer
    files have landed since.
    """
    logged = {
        row["landing_version"]
        for row in run(connection, read_sql("build_log/of_days"), usage_dates=[usage_date])
        # Behind it is how the export shows people, which the rows do not depend on.
        if row["asset"] == table.name and row["fingerprint"].startswith(table.fingerprint)
    }
    if logged:
        for count in range(len(files) - 1, 0, -1):
            if landed.version_of(files[:count]) in logged:
                return count
    return 0


def landed_files(landed: LandedFiles, usage_date: date) -> Sequence[LandedFile]:
    """The day's files. Raises WarehouseError if there are others among them that did not land."""
    foreign = landed.foreign_files(usage_date)
    if foreign:
        raise WarehouseError(
            f"{usage_date}: {', '.join(map(str, foreign))} did not land here, by the name: move it out of the landing "
            "zone; the partition keeps its former rows"
        )
    return landed.files(usage_date)


@contextmanager
def explaining_damage(usage_date: date, files: Sequence[LandedFile]) -> Iterator[None]:
    """If the files could not be read as they landed, the error names those that are damaged, and what to do."""
    try:
        yield
    except (duckdb.Error, WarehouseError) as error:
        damaged = [f"{file.path} {problem}" for file in files if (problem := file.damage())]
        if not damaged:
            raise
        raise WarehouseError(
            f"{usage_date}: {'; '.join(damaged)}. Move it out of the landing zone and materialize period_cdr for the "
            "day again; the partition keeps its former rows"
        ) from error


def read_versions(
    connection: Connection, usage_date: date, landed: LandedFiles, locked: Sequence[date], with_text: bool
) -> None:
    """Makes `landed_versions` from every file that may hold a version of the `compared_ids`.

    `locked` are the days whose files the caller keeps from changing.
    """
    found = run(connection, read_sql("call_detail_records/days_of_compared_ids"), usage_date=usage_date)
    days = sorted({usage_date, *(row["usage_date"] for row in found)})
    with ExitStack() as stack:
        for day in days:
            if day not in locked:
                stack.enter_context(landed.lock(day))
        by_day = [(day, file) for day in days for file in landed_files(landed, day)]
        with explaining_damage(usage_date, [file for _, file in by_day]):
            run(
                connection,
                read_sql("call_detail_records/landed_versions"),
                usage_date=usage_date,
                usage_dates=[day for day, _ in by_day],
                requests=[file.request for _, file in by_day],
                with_text=with_text,
                **_as_lists([file for _, file in by_day]),
            )


def has_texts(connection: Connection, usage_date: date) -> bool:
    """Whether the load of the day, on this connection, has left the texts of all its versions in `landed_versions`."""
    if not run(connection, "FROM duckdb_tables() WHERE temporary AND table_name = 'landed_versions'"):
        return False
    (found,) = run(connection, read_sql("call_detail_records/without_texts"), usage_date=usage_date)
    return not found["records"]


def _keep_newest_versions(
    connection: Connection, table: Table, usage_date: date, landed: LandedFiles, may_repeat: bool, is_whole: bool
) -> tuple[list[date], list[date]]:
    """Of each record that landed more than once, on the day or near it, keeps the newest version alone.

    `is_whole` says that every landed record of the day was typed again. Returns the days whose rows changed, and the
    days that must be built again to hold what landed.
    """
    run(connection, table.sql("compared_ids"), usage_date=usage_date)
    if may_repeat:
        run(connection, table.sql("add_repeated_ids"))
    (counted,) = run(connection, "SELECT count(*) AS ids FROM compared_ids")
    compared = counted["ids"]
    near = run(connection, read_sql("moved_records/near"), usage_date=usage_date)
    if not compared and not near:
        return [], []
    changed_days = set[date]()
    if compared:
        read_versions(connection, usage_date, landed, [usage_date], with_text=compared <= MAX_TEXTS)
        run(connection, table.sql("newest_versions"))
        run(connection, table.sql("changed_rows"), usage_date=usage_date)
        changed_days = {row["usage_date"] for row in run(connection, table.sql("days_of_changed_rows"))}
        if is_lake(connection):
            # In a lake, rows that are inserted and updated in one transaction can get the same rowid.
            for statement in ("renewed_rows", "delete_changed"):
                run(connection, table.sql(statement), usage_date=usage_date)
            run(connection, table.sql("insert_renewed"))
        else:
            for statement in ("delete_moved", "update_versions"):
                run(connection, table.sql(statement), usage_date=usage_date)
    else:
        run(connection, table.sql("no_newest_versions"))
    replaced = run(connection, read_sql("moved_records/days_of_replaced"), usage_date=usage_date) if is_whole else []
    run(connection, read_sql("moved_records/delete"), usage_date=usage_date, is_whole=is_whole)
    if compared:
        run(connection, read_sql("moved_records/insert"))
    _note_moved(connection, usage_date, landed, near)
    due = replaced + run(connection, table.sql("days_to_build_again"), usage_date=usage_date)
    return sorted(changed_days), [row["usage_date"] for row in due]


def _note_moved(
    connection: Connection, usage_date: date, landed: LandedFiles, before: Sequence[dict[str, Any]]
) -> None:
    """Tells the landing zone which records of which day lie under another day, before the transaction ends."""
    after = run(connection, read_sql("moved_records/near"), usage_date=usage_date)
    for day in {row["usage_date"] for row in [*before, *after]}:
        landed.note_moved(day, {row["cdr_id"]: row["request"] for row in after if row["usage_date"] == day})


def _as_lists(files: Sequence[LandedFile]) -> dict[str, list[Any]]:
    """The files, and when the requests were sent that brought them, as the statements take them."""
    return {
        "files": [str(file.path) for file in files],
        "landed_ats": [file.landed_at.astimezone(timezone.utc).replace(tzinfo=None) for file in files],
    }
