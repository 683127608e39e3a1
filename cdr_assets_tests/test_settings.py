from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from cdr_assets.definitions import code_location
from cdr_assets.enablex.client import BASE_URL
from cdr_assets.places import Places
from cdr_assets.settings import Settings

RANGES = {
    "CDR_SETTLE_MINUTES": ("number", "0", "1440"),
    "CDR_SETTLING_DAYS": ("whole number", "0", "31"),
    "CDR_SETTLING_HOURS": ("number", "0.0001", "168"),
    "CDR_OPEN_DAY_MINUTES": ("number", "0", "1440"),
    "CDR_TICK_SECONDS": ("whole number", "1", "86400"),
    "CDR_FETCH_CONCURRENCY": ("whole number", "1", "16"),
    "CDR_DAYS_A_RUN": ("whole number", "1", "31"),
    "CDR_REQUESTS_PER_MINUTE": ("number", "1", "6000"),
    "CDR_AGREEMENT_SAMPLE": ("whole number", "0", "100"),
    "CDR_KEEP_RUNS_DAYS": ("whole number", "0", "36500"),
    "CDR_OVERDUE_HOURS": ("number", "0", "720"),
    "CDR_ALERT_MINUTES": ("number", "1", "100000000"),
    "CDR_ALERT_CHANGE": ("number", "1.01", "1000"),
    "CDR_ALERT_DISK_GB": ("number", "0.1", "1000000"),
    "CDR_ALERT_DIGEST": ("whole number", "0", "23"),
}
WHOLE = [name for name, (kind, _, _) in RANGES.items() if kind == "whole number"]


def test_without_an_environment_the_settings_are_the_documented_ones() -> None:
    settings = Settings.read({})
    assert settings.base_url == BASE_URL
    assert settings.places.data_dir == Path.cwd() / "data"
    assert settings.export_dir == str(Path.cwd() / "data" / "published")
    assert settings.start_date == date(2025, 1, 1)
    assert (settings.fetch_delay, settings.lookback_days) == (timedelta(hours=1), 3)
    assert settings.refetch_interval == timedelta(hours=6)
    assert settings.open_day_interval == timedelta(minutes=30)
    assert (settings.tick_s, settings.fetch_concurrency, settings.agreement_sample) == (600, 2, 2)
    assert settings.requests_per_minute == 60
    assert (settings.keep_runs_days, settings.overdue_after) == (21, timedelta(hours=6))
    assert (settings.people_in_clear, settings.owners, settings.alert_urls) == (False, (), ())
    assert (settings.app_id, settings.app_key, settings.alert_webhook_url) == ("", "", "")
    assert (settings.alert_minutes, settings.alert_change, settings.alert_disk_gb) == (None, None, None)
    assert settings.alert_digest_hour is None
    assert (settings.ui_url, settings.dashboard_url) == ("http://localhost:3000", "http://localhost:8501")


def test_a_variable_that_is_set_to_nothing_is_not_set() -> None:
    environment = {"ENABLEX_BASE_URL", "CDR_DATA_DIR", "CDR_EXPORT_DIR", "CDR_START_DATE", *RANGES}
    environment |= {"CDR_UI_URL", "CDR_DASHBOARD_URL"}
    assert Settings.read(dict.fromkeys(environment, "")) == Settings.read({})


def test_every_variable_reaches_the_setting_it_is_named_for() -> None:
    settings = Settings.read(
        {
            "ENABLEX_BASE_URL": "https://enablex.example",
            "CDR_DATA_DIR": "/srv/cdr",
            "CDR_EXPORT_DIR": "/srv/exports",
            "CDR_START_DATE": "2026-11-01",
            "CDR_SETTLE_MINUTES": "1.5",
            "CDR_SETTLING_DAYS": "7",
            "CDR_SETTLING_HOURS": "0.5",
            "CDR_OPEN_DAY_MINUTES": "7.5",
            "CDR_OVERDUE_HOURS": "1.5",
            "CDR_TICK_SECONDS": "30",
            "CDR_FETCH_CONCURRENCY": "3",
            "CDR_DAYS_A_RUN": "7",
            "CDR_REQUESTS_PER_MINUTE": "12.5",
            "CDR_AGREEMENT_SAMPLE": "0",
            "CDR_KEEP_RUNS_DAYS": "30",
            "CDR_EXPORT_PEOPLE": "clear",
            "CDR_OWNER": "team:finance somebody@example.com",
            "CDR_ROOMS": "/srv/rooms.csv",
            "CDR_ALERT_URLS": " slack://secret  mailto://secret\n",
            "CDR_ALERT_WEBHOOK_URL": "https://hooks.example/secret",
            "CDR_ALERT_MINUTES": "5000",
            "CDR_ALERT_CHANGE": "2.5",
            "CDR_ALERT_DISK_GB": "10",
            "CDR_ALERT_DIGEST": "0",
            "CDR_HEARTBEAT_URL": "https://hc.example/secret",
            "CDR_UI_URL": "https://dagster.example/",
            "CDR_DASHBOARD_URL": "https://bi.example/calls/",
        }
    )
    assert settings == Settings(
        app_id="",
        app_key="",
        base_url="https://enablex.example",
        enablex="enablex.example",
        places=Places(Path("/srv/cdr"), "/srv/cdr/cdr.duckdb", "/srv/cdr"),
        lake="",
        export_dir="/srv/exports",
        people_in_clear=True,
        owners=("team:finance", "somebody@example.com"),
        rooms_file=Path("/srv/rooms.csv"),
        start_date=date(2026, 11, 1),
        fetch_delay=timedelta(seconds=90),
        lookback_days=7,
        refetch_interval=timedelta(minutes=30),
        open_day_interval=timedelta(seconds=450),
        overdue_after=timedelta(minutes=90),
        tick_s=30,
        fetch_concurrency=3,
        days_a_run=7,
        requests_per_minute=12.5,
        agreement_sample=0,
        keep_runs_days=30,
        alert_urls=("slack://secret", "mailto://secret"),
        alert_webhook_url="https://hooks.example/secret",
        alert_minutes=5000,
        alert_change=2.5,
        alert_disk_gb=10,
        alert_digest_hour=0,
        heartbeat_url="https://hc.example/secret",
        ui_url="https://dagster.example",
        dashboard_url="https://bi.example/calls",
    )


LAKE = {"CDR_WAREHOUSE": "ducklake:postgres:host=db.example dbname=cdr user=cdr password=hidden"}


def test_a_lake_is_a_secret_of_the_resources() -> None:
    settings = Settings.read({**LAKE, "CDR_LANDING": "s3://bucket/cdr"})
    assert settings.places.is_lake
    assert settings.places.is_bucket
    assert settings.lake == dg.EnvVar("CDR_WAREHOUSE")
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"CDR_LANDING": "s3://bucket"}, "set CDR_WAREHOUSE to a lake"),
        ({"CDR_LANDING": "gs://bucket"}, "give a folder, or s3://bucket/prefix"),
        ({"CDR_WAREHOUSE": "ducklake:cdr.ducklake"}, "or ducklake:postgres:"),
    ],
)
def test_places_that_do_not_go_together_are_explained(environ: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Settings.read(environ)


@pytest.mark.parametrize("owner", ["finance", "team:", "team:a b", "@", "a@b", "team:a,team:b"])
def test_an_owner_that_dagster_would_refuse_is_explained(owner: str) -> None:
    with pytest.raises(ValueError, match=r"CDR_OWNER has '.*': give team:NAME or an e-mail address"):
        Settings.read({"CDR_OWNER": owner})


def test_people_are_masked_unless_the_word_for_it_is_given() -> None:
    assert not Settings.read({}).people_in_clear
    assert not Settings.read({"CDR_EXPORT_PEOPLE": "masked"}).people_in_clear
    with pytest.raises(ValueError, match="CDR_EXPORT_PEOPLE is 'true': give masked, or clear"):
        Settings.read({"CDR_EXPORT_PEOPLE": "true"})


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_a_range_belong_to_it(name: str) -> None:
    _, least, most = RANGES[name]
    assert Settings.read({name: least}) != Settings.read({name: most})


@pytest.mark.parametrize("value", ["-1", "1e9", "nan", "inf", "three", "1,5", "6h"])
@pytest.mark.parametrize("name", RANGES)
def test_a_value_out_of_range_is_refused_with_the_range(name: str, value: str) -> None:
    kind, least, most = RANGES[name]
    with pytest.raises(ValueError, match=name) as error:
        Settings.read({name: value})
    assert str(error.value) == f"{name} is {value!r}: give a {kind} from {least} to {most}"


@pytest.mark.parametrize("value", ["1.5", "2.999"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_part_of_a_day_or_of_a_second_is_refused_where_only_whole_ones_count(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is '{value}': give a whole number"):
        Settings.read({name: value})


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/video/v2", "http://localhost:1", "https://[::1]"])
def test_this_machine_is_asked_without_a_limit_unless_one_is_set(url: str) -> None:
    assert Settings.read({"ENABLEX_BASE_URL": url}).requests_per_minute == 0
    assert Settings.read({"ENABLEX_BASE_URL": url, "CDR_REQUESTS_PER_MINUTE": "30"}).requests_per_minute == 30
    assert Settings.read({"ENABLEX_BASE_URL": "https://enablex.example"}).requests_per_minute == 60


@pytest.mark.parametrize("value", ["yesterday", "2026-02-30", "01.11.2026"])
def test_a_start_date_that_is_no_day_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=f"CDR_START_DATE is '{value}': give .* YYYY-MM-DD"):
        code_location({"CDR_START_DATE": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENABLEX_APP_ID", "the-id\n"),
        ("ENABLEX_APP_ID", "the id"),
        ("ENABLEX_APP_ID", "the:id"),
        ("ENABLEX_APP_KEY", "hunter2\r"),
        ("ENABLEX_APP_KEY", "hunter2\u200b"),
        ("ENABLEX_BASE_URL", "https://enablex.example\n"),
        ("ENABLEX_BASE_URL", "http://enablex.example"),
        ("ENABLEX_BASE_URL", "https://user:hunter2@enablex.example"),
        ("ENABLEX_BASE_URL", "nonsense"),
        ("ENABLEX_BASE_URL", "http://[nonsense"),
        ("CDR_DATA_DIR", "/srv/cdr\n"),
        ("CDR_ALERT_WEBHOOK_URL", "https://hooks.example/hunter2\n"),
    ],
)
def test_a_setting_that_nobody_can_be_asked_with_is_named_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        Settings.read({name: value})
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_credentials_are_named_and_never_held() -> None:
    settings = Settings.read({"ENABLEX_APP_ID": "the-id", "ENABLEX_APP_KEY": "the-key"})
    assert (settings.app_id, settings.app_key) == ("ENABLEX_APP_ID", "ENABLEX_APP_KEY")
    assert "the-key" not in repr(settings)
