"""Texts that people wrote where an id, a number, a flag or a name should stand reach nothing that others look at."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdr_assets.days import days_between
from cdr_assets.reports import call
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.people import IDS, PeopleInExports
from cdr_assets.warehouse.tables import EXPORTED_TABLES
from cdr_assets_tests.expected import exported, read
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Locate, Location, Script, run_checks
from cdr_assets_tests.reference import Record
from cdr_assets_tests.reports.dashboard.shown import show
from cdr_assets_tests.ticks import tick
from cdr_assets_tests.webhook import Webhook, listening

DAYS = days_between(date(2026, 10, 1), date(2026, 10, 31))
PAGES = ("overview", "conferences", "rooms", "people", "quality", "health")
SENSORS = ("open_day", "settling_days", "closed_days", "landed_days", "old_runs")

SECRET = "xyzzy"
TEXTS = (
    "Alice Xyzzy",
    "xyzzy@example.com",
    "sip:xyzzy@example.com",
    "tel:+49 30 xyzzy",
    "https://example.com/?who=xyzzy",
    "XyzzyAlice-4711/1.0 CFNetwork/1410.0.3 Darwin/22.6.0",
    "2026-10-05 xyzzy",
    "7 xyzzy",
    "Xyzzy\n<b>",
)
SHAPED = "Plugh-4711"
"""A name that an account uses as an id, and that has the shape of one."""


def filled(value: Any, text: Any) -> Any:
    """The value with the text in every field, and in one more that has the text for its name."""
    if isinstance(value, dict):
        return {name: filled(each, text) for name, each in value.items()} | {str(text): text}
    return text


def odd(record: Record, text: str, kind: int) -> Record:
    """The record with the text in every field, but on its day. By `kind` the text stands in a list or an object."""
    everywhere: Record = filled(record, (text, text, [text], {"name": text})[kind % 4])
    return everywhere | {"cdr_id": f"{text} {record['cdr_id']}", "trans_date": record["trans_date"]}


def records(day: date, version: int) -> Iterator[Record]:
    """A small day. Every tenth record is odd, and so is one without a day. With another version, so are their texts.

    Half of the odd ones last longer than all others, so that they stand in every list.
    """
    for number, record in enumerate(records_of_day(Settings(connections=30, start=DAYS[0]), day)):
        kind = day.day + number // 10
        text = TEXTS[kind % len(TEXTS)]
        if number % 10 == 0:
            changed = filled({"user": record["user"], "sip": 1, "room": record["room"]}, f"{text} {version}")
            if kind % 2:
                times = {"connect_dt": f"{day}T00:00:00Z", "disconnect_dt": f"{day}T23:59:00Z", "duration": 90_000}
                changed["room"] |= times
            yield odd(record, text, kind) | changed
        elif number == 1:
            yield record | {"trans_date": f"{day} {text}", "cdr_id": f"{text} {record['cdr_id']}"}
        elif number == 2:
            conf_num = SHAPED if version == 1 else "other"
            yield odd(record, SHAPED, 0) | {"cdr_id": f"{SHAPED}-{day}", "conf_num": conf_num}
        else:
            yield record


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    with listening(webhook):
        yield webhook


def month(locate: Locate, script: Script, webhook: Webhook) -> tuple[Location, list[tuple[str, str]]]:
    """A month that was fetched twice, with red checks and a failed run, and with alerts of both.

    Also returns what the sensors answered.
    """
    script.answers = defaultdict(lambda: answer(b'{"result": "0", "cdr": []}'))
    settings = {"CDR_ALERT_WEBHOOK_URL": webhook.url, "CDR_START_DATE": str(DAYS[0]), "CDR_AGREEMENT_SAMPLE": "20"}
    location = locate(script.environment | settings)
    cursor = tick(location, "failed_runs").cursor
    for day in DAYS:
        script.holds(day, *records(day, 1))
    assert location.run(DAYS[0], DAYS[-1]).success
    for day in DAYS[: len(TEXTS)]:
        script.holds(day, *records(day, 2))
    assert location.run(DAYS[0], DAYS[len(TEXTS) - 1]).success
    script.answers_with(DAYS[0], answer(f"<p>{TEXTS[0]}</p>".encode(), status=400))
    assert not location.run(DAYS[0]).success
    run_checks(location)
    ticks = {sensor: tick(location, sensor) for sensor in SENSORS}
    ticks["failed_runs"] = tick(location, "failed_runs", cursor=cursor)
    return location, [(f"tick of {sensor}", str(result)) for sensor, result in ticks.items()]


def in_dagster(location: Location) -> Iterator[tuple[str, str]]:
    """Everything that the Dagster instance keeps."""
    for run in location.instance.get_runs():
        yield f"run {run.job_name}", dg.serialize_value(run)
        for entry in location.instance.all_logs(run.run_id):
            yield f"event {entry.dagster_event_type} of {run.job_name}", dg.serialize_value(entry)


def in_copies(folder: Path) -> Iterator[tuple[str, str]]:
    """Every byte and every value of the copies."""
    for file in (each for each in folder.rglob("*") if each.is_file()):
        yield str(file.relative_to(folder)), f"{file} {file.read_bytes().decode(errors='replace')}"
    for table in EXPORTED_TABLES:
        for row in exported(folder, table.name):
            yield from ((f"{table.name}.{name}", str(value)) for name, value in row.items())


def on_pages(monkeypatch: pytest.MonkeyPatch, location: Location) -> Iterator[tuple[str, str]]:
    """Everything that the dashboard's pages send, those of an odd conference and an odd person included."""
    folder = location.places.data_dir
    people = [row for row in exported(folder / "published", "attendance") if row["user_role"] == "other"]
    of_one = [("conferences", "conf_num"), ("people", "participant")]
    for page, query in [*((page, {}) for page in PAGES), *((page, {name: people[0][name]}) for page, name in of_one)]:
        for element in show(monkeypatch, folder, page, Period(DAYS[0], DAYS[-1]), query).main:
            if proto := getattr(element, "proto", None):
                yield f"page {page}", proto.SerializeToString().decode(errors="replace")


def on_pages_of_calls(location: Location) -> Iterator[tuple[str, str]]:
    """The page of each conference, as the command writes it."""
    people = PeopleInExports(location.places.storage)
    conf_nums = {row["conf_num"] for row in read(location.places, "conference_usage")} - {None}
    with Warehouse(location.places).reading() as connection:
        for conf_num in conf_nums:
            found = call.find_conferences(connection, conf_num, people)
            yield "page of a call", call.page(found, people, is_sandbox=False)


def test_what_people_wrote_in_any_field_is_in_no_copy_event_log_alert_or_page(
    locate: Locate,
    script: Script,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    location, ticks = month(locate, script, webhook)
    kept = json.dumps(read(location.places, "call_detail_records"), default=str).lower()
    assert all(json.dumps(text.lower())[1:-1] in kept for text in TEXTS)
    assert len(webhook.posts) > 1
    told = [
        *in_copies(location.data_dir / "published"),
        *in_dagster(location),
        *ticks,
        *on_pages(monkeypatch, location),
        *on_pages_of_calls(location),
        *(("alert", json.dumps(post)) for post in webhook.posts),
        ("log", caplog.text),
    ]
    told.append(("output", "".join(capfd.readouterr())))
    assert "GET /cdr/conf/" in caplog.text
    assert "STEP_FAILURE" in told[-1][1]
    places = {where.split()[0] for where, _ in told}
    assert places > {"run", "event", "tick", "page", "alert", "log", "output", "README.md"}
    assert sorted({where for where, text in told if SECRET in text.lower()}) == []
    in_values = {where.rpartition(".")[2] for where, text in told if text == SHAPED}
    assert in_values == {"app_id", "conf_num", "room_id", "parent_partner_id", "billing_code", "before"}
    dictionary = (location.data_dir / "published" / "README.md").read_text(encoding="utf-8")
    assert [name for name in IDS if f"`{name}`" not in dictionary.partition("## ")[0]] == []
