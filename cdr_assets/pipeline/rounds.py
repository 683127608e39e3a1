"""Whether every sensor ticks, as Dagster recorded it, and the heartbeat by which others see that it lives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg
import requests
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorTick, TickStatus

WATCHER = "failed_runs"
"""The sensor that looks."""
FAILURES = 3
INTERVALS = 10
LEAST_SILENCE = timedelta(minutes=10)
"""Sensors tick one after the other, and each may take a minute."""
STOPPED_FOR = timedelta(days=1)
BEAT_EVERY = timedelta(minutes=5)
TIMEOUT_S = 10


@dataclass
class Rounds:
    """What the rounds before this one found. Times are seconds since 1970."""

    since: float = 0.0
    """From when on rounds follow one another: nobody ticks on a machine that sleeps."""
    last: float = 0.0
    silent: list[str] = field(default_factory=list)
    """The sensors that are reported."""
    beat: float = 0.0
    is_good: bool = False
    """Whether each sensor was evaluated without an error, and none is silent."""

    def look(self, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance, now: datetime) -> Iterator[str]:
        """Yields what is to be said of the other sensors."""
        before, self.last = self.last, now.timestamp()
        if not 0 <= self.last - before <= LEAST_SILENCE.total_seconds():
            self.since = self.last
        # An instance in memory knows no ticks.
        self.is_good = instance.schedule_storage is not None
        if not self.is_good:
            return
        repository = context.repository_def
        sensors = {sensor.name: sensor for sensor in repository.sensor_defs} if repository else {}
        states = {
            state.instigator_name: state
            for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            if _is_here(state, context)
        }
        for name, sensor in sensors.items():
            if name == WATCHER:
                continue
            state = states.get(name)
            ticks = (
                instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=FAILURES + 1) if state else []
            )
            interval = timedelta(seconds=sensor.minimum_interval_seconds or 30)
            is_stopped = state is not None and state.status is InstigatorStatus.STOPPED
            trouble, is_fine = self._judge(ticks, is_stopped, interval, now)
            self.is_good = self.is_good and is_fine
            if trouble and name not in self.silent:
                self.silent.append(name)
                yield f"The sensor {name} {trouble}\nWhat it does waits for it. Its ticks say more."
            elif name in self.silent and is_fine and not is_stopped:
                self.silent.remove(name)
                yield f"The sensor {name} ticks again"
        self.is_good = self.is_good and not self.silent

    def _judge(
        self, ticks: Sequence[InstigatorTick], is_stopped: bool, interval: timedelta, now: datetime
    ) -> tuple[str, bool]:
        """What is wrong with a sensor, empty if nothing is to be said, and whether it does its work."""
        newest = max((tick.timestamp for tick in ticks), default=0.0)
        if is_stopped:
            is_long = now.timestamp() - (newest or self.since) > STOPPED_FOR.total_seconds()
            return "has been stopped for a day" if is_long else "", not is_long
        patience = max(INTERVALS * interval, LEAST_SILENCE).total_seconds()
        if now.timestamp() - max(newest, self.since) > patience:
            return f"has not ticked for {INTERVALS} of its intervals", False
        ended = [tick for tick in ticks if tick.status is not TickStatus.STARTED][:FAILURES]
        failed = [tick for tick in ended if tick.status is TickStatus.FAILURE]
        if len(failed) == FAILURES:
            return f"failed {FAILURES} times in a row: {_kind(failed[0])}", False
        is_fine = ended[:1] not in ([], failed[:1]) and now.timestamp() - newest <= patience
        return "", is_fine

    def send_beat(self, url: str, now: datetime) -> str:
        """Asks for the URL after a good round, if it is time. Returns what went wrong, never with the URL: a secret."""
        if not url or not self.is_good or 0 <= now.timestamp() - self.beat < BEAT_EVERY.total_seconds():
            return ""
        self.beat = now.timestamp()
        try:
            status = requests.get(url, timeout=TIMEOUT_S).status_code
        except Exception as error:
            return f"CDR_HEARTBEAT_URL could not be reached ({type(error).__name__})"
        return "" if status < 400 else f"CDR_HEARTBEAT_URL answered {status}"


def _is_here(state: InstigatorState, context: dg.SensorEvaluationContext) -> bool:
    """Whether the sensor is of this code location: others may be in the same Dagster instance."""
    here = context.code_location_origin
    return here is None or state.origin.repository_origin.code_location_origin.location_name == here.location_name


def _kind(tick: InstigatorTick) -> str:
    """The error's kind. Its text may quote what nobody should read."""
    error = tick.error and (tick.error.cause or tick.error)
    return (error and error.cls_name) or "unknown"
