"""The daily assets: each UTC day is landed, typed, and summed into every usage table, one day after the other.

One step computes all of them. It finishes a day, checks included, before it records the next, so a range that fails at
its tenth day has nine good days, in the tables and in Dagster.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import dagster as dg
from pydantic import Field

from cdr_assets.database import WarehouseError
from cdr_assets.days import describe_days
from cdr_assets.pipeline import checks, events
from cdr_assets.pipeline.checks import ROUTES_AGREE
from cdr_assets.pipeline.daily_run import DailyRun
from cdr_assets.pipeline.failures import failure
from cdr_assets.pipeline.live_run import PARTITION_TAG, LiveRun
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.resources import (
    EnableXResource,
    LandingResource,
    WarehouseResource,
    account_client,
)
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import CALL_DETAIL_RECORDS, DAILY_TABLES

OWNERS = ["team:cdr"]
GROUP = "cdr"

Event: TypeAlias = dg.AssetMaterialization | dg.AssetCheckEvaluation

LANDED = {
    PERIOD_CDR: "CDRs as EnableX sent them. Source: GET /cdr/period/{day}/{day}. One record per line, byte for byte, "
    "in the landing zone under the UTC day of its own trans_date. A rerun asks again and adds new records and newer "
    "versions; records that the newer answer lacks are kept.",
    ROOM_CDR: "CDRs of one room as EnableX sent them. Source: GET /cdr/room/{room_id}, or with dates "
    "/cdr/room-period/{room_id}/{from}/{to}, asked for by the job fetch_room. One record per line, in the landing zone "
    "under its own UTC day. Every fetch adds new records and newer versions.",
    CONFERENCE_CDR: "CDRs of one conference as EnableX sent them. Source: GET /cdr/conf/{conf_num}, asked for by the "
    "job fetch_conference. One record per line, in the landing zone under its own UTC day. Every fetch adds new "
    "records and newer versions.",
}
"""The landed assets and their descriptions."""


def landed_spec(asset: str) -> dg.AssetSpec:
    """A landed asset as Dagster shows it."""
    return dg.AssetSpec(
        asset,
        description=LANDED[asset],
        group_name=GROUP,
        kinds={"python", "json"},
        owners=OWNERS,
        skippable=asset == PERIOD_CDR,
        code_version=events.LANDING_CODE_VERSION,
    )


def table_spec(table: Table) -> dg.AssetSpec:
    """A table as Dagster shows it, with its columns."""
    columns = [dg.TableColumn(column.name, column.type, column.description) for column in table.columns]
    return dg.AssetSpec(
        table.name,
        deps=[source.name for source in table.sources] or [*LANDED],
        description=table.description,
        group_name=GROUP,
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        skippable=True,
        code_version=table.fingerprint,
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/table_name": f"cdr.main.{table.name}",
            "grain": table.grain,
        },
    )


class DailyConfig(dg.Config):
    """The settings of a run of the daily assets."""

    replace: bool = Field(
        default=False,
        description="Keep only the records that EnableX answers now for these days. Records that landed before and are "
        "not in the answer are dropped for good.",
    )


def on_demand_assets(utc_days: dg.PartitionsDefinition[str]) -> list[dg.AssetSpec]:
    """The assets that the on-demand jobs land: shown in the lineage, never materialized by "Materialize all"."""
    return [landed_spec(asset).replace_attributes(partitions_def=utc_days) for asset in (ROOM_CDR, CONFERENCE_CDR)]


def daily_assets(
    utc_days: dg.PartitionsDefinition[str], fetch_concurrency: int, agreement_sample: int
) -> dg.AssetsDefinition:
    """The daily assets and their checks, partitioned by `utc_days`; a range is one run.

    Up to `fetch_concurrency` days are fetched in parallel. `agreement_sample` is how many rooms, and how many
    conferences, the check routes_agree asks for; 0 turns it off.
    """
    specs = [landed_spec(PERIOD_CDR), *map(table_spec, DAILY_TABLES)]
    with_routes = agreement_sample > 0

    @dg.multi_asset(
        name="cdr_by_day",
        specs=[spec.replace_attributes(partitions_def=utc_days) for spec in specs],
        check_specs=checks.check_specs(with_routes),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def cdr_by_day(
        context: dg.AssetExecutionContext,
        config: DailyConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        warehouse: WarehouseResource,
        live_run: LiveRun,
    ) -> Iterator[Event]:
        assets = {key.to_user_string() for key in context.selected_asset_keys}
        if config.replace and PERIOD_CDR not in assets:
            raise dg.Failure(f"replace is for runs that fetch: select {PERIOD_CDR} too", allow_retries=False)
        with DailyRun(
            landing.zone,
            warehouse.warehouse,
            client=partial(account_client, enablex, landing.zone),
            tables=[table for table in DAILY_TABLES if table.name in assets],
            replace=config.replace,
        ) as run:
            yield from materialize(context, run, assets) if assets else evaluate_checks(context, run)

    def materialize(context: dg.AssetExecutionContext, run: DailyRun, assets: set[str]) -> Iterator[Event]:
        """Does the days of the run that are left. What was done of a day is recorded also if the day fails."""
        days = events.days_left(context)
        left = list(days)
        fetches = PERIOD_CDR in assets
        try:
            for outcome in run.fetch_and_build(days, fetch_concurrency) if fetches else run.build(days):
                yield from events.recorded(outcome, run.zone)
                left.remove(outcome.day)
            if days and with_routes and fetches and CALL_DETAIL_RECORDS.name in assets:
                run.reconcile(days[-1], agreement_sample)
            for outcome in run.build(sorted(run.days_to_rebuild.intersection(days))):
                yield from events.recorded(outcome, run.zone)
        except Exception as error:
            # The results of the days that were done are not lost with the day that failed.
            with suppress(WarehouseError):
                yield from results(context, run, assets)
            done = [day for day in days if day not in left]
            outlook = f"Days done: {describe_days(done) or 'none'}. Days left: {describe_days(left) or 'none'}."
            raise failure(context, error, left[0] if left else None, outlook) from error
        yield from results(context, run, assets)

    def evaluate_checks(context: dg.AssetExecutionContext, run: DailyRun) -> Iterator[Event]:
        """Looks at every day again: "Execute" on checks, in the UI, comes without a partition."""
        selected = {key.name for key in context.selected_asset_check_keys}
        run.look_again(selected)
        if ROUTES_AGREE.name in selected:
            for day in run.days_to_reconcile():
                run.reconcile(day, agreement_sample)
        yield from results(context, run, {key.asset_key.to_user_string() for key in context.selected_asset_check_keys})

    def results(context: dg.AssetExecutionContext, run: DailyRun, assets: set[str]) -> Iterator[Event]:
        """The results of the assets' checks."""
        # A run from the UI plans a result per check and partition; one that gets no result is shown as skipped.
        partition = context.run.tags.get(PARTITION_TAG)
        planned = dict.fromkeys(context.selected_asset_check_keys, partition)
        with run.connection() as connection:
            found = list(checks.evaluations(connection, run.looked_at, assets, with_routes, planned))
        yield from found

    return cdr_by_day
