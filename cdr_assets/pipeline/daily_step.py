"""The step of a run of the daily assets: it does the run's days, and yields what Dagster records of them.

Dagster's context stays on the step's own thread. Everything else is done by DailyRun, which knows no Dagster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import dagster as dg

from cdr_assets.database import WarehouseError
from cdr_assets.days import describe_days
from cdr_assets.enablex.errors import BadParameter, EnableXError
from cdr_assets.pipeline import checks, events
from cdr_assets.pipeline.answer_checks import NO_DAY_IS_OVERDUE, ROUTES_AGREE
from cdr_assets.pipeline.daily_run import DailyRun
from cdr_assets.pipeline.failures import failure, without_values
from cdr_assets.pipeline.live_run import PARTITION_TAG, LiveRun
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.pipeline.overdue import OverdueInRun

Event: TypeAlias = dg.AssetMaterialization | dg.AssetCheckEvaluation


class DayToCome(BadParameter):
    """A day that has not begun was to be fetched."""


@dataclass(frozen=True)
class DailyStep:
    """The step of one run. `live_run` says which EnableX the records are of, for every materialization.

    `fetch_concurrency` days are fetched in parallel. `sample` rooms, and as many conferences, are asked for by the
    check routes_agree; with 0 it asks for nothing, and what it found before stays open. `overdue` evaluates the check
    no_day_is_overdue.
    """

    context: dg.AssetExecutionContext
    run: DailyRun
    live_run: LiveRun
    fetch_concurrency: int
    sample: int
    overdue: OverdueInRun | None = None

    def events(self) -> Iterator[Event]:
        """Materializes the selected assets; without any, evaluates the selected checks on every day.

        The checks that Dagster expects to be evaluated, and that it did not reach, get their last result again.
        """
        assets = {key.to_user_string() for key in self.context.selected_asset_keys}
        left = set(self.context.selected_asset_check_keys)
        try:
            for event in self._materialize(assets) if assets else self._evaluate_checks():
                if isinstance(event, dg.AssetCheckEvaluation):
                    left.discard(event.asset_check_key)
                yield event
        except Exception:
            yield from self._last_results(left)
            raise
        yield from self._last_results(left)

    def _last_results(self, left: Collection[dg.AssetCheckKey]) -> Iterator[Event]:
        partition = self.context.run.tags.get(PARTITION_TAG)
        for key in sorted(left, key=str):
            yield from checks.last_result(self.context.instance, key, partition)

    def _materialize(self, assets: set[str]) -> Iterator[Event]:
        """Does the days of the run that are left. If a day fails, what it completed is still recorded."""
        days = events.days_left(self.context)
        left = list(days)
        fetches = PERIOD_CDR in assets
        if self.run.replaces and not fetches:
            raise failure(self.context, BadParameter(f"replace is for runs that fetch: select {PERIOD_CDR} too"))
        # Dagster refuses a day that is to come, and not a range that ends there.
        if fetches and (to_come := [day for day in days if day > self.run.zone.now().date()]):
            raise failure(self.context, DayToCome(f"{describe_days(to_come)} has not begun in UTC"), to_come[0])
        try:
            for outcome in self.run.fetch_and_build(days, self.fetch_concurrency) if fetches else self.run.build(days):
                day = outcome.day
                took = events.fetch_metadata(self.run.asked.get(day), self.run.lateness.get(day))
                yield from events.recorded(outcome, self.run, self.live_run, took)
                left.remove(outcome.day)
            # A day that is current was compared when it was built: its routes are not asked again. While a day is open,
            # they differ by what happened between two requests.
            last_closed = self.run.closed(days)[-1:]
            if self.sample and fetches and self.run.loaded_days.issuperset(last_closed):
                for day in last_closed:
                    self.run.reconcile(day, self.sample)
            for outcome in self.run.build(self._days_to_build_again(days)):
                yield from events.recorded(outcome, self.run, self.live_run)
        except Exception as error:
            # The results of the days that were done are not lost with the day that failed.
            with suppress(WarehouseError):
                if isinstance(error, EnableXError):
                    yield from self._current(left)
                yield from self._results_of_materialized(assets)
            done = [day for day in days if day not in left]
            outlook = f"Days done: {describe_days(done) or 'none'}. Days left: {describe_days(left) or 'none'}."
            raise failure(self.context, error, left[0] if left else None, outlook) from without_values(error)
        yield from self._results_of_materialized(assets)
        if self.run.bad_rooms:
            outlook = f"owner_usage waits for it. Everything else is done: {describe_days(days)}."
            raise failure(self.context, self.run.bad_rooms, outlook=outlook)

    def _current(self, days: Collection[date]) -> Iterator[Event]:
        """What is built of these days: what no materialization is told of would be shown as failed with the fetch."""
        for outcome in self.run.build(self.run.current(days), skip_current=True):
            yield from events.recorded(outcome, self.run, self.live_run)

    def _days_to_build_again(self, days: Collection[date]) -> list[date]:
        """Days of the run that later answers added to, and other partitions that lost records to days of the run."""
        partitions = self.context.assets_def.partitions_def
        lost_records = {
            day
            for day in self.run.days_due
            if self.run.zone.files(day) and partitions and partitions.has_partition_key(day.isoformat())
        }
        return sorted(lost_records | self.run.days_to_rebuild().intersection(days))

    def _evaluate_checks(self) -> Iterator[Event]:
        """Looks at every day again: "Execute" on checks in the UI starts a run without a partition."""
        selected = self.context.selected_asset_check_keys
        names = {key.name for key in selected}
        self.run.look_again(names)
        if ROUTES_AGREE.name in names and self.sample:
            for day in self.run.days_to_reconcile():
                self.run.reconcile(day, self.sample)
        yield from self._results({key.asset_key.to_user_string() for key in selected})
        if NO_DAY_IS_OVERDUE.name in names and self.overdue:
            yield self.overdue.evaluation()

    def _results_of_materialized(self, assets: set[str]) -> Iterator[Event]:
        yield from self._results(assets)
        if PERIOD_CDR in assets and self.overdue:
            yield from self.overdue.evaluation_if_red()

    def _results(self, assets: set[str]) -> Iterator[Event]:
        """The results of the assets' checks."""
        # A run from the UI plans a result per check and partition. One that gets no result is shown as skipped.
        partition = self.context.run.tags.get(PARTITION_TAG)
        planned = dict.fromkeys(self.context.selected_asset_check_keys, partition)
        with self.run.connection() as connection:
            found = list(checks.evaluations(connection, self.run.looked_at, assets, planned))
        self.run.release()
        yield from found
