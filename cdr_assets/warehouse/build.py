"""The warehouse of one data folder: it builds the partitions of a day, checks them, exports them and logs the build."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from cdr_assets.data_folder import DataFolder
from cdr_assets.database import Connection, Database, run
from cdr_assets.warehouse import build_log, exports, schema
from cdr_assets.warehouse.build_log import Entry
from cdr_assets.warehouse.build_log_copy import BuildLogCopy
from cdr_assets.warehouse.checks import BlockedByCheck, Finding, acknowledge, keep, look
from cdr_assets.warehouse.commit import Changes, committing
from cdr_assets.warehouse.exports import FileStamp
from cdr_assets.warehouse.partitions import count_rows
from cdr_assets.warehouse.table import Check, LandedFiles, Rebuilt, Table
from cdr_assets.warehouse.tables import CHECK_FINDINGS, DAILY_TABLES, TABLES, tables_below

SHORT_PATIENCE_S = 2.0
"""How long a sensor waits for the warehouse. It comes again."""


@dataclass(frozen=True)
class BuiltPartition:
    """A partition as a run leaves it: its rows, and the landing files that it was built from."""

    table: Table
    row_count: int
    landing_version: str
    days_due: frozenset[date] = frozenset()
    """Other days that lost records to this one. They are due to be built again, as the build log says."""
    was_current: bool = False
    """The partition was left as it is: the same landing files and the same SQL would give the same rows."""


class Warehouse:
    """The DuckDB file at `path`, with its exports and its build log. Its folder and tables are made when first needed.

    `patience_s` is how many seconds to wait for other processes to close the file.
    """

    def __init__(self, path: Path, export_dir: Path | None = None, patience_s: float = 900) -> None:
        self.path = path
        folder = DataFolder(path.parent)
        self.export_dir = export_dir or folder.exports
        self._former_log = folder.former_build_log
        self._log_copy = BuildLogCopy(folder.build_log, path)
        self._database = Database(path, self._prepare, patience_s, self._log_copy.while_open)

    def connect(self, patience_s: float | None = None) -> AbstractContextManager[Connection]:
        """A connection for writing, with the tables as the registry has them. See Database.connect for its errors."""
        return self._database.connect(patience_s)

    def _prepare(self, connection: Connection) -> None:
        has_new_tables = schema.prepare(connection)
        has_former_log = self._forget_former_log(connection)
        if has_new_tables or has_former_log or not self._log_copy.is_current or self._log_copy.is_too_long:
            self._log_copy.rewrite(build_log.entries(connection))

    def _forget_former_log(self, connection: Connection) -> bool:
        """Removes the build log of an earlier version, and forgets what was built: that version may have built it."""
        folders = [folder for table in TABLES if (folder := self._former_log / table.name).is_dir()]
        if folders:
            build_log.forget_all(connection)
        for folder in folders:
            shutil.rmtree(folder)
        return bool(folders)

    def build_day(
        self,
        connection: Connection,
        day: date,
        tables: Sequence[Table],
        landed: LandedFiles,
        skip_current: bool = False,
    ) -> Iterator[BuiltPartition]:
        """Replaces the day's partition of each of the tables, in the registry's order. Each comes as it is committed.

        Rows, findings and the entry in the build log are written in one transaction. The table is exported, and gets
        its entry, if no blocking check has an open finding; else BlockedByCheck is raised. Days that lost records are
        due to be built again. `skip_current` leaves a day alone whose tables all are current.
        """
        if skip_current:
            version = landed.version(day)
            current = self._in_place(build_log.entries_of(connection, day), self._exported_of_day(day))
            if all(current[table.name].get(day) == version for table in tables):
                for table in tables:
                    yield BuiltPartition(table, count_rows(connection, table, day), version, was_current=True)
                return
        landing_version: str | None = None
        forgotten: set[Table] = set()
        for table in tables:
            reads_files = not table.sources
            # The log must name the files that were read, so nobody may change them in between.
            with landed.lock(day) if reads_files else nullcontext():
                if reads_files:
                    landing_version = landed.version(day)
                elif landing_version is None:
                    landing_version = self._landing_version_of_source(connection, table, day)
                rebuilt, blocking = self._replace(connection, table, day, landed, landing_version, forgotten)
            forgotten.update(tables_below(table))
            days_due = _days_below(table, day, rebuilt) | rebuilt.days_due - {day}
            yield BuiltPartition(table, rebuilt.row_count, landing_version, days_due)
            if blocking:
                raise BlockedByCheck(_blocked(blocking, day))

    def _replace(
        self,
        connection: Connection,
        table: Table,
        day: date,
        landed: LandedFiles,
        landing_version: str,
        forgotten: Collection[Table],
    ) -> tuple[Rebuilt, list[Finding]]:
        """Replaces one partition and the findings of its checks. Also returns the open findings of blocking checks.

        `forgotten` are tables that have no entry of the day in the build log.
        """
        assert table.build is not None
        below = tables_below(table)
        with self._committing(connection) as changes:
            rebuilt = table.build(connection, table, day, landed)
            kept = keep(connection, look(connection, table, table.daily_checks, [day]), _now())
            blocking = [finding for finding in kept.still_open if finding.check.blocking]
            # If the process is killed right after the commit, these must be due.
            changes.forget({table, *below}.difference(forgotten), {day})
            changes.forget([table, *below], rebuilt.days_due - {day})
            changes.forget(below, _days_below(table, day, rebuilt))
            changes.export_findings(kept.changed_days, [day])
            if not blocking:
                changes.log_build(table, day, landing_version, rebuilt.changed_days)
        return rebuilt, blocking

    def _landing_version_of_source(self, connection: Connection, table: Table, day: date) -> str:
        """The landing files behind the rows that the table is built from; "none" where they are not known."""
        current = {
            entry.asset: entry.landing_version
            for entry in build_log.entries_of(connection, day)
            if entry.fingerprint == table.sources[0].fingerprint
        }
        return current.get(table.sources[0].name, "none")

    def built_partitions(self, tables: Collection[Table] = DAILY_TABLES) -> dict[str, dict[date, str]]:
        """For each table the days that are built by its present SQL, with the landing version they were built from.

        A day whose export is missing or was changed is not among them. Reads the copy of the build log, so it does not
        open the warehouse as a rule. If the copy is not that of the file in place, it waits up to SHORT_PATIENCE_S
        for the file. Raises WarehouseBusy if it is in use for longer, WarehouseError if it is not a DuckDB file.
        """
        if self._log_copy.stamp() is None:
            return {table.name: {} for table in tables}
        if copied := self._log_copy.read():
            found = self._in_place(copied.entries, self._exported_files(), tables)
            # Otherwise exports may be newer than the entries.
            if self._log_copy.stamp() == copied.stamp:
                return found
        with self.connect(SHORT_PATIENCE_S) as connection:
            entries = build_log.entries(connection)
            if not self._log_copy.read():
                self._log_copy.rewrite(entries)
            return self._in_place(entries, self._exported_files(), tables)

    def built_days(self, tables: Collection[Table] = DAILY_TABLES) -> dict[date, str]:
        """The landing version of every day of which all `tables` are built from the same landing files.

        Raises the errors of built_partitions.
        """
        versions = list(self.built_partitions(tables).values())
        days = set.intersection(*map(set, versions))
        return {day: versions[0][day] for day in days if len({each[day] for each in versions}) == 1}

    def _in_place(
        self,
        entries: Iterable[Entry],
        exported: Mapping[str, Mapping[date, FileStamp]],
        tables: Collection[Table] = DAILY_TABLES,
    ) -> dict[str, dict[date, str]]:
        """The landing versions of the partitions whose entries are of the tables' present SQL and of their exports.

        A day whose exported findings are not those of the entries has none: building it exports them again.
        """
        by_name = {table.name: table for table in (*tables, CHECK_FINDINGS)}
        found: dict[str, dict[date, str]] = {name: {} for name in by_name}
        days_with_findings = {*exported[CHECK_FINDINGS.name]}
        for entry in entries:
            table = by_name.get(entry.asset)
            if not table:
                continue
            day, export = entry.usage_date, entry.export
            if table is CHECK_FINDINGS:
                days_with_findings.add(day)
            elif entry.fingerprint != table.fingerprint:
                continue
            if not table.exported or (export and export == exported[table.name].get(day)):
                found[table.name][day] = entry.landing_version
        for day in days_with_findings - {*found.pop(CHECK_FINDINGS.name)}:
            for days in found.values():
                days.pop(day, None)
        return found

    def _exported_files(self) -> dict[str, dict[date, FileStamp]]:
        return {table.name: exports.exported_files(self.export_dir, table) for table in TABLES if table.exported}

    def _exported_of_day(self, day: date) -> dict[str, dict[date, FileStamp]]:
        files = {table.name: exports.exported_file(self.export_dir, table, day) for table in TABLES if table.exported}
        return {name: {day: stamp} if (stamp := FileStamp.of(file)) else {} for name, file in files.items()}

    def _committing(self, connection: Connection) -> AbstractContextManager[Changes]:
        return committing(connection, self.export_dir, self._log_copy)

    def keep(self, connection: Connection, findings: Sequence[Finding]) -> None:
        """Replaces the kept findings of these checks on these days, and exports them."""
        with self._committing(connection) as changes:
            kept = keep(connection, findings, _now())
            changes.export_findings(kept.changed_days, {finding.usage_date for finding in findings})

    def acknowledge(self, check_name: str, first: date, last: date, note: str) -> list[date]:
        """Acknowledges the check's open findings on the days from `first` to `last`. Returns the days that had one."""
        with self.connect() as connection, self._committing(connection) as changes:
            days = acknowledge(connection, check_name, first, last, note, _now())
            changes.export_findings(days, days)
        return days

    def look_again(
        self, connection: Connection, table: Table, checks: Collection[Check], days: Sequence[date]
    ) -> list[date]:
        """Evaluates these checks of the table over a range of days, and keeps what they find. Returns the days."""
        findings = look(connection, table, checks, days)
        self.keep(connection, findings)
        return sorted({finding.usage_date for finding in findings})

    def days(self, connection: Connection, table: Table) -> dict[date, int]:
        """The days that the table or one of its sources has rows of, or findings on, in order, each with these rows."""
        rows = run(
            connection,
            "SELECT usage_date, sum(row_count)::BIGINT AS row_count FROM ("
            + " UNION ALL ".join(
                f"SELECT usage_date, count(*) AS row_count FROM {each.name} GROUP BY usage_date"
                for each in (table, *table.sources)
            )
            + " UNION ALL SELECT usage_date, 0 FROM check_findings WHERE asset = $asset"
            ") GROUP BY usage_date ORDER BY usage_date",
            asset=table.name,
        )
        return {row["usage_date"]: row["row_count"] for row in rows}


def _days_below(table: Table, day: date, rebuilt: Rebuilt) -> frozenset[date]:
    """The other days on which the tables below no longer match this one."""
    return rebuilt.changed_days - {day} if tables_below(table) else frozenset()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _blocked(findings: Sequence[Finding], day: date) -> str:
    return " ".join(
        f"{finding.check.name} fails on {day} with {finding.count} rows. {finding.check.remedy}" for finding in findings
    )
