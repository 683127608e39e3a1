"""The reference itself, on cases that are computed by hand, and the hostile records: what must be among them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest

from cdr_assets.days import days_between
from cdr_assets_tests.reference import moment, near, part, tables, typed, utc_day
from cdr_assets_tests.reference.hostile import ROOMS, hostile_days, rooms_csv
from cdr_assets_tests.reference.tables import Conference, Row

DAY = date(2026, 11, 2)
MIDNIGHT = datetime(2026, 11, 2)
NEXT_DAY = DAY + timedelta(days=1)


def at(minute: float | None) -> datetime | None:
    """So many minutes after midnight of the day."""
    return None if minute is None else MIDNIGHT + timedelta(minutes=minute)


def call(cdr_id: str, who: str | None, enters: float | None, leaves: float | None, **columns: Any) -> Row:
    """A record of the conference X. The person is known by reference, if at all. Times are minutes of the day."""
    known = enters is not None and leaves is not None and enters <= leaves
    return {
        "usage_date": DAY,
        "cdr_id": cdr_id,
        "app_id": "app",
        "conf_num": "X",
        "conf_name": None,
        "room_id": "room",
        "room_connect_dt": at(enters),
        "room_disconnect_dt": at(leaves),
        "room_duration_s": Decimal(str((leaves or 0) - (enters or 0))) * 60 if known else None,
        "room_details": None,
        "user_ref": who,
        "user_name": None,
        "user_role": "participant",
        "subscribed_minutes": None,
        "published_minutes": Decimal("0.333"),
        "stats_quality": None,
        "first_landed_at": MIDNIGHT + timedelta(days=1),
        **columns,
    }


def named(name: str) -> Row:
    return {"user_ref": "", "user_name": name}


CONSULTATION = [
    # Ann, the moderator: 0 to 20 on two devices, then 30 to 40.
    call("1", "ann", 0, 15, user_role="Moderator", user_name="B", room_id="s"),
    call("2", "ann", 10, 20, user_name="A"),
    call("3", "ann", 30, 40, user_role="viewer", user_name=""),
    # Bob: 5 to 10, back at the same instant, a connection of no length in his absence, then 35 to 50.
    call("4", "bob", 5, 8, user_role="viewer"),
    call("5", "bob", 8, 10, user_role="audience"),
    call("6", "bob", 12, 12, user_role=None),
    call("7", "bob", 35, 50, user_role=""),
    # Two who were never there: one did not leave, one left before the entry.
    call("8", None, 1, None, user_name="Cy", room_duration_s=Decimal(61)),
    call("9", None, 45, 44, user_name=""),
]


def columns(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(str(row[name]) if isinstance(row[name], Decimal) else row[name] for name in names)


def test_attendance() -> None:
    rows = {row["participant"]: row for row in tables.attendance(CONSULTATION)}
    assert rows["ann"] == {
        "usage_date": DAY,
        "last_usage_date": DAY,
        "app_id": "app",
        "conf_num": "X",
        "room_id": "room",
        "participant": "ann",
        "participant_known_by": "user_ref",
        "user_name": "A",
        "user_role": "moderator",
        "connections": 3,
        "rejoins": 1,
        "first_connect_dt": at(0),
        "last_disconnect_dt": at(40),
        "presence_minutes": Decimal("30.000"),
        "participant_minutes": Decimal("35.000"),
        "billable_minutes": 35,
        "longest_absence_s": Decimal("600.000"),
        "alone_minutes": Decimal("20.000"),  # 0 to 5, 10 to 20, 30 to 35
        "with_moderator_minutes": Decimal("0.000"),
        "share": Decimal("0.750"),  # of 40: nobody is there from 20 to 30
    }
    presence = ("presence_minutes", "rejoins", "longest_absence_s", "alone_minutes", "with_moderator_minutes", "share")
    assert columns(rows["bob"], *presence) == ("20.000", 1, "1500.000", "10.000", "10.000", "0.500")
    assert columns(rows["Cy"], *presence) == ("0.000", 0, "0.000", "0.000", "0.000", "0.000")
    assert columns(rows["9"], *presence) == ("0.000", 0, "0.000", "0.000", "0.000", "0.000")
    known = ("participant_known_by", "user_name", "user_role", "participant_minutes", "billable_minutes")
    assert columns(rows["bob"], *known) == ("user_ref", None, "audience", "20.000", 20)
    assert columns(rows["Cy"], *known) == ("user_name", "Cy", "participant", "1.017", 2)
    assert columns(rows["9"], *known) == ("cdr_id", None, "participant", "0.000", 0)


def test_conference_usage() -> None:
    (row,) = tables.conference_usage(CONSULTATION)
    assert row == {
        "usage_date": DAY,
        "last_usage_date": DAY,
        "app_id": "app",
        "conf_num": "X",
        "room_id": "room",
        "conf_name": None,
        "connections": 9,
        "participants": 4,
        "participant_minutes": Decimal("56.017"),
        "billable_minutes": 57,
        "subscribed_minutes": Decimal("0.000"),
        "published_minutes": Decimal("2.997"),
        "peak_participants": 2,
        "first_connect_dt": at(0),
        "last_disconnect_dt": at(50),
        "conference_minutes": Decimal("40.000"),
        "alone_minutes": Decimal("30.000"),
        "met_minutes": Decimal("10.000"),  # 5 to 10, 35 to 40
        "moderated_minutes": Decimal("10.000"),
        "rejoins": 2,
    }


def test_two_moderators_are_with_a_moderator_and_two_without_any_are_not_moderated() -> None:
    both = [call("1", "a", 0, 10, user_role="MODERATOR"), call("2", "b", 5, 20, user_role="moderator")]
    assert [str(row["with_moderator_minutes"]) for row in tables.attendance(both)] == ["5.000", "5.000"]
    (row,) = tables.conference_usage([call("1", "a", 0, 10), call("2", "b", 5, 20)])
    assert columns(row, "met_minutes", "moderated_minutes") == ("5.000", "0.000")


def test_a_conference_reaches_over_gaps_of_seven_days_and_ends_before_longer_ones() -> None:
    days = [DAY + timedelta(days=number) for number in (0, 7, 14, 22)]
    records = [call(str(day), "a", 0, 10, usage_date=day) for day in days]
    spans = [(row["usage_date"], row["last_usage_date"], row["connections"]) for row in tables.attendance(records)]
    assert spans == [(days[0], days[2], 3), (days[3], days[3], 1)]
    assert [row["share"] for row in tables.attendance(records)] == [1, 1]
    assert len(tables.conference_usage([call("1", "a", 0, 1), call("2", "a", 0, 1, app_id="other")])) == 2


def test_records_without_a_conference_are_one_group_per_day_without_presence() -> None:
    records = [
        call("1", None, 0, 10, conf_num="", **named("Ann")),
        call("2", None, 5, 10, conf_num=None, **named("Ann")),
        call("3", None, 5, 10, conf_num=None, usage_date=NEXT_DAY, **named("Ann")),
    ]
    rows = tables.attendance(records)
    assert [(row["usage_date"], row["connections"]) for row in rows] == [(DAY, 2), (NEXT_DAY, 1)]
    assert columns(rows[0], *tables.PRESENCE, "participant_minutes") == (*[None] * 6, "15.000")
    (usage, _) = tables.conference_usage(records)
    assert columns(usage, "conf_num", "participants", "peak_participants", "met_minutes") == (None, 1, 2, None)
    assert columns(usage, "conference_minutes", "alone_minutes", "moderated_minutes", "rejoins") == (None,) * 4


def test_a_conference_of_no_length_has_no_share() -> None:
    (row,) = tables.attendance([call("1", "a", 3, 3)])
    assert columns(row, "presence_minutes", "share", "rejoins") == ("0.000", None, 0)


def test_people_who_are_known_differently_are_different_people() -> None:
    records = [
        call("1", "Ann", 0, 1),
        call("2", None, 0, 1, **named("Ann")),
        call("3", None, 0, 1, conf_num="Y", **named("Ann")),
        call("Ann", "", 0, 1),
        call("5", "Ann", 0, 1, conf_num="Y"),
    ]
    assert [row["participants"] for row in tables.conference_usage(records)] == [3, 2]
    # On a whole day, the name is another person in the other conference; the reference is not.
    assert [row["participants"] for row in tables.daily_usage(records)] == [4]
    assert [row["participants"] for row in tables.owner_usage(records, [])] == [3]
    assert [row["participants"] for row in tables.room_usage(records)] == [3]


def test_daily_usage() -> None:
    early = {"usage_date": NEXT_DAY, "first_landed_at": datetime(2026, 11, 1)}
    records = [
        call("1", "a", -60, 10, user_role="moderator"),
        call("2", "a", 20, 30),
        call("3", "b", 5, 1445, usage_date=NEXT_DAY, room_disconnect_dt=at(1445), first_landed_at=at(1447)),
        call("4", "b", 1445, 1445.1, **early),
        call("5", None, 5, 10, conf_num=None, room_id="", room_duration_s=Decimal("9.999")),
        call("6", None, None, 10, conf_num="Y", room_id="other", room_duration_s=None),
    ]
    before, day, after = sorted(tables.daily_usage(records), key=lambda row: str(row["usage_date"]))
    assert columns(before, "connections", "participants", "participant_minutes") == (0, 0, "0.000")
    assert columns(before, "alone_minutes", "rejoins", "peak_connections", "peak_at") == ("60.000", 0, 1, at(-60))
    assert columns(before, "median_lateness_s", "p95_lateness_s") == (None, None)
    assert day == {
        "usage_date": DAY,
        "app_id": "app",
        "connections": 4,
        "conferences": 2,
        "rooms": 2,
        "participants": 3,
        "participant_minutes": Decimal("80.167"),
        "billable_minutes": 81,
        "subscribed_minutes": Decimal("0.000"),
        "published_minutes": Decimal("1.332"),
        "peak_connections": 3,
        "peak_at": at(5),
        "alone_minutes": Decimal("1425.000"),  # a: 0 to 5; b: 10 to 20 and 30 to midnight
        "rejoins": 1,
        "short_connections": 1,
        "median_lateness_s": Decimal("85800.000"),
        "p95_lateness_s": Decimal("85800.000"),
    }
    assert columns(after, "connections", "alone_minutes", "rejoins", "peak_connections") == (2, "5.100", 0, 1)
    assert columns(after, "peak_at", "median_lateness_s", "p95_lateness_s") == (at(1440), "0.000", "120.000")


@pytest.mark.parametrize(
    ("count", "median", "percentile_95"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (21, 11, 20)]
)
def test_lateness_is_that_of_a_record(count: int, median: int, percentile_95: int) -> None:
    records = [
        call(str(second), "a", 0, 0, first_landed_at=MIDNIGHT + timedelta(seconds=second))
        for second in range(count, 0, -1)
    ]
    (row,) = tables.daily_usage(records)
    assert (row["median_lateness_s"], row["p95_lateness_s"]) == (median, percentile_95)


def test_owner_usage() -> None:
    def owned(cdr_id: str, details: Any, **columns: Any) -> Row:
        return call(cdr_id, cdr_id, 0, 1, room_details=None if details is None else json.dumps(details), **columns)

    def valid(first: date | None, last: date | None, ref: str, code: str | None) -> Row:
        return {"room_id": "room", "owner_ref": ref, "billing_code": code, "valid_from": first, "valid_to": last}

    rooms = [
        valid(None, DAY - timedelta(days=1), "past", "p"),
        valid(DAY, DAY, "csv", "c"),
        valid(NEXT_DAY, None, "", None),
    ]
    records = [
        owned("1", {"owner_ref": "own", "settings": {"billing_code": "code"}}),
        owned("2", {"owner_ref": "own", "settings": {"billing_code": ""}}),
        owned("3", {"owner_ref": ["own"], "settings": "odd"}),
        owned("4", None, conf_num="Y"),
        owned("5", "odd", room_id=None),
        owned("6", {"owner_ref": 7}, room_id="other"),
        owned("7", [], usage_date=NEXT_DAY),
        owned("8", {}, usage_date=DAY - timedelta(days=9)),
    ]
    found = {
        columns(
            row,
            "usage_date",
            "owner_ref",
            "billing_code",
            "owner_is_in_rooms",
            "billing_code_is_in_rooms",
            "connections",
            "conferences",
            "rooms",
        )
        for row in tables.owner_usage(records, rooms)
    }
    assert found == {
        (DAY, "own", "code", False, False, 1, 1, 1),
        (DAY, "own", "c", False, True, 1, 1, 1),
        (DAY, "csv", "c", True, True, 2, 2, 1),
        (DAY, None, None, False, False, 1, 1, 0),
        (DAY, "7", None, False, False, 1, 1, 1),
        (NEXT_DAY, None, None, False, False, 1, 1, 1),
        (DAY - timedelta(days=9), "past", "p", True, True, 1, 1, 1),
    }
    (whole, *_) = tables.owner_usage(records, [])
    assert columns(whole, "participants", "participant_minutes", "billable_minutes") == (1, "1.000", 1)
    assert columns(whole, "subscribed_minutes", "published_minutes") == ("0.000", "0.333")


def test_connection_quality() -> None:
    quality = {
        "send": {
            "video": {"avg_bitrate": 300, "min_bitrate": "100.5", "max_bitrate": [1], "avg_quality": "Good"},
            "audio": {"avg_bitrate_quality": "Bad", "avg_quality": "odd", "bitrate_good_percent": 12.25},
            "sharing": "odd",
        },
        "receive": {"video": {"good_percent": "", "bitrate_good_percent": "99"}, "sharing": {}},
        "other": {"video": {}},
    }
    records = [
        call("1", "a", 0, 1, stats_quality=json.dumps(quality)),
        call("2", "a", 0, 1, stats_quality=json.dumps({"send": [quality], "receive": None})),
        *(call(odd, "a", 0, 1, stats_quality=odd) for odd in ('"text"', "[]", "5", "null")),
        call("3", "a", 0, 1),
    ]
    fields = ("avg_bitrate", "min_bitrate", "max_bitrate", "avg_quality", "good_percent")
    rows = tables.connection_quality(records)
    assert {(row["direction"], row["media"]): columns(row, *fields) for row in rows} == {
        ("send", "video"): ("300.000", "100.500", None, "Good", None),
        ("send", "audio"): (None, None, None, "Bad", "12.250"),
        ("receive", "video"): (None, None, None, None, "99.000"),
        ("receive", "sharing"): (None,) * 5,
    }
    assert {(row["usage_date"], row["app_id"], row["cdr_id"]) for row in rows} == {(DAY, "app", "1")}


def test_sums_are_rounded_once_half_up() -> None:
    # 0.0165 minutes in all, 0.0055 each.
    (row,) = tables.attendance([call(str(n), "a", 0, 1, room_duration_s=Decimal("0.33")) for n in range(3)])
    assert columns(row, "participant_minutes", "billable_minutes") == ("0.017", 3)
    (row,) = tables.attendance([call("1", "a", 0, 0.0005)])
    assert columns(row, "presence_minutes") == ("0.001",)


def test_the_least_text_is_that_of_the_least_bytes() -> None:
    records = [call("1", "a", 0, 1, user_name=name) for name in ("é", "z", "Z", "\U0001f600", "\uffff")]
    assert [row["user_name"] for row in tables.attendance(records)] == ["Z"]
    assert [row["user_name"] for row in tables.attendance(records[3:])] == ["\uffff"]


# The hostile records

HOSTILE = [typed(record) for records in hostile_days(0).values() for record in records]
CONFERENCES = list(tables.conferences(HOSTILE))
NUMBERED = [conference for conference in CONFERENCES if conference.conf_num]
ATTENDANCE = [row for row in tables.attendance(HOSTILE) if row["conf_num"]]


def lengths() -> set[timedelta]:
    return {
        row["room_disconnect_dt"] - row["room_connect_dt"]
        for row in HOSTILE
        if row["room_connect_dt"] and row["room_disconnect_dt"]
    }


def days_of(conference: Conference) -> list[date]:
    return sorted({row["usage_date"] for row in conference.records})


def has_bridging_day(conference: Conference) -> bool:
    days = days_of(conference)
    return any((after - before).days > 7 for before, after in zip(days, days[2:], strict=False))


def stays_of_people() -> list[list[tuple[datetime, datetime]]]:
    """In order, for each person of each conference."""
    return [
        sorted((connect, disconnect) for _, connect, disconnect in tables.stays(own))
        for conference in NUMBERED
        for own in tables.grouped(conference.records, tables.person).values()
    ]


def has_pair(holds: Callable[[tuple[datetime, datetime], tuple[datetime, datetime]], bool]) -> bool:
    return any(holds(*pair) for stays in stays_of_people() for pair in pairwise(stays))


def values(rows: Iterable[Row], column: str) -> set[Any]:
    return {row[column] for row in rows}


def in_two(rows: Iterable[Row], column: str, of: str) -> bool:
    """Whether one value of a column comes with two values of another."""
    return any(len(values(own, of) - {None, ""}) > 1 for own in tables.grouped(rows, lambda row: row[column]).values())


CORNERS: dict[str, Callable[[], object]] = {
    "no length": lambda: timedelta(0) in lengths(),
    "a microsecond": lambda: timedelta(microseconds=1) in lengths(),
    "left before the entry": lambda: min(lengths()) < timedelta(0),
    "40 days": lambda: timedelta(days=40) in lengths(),
    "a wrong clock": lambda: any(
        moment(text) != near(record, text)
        for records in hostile_days(0).values()
        for record in records
        for text in [part(record, "room").get("disconnect_dt")]
    ),
    "no entry": lambda: None in values(HOSTILE, "room_connect_dt"),
    "no leave": lambda: None in values(HOSTILE, "room_disconnect_dt"),
    "until midnight": lambda: time() in {leave.time() for leave in values(HOSTILE, "room_disconnect_dt") if leave},
    "no duration": lambda: None in values(HOSTILE, "room_duration_s"),
    "just too long to be short": lambda: Decimal(10) in values(HOSTILE, "room_duration_s"),
    "just short": lambda: Decimal("9.999") in values(HOSTILE, "room_duration_s"),
    "no number": lambda: {None, ""} <= values(HOSTILE, "conf_num"),
    "no room": lambda: {None, ""} <= values(HOSTILE, "room_id"),
    "no app": lambda: {None, ""} <= values(HOSTILE, "app_id"),
    "a long conference": lambda: max(days_of(each)[-1] - days_of(each)[0] for each in NUMBERED) > timedelta(days=40),
    "a bridging day": lambda: any(map(has_bridging_day, NUMBERED)),
    "two conferences of a number": lambda: len({(each.app_id, each.conf_num) for each in NUMBERED}) < len(NUMBERED),
    "a number in two apps": lambda: in_two(HOSTILE, "conf_num", "app_id"),
    "people known by each": lambda: len(values(ATTENDANCE, "participant_known_by")) == 3,
    "a text that two are known by": lambda: in_two(ATTENDANCE, "participant", "participant_known_by"),
    "a name in two conferences": lambda: in_two(
        (row for row in ATTENDANCE if row["participant_known_by"] == "user_name"), "participant", "conf_num"
    ),
    "several roles": lambda: any(row["user_role"] == "moderator" and row["connections"] > 1 for row in ATTENDANCE),
    "several rooms": lambda: any(len(values(each.records, "room_id")) > 1 for each in NUMBERED),
    "two devices": lambda: has_pair(lambda one, other: other[0] < one[1]),
    "back at the same instant": lambda: has_pair(lambda one, other: other[0] == one[1]),
    "a return": lambda: max(values(ATTENDANCE, "rejoins")) > 0,
    "with a moderator": lambda: max(values(ATTENDANCE, "with_moderator_minutes")) > 0,
    "owners and codes of the list": lambda: (
        values(tables.owner_usage(HOSTILE, ROOMS), "billing_code") >= {"b1", "b2", "12", "c1", "c5", "c7", None}
    ),
    "days between without records": lambda: any(not records for records in hostile_days(0).values()),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_hostile_records_reach_every_corner(corner: str) -> None:
    assert CORNERS[corner]()


def test_hostile_records_are_the_same_for_the_same_seed_and_lie_on_the_days_of_their_dates() -> None:
    for seed in range(3):
        days = hostile_days(seed)
        assert json.dumps([*days.values()]) == json.dumps([*hostile_days(seed).values()])
        assert all(utc_day(record) == day for day, records in days.items() for record in records)
        assert [*days] == days_between(min(days), max(days))
    assert hostile_days(1) != hostile_days(2)


def test_the_file_of_rooms_has_what_the_list_has() -> None:
    text = rooms_csv()
    assert text.startswith(b"\xef\xbb\xbfroom_id,room_name,owner_ref,billing_code,valid_from,valid_to\r\n")
    rows = csv.DictReader(StringIO(text.decode("utf-8-sig"), newline=""))
    assert [*rows] == [{name: str(value or "") for name, value in room.items()} for room in ROOMS]
