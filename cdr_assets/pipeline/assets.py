"""The daily assets: each UTC day is landed, typed, and summed into every usage table, one day after the other.

One step computes all of them. It finishes a day, checks included, before it records the next. A range that fails at its
tenth day has nine good days, in the tables and in Dagster.
"""

from collections.abc import Iterator
from functools import partial
from typing import NoReturn

import dagster as dg
from pydantic import Field

from cdr_assets.pipeline import checks, events
from cdr_assets.pipeline.daily_run import DailyRun
from cdr_assets.pipeline.daily_step import DailyStep, Event
from cdr_assets.pipeline.live_run import LiveRun
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.overdue import Overdue, OverdueInRun
from cdr_assets.pipeline.resources import (
    Clock,
    EnableXResource,
    LandingResource,
    WarehouseResource,
    account_client,
)
from cdr_assets.settings import Settings
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import DAILY_TABLES

GROUP = "cdr"

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
        skippable=True,
        code_version=table.fingerprint,
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/table_name": f"cdr.main.{table.name}",
            "grain": table.grain,
        },
    )


def set_up(spec: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """The asset with its owners, and with the places of its data."""
    places, name = settings.places, spec.key.to_user_string()
    if name in LANDED:
        metadata = {"dagster/uri": places.storage.place("landing")}
    else:
        copy = places.exports(settings.export_dir).place(f"{name}/*.parquet")
        metadata = {"dagster/uri": places.shown_warehouse, "parquet_copy": copy}
    return spec.replace_attributes(owners=settings.owners).merge_attributes(metadata=metadata)


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


def days_of_backfills(days_a_run: int | None) -> dg.BackfillPolicy:
    """How a backfill is divided: by itself a range is one run. With `days_a_run` it takes several workers."""
    return dg.BackfillPolicy.multi_run(days_a_run) if days_a_run else dg.BackfillPolicy.single_run()


def daily_assets(
    utc_days: dg.PartitionsDefinition[str],
    overdue: Overdue,
    fetch_concurrency: int,
    agreement_sample: int,
    days_a_run: int | None,
) -> dg.AssetsDefinition:
    """The daily assets and their checks, partitioned by `utc_days`. See DailyStep."""
    specs = [landed_spec(PERIOD_CDR), *map(table_spec, DAILY_TABLES)]

    @dg.multi_asset(
        name="cdr_by_day",
        specs=[spec.replace_attributes(partitions_def=utc_days) for spec in specs],
        check_specs=checks.check_specs(),
        can_subset=True,
        backfill_policy=days_of_backfills(days_a_run),
    )
    def cdr_by_day(
        context: dg.AssetExecutionContext,
        config: DailyConfig,
        clock: Clock,
        enablex: EnableXResource,
        landing: LandingResource,
        warehouse: WarehouseResource,
        live_run: LiveRun,
    ) -> Iterator[Event]:
        client = partial(account_client, enablex, landing.zone)
        run = DailyRun(landing.zone, warehouse.warehouse, client, selected_tables(context), config.replace)
        with live_run.closing(run):
            in_run = OverdueInRun(overdue, context.instance, clock.now(), landing, enablex, warehouse)
            step = DailyStep(context, run, live_run, fetch_concurrency, agreement_sample, in_run)
            yield from step.events()

    return cdr_by_day


def tables_from_landing_zone(utc_days: dg.PartitionsDefinition[str], days_a_run: int | None) -> dg.AssetsDefinition:
    """The tables alone, for the job rebuild: it never fetches, so it has no setting that would need a fetch."""

    @dg.multi_asset(
        name="rebuild_by_day",
        specs=[table_spec(table).replace_attributes(partitions_def=utc_days) for table in DAILY_TABLES],
        can_subset=True,
        backfill_policy=days_of_backfills(days_a_run),
    )
    def rebuild_by_day(
        context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource, live_run: LiveRun
    ) -> Iterator[Event]:
        run = DailyRun(landing.zone, warehouse.warehouse, no_client, selected_tables(context))
        with live_run.closing(run):
            yield from DailyStep(context, run, live_run, fetch_concurrency=1, sample=0).events()

    return rebuild_by_day


def selected_tables(context: dg.AssetExecutionContext) -> list[Table]:
    """The tables among the selected assets, in the order in which they are built."""
    return [table for table in DAILY_TABLES if dg.AssetKey(table.name) in context.selected_asset_keys]


def no_client() -> NoReturn:
    """Stands for the client in a run that never asks EnableX."""
    raise AssertionError("a run that only rebuilds asked for a client")
