"""The environment variables, each validated once; README.md has them in a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import dagster as dg

from cdr_assets.days import parse_day
from cdr_assets.enablex.client import BASE_URL, check_settings, is_loopback
from cdr_assets.enablex.errors import BadSetting
from cdr_assets.places import Places

ENABLEX_VARIABLES = {"app_id": "ENABLEX_APP_ID", "app_key": "ENABLEX_APP_KEY", "base_url": "ENABLEX_BASE_URL"}
"""The variable of each setting of the client."""

_PLACES_AND_URLS = (
    *("CDR_DATA_DIR", "CDR_LANDING", "CDR_EXPORT_DIR", "CDR_ROOMS"),
    *("CDR_ALERT_WEBHOOK_URL", "CDR_HEARTBEAT_URL", "CDR_UI_URL", "CDR_DASHBOARD_URL"),
)


class Variable(NamedTuple):
    """A number in the environment, with its default and the range it must lie in."""

    name: str
    default: float
    least: float
    most: float
    whole: bool = False

    def read(self, environ: Mapping[str, str]) -> float:
        """Its value. Raises ValueError, naming the variable and the range, if it is not in the range."""
        text = environ.get(self.name)
        if not text:
            return self.default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.least <= value <= self.most or (self.whole and value != int(value)):
            kind = "whole number" if self.whole else "number"
            raise ValueError(f"{self.name} is {text!r}: give a {kind} from {self.least:.15g} to {self.most:.15g}")
        return value

    def read_if_set(self, environ: Mapping[str, str]) -> float | None:
        """Its value; None if it is not set. Raises ValueError as `read` does."""
        return self.read(environ) if environ.get(self.name) else None


SETTLE_MINUTES = Variable("CDR_SETTLE_MINUTES", 60, 0, 1440)
SETTLING_DAYS = Variable("CDR_SETTLING_DAYS", 3, 0, 31, whole=True)
SETTLING_HOURS = Variable("CDR_SETTLING_HOURS", 6, 0.0001, 168)
OPEN_DAY_MINUTES = Variable("CDR_OPEN_DAY_MINUTES", 30, 0, 1440)
OVERDUE_HOURS = Variable("CDR_OVERDUE_HOURS", 6, 0, 720)
TICK_SECONDS = Variable("CDR_TICK_SECONDS", 600, 1, 86_400, whole=True)
# Of several machines one may stop at any time, and what it did is taken up at the next tick.
LAKE_TICK_SECONDS = TICK_SECONDS._replace(default=60)
FETCH_CONCURRENCY = Variable("CDR_FETCH_CONCURRENCY", 2, 1, 16, whole=True)
REQUESTS_PER_MINUTE = Variable("CDR_REQUESTS_PER_MINUTE", 60, 1, 6000)
AGREEMENT_SAMPLE = Variable("CDR_AGREEMENT_SAMPLE", 2, 0, 100, whole=True)
KEEP_RUNS_DAYS = Variable("CDR_KEEP_RUNS_DAYS", 21, 0, 36_500, whole=True)
# These have no default: see read_if_set.
DAYS_A_RUN = Variable("CDR_DAYS_A_RUN", 0, 1, 31, whole=True)
ALERT_MINUTES = Variable("CDR_ALERT_MINUTES", 0, 1, 100_000_000)
ALERT_CHANGE = Variable("CDR_ALERT_CHANGE", 0, 1.01, 1000)
ALERT_DISK_GB = Variable("CDR_ALERT_DISK_GB", 0, 0.1, 1_000_000)
ALERT_DIGEST = Variable("CDR_ALERT_DIGEST", 0, 0, 23, whole=True)


@dataclass(frozen=True)
class Settings:
    """Every setting of the code location."""

    app_id: str
    app_key: str
    base_url: str
    enablex: str
    """Which EnableX this is, for people: its host, or "sandbox"."""
    places: Places
    """Where everything is kept."""
    lake: str
    """The lake, as a secret that only its users read; empty on one machine."""
    export_dir: str
    """The Parquet copies' folder or bucket."""
    people_in_clear: bool
    """The Parquet copies show people as the tables do."""
    rooms_file: Path | None
    """The rooms' owners, as a CSV file."""
    owners: tuple[str, ...]
    """Who answers for the numbers, as Dagster writes it."""
    start_date: date
    fetch_delay: timedelta
    lookback_days: int
    refetch_interval: timedelta
    open_day_interval: timedelta
    """Zero: the open day is not fetched."""
    overdue_after: timedelta
    """From when a day is due to when it is overdue."""
    tick_s: int
    fetch_concurrency: int
    days_a_run: int | None
    """Most days of one run, of sensors and backfills; None: a range is one run."""
    requests_per_minute: float
    """Requests to EnableX, over all processes on the same data; 0 is no limit."""
    agreement_sample: int
    keep_runs_days: int
    alert_webhook_url: str
    alert_urls: tuple[str, ...]
    """Where alerts go, as apprise writes it."""
    alert_minutes: float | None
    """Participant minutes of a UTC day beyond which it is reported."""
    alert_change: float | None
    """How many times more or fewer than on the same weekday before are reported."""
    alert_disk_gb: float | None
    """Free space below which the disk is reported."""
    alert_digest_hour: int | None
    """Hour of the UTC day at which the digest is sent."""
    heartbeat_url: str
    """Asked after a good round of the sensors, as a secret; empty: nothing is."""
    ui_url: str
    dashboard_url: str

    @property
    def project(self) -> str:
        """The project's name for people: its App ID; the data folder's name while there is none."""
        app_id = self.app_id.get_value() if isinstance(self.app_id, dg.EnvVar) else self.app_id
        return app_id or self.places.data_dir.name

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """The settings in `environ`. Raises ValueError, naming the variable and the remedy, if one is wrong."""

        def secret(name: str) -> str:
            # Dagster then shows the name of the variable instead of its value.
            return dg.EnvVar(name) if environ.get(name) else ""

        for name in _PLACES_AND_URLS:
            if re.search(r"[\x00-\x1f\x7f]", environ.get(name) or ""):
                raise ValueError(f"{name} has a line break or another control character in it: give it without")
        base_url = environ.get("ENABLEX_BASE_URL") or BASE_URL
        try:
            check_settings(environ.get("ENABLEX_APP_ID", ""), environ.get("ENABLEX_APP_KEY", ""), base_url)
        except BadSetting as error:
            raise ValueError(f"{ENABLEX_VARIABLES[error.settings[0]]}: {error}") from None
        places = Places.from_environment(environ)
        return cls(
            app_id=secret("ENABLEX_APP_ID"),
            app_key=secret("ENABLEX_APP_KEY"),
            base_url=base_url,
            # A sandbox gives its own URL there, so what a stopped one left in a shell does no harm.
            enablex="sandbox" if environ.get("CDR_SANDBOX") == base_url else str(urlsplit(base_url).hostname),
            places=places,
            lake=secret("CDR_WAREHOUSE") if places.is_lake else "",
            export_dir=places.export_place(environ.get("CDR_EXPORT_DIR")),
            people_in_clear=_people_in_clear(environ.get("CDR_EXPORT_PEOPLE") or "masked"),
            rooms_file=Path(environ["CDR_ROOMS"]).resolve() if environ.get("CDR_ROOMS") else None,
            owners=_owners(environ.get("CDR_OWNER") or ""),
            start_date=_start_date(environ.get("CDR_START_DATE") or "2025-01-01"),
            fetch_delay=timedelta(minutes=SETTLE_MINUTES.read(environ)),
            lookback_days=int(SETTLING_DAYS.read(environ)),
            refetch_interval=timedelta(hours=SETTLING_HOURS.read(environ)),
            open_day_interval=timedelta(minutes=OPEN_DAY_MINUTES.read(environ)),
            overdue_after=timedelta(hours=OVERDUE_HOURS.read(environ)),
            tick_s=int((LAKE_TICK_SECONDS if places.is_lake else TICK_SECONDS).read(environ)),
            fetch_concurrency=int(FETCH_CONCURRENCY.read(environ)),
            days_a_run=_whole(DAYS_A_RUN.read_if_set(environ)),
            requests_per_minute=_requests_per_minute(environ, base_url),
            agreement_sample=int(AGREEMENT_SAMPLE.read(environ)),
            keep_runs_days=int(KEEP_RUNS_DAYS.read(environ)),
            alert_webhook_url=environ.get("CDR_ALERT_WEBHOOK_URL") or "",
            alert_urls=tuple((environ.get("CDR_ALERT_URLS") or "").split()),
            alert_minutes=ALERT_MINUTES.read_if_set(environ),
            alert_change=ALERT_CHANGE.read_if_set(environ),
            alert_disk_gb=ALERT_DISK_GB.read_if_set(environ),
            alert_digest_hour=_whole(ALERT_DIGEST.read_if_set(environ)),
            heartbeat_url=(environ.get("CDR_HEARTBEAT_URL") or "").strip(),
            ui_url=(environ.get("CDR_UI_URL") or "http://localhost:3000").rstrip("/"),
            dashboard_url=(environ.get("CDR_DASHBOARD_URL") or "http://localhost:8501").rstrip("/"),
        )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _requests_per_minute(environ: Mapping[str, str], base_url: str) -> float:
    # Nobody's service runs on this machine: a sandbox, a test.
    is_unlimited = is_loopback(base_url) and not environ.get(REQUESTS_PER_MINUTE.name)
    return 0.0 if is_unlimited else REQUESTS_PER_MINUTE.read(environ)


def _owners(text: str) -> tuple[str, ...]:
    owners = tuple(text.split())
    for owner in owners:
        if not re.fullmatch(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
            raise ValueError(
                f"CDR_OWNER has {owner!r}: give team:NAME or an e-mail address, with spaces between several"
            )
    return owners


def _people_in_clear(text: str) -> bool:
    if text not in ("masked", "clear"):
        raise ValueError(f"CDR_EXPORT_PEOPLE is {text!r}: give masked, or clear for copies that show people")
    return text == "clear"


def _start_date(text: str) -> date:
    try:
        return parse_day("CDR_START_DATE", text)
    except ValueError:
        raise ValueError(
            f"CDR_START_DATE is {text!r}: give the first UTC day to keep as YYYY-MM-DD, for example 2025-01-01"
        ) from None
