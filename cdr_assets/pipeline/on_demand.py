"""A run on demand: it lands the answer of the room or conference route, and builds the tables of what came if asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import dagster as dg

from cdr_assets.database import WarehouseError
from cdr_assets.days import describe_days
from cdr_assets.enablex.client import EnableX, Request
from cdr_assets.landing.ingest import IngestResult, ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline import checks, events
from cdr_assets.pipeline.assets import no_client
from cdr_assets.pipeline.daily_run import DailyRun, Outcome
from cdr_assets.pipeline.daily_step import Event
from cdr_assets.pipeline.failures import failure, without_values
from cdr_assets.pipeline.live_run import LiveRun
from cdr_assets.pipeline.progress import reporting
from cdr_assets.pipeline.resources import EnableXResource, account_client
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES


@dataclass(frozen=True)
class OnDemand:
    """The work of one such run. What it did is recorded in Dagster by `context`."""

    context: dg.OpExecutionContext
    utc_days: dg.DailyPartitionsDefinition
    live_run: LiveRun
    zone: LandingZone

    def land(self, asset: str, path: str, ask: Callable[[EnableX], Request], enablex: EnableXResource) -> IngestResult:
        """Lands the answer to `ask`, which asks for `/cdr/<path>`.

        Records what it brought, for each day that it has records of and that is a partition.
        """
        context = self.context
        try:
            with account_client(enablex, self.zone) as client:
                request = ask(client)
                ingested = ingest(self.zone, reporting(f"GET /cdr/{path}", request), route=path.partition("/")[0])
        except Exception as error:
            raise failure(context, error) from without_values(error)
        start = self.utc_days.start.date()
        context.log.info(
            f"{sum(ingested.records.values())} records on {describe_days(ingested.records) or 'no day'}; "
            f"changed: {describe_days(ingested.changed_days) or 'nothing'}"
        )
        if ingested.signs_of_more:
            context.log.warning(f"The answer says that it lacks records: {'; '.join(ingested.signs_of_more)}")
        if early := events.before_start_date(ingested, start):
            context.log.warning(f"Records from before CDR_START_DATE: {early}")
        for materialization in events.landed_on_demand(
            asset, f"GET /cdr/{path}", ingested, self.zone, self.live_run.enablex, request.asked, start
        ):
            if self.utc_days.has_partition_key(str(materialization.partition)):
                context.log_event(materialization)
        return ingested

    def build(self, ingested: IngestResult, warehouse: Warehouse) -> Iterator[Event]:
        """Builds the tables of the days that the answer has records of, and of the days that lost records to these.

        Days whose tables are current are left alone. Waits while another run has the warehouse. Yields what Dagster
        records of it.
        """
        run = self.live_run.closing(DailyRun(self.zone, warehouse, no_client, DAILY_TABLES))
        try:
            yield from self._built(run, run.build(self._partitions(ingested.records), skip_current=True))
            yield from self._built(run, run.build(self._partitions(run.days_due)))
        except Exception as error:
            # The records have landed, and the sensors build what is left.
            with suppress(WarehouseError):
                yield from self._results(run)
            raise failure(self.context, error) from without_values(error)
        yield from self._results(run)
        if run.bad_rooms:
            raise failure(self.context, run.bad_rooms, outlook="owner_usage waits for it. Everything else is done.")

    def _partitions(self, days: Iterable[date]) -> list[date]:
        """Those of the days that landed and are partitions."""
        return sorted(day for day in days if self.utc_days.has_partition_key(day.isoformat()) and self.zone.files(day))

    def _built(self, run: DailyRun, outcomes: Iterable[Outcome]) -> Iterator[Event]:
        for outcome in outcomes:
            if outcome.error or not all(partition.was_current for partition in outcome.built):
                yield from events.recorded(outcome, run, self.live_run)

    def _results(self, run: DailyRun) -> Iterator[Event]:
        with run.connection() as connection:
            tables = {table.name for table in DAILY_TABLES}
            found = list(checks.evaluations(connection, run.looked_at, tables, {}))
        yield from found
