"""The invented company: its rooms with their owners, the people who meet there, and their browsers and apps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from cdr_assets.sandbox.settings import Settings

Kind = Literal["meeting", "consultation", "class", "webinar", "handover"]

STAFF = 400
CIRCLE = 24  # the colleagues that a meeting room draws its people from
PUPILS = 30  # in one class
PATIENTS = 3_000
AUDIENCE = 20_000

_TEAMS = ("Sales", "Support", "Finance", "Design", "Platform", "Mobile", "Clinic", "Claims", "People", "Field", "Legal")
_MEETINGS = ("standup", "review", "planning", "one-to-one", "customer call")
_SPECIALTIES = ("Cardiology", "Dermatology", "Paediatrics", "General practice", "Physiotherapy", "Psychotherapy")
_SUBJECTS = ("Mathematics", "English", "Physics", "History", "Spanish", "Music theory")
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

_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "

COMPUTERS = (
    f"{_WINDOWS}Chrome/142.0.0.0 Safari/537.36",
    f"{_MAC}605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
    f"{_WINDOWS}Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    f"{_WINDOWS}Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    f"{_MAC}537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    f"{_WINDOWS}MeetingDesk/4.2.0 Chrome/140.0.7339.240 Electron/38.4.0 Safari/537.36",
    f"{_WINDOWS}Chrome/142.0.0.0 Safari/537.36 OPR/124.0.0.0",
)
PHONES = (
    f"{_IPHONE}Version/26.1 Mobile/15E148 Safari/604.1",
    f"{_ANDROID}Chrome/142.0.0.0 Mobile Safari/537.36",
    "okhttp/4.12.0",  # the Android app
    "MeetingRoom/412 CFNetwork/3860.200.71 Darwin/25.1.0",  # the iOS app
    f"{_ANDROID}SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
    f"{_IPHONE}CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
    "okhttp/3.5.0",
    "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
)
TELEPHONE = "PolycomRealPresenceGroup/6.2"


class Room(NamedTuple):
    """A virtual room. It hosts many conferences, one at a time."""

    room_id: str
    name: str
    owner_ref: str
    """Empty for a room that nobody owns."""
    billing_code: str
    """Empty for a room without one."""
    kind: Kind
    circle: int
    """Number of the first of the colleagues who meet here. A doctor's or a teacher's room is theirs."""


class Person(NamedTuple):
    """Someone who may join a conference. `name` and `ref` may be empty."""

    number: int
    name: str
    ref: str
    shaky: bool
    """Whether their network is bad."""


@lru_cache(maxsize=64)
def rooms(settings: Settings) -> dict[str, Room]:
    """Every room by its id. More `connections` need more rooms, since a room hosts one conference at a time."""
    kinds: tuple[tuple[Kind, int, Callable[[int], str]], ...] = (
        ("meeting", max(30, settings.connections // 12), _meeting_name),
        ("consultation", max(6, settings.connections // 40), lambda n: _numbered(_SPECIALTIES, n)),
        ("class", max(4, settings.connections // 80), lambda n: _numbered(_SUBJECTS, n)),
        ("webinar", max(5, settings.connections // 80), lambda n: _numbered(_WEBINARS, n)),
        ("handover", max(3, settings.connections // 80), lambda n: _numbered(_HANDOVERS, n)),
    )
    found = {}
    for kind, count, name in kinds:
        for n in range(count):
            room_id = digest(f"{settings.seed}/room/{kind}/{n}")
            circle = int(room_id[:6], 16) % STAFF
            found[room_id] = Room(room_id, name(n), *_payer(kind, n, circle), kind, circle)
    return found


@lru_cache(maxsize=64)
def rooms_by_kind(settings: Settings) -> dict[str, list[Room]]:
    """The rooms of each kind."""
    by_kind: dict[str, list[Room]] = {}
    for room in rooms(settings).values():
        by_kind.setdefault(room.kind, []).append(room)
    return by_kind


@lru_cache(maxsize=STAFF)
def colleague(number: int) -> Person:
    """One of the staff."""
    number %= STAFF
    nickname = ' "DJ"' if number % 97 == 5 else ""
    name = f"{_pick(_FIRST_NAMES, number)}{nickname} {_pick(_LAST_NAMES, number * 5 // 3)}"
    return Person(number, name, f"emp-{1000 + number}", number % 31 == 5)


@lru_cache(maxsize=2048)
def pupil(number: int) -> Person:
    """A pupil. Some have no account, and only give their name."""
    name = f"{_pick(_FIRST_NAMES, number * 7)} {_pick(_LAST_NAMES, number * 3 // 2)}"
    return Person(number, name, f"pupil-{number:05d}" if number % 8 else "", number % 11 == 3)


def patient(number: int) -> Person:
    """A patient. Many follow a link and only give their name."""
    name = f"{_pick(_FIRST_NAMES, number * 3)} {_pick(_LAST_NAMES, number // 7)}"
    return Person(number, name, f"patient-{number:05d}" if number % 5 > 1 else "", number % 17 == 4)


def guest(number: int) -> Person:
    """A guest in a webinar. Not everyone registers, and a few give no name."""
    name = f"{_pick(_FIRST_NAMES, number)} {_pick(_LAST_NAMES, number // 26)}" if number % 29 else ""
    return Person(number, name, f"guest-{number:05d}" if number % 5 > 1 else "", number % 29 == 7)


@lru_cache(maxsize=1024)
def digest(text: str) -> str:
    """24 hexadecimal digits, like EnableX's ids."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _payer(kind: Kind, n: int, circle: int) -> tuple[str, str]:
    """(owner_ref, billing_code) of the nth room of a kind."""
    if kind == "consultation":
        return f"practice-{1 + n % 4}", "" if n % 6 == 5 else f"CC-{200 + n % 4}"
    if kind == "class":
        return f"school-{1 + n % 3}", "" if n % 4 == 3 else "CC-300"
    if kind == "webinar":
        return "marketing", "CC-400"
    if kind == "handover":
        return "operations", "CC-410"
    owner = "" if n % 3 == 2 else colleague(circle).ref
    return owner, "" if n % 6 == 5 or n % 9 == 4 else f"CC-{100 + n % 11}"


def _meeting_name(number: int) -> str:
    return _numbered([f"{team} {meeting}" for meeting in _MEETINGS for team in _TEAMS], number)


def _numbered(names: list[str] | tuple[str, ...], number: int) -> str:
    again, place = divmod(number, len(names))
    return f"{names[place]} {again + 1}" if again else names[place]


def _pick(items: tuple[str, ...], number: int) -> str:
    return items[number % len(items)]
