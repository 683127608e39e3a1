"""One run of the daily assets: its days fetched side by side, then built and checked one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import date
from queue import SimpleQueue
from typing import Any

import dagster as dg
import duckdb

from cdr_assets.warehouse import partitions as tables
from cdr_assets.pipeline.reconciliation import compare_routes
from cdr_assets.warehouse.checks import BlockedByCheck, Report, describe_days
from cdr_assets.enablex.client import EnableX
from cdr_assets.landing.ingest import IngestResult, ingest
from cdr_assets.landing.zone import LandingZone, version
from cdr_assets.warehouse.exports import publish
from cdr_assets.pipeline.resources import EnableXResource, WarehouseResource
from cdr_assets.database import TABLES, ConnectionLease

PERIOD = "period_cdr"

Metadata = Mapping[str, Any]


class DailyRun:
    """One run over some days: the assets selected in it, and what it found.

    Days are fetched and built inside its `with`. What is done of a day is recorded in Dagster while the next thing is
    done, since that takes as long as a small day; on leaving the `with` all of it is.
    """

    def __init__(self, context: dg.AssetExecutionContext, zone: LandingZone, warehouse: WarehouseResource) -> None:
        self.report = Report(context.selected_asset_check_keys)
        # Days that changed in the landing zone after this run built them, or that it does not build.
        self.days_to_rebuild: set[date] = set()
        self._selected = {key.to_user_string() for key in context.selected_asset_keys}
        self._context = context
        self._zone = zone
        self._warehouse = warehouse
        self._lease = ConnectionLease(warehouse.get_connection)
        self._recorded: list[Future[None]] = []

    def __enter__(self) -> DailyRun:
        self._recorder = ThreadPoolExecutor(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.end()
        self._recorder.shutdown()
        for recorded in self._recorded:
            recorded.result()

    def fetched(
        self, days: list[date], enablex: EnableXResource, replace: bool, concurrency: int
    ) -> Generator[tuple[date, IngestResult | None], None, None]:
        """Each day once its answer has landed, in order, while the next ones are on their way.

        None in the place of the answer when the run does not fetch.
        """
        if PERIOD not in self._selected:
            yield from ((day, None) for day in days)
            return
        with ExitStack() as stack:
            clients = SimpleQueue[EnableX]()
            for _ in range(min(concurrency, len(days))):
                clients.put(stack.enter_context(enablex.client()))

            def fetch(day: date) -> IngestResult:
                client = clients.get()
                try:
                    return ingest(
                        self._zone, lambda receive: client.period(day, day, receive), "period", [day], replace
                    )
                finally:
                    clients.put(client)

            def landed(answer: Future[IngestResult]) -> IngestResult:
                # Nobody waits for EnableX with the warehouse in hand.
                if not answer.done():
                    self._lease.end()
                return answer.result()

            pool = stack.enter_context(ThreadPoolExecutor(concurrency))
            # When a day fails, those not begun are not asked for any more.
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            under_way = deque[tuple[date, Future[IngestResult]]]()
            for day in days:
                under_way.append((day, pool.submit(fetch, day)))
                # The first one goes alone: where EnableX refuses the account, it is asked once.
                if day == days[0] or len(under_way) > concurrency:
                    first, answer = under_way.popleft()
                    yield first, landed(answer)
            for first, answer in under_way:
                yield first, landed(answer)

    def take(self, day: date, intake: IngestResult | None) -> None:
        """Records what the day's answer brought."""
        if intake is None:
            return
        self.days_to_rebuild.update(intake.changed_days)
        self._record(PERIOD, day, period_metadata(day, intake))
        self.report.take_intake(day, intake)

    def build(self, day: date) -> None:
        """Replaces the day's partition of each table, each in its own transaction, and checks it."""
        selected = [table for table in TABLES if table in self._selected]
        if not selected:
            return
        with self._lease.connection() as connection:
            changed_days = {day}
            for table in selected:
                if table == "call_detail_records":
                    replaced, built_from = self._load(connection, day)
                    changed_days = replaced.days
                else:
                    replaced = self._sum(connection, table, day, changed_days - {day})
                    built_from = self._warehouse.built.versions("call_detail_records").get(day, "none")
                self._record(table, day, {"dagster/row_count": replaced.row_count})
                self.report.take_table(connection, table, day)
                self._warehouse.built.mark(table, day, built_from)
        self.days_to_rebuild.discard(day)

    def _load(self, connection: duckdb.DuckDBPyConnection, day: date) -> tuple[tables.Replaced, str]:
        with self._zone.lock(day):
            replaced = tables.replace_call_detail_records(connection, day, self._zone.files)
            return replaced, version(self._zone.files(day))

    def _sum(self, connection: duckdb.DuckDBPyConnection, table: str, day: date, others: set[date]) -> tables.Replaced:
        """The day's usage, and that of others whose records changed with it."""
        replace = tables.replace_room_usage if table == "room_usage" else tables.replace_conference_usage
        changed = [replace(connection, other).days for other in sorted(others)]
        replaced = replace(connection, day)
        publish(connection, self._warehouse.published, table, replaced.days.union(*changed))
        return replaced

    def check(self, days: list[date]) -> None:
        """Evaluates the selected checks on the tables as they are."""
        self.report.forbid_intake_checks()
        with self._warehouse.get_connection() as connection:
            for day in days:
                for table in TABLES:
                    # Blocked or not, the other days are looked at too.
                    with suppress(BlockedByCheck):
                        self.report.take_table(connection, table, day)

    def compare_routes(self, day: date, enablex: EnableXResource, sample: int) -> None:
        """Asks the other routes for some of the day, where the check is wanted and the tables are not just rebuilt."""
        fetches = {PERIOD, "call_detail_records"} <= self._selected
        if not (sample and self.report.wants_routes and (fetches or not self._selected)):
            return
        with enablex.client() as client:
            agreement = compare_routes(self._warehouse.get_connection, client, self._zone, day, sample)
        for intake in agreement.intakes:
            self.days_to_rebuild.update(intake.changed_days)
        self.report.take_agreement(day, agreement)

    def _record(self, asset: str, day: date, metadata: Metadata) -> None:
        done = dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata)
        self._recorded.append(self._recorder.submit(self._context.log_event, done))


def period_metadata(day: date, intake: IngestResult) -> Metadata:
    """What the period route's answer brought, for the day's materialization."""
    spilled = [other for other in intake.changed_days if other != day]
    return {
        "request": f"GET /cdr/period/{day}/{day}",
        **change_metadata(day, intake),
        "vanished_records": intake.changes[day].vanished,
        "set_aside_records": sum(intake.quarantined.values()),
        "days_to_rebuild": describe_days(spilled) or "none",
    }


def change_metadata(day: date, intake: IngestResult) -> Metadata:
    """What an answer brought to one day."""
    change = intake.changes[day]
    return {
        "dagster/row_count": intake.records.get(day, 0),
        "records": sum(intake.records.values()),
        "new_records": change.new,
        "changed_records": change.changed,
        "answer": f"{change.new} new, {change.changed} changed" if change.brings_something else "nothing new",
    }
