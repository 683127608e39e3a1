"""The check that no day is overdue. It is about days that no run has done, so the sensor closed_days evaluates it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg

from cdr_assets.database import WarehouseError
from cdr_assets.days import describe_days
from cdr_assets.pipeline.answer_checks import NO_DAY_IS_OVERDUE
from cdr_assets.pipeline.checks import states
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.pipeline.resources import EnableXResource, LandingResource, WarehouseResource
from cdr_assets.pipeline.run_history import complete_days, known_runs, landed_and_built
from cdr_assets.pipeline.scheduling import ClosedDays, Runs, Timing, days_to_build, look_at_closed_days


@dataclass(frozen=True)
class Overdue:
    """When a day from `start` on is overdue: it is not complete `after` it was due, and its fetches fail."""

    start: date
    timing: Timing
    after: timedelta

    def look(
        self,
        now: datetime,
        complete: Collection[date],
        runs: Runs,
        landing: LandingResource,
        warehouse: WarehouseResource,
    ) -> ClosedDays:
        """How the days that are due stand. While the warehouse cannot be read nobody knows which days wait for it."""
        waiting: list[date] = []
        with suppress(WarehouseError):
            waiting = days_to_build(now, *landed_and_built(now, self.start, landing, warehouse), self.timing)
        return look_at_closed_days(now, self.start, complete, runs, self.timing, self.after, waiting)


@dataclass(frozen=True)
class OverdueInRun:
    """The check as a run evaluates it, from what Dagster and the disk know."""

    overdue: Overdue
    instance: dg.DagsterInstance
    now: datetime
    landing: LandingResource
    enablex: EnableXResource
    warehouse: WarehouseResource

    def evaluation(self) -> dg.AssetCheckEvaluation:
        """The result of the check."""
        complete = complete_days(self.instance, self.landing, self.overdue.timing)
        runs = known_runs(self.instance, self.now, self.enablex)
        return evaluation(self.overdue.look(self.now, complete, runs, self.landing, self.warehouse))

    def evaluation_if_red(self) -> list[dg.AssetCheckEvaluation]:
        """The result, if the one before is red: the UI hides results that are older than the newest materialization."""
        was_red = any(
            state.open_days for state in states(self.instance, [PERIOD_CDR]) if state.check is NO_DAY_IS_OVERDUE
        )
        return [self.evaluation()] if was_red else []


def evaluation(days: ClosedDays) -> dg.AssetCheckEvaluation:
    """The result of the check."""
    overdue = describe_days(days.overdue)
    metadata: dict[str, str | int] = {
        "complete_days": len(days.complete),
        "provisional_days": describe_days(days.provisional) or "none",
        "missing_days": describe_days(days.missing) or "none",
        "failed_days": describe_days(days.failed) or "none",
        "overdue_days": overdue or "none",
        "waiting_days": describe_days(days.waiting) or "none",
    }
    if days.overdue:
        metadata |= {"next_try": days.next_try, "what_to_do": NO_DAY_IS_OVERDUE.remedy}
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(PERIOD_CDR),
        check_name=NO_DAY_IS_OVERDUE.name,
        passed=not days.overdue,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"Overdue: {overdue}. Next try: {days.next_try}." if overdue else "No day is overdue.",
        metadata=metadata,
    )
