"""One run over some days: its answers land, its partitions are built, its checks are looked at. Knows no Dagster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import date, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias

from cdr_assets.database import Connection, ConnectionLease, run
from cdr_assets.days import end_of
from cdr_assets.enablex.client import Asked, EnableX
from cdr_assets.landing.ingest import IngestResult, ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.answer_checks import INGEST_CHECKS, ROUTES_AGREE, ingest_findings
from cdr_assets.pipeline.build_days import RECORDS_AT_ONCE, DayOutcome, build_days
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.pipeline.progress import reporting, say_built, say_done, say_landed
from cdr_assets.pipeline.reconciliation import reconcile
from cdr_assets.warehouse.build import BuiltPartition, Warehouse
from cdr_assets.warehouse.checks import Finding, kept_findings
from cdr_assets.warehouse.partitions import portions
from cdr_assets.warehouse.rooms import BadRooms
from cdr_assets.warehouse.table import Check, Table
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, DAILY_TABLES

Outcome: TypeAlias = DayOutcome[IngestResult, BuiltPartition]


class DailyRun:
    """The work of one run on its days. `client` makes a client with its own connections; `tables` are those to build.

    Use it as a context manager: at the end it closes its connection to the warehouse.
    """

    def __init__(
        self,
        zone: LandingZone,
        warehouse: Warehouse,
        client: Callable[[], AbstractContextManager[EnableX]],
        tables: Sequence[Table],
        replace: bool = False,
    ) -> None:
        self.looked_at: dict[tuple[str, Check], list[date]] = {}
        """The days on which each check of an asset was looked at in this run."""
        self.asked: dict[date, Asked] = {}
        """What fetching each day took."""
        self.lateness: dict[date, dict[str, Any]] = {}
        """How late the records came that the first answer since a fetched day closed did not have. Days that are open
        have none."""
        self.loaded_days: set[date] = set()
        """Days whose records this run typed again."""
        self.days_due: set[date] = set()
        """Days that lost records to a day that this run built, so that their usage is due to be built again."""
        self.bad_rooms: BadRooms | None = None
        """Why tables that need the file of rooms were not built."""
        self.zone, self.replaces = zone, replace
        self._changed_days: set[date] = set()
        self._built_from: dict[date, str] = {}
        self._warehouse, self._client = warehouse, client
        self._tables = tables
        self._lease = ConnectionLease(warehouse.connect)

    def __enter__(self) -> DailyRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection to the warehouse for good. A day that is being built is built to its end."""
        self._lease.close()

    def release(self) -> None:
        """Closes the connection to the warehouse until the next piece of work."""
        self._lease.release()

    def connection(self) -> AbstractContextManager[Connection]:
        """The run's connection to the warehouse, for one piece of work."""
        return self._lease.connection()

    def fetch_and_build(self, days: Sequence[date], concurrency: int) -> Generator[Outcome, None, None]:
        """Asks EnableX for each day, up to `concurrency` of them in parallel, and builds its partitions."""
        with ExitStack() as stack:
            clients = SimpleQueue[EnableX]()
            for _ in range(min(concurrency, len(days))):
                clients.put(stack.enter_context(self._client()))

            def fetch(day: date) -> IngestResult:
                client = clients.get()
                try:
                    request = client.period(day, day)
                    ingested = ingest(self.zone, reporting(str(day), request), "period", [day], self.replaces)
                    self.asked[day] = request.asked
                    say_landed(day, ingested, request.asked)
                    return ingested
                finally:
                    clients.put(client)

            yield from self._observed(days, fetch, concurrency, skip_current=not self.replaces)

    def build(self, days: Sequence[date], skip_current: bool = False) -> Generator[Outcome, None, None]:
        """Builds the partitions of each day from what landed. `skip_current` leaves days alone that are current.

        Without it all are built: a run that does not fetch is started in order to build.
        """
        yield from self._observed(days, None, 1, skip_current)

    def _observed(
        self,
        days: Sequence[date],
        fetch: Callable[[date], IngestResult] | None,
        concurrency: int,
        skip_current: bool,
    ) -> Generator[Outcome, None, None]:
        for outcome in build_days(
            days,
            fetch=fetch,
            build=partial(self._build, skip_current=skip_current),
            records=self._landed_records,
            before_waiting=self._lease.release,
            concurrency=concurrency,
        ):
            if outcome.fetched:
                self._changed_days.update(outcome.fetched.changed_days)
                self._note(PERIOD_CDR, INGEST_CHECKS, outcome.day)
            for partition in outcome.built:
                self.days_due.update(partition.days_due)
                self._built_from[outcome.day] = partition.landing_version
                if not partition.was_current:
                    if partition.table is CALL_DETAIL_RECORDS:
                        self.loaded_days.add(outcome.day)
                    self._note(partition.table.name, partition.table.daily_checks, outcome.day)
            if self._tables and not outcome.error:
                self.days_due.discard(outcome.day)
            yield outcome

    def reconcile(self, day: date, sample: int) -> None:
        """Compares the other routes with the table, for some rooms and conferences of the day."""
        self._lease.release()
        with self._client() as client:
            found = reconcile(self._warehouse.reading, client, self.zone, day, sample)
        for ingested in found.ingested:
            self._changed_days.update(ingested.changed_days)
        table = CALL_DETAIL_RECORDS.name
        with self._lease.connection() as connection:
            finding = Finding(table, ROUTES_AGREE, day, len(found.differences), found.differences)
            self._warehouse.keep(connection, [finding])
        self._note(table, [ROUTES_AGREE], day)

    def days_to_rebuild(self) -> set[date]:
        """Days that this run changed in the landing zone, and has not built since."""
        return {day for day in self._changed_days if self._built_from.get(day) != self.zone.version(day)}

    def current(self, days: Iterable[date]) -> list[date]:
        """Those of the days whose partitions are built from what has landed."""
        self._lease.release()
        built = self._warehouse.built_days(self._tables)
        return [day for day in days if day in built and built[day] == self.zone.version(day)]

    def is_provisional(self, day: date) -> bool:
        """Whether the day is open, or has closed and is to be fetched again."""
        return self._warehouse.is_provisional(day)

    def closed(self, days: Iterable[date]) -> list[date]:
        """Those of the days that had closed when they were last asked for."""
        asked = ((day, self.zone.asked(day)) for day in days)
        return [day for day, when in asked if when and when >= end_of(day)]

    def days_to_reconcile(self) -> list[date]:
        """The days on which the routes did not agree, and the last closed day that has records."""
        with self._lease.connection() as connection:
            kept = kept_findings(connection, CALL_DETAIL_RECORDS.name, ROUTES_AGREE)
            days = list(self._warehouse.days(connection, CALL_DETAIL_RECORDS))
        last = self.closed(days)[-1:]
        return sorted({*last, *(finding.usage_date for finding in kept)})

    def look_again(self, checks: Collection[str]) -> None:
        """Evaluates those of the checks that are about tables, on every day, one range of days after the other."""
        for table in DAILY_TABLES:
            wanted = [check for check in table.checks if check.name in checks]
            if not wanted:
                continue
            with self._lease.connection() as connection:
                days = self._warehouse.days(connection, table)
            of_some_days = [check for check in wanted if not check.over_all_days]
            over_all_days = [check for check in wanted if check.over_all_days]
            for some_days in portions(days) if of_some_days else ():
                self._look_at(table, of_some_days, some_days)
            if over_all_days and days:
                self._look_at(table, over_all_days, list(days))

    def _look_at(self, table: Table, checks: Collection[Check], days: Sequence[date]) -> None:
        """Evaluates the checks over a range of days. Other processes get the warehouse from one range to the next."""
        with self._lease.connection() as connection:
            looked_at = self._warehouse.look_again(connection, table, checks, days)
        for day in looked_at:
            self._note(table.name, checks, day)

    def _note(self, asset: str, checks: Iterable[Check], day: date) -> None:
        for check in checks:
            self.looked_at.setdefault((asset, check), []).append(day)

    def _note_bad_rooms(self, table: Table, error: BadRooms) -> None:
        self.bad_rooms = error

    def _build(
        self, fetched: Mapping[date, IngestResult | None], skip_current: bool
    ) -> Iterator[tuple[date, BuiltPartition]]:
        with self._lease.connection() as connection:
            answers = {day: ingested for day, ingested in fetched.items() if ingested}
            findings = [finding for day, ingested in answers.items() for finding in ingest_findings(day, ingested)]
            if findings:
                self._warehouse.keep(connection, findings)
            done: dict[date, list[BuiltPartition]] = {}
            for built in self._warehouse.build_days(
                connection, list(fetched), self._tables, self.zone, skip_current, self._note_bad_rooms
            ):
                done.setdefault(built.usage_date, []).append(built)
                say_built(built)
                yield built.usage_date, built
            for day, of_day in done.items():
                say_done(day, of_day)
            for day in answers if CALL_DETAIL_RECORDS in self._tables else ():
                if first_answer_at := self._first_answer_at(day):
                    (self.lateness[day],) = run(
                        connection,
                        CALL_DETAIL_RECORDS.sql("queries/lateness"),
                        usage_date=day,
                        first_answer_at=first_answer_at.replace(tzinfo=None),
                    )

    def _landed_records(self, day: date) -> int:
        """The landed records of the day; more than are built together if a file does not say how many it has."""
        return sum(RECORDS_AT_ONCE + 1 if file.records is None else file.records for file in self.zone.files(day))

    def _first_answer_at(self, day: date) -> datetime | None:
        """When the first answer since the day closed was asked for; None if there is none yet."""
        answers = (file.landed_at for file in self.zone.files(day) if file.covers_day)
        return next((when for when in answers if when >= end_of(day)), None)
