"""The calls of an invented company, as EnableX would describe them. The same seed and day always give the same calls.

Each day starts as a plan: its conferences, each with a room, a start, a length and a number of people. A plan is
cheap, so a search over years plans every day, and makes records only for the conferences that match. All functions
are pure, and every random number comes from a generator that is seeded with text. So the records depend neither on
the order of the requests nor on the process that answers them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from random import Random
from typing import Any, Literal, NamedTuple

import msgspec

Record = dict[str, Any]
Shape = Literal["specification", "current"]
Errors = Literal["older", "newer"]
Kind = Literal["meeting", "webinar", "handover"]

_SECOND = 1_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_EPOCH = date(1970, 1, 1)

_WEEKEND_SHARE = 0.15
_WEBINAR_SHARE = 0.03
_HANDOVER_SHARE = 0.02
_CONNECTIONS_A_PERSON = 1.15  # the average that the shares in _connections give

_MEETING_HOURS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
_MEETING_HOUR_WEIGHTS = (3, 7, 14, 15, 12, 5, 10, 14, 12, 8, 3)
_MEETING_STARTS = (0, 0, 0, 15, 30, 30, 45)
_MEETING_LENGTHS = (15, 30, 30, 30, 45, 60, 60, 90)

_TEAMS = ("Sales", "Support", "Finance", "Design", "Platform", "Mobile", "Clinic", "Claims", "People", "Field", "Legal")
_MEETINGS = ("standup", "review", "planning", "one-to-one", "customer call")
_WEBINARS = ("Product update", "Customer academy", "Town hall", "Partner briefing", "Onboarding live")
_HANDOVERS = ("Follow-the-sun handover", "Operations night desk", "Sydney sync")

_FIRST_NAMES = (
    *("Amara", "Ben", "Chloé", "Dev", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jürgen", "Kavya", "Luca", "Mei"),
    *("Nora", "Olu", "Priya", "Quentin", "Rosa", "Søren", "Tariq", "Uma", "Vera", "Wei", "Ximena", "Yusuf", "Zoë"),
)
_LAST_NAMES = (
    *("Adeyemi", "Brown", "Castro", "Dubois", "Eriksen", "Fischer", "Gupta", "Haddad", "Ito", "Jansen", "Kaya"),
    *("Lindqvist", "Müller", "Nguyen", "O'Brien", "Patel", "Quiroga", "Rossi", "Şahin", "Tan", "Ueda", "Varga"),
)
_STAFF = 400
_AUDIENCE = 20_000
_CIRCLE = 24  # the colleagues that a meeting room draws its people from

_MEDIA = (("video", "video"), ("audio", "audio"), ("sharing", "screen"))  # as stats_quality and published_track say

_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Mobile/15E148 Safari/604.1",
    "okhttp/3.5.0",
    "okhttp/4.12.0",
)
_TELEPHONE = "PolycomRealPresenceGroup/6.2"
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")  # reserved for documentation


@dataclass(frozen=True)
class Settings:
    """The calls of a sandbox, and the form of its answers.

    `connections` is the average number of CDRs on a working day, `start` the first UTC day with calls, `shape` the
    form of the records, and `errors` the form of the error envelope. Raises `ValueError` for a value that is wrong.
    """

    seed: int = 1
    connections: int = 400
    start: date = date(2025, 1, 1)
    shape: Shape = "specification"
    errors: Errors = "newer"
    app_id: str = "sandbox-app-id"
    app_key: str = "sandbox-app-key"

    def __post_init__(self) -> None:
        if self.connections < 0:
            raise ValueError(f"connections must be 0 or more, not {self.connections}")
        if self.start < _EPOCH:
            raise ValueError(f"start must be {_EPOCH} or later, not {self.start}")
        if self.shape not in ("specification", "current"):
            raise ValueError(f"shape must be 'specification' or 'current', not {self.shape!r}")
        if self.errors not in ("older", "newer"):
            raise ValueError(f"errors must be 'older' or 'newer', not {self.errors!r}")
        if not self.app_id or ":" in self.app_id or not self.app_key:
            raise ValueError("app_id and app_key must not be empty, and app_id must not hold a colon")


class Room(NamedTuple):
    """A virtual room. It hosts many conferences, one at a time."""

    room_id: str
    name: str
    owner_ref: str
    billing_code: str
    kind: Kind
    circle: int
    """Number of the first of the colleagues who meet here."""


class Conference(NamedTuple):
    """The plan of one conference. `start`, counted from midnight of the day, and `length` are in milliseconds."""

    number: str
    day: date
    place: int
    """Its place among the conferences that begin on the day, from 0."""
    room: Room
    start: int
    length: int
    people: int

    @property
    def overnight(self) -> bool:
        """Whether it ends on the UTC day after the one it began on."""
        return self.start + self.length >= _DAY


class Thousandths(float):
    """A number that is written with three decimals."""

    __slots__ = ()


_encoder = msgspec.json.Encoder(enc_hook=lambda number: msgspec.Raw(b"%.3f" % number))


def encode(record: Record) -> bytes:
    """The record as JSON. Every route sends the same bytes."""
    return _encoder.encode(record)


def stamp(moment: datetime) -> str:
    """An aware moment as text in the form of the records. The order of the texts is that of the moments."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=64)
def rooms(settings: Settings) -> dict[str, Room]:
    """Every room by its id. More `connections` need more rooms, since a room hosts one conference at a time."""
    kinds: tuple[tuple[Kind, int, Callable[[int], str]], ...] = (
        ("meeting", max(30, settings.connections // 12), _meeting_name),
        ("webinar", max(5, settings.connections // 80), lambda n: _numbered(_WEBINARS, n)),
        ("handover", max(3, settings.connections // 80), lambda n: _numbered(_HANDOVERS, n)),
    )
    found = {}
    for kind, count, name in kinds:
        for n in range(count):
            room_id = _digest(f"{settings.seed}/room/{kind}/{n}")
            circle = int(room_id[:6], 16) % _STAFF
            found[room_id] = Room(room_id, name(n), _staff(circle)[1], f"CC-{100 + n % 11}", kind, circle)
    return found


def conferences_of_day(settings: Settings, day: date) -> list[Conference]:
    """The conferences that begin on a UTC day, in the order they begin."""
    if day < settings.start:
        return []
    rng = Random(f"{settings.seed}/{day}")
    hosts = _rooms_by_kind(settings)
    busy_until: dict[str, int] = {}
    conferences: list[Conference] = []
    for start, length, people, kind in sorted(_drafts(settings, rng, day)):
        candidates = hosts[kind]
        favourite = int(len(candidates) * rng.random() ** 1.5)
        for room in candidates[favourite:] + candidates[:favourite]:
            if busy_until.get(room.room_id, 0) <= start:
                busy_until[room.room_id] = start + length
                place = len(conferences)
                number = _conference_number(settings, day, start, place)
                conferences.append(Conference(number, day, place, room, start, length, people))
                break
    return conferences


def find_conference(settings: Settings, number: str) -> Conference | None:
    """The conference with that number, which contains the moment it began and its place in the day."""
    try:
        day = _EPOCH + timedelta(seconds=int(number[:8], 16))
    except ValueError:
        return None
    return next((found for found in conferences_of_day(settings, day) if found.number == number), None)


def begun_at(conference: Conference) -> datetime:
    """The moment a conference began (aware, UTC)."""
    return _midnight(conference.day) + timedelta(milliseconds=conference.start)


def records_of_conference(settings: Settings, conference: Conference) -> list[Record]:
    """The records of a conference, one per connection, person by person. Both shapes describe the same connections."""
    rng = Random(f"{settings.seed}/{conference.day}/{conference.place}")
    shape_rng = Random(f"{settings.seed}/{conference.day}/{conference.place}/{settings.shape}")
    records: list[Record] = []
    for attendance in _attendances(rng, conference):
        for join, leave in _connections(rng, attendance.join, attendance.leave):
            cdr_id = f"{conference.number[:12]}{conference.place:06x}{len(records):06x}"
            record = _record(settings, rng, conference, attendance, join, leave, cdr_id)
            _add_fields_of_shape(settings, shape_rng, conference, record)
            records.append(record)
    return records


def records_between(settings: Settings, begin: datetime, end: datetime, room_id: str | None = None) -> Iterator[Record]:
    """Every record with `begin <= trans_date < end` (aware moments), of one room or all rooms, by conference.

    Only one day's plan is in memory at a time, so a longer period takes more time but no more memory.
    """
    begin, end = begin.astimezone(timezone.utc), end.astimezone(timezone.utc)
    lower, upper = stamp(begin), stamp(end)
    day = max(begin.date() - timedelta(days=1), settings.start)
    while _midnight(day) < end:
        for conference in conferences_of_day(settings, day):
            if room_id is not None and conference.room.room_id != room_id:
                continue
            if day < begin.date() and not conference.overnight:
                continue
            for record in records_of_conference(settings, conference):
                if lower <= record["trans_date"] < upper:
                    yield record
        day += timedelta(days=1)


def records_of_day(settings: Settings, day: date) -> list[Record]:
    """The final records whose `trans_date` is on the UTC day, including those that clock or faults still hide."""
    return list(records_between(settings, _midnight(day), _midnight(day) + timedelta(days=1)))


class _Attendance(NamedTuple):
    """One person in one conference. `join` and `leave` are in milliseconds from midnight of the day."""

    join: int
    leave: int
    name: str
    ref: str
    role: str
    ip: str
    agent: str

    @property
    def speaks(self) -> bool:
        return self.role in ("moderator", "participant")


def _drafts(settings: Settings, rng: Random, day: date) -> Iterator[tuple[int, int, int, Kind]]:
    """(start, length, people, kind) of conferences until the day's connections are used up."""
    left = settings.connections * rng.uniform(0.85, 1.15) * (_WEEKEND_SHARE if day.weekday() >= 5 else 1)
    first = True
    while True:
        roll = rng.random()
        kind: Kind = "meeting"
        people = 2 + int(11 * rng.random() ** 2)
        if first or roll < _HANDOVER_SHARE:
            kind, people, first = "handover", rng.randint(4, 10), False
        elif roll < _HANDOVER_SHARE + _WEBINAR_SHARE:
            crowd = 34 + int(120 * rng.random() ** 1.5)
            if crowd * _CONNECTIONS_A_PERSON <= left:
                kind, people = "webinar", crowd
        cost = people * _CONNECTIONS_A_PERSON
        # The last conference is held with the probability that keeps the average at `connections`.
        if cost > left and rng.random() * cost >= left:
            return
        left -= cost
        start, length = _hours(rng, kind)
        yield start, length, people, kind


def _hours(rng: Random, kind: Kind) -> tuple[int, int]:
    """(start, length) of a conference. Only handovers cross midnight, and they end before the next day's begin."""
    if kind == "handover":
        start = 22 * _HOUR + 15 * _MINUTE + rng.randrange(75 * _MINUTE)
        return start, _DAY + rng.randrange(20 * _MINUTE, 150 * _MINUTE) - start
    if kind == "webinar":
        start = rng.randint(9, 16) * _HOUR - rng.randrange(10 * _MINUTE)
        return start, rng.randrange(50 * _MINUTE, 125 * _MINUTE)
    hour = rng.choices(_MEETING_HOURS, _MEETING_HOUR_WEIGHTS)[0]
    start = hour * _HOUR + rng.choice(_MEETING_STARTS) * _MINUTE + rng.randrange(4 * _MINUTE)
    return start, int(rng.choice(_MEETING_LENGTHS) * _MINUTE * rng.uniform(0.55, 1.15))


def _attendances(rng: Random, conference: Conference) -> Iterator[_Attendance]:
    crowd = conference.room.kind == "webinar"
    numbers = rng.sample(range(_AUDIENCE if crowd else _CIRCLE), conference.people)
    for place, number in enumerate(numbers):
        role = "moderator" if place == 0 else "participant"
        if crowd and place >= 4:
            role = "audience" if number % 3 == 0 else "viewer"
            name, ref = _guest(number)
        else:
            name, ref = _staff(conference.room.circle + number)
            roll = rng.random()
            if place > 0 and roll < 0.07:
                ref = ""
            if place > 0 and 0.05 <= roll < 0.09:
                name = ""
        join, leave = _presence(rng, conference, place)
        agent = _TELEPHONE if not crowd and rng.random() < 0.02 else rng.choice(_BROWSERS)
        yield _Attendance(join, leave, name, ref, role, _ip(rng), agent)


def _presence(rng: Random, conference: Conference, place: int) -> tuple[int, int]:
    """(join, leave) of the person in that place, within the conference. The first person is there from its start."""
    start, length, end = conference.start, conference.length, conference.start + conference.length
    crowd = conference.room.kind == "webinar"
    delay = 0 if place == 0 else min(int(rng.expovariate(1 / ((5 if crowd else 2) * _MINUTE))), length // 4)
    join = start + delay
    if conference.overnight and place % 2 == 0:
        # The shift that ends leaves before midnight.
        return join, join + int((_DAY - join) * rng.uniform(0.6, 0.99))
    if place > 0 and rng.random() < (0.35 if crowd else 0.1):
        return join, join + int((end - join) * rng.uniform(0.2, 0.95))
    return join, max(join, end - int(rng.expovariate(1 / (20 * _SECOND))))


def _connections(rng: Random, join: int, leave: int) -> Iterator[tuple[int, int]]:
    """(join, leave) of each connection of one person: some drop out and come back after a few seconds."""
    roll = rng.random()
    if roll < 0.01:
        yield join, join  # a first try that fails at once
        join = min(join + rng.randrange(4 * _SECOND, 90 * _SECOND), leave)
    else:
        for _ in range(2 if roll < 0.03 else 1 if roll < 0.13 else 0):
            dropped = join + int((leave - join) * rng.uniform(0.2, 0.8))
            yield join, dropped
            join = min(dropped + rng.randrange(4 * _SECOND, 90 * _SECOND), leave)
    yield join, leave


def _record(
    settings: Settings, rng: Random, conference: Conference, who: _Attendance, join: int, leave: int, cdr_id: str
) -> Record:
    current = settings.shape == "current"
    number = _shortest if current else Thousandths
    day, room = conference.day, conference.room
    sip = who.agent == _TELEPHONE
    signal_join, signal_leave = join - rng.randrange(200, 2_500), leave + rng.randrange(20, 400)
    minutes = (leave - join) / _MINUTE
    shared = who.role == "moderator" and rng.random() < 0.4
    tracks = {
        "audio": who.speaks,
        "data": not sip,
        "video": who.speaks and not sip and rng.random() < 0.85,
        "screen": shared,
        "url": False,
    }
    record: Record = {
        "trans_date": _stamp(day, leave),
        "conf_num": conference.number,
        "call_num": f"{rng.randrange(10**10):010d}",
        "call_log_id": f"{rng.getrandbits(96):024x}",
        "room": {
            "room_id": room.room_id,
            "connect_dt": _stamp(day, join),
            "disconnect_dt": _stamp(day, leave),
            "duration": number((leave - join) / _SECOND),
        },
        "user": {"ip": who.ip, "name": who.name, "role": who.role, "ref": who.ref, "agent": who.agent},
        "sigserver": {
            "connect_dt": _stamp(day, signal_join),
            "ip": f"203.0.113.{1 + conference.place % 8}",
            "disconnect_dt": _stamp(day, signal_leave),
            "duration": number((signal_leave - signal_join) / _SECOND),
            "hold_duration": number(rng.randrange(9_999) / _SECOND if rng.random() < 0.05 else 0),
        },
        "published_track": tracks if current else {track: str(on).lower() for track, on in tracks.items()},
        "usage": {
            "subscribed_minutes": number(round(minutes * min(conference.people - 1, 9) * rng.uniform(0.7, 1), 3)),
            "published_minutes": number(round(minutes * rng.uniform(0.8, 1) if who.speaks else 0, 3)),
        },
        "app_id": settings.app_id,
        "cdr_id": cdr_id,
    }
    return record


def _add_fields_of_shape(settings: Settings, rng: Random, conference: Conference, record: Record) -> None:
    """Adds the fields that only the specification has, or only later documents and clients."""
    room = conference.room
    if settings.shape == "specification":
        record["user"] |= {"token": f"eyJhbGciOiJIUzI1NiJ9.{rng.getrandbits(384):096x}", "confName": room.name}
        return
    sip, tracks = record["user"]["agent"] == _TELEPHONE, record["published_track"]
    minutes = record["room"]["duration"] / 60
    exact, begun = _shortest(round(minutes, 3)), math.ceil(minutes)
    details = {"name": room.name, "owner_ref": room.owner_ref, "settings": {"billing_code": room.billing_code}}
    record["room"] |= {"sip": sip, "room_details": details}
    record["usage"] |= {
        "screen_minutes": _shortest(round(minutes * rng.random(), 3)) if tracks["screen"] else 0,
        "connect_minutes": exact,
        "connect_minutes_cal": begun,
        "room_connect_minutes": exact,
    }
    record |= {
        "sip": sip,
        "parent_partner_id": _digest("partner"),
        "price": {"connect_duration": _shortest(round(begun * 0.004, 3))},
        "stats_quality": {
            "send": {kind: _quality(rng, kind) for kind, track in _MEDIA if tracks[track]},
            "receive": {kind: _quality(rng, kind) for kind in ("video", "audio")},
        },
    }


def _quality(rng: Random, kind: str) -> dict[str, Any]:
    average = rng.randrange(24, 48) if kind == "audio" else rng.randrange(250, 1_800)
    good = 100 - int(rng.expovariate(1 / 6)) % 100
    return {
        "avg_bitrate": average,
        "max_bitrate": average * 3 // 2,
        "min_bitrate": average // 3,
        "avg_quality": "Good" if good >= 80 else "Bad",
        "good_percent": good,
    }


def _ip(rng: Random) -> str:
    if rng.random() < 0.08:
        return f"2001:db8:{rng.randrange(1, 0xFFFF):x}::{rng.randrange(1, 0xFFFF):x}"
    return f"{rng.choice(_NETWORKS)}.{rng.randint(1, 254)}"


@lru_cache(maxsize=_STAFF)
def _staff(number: int) -> tuple[str, str]:
    """(name, ref) of a colleague."""
    number %= _STAFF
    nickname = ' "DJ"' if number % 97 == 5 else ""
    return f"{_pick(_FIRST_NAMES, number)}{nickname} {_pick(_LAST_NAMES, number * 5 // 3)}", f"emp-{1000 + number}"


def _guest(number: int) -> tuple[str, str]:
    """(name, ref) of a guest in a webinar. Not everyone registers, and a few give no name."""
    name = f"{_pick(_FIRST_NAMES, number)} {_pick(_LAST_NAMES, number // 26)}" if number % 29 else ""
    return name, f"guest-{number:05d}" if number % 5 > 1 else ""


def _meeting_name(number: int) -> str:
    return _numbered([f"{team} {meeting}" for meeting in _MEETINGS for team in _TEAMS], number)


def _numbered(names: list[str] | tuple[str, ...], number: int) -> str:
    again, place = divmod(number, len(names))
    return f"{names[place]} {again + 1}" if again else names[place]


@lru_cache(maxsize=64)
def _rooms_by_kind(settings: Settings) -> dict[str, list[Room]]:
    by_kind: dict[str, list[Room]] = {}
    for room in rooms(settings).values():
        by_kind.setdefault(room.kind, []).append(room)
    return by_kind


def _conference_number(settings: Settings, day: date, start: int, place: int) -> str:
    seconds = (day - _EPOCH).days * 86_400 + start // _SECOND
    return f"{seconds:08x}{_digest(str(settings.seed))[:10]}{place:06x}"


def _pick(items: tuple[str, ...], number: int) -> str:
    return items[number % len(items)]


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    """24 hexadecimal digits, like EnableX's ids."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _shortest(number: float) -> float:
    return int(number) if number == int(number) else number


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)


def _stamp(day: date, milliseconds: int) -> str:
    days, milliseconds = divmod(milliseconds, _DAY)
    seconds, milliseconds = divmod(milliseconds, _SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{day + timedelta(days=days)}T{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}Z"
