"""Sensors: each reads what Dagster and the disk know, lets `scheduling` plan, and requests the planned runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
from dagster import RunStatusChangeRecordsFilter

from cdr_assets.data_folder import STATUS_FILE
from cdr_assets.database import WarehouseError
from cdr_assets.days import DAY, utc_now
from cdr_assets.pipeline import jobs, scheduling
from cdr_assets.pipeline.alerts import Failed, Outbox, alert_text, send_to_all
from cdr_assets.pipeline.channels import channels
from cdr_assets.pipeline.checks import CHECKS, states, unanswered
from cdr_assets.pipeline.live_run import (
    OPEN_DAY_TAG,
    PARTITION_TAG,
    PRIORITY_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    range_tag,
)
from cdr_assets.pipeline.overdue import Overdue, evaluation
from cdr_assets.pipeline.project_runs import is_of_this_project, report_dead_runs
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
from cdr_assets.pipeline.rounds import WATCHER
from cdr_assets.pipeline.run_history import (
    FAILURES_REMEMBERED,
    answered,
    complete_days,
    known_runs,
    landed_and_built,
    runs_at_once,
)
from cdr_assets.pipeline.run_lock import RunLocks
from cdr_assets.pipeline.scheduling import (
    OPEN_DAY_IS_OFF,
    ClosedDays,
    Decision,
    Runs,
    Spread,
    Timing,
)
from cdr_assets.pipeline.status import StatusFile
from cdr_assets.pipeline.watch import Watch
from cdr_assets.settings import Settings
from cdr_assets.warehouse.exports import FileStamp
from cdr_assets.warehouse.people import KEY
from cdr_assets.warehouse.tables import DAILY_TABLES

ALERT_TICK_S = 60
ALL_SENT = "every failed run and every finding is reported"
RETENTION_TICK_S = 3600

Requests: TypeAlias = dg.SensorResult | dg.SkipReason


@dataclass(frozen=True)
class RunsSeen:
    """The runs as the sensors see them. `days_a_run` spreads the days over several workers; None: over none."""

    locks: RunLocks
    days_a_run: int | None

    def known(self, context: dg.SensorEvaluationContext, now: datetime, enablex: EnableXResource | None = None) -> Runs:
        """What `known_runs` says, once the runs that died are reported as failed."""
        for run_id in report_dead_runs(context.instance, self.locks, now):
            context.log.warning(f"Run {run_id} is reported as failed: its process is gone")
        spread = Spread.of(self.days_a_run, runs_at_once(context.instance))
        return replace(known_runs(context.instance, now, enablex), spread=spread)


def closed_days(
    utc_days: dg.DailyPartitionsDefinition,
    timing: Timing,
    overdue: Overdue,
    status: StatusFile,
    runs: RunsSeen,
    every_s: int,
) -> dg.SensorDefinition:
    """Requests the days that closed and are not complete, says whether one is overdue, and writes the status."""

    @dg.sensor(
        name="closed_days",
        target=jobs.daily_cdr,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fetches every UTC day some time after it closed, back to the start date; failed days again. The "
        "last closed days that are due to be fetched again go with it. Writes status.json next to the exports.",
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        clock: Clock,
        landing: LandingResource,
        enablex: EnableXResource,
        warehouse: WarehouseResource,
    ) -> Requests:
        now, instance = clock.now(), context.instance
        complete = complete_days(instance, landing, timing)
        known = runs.known(context, now, enablex)
        responses = answered(instance, now, landing, timing)
        decision = scheduling.plan_missing(now, utc_days.start.date(), complete, responses, known, timing)
        days = overdue.look(now, complete, known, landing, warehouse)
        result = evaluation(days)
        _update(status, context, now, days)
        before, said = context.cursor, dg.serialize_value(result)
        context.update_cursor(said)
        results = [result] if said != before else []
        return _result(context, decision, results=[*unanswered(instance), *results])

    return sensor


def _update(status: StatusFile, context: dg.SensorEvaluationContext, now: datetime, days: ClosedDays) -> None:
    """Writes the status. Days are fetched also where it cannot be written."""
    try:
        status.update(context.instance, now, days)
    except Exception as error:
        # The words of other errors may quote what Dagster stores.
        why = str(error) if isinstance(error, OSError) else type(error).__name__
        context.log.warning(f"{STATUS_FILE} is not up to date: {why}")


def settling_days(
    utc_days: dg.DailyPartitionsDefinition, timing: Timing, runs: RunsSeen, every_s: int
) -> dg.SensorDefinition:
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
        now, instance = clock.now(), context.instance
        known = runs.known(context, now, enablex)
        responses = answered(instance, now, landing, timing)
        return _result(context, scheduling.plan_refetch(now, utc_days.start.date(), responses, known, timing))

    return sensor


def open_day(
    utc_days: dg.DailyPartitionsDefinition, timing: Timing, runs: RunsSeen, every_s: int
) -> dg.SensorDefinition:
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
            known = runs.known(context, now, context.resources.enablex)
            decision = scheduling.plan_open_day(now, start, asked, known, timing)
        until = began + (timing.open_day_rests_until(now) - now)
        rest = Rest(decision.reason, began.isoformat(), until.isoformat())
        context.update_cursor("" if decision.has_work else rest.write())
        return _result(context, decision, {OPEN_DAY_TAG: "true", PRIORITY_TAG: "2"})

    return sensor


def landed_days(
    rebuild: dg.JobDefinition,
    utc_days: dg.DailyPartitionsDefinition,
    timing: Timing,
    runs: RunsSeen,
    settings: Settings,
) -> dg.SensorDefinition:
    """Requests the days whose tables were built from other landing files, other rooms or by other SQL."""
    places, export_dir, rooms_file = settings.places, settings.export_dir, settings.rooms_file
    code = f"{[table.fingerprint for table in DAILY_TABLES]} {settings.people_in_clear}"

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
        rooms, key = FileStamp.of(rooms_file) if rooms_file else None, FileStamp.of(Path(places.landing) / KEY)
        state = folder_state(places, export_dir, f"{code} {rooms} {key}", began)
        before = QuietTick.read(context.cursor)
        if before and before.holds(state, began):
            return dg.SkipReason(before.reason)
        landing: LandingResource = context.resources.landing
        warehouse: WarehouseResource = context.resources.warehouse
        now = context.resources.clock.now()
        # Before the days are read: what a run that ends in between has built is not requested again.
        known = runs.known(context, now)
        try:
            landed, built = landed_and_built(now, utc_days.start.date(), landing, warehouse)
        except WarehouseError as error:
            return dg.SkipReason(f"the build log cannot be read: {error}")
        decision = scheduling.plan_rebuild(now, landed, built, known, timing)
        quiet = QuietTick(decision.reason, state, began.isoformat()) if state and not decision.has_work else None
        context.update_cursor(quiet.write() if quiet else "")
        return _result(context, decision)

    return sensor


def failed_runs(settings: Settings) -> dg.SensorDefinition:
    """Sends alerts to the webhook and to what the URLs name; to nobody without any."""
    webhook_url, urls, ui_url = settings.alert_webhook_url, settings.alert_urls, settings.ui_url
    has_channels = bool(webhook_url or urls)
    watch = Watch.of(settings)

    # Without a channel there is nothing to do, and with one there seldom is: neither needs a resource.
    @dg.sensor(
        name=WATCHER,
        minimum_interval_seconds=ALERT_TICK_S if has_channels or settings.heartbeat_url else RETENTION_TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"clock"},
        description="Sends alerts to CDR_ALERT_URLS and CDR_ALERT_WEBHOOK_URL: failed runs, new findings of checks, "
        "overdue days and when they no longer are, sensors that fall silent, what passes a limit, and the digest. "
        "Tries again for 3 days while a channel does not take one. Asks for CDR_HEARTBEAT_URL after a good round.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not has_channels and not settings.heartbeat_url:
            # The alerts of runs that fail until there is a channel are not sent later.
            context.update_cursor("")
            return dg.SkipReason("neither CDR_ALERT_URLS nor CDR_ALERT_WEBHOOK_URL is set")
        instance = kept_instance(context)
        outbox = Outbox.read(context.cursor)
        if outbox is None:
            context.update_cursor(Outbox(_newest_failure(instance)).write())
            return dg.SkipReason("runs that fail from now on are reported")
        failures = RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=outbox.last_event)
        failed = instance.fetch_run_status_changes(failures, limit=100, ascending=True).records
        now = context.resources.clock.now()
        for said in outbox.rounds.look(context, instance, now):
            outbox.add(f"{said.partition(chr(10))[0]} at {now.isoformat()}", now, f"{said}\n{ui_url}/automation")
        outbox.add_mended(instance, now, ui_url)
        for record in failed:
            outbox.last_event = record.storage_id
            run = instance.get_run_by_id(record.run_id)
            if run and is_of_this_project(run):
                outbox.add_failed_run(run, Failed(run.run_id, record.timestamp, record.storage_id), now)
        found = list(states(instance, CHECKS))
        outbox.add_findings(found, now, ui_url)
        watch.look(outbox, instance, found, now)
        if not has_channels:
            # What is found until there is a channel is not sent later.
            outbox = Outbox(_newest_failure(instance), rounds=outbox.rounds)
        if outbox.waiting:
            _deliver(context, outbox, instance, now)
        problem = outbox.rounds.send_beat(settings.heartbeat_url, now)
        context.update_cursor(outbox.write())
        if outbox.next_try is None:
            return dg.SkipReason(problem or ALL_SENT)
        when = f"{outbox.next_try:%Y-%m-%d %H:%M:%S UTC}"
        return dg.SkipReason(f"{len(outbox.waiting)} alerts are not delivered; the next try is at {when}")

    def _deliver(
        context: dg.SensorEvaluationContext, outbox: Outbox, instance: dg.DagsterInstance, now: datetime
    ) -> None:
        to, down = channels(webhook_url, urls), set[str]()

        def send(key: str) -> str:
            alert = outbox.waiting[key]
            run = None if alert.text else instance.get_run_by_id(key)
            text = alert_text(instance, run, ui_url) if run else alert.text
            text = text or f"A run failed and was deleted since: {key}"
            return send_to_all(to, alert, f"{settings.project}: {text}", down)

        for key, problem, is_over in outbox.deliver(now, send):
            if problem and is_over:
                context.log.error(f"The alert about {key} is dropped, for 3 days: {problem}")
            elif problem:
                context.log.warning(f"The alert about {key} is tried again: {problem}")
            else:
                context.log.info(f"The alert about {key} is delivered")
        for key in outbox.drop_excess():
            context.log.error(f"The alert about {key} is dropped: too many alerts wait")

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


def _result(
    context: dg.SensorEvaluationContext,
    decision: Decision,
    tags: Mapping[str, str] | None = None,
    results: Sequence[dg.AssetCheckEvaluation] = (),
) -> dg.SensorResult:
    if not decision.runs:
        return dg.SensorResult(skip_reason=decision.reason, asset_events=results)
    # Two ticks that see the same newest run see the same state. Dagster takes requests with the same key once.
    newest = [record.dagster_run.run_id for record in context.instance.get_run_records(limit=1)]
    context.log.info(decision.reason)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{days[0]}...{days[-1]} after {''.join(newest) or 'none'}",
                # They do not wait behind the runs of a backfill.
                tags={PRIORITY_TAG: "1", **_tags(days), **(tags or {})},
            )
            for days in decision.runs
        ],
        asset_events=results,
    )


def _tags(days: list[date]) -> Mapping[str, str]:
    if len(days) == 1:
        return {PARTITION_TAG: days[0].isoformat()}
    tags = {RANGE_START_TAG: days[0].isoformat(), RANGE_END_TAG: days[-1].isoformat()}
    return {**tags, **range_tag(tags)}
