"""Which days are beyond a limit, as plain values. How they are sent is tested with the sensor."""

from __future__ import annotations

from datetime import date

import pytest

from cdr_assets.days import DAY
from cdr_assets.pipeline.digest import digest_day
from cdr_assets.pipeline.limits import DayUsage, Limits, Reported, days_to_read, disk_alert, usage_alerts
from cdr_assets_tests.pipeline.test_alerts import NOW

TODAY = NOW.date()
SETTLING_DAYS = 3
GB = 1_000_000_000


def before(days: int) -> date:
    return TODAY - DAY * days


def usage(**changed: float) -> dict[date, DayUsage]:
    """Some weeks of 100 minutes a day; `d3=500` is the day three days ago. The last days are provisional."""
    minutes = {before(number): 100.0 for number in range(45)}
    minutes |= {before(int(name[1:])): value for name, value in changed.items()}
    return {day: DayUsage(of_day, 1, day >= before(SETTLING_DAYS)) for day, of_day in minutes.items()}


def alerts(of_days: dict[date, DayUsage], limits: Limits, reported: Reported | None = None) -> list[str]:
    found = usage_alerts(
        of_days, TODAY, SETTLING_DAYS, limits, reported or Reported(), lambda *days: "{}/{}".format(*days)
    )
    return [alert.text for alert in found]


def test_days_beyond_the_minutes_are_one_message_and_each_is_reported_once() -> None:
    limits, reported = Limits(minutes=100), Reported()
    (text,) = alerts(usage(d0=101, d7=1234.5, d8=500), limits, reported)
    assert text.splitlines() == [
        f"More than 100 participant minutes on {before(7)}, {TODAY}",
        f"{before(7)}: 1,234 minutes",
        f"{TODAY}: 101 minutes so far",
        f"{before(7)}/{TODAY}",
    ]
    assert alerts(usage(d0=102, d7=1234.5), limits, reported) == []
    assert alerts(usage(d0=90), limits, reported) == []
    assert alerts(usage(d0=103), limits, reported) == [], "once for each day"
    (text,) = alerts(usage(d0=103, d1=200), limits, reported)
    assert text.startswith(f"More than 100 participant minutes on {before(1)}\n")


@pytest.mark.parametrize(("minutes", "is_unlike"), [(200, False), (201, True), (50, False), (49, True), (0, True)])
def test_a_final_day_unlike_the_same_weekday_before_is_reported(minutes: float, is_unlike: bool) -> None:
    reported = Reported()
    found = alerts(usage(d5=minutes), Limits(change=2), reported)
    assert bool(found) is is_unlike
    assert alerts(usage(d5=minutes), Limits(change=2), reported) == []
    if is_unlike:
        assert found[0].splitlines()[:2] == [
            f"Participant minutes unlike those of the weeks before on {before(5)}",
            f"{before(5)}: {minutes} minutes, {minutes / 100:.2f} times the mean of this weekday "
            "in the four weeks before",
        ]


def test_a_provisional_day_and_one_of_long_ago_are_not_compared() -> None:
    assert alerts(usage(d3=1, d0=1, d11=1), Limits(change=2)) == []
    assert len(alerts(usage(d10=1), Limits(change=2))) == 1


def test_a_day_is_compared_only_if_all_four_weeks_are_there() -> None:
    of_days = usage(d5=300)
    assert len(alerts(of_days, Limits(change=2))) == 1
    del of_days[before(33)]
    assert alerts(of_days, Limits(change=2)) == []


def test_what_is_reported_is_forgotten_with_its_day() -> None:
    reported = Reported(beyond=["2026-01-01", str(before(7))], changed=["2026-01-01", str(before(10))])
    assert alerts(usage(), Limits(minutes=1_000, change=2), reported) == []
    assert (reported.beyond, reported.changed) == ([str(before(7))], [str(before(10))])


def test_the_days_that_are_read_suffice_for_the_oldest_that_is_compared() -> None:
    days = days_to_read(TODAY, SETTLING_DAYS)
    assert (days[0], days[-1]) == (before(10 + 28), TODAY)


def test_the_disk_is_reported_when_it_is_low_and_when_it_has_room_again() -> None:
    reported = Reported()
    said = [disk_alert(round(free * GB), 10, reported, "link") for free in (10, 9.9, 8, 10.5, 9, 11.5, 10.5, 9)]
    first_lines = [text.partition("\n")[0] for text in said]
    low, room = "The disk is nearly full: {} GB are free", "The disk has room again: 11.5 GB are free"
    assert first_lines == ["", low.format(9.9), "", "", "", room, "", low.format("9.0")]
    assert said[1].endswith("\nlink")
    assert said[5].endswith("\nlink")


@pytest.mark.parametrize(
    ("hour", "last_sent", "due"),
    [(12, "", str(TODAY)), (13, "", ""), (0, "2026-11-21", "2026-11-22"), (12, "2026-11-22", "")],
)
def test_a_digest_is_due_once_a_day_when_its_hour_has_come(hour: int, last_sent: str, due: str) -> None:
    assert digest_day(NOW, hour, last_sent) == due
