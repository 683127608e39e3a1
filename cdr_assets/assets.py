"""The daily assets: a UTC day is landed, typed, and summed per room and per conference, one day after the other.

All four are computed by one step. It finishes a day, checks included, before it begins the next, and records each
partition as it is done: a range that fails at its tenth day has nine good days, in the tables and in Dagster.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import dagster as dg
from pydantic import Field

from cdr_assets.checks import CHECKS, describe_days
from cdr_assets.daily import PERIOD, DailyRun
from cdr_assets.live_run import LiveRun
from cdr_assets.resources import EnableXResource, LandingResource, WarehouseResource, failure
from cdr_assets.warehouse import columns

OWNERS = ["team:cdr"]
GROUP = "cdr"

ROOM, CONFERENCE = "room_cdr", "conference_cdr"


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
        live_run: LiveRun,
    ) -> Iterator[dg.AssetCheckResult]:
        if config.replace and dg.AssetKey(PERIOD) not in context.selected_asset_keys:
            raise dg.Failure(
                f"replace is for runs that fetch: select {PERIOD} too, or leave it out", allow_retries=False
            )
        run = DailyRun(context, landing.zone, warehouse)
        if not context.selected_asset_keys:
            # Checks by themselves, from their button in the UI, come without a partition and look at every day.
            days = sorted(warehouse.built.versions("call_detail_records"))
            run.check(days)
            if days:
                run.compare_routes(days[-1], enablex, agreement_sample)
            yield from run.report.results()
            return
        days = [date.fromisoformat(key) for key in context.partition_keys]
        left = list(days)
        try:
            with run, closing(run.fetched(days, enablex, config.replace, fetch_concurrency)) as fetched:
                for day, intake in fetched:
                    run.take(day, intake)
                    run.build(day)
                    left.remove(day)
            run.compare_routes(days[-1], enablex, agreement_sample)
            with run:
                for day in sorted(run.days_to_rebuild.intersection(days)):
                    run.build(day)
        except Exception as error:
            yield from run.report.results()
            done = [day for day in days if day not in left]
            outlook = f"Days done: {describe_days(done) or 'none'}. Days left: {describe_days(left) or 'none'}."
            raise failure(context, error, left[0] if left else None, outlook) from error
        yield from run.report.results()

    return cdr_by_day
