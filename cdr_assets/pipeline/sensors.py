"""Sensors: each reads what Dagster and the disk know, lets `scheduling` plan, and requests the planned runs."""

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
from dagster import RunsFilter, RunStatusChangeRecordsFilter

from cdr_assets.database import WarehouseError
from cdr_assets.days import DAY, days_between, end_of, utc_now
from cdr_assets.pipeline import jobs, scheduling
from cdr_assets.pipeline.alerts import Outbox, alert_text, post_to_webhook
from cdr_assets.pipeline.events import ASKED_AT
from cdr_assets.pipeline.live_run import (
    ACCOUNT_ERROR_TAG,
    BAD_ROOMS_TAG,
    FAILED_DAY_TAG,
    OPEN_DAY_TAG,
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    REFUSED_CREDENTIALS_TAG,
    UNAVAILABLE_TAG,
    range_tag,
)
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.project_runs import (
    DIED_TAG,
    FAILED,
    IN_FLIGHT,
    ON_DEMAND_JOBS,
    days_of,
    fetches_or_builds_days,
    is_of_this_project,
    parse_days,
    report_dead_runs,
)
from cdr_assets.pipeline.quiet import QuietTick, Rest, folder_state
from cdr_assets.pipeline.resources import Clock, EnableXResource, LandingResource, WarehouseResource
from cdr_assets.pipeline.retention import (
    compact_index,
    delete_failed_tries,
    delete_old_check_results,
    delete_old_runs,
    delete_old_tick_logs,
    delete_runs_of_open_days,
)
from cdr_assets.pipeline.scheduling import (
    ACCOUNT_ERROR_COOLDOWN,
    OPEN_DAY_IS_OFF,
    AccountError,
    Decision,
    Failure,
    Responses,
    Runs,
    Timing,
    is_complete,
    judge_failures,
    split_by_closing,
)
from cdr_assets.settings import Settings
from cdr_assets.warehouse.exports import FileStamp
from cdr_assets.warehouse.tables import DAILY_TABLES

# Long enough to count the daily tries of a day that goes on failing.
FAILURES_REMEMBERED = timedelta(days=8)

# So many of the newest ones are enough to tell an outage from a day that fails.
FETCHES_COUNTED = 1_000

ALERT_TICK_S = 60
ALL_POSTED = "every failed run is posted"
RETENTION_TICK_S = 3600

Requests: TypeAlias = dg.SensorResult | dg.SkipReason


def closed_days(utc_days: dg.DailyPartitionsDefinition, timing: Timing, every_s: int) -> dg.SensorDefinition:
    """Requests the days that closed and are not complete."""

    @dg.sensor(
        name="closed_days",
        target=jobs.daily_cdr,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fetches every UTC day some time after it closed, back to the start date; failed days again. The "
        "last closed days that are due to be fetched again go with it.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, clock: Clock, landing: LandingResource, enablex: EnableXResource
    ) -> Requests:
        now, instance = clock.now(), context.instance
        fetched = parse_days(instance.get_materialized_partitions(dg.AssetKey(PERIOD_CDR)))
        landed = fetched.intersection(landing.zone.days())
        complete = {day for day in landed if is_complete(day, landing.zone.asked(day), timing)}
        known, answered = runs(context, now, landing, enablex), _answered(instance, now, landing, timing)
        return _result(context, scheduling.plan_missing(now, utc_days.start.date(), complete, answered, known, timing))

    return sensor


def settling_days(utc_days: dg.DailyPartitionsDefinition, timing: Timing, every_s: int) -> dg.SensorDefinition:
    """Requests the last closed days again."""

    @dg.sensor(
        name="settling_days",
        target=jobs.daily_cdr,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fetches the last closed days again, for CDRs that appeared late, and rebuilds those that changed.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, clock: Clock, landing: LandingResource, enablex: EnableXResource
    ) -> Requests:
        now = clock.now()
        known, answered = runs(context, now, landing, enablex), _answered(context.instance, now, landing, timing)
        return _result(context, scheduling.plan_refetch(now, utc_days.start.date(), answered, known, timing))

    return sensor


def open_day(utc_days: dg.DailyPartitionsDefinition, timing: Timing, every_s: int) -> dg.SensorDefinition:
    """Requests the day that is open, again and again."""
    interval_s = int(timing.open_day_interval.total_seconds())

    # Resources are named and not passed in: most ticks can do without them.
    @dg.sensor(
        name="open_day",
        target=jobs.daily_cdr,
        minimum_interval_seconds=max(min(every_s, interval_s), 1) if timing.open_day_interval else RETENTION_TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"clock", "landing", "enablex"},
        description="Fetches the UTC day that is open every CDR_OPEN_DAY_MINUTES, and builds its tables in the same "
        "run. What it brings is provisional.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> Requests:
        if not timing.open_day_interval:
            return dg.SkipReason(OPEN_DAY_IS_OFF)
        began = utc_now()
        before = Rest.read(context.cursor)
        if before and before.holds(began):
            return dg.SkipReason(before.reason)
        landing: LandingResource = context.resources.landing
        now, start = context.resources.clock.now(), utc_days.start.date()
        asked = landing.zone.asked(now.date())
        # Only what is due needs to know the runs.
        decision = scheduling.plan_open_day(now, start, asked, Runs(), timing)
        if decision.has_work:
            known = runs(context, now, landing, context.resources.enablex)
            decision = scheduling.plan_open_day(now, start, asked, known, timing)
        until = began + (timing.open_day_rests_until(now) - now)
        rest = Rest(decision.reason, began.isoformat(), until.isoformat())
        context.update_cursor("" if decision.has_work else rest.write())
        return _result(context, decision, {OPEN_DAY_TAG: "true"})

    return sensor


def landed_days(
    rebuild: dg.JobDefinition,
    utc_days: dg.DailyPartitionsDefinition,
    timing: Timing,
    settings: Settings,
) -> dg.SensorDefinition:
    """Requests the days whose tables were built from other landing files, other rooms or by other SQL."""
    data_dir, export_dir, rooms_file = settings.data_dir, settings.export_dir, settings.rooms_file
    code = "".join(table.fingerprint for table in DAILY_TABLES)

    # Resources are named and not passed in: a tick that can do without them costs a fifth.
    @dg.sensor(
        name="landed_days",
        target=rebuild,
        minimum_interval_seconds=min(settings.tick_s, 60),
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"clock", "landing", "warehouse"},
        description="Rebuilds the tables of days whose landed records, rooms or SQL changed. Never asks EnableX.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> Requests:
        began = utc_now()
        rooms = FileStamp.of(rooms_file) if rooms_file else None
        state = folder_state(data_dir, export_dir, f"{code} {rooms}", began)
        before = QuietTick.read(context.cursor)
        if before and before.holds(state, began):
            return dg.SkipReason(before.reason)
        landing: LandingResource = context.resources.landing
        warehouse: WarehouseResource = context.resources.warehouse
        now = context.resources.clock.now()
        first, open_day = utc_days.start.date(), now.date()
        # Before the days are read: what a run that ends in between has built is not requested again.
        known = runs(context, now, landing)
        landed = {day: files for day, files in landing.zone.days().items() if first <= day <= open_day}
        try:
            built = warehouse.warehouse.built_days()
        except WarehouseError as error:
            return dg.SkipReason(f"the build log cannot be read: {error}")
        decision = scheduling.plan_rebuild(now, landed, built, known, timing)
        quiet = QuietTick(decision.reason, state, began.isoformat()) if state and not decision.has_work else None
        context.update_cursor(quiet.write() if quiet else "")
        return _result(context, decision)

    return sensor


def failed_runs(webhook_url: str, ui_url: str) -> dg.SensorDefinition:
    """Posts failed runs, those stopped by a blocking check included, to `webhook_url`; to nobody where it is empty."""

    # Without a webhook there is nothing to do, and with one there seldom is: neither needs a resource.
    @dg.sensor(
        name="failed_runs",
        minimum_interval_seconds=ALERT_TICK_S if webhook_url else RETENTION_TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"clock"},
        description="Posts every failed run to CDR_ALERT_WEBHOOK_URL: what failed, its days, why, and where to look. "
        "Tries again for 3 days while the webhook does not take it.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not webhook_url:
            # The alerts of runs that fail until a webhook is set are not posted later.
            context.update_cursor("")
            return dg.SkipReason("CDR_ALERT_WEBHOOK_URL is not set")
        instance = kept_instance(context)
        outbox = Outbox.read(context.cursor)
        if outbox is None:
            context.update_cursor(Outbox(_newest_failure(instance)).write())
            return dg.SkipReason("runs that fail from now on are posted")
        failures = RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=outbox.last_event)
        failed = instance.fetch_run_status_changes(failures, limit=100, ascending=True).records
        if not failed and not outbox.waiting:
            return dg.SkipReason(ALL_POSTED)
        now = context.resources.clock.now()

        def post(run_id: str) -> str:
            run = instance.get_run_by_id(run_id)
            text = alert_text(instance, run, ui_url) if run else f"A run failed and was deleted since: {run_id}"
            return post_to_webhook(webhook_url, {"text": text})

        for record in failed:
            outbox.last_event = record.storage_id
            run = instance.get_run_by_id(record.run_id)
            if run and is_of_this_project(run):
                outbox.add(run.run_id, now)
        for run_id, problem, is_over in outbox.deliver(now, post):
            if problem and is_over:
                context.log.error(f"The alert for run {run_id} is dropped: for 3 days the webhook {problem}")
            elif problem:
                context.log.warning(f"The alert webhook {problem} for run {run_id}; it is tried again")
            else:
                context.log.info(f"The alert webhook took the alert for run {run_id}")
        for run_id in outbox.drop_excess():
            context.log.error(f"The alert for run {run_id} is dropped: too many alerts wait for the webhook")
        context.update_cursor(outbox.write())
        if outbox.next_try is None:
            return dg.SkipReason(ALL_POSTED)
        when = f"{outbox.next_try:%Y-%m-%d %H:%M:%S UTC}"
        return dg.SkipReason(f"{len(outbox.waiting)} alerts are not delivered; the next try is at {when}")

    return sensor


def kept_instance(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """The tick's Dagster instance, without its resources. Kept for later ticks: to make one takes 0.1 s of CPU."""
    reference = context.instance_ref
    return _instance_of(dg.serialize_value(reference)) if reference else context.instance


@cache
def _instance_of(reference: str) -> dg.DagsterInstance:
    restored: Any = dg.deserialize_value(reference)
    return dg.DagsterInstance.from_ref(restored)


def _newest_failure(instance: dg.DagsterInstance) -> int:
    newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return newest[0].storage_id if newest else -1


def old_runs(keep_days: int) -> dg.SensorDefinition:
    """Deletes runs that ended more than `keep_days` days ago from Dagster's state; none where that is 0."""

    @dg.sensor(
        name="old_runs",
        minimum_interval_seconds=RETENTION_TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Deletes runs older than CDR_KEEP_RUNS_DAYS, with their logs. Keeps those with the newest "
        "materialization of a day or the newest result of a check. Records and tables are not touched.",
    )
    def sensor(context: dg.SensorEvaluationContext, clock: Clock) -> dg.SkipReason:
        if not keep_days:
            return dg.SkipReason("every run is kept: CDR_KEEP_RUNS_DAYS is 0")
        # The failures of the last days decide when a day is tried again.
        decided = clock.now() - FAILURES_REMEMBERED
        before = min(clock.now() - DAY * keep_days, decided)
        resume_after = datetime.fromisoformat(context.cursor) if context.cursor else None
        portion = delete_old_runs(context.instance, before, resume_after)
        tries = delete_failed_tries(context.instance, before, decided)
        of_open_days = delete_runs_of_open_days(context.instance, before, clock.now() - DAY)
        delete_old_check_results(context.instance, before)
        compact_index(context.instance)
        if context.repository_name:
            delete_old_tick_logs(context.instance, context.repository_name, before)
        context.update_cursor(portion.resume_after.isoformat() if portion.resume_after else "")
        return dg.SkipReason(
            f"{portion.deleted} runs from before {before:%Y-%m-%d} deleted; {portion.kept} kept, since they hold the "
            f"newest state of a day or a check; {of_open_days} newer ones deleted, which fetched a day while it was "
            f"open; {tries} newer ones deleted, since EnableX was unavailable"
        )

    return sensor


def runs(
    context: dg.SensorEvaluationContext,
    now: datetime,
    landing: LandingResource,
    enablex: EnableXResource | None = None,
) -> Runs:
    """The runs in flight and the failed ones, whoever launched them. Reports those that died as failed first.

    Without `enablex` a refused account is not looked for.
    """
    instance = context.instance
    for run_id in report_dead_runs(instance, Path(landing.data_dir), now):
        context.log.warning(f"Run {run_id} is reported as failed: its process is gone")
    in_flight = [
        record.dagster_run
        for record in instance.get_run_records(RunsFilter(statuses=IN_FLIGHT))
        if fetches_or_builds_days(record.dagster_run)
    ]
    failures: list[Failure] = []
    died: set[date] = set()
    refused: list[tuple[datetime, dg.DagsterRun]] = []
    remembered = RunsFilter(statuses=FAILED, updated_after=now - FAILURES_REMEMBERED)
    for record in instance.get_run_records(remembered, ascending=True):
        run = record.dagster_run
        when = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)
        if run.tags.get(BAD_ROOMS_TAG):
            # All its days are done but for one table, which waits for people.
            continue
        if run.tags.get(ACCOUNT_ERROR_TAG) and is_of_this_project(run):
            # No fault of the day, which goes on with the others once the account is mended.
            refused.append((when, run))
            continue
        if not fetches_or_builds_days(run):
            continue
        # A run that could say where it failed leaves its other days as they are: done, or never begun.
        unavailable, failed = "", days_of(run)
        if run.tags.get(FAILED_DAY_TAG):
            unavailable, failed = run.tags.get(UNAVAILABLE_TAG, ""), parse_days([run.tags[FAILED_DAY_TAG]])
        if DIED_TAG in run.tags:
            # A machine that goes down once is no fault of the days; one that dies of the same day again may be.
            failed, died = failed & died, died | failed
        failures += [Failure(when, day, unavailable) for day in failed]
    first_unavailable = min((failure.when for failure in failures if failure.unavailable), default=None)
    fetched = _fetches_since(instance, first_unavailable) if first_unavailable else []
    failed_on, outage = judge_failures(failures, fetched)
    while_open, since_closing = split_by_closing(failed_on)
    return Runs(
        frozenset(day for run in in_flight for day in days_of(run)),
        len(in_flight),
        since_closing,
        while_open,
        _account_error(instance, now, refused, enablex) if enablex else None,
        outage,
    )


def _account_error(
    instance: dg.DagsterInstance,
    now: datetime,
    refused: list[tuple[datetime, dg.DagsterRun]],
    enablex: EnableXResource,
) -> AccountError | None:
    """The newest refusal of the credentials that are set now, unless a fetch succeeded since."""
    for when, run in sorted(refused, key=lambda each: each[0], reverse=True):
        if now >= when + ACCOUNT_ERROR_COOLDOWN or _fetches_since(instance, when):
            return None
        credentials = run.tags.get(REFUSED_CREDENTIALS_TAG)
        if not credentials or enablex.has_credentials(credentials):
            return AccountError(when, run.tags[ACCOUNT_ERROR_TAG])
    return None


def _fetches_since(instance: dg.DagsterInstance, when: datetime) -> list[datetime]:
    """When fetches succeeded since then, in order."""
    times = [
        record.timestamp
        for asset in (PERIOD_CDR, ROOM_CDR, CONFERENCE_CDR)
        for record in instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), after_timestamp=when.timestamp()), limit=FETCHES_COUNTED
        ).records
        # A materialization that somebody reported by hand has no run.
        if record.run_id
    ]
    # A fetch on demand that found no records materializes nothing.
    times += [
        record.end_time or record.update_timestamp.timestamp()
        for job in ON_DEMAND_JOBS
        for record in instance.get_run_records(
            RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=when)
        )
    ]
    return [datetime.fromtimestamp(time, timezone.utc) for time in sorted(times)]


def _answered(
    instance: dg.DagsterInstance, now: datetime, landing: LandingResource, timing: Timing
) -> dict[date, Responses]:
    """The last responses for the days that may be due to be fetched again."""
    last = timing.last_due(now)
    recent = days_between(last - DAY * timing.lookback_days, last)
    # A day that is gone from the landing zone, or was fetched only while it was open, is for closed_days to fetch.
    zone = landing.zone
    return responses(instance, [day for day in recent if zone.files(day) and is_complete(day, zone.asked(day), timing)])


def responses(instance: dg.DagsterInstance, days: Collection[date]) -> dict[date, Responses]:
    """The last responses of the period route for each day that has one. Those from before it closed do not count."""
    found: dict[date, Responses] = {}
    for day in days:
        # Day by day, since the many responses of one would crowd out the few of another.
        wanted = dg.AssetRecordsFilter(dg.AssetKey(PERIOD_CDR), asset_partitions=[day.isoformat()])
        records = instance.fetch_materializations(wanted, limit=scheduling.MAX_UNCHANGED_RESPONSES).records
        asked = [_asked_at(record) for record in records]
        since_closing = [record for record, when in zip(records, asked, strict=True) if when >= end_of(day)]
        if since_closing:
            found[day] = Responses(asked[0], len(list(takewhile(_is_unchanged, since_closing))))
    return found


def _asked_at(response: dg.EventLogRecord) -> datetime:
    """When the response was asked for; when it was recorded, if that is all that is known."""
    metadata = response.asset_materialization.metadata if response.asset_materialization else {}
    asked_at = metadata[ASKED_AT].value if ASKED_AT in metadata else None
    return datetime.fromtimestamp(asked_at if isinstance(asked_at, float) else response.timestamp, timezone.utc)


def _is_unchanged(response: dg.EventLogRecord) -> bool:
    metadata = response.asset_materialization.metadata if response.asset_materialization else {}
    return all(name in metadata and metadata[name].value == 0 for name in ("new_records", "changed_records"))


def _result(context: dg.SensorEvaluationContext, decision: Decision, tags: Mapping[str, str] | None = None) -> Requests:
    if not decision.runs:
        return dg.SkipReason(decision.reason)
    # Two ticks that see the same newest run see the same state. Dagster takes requests with the same key once.
    newest = [record.dagster_run.run_id for record in context.instance.get_run_records(limit=1)]
    context.log.info(decision.reason)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{days[0]}...{days[-1]} after {''.join(newest) or 'none'}",
                tags={**_tags(days), **(tags or {})},
            )
            for days in decision.runs
        ]
    )


def _tags(days: list[date]) -> Mapping[str, str]:
    if len(days) == 1:
        return {PARTITION_TAG: days[0].isoformat()}
    tags = {RANGE_START_TAG: days[0].isoformat(), RANGE_END_TAG: days[-1].isoformat()}
    return {**tags, **range_tag(tags)}
