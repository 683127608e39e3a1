"""Hostile but legal records, as EnableX might send them. The same seed always gives the same records.

Few people, rooms and moments are drawn again and again, so that instants, names and ids meet as often as they can.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from io import StringIO
from random import Random
from typing import Any, NamedTuple

from cdr_assets_tests.reference import Record, Row

FIRST = datetime(2026, 12, 21)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONGEST = 40 * DAY

APPS = ("app-1", "app-1", "app-1", "app-2", "app-2", "", None)
NO_NUMBER = ("", None, "absent")
ROOM_IDS = ("r1", "r1", "r2", "r3", "R1", 7, "", None, "absent")
PEOPLE: tuple[Record | None, ...] = (
    {"ref": "u1", "name": "Ann"},
    {"ref": "u1", "name": "\uffff"},
    {"ref": "u1", "name": "\U0001f600"},
    {"ref": "u1", "name": ""},
    {"ref": "u2", "name": "Zoë"},
    {"ref": "u2"},
    {"ref": "Ann", "name": "Bob"},
    {"ref": 7, "name": 7},
    {"ref": "", "name": "Ann"},
    {"ref": None, "name": "Ann"},
    {"name": "Bob"},
    {"ref": "", "name": "7"},
    {"ref": "", "name": "Zoë"},
    {"ref": "", "name": ""},
    {"confName": "talk"},
    None,
)
ROLES = ("moderator", "Moderator", "MODERATOR", *("participant", "Participant", "viewer", "audience") * 3, "", None)
NAMES_OF_CONFERENCES = ("talk", "Talk", "", None)

OFFSETS = (0 * SECOND, 0 * SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR)
FRACTIONS = (*(0,) * 6, 1, 500, 500_000, 999_999)  # microseconds
LENGTHS = (
    *(0 * SECOND, 0 * SECOND, timedelta(microseconds=1), timedelta(microseconds=29_999), timedelta(milliseconds=30)),
    *(9.999 * SECOND, 10 * SECOND, MINUTE, *(5 * MINUTE, 30 * MINUTE, HOUR) * 4, DAY, 3 * DAY, -SECOND, -HOUR),
)
LONG_LENGTHS = (*LENGTHS, *(8 * DAY, 31 * DAY, LONGEST, 366 * DAY + HOUR) * 2)
ZONES = (timedelta(0), timedelta(0), timedelta(hours=5, minutes=30), timedelta(hours=-8), timedelta(hours=14))

DURATIONS = (0, 0.0004, 0.0005, 9.9995, 9.999, 10, "10.000", 59.9995, 60, "60.001", 0.01, 2_678_400)
MINUTES = (0, 0.001, "0.333", 1.5, 7, "12.0005", "", None)
DETAILS: tuple[Any, ...] = (
    {"owner_ref": "o1", "settings": {"billing_code": "b1"}},
    {"owner_ref": "o2", "settings": {"billing_code": "b1", "mode": "group"}},
    {"owner_ref": "o1", "settings": {"billing_code": ""}},
    {"owner_ref": "", "settings": {"billing_code": "b2"}},
    {"owner_ref": "o1", "settings": {}},
    {"owner_ref": None, "settings": None},
    {"owner_ref": 7, "settings": {"billing_code": 12}},
    {"owner_ref": ["o1"], "settings": "b1"},
    {"owner_ref": {"owner_ref": "o1"}, "settings": [{"billing_code": "b1"}]},
    {"settings": {"billing_code": {"code": "b1"}}},
    {"name": "Room", "billing_code": "b1"},
    *({}, [], "o1", 7, None),
)
MEDIA: tuple[Any, ...] = (
    {"avg_bitrate": 300, "min_bitrate": 100, "max_bitrate": 450, "avg_quality": "Good", "good_percent": 97},
    {"avg_bitrate": "300.5", "avg_bitrate_quality": "Bad", "bitrate_good_percent": 12.25},
    {"avg_quality": None, "avg_bitrate_quality": "Good", "good_percent": "", "bitrate_good_percent": "0"},
    {"avg_quality": "Bad", "avg_bitrate_quality": "Good", "good_percent": 1, "bitrate_good_percent": 2},
    {"avg_bitrate": [300], "min_bitrate": {"value": 1}, "max_bitrate": "fast", "avg_quality": ["Good"]},
    {"avg_bitrate": None, "min_bitrate": True, "max_bitrate": "", "avg_quality": "Fair", "good_percent": "most"},
    *({}, [], [{"avg_bitrate": 300}], "Good", 5, None),
)


def _valid(room_id: str, first: int | None, last: int | None, owner_ref: str | None, billing_code: str | None) -> Row:
    days = {name: None if day is None else (FIRST + day * DAY).date() for name, day in (("from", first), ("to", last))}
    return {
        "room_id": room_id,
        "room_name": f'Room "{room_id}", upstairs',
        "owner_ref": owner_ref,
        "billing_code": billing_code,
        "valid_from": days["from"],
        "valid_to": days["to"],
    }


ROOMS = (
    _valid("r1", 5, None, None, "c5"),
    _valid("r1", None, 1, "c1", "c1"),
    _valid("r1", 2, 2, "o1", "b1"),
    _valid("r2", None, None, "Müller", None),
    _valid("R1", 0, 1, None, None),
    _valid("7", -400, 400, "c7", "c7"),
    _valid("elsewhere", None, None, "nobody", "nothing"),
)
"""Owners of rooms as people write them down, as parsed rows: None for an empty cell."""

Times = tuple[datetime | None, datetime | None, datetime]
"""Entry, leave and trans_date."""


class Plan(NamedTuple):
    """A conference: the moments around which its connections lie."""

    app_id: str | None
    conf_num: str | None
    moments: Sequence[datetime]
    lengths: Sequence[timedelta]


def hostile_days(seed: int) -> dict[date, list[Record]]:
    """Some hundred records by the UTC day of their trans_date.

    It has every day from the first to the last that has a record, or a connection of at most 40 days. Every third seed
    has conferences and connections of 40 days. The days of the others are fewer than 30.
    """
    rng = Random(seed)
    records: dict[date, list[Record]] = defaultdict(list)
    touched = set()
    for plan in _plans(rng, is_long=seed % 3 == 0):
        person, back_at = rng.choice(PEOPLE), None
        for moment in [*plan.moments, *rng.choices(plan.moments, k=rng.randint(0, 12))]:
            entry, leave, dated = _times(rng, plan, moment)
            if rng.random() < 0.15 and back_at and leave and timedelta(0) <= leave - back_at <= LONGEST:
                entry = back_at
            else:
                person = rng.choice(PEOPLE)
            back_at = leave
            number = sum(map(len, records.values()))
            # Nobody is known by the id of a record, even if it is somebody's name.
            cdr_id = {30: "Ann", 60: "u1"}.get(number, f"cdr-{number:04d}")
            records[dated.date()].append(_record(rng, plan, person, cdr_id, (entry, leave, dated)))
            touched.add(dated.date())
            if entry and leave and leave - entry <= LONGEST:
                touched |= {entry.date(), leave.date()}
    days = (max(touched) - min(touched)).days + 1
    return {day: records.get(day, []) for day in (min(touched) + number * DAY for number in range(days))}


def rooms_csv() -> bytes:
    """ROOMS as a spreadsheet saves it: with a byte order mark, CRLF and quotes."""
    text = StringIO()
    writer = csv.DictWriter(text, ROOMS[0])
    writer.writeheader()
    writer.writerows(ROOMS)
    return text.getvalue().encode("utf-8-sig")


def _plans(rng: Random, is_long: bool) -> Iterator[Plan]:
    lengths = LONG_LENGTHS if is_long else LENGTHS
    for number in range(10):
        morning = FIRST + rng.randrange(5) * DAY + rng.choice((0, 9, 15)) * HOUR
        yield Plan(rng.choice(APPS), f"C{number}", [morning], LENGTHS)
    for number in range(4):
        midnight = FIRST + rng.randrange(1, 4) * DAY
        yield Plan(rng.choice(APPS), f"M{number}", [midnight - HOUR, midnight - MINUTE, midnight], LENGTHS)
    # One number in two apps, and with gaps of just 7 days and just 8.
    for app_id in ("app-1", "app-2"):
        days = [0, *rng.choice([(7, 8, 15), (8, 9, 17), (7, 15)])]
        yield Plan(app_id, "twice", [FIRST + day * DAY + 12 * HOUR for day in days], lengths)
    for _ in range(4):
        days = rng.sample(range(6), 2)
        yield Plan(rng.choice(APPS), None, [FIRST + day * DAY + 9 * HOUR for day in days], lengths)
    if is_long:
        for number, gaps in enumerate([(7,), (1, 6, 7, 7), (6, 7, 7, 8)]):
            days = [0]
            while days[-1] < 42:
                days.append(days[-1] + rng.choice(gaps))
            moments = [FIRST + day * DAY + 10 * HOUR for day in days for _ in range(2)]
            yield Plan(rng.choice(APPS), f"L{number}", moments, lengths)


def _times(rng: Random, plan: Plan, moment: datetime) -> Times:
    entry = moment + rng.choice(OFFSETS) + timedelta(microseconds=rng.choice(FRACTIONS))
    # Long connections begin in the first week, so that the days are not too many.
    leave = entry + rng.choice(plan.lengths if entry < FIRST + 7 * DAY else LENGTHS)
    if rng.random() < 0.1:
        leave = datetime.combine(entry.date(), time()) + DAY
    # What is dated at the end of a year's connection would be far away from all other days.
    dated = rng.choice([moment, moment, entry, leave if abs(leave - entry) <= LONGEST else entry])
    missing = rng.random()
    return None if missing < 0.06 else entry, None if 0.03 < missing < 0.12 else leave, dated


def _record(rng: Random, plan: Plan, person: Record | None, cdr_id: str, times: Times) -> Record:
    entry, leave, dated = times
    room = {
        "room_id": rng.choice(ROOM_IDS),
        "connect_dt": _written(rng, entry),
        "disconnect_dt": _written(rng, leave),
        "duration": _duration(rng, entry, leave),
        "room_details": rng.choice([*DETAILS, "absent"]),
    }
    return _present(
        {
            "cdr_id": cdr_id,
            "trans_date": _written(rng, dated),
            "app_id": plan.app_id,
            "conf_num": plan.conf_num or rng.choice(NO_NUMBER),
            "room": _present(room),
            "user": person and {"role": rng.choice(ROLES), "confName": rng.choice(NAMES_OF_CONFERENCES), **person},
            "usage": {"subscribed_minutes": rng.choice(MINUTES), "published_minutes": rng.choice(MINUTES)},
            "stats_quality": rng.choice([*(_quality(rng) for _ in range(4)), {}, [], "Good", None, "absent"]),
        }
    )


def _present(members: Record) -> Record:
    return {key: value for key, value in members.items() if value != "absent"}


def _written(rng: Random, moment: datetime | None) -> str | None:
    """The moment as text, in UTC or with an offset; an empty text or None for none."""
    if moment is None:
        return rng.choice(["", None, "absent"])
    precision = "milliseconds" if moment.microsecond % 1_000 == 0 else "microseconds"
    zone = timezone(rng.choice(ZONES))
    if rng.random() < 0.1:
        return moment.isoformat(timespec=precision)
    return moment.replace(tzinfo=timezone.utc).astimezone(zone).isoformat(timespec=precision).replace("+00:00", "Z")


def _duration(rng: Random, entry: datetime | None, leave: datetime | None) -> Any:
    measured = abs(leave - entry).total_seconds() if entry and leave else rng.choice(DURATIONS)
    return rng.choice([measured, measured, str(measured), rng.choice(DURATIONS), "", None, "absent"])


def _quality(rng: Random) -> Any:
    return {
        direction: {medium: rng.choice(MEDIA) for medium in ("video", "audio", "sharing") if rng.random() < 0.7}
        if rng.random() < 0.8
        else rng.choice(MEDIA)
        for direction in ("send", "receive", "other")
    }
