"""Jobs: what can be launched by name, and the schedule of the one that runs by the clock."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from cdr_assets.days import describe_days, parse_day
from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import BadParameter
from cdr_assets.pipeline.assets import tables_from_landing_zone
from cdr_assets.pipeline.checks import check_named, evaluation
from cdr_assets.pipeline.daily_step import Event
from cdr_assets.pipeline.failures import failure, without_values
from cdr_assets.pipeline.live_run import LiveRun
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.on_demand import OnDemand
from cdr_assets.pipeline.resources import EnableXResource, LandingResource, WarehouseResource
from cdr_assets.warehouse.checks import kept_findings
from cdr_assets.warehouse.tables import DAILY_TABLES

TABLES = [table.name for table in DAILY_TABLES]

# The step records the results of the checks itself, one per check and run. With the checks selected, Dagster would
# also plan a result per check and partition. A run over a range leaves these in the history as skipped.
daily_cdr = dg.define_asset_job(
    "daily_cdr",
    selection=dg.AssetSelection.assets(PERIOD_CDR, *TABLES).without_checks(),
    description="Fetches a UTC day, or each day of a range, builds its tables and checks them.",
)

weekly_checks = dg.define_asset_job(
    "weekly_checks",
    selection=dg.AssetSelection.checks(
        *(
            dg.AssetCheckKey(dg.AssetKey(table.name), check.name)
            for table in DAILY_TABLES
            for check in table.checks
            if check.over_all_days
        )
    ),
    description="Evaluates the checks that need a whole table. Never asks EnableX.",
)

every_week = dg.ScheduleDefinition(
    name="every_week",
    job=weekly_checks,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Runs weekly_checks on Sundays at 03:30 UTC.",
)


def rebuild(
    utc_days: dg.PartitionsDefinition[str], days_a_run: int | None, resources: Mapping[str, Any]
) -> dg.JobDefinition:
    """Builds tables from the landing zone."""
    job = dg.define_asset_job(
        "rebuild",
        selection=dg.AssetSelection.assets(*TABLES),
        description="Builds the tables of a UTC day, or of each day of a range, from what landed. Never asks EnableX.",
    )
    # It has the same assets as daily_cdr but another step, without that one's settings. An asset can have only one
    # step per code location, so the job is resolved by itself.
    alone = dg.Definitions(assets=[tables_from_landing_zone(utc_days, days_a_run)], jobs=[job], resources=resources)
    return alone.resolve_job_def("rebuild")


WAIT = (
    "Whether to build the tables of the days that changed before the run ends. Otherwise they are built soon after it."
)


class RoomConfig(dg.Config):
    """Which room to fetch, and which of its days."""

    room_id: str = Field(description="The room's id, as EnableX gives it.")
    from_date: str | None = Field(
        default=None,
        description="First UTC day, YYYY-MM-DD, together with to_date. Without both: the room's whole history.",
    )
    to_date: str | None = Field(default=None, description="Last UTC day, YYYY-MM-DD, together with from_date.")
    wait: bool = Field(default=False, description=WAIT)


class ConferenceConfig(dg.Config):
    """Which conference to fetch."""

    conf_num: str = Field(description="The conference's number, as EnableX gives it.")
    wait: bool = Field(default=False, description=WAIT)


def fetch_room(utc_days: dg.DailyPartitionsDefinition) -> dg.JobDefinition:
    """Fetches one room on demand."""

    @dg.op(name="fetch_room", out=dg.Out(dg.Nothing))
    def op(
        context: dg.OpExecutionContext,
        config: RoomConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        warehouse: WarehouseResource,
        live_run: LiveRun,
    ) -> Iterator[Event]:
        if not config.room_id.strip():
            raise failure(context, BadParameter("room_id is empty: give the id of the room to fetch"))
        if bool(config.from_date) != bool(config.to_date):
            given, lacking = ("from_date", "to_date") if config.from_date else ("to_date", "from_date")
            problem = f"{given} is given without {lacking}: give both for a period, or none for all its days"
            raise failure(context, BadParameter(problem))
        if config.from_date and config.to_date:
            path = f"room-period/{config.room_id}/{config.from_date}/{config.to_date}"
            ask = partial(
                EnableX.room_period, room_id=config.room_id, from_date=config.from_date, to_date=config.to_date
            )
        else:
            path, ask = f"room/{config.room_id}", partial(EnableX.room, room_id=config.room_id)
        on_demand = OnDemand(context, utc_days, live_run, landing.zone)
        ingested = on_demand.land(ROOM_CDR, path, ask, enablex)
        if config.wait:
            yield from on_demand.build(ingested, warehouse.warehouse)

    return _job(
        op,
        RoomConfig,
        "Lands one room's CDRs, of a period or its whole history. Changed days are rebuilt by themselves; with wait: "
        "true, before the run ends.",
    )


def fetch_conference(utc_days: dg.DailyPartitionsDefinition) -> dg.JobDefinition:
    """Fetches one conference on demand."""

    @dg.op(name="fetch_conference", out=dg.Out(dg.Nothing))
    def op(
        context: dg.OpExecutionContext,
        config: ConferenceConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        warehouse: WarehouseResource,
        live_run: LiveRun,
    ) -> Iterator[Event]:
        if not config.conf_num.strip():
            raise failure(context, BadParameter("conf_num is empty: give the number of the conference to fetch"))
        ask = partial(EnableX.conference, conf_num=config.conf_num)
        on_demand = OnDemand(context, utc_days, live_run, landing.zone)
        ingested = on_demand.land(CONFERENCE_CDR, f"conf/{config.conf_num}", ask, enablex)
        if config.wait:
            yield from on_demand.build(ingested, warehouse.warehouse)

    return _job(
        op,
        ConferenceConfig,
        "Lands one conference's CDRs. Changed days are rebuilt by themselves; with wait: true, before the run ends.",
    )


class AcknowledgeConfig(dg.Config):
    """Which findings to acknowledge, and why."""

    check: str = Field(description="The check's name, for example no_field_was_lost_to_its_type.")
    first_day: str = Field(description="First UTC day, YYYY-MM-DD.")
    last_day: str | None = Field(default=None, description="Last UTC day, YYYY-MM-DD; the first day if left out.")
    note: str = Field(description="Why the findings are accepted. Shown with the check.")


def acknowledge() -> dg.JobDefinition:
    """Closes findings that cannot be mended, with a note."""

    @dg.op(name="acknowledge", out=dg.Out(dg.Nothing))
    def op(
        context: dg.OpExecutionContext, config: AcknowledgeConfig, warehouse: WarehouseResource, live_run: LiveRun
    ) -> Iterator[dg.AssetCheckEvaluation]:
        try:
            asset, check = check_named(config.check)
            first = parse_day("first_day", config.first_day)
            last = parse_day("last_day", config.last_day) if config.last_day else first
            if last < first:
                raise ValueError(f"first_day {first} is after last_day {last}")
            days = warehouse.warehouse.acknowledge(check.name, first, last, config.note)
            if not days:
                raise ValueError(f"{check.name} has no open finding on {describe_days([first, last])}")
            context.log.info(f"Acknowledged {check.name} on {describe_days(days)}: {config.note}")
            with warehouse.warehouse.connect() as connection:
                kept = kept_findings(connection, asset, check)
        except ValueError as error:
            raise failure(context, BadParameter(str(error))) from None
        except Exception as error:
            raise failure(context, error) from without_values(error)
        yield evaluation(asset, check, [], kept)

    return _job(
        op,
        AcknowledgeConfig,
        "Acknowledges the open findings of a check on a day, or on each day of a range. They are shown as "
        "acknowledged, and open again when they change. A blocking check lets an acknowledged day through.",
    )


def lake_upkeep() -> dg.JobDefinition:
    """Keeps a lake small and quick to read."""

    @dg.op(name="lake_upkeep", out=dg.Out(dg.Nothing))
    def op(context: dg.OpExecutionContext, warehouse: WarehouseResource, live_run: LiveRun) -> None:
        try:
            lake = warehouse.warehouse.lake
            if not lake:
                raise ValueError("the warehouse is a DuckDB file, which needs no upkeep")
            done = lake.upkeep()
        except Exception as error:
            raise failure(context, error) from without_values(error)
        context.add_output_metadata(
            {
                "files_before": done.before.files,
                "files": done.after.files,
                "megabytes_before": round(done.before.bytes / 1e6, 1),
                "megabytes": round(done.after.bytes / 1e6, 1),
                "orphans_removed": done.orphans,
            }
        )

    return _job(
        op,
        None,
        "Merges small files of the lake, and removes those that nobody reads any more. Builds wait for it.",
    )


def every_night(upkeep: dg.JobDefinition) -> dg.ScheduleDefinition:
    """The upkeep of a lake by the clock."""
    return dg.ScheduleDefinition(
        name="every_night",
        job=upkeep,
        cron_schedule="30 2 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Runs lake_upkeep at 02:30 UTC.",
    )


def _job(op: dg.OpDefinition, config: type[dg.Config] | None, description: str) -> dg.JobDefinition:
    # The graph has a name of its own, since the op has the job's.
    graph = dg.GraphDefinition(f"{op.name}_graph", node_defs=[op], description=description)
    if config is None:
        return graph.to_job(op.name, description=description)
    # Shown in the launchpad, to be filled in. An optional field that stays empty counts as not given.
    blank = {name: False if field.annotation is bool else "" for name, field in config.model_fields.items()}
    return graph.to_job(op.name, description=description, config={"ops": {op.name: {"config": blank}}})
