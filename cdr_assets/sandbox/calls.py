"""The calls of an invented company, as EnableX would describe them. The same seed and day always give the same calls.

Each day starts as a plan (`plan`): its conferences, each with a room of the company (`company`), a start, a length and
a number of people. A plan is cheap, so a search over years plans every day, and makes records only for the conferences
that match: `stories` says who came and when, `records` writes it down. All functions are pure, and every random number
comes from a generator that is seeded with text. So the records depend neither on the order of the requests nor on the
process that answers them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from random import Random

from cdr_assets.sandbox.company import Room, rooms
from cdr_assets.sandbox.plan import Conference, begun_at, conferences_of_day, find_conference, midnight
from cdr_assets.sandbox.records import Record, Writer, encode, stamp
from cdr_assets.sandbox.settings import Errors, Settings, Shape
from cdr_assets.sandbox.stories import connections

__all__ = [
    "Conference",
    "Errors",
    "Record",
    "Room",
    "Settings",
    "Shape",
    "begun_at",
    "conferences_of_day",
    "encode",
    "find_conference",
    "records_between",
    "records_of_conference",
    "records_of_day",
    "rooms",
    "stamp",
]


def records_of_conference(settings: Settings, conference: Conference) -> list[Record]:
    """The records of a conference, one per connection, person by person. Both shapes describe the same connections."""
    rng = Random(f"{settings.seed}/{conference.day}/{conference.place}")
    writer = Writer(settings, conference, rng)
    return [writer.record(connection) for connection in connections(rng, conference)]


def records_between(settings: Settings, begin: datetime, end: datetime, room_id: str | None = None) -> Iterator[Record]:
    """Every record with `begin <= trans_date < end` (aware moments), of one room or all rooms, by conference.

    Only one day's plan is in memory at a time, so a longer period takes more time but no more memory.
    """
    begin, end = begin.astimezone(timezone.utc), end.astimezone(timezone.utc)
    lower, upper = stamp(begin), stamp(end)
    day = max(begin.date() - timedelta(days=1), settings.start)
    while midnight(day) < end:
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
    return list(records_between(settings, midnight(day), midnight(day) + timedelta(days=1)))
