"""Alerts about failed runs: what they say, and an outbox that keeps each one until the webhook has taken it.

The outbox is kept in the sensor's cursor, which Dagster stores after every tick. A tick that is killed after a post
posts again: an alert is delivered at least once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone

import dagster as dg
import requests

from cdr_assets.pipeline.live_run import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

TIMEOUT_S = 10
FIRST_WAIT, MAX_WAIT = timedelta(minutes=1), timedelta(hours=1)
"""Waits between tries of one alert: they double from the first to the longest."""
GIVE_UP_AFTER = timedelta(days=3)
MAX_WAITING = 500
MAX_SECONDS_PER_TICK = 30.0
"""A sensor's tick has a minute, and each post may take TIMEOUT_S."""

Post = Callable[[str], str]
"""Posts the alert of a run id. Returns "" when it was taken, else what went wrong. Raises Unreachable."""


class Unreachable(Exception):
    """The webhook did not answer, so another alert now would fail too."""


@dataclass
class Waiting:
    """An alert that is not delivered yet. Times are seconds since 1970."""

    since: float
    next_try: float
    tries: int = 0


@dataclass
class Outbox:
    """Alerts by run id, oldest first, and the id of the newest failure event in the event log that was looked at."""

    last_event: int
    waiting: dict[str, Waiting] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: str | None) -> Outbox | None:
        """The outbox in a cursor; None where there is none yet. Also reads the cursor of Dagster's failure sensors."""
        try:
            stored = json.loads(cursor or "")
            if "record_id" in stored:
                return cls(int(stored["record_id"]))
            return cls(int(stored["last_event"]), {run: Waiting(**each) for run, each in stored["waiting"].items()})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self) -> str:
        """The outbox as a cursor."""
        return json.dumps(asdict(self))

    def add(self, run_id: str, now: datetime) -> None:
        """Puts an alert in, to be posted at once."""
        self.waiting.setdefault(run_id, Waiting(now.timestamp(), now.timestamp()))

    def deliver(self, now: datetime, post: Post) -> Iterator[tuple[str, str, bool]]:
        """Posts the alerts that are due.

        Yields for each the run id, what went wrong ("" if nothing did), and whether the alert is out of the outbox:
        delivered, or given up.
        """
        due = [run_id for run_id, each in self.waiting.items() if each.next_try <= now.timestamp()]
        unreachable, deadline = False, time.monotonic() + MAX_SECONDS_PER_TICK
        for run_id in due:
            try:
                problem = post(run_id)
            except Unreachable as error:
                problem, unreachable = str(error), True
            alert = self.waiting[run_id]
            expired = now.timestamp() - alert.since > GIVE_UP_AFTER.total_seconds()
            if not problem or expired:
                del self.waiting[run_id]
            else:
                alert.tries += 1
                wait = min(FIRST_WAIT * 2 ** min(alert.tries - 1, 20), MAX_WAIT)
                alert.next_try = (now + wait).timestamp()
            yield run_id, problem, not problem or expired
            if unreachable or time.monotonic() > deadline:
                return

    def drop_excess(self) -> list[str]:
        """Drops the oldest alerts beyond MAX_WAITING, which is what a cursor can hold. Returns their run ids."""
        dropped = list(self.waiting)[: max(len(self.waiting) - MAX_WAITING, 0)]
        for run_id in dropped:
            del self.waiting[run_id]
        return dropped

    @property
    def next_try(self) -> datetime | None:
        """When the next alert is due."""
        times = [each.next_try for each in self.waiting.values()]
        return datetime.fromtimestamp(min(times), timezone.utc) if times else None


def post_to_webhook(webhook_url: str, body: Mapping[str, str]) -> str:
    """Posts `body` as JSON. Returns "" when it was taken, else the status. Raises Unreachable."""
    try:
        status = requests.post(webhook_url, json=body, timeout=TIMEOUT_S).status_code
    except requests.RequestException as error:
        # The error's own text holds the URL, which is a secret.
        raise Unreachable(f"could not be reached ({type(error).__name__})") from None
    return "" if 200 <= status <= 299 else f"answered {status}"


def alert_text(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> str:
    """A failed run in words: its assets or job, its days, the reason, a link."""
    what = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
    days = run.tags.get(PARTITION_TAG) or "...".join(
        run.tags[tag] for tag in (RANGE_START_TAG, RANGE_END_TAG) if tag in run.tags
    )
    failures = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=failures) if entry.dagster_event]
    steps = [_reason(event) for event in events if event.is_step_failure]
    reason = "\n".join(steps or [event.message or "" for event in events])
    return f"{what} failed{f' on {days}' if days else ''}\n{reason}\n{ui_url}/runs/{run.run_id}"


def _reason(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    # What the step raised is the cause of Dagster's own error.
    error = failure.error and (failure.error.cause or failure.error)
    return error.message.strip() if error else event.message or ""
