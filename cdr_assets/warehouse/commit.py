"""A transaction of the warehouse with what follows from it: exports take their places, and the build log is copied.

Exports are written inside the transaction, so that the build log can name them. They take their places after the
commit. If the process is killed in between, the files in place are not those that the log names, so their partitions
count as not built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timezone
from typing import NamedTuple

from cdr_assets.database import AnyDatabase, Connection, run
from cdr_assets.storage import Storage
from cdr_assets.warehouse import build_log, exports
from cdr_assets.warehouse.build_log import Entry
from cdr_assets.warehouse.build_log_copy import BuildLogCopy, NoCopy
from cdr_assets.warehouse.dictionary import write_dictionary
from cdr_assets.warehouse.exports import Export
from cdr_assets.warehouse.people import PeopleInExports
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import CHECK_FINDINGS


class BuiltFrom(NamedTuple):
    """What a partition is built from: its landing files, and a short name for everything else that decides its rows."""

    landing_version: str
    fingerprint: str


class Changes:
    """What a transaction changes in the build log and in the exports. Use it inside `committing`."""

    def __init__(
        self, connection: Connection, database: AnyDatabase, storage: Storage, people: PeopleInExports
    ) -> None:
        self._connection, self._database, self._storage, self._people = connection, database, storage, people
        self._forgotten: list[tuple[str, date]] = []
        self._written: list[Entry] = []
        self._exports: dict[Table, list[Export]] = {}
        self._emptied: list[str] = []

    def forget(self, tables: Collection[Table], days: Collection[date]) -> None:
        """Makes the tables' partitions of these days due to be built again."""
        if tables and days:
            build_log.forget(self._connection, tables, days)
            self._forgotten += [(table.name, day) for table in tables for day in days]

    def log_build(self, table: Table, built_from: Mapping[date, BuiltFrom], changed_days: Collection[date]) -> None:
        """Notes what each partition was built from, and exports it where the table is exported.

        `changed_days` are the days whose rows may have changed with them. They are exported, too.
        """
        exported = self._export(table, {*built_from, *changed_days}) if table.exported else {}
        self._write(table, built_from, exported)
        self._note(table, [export for day, export in exported.items() if day not in built_from])

    def export_findings(self, changed_days: Collection[date], days: Collection[date]) -> None:
        """Exports the findings of the days on which they changed; a clean day has no file.

        Of `days`, those are exported, too, that have a file: a killed process may not have come to replace it.
        """
        looked_at = sorted({*changed_days, *days})
        if not looked_at:
            return
        exported = exports.exported_files(self._storage, CHECK_FINDINGS, looked_at[0], looked_at[-1])
        for day in looked_at:
            if day not in changed_days and day not in exported:
                continue
            self.forget([CHECK_FINDINGS], [day])
            if run(self._connection, CHECK_FINDINGS.sql("of_day"), usage_date=day):
                source = BuiltFrom("", self._people.version)
                self._write(CHECK_FINDINGS, {day: source}, self._export(CHECK_FINDINGS, [day]))
            else:
                self._emptied.append(exports.name_of(CHECK_FINDINGS, day))

    def put_exports_in_place(self) -> None:
        """Call it after the commit."""
        for name in self._emptied:
            self._storage.delete(name)
        for table, written in self._exports.items():
            in_place = [export.put_in_place() for export in written]
            if in_place != written:
                # A file system that changes the time of a file when it is renamed.
                with self._database.transaction(self._connection):
                    self._note(table, in_place)

    def discard_exports(self) -> None:
        """Removes the exports that did not take their places."""
        for export in (each for written in self._exports.values() for each in written):
            export.discard()

    def copy_to(self, copy: BuildLogCopy | NoCopy) -> None:
        """Adds the changes of the build log to its copy."""
        copy.append(self._forgotten, self._written)

    def _export(self, table: Table, days: Collection[date]) -> dict[date, Export]:
        if table not in self._exports:
            exports.remove_unfinished(self._storage, table)
        written = {}
        for day in sorted(days):
            written[day] = exports.write_export(self._connection, self._storage, table, day, self._people)
            self._exports.setdefault(table, []).append(written[day])
        if written:
            write_dictionary(self._storage)
        return written

    def _note(self, table: Table, written: Sequence[Export]) -> None:
        if written:
            self._written += build_log.note_exports(self._connection, table, written)

    def _write(self, table: Table, built_from: Mapping[date, BuiltFrom], exported: Mapping[date, Export]) -> None:
        entries = [
            Entry(table.name, day, *source, *(exported[day].stamp if day in exported else (None, None)))
            for day, source in built_from.items()
        ]
        if entries:
            build_log.write(self._connection, entries, datetime.now(timezone.utc))
            self._written += entries


@contextmanager
def committing(
    connection: Connection,
    database: AnyDatabase,
    storage: Storage,
    people: PeopleInExports,
    copy: BuildLogCopy | NoCopy,
) -> Iterator[Changes]:
    """A transaction. All of its changes take effect together, or none does. The exports are in `storage`."""
    changes = Changes(connection, database, storage, people)
    was_current = copy.is_current
    try:
        with database.transaction(connection):
            yield changes
            # From here on the changes may be in the warehouse. They are in the copy when they were appended to it.
            copy.is_current = False
        changes.put_exports_in_place()
        if was_current:
            changes.copy_to(copy)
    finally:
        changes.discard_exports()
