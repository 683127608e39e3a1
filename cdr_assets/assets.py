"""The daily assets: a UTC day is landed, typed, and summed per room and per conference, one day after the other.

All four are computed by one step. It finishes a day, checks included, before it begins the next, and records each
partition as it is done: a range that fails at its tenth day has nine good days, in the tables and in Dagster.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg
import duckdb
from pydantic import Field

from cdr_assets import tables
from cdr_assets.checks import CHECKS, Report, describe_days
from cdr_assets.client import EnableX
from cdr_assets.intake import Intake, take_in
from cdr_assets.landing import LandingZone
from cdr_assets.resources import EnableXResource, LandingResource, WarehouseResource, failure
from cdr_assets.warehouse import columns

OWNERS = ["team:cdr"]
GROUP = "cdr"

Connection = duckdb.DuckDBPyConnection
Metadata = Mapping[str, Any]

LANDING = "period_cdr"


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


SPECS = (
    dg.AssetSpec(
        LANDING,
        description="CDRs as EnableX sent them. Source: GET /cdr/period/{day}/{day}. One record a line, byte for byte, "
        "in the landing zone under the UTC day of its own trans_date. A rerun asks again and adds new records and newer "
        "versions; what the newer answer lacks is kept.",
        group_name=GROUP,
        kinds={"python", "json"},
        owners=OWNERS,
        skippable=True,
    ),
    table_spec(
        "call_detail_records",
        [LANDING],
        "Typed CDRs. Source: every record that landed for the day. One row a cdr_id, the newest version. A rerun "
        "replaces the day's rows and never calls the API.",
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

BUILD: dict[str, Callable[[Connection, LandingZone, date], int]] = {
    "call_detail_records": lambda connection, zone, day: tables.replace_call_detail_records(
        connection, day, zone.files(day)
    ),
    "room_usage": lambda connection, zone, day: tables.replace_room_usage(connection, day),
    "conference_usage": lambda connection, zone, day: tables.replace_conference_usage(connection, day),
}


class DailyConfig(dg.Config):
    """What a run of the daily assets can be told."""

    replace: bool = Field(
        default=False,
        description="Keep of the days only what EnableX answers now: records that landed before and are not in the "
        "answer are dropped for good.",
    )


def daily_assets(utc_days: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The four daily assets and their checks, partitioned by `utc_days`; a range is one run."""

    @dg.multi_asset(
        name="daily_cdr",
        specs=[spec.replace_attributes(partitions_def=utc_days) for spec in SPECS],
        check_specs=[check.spec for check in CHECKS],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def daily_cdr(
        context: dg.AssetExecutionContext,
        config: DailyConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.AssetCheckResult]:
        run = DailyRun(context, landing.zone, warehouse)
        days = [date.fromisoformat(key) for key in context.partition_keys]
        left = list(days)
        try:
            with enablex.client() as client:
                for day in days:
                    run.land(day, client, config.replace)
                    run.build(day)
                    left.remove(day)
                    context.log.info(run.summary(day))
                for day in run.days_to_rebuild.intersection(days):
                    run.build(day)
        except Exception as error:
            yield from run.report.results()
            done = [day for day in days if day not in left]
            raise failure(
                context, error, f"Days done: {describe_days(done) or 'none'}. Days left: {describe_days(left)}."
            ) from error
        yield from run.report.results()

    return daily_cdr


class DailyRun:
    """One run over some days: the assets selected in it, and what it found."""

    def __init__(self, context: dg.AssetExecutionContext, zone: LandingZone, warehouse: WarehouseResource) -> None:
        self.report = Report(context.selected_asset_check_keys)
        # Days that have changed in the landing zone since this run built them, or that it does not build.
        self.days_to_rebuild: set[date] = set()
        self._row_counts: dict[date, dict[str, int]] = {}
        self._selected = {key.to_user_string() for key in context.selected_asset_keys}
        self._context = context
        self._zone = zone
        self._warehouse = warehouse

    def land(self, day: date, client: EnableX, replace: bool) -> None:
        """Fetches the day and lands its records."""
        if LANDING not in self._selected:
            return
        intake = take_in(self._zone, lambda receive: client.period(day, day, receive), "period", [day], replace=replace)
        spilled = [changed for changed in intake.changed_days if changed != day]
        self.days_to_rebuild.update(spilled)
        self._record(LANDING, day, intake_metadata(day, intake))
        self.report.take_intake(day, intake)

    def build(self, day: date) -> None:
        """Replaces the day's partition of each table, each in its own transaction, and checks it."""
        selected = [table for table in BUILD if table in self._selected]
        if not selected:
            return
        with self._warehouse.get_connection() as connection:
            for table in selected:
                count = BUILD[table](connection, self._zone, day)
                self._record(table, day, {"dagster/row_count": count})
                self.report.take_table(connection, table, day)
        self.days_to_rebuild.discard(day)

    def summary(self, day: date) -> str:
        """The day's progress in one line."""
        counts = ", ".join(f"{count} in {asset}" for asset, count in self._row_counts.get(day, {}).items())
        return f"{day}: {counts}"

    def _record(self, asset: str, day: date, metadata: Metadata) -> None:
        self._row_counts.setdefault(day, {})[asset] = metadata["dagster/row_count"]
        self._context.log_event(dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata))


def intake_metadata(day: date, intake: Intake) -> Metadata:
    """What one answer brought, for the day's materialization."""
    change = intake.changes[day]
    spilled = [other for other in intake.changed_days if other != day]
    return {
        "dagster/row_count": intake.records.get(day, 0),
        "request": f"GET /cdr/period/{day}/{day}",
        "records": sum(intake.records.values()),
        "new_records": change.new,
        "changed_records": change.changed,
        "vanished_records": change.vanished,
        "set_aside_records": sum(intake.set_aside.values()),
        "days_to_rebuild": describe_days(spilled) or "none",
    }
