"""Puts what passed a limit, and the digest, into the outbox of the alerts. Reads what Dagster knows of the days."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import dagster as dg

from cdr_assets.data_folder import disk_usage
from cdr_assets.days import DAY, describe_days
from cdr_assets.pipeline.alerts import Outbox
from cdr_assets.pipeline.answer_checks import NO_DAY_IS_OVERDUE
from cdr_assets.pipeline.checks import CheckState
from cdr_assets.pipeline.digest import Came, digest_day, digest_text
from cdr_assets.pipeline.limits import DayUsage, Limits, days_to_read, disk_alert, usage_alerts
from cdr_assets.pipeline.links import dashboard_page
from cdr_assets.pipeline.names import CONFERENCE_CDR, PERIOD_CDR, ROOM_CDR
from cdr_assets.pipeline.run_history import (
    FETCHES_COUNTED,
    newest_materialization_id,
    newest_materializations,
)
from cdr_assets.settings import Settings
from cdr_assets.warehouse.summary import MINUTES
from cdr_assets.warehouse.tables import DAILY_USAGE

STANDING = {
    "Missing days": "missing_days",
    "failed": "failed_days",
    "overdue": "overdue_days",
    "waiting for tables": "waiting_days",
}
"""What the digest says of the days, and the metadata of no_day_is_overdue that have it."""


@dataclass(frozen=True)
class Watch:
    """The limits, and the UTC hour of the digest; None: there is none.

    A day may be provisional for `settling_days` after it has closed.
    """

    limits: Limits
    digest_hour: int | None
    settling_days: int
    data_dir: Path
    ui_url: str
    dashboard_url: str

    @classmethod
    def of(cls, settings: Settings) -> Watch:
        """What the settings ask for."""
        return cls(
            Limits(settings.alert_minutes, settings.alert_change, settings.alert_disk_gb),
            settings.alert_digest_hour,
            settings.lookback_days,
            settings.places.data_dir,
            settings.ui_url,
            settings.dashboard_url,
        )

    def look(self, outbox: Outbox, instance: dg.DagsterInstance, states: Collection[CheckState], now: datetime) -> None:
        """Puts into the outbox what is to be reported now."""
        if self.limits.disk_gb is not None:
            self._look_at_disk(outbox, self.limits.disk_gb, now)
        if self.limits.are_of_usage:
            self._look_at_usage(outbox, instance, now)
        if self.digest_hour is not None and (due := digest_day(now, self.digest_hour, outbox.reported.digest)):
            outbox.reported.digest = due
            outbox.add(f"the digest on {due}", now, self._digest(instance, states, now))

    def _look_at_disk(self, outbox: Outbox, limit_gb: float, now: datetime) -> None:
        # On a disk that cannot be read every run fails, which is reported by itself.
        with suppress(OSError):
            if text := disk_alert(disk_usage(self.data_dir).free, limit_gb, outbox.reported, self.ui_url):
                outbox.add(f"the disk at {now.isoformat()}", now, text)

    def _look_at_usage(self, outbox: Outbox, instance: dg.DagsterInstance, now: datetime) -> None:
        seen = f"{newest_materialization_id(instance, DAILY_USAGE.name)} {self.limits}"
        if seen == outbox.reported.looked_at:
            return
        outbox.reported.looked_at, today = seen, now.date()
        usage = usage_of(instance, days_to_read(today, self.settling_days))
        for alert in usage_alerts(usage, today, self.settling_days, self.limits, outbox.reported, self._links):
            outbox.add(alert.key, now, alert.text)

    def _links(self, first: date, last: date) -> str:
        page = dashboard_page(self.dashboard_url, DAILY_USAGE.name, first, last)
        return f"{page}\n{self.ui_url}/assets/{DAILY_USAGE.name}"

    def _digest(self, instance: dg.DagsterInstance, states: Collection[CheckState], now: datetime) -> str:
        day = now.date() - DAY
        standing = next((state.says for state in states if state.check is NO_DAY_IS_OVERDUE), {})
        return digest_text(
            day,
            usage_of(instance, days_to_read(day, 0)),
            came_since(instance, now - DAY),
            {name: str(standing[key]) for name, key in STANDING.items() if key in standing},
            sorted(f"{state.check.name} on {describe_days(state.open_days)}" for state in states if state.open_days),
            [self._links(day, day)],
        )


def usage_of(instance: dg.DagsterInstance, days: Sequence[date]) -> dict[date, DayUsage]:
    """The usage of those of the days that are built. A day without calls has none."""
    found = newest_materializations(instance, DAILY_USAGE.name, len(days), days)
    return {
        day: DayUsage(says.get(MINUTES, 0.0), says.get("conferences", 0), says["provisional"])
        for day, says in found.items()
        # Somebody may report a partition by hand.
        if "provisional" in says
    }


def came_since(instance: dg.DagsterInstance, when: datetime) -> Came:
    """What the fetches since then brought. Older ones may be deleted: see `retention`."""
    new = changed = 0
    set_aside: dict[str | None, int] = {}
    for asset in (PERIOD_CDR, ROOM_CDR, CONFERENCE_CDR):
        since = dg.AssetRecordsFilter(dg.AssetKey(asset), after_timestamp=when.timestamp())
        for record in reversed(instance.fetch_materializations(since, limit=FETCHES_COUNTED).records):
            said = record.asset_materialization
            figures = {name: value.value for name, value in said.metadata.items()} if said else {}
            new += _count(figures.get("new_records"))
            changed += _count(figures.get("changed_records"))
            if asset == PERIOD_CDR:
                # A later answer for the day has the same records set aside.
                set_aside[record.partition_key] = _count(figures.get("set_aside_records"))
    return Came(new, changed, sum(set_aside.values()))


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
