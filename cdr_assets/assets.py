"""The daily assets: a UTC day is landed, typed, and summed per room and per conference, one day after the other.

All four are computed by one step. It finishes a day, checks included, before it begins the next, and records each
partition as it is done: a range that fails at its tenth day has nine good days, in the tables and in Dagster.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from queue import SimpleQueue
from typing import Any

import dagster as dg
import duckdb
from pydantic import Field

from cdr_assets import tables
from cdr_assets.agreement import compare_routes
from cdr_assets.checks import CHECKS, Report, describe_days
from cdr_assets.client import EnableX
from cdr_assets.intake import Intake, take_in
from cdr_assets.landing import LandingZone, version
from cdr_assets.published import publish
from cdr_assets.resources import EnableXResource, LandingResource, WarehouseResource, failure
from cdr_assets.warehouse import TABLES, columns

OWNERS = ["team:cdr"]
GROUP = "cdr"

Metadata = Mapping[str, Any]

PERIOD, ROOM, CONFERENCE = "period_cdr", "room_cdr", "conference_cdr"


def table_schema(table: str) -> dg.TableSchema:
    """The table's columns as Dagster shows them."""
    return dg.TableSchema([dg.TableColumn(name, type, description) for name, type, description in columns(table)])


def table_spec(table: str, deps: list[str], description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        table,
        deps=deps,
        description=description,
        group_name=GROUP,
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        skippable=True,
        metadata={"dagster/column_schema": table_schema(table), "dagster/table_name": f"cdr.main.{table}"},
    )


def landing_spec(asset: str, description: str, skippable: bool = False) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset,
        description=description,
        group_name=GROUP,
        kinds={"python", "json"},
        owners=OWNERS,
        skippable=skippable,
    )


ON_DEMAND_SPECS = (
    landing_spec(
        ROOM,
        "CDRs of one room as EnableX sent them. Source: GET /cdr/room/{room_id}, or with dates "
        "/cdr/room-period/{room_id}/{from}/{to}, asked for by the job fetch_room. One record a line, in the landing "
        "zone under its own UTC day. Every fetch adds new records and newer versions.",
    ),
    landing_spec(
        CONFERENCE,
        "CDRs of one conference as EnableX sent them. Source: GET /cdr/conf/{conf_num}, asked for by the job "
        "fetch_conference. One record a line, in the landing zone under its own UTC day. Every fetch adds new records "
        "and newer versions.",
    ),
)

SPECS = (
    landing_spec(
        PERIOD,
        "CDRs as EnableX sent them. Source: GET /cdr/period/{day}/{day}. One record a line, byte for byte, in the "
        "landing zone under the UTC day of its own trans_date. A rerun asks again and adds new records and newer "
        "versions; what the newer answer lacks is kept.",
        skippable=True,
    ),
    table_spec(
        "call_detail_records",
        [PERIOD, ROOM, CONFERENCE],
        "Typed CDRs. Source: every record that landed for the day. One row a cdr_id, the newest version. A rerun "
        "replaces the day's rows and never asks EnableX for the day.",
    ),
    table_spec(
        "room_usage",
        ["call_detail_records"],
        "Usage per room. Source: call_detail_records of the day. One row a room and UTC day. A rerun replaces the "
        "day's rows.",
    ),
    table_spec(
        "conference_usage",
        ["call_detail_records"],
        "Usage per conference. Source: call_detail_records of the day and of the days that its conferences reach to. "
        "One row a conference over all its days, under the day of its first record. A rerun replaces the rows of every "
        "conference that takes part in the day.",
    ),
)


class DailyConfig(dg.Config):
    """What a run of the daily assets can be told."""

    replace: bool = Field(
        default=False,
        description="Keep of the days only what EnableX answers now: records that landed before and are not in the "
        "answer are dropped for good.",
    )


def on_demand_assets(utc_days: dg.PartitionsDefinition[str]) -> list[dg.AssetSpec]:
    """What the on-demand jobs land: shown in the lineage, never materialized by "Materialize all"."""
    return [spec.replace_attributes(partitions_def=utc_days) for spec in ON_DEMAND_SPECS]


def daily_assets(
    utc_days: dg.PartitionsDefinition[str], fetch_concurrency: int, agreement_sample: int
) -> dg.AssetsDefinition:
    """The four daily assets and their checks, partitioned by `utc_days`; a range is one run.

    Up to `fetch_concurrency` days are fetched side by side. `agreement_sample` is how many rooms, and how many
    conferences, the check routes_agree asks for; 0: none.
    """

    @dg.multi_asset(
        name="cdr_by_day",
        specs=[spec.replace_attributes(partitions_def=utc_days) for spec in SPECS],
        check_specs=[check.spec for check in CHECKS],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def cdr_by_day(
        context: dg.AssetExecutionContext,
        config: DailyConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.AssetCheckResult]:
        days = [date.fromisoformat(key) for key in context.partition_keys]
        run = DailyRun(context, landing.zone, warehouse)
        left = list(days)
        try:
            for day, intake in run.fetched(days, enablex, config.replace, fetch_concurrency):
                run.take(day, intake)
                run.build(day)
                left.remove(day)
                context.log.info(run.summary(day))
            run.compare_routes(days[-1], enablex, agreement_sample)
            for day in sorted(run.days_to_rebuild.intersection(days)):
                run.build(day)
        except Exception as error:
            yield from run.report.results()
            done = [day for day in days if day not in left]
            outlook = f"Days done: {describe_days(done) or 'none'}. Days left: {describe_days(left) or 'none'}."
            raise failure(context, error, left[0] if left else None, outlook) from error
        yield from run.report.results()

    return cdr_by_day


class DailyRun:
    """One run over some days: the assets selected in it, and what it found."""

    def __init__(self, context: dg.AssetExecutionContext, zone: LandingZone, warehouse: WarehouseResource) -> None:
        self.report = Report(context.selected_asset_check_keys)
        # Days that changed in the landing zone after this run built them, or that it does not build.
        self.days_to_rebuild: set[date] = set()
        self._selected = {key.to_user_string() for key in context.selected_asset_keys}
        self._row_counts: dict[date, dict[str, int]] = {}
        self._context = context
        self._zone = zone
        self._warehouse = warehouse

    def fetched(
        self, days: list[date], enablex: EnableXResource, replace: bool, concurrency: int
    ) -> Iterator[tuple[date, Intake | None]]:
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

            def fetch(day: date) -> Intake:
                client = clients.get()
                try:
                    return take_in(
                        self._zone, lambda receive: client.period(day, day, receive), "period", [day], replace
                    )
                finally:
                    clients.put(client)

            pool = stack.enter_context(ThreadPoolExecutor(concurrency))
            # When a day fails, those not begun are not asked for any more.
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            under_way = deque[tuple[date, Future[Intake]]]()
            for day in days:
                under_way.append((day, pool.submit(fetch, day)))
                if len(under_way) > concurrency:
                    first, answer = under_way.popleft()
                    yield first, answer.result()
            for first, answer in under_way:
                yield first, answer.result()

    def take(self, day: date, intake: Intake | None) -> None:
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
        with self._warehouse.get_connection() as connection:
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

    def compare_routes(self, day: date, enablex: EnableXResource, sample: int) -> None:
        """Asks the other routes for some of the day, where the run fetches and the check is wanted."""
        if not (sample and self.report.wants_routes and {PERIOD, "call_detail_records"} <= self._selected):
            return
        with enablex.client() as client:
            agreement = compare_routes(self._warehouse.get_connection, client, self._zone, day, sample)
        for intake in agreement.intakes:
            self.days_to_rebuild.update(intake.changed_days)
        self.report.take_agreement(day, agreement)

    def summary(self, day: date) -> str:
        """The day's progress in one line."""
        counts = ", ".join(f"{count} in {asset}" for asset, count in self._row_counts.get(day, {}).items())
        return f"{day}: {counts}"

    def _record(self, asset: str, day: date, metadata: Metadata) -> None:
        self._row_counts.setdefault(day, {})[asset] = metadata["dagster/row_count"]
        self._context.log_event(dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata))


def period_metadata(day: date, intake: Intake) -> Metadata:
    """What the period route's answer brought, for the day's materialization."""
    spilled = [other for other in intake.changed_days if other != day]
    return {
        "request": f"GET /cdr/period/{day}/{day}",
        **change_metadata(day, intake),
        "vanished_records": intake.changes[day].vanished,
        "set_aside_records": sum(intake.set_aside.values()),
        "days_to_rebuild": describe_days(spilled) or "none",
    }


def change_metadata(day: date, intake: Intake) -> Metadata:
    """What an answer brought to one day."""
    change = intake.changes[day]
    return {
        "dagster/row_count": intake.records.get(day, 0),
        "records": sum(intake.records.values()),
        "new_records": change.new,
        "changed_records": change.changed,
        "answer": f"{change.new} new, {change.changed} changed" if change.brings_something else "nothing new",
    }
