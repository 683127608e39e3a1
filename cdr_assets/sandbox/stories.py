"""What happens in a conference: who comes, when, who is late, who drops out and returns, who uses two devices."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from cdr_assets.sandbox import company
from cdr_assets.sandbox.company import Kind, Person
from cdr_assets.sandbox.plan import DAY, MINUTE, SECOND, Conference

_NETWORKS = ("192.0.2.", "198.51.100.", "203.0.113.")  # reserved for documentation


class Connection(NamedTuple):
    """One connection to a conference. `join` and `leave` are in milliseconds from midnight of the conference's day."""

    join: int
    leave: int
    name: str
    ref: str
    role: str
    ip: str
    agent: str
    shaky: bool
    """Whether the network is bad."""


class _Habits(NamedTuple):
    """How people behave in the conferences of a kind. Shares are 0 to 1, times are in milliseconds."""

    late_moderator: float
    """The share of conferences in which someone waits for the moderator."""
    delay: int
    """How long people come after the start, on average."""
    leave_early: float
    drop_out: float
    """The share of people who drop out and return although their network is good."""
    most_drops: int
    longest_absence: int
    second_device: float
    phones: float


_HABITS: dict[Kind, _Habits] = {
    "meeting": _Habits(0.15, 2 * MINUTE, 0.1, 0.08, 2, 90 * SECOND, 0.05, 0.2),
    "consultation": _Habits(0.6, 2 * MINUTE, 0.03, 0.06, 1, 60 * SECOND, 0.03, 0.5),
    "class": _Habits(0.1, 2 * MINUTE, 0.1, 0.2, 3, 4 * MINUTE, 0.04, 0.4),
    "webinar": _Habits(0, 5 * MINUTE, 0.35, 0.07, 2, 5 * MINUTE, 0.01, 0.25),
    "handover": _Habits(0, 2 * MINUTE, 0.1, 0.06, 2, 90 * SECOND, 0.04, 0.15),
}


def connections(rng: Random, conference: Conference) -> Iterator[Connection]:
    """Every connection to a conference, person by person."""
    habits = _HABITS[conference.room.kind]
    # Who is there from the start, by their place: the moderator, or someone who waits for the moderator.
    first = 1 if conference.people > 1 and rng.random() < habits.late_moderator else 0
    for place, (person, role) in enumerate(_people(rng, conference)):
        join, leave = _presence(rng, habits, conference, place, first)
        yield from _connections_of(rng, habits, conference, place, person, role, join, leave)


def _people(rng: Random, conference: Conference) -> Iterator[tuple[Person, str]]:
    """Everyone who comes, with their role: a moderator first, unless they never come."""
    kind, circle, people = conference.room.kind, conference.room.circle, conference.people
    if kind == "consultation":
        doctor, patient = company.colleague(circle), company.patient(int(rng.random() * company.PATIENTS))
        patient_is_alone = people == 1 and rng.random() < 0.6
        if not patient_is_alone:
            yield doctor, "moderator"
        if patient_is_alone or people > 1:
            yield patient, "participant"
        if people > 2:
            yield company.patient(int(rng.random() * company.PATIENTS))._replace(ref=""), "participant"
    elif kind == "class":
        yield company.colleague(circle), "moderator"
        for number in rng.sample(range(company.PUPILS), people - 1):
            yield company.pupil(circle * company.PUPILS + number), "participant"
    elif kind == "webinar":
        for place, number in enumerate(rng.sample(range(company.AUDIENCE), people)):
            if place < 4:
                yield company.colleague(circle + number), "participant" if place else "moderator"
            else:
                yield company.guest(number), "viewer" if number % 3 else "audience"
    else:
        for place, number in enumerate(rng.sample(range(company.CIRCLE), people)):
            person, roll = company.colleague(circle + number), rng.random()
            if place > 0 and roll < 0.09:
                # Some join by a link, and a few of these give no name.
                ref, name = person.ref if roll >= 0.07 else "", person.name if roll < 0.05 else ""
                person = person._replace(ref=ref, name=name)
            yield person, "participant" if place else "moderator"


def _presence(rng: Random, habits: _Habits, conference: Conference, place: int, first: int) -> tuple[int, int]:
    """(join, leave) of the person in that place, within the conference."""
    start, length, end = conference.start, conference.length, conference.start + conference.length
    if place == first:
        join = start
    elif place < first:
        join = start + min(2 * MINUTE + int(rng.expovariate(1 / (4 * MINUTE))), length // 2)
    else:
        join = start + min(int(rng.expovariate(1 / habits.delay)), length // 4)
    if conference.overnight and place % 2 == 0:
        # The shift that ends leaves before midnight.
        return join, join + int(max(0, DAY - join) * (0.6 + 0.39 * rng.random()))
    if place > 0 and rng.random() < habits.leave_early:
        return join, join + int((end - join) * (0.2 + 0.75 * rng.random()))
    return join, max(join, end - int(rng.expovariate(1 / (20 * SECOND))))


def _connections_of(
    rng: Random, habits: _Habits, conference: Conference, place: int, person: Person, role: str, join: int, leave: int
) -> Iterator[Connection]:
    """The connections of one person who is there from `join` to `leave`."""
    on_phone = rng.random() < habits.phones
    agent, ip = _agent(rng, person, on_phone), _ip(rng)
    if conference.room.kind != "webinar" and rng.random() < 0.02:
        agent = company.TELEPHONE
    shaky = person.shaky or rng.random() < 0.01
    drops = 0
    if shaky:
        drops = 1 + int(5 * rng.random())
    elif rng.random() < habits.drop_out:
        drops = 1 + int(habits.most_drops * rng.random())
    roll = rng.random()
    if roll < 0.008 and place > 1:
        leave, drops = min(leave, join + _short(rng)), 0  # the wrong room
    elif roll < 0.045:
        # A first try that fails, at once or after some seconds.
        failed = join if roll < 0.018 else min(leave, join + _short(rng))
        yield Connection(join, failed, person.name, person.ref, role, ip, agent, shaky)
        join = min(failed + _pause(rng, 90 * SECOND), leave)
    for begin, end in _pieces(rng, join, leave, drops, habits.longest_absence):
        yield Connection(begin, end, person.name, person.ref, role, ip, agent, shaky)
    if rng.random() < habits.second_device and leave - join > 2 * MINUTE and (person.ref or person.name):
        begin = join + int((leave - join) * 0.6 * rng.random())
        end = begin + int((leave - begin) * (0.3 + 0.7 * rng.random()))
        # The device joins by another link, and may give another name.
        name = f"{person.name} (phone)" if person.ref and person.name and rng.random() < 0.4 else person.name
        role = "participant" if role == "moderator" and rng.random() < 0.5 else role
        yield Connection(begin, end, name, person.ref, role, _ip(rng), _agent(rng, person, not on_phone), shaky)


def _pieces(rng: Random, join: int, leave: int, drops: int, longest_absence: int) -> Iterator[tuple[int, int]]:
    """(join, leave) of each connection of someone who drops out so many times."""
    for left in range(drops, 0, -1):
        dropped = join + int((leave - join) * (0.2 + 1.4 * rng.random()) / (left + 1))
        yield join, dropped
        roll = rng.random()
        if roll < 0.1:
            # The new connection begins before EnableX notices that the old one is dead.
            join = max(join, dropped - int(15 * SECOND * rng.random()))
        elif roll > 0.15:
            join = dropped + _pause(rng, longest_absence)
        else:
            join = dropped
        if join >= leave:
            return
    yield join, leave


def _short(rng: Random) -> int:
    """A length under 10 seconds."""
    return 500 + int(9_400 * rng.random())


def _pause(rng: Random, longest: int) -> int:
    return 4 * SECOND + int((longest - 4 * SECOND) * rng.random())


def _agent(rng: Random, person: Person, on_phone: bool) -> str:
    """The person's own browser or app, mostly. A few say nothing of theirs."""
    agents = company.PHONES if on_phone else company.COMPUTERS
    roll = rng.random()
    if roll < 0.01:
        return ""
    taste = rng.random() if roll < 0.1 else person.number * 0.618 % 1
    # The first ones are the most common.
    return agents[int(len(agents) * taste**1.6)]


def _ip(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.08:
        return f"2001:db8:{1 + int(65_000 * rng.random()):x}::{1 + int(65_000 * rng.random()):x}"
    return f"{_NETWORKS[int(roll * 300) % 3]}{1 + int(254 * rng.random())}"
