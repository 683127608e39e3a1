"""The warehouse of one data folder: it builds the partitions of a day, checks them, exports them and logs the build."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from cdr_assets.data_folder import DataFolder
from cdr_assets.database import Connection, Database, run, transaction
from cdr_assets.warehouse import exports, schema
from cdr_assets.warehouse.build_log import BuildLog
from cdr_assets.warehouse.checks import BlockedByCheck, Finding, acknowledge, keep, look
from cdr_assets.warehouse.partitions import count_rows
from cdr_assets.warehouse.table import Check, LandedFiles, Rebuilt, Table
from cdr_assets.warehouse.tables import CHECK_FINDINGS, tables_below


@dataclass(frozen=True)
class BuiltPartition:
    """A partition as a run leaves it: its rows, and the landing files that it was built from."""

    table: Table
    row_count: int
    landing_version: str
    days_due: frozenset[date] = frozenset()
    """Other days that lost records to this one. The tables below are due to be built again for them."""
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
        self.build_log = BuildLog(folder.build_log, path)
        self._database = Database(path, self._prepare, patience_s)

    def connect(self) -> AbstractContextManager[Connection]:
        """A connection for writing, with the tables as the registry has them. See Database.connect for its errors."""
        return self._database.connect()

    def _prepare(self, connection: Connection) -> None:
        if schema.prepare(connection):
            self.build_log.clear()

    def build_day(
        self,
        connection: Connection,
        day: date,
        tables: Sequence[Table],
        landed: LandedFiles,
        skip_current: bool = False,
    ) -> Iterator[BuiltPartition]:
        """Replaces the day's partition of each of the tables, in the registry's order. Each comes as it is committed.

        Rows and findings are written in one transaction. The table is exported, and logged as built, if no blocking
        check has an open finding; else BlockedByCheck is raised. If records moved here from other days, the tables
        below are due to be built again for those days. `skip_current` leaves a day alone whose tables all are current.
        """
        version = landed.version(day) if skip_current else ""
        if skip_current and all(self.build_log.is_built(table, day, version) for table in tables):
            for table in tables:
                yield BuiltPartition(table, count_rows(connection, table, day), version, was_current=True)
            return
        landing_version: str | None = None
        for table in tables:
            reads_files = not table.sources
            # The log must name the files that were read, so nobody may change them in between.
            with landed.lock(day) if reads_files else nullcontext():
                rebuilt, blocking = self._replace(connection, table, day, landed)
                if reads_files:
                    landing_version = landed.version(day)
                elif landing_version is None:
                    landing_version = self.build_log.landing_versions(table.sources[0]).get(day, "none")
            yield BuiltPartition(table, rebuilt.row_count, landing_version, _days_below(table, day, rebuilt))
            if blocking:
                raise BlockedByCheck(_blocked(blocking, day))
            if table.exported:
                exports.export(connection, self.export_dir, table, sorted(rebuilt.changed_days))
            self.build_log.write(table, day, landing_version)

    def _replace(
        self, connection: Connection, table: Table, day: date, landed: LandedFiles
    ) -> tuple[Rebuilt, list[Finding]]:
        """Replaces one partition and the findings of its checks. Also returns the open findings of blocking checks."""
        assert table.build is not None
        with transaction(connection):
            rebuilt = table.build(connection, table, day, landed)
            kept = keep(connection, look(connection, table, table.daily_checks, [day]), _now())
            # Before the commit: if the process is killed right after it, these days must be due.
            self.build_log.forget(tables_below(table), _days_below(table, day, rebuilt))
        self._export_findings(connection, kept.changed_days | self._exported_findings([day]))
        return rebuilt, [finding for finding in kept.still_open if finding.check.blocking]

    def keep(self, connection: Connection, findings: Sequence[Finding]) -> None:
        """Replaces the kept findings of these checks on these days, and exports them."""
        with transaction(connection):
            kept = keep(connection, findings, _now())
        looked_at = {finding.usage_date for finding in findings}
        self._export_findings(connection, kept.changed_days | self._exported_findings(looked_at))

    def acknowledge(self, check_name: str, first: date, last: date, note: str) -> list[date]:
        """Acknowledges the check's open findings on the days from `first` to `last`. Returns the days that had one."""
        with self.connect() as connection:
            days = acknowledge(connection, check_name, first, last, note, _now())
            self._export_findings(connection, days)
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

    def _exported_findings(self, days: Iterable[date]) -> set[date]:
        """Those of the days that have an export, which may be out of date: a killed run did not come to replace it."""
        return {day for day in days if exports.exported_file(self.export_dir, CHECK_FINDINGS, day).exists()}

    def _export_findings(self, connection: Connection, days: Iterable[date]) -> None:
        """Exports the findings of these days again; a clean day has no file."""
        for day in days:
            if run(connection, CHECK_FINDINGS.sql("of_day"), usage_date=day):
                exports.export(connection, self.export_dir, CHECK_FINDINGS, [day])
            else:
                exports.remove_export(self.export_dir, CHECK_FINDINGS, day)


def _days_below(table: Table, day: date, rebuilt: Rebuilt) -> frozenset[date]:
    """The other days on which the tables below no longer match this one."""
    return rebuilt.changed_days - {day} if tables_below(table) else frozenset()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _blocked(findings: Sequence[Finding], day: date) -> str:
    return " ".join(
        f"{finding.check.name} fails on {day} with {finding.count} rows. {finding.check.remedy}" for finding in findings
    )
