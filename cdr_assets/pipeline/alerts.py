"""Alerts: what is reported and in which words, and an outbox that keeps each one until every channel has taken it.

A failed run is reported, and when its days have succeeded; while EnableX is unavailable or refuses the account, the
first one alone, and when it answers again. A mistake of a person who launched a run is none. A check is reported
when it finds something on a day on which it had not, and a day that was overdue when it no longer is. What passes a
limit, and the digest, are found by `watch`.

The outbox is kept in the sensor's cursor, which Dagster stores after every tick. A tick that is killed after it sent an
alert sends it again: an alert is delivered at least once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta, timezone

import dagster as dg

from cdr_assets.days import describe_days
from cdr_assets.pipeline.answer_checks import NO_DAY_IS_OVERDUE
from cdr_assets.pipeline.channels import Channel, Unreachable
from cdr_assets.pipeline.checks import CheckState
from cdr_assets.pipeline.limits import Reported
from cdr_assets.pipeline.live_run import ACCOUNT_ERROR_TAG, UNAVAILABLE_TAG
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.project_runs import days_of, is_a_persons_mistake
from cdr_assets.pipeline.rounds import Rounds
from cdr_assets.pipeline.run_history import FAILURES_REMEMBERED, has_succeeded, newest_materialization_id

FIRST_WAIT, MAX_WAIT = timedelta(minutes=1), timedelta(hours=1)
"""Waits between tries of one alert: they double from the first to the longest."""
GIVE_UP_AFTER = timedelta(days=3)
MAX_WAITING = 500
OUTAGES = {UNAVAILABLE_TAG: "EnableX answers again", ACCOUNT_ERROR_TAG: "EnableX accepts the account again"}
"""The tags of runs that failed for no fault of their own, and what is said when a fetch succeeds."""
MAX_NAMED_ASSETS = 3
MAX_SECONDS_PER_TICK = 30.0
"""A sensor's tick has a minute, and each channel may take ten seconds of it."""

Send = Callable[[str], str]
"""Sends the alert with this key. Returns "" when it was taken, else what went wrong. Raises Unreachable."""


@dataclass
class Waiting:
    """An alert that is not delivered yet. Times are seconds since 1970."""

    since: float
    next_try: float
    tries: int = 0
    text: str = ""
    """Empty for a failed run, which is put into words when the alert is sent."""
    taken: list[str] = field(default_factory=list)
    """The channels that have taken it, by their keys."""


@dataclass
class Failed:
    """A failed run that was reported, and when it failed: in seconds since 1970, and its id in the event log."""

    run_id: str
    since: float
    event: int


@dataclass
class Outbox:
    """Alerts, oldest first: those of failed runs by run id. And what was reported before."""

    last_event: int
    """Id of the newest failure event in the event log that was looked at."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    """The days of the findings that were reported, by check."""
    failed: dict[str, Failed] = field(default_factory=dict)
    """The newest failed run of each outage, by its tag, and of other days or jobs, by these in words."""
    reported: Reported = field(default_factory=Reported)
    rounds: Rounds = field(default_factory=Rounds)

    @classmethod
    def read(cls, cursor: str | None) -> Outbox | None:
        """The outbox in a cursor; None where there is none yet. Also reads the cursor of Dagster's failure sensors."""
        try:
            stored = json.loads(cursor or "")
            if "record_id" in stored:
                return cls(int(stored["record_id"]))
            waiting = {key: Waiting(**each) for key, each in stored["waiting"].items()}
            return cls(
                int(stored["last_event"]),
                waiting,
                stored.get("findings", {}),
                {what: Failed(**each) for what, each in stored.get("failed", {}).items()},
                Reported(**stored.get("reported", {})),
                Rounds(**stored.get("rounds", {})),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self) -> str:
        """The outbox as a cursor."""
        return json.dumps(asdict(self))

    def add(self, key: str, now: datetime, text: str = "") -> None:
        """Puts an alert in, to be sent at once."""
        self.waiting.setdefault(key, Waiting(now.timestamp(), now.timestamp(), text=text))

    def add_failed_run(self, run: dg.DagsterRun, failed: Failed, now: datetime) -> None:
        """Puts in that the run failed, unless it did so of an outage that was reported, or by a person's mistake."""
        outage = next((tag for tag in OUTAGES if run.tags.get(tag)), None)
        if outage in self.failed or is_a_persons_mistake(run):
            return
        self.failed[outage or what_failed(run)] = failed
        self.add(run.run_id, now)

    def add_mended(self, instance: dg.DagsterInstance, now: datetime, ui_url: str) -> None:
        """Puts in what failed and has succeeded since. Forgets what failed long ago."""
        for what, failed in list(self.failed.items()):
            since = datetime.fromtimestamp(failed.since, timezone.utc)
            if what in OUTAGES:
                fetched = (
                    newest_materialization_id(instance, asset) for asset in (PERIOD_CDR, ROOM_CDR, CONFERENCE_CDR)
                )
                is_over = any(newest > failed.event for newest in fetched)
            else:
                run = instance.get_run_by_id(failed.run_id)
                is_over = run is not None and has_succeeded(instance, run, since, failed.event)
            if is_over:
                self.add(f"{failed.run_id} mended", now, f"{OUTAGES.get(what, f'Mended: {what}')}\n{ui_url}/runs")
            if is_over or now - since > FAILURES_REMEMBERED:
                del self.failed[what]

    def add_findings(self, states: Iterable[CheckState], now: datetime, ui_url: str) -> None:
        """Puts in what checks found on days on which they had found nothing, and that no day is overdue any more."""
        for state in states:
            before = self.findings.pop(state.check.name, [])
            if state.open_days:
                self.findings[state.check.name] = [str(day) for day in state.open_days]
                new = [day for day in state.open_days if str(day) not in before]
                if new:
                    self.add(f"{state.check.name} {describe_days(new)}", now, finding_text(state, new, ui_url))
            elif before and state.check is NO_DAY_IS_OVERDUE:
                text = f"No day is overdue any more\n{_check_url(state, ui_url)}"
                self.add(f"{state.check.name} {now.isoformat()}", now, text)

    def deliver(self, now: datetime, send: Send) -> Iterator[tuple[str, str, bool]]:
        """Sends the alerts that are due.

        Yields for each its key, what went wrong ("" if nothing did), and whether the alert is out of the outbox:
        delivered, or given up.
        """
        due = [key for key, each in self.waiting.items() if each.next_try <= now.timestamp()]
        unreachable, deadline = False, time.monotonic() + MAX_SECONDS_PER_TICK
        for key in due:
            try:
                problem = send(key)
            except Unreachable as error:
                problem, unreachable = str(error), True
            alert = self.waiting[key]
            expired = now.timestamp() - alert.since > GIVE_UP_AFTER.total_seconds()
            if not problem or expired:
                del self.waiting[key]
            else:
                alert.tries += 1
                wait = min(FIRST_WAIT * 2 ** min(alert.tries - 1, 20), MAX_WAIT)
                alert.next_try = (now + wait).timestamp()
            yield key, problem, not problem or expired
            if unreachable or time.monotonic() > deadline:
                return

    def drop_excess(self) -> list[str]:
        """Drops the oldest alerts beyond MAX_WAITING, which is what a cursor can hold. Returns their keys."""
        dropped = list(self.waiting)[: max(len(self.waiting) - MAX_WAITING, 0)]
        for key in dropped:
            del self.waiting[key]
        return dropped

    @property
    def next_try(self) -> datetime | None:
        """When the next alert is due."""
        times = [each.next_try for each in self.waiting.values()]
        return datetime.fromtimestamp(min(times), timezone.utc) if times else None


def send_to_all(channels: Sequence[Channel], alert: Waiting, text: str, down: set[str]) -> str:
    """Sends the text to the channels that have not taken the alert. Returns what went wrong, "" if nothing did.

    `down` are the channels that did not answer a moment ago; they are left out. Raises Unreachable when all are.
    """
    problems = []
    for channel in channels:
        if channel.key in alert.taken:
            continue
        try:
            problem = "could not be reached" if channel.key in down else channel.send(text)
        except Unreachable as error:
            problem = str(error)
            down.add(channel.key)
        if problem:
            problems.append(f"{channel.name} {problem}")
        else:
            alert.taken.append(channel.key)
    if problems and down.issuperset(channel.key for channel in channels):
        raise Unreachable("; ".join(problems))
    return "; ".join(problems)


def finding_text(state: CheckState, new: Sequence[date], ui_url: str) -> str:
    """A new finding in words: which check, on which days, what to do, a link."""
    others = len(state.open_days) - len(new)
    more = f" ({others} more open)" if others else ""
    return "\n".join(
        [
            f"{state.check.name} fails on {describe_days(new)}{more}",
            state.description,
            state.check.remedy,
            _check_url(state, ui_url),
        ]
    )


def _check_url(state: CheckState, ui_url: str) -> str:
    return f"{ui_url}/assets/{state.asset}?view=checks&checkDetail={state.check.name}"


def alert_text(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> str:
    """A failed run in words: its assets or job, its days, the reason, a link."""
    failures = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=failures) if entry.dagster_event]
    steps = [_reason(event) for event in events if event.is_step_failure]
    reason = "\n".join(steps or [event.message or "" for event in events])
    return f"{what_failed(run, ' failed')}\n{reason}\n{ui_url}/runs/{run.run_id}"


def what_failed(run: dg.DagsterRun, verb: str = "") -> str:
    """The run in words: its assets, or the job that has so many, and its days."""
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    job = "daily_cdr" if PERIOD_CDR in assets else "rebuild"
    what = ", ".join(assets) if len(assets) <= MAX_NAMED_ASSETS else job
    # Dagster's own job is that of assets or of checks alone.
    what = what or run.job_name.replace("__ASSET_JOB", "checks")
    days = describe_days(days_of(run))
    return f"{what}{verb} on {days}" if days else f"{what}{verb}"


def _reason(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    # What the step raised is the cause of Dagster's own error.
    error = failure.error and (failure.error.cause or failure.error)
    return error.message.strip() if error else event.message or ""
