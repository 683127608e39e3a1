"""Ticks of the sensors as the daemon makes them, and the runs that they request."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import dagster as dg

from cdr_assets.days import days_between
from cdr_assets.pipeline.resources import Clock
from cdr_assets_tests.location import Location

MOST_TICKS = 20


class FrozenClock(Clock):
    moment: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.moment)


def tick(location: Location, sensor: str, now: datetime | None = None, cursor: str | None = None) -> Any:
    """One evaluation of the sensor, at the present if no other time is given."""
    with dg.build_sensor_context(
        instance=location.instance,
        definitions=location.definitions,
        resources={
            **(location.definitions.resources or {}),
            # A request that was sent later than now would be that of a wrong clock.
            **location.resources(max(now, datetime.now(timezone.utc)) if now else None),
            "clock": FrozenClock(moment=(now or datetime.now(timezone.utc)).isoformat()),
        },
        cursor=cursor,
    ) as context:
        return location.definitions.resolve_sensor_def(sensor).evaluate_tick(context)


def days_of(request: dg.RunRequest) -> list[date]:
    tags = request.tags
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    if first and last:
        assert "dagster/partition" not in tags
        return days_between(date.fromisoformat(first), date.fromisoformat(last))
    return [date.fromisoformat(tags["dagster/partition"])]


def requested(location: Location, sensor: str, now: datetime | None = None) -> list[list[date]]:
    """The days of each run that the sensor asks for."""
    return [days_of(request) for request in tick(location, sensor, now).run_requests]


def skipped(location: Location, sensor: str, now: datetime | None = None) -> str:
    """The reason that the sensor gives for requesting nothing."""
    result = tick(location, sensor, now)
    assert result.run_requests == []
    return str(result.skip_message)


def launch(
    location: Location, sensor: str, request: dg.RunRequest, now: datetime | None = None
) -> dg.ExecuteInProcessResult:
    """Runs what the sensor asked for. Its requests are sent at `now` as far as the landing zone knows."""
    job = {"landed_days": "rebuild"}.get(sensor, "daily_cdr")
    return location.definitions.resolve_job_def(job).execute_in_process(
        instance=location.instance,
        partition_key=request.tags.get("dagster/partition"),
        tags={name: value for name, value in request.tags.items() if name != "dagster/partition"},
        resources=location.resources(now),
        raise_on_error=False,
    )


def tick_until_done(location: Location, sensor: str) -> tuple[list[list[date]], str]:
    """Ticks and launches until the sensor requests nothing. Returns the days of each run, and why there are no more."""
    launched: list[list[date]] = []
    for _ in range(MOST_TICKS):
        result = tick(location, sensor)
        if not result.run_requests:
            return launched, str(result.skip_message)
        for request in result.run_requests:
            assert launch(location, sensor, request).success
            launched.append(days_of(request))
    raise AssertionError(f"{sensor} goes on asking: {launched}")
