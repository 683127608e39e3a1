"""Sensors: they read what Dagster and the disk know, let `decisions` decide, and request its runs."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from itertools import takewhile
from typing import TypeAlias

import dagster as dg
import requests
from dagster import RunsFilter

from cdr_assets.pipeline import jobs, scheduling
from cdr_assets.pipeline.names import PERIOD_CDR as PERIOD
from cdr_assets.pipeline.resources import FAILED_DAY_TAG, REFUSAL_TAG, Clock, LandingResource, WarehouseResource
from cdr_assets.pipeline.scheduling import Answers, Decision, Refusal, Runs, Timing
from cdr_assets.warehouse.tables import DAILY_TABLES

# Runs of these jobs and of any selection of these assets are the ones to look at; "Materialize" in the UI, backfills
# and the command line run assets without the job's name.
ASSETS = frozenset(dg.AssetKey(asset) for asset in (PERIOD, *(table.name for table in DAILY_TABLES)))
JOBS = (jobs.daily_cdr.name, jobs.rebuild.name)

IN_FLIGHT = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# A run whose machine went down stays "started" in Dagster for ever.
LONGEST_RUN = timedelta(days=1)

# Long enough to count the daily tries of a day that goes on failing.
FAILURES_REMEMBERED = timedelta(days=8)

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

ALERT_TIMEOUT_S = 10

Requests: TypeAlias = dg.SensorResult | dg.SkipReason


def closed_days(utc_days: dg.DailyPartitionsDefinition, timing: Timing, every_s: int) -> dg.SensorDefinition:
    """Requests the days that closed and are not complete."""

    @dg.sensor(
        name="closed_days",
        target=jobs.daily_cdr,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fetches every UTC day once it has closed and settled, back to the start date; failed days again.",
    )
    def sensor(context: dg.SensorEvaluationContext, clock: Clock, landing: LandingResource) -> Requests:
        now, instance = clock.now(), context.instance
        fetched = _days(instance.get_materialized_partitions(dg.AssetKey(PERIOD)))
        complete = fetched.intersection(landing.zone.days())
        decision = scheduling.closed_days(now, utc_days.start.date(), complete, runs(instance, now), timing)
        return _result(context, decision)

    return sensor


def settling_days(utc_days: dg.DailyPartitionsDefinition, timing: Timing, every_s: int) -> dg.SensorDefinition:
    """Requests the last closed days again."""

    @dg.sensor(
        name="settling_days",
        target=jobs.daily_cdr,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fetches the last closed days again, for CDRs that appeared late; tables follow what changed.",
    )
    def sensor(context: dg.SensorEvaluationContext, clock: Clock, landing: LandingResource) -> Requests:
        now, instance = clock.now(), context.instance
        last = timing.last_due(now)
        recent = scheduling.days_between(last - scheduling.DAY * timing.settling_days, last)
        # A day that is gone from the landing zone is for closed_days to fetch.
        recent = [day for day in recent if landing.zone.files(day)]
        decision = scheduling.settling_days(
            now, utc_days.start.date(), answers(instance, recent), runs(instance, now), timing
        )
        # The landing asset alone: an answer that brings nothing new leaves the tables as they are.
        return _result(context, decision, [dg.AssetKey(PERIOD)])

    return sensor


def landed_days(utc_days: dg.DailyPartitionsDefinition, every_s: int) -> dg.SensorDefinition:
    """Requests the days whose tables are not built from what landed."""

    @dg.sensor(
        name="landed_days",
        target=jobs.rebuild,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Rebuilds the tables of days that spilled, late or on-demand records changed. Never asks EnableX.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, clock: Clock, landing: LandingResource, warehouse: WarehouseResource
    ) -> Requests:
        now = clock.now()
        first, closed = utc_days.start.date(), now.date()
        landed = {day: files for day, files in landing.zone.days().items() if first <= day < closed}
        decision = scheduling.landed_days(
            now, landed, warehouse.warehouse.build_log.built_days(DAILY_TABLES), runs(context.instance, now)
        )
        return _result(context, decision)

    return sensor


def failed_runs(webhook_url: str, ui_url: str) -> dg.SensorDefinition:
    """Posts run failures, failed blocking checks among them, to `webhook_url`; to nobody where it is empty."""

    @dg.run_failure_sensor(
        name="failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts every failed run to CDR_ALERT_WEBHOOK_URL: what failed, its days, why, and where to look.",
    )
    def sensor(context: dg.RunFailureSensorContext) -> None:
        if not webhook_url:
            return
        try:
            answer = requests.post(webhook_url, json={"text": alert(context, ui_url)}, timeout=ALERT_TIMEOUT_S)
            outcome = f"answered {answer.status_code}"
        except requests.RequestException as error:
            # The error's own text holds the URL, which is a secret.
            outcome = f"could not be reached ({type(error).__name__})"
        context.log.info(f"The alert webhook {outcome} for run {context.dagster_run.run_id}")

    return sensor


def alert(context: dg.RunFailureSensorContext, ui_url: str) -> str:
    """A failed run in words: its assets or job, its days, the reason, a link."""
    run = context.dagster_run
    what = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
    days = run.tags.get(PARTITION_TAG) or "...".join(
        run.tags[tag] for tag in (RANGE_START_TAG, RANGE_END_TAG) if tag in run.tags
    )
    reason = "\n".join(map(_reason, context.get_step_failure_events())) or context.failure_event.message
    return f"{what} failed{f' on {days}' if days else ''}\n{reason}\n{ui_url}/runs/{run.run_id}"


def _reason(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    # What the step raised is the cause of Dagster's own error.
    error = failure.error and (failure.error.cause or failure.error)
    return error.message.strip() if error else event.message or ""


def runs(instance: dg.DagsterInstance, now: datetime) -> Runs:
    """What the runs under way and the failed ones say of the days, whoever launched them."""
    flying = [
        record.dagster_run
        for record in instance.get_run_records(RunsFilter(statuses=IN_FLIGHT))
        if _is_ours(record.dagster_run) and not _is_lost(record, now)
    ]
    failures: dict[date, list[datetime]] = {}
    refusals = []
    remembered = RunsFilter(statuses=FAILED, updated_after=now - FAILURES_REMEMBERED)
    for record in instance.get_run_records(remembered, ascending=True):
        run = record.dagster_run
        if not _is_ours(run):
            continue
        when = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)
        # A run that could say where it failed leaves its other days as they are: done, or never begun.
        failed = _days([run.tags[FAILED_DAY_TAG]]) if FAILED_DAY_TAG in run.tags else days_of(run)
        for day in failed:
            failures.setdefault(day, []).append(when)
        if REFUSAL_TAG in run.tags:
            refusals.append(Refusal(when, run.tags[REFUSAL_TAG]))
    return Runs(
        frozenset(day for run in flying for day in days_of(run)),
        len(flying),
        failures,
        max(refusals, key=lambda refusal: refusal.when, default=None),
    )


def answers(instance: dg.DagsterInstance, days: Collection[date]) -> dict[date, Answers]:
    """The last answers of the period route for each day that has one."""
    found: dict[date, Answers] = {}
    for day in days:
        # Day by day, since the many answers of one would crowd out the few of another.
        wanted = dg.AssetRecordsFilter(dg.AssetKey(PERIOD), asset_partitions=[day.isoformat()])
        records = instance.fetch_materializations(wanted, limit=scheduling.QUIET_ANSWERS).records
        if records:
            quiet = len(list(takewhile(_is_quiet, records)))
            found[day] = Answers(datetime.fromtimestamp(records[0].timestamp, timezone.utc), quiet)
    return found


def _is_quiet(answer: dg.EventLogRecord) -> bool:
    metadata = answer.asset_materialization.metadata if answer.asset_materialization else {}
    return all(name in metadata and metadata[name].value == 0 for name in ("new_records", "changed_records"))


def days_of(run: dg.DagsterRun) -> set[date]:
    """The days that a run is about: of its partition, or of its range."""
    ends = _days(run.tags[tag] for tag in (PARTITION_TAG, RANGE_START_TAG, RANGE_END_TAG) if tag in run.tags)
    return set(scheduling.days_between(min(ends), max(ends))) if ends else set()


def _is_ours(run: dg.DagsterRun) -> bool:
    return bool(ASSETS.intersection(run.asset_selection)) if run.asset_selection else run.job_name in JOBS


def _is_lost(record: dg.RunRecord, now: datetime) -> bool:
    started = record.start_time
    return started is not None and now - datetime.fromtimestamp(started, timezone.utc) > LONGEST_RUN


def _days(keys: Iterable[str]) -> set[date]:
    days = set()
    for key in keys:
        # Anybody may report a partition, and tag a run, as they like.
        with suppress(ValueError):
            days.add(date.fromisoformat(key))
    return days


def _result(
    context: dg.SensorEvaluationContext, decision: Decision, assets: list[dg.AssetKey] | None = None
) -> Requests:
    if not decision.runs:
        return dg.SkipReason(decision.reason)
    # Two ticks that see the same newest run see the same state, and their requests are taken once.
    newest = [record.dagster_run.run_id for record in context.instance.get_run_records(limit=1)]
    context.log.info(decision.reason)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{days[0]}...{days[-1]} after {''.join(newest) or 'none'}",
                tags=_tags(days),
                asset_selection=assets,
            )
            for days in decision.runs
        ]
    )


def _tags(days: list[date]) -> Mapping[str, str]:
    if len(days) == 1:
        return {PARTITION_TAG: days[0].isoformat()}
    return {RANGE_START_TAG: days[0].isoformat(), RANGE_END_TAG: days[-1].isoformat()}
