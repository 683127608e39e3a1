"""Jobs: what can be launched by name."""

import dagster as dg
from pydantic import Field

from cdr_assets.assets import CONFERENCE, ROOM
from cdr_assets.checks import CHECKS, ROUTES_AGREE
from cdr_assets.client import BadParameter
from cdr_assets.daily import change_metadata
from cdr_assets.days import describe_days
from cdr_assets.intake import Intake, take_in
from cdr_assets.live_run import LiveRun
from cdr_assets.resources import EnableXResource, LandingResource, failure
from cdr_assets.warehouse import TABLES

daily_cdr = dg.define_asset_job(
    "daily_cdr",
    selection=dg.AssetSelection.assets("period_cdr", *TABLES),
    description="Fetches a UTC day, or each day of a range, builds its tables and checks them.",
)

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.assets(*TABLES).without_checks()
    | dg.AssetSelection.checks(
        *(check.spec.key for check in CHECKS if check.asset in TABLES and check is not ROUTES_AGREE)
    ),
    description="Builds the tables of a UTC day, or of each day of a range, from what landed. Never asks EnableX.",
)


class RoomConfig(dg.Config):
    """Which room to fetch, and which of its days."""

    room_id: str = Field(description="The room's id, as EnableX gives it.")
    from_date: str | None = Field(
        default=None,
        description="First UTC day, YYYY-MM-DD, together with to_date. Without both: the room's whole history.",
    )
    to_date: str | None = Field(default=None, description="Last UTC day, YYYY-MM-DD, together with from_date.")


class ConferenceConfig(dg.Config):
    """Which conference to fetch."""

    conf_num: str = Field(description="The conference's number, as EnableX gives it.")


def fetch_room(utc_days: dg.PartitionsDefinition[str]) -> dg.JobDefinition:
    """Fetches one room on demand."""

    @dg.op(name="fetch_room", out=dg.Out(dg.Nothing))
    def op(
        context: dg.OpExecutionContext,
        config: RoomConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        live_run: LiveRun,
    ) -> None:
        if not config.room_id.strip():
            raise failure(context, BadParameter("room_id is empty: give the id of the room to fetch"))
        if bool(config.from_date) != bool(config.to_date):
            given, lacking = ("from_date", "to_date") if config.from_date else ("to_date", "from_date")
            problem = f"{given} is given without {lacking}: give both for a period, or none for all its days"
            raise failure(context, BadParameter(problem))
        try:
            with enablex.client() as client:
                if config.from_date and config.to_date:
                    first, last = config.from_date, config.to_date
                    request = f"GET /cdr/room-period/{config.room_id}/{first}/{last}"
                    intake = take_in(
                        landing.zone,
                        lambda receive: client.room_period(config.room_id, first, last, receive),
                        "room-period",
                    )
                else:
                    request = f"GET /cdr/room/{config.room_id}"
                    intake = take_in(landing.zone, lambda receive: client.room(config.room_id, receive), "room")
        except Exception as error:
            raise failure(context, error) from error
        report(context, utc_days, ROOM, request, intake)

    return _job(
        op,
        RoomConfig,
        "Lands one room's CDRs, of a period or its whole history. Changed days are rebuilt by themselves.",
    )


def fetch_conference(utc_days: dg.PartitionsDefinition[str]) -> dg.JobDefinition:
    """Fetches one conference on demand."""

    @dg.op(name="fetch_conference", out=dg.Out(dg.Nothing))
    def op(
        context: dg.OpExecutionContext,
        config: ConferenceConfig,
        enablex: EnableXResource,
        landing: LandingResource,
        live_run: LiveRun,
    ) -> None:
        if not config.conf_num.strip():
            raise failure(context, BadParameter("conf_num is empty: give the number of the conference to fetch"))
        try:
            with enablex.client() as client:
                intake = take_in(landing.zone, lambda receive: client.conference(config.conf_num, receive), "conf")
        except Exception as error:
            raise failure(context, error) from error
        report(context, utc_days, CONFERENCE, f"GET /cdr/conf/{config.conf_num}", intake)

    return _job(op, ConferenceConfig, "Lands one conference's CDRs. Changed days are rebuilt by themselves.")


def report(
    context: dg.OpExecutionContext, utc_days: dg.PartitionsDefinition[str], asset: str, request: str, intake: Intake
) -> None:
    """Records in Dagster what the response brought, per day that it has records of."""
    context.log.info(
        f"{request}: {sum(intake.records.values())} records on {describe_days(intake.records) or 'no day'}; "
        f"changed: {describe_days(intake.changed_days) or 'nothing'}"
    )
    for day in sorted(intake.records):
        if utc_days.has_partition_key(day.isoformat()):
            metadata = {
                "request": request,
                "days_touched": describe_days(intake.records),
                "days_to_rebuild": describe_days(intake.changed_days) or "none",
                "set_aside_records": sum(intake.set_aside.values()),
                **change_metadata(day, intake),
            }
            context.log_event(dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata))


def _job(op: dg.OpDefinition, config: type[dg.Config], description: str) -> dg.JobDefinition:
    # The graph has a name of its own, since the op has the job's.
    graph = dg.GraphDefinition(f"{op.name}_graph", node_defs=[op], description=description)
    # Shown in the launchpad, to be filled in. An optional field that stays empty counts as not given.
    blank = dict.fromkeys(config.model_fields, "")
    return graph.to_job(op.name, description=description, config={"ops": {op.name: {"config": blank}}})
