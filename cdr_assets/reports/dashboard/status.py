"""What `status.json` next to the exports says. The service writes it; it may be missing, damaged, old or of another
version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from cdr_assets.data_folder import STATUS_FILE
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.storage import Storage, StorageError

OLD_AFTER = timedelta(minutes=15)
STATES = ("complete", "provisional", "waiting", "missing", "failed", "overdue")
FIGURES = (
    "records",
    "new",
    "changed",
    "vanished",
    "quarantined",
    "late",
    "requests",
    "retries",
    "seconds",
)
SANDBOX = "sandbox"


@dataclass(frozen=True)
class Status:
    """What is known of the service. Whatever the file lacks, or says in another shape, is None or empty."""

    written_at: datetime | None
    enablex: str | None
    ui_url: str | None
    days: Mapping[str, Sequence[Period]]
    """The ranges of days in each of STATES. A day may be in several of them."""
    next_try: str | None
    runs: Sequence[Mapping[str, str | None]]
    """Newest first: run_id, job, status, started_at, ended_at, days."""
    fetches: Sequence[Mapping[str, Any]]
    """Newest day first: day, and a number or None for each of FIGURES."""
    free_bytes: float | None
    total_bytes: float | None

    @property
    def is_of_sandbox(self) -> bool:
        """Whether the records are the sandbox's invented calls."""
        return self.enablex == SANDBOX

    def age(self, now: datetime) -> timedelta | None:
        """How old the file is; None if it does not say so."""
        return now - self.written_at if self.written_at else None

    def count(self, state: str) -> int:
        """How many days are in the state."""
        return sum(period.days for period in self.days[state])

    def states_of(self, day: date) -> list[str]:
        """The states that the day is in."""
        return [state for state in STATES if any(first <= day <= last for first, last in self.days[state])]

    @property
    def last_day(self) -> date | None:
        """The newest day that it knows of."""
        return max((period.last for periods in self.days.values() for period in periods), default=None)


def read_status(exports: Storage) -> Status | None:
    """What the file next to the exports says; None where there is none, or one that cannot be read."""
    try:
        content = json.loads(exports.read(STATUS_FILE) or "")
    except (OSError, ValueError, RecursionError, StorageError):
        return None
    return _status(content) if isinstance(content, dict) else None


def _status(content: Mapping[str, Any]) -> Status:
    days, disk = _object(content, "days"), _object(content, "disk")
    url = _text(content.get("ui_url"))
    return Status(
        written_at=_time(content.get("written_at")),
        enablex=_text(content.get("enablex")),
        ui_url=url.rstrip("/") if url and url.startswith(("http://", "https://")) else None,
        days={state: list(_periods(days.get(state))) for state in STATES},
        next_try=_text(content.get("next_try")),
        runs=[
            {name: _text(run.get(name)) for name in ("run_id", "job", "status", "started_at", "ended_at", "days")}
            for run in _objects(content, "runs")
        ],
        fetches=[
            {"day": _text(fetch.get("day")), **{name: _number(fetch.get(name)) for name in FIGURES}}
            for fetch in _objects(content, "fetches")
            if _day(fetch.get("day"))
        ],
        free_bytes=_number(disk.get("free_bytes")),
        total_bytes=_number(disk.get("total_bytes")),
    )


def _object(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    given = content.get(name)
    return given if isinstance(given, dict) else {}


def _objects(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    given = content.get(name)
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _periods(given: object) -> Iterator[Period]:
    for ends in given if isinstance(given, list) else []:
        if isinstance(ends, list) and len(ends) == 2:
            first, last = map(_day, ends)
            if first and last and first <= last:
                yield Period(first, last)


def _day(given: object) -> date | None:
    with suppress(ValueError, TypeError):
        return date.fromisoformat(given)  # type: ignore[arg-type]
    return None


def _time(given: object) -> datetime | None:
    with suppress(ValueError, TypeError):
        return datetime.strptime(given, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)  # type: ignore[arg-type]
    return None


def _text(given: object) -> str | None:
    return given if isinstance(given, str) and given else None


def _number(given: object) -> float | None:
    return given if isinstance(given, (int, float)) and not isinstance(given, bool) else None
