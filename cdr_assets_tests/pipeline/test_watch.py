"""Limits and the digest: real runs, and ticks of failed_runs that post to a webhook on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cdr_assets.days import DAY, midnight
from cdr_assets.sandbox.server import Sandbox
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Locate, Location, Script, record
from cdr_assets_tests.ticks import tick
from cdr_assets_tests.webhook import Webhook, listening

PERSON = "zoya-the-patient"
HTML = answer(b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})


def today() -> date:
    return datetime.now(timezone.utc).date()


def before(days: int) -> date:
    return today() - DAY * days


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    with listening(webhook):
        yield webhook


@pytest.fixture
def watching(locate: Locate, script: Script, webhook: Webhook) -> Callable[..., Location]:
    """The code location with these variables, whose alerts go to the webhook."""

    def watching(data_dir: Path | None = None, **variables: str) -> Location:
        links = {"CDR_UI_URL": "https://dagster.example", "CDR_DASHBOARD_URL": "https://bi.example"}
        environment = {**script.environment, **links, "CDR_ALERT_WEBHOOK_URL": webhook.url, **variables}
        return locate({"CDR_START_DATE": str(before(40)), **environment}, data_dir)

    return watching


def minutes(script: Script, day: date, count: int) -> None:
    """From now on the day has so many participant minutes."""
    script.holds(day, *(record(f"{day}-{number}", day, user={"name": PERSON}) for number in range(count)))


def texts(webhook: Webhook) -> list[list[str]]:
    """The lines of each alert so far."""
    assert PERSON not in str(webhook.posts)
    return [body["text"].partition(": ")[2].splitlines() for _, _, body in webhook.posts]


def test_days_with_too_many_minutes_are_reported_once(
    watching: Callable[..., Location], script: Script, webhook: Webhook
) -> None:
    location = watching(CDR_ALERT_MINUTES="2")
    cursor = tick(location, "failed_runs").cursor
    for days_ago, count in ((2, 2), (1, 3), (0, 4)):
        minutes(script, before(days_ago), count)
    assert location.run(before(2), today()).success
    for _ in range(2):
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    assert texts(webhook) == [
        [
            f"More than 2 participant minutes on {before(1)}...{today()}",
            f"{before(1)}: 3 minutes so far",
            f"{today()}: 4 minutes so far",
            f"https://bi.example/?from={before(1)}&to={today()}",
            "https://dagster.example/assets/daily_usage",
        ]
    ]
    minutes(script, today(), 5)
    assert location.run(today()).success
    tick(location, "failed_runs", cursor=cursor)
    assert len(webhook.posts) == 1
    # A new limit is looked at without a run.
    other = watching(location.data_dir, CDR_ALERT_MINUTES="1")
    tick(Location(other.definitions, location.instance, location.data_dir), "failed_runs", cursor=cursor)
    assert [lines[0] for lines in texts(webhook)[1:]] == [f"More than 1 participant minutes on {before(2)}"]


def test_a_day_unlike_its_weekday_is_reported_even_if_it_has_no_calls(
    watching: Callable[..., Location], script: Script, webhook: Webhook
) -> None:
    location = watching(CDR_ALERT_CHANGE="2")
    cursor = tick(location, "failed_runs").cursor
    for days_ago, count in ((34, 4), (27, 4), (20, 4), (13, 4), (12, 4), (6, 0), (5, 1)):
        minutes(script, before(days_ago), count)
        assert location.run(before(days_ago)).success
    for _ in range(2):
        cursor = tick(location, "failed_runs", cursor=cursor).cursor
    assert [lines[:2] for lines in texts(webhook)] == [
        [
            f"Participant minutes unlike those of the weeks before on {before(6)}",
            f"{before(6)}: 0 minutes, 0.00 times the mean of this weekday in the four weeks before",
        ]
    ]


def test_a_full_disk_is_reported_and_that_it_has_room_again(
    watching: Callable[..., Location], webhook: Webhook
) -> None:
    full = watching(CDR_ALERT_DISK_GB="1000000")
    cursor = tick(full, "failed_runs").cursor
    for _ in range(2):
        cursor = tick(full, "failed_runs", cursor=cursor).cursor
    empty = watching(full.data_dir, CDR_ALERT_DISK_GB="0.1")
    for _ in range(2):
        cursor = tick(empty, "failed_runs", cursor=cursor).cursor
    first, second = texts(webhook)
    assert first[0].startswith("The disk is nearly full: ")
    assert second[0].startswith("The disk has room again: ")
    assert first[-1] == second[-1] == "https://dagster.example"


def test_the_digest_says_once_a_day_how_yesterday_was(
    watching: Callable[..., Location], script: Script, webhook: Webhook
) -> None:
    def say() -> None:
        for result in tick(location, "closed_days", noon).asset_events:
            location.instance.report_runless_asset_event(result)

    location = watching(CDR_ALERT_DIGEST="7", CDR_START_DATE=str(before(8)))
    eight, noon = (midnight(today()) + timedelta(hours=hour) for hour in (8, 12))
    cursor = tick(location, "failed_runs").cursor
    minutes(script, before(8), 4)
    script.holds(before(1), record("a", before(1), sip="perhaps"), {"cdr_id": PERSON}, record("b", before(1)))
    for day in (before(8), before(1), before(1)):
        assert location.run(day, sent_at=noon).success
    script.answers_with(before(2), HTML)
    assert not location.run(before(2)).success
    say()
    cursor = tick(location, "failed_runs", eight - timedelta(hours=2), cursor).cursor
    assert [lines[0] for lines in texts(webhook) if lines[0].startswith("Digest")] == []
    for hours in (0, 1, 15):
        cursor = tick(location, "failed_runs", eight + timedelta(hours=hours), cursor).cursor
    (digest,) = [lines for lines in texts(webhook) if lines[0].startswith("Digest")]
    assert digest == [
        f"Digest of {before(1)}",
        "2 participant minutes, 1 conferences; not compared with this weekday before, since 1 of the 4 days are built; "
        "provisional",
        "In the last 24 hours 6 new and 0 changed records came; 1 were set aside",
        f"Missing days: {before(7)}...{before(2)}; failed: {before(2)}; overdue: {before(2)}; waiting for tables: none",
        f"Open findings: no_day_is_overdue on {before(2)}; no_field_was_lost_to_its_type on {before(1)}; "
        f"no_record_was_set_aside on {before(1)}",
        f"https://bi.example/?from={before(1)}&to={before(1)}",
        "https://dagster.example/assets/daily_usage",
    ]
    tick(location, "failed_runs", eight + DAY, cursor)
    assert texts(webhook)[-1][:2] == [f"Digest of {today()}", "The day's tables are not built"]


def test_without_a_limit_nothing_is_reported(
    watching: Callable[..., Location], script: Script, webhook: Webhook
) -> None:
    location = watching()
    cursor = tick(location, "failed_runs").cursor
    minutes(script, before(1), 9)
    assert location.run(before(1)).success
    tick(location, "failed_runs", cursor=cursor)
    assert webhook.posts == []


def test_a_refused_account_is_reported_once_until_a_fetch_succeeds(
    locate: Locate, sandbox: Sandbox, webhook: Webhook
) -> None:
    def fail_twice(cursor: str) -> str:
        for day in (before(3), before(2)):
            sandbox.faults.fail_status, sandbox.faults.fail_times = 401, 1
            assert not location.run(day).success
            cursor = tick(location, "failed_runs", cursor=cursor).cursor
        return cursor

    location = locate({**sandbox.environment, "CDR_ALERT_WEBHOOK_URL": webhook.url})
    cursor = fail_twice(tick(location, "failed_runs").cursor)
    assert [lines[0] for lines in texts(webhook)] == [f"daily_cdr failed on {before(3)}"]
    assert "BadCredentials" in texts(webhook)[0][1]
    assert location.run(before(3)).success
    fail_twice(cursor)
    assert [lines[0] for lines in texts(webhook)][1:] == [
        "EnableX accepts the account again",
        f"daily_cdr failed on {before(3)}",
    ]
