"""Which conferences a day has: each with a room, a start, a length and a number of people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from random import Random
from typing import NamedTuple

from cdr_assets.sandbox.company import Kind, Room, digest, rooms_by_kind
from cdr_assets.sandbox.settings import EPOCH, Settings

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_WEEKEND_SHARE = 0.15
_CONNECTIONS_AN_EMERGENCY = 14  # one emergency consultation, at any hour, for so many connections of the day

# How often a person connects on average. The stories give these numbers.
_CONNECTIONS_A_PERSON: dict[Kind, float] = {
    "meeting": 1.33,
    "consultation": 1.29,
    "class": 1.7,
    "webinar": 1.28,
    "handover": 1.29,
}
# In a company of some size, one working day in ten has a webinar with hundreds of people.
_GREAT_WEBINAR_CHANCE, _GREAT_WEBINAR_PEOPLE, _GREAT_WEBINAR_FROM = 0.1, (180, 430), 300
# The shares of the conferences that are neither a handover nor an emergency; the others are meetings.
_CONSULTATIONS, _CLASSES, _WEBINARS, _FURTHER_HANDOVERS = 0.2, 0.05, 0.02, 0.02

# By UTC hour: most work in Europe, some elsewhere.
_MEETING_HOUR_WEIGHTS = (1, 1, 1, 1, 1, 2, 2, 3, 7, 14, 15, 12, 5, 10, 14, 12, 8, 3, 3, 2, 2, 2, 1, 1)
_MEETING_STARTS = (0, 0, 0, 15, 30, 30, 45)
_MEETING_LENGTHS = (15, 30, 30, 30, 45, 60, 60, 90)


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
        return self.start + self.length >= DAY


class _Draft(NamedTuple):
    """A conference that has no room yet. Its fields are those of a conference."""

    start: int
    length: int
    people: int
    kind: Kind


def conferences_of_day(settings: Settings, day: date) -> list[Conference]:
    """The conferences that begin on a UTC day, in the order they begin."""
    if day < settings.start:
        return []
    rng = Random(f"{settings.seed}/{day}")
    hosts = rooms_by_kind(settings)
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
        day = EPOCH + timedelta(seconds=int(number[:8], 16))
    except ValueError:
        return None
    return next((found for found in conferences_of_day(settings, day) if found.number == number), None)


def begun_at(conference: Conference) -> datetime:
    """The moment a conference began (aware, UTC)."""
    return midnight(conference.day) + timedelta(milliseconds=conference.start)


def midnight(day: date) -> datetime:
    """The moment a UTC day begins."""
    return datetime.combine(day, time(), timezone.utc)


def _drafts(settings: Settings, rng: Random, day: date) -> Iterator[_Draft]:
    """Conferences until the day's connections are used up."""
    working = day.weekday() < 5
    average = settings.connections * (1 if working else _WEEKEND_SHARE)
    if working and settings.connections >= _GREAT_WEBINAR_FROM:
        # It comes on top of the day's other calls, so these are fewer on all working days.
        least, most = _GREAT_WEBINAR_PEOPLE
        average -= (least + most) / 2 * _CONNECTIONS_A_PERSON["webinar"] * _GREAT_WEBINAR_CHANCE
        if rng.random() < _GREAT_WEBINAR_CHANCE:
            yield _webinar(rng, rng.randint(least, most))
    left = average * rng.uniform(0.85, 1.15)
    for draft in _wishes(rng, working, emergencies=int(left / _CONNECTIONS_AN_EMERGENCY)):
        cost = draft.people * _CONNECTIONS_A_PERSON[draft.kind]
        if cost > left:
            if draft.kind == "webinar":
                continue
            # The last conference is held with the probability that keeps the average at `connections`.
            if rng.random() * cost >= left:
                return
        left -= cost
        yield draft


def _wishes(rng: Random, working: bool, emergencies: int) -> Iterator[_Draft]:
    """Conferences without end: what each day has first, then any."""
    yield _handover(rng)
    for n in range(emergencies):
        yield _emergency(rng, n, emergencies)
    while True:
        roll = rng.random()
        if roll < _CONSULTATIONS:
            yield _consultation(rng)
        elif roll < _CONSULTATIONS + _FURTHER_HANDOVERS:
            yield _handover(rng)
        elif working and roll < _CONSULTATIONS + _FURTHER_HANDOVERS + _CLASSES:
            yield _class(rng)
        elif working and roll < _CONSULTATIONS + _FURTHER_HANDOVERS + _CLASSES + _WEBINARS:
            yield _webinar(rng, 30 + int(120 * rng.random() ** 1.5))
        else:
            yield _meeting(rng)


def _handover(rng: Random) -> _Draft:
    """Only handovers cross midnight, and they end before the next day's begin."""
    start = 22 * HOUR + 15 * MINUTE + rng.randrange(75 * MINUTE)
    return _Draft(start, DAY + rng.randrange(20 * MINUTE, 150 * MINUTE) - start, rng.randint(4, 10), "handover")


def _emergency(rng: Random, n: int, of: int) -> _Draft:
    """The nth of the emergency consultations, which are spread over the whole day."""
    length = int(rng.uniform(4, 20) * MINUTE)
    start = int((DAY - 30 * MINUTE) * (n + rng.random()) / of)
    return _Draft(start, length, 1 if rng.random() < 0.04 else 2, "consultation")


def _consultation(rng: Random) -> _Draft:
    """Doctor and patient, sometimes a relative or an interpreter too, and sometimes one of them waits in vain."""
    roll = rng.random()
    people = 1 if roll < 0.08 else 3 if roll > 0.85 else 2
    start = int(rng.uniform(7, 18) * 4) * 15 * MINUTE + rng.randrange(5 * MINUTE)
    return _Draft(start, int(rng.uniform(8, 32) * MINUTE) // (2 if people == 1 else 1), people, "consultation")


def _class(rng: Random) -> _Draft:
    start = rng.randint(7, 14) * HOUR + rng.randrange(5 * MINUTE)
    return _Draft(start, rng.choice((45, 45, 90)) * MINUTE + rng.randrange(5 * MINUTE), rng.randint(15, 27), "class")


def _webinar(rng: Random, people: int) -> _Draft:
    start = rng.randint(9, 16) * HOUR - rng.randrange(10 * MINUTE)
    return _Draft(start, rng.randrange(50 * MINUTE, 125 * MINUTE), people, "webinar")


def _meeting(rng: Random) -> _Draft:
    hour = rng.choices(range(24), _MEETING_HOUR_WEIGHTS)[0]
    start = hour * HOUR + rng.choice(_MEETING_STARTS) * MINUTE + rng.randrange(4 * MINUTE)
    length = int(rng.choice(_MEETING_LENGTHS) * MINUTE * rng.uniform(0.55, 1.15))
    return _Draft(start, min(length, DAY - MINUTE - start), 2 + int(11 * rng.random() ** 2), "meeting")


def _conference_number(settings: Settings, day: date, start: int, place: int) -> str:
    seconds = (day - EPOCH).days * 86_400 + start // SECOND
    return f"{seconds:08x}{digest(str(settings.seed))[:10]}{place:06x}"
