"""The warehouse of one data folder: it builds the partitions of days, checks them, exports them and logs the build."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

import duckdb

from cdr_assets.database import Connection, run, use_more_memory
from cdr_assets.days import ranges
from cdr_assets.lake import Lake
from cdr_assets.places import Places
from cdr_assets.warehouse import build_log, exports, schema
from cdr_assets.warehouse.build_log import Entry
from cdr_assets.warehouse.build_log_copy import BuildLogCopy, NoCopy
from cdr_assets.warehouse.checks import BlockedByCheck, Finding, acknowledge, keep, look
from cdr_assets.warehouse.commit import BuiltFrom, Changes, committing
from cdr_assets.warehouse.exports import FileStamp
from cdr_assets.warehouse.people import PeopleInExports
from cdr_assets.warehouse.rooms import BadRooms, NoRooms
from cdr_assets.warehouse.summary import Summary, summaries
from cdr_assets.warehouse.table import Check, Facts, Inputs, LandedFiles, Rebuilt, Table, read_sql
from cdr_assets.warehouse.tables import BUILD_LOG, CHECK_FINDINGS, DAILY_TABLES, EXPORTED_TABLES, TABLES, tables_below

_log = logging.getLogger(__name__)

SHORT_PATIENCE_S = 2.0
"""How long a sensor waits for the warehouse. It comes again."""


NO_FACTS = Facts(NoRooms(), is_provisional=lambda day: False)


def _raise(table: Table, error: BadRooms) -> None:
    raise error


@dataclass(frozen=True)
class BuiltPartition:
    """A partition as a run leaves it, and the landing files that it was built from."""

    table: Table
    usage_date: date
    summary: Summary
    landing_version: str
    fingerprint: str
    """A short name for everything else that decided its rows."""
    days_due: frozenset[date] = frozenset()
    """Other days that lost records to this one. They are due to be built again, as the build log says."""
    was_current: bool = False
    """The partition was left as it is: the same landing files and the same SQL would give the same rows."""


class Warehouse:
    """The tables, with their exports and their build log. A file or a lake, and its tables, are made when first needed.

    `where` is a DuckDB file, with everything else next to it, or says where everything is. `export_dir` is a folder or
    a bucket. `patience_s` is how many seconds to wait for other writers. `facts` are what tables are built from besides
    landed records. With `people_in_clear` the exports show people as the tables do.
    """

    def __init__(
        self,
        where: Path | Places,
        export_dir: Path | str = "",
        patience_s: float = 900,
        facts: Facts = NO_FACTS,
        people_in_clear: bool = False,
    ) -> None:
        places = where if isinstance(where, Places) else Places.read(where.parent, str(where))
        self.places = places
        self._facts = facts
        self._exports = places.exports(str(export_dir))
        # Those next to the data are theirs.
        self._are_claimed = places.export_place(str(export_dir)) == places.export_place(None)
        self._people = PeopleInExports(places.storage, people_in_clear)
        self._former_log = places.folder.former_build_log
        copy = BuildLogCopy(places.folder.build_log, places.file)
        self._log_copy: BuildLogCopy | NoCopy = NoCopy() if places.is_lake else copy
        self._database = places.database(self._prepare, patience_s, copy.while_open)

    def is_provisional(self, day: date) -> bool:
        """Whether more records of the UTC day are expected."""
        return self._facts.is_provisional(day)

    def connect(self, patience_s: float | None = None) -> AbstractContextManager[Connection]:
        """A connection for writing, with the tables as the registry has them. See AnyDatabase for its errors."""
        return self._database.connect(patience_s)

    @contextmanager
    def reading(self, patience_s: float | None = None) -> Iterator[Connection]:
        """A connection for reading. One to a lake waits for nobody; a file can be opened by one process alone."""
        if self.lake:
            with self.lake.read() as connection:
                connection.execute(read_sql("macros"))
                yield connection
        else:
            with self.connect(patience_s) as connection:
                yield connection

    @property
    def lake(self) -> Lake | None:
        """The lake; None where the warehouse is a file."""
        return self._database if isinstance(self._database, Lake) else None

    def exists(self) -> bool:
        """Whether anything was ever built. Raises WarehouseError when the server of a lake cannot be reached."""
        return self._database.exists()

    def _prepare(self, connection: Connection) -> None:
        has_new_tables = schema.prepare(connection)
        has_former_log = self._forget_former_log(connection)
        has_removed_copies = self._remove_copies_in_clear(connection)
        is_current = self._log_copy.is_current and not self._log_copy.is_too_long
        if has_new_tables or has_former_log or has_removed_copies or not is_current:
            self._log_copy.rewrite(build_log.entries(connection))

    def _forget_former_log(self, connection: Connection) -> bool:
        """Removes the build log of an earlier version, and forgets what was built: that version may have built it."""
        folders = [folder for table in TABLES if (folder := self._former_log / table.name).is_dir()]
        if folders:
            build_log.forget_all(connection)
        for folder in folders:
            shutil.rmtree(folder)
        return bool(folders)

    def _remove_copies_in_clear(self, connection: Connection) -> bool:
        """Removes the exports from when people were shown in clear, if they no longer are.

        Days that are partitions are built again. Of others, from before the start date, nothing would replace them.
        Findings are exported again.
        """
        in_clear = [] if self._people.in_clear else run(connection, BUILD_LOG.sql("in_clear"))
        if findings := {row["usage_date"] for row in in_clear if row["asset"] == CHECK_FINDINGS.name}:
            with self._committing(connection) as changes:
                changes.export_findings(findings, findings)
        for row in in_clear:
            if row["asset"] != CHECK_FINDINGS.name:
                self._exports.delete(f"{row['asset']}/{row['usage_date']}.parquet")
        if in_clear:
            _log.warning("%d files that showed people in clear are removed or replaced", len(in_clear))
            run(connection, BUILD_LOG.sql("delete_in_clear"))
        return bool(in_clear)

    def build_days(
        self,
        connection: Connection,
        days: Sequence[date],
        tables: Sequence[Table],
        landed: LandedFiles,
        skip_current: bool = False,
        on_bad_rooms: Callable[[Table, BadRooms], None] = _raise,
    ) -> Iterator[BuiltPartition]:
        """Replaces the partitions of the days, table by table in the registry's order. Each comes when it is committed.

        The days are in order, and their records must fit in memory. Rows, findings and entries in the build log are
        written in one transaction. A partition is exported, and gets its entry, if no blocking check has an open
        finding on its day; else BlockedByCheck is raised. Days that lost records are due to be built again.
        `skip_current` leaves partitions alone that are current, with all that they are built from. A table that needs
        the rooms waits if these cannot be read: `on_bad_rooms` is called.
        """
        inputs = Inputs(landed, self._facts)
        versions = {day: landed.version(day) for day in days} if skip_current else {}
        current = self._current(connection, versions)
        read_versions: dict[date, str] = {}
        for table in tables:
            for part in ranges(days, most=1 if table.one_day_at_a_time else None):
                unchanged = [day for day in part if (table, day) in current]
                for day, summary in summaries(connection, table, unchanged).items():
                    source = BuiltFrom(versions[day], self._fingerprint(table, day))
                    yield BuiltPartition(table, day, summary, *source, was_current=True)
                for due in ranges(set(part).difference(unchanged)):
                    try:
                        built, blocking, stale = self._build(connection, table, due, inputs, read_versions)
                    except BadRooms as error:
                        on_bad_rooms(table, error)
                        continue
                    current -= stale
                    yield from built
                    if blocking:
                        raise BlockedByCheck(_blocked(blocking))

    def _build(
        self,
        connection: Connection,
        table: Table,
        days: Sequence[date],
        inputs: Inputs,
        read_versions: dict[date, str],
    ) -> tuple[list[BuiltPartition], list[Finding], set[tuple[Table, date]]]:
        """Replaces the partitions of adjacent days.

        Also returns the open findings of blocking checks, and which other partitions are not current any more.
        `read_versions` are those of the landing files that were read.
        """
        with ExitStack() as locks:
            if not table.sources:
                # The log must name the files that were read, so nobody may change them in between.
                for day in days:
                    locks.enter_context(inputs.landed.lock(day))
            # Rooms that change make the day due if they are asked for first.
            fingerprints = {day: self._fingerprint(table, day) for day in days}
            for day in days:
                if not table.sources:
                    read_versions[day] = inputs.landed.version(day)
                elif day not in read_versions:
                    read_versions[day] = self._landing_version_of_source(connection, table, day)
            built_from = {day: BuiltFrom(read_versions[day], fingerprints[day]) for day in days}
            try:
                rebuilt, blocking = self._replace(connection, table, built_from, inputs)
            except duckdb.OutOfMemoryException:
                # The temporary tables of the transaction went with it.
                inputs.prepared.clear()
                use_more_memory(connection)
                rebuilt, blocking = self._replace(connection, table, built_from, inputs)
        below = tables_below(table)
        # Tables below are built after this one, for the same days.
        days_due = ((rebuilt.changed_days if below else frozenset()) | rebuilt.days_due).difference(days)
        built = [
            BuiltPartition(table, day, summary, *built_from[day], days_due)
            for day, summary in summaries(connection, table, days).items()
        ]
        stale = {(each, day) for each in (table, *below) for day in rebuilt.changed_days | rebuilt.days_due}
        return built, blocking, stale

    def _current(self, connection: Connection, versions: Mapping[date, str]) -> set[tuple[Table, date]]:
        """The partitions that would be the same if they, and those before them, were built from these landing files."""
        if not versions:
            return set()
        days = sorted(versions)
        found = self._in_place(build_log.entries_of(connection, days), self._exported_files(days[0], days[-1]))
        current: set[tuple[Table, date]] = set()
        for table in DAILY_TABLES:
            for day in days:
                is_same = found.get(table.name, {}).get(day) == versions[day]
                if is_same and current.issuperset((source, day) for source in table.sources):
                    current.add((table, day))
        return current

    def _replace(
        self,
        connection: Connection,
        table: Table,
        built_from: Mapping[date, BuiltFrom],
        inputs: Inputs,
    ) -> tuple[Rebuilt, list[Finding]]:
        """Replaces partitions and the findings of their checks. Also returns the open findings of blocking checks."""
        assert table.build is not None
        days, below = list(built_from), tables_below(table)
        with self._committing(connection) as changes:
            rebuilt = table.build(connection, table, days, inputs)
            kept = keep(connection, look(connection, table, table.daily_checks, days), _now())
            blocking = [finding for finding in kept.still_open if finding.check.blocking]
            # If the process is killed right after the commit, these must be due.
            changes.forget([table, *below], rebuilt.days_due.union(days))
            changes.forget(below, rebuilt.changed_days.difference(days))
            changes.export_findings(kept.changed_days, days)
            blocked = {finding.usage_date for finding in blocking}
            logged = {day: source for day, source in built_from.items() if day not in blocked}
            changes.log_build(table, logged, rebuilt.changed_days - blocked if logged else ())
        return rebuilt, blocking

    def _fingerprint(self, table: Table, day: date) -> str:
        """A short name for everything but landed records that decides the rows of a partition, or those of its export.

        Raises BadRooms if that cannot be known.
        """
        facts = table.version_of_facts(self._facts, day) if table.version_of_facts else ""
        return "-".join(filter(None, (table.fingerprint, facts, self._people.version)))

    def _can_be_built(self, table: Table) -> bool:
        try:
            return bool(self._fingerprint(table, date.min))
        except BadRooms:
            return False

    def _landing_version_of_source(self, connection: Connection, table: Table, day: date) -> str:
        """The landing files behind the rows that the table is built from; "none" where they are not known."""
        source, *_ = table.sources
        fingerprint = self._fingerprint(source, day)
        for entry in build_log.entries_of(connection, [day]):
            if (entry.asset, entry.fingerprint) == (source.name, fingerprint):
                return entry.landing_version
        return "none"

    def built_partitions(self, tables: Collection[Table] = DAILY_TABLES) -> dict[str, dict[date, str]]:
        """For each table the days that are built by its present SQL, with the landing version they were built from.

        A day whose export is missing or was changed is not among them. Reads the copy of the build log, so it does not
        open the warehouse as a rule. If the copy is not that of the file in place, it waits up to SHORT_PATIENCE_S
        for the file. Raises WarehouseBusy if it is in use for longer, WarehouseError if it is not a DuckDB file.
        """
        if not self.exists():
            return {table.name: {} for table in tables}
        if self.lake:
            # If others write meanwhile, an export is newer than its entry, and its day is due.
            with self.lake.read() as connection:
                return self._in_place(build_log.entries(connection), self._exported_files(), tables)
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

        A table that cannot be built now, since the rooms cannot be read, is not asked for. Raises the errors of
        built_partitions.
        """
        versions = list(self.built_partitions(tables).values())
        days = set.intersection(*map(set, versions)) if versions else set()
        return {day: versions[0][day] for day in days if len({each[day] for each in versions}) == 1}

    def _in_place(
        self,
        entries: Iterable[Entry],
        exported: Mapping[str, Mapping[date, FileStamp]],
        tables: Collection[Table] = DAILY_TABLES,
    ) -> dict[str, dict[date, str]]:
        """The landing versions of the partitions whose entries name what they are built from now, and their exports.

        A day whose exported findings are not those of the entries has none: building it exports them again. A table
        that cannot be built now, since the rooms cannot be read, is left out.
        """
        found: dict[str, dict[date, str]] = {table.name: {} for table in tables if self._can_be_built(table)}
        by_name = {table.name: table for table in (*tables, CHECK_FINDINGS)}
        findings, days_with_findings = set(), {*exported[CHECK_FINDINGS.name]}
        for entry in entries:
            table, day = by_name.get(entry.asset), entry.usage_date
            if not table:
                continue
            is_in_place = not table.exported or (entry.export and entry.export == exported[table.name].get(day))
            if table is CHECK_FINDINGS:
                days_with_findings.add(day)
                if is_in_place:
                    findings.add(day)
            elif is_in_place and table.name in found and entry.fingerprint == self._fingerprint(table, day):
                found[table.name][day] = entry.landing_version
        for day in days_with_findings - findings:
            for days in found.values():
                days.pop(day, None)
        return found

    def _exported_files(self, first: date = date.min, last: date = date.max) -> dict[str, dict[date, FileStamp]]:
        return {table.name: exports.exported_files(self._exports, table, first, last) for table in EXPORTED_TABLES}

    def _committing(self, connection: Connection) -> AbstractContextManager[Changes]:
        if not self._are_claimed:
            exports.claim(self._exports, self.places.storage)
            self._are_claimed = True
        return committing(connection, self._database, self._exports, self._people, self._log_copy)

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


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _blocked(findings: Sequence[Finding]) -> str:
    return " ".join(
        f"{finding.check.name} fails on {finding.usage_date} with {finding.count} rows. {finding.check.remedy}"
        for finding in findings
    )
