"""What the usage tables must hold, computed from typed records in plain Python, slowly and in another way than the SQL.

A record is a row of `call_detail_records` as a dict. One function per table returns its rows as dicts. Lengths of time
are exact until they are rounded, once: timedeltas of whole microseconds, then Fractions of seconds.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any, TypeVar

from cdr_assets.warehouse.clients import client

Row = dict[str, Any]
Person = tuple[str, str]
"""What the person is known by, and the text."""
Stay = tuple[Person, datetime, datetime]
"""A person's connection, from entry to leave. It has a length, and its end does not belong to it."""
Slice = tuple[timedelta, frozenset[Person]]
"""A length of time, and everyone who is there all the time."""

Key = TypeVar("Key")

DAY = timedelta(days=1)
LONGEST_GAP = timedelta(days=7)
PRESENCE = ("presence_minutes", "rejoins", "longest_absence_s", "alone_minutes", "with_moderator_minutes", "share")


# The tables


def room_usage(records: Iterable[Row]) -> list[Row]:
    rooms = grouped(records, lambda each: (each["usage_date"], text(each["app_id"]), text(each["room_id"])))
    return [
        {
            "usage_date": day,
            "app_id": app_id,
            "room_id": room_id,
            "conferences": distinct(own, "conf_num"),
            "participants": count_people(own),
            **sums(own),
            **media(own),
            **span(own),
            "peak_participants": peak(stays(own))[0],
        }
        for (day, app_id, room_id), own in rooms.items()
    ]


def conference_usage(records: Iterable[Row]) -> list[Row]:
    return [
        {
            **conference.key,
            "room_id": least(conference.records, "room_id"),
            "conf_name": least(conference.records, "conf_name"),
            "participants": count_people(conference.records),
            **sums(conference.records),
            **media(conference.records),
            **span(conference.records),
            "peak_participants": peak(stays(conference.records))[0],
            **time_of_conference(conference),
        }
        for conference in conferences(records)
    ]


def attendance(records: Iterable[Row]) -> list[Row]:
    """All columns but `client`."""
    rows = []
    for conference in conferences(records):
        slices = cut(stays(conference.records))
        moderators = moderators_of(conference.records)
        for who, own in grouped(conference.records, person).items():
            known_by, name = who
            rows.append(
                {
                    **conference.key,
                    "room_id": least(own, "room_id"),
                    "participant": name,
                    "participant_known_by": known_by,
                    "user_name": least(own, "user_name"),
                    "user_role": "moderator" if who in moderators else least(own, "user_role"),
                    **sums(own),
                    **span(own),
                    **(presence(who, slices, moderators) if conference.conf_num else dict.fromkeys(PRESENCE)),
                }
            )
    return rows


def daily_usage(records: Iterable[Row]) -> list[Row]:
    """All columns but `provisional`."""
    records = list(records)
    own = grouped(records, lambda each: (each["usage_date"], text(each["app_id"])))
    overlapping = stays_by_day(records)
    return [
        {
            "usage_date": day,
            "app_id": app_id,
            **records_of_day(own.get((day, app_id), [])),
            **time_of_day(overlapping.get((day, app_id), {})),
        }
        for day, app_id in {*own, *overlapping}
    ]


def owner_usage(records: Iterable[Row], rooms: Sequence[Row]) -> list[Row]:
    """`rooms` are the rows of the CSV, with dates; None or an empty text where a cell is empty."""
    owners = grouped(records, lambda each: (each["usage_date"], text(each["app_id"]), *owner(each, rooms)))
    return [
        {
            "usage_date": day,
            "app_id": app_id,
            "owner_ref": owner_ref,
            "billing_code": billing_code,
            "owner_is_in_rooms": owner_ref is not None
            and any(room["owner_ref"] == owner_ref and is_valid_on(room, day) for room in rooms),
            "billing_code_is_in_rooms": billing_code is not None
            and any(room["billing_code"] == billing_code and is_valid_on(room, day) for room in rooms),
            "conferences": distinct(own, "conf_num"),
            "rooms": distinct(own, "room_id"),
            "participants": count_people(own),
            **sums(own),
            **media(own),
        }
        for (day, app_id, owner_ref, billing_code), own in owners.items()
    ]


def connection_quality(records: Iterable[Row]) -> list[Row]:
    """One row for each object that is at its place in `stats_quality`, even an empty one."""
    return [
        {
            "usage_date": record["usage_date"],
            "app_id": text(record["app_id"]),
            "cdr_id": record["cdr_id"],
            "client": client_of(record),
            "direction": direction,
            "media": medium,
            **{name: first(quality, number, name) for name in ("avg_bitrate", "min_bitrate", "max_bitrate")},
            "avg_quality": first(quality, good_or_bad, "avg_quality", "avg_bitrate_quality"),
            "good_percent": first(quality, number, "good_percent", "bitrate_good_percent"),
        }
        for record in records
        for direction in ("send", "receive")
        for medium in ("video", "audio", "sharing")
        if isinstance(quality := inside(record["stats_quality"], direction, medium), dict)
    ]


def client_usage(records: Iterable[Row]) -> list[Row]:
    """The names of the clients are the project's own."""
    clients = grouped(records, lambda each: (each["usage_date"], text(each["app_id"]), client_of(each)))
    return [
        {
            "usage_date": day,
            "app_id": app_id,
            "client": name,
            "connections": len(own),
            "short_connections": sum(
                each["room_duration_s"] is not None and each["room_duration_s"] < 10 for each in own
            ),
            "participant_minutes": sums(own)["participant_minutes"],
            **ratings(own),
        }
        for (day, app_id, name), own in clients.items()
    ]


def ratings(records: Iterable[Row]) -> Row:
    found = [(row["direction"], row["media"], row["avg_quality"]) for row in connection_quality(records)]
    counts = Row()
    for direction, word in (("send", "sent"), ("receive", "received")):
        for medium in ("video", "audio", "sharing"):
            good, bad = (found.count((direction, medium, quality)) for quality in ("Good", "Bad"))
            counts |= {f"{word}_{medium}_rated": good + bad, f"{word}_{medium}_good": good}
    return counts


def client_of(record: Row) -> str | None:
    return client(record.get("user_agent") or "")


# Conferences and people


@dataclass(frozen=True)
class Conference:
    """The records of one conference over all its days; without a number, those of one app and day."""

    app_id: str | None
    conf_num: str | None
    records: list[Row]

    @property
    def key(self) -> Row:
        days = [record["usage_date"] for record in self.records]
        return {
            "usage_date": min(days),
            "last_usage_date": max(days),
            "app_id": self.app_id,
            "conf_num": self.conf_num,
        }


def conferences(records: Iterable[Row]) -> Iterator[Conference]:
    numbers = grouped(records, lambda each: (text(each["app_id"]), text(each["conf_num"])))
    for (app_id, conf_num), of_number in numbers.items():
        longest_gap = LONGEST_GAP if conf_num else timedelta(0)
        conference: list[Row] = []
        for record in sorted(of_number, key=lambda each: each["usage_date"]):
            if conference and record["usage_date"] - conference[-1]["usage_date"] > longest_gap:
                yield Conference(app_id, conf_num, conference)
                conference = []
            conference.append(record)
        yield Conference(app_id, conf_num, conference)


def person(record: Row) -> Person:
    known_by = next(column for column in ("user_ref", "user_name", "cdr_id") if record[column])
    return known_by, record[known_by]


def count_people(records: Iterable[Row]) -> int:
    """The people of one conference, room or owner."""
    return len({person(each) for each in records})


def count_people_of_day(records: Iterable[Row]) -> int:
    """The people of a day. A name means somebody only within one conference."""
    return len(
        {(*person(each), text(each["conf_num"]) if person(each)[0] == "user_name" else None) for each in records}
    )


def moderators_of(records: Iterable[Row]) -> set[Person]:
    return {person(each) for each in records if (each["user_role"] or "").lower() == "moderator"}


# Time


def stays(records: Iterable[Row]) -> list[Stay]:
    return [(person(each), each["room_connect_dt"], each["room_disconnect_dt"]) for each in records if has_length(each)]


def has_length(record: Row) -> bool:
    connect, disconnect = record["room_connect_dt"], record["room_disconnect_dt"]
    return connect is not None and disconnect is not None and connect < disconnect


def cut(stays: Sequence[Stay]) -> list[Slice]:
    """The time from the first entry to the last leave, cut wherever somebody enters or leaves."""
    instants = sorted({instant for _, connect, disconnect in stays for instant in (connect, disconnect)})
    return [
        (
            end - begin,
            frozenset(who for who, connect, disconnect in stays if connect <= begin and end <= disconnect),
        )
        for begin, end in pairwise(instants)
    ]


def total(slices: Sequence[Slice], counts: Callable[[frozenset[Person]], bool]) -> Fraction:
    """The seconds of the slices that count, by who is there."""
    return seconds(sum((length for length, there in slices if counts(there)), timedelta(0)))


def alone(slices: Sequence[Slice]) -> Fraction:
    return total(slices, lambda there: len(there) == 1)


def absences(who: Person, slices: Sequence[Slice]) -> list[Fraction]:
    """The seconds of each absence that the person came back from."""
    found, away, was_there = [], timedelta(0), False
    for length, there in slices:
        if who not in there:
            away += length
            continue
        if was_there and away:
            found.append(seconds(away))
        away, was_there = timedelta(0), True
    return found


def rejoins(slices: Sequence[Slice]) -> int:
    people = {who for _, there in slices for who in there}
    return sum(len(absences(who, slices)) for who in people)


def presence(who: Person, slices: Sequence[Slice], moderators: set[Person]) -> Row:
    """The columns of a person's time in a conference."""
    whole, own = total(slices, bool), total(slices, lambda there: who in there)
    away = absences(who, slices)
    return {
        "presence_minutes": minutes(own),
        "rejoins": len(away),
        "longest_absence_s": thousandths(max(away, default=Fraction(0))),
        "alone_minutes": minutes(total(slices, lambda there: there == {who})),
        "with_moderator_minutes": minutes(
            total(slices, lambda there: who in there and bool((there - {who}) & moderators))
        ),
        "share": thousandths(own / whole) if whole else None,
    }


def time_of_conference(conference: Conference) -> Row:
    slices, moderators = cut(stays(conference.records)), moderators_of(conference.records)
    columns = {
        "conference_minutes": minutes(total(slices, bool)),
        "alone_minutes": minutes(alone(slices)),
        "met_minutes": minutes(total(slices, lambda there: len(there) >= 2)),
        "moderated_minutes": minutes(total(slices, lambda there: len(there) >= 2 and bool(there & moderators))),
        "rejoins": rejoins(slices),
    }
    return columns if conference.conf_num else dict.fromkeys(columns)


def peak(stays: Sequence[Stay]) -> tuple[int, datetime | None]:
    """The most connections at once, and the first moment of it."""
    open_at = {entry: sum(connect <= entry < disconnect for _, connect, disconnect in stays) for _, entry, _ in stays}
    most = max(open_at.values(), default=0)
    return most, min((moment for moment, count in open_at.items() if count == most), default=None)


# A day


def stays_by_day(records: Iterable[Row]) -> dict[tuple[date, str | None], dict[int | None, list[Stay]]]:
    """For each day and app, what lies within the day of every connection: by conference, None for those of none."""
    found: dict[tuple[date, str | None], dict[int | None, list[Stay]]] = defaultdict(lambda: defaultdict(list))
    for place, conference in enumerate(conferences(records)):
        for who, connect, disconnect in stays(conference.records):
            midnight = datetime.combine(connect.date(), time())
            while midnight < disconnect:
                of_day = found[midnight.date(), conference.app_id]
                within_day = (who, max(connect, midnight), min(disconnect, midnight + DAY))
                of_day[place if conference.conf_num else None].append(within_day)
                midnight += DAY
    return found


def time_of_day(by_conference: Mapping[int | None, list[Stay]]) -> Row:
    most, moment = peak([stay for of_conference in by_conference.values() for stay in of_conference])
    slices = [cut(of_conference) for place, of_conference in by_conference.items() if place is not None]
    return {
        "peak_connections": most,
        "peak_at": moment,
        "alone_minutes": minutes(sum(map(alone, slices), Fraction(0))),
        "rejoins": sum(map(rejoins, slices)),
    }


def records_of_day(own: Sequence[Row]) -> Row:
    lateness = [
        max(seconds(each["first_landed_at"] - each["room_disconnect_dt"]), Fraction(0))
        for each in own
        if each["room_disconnect_dt"] is not None
    ]
    return {
        "conferences": distinct(own, "conf_num"),
        "rooms": distinct(own, "room_id"),
        "participants": count_people_of_day(own),
        **sums(own),
        **media(own),
        "short_connections": sum(each["room_duration_s"] is not None and each["room_duration_s"] < 10 for each in own),
        "median_lateness_s": quantile(lateness, Fraction(1, 2)),
        "p95_lateness_s": quantile(lateness, Fraction(95, 100)),
    }


def quantile(lengths: Sequence[Fraction], share: Fraction) -> Decimal | None:
    """The least of the lengths that at least this share of them does not exceed."""
    return thousandths(sorted(lengths)[ceil(share * len(lengths)) - 1]) if lengths else None


# Owners and quality


def owner(record: Row, rooms: Sequence[Row]) -> tuple[str | None, str | None]:
    """`owner_ref` and `billing_code`, each of the record itself, else of its room in the CSV."""
    listed: Row = next((room for room in rooms if is_valid_for(room, record)), {})
    details = record["room_details"]
    return (
        scalar(inside(details, "owner_ref")) or text(listed.get("owner_ref")),
        scalar(inside(details, "settings", "billing_code")) or text(listed.get("billing_code")),
    )


def is_valid_for(room: Row, record: Row) -> bool:
    return bool(room["room_id"] == record["room_id"] and is_valid_on(room, record["usage_date"]))


def is_valid_on(room: Row, day: date) -> bool:
    return bool((room["valid_from"] or date.min) <= day <= (room["valid_to"] or date.max))


def inside(json_text: str | None, *path: str) -> Any:
    """The value at a path of keys; None if there is no such place, or no object on the way."""
    value = json.loads(json_text or "null", parse_float=Decimal)
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def scalar(value: Any) -> str | None:
    """A text or a number as text. None for an empty text and for anything else."""
    is_scalar = isinstance(value, (str, int, Decimal)) and not isinstance(value, bool)
    return text(str(value)) if is_scalar else None


def first(quality: Row, read: Callable[[Any], Any], *spellings: str) -> Any:
    """What is read under the first spelling that gives anything."""
    return next((found for name in spellings if (found := read(quality.get(name))) is not None), None)


def number(value: Any) -> Decimal | None:
    """A number, or a text of one, with 3 places."""
    written = scalar(value)
    is_number = written and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]+)?", written)
    return thousandths(Fraction(written)) if written and is_number else None


def good_or_bad(value: Any) -> str | None:
    return value if value in ("Good", "Bad") else None


# Sums


def sums(records: Sequence[Row]) -> Row:
    lengths = [Fraction(each["room_duration_s"]) for each in records if each["room_duration_s"] is not None]
    return {
        "connections": len(records),
        "participant_minutes": minutes(sum(lengths, Fraction(0))),
        "billable_minutes": sum(ceil(length / 60) for length in lengths),
    }


def media(records: Iterable[Row]) -> Row:
    records = list(records)
    return {
        name: thousandths(sum((Fraction(each[name]) for each in records if each[name] is not None), Fraction(0)))
        for name in ("subscribed_minutes", "published_minutes")
    }


def span(records: Sequence[Row]) -> Row:
    connects = [each["room_connect_dt"] for each in records if each["room_connect_dt"] is not None]
    disconnects = [each["room_disconnect_dt"] for each in records if each["room_disconnect_dt"] is not None]
    return {"first_connect_dt": min(connects, default=None), "last_disconnect_dt": max(disconnects, default=None)}


def distinct(records: Iterable[Row], column: str) -> int:
    return len({each[column] for each in records} - {None, ""})


def least(records: Iterable[Row], column: str) -> str | None:
    """The least text by its bytes; None if all are empty."""
    return min((each[column] for each in records if each[column]), key=str.encode, default=None)


def grouped(records: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups


def text(value: str | None) -> str | None:
    return value or None


def seconds(length: timedelta) -> Fraction:
    return Fraction(length // timedelta(microseconds=1), 1_000_000)


def minutes(length: Fraction) -> Decimal:
    return thousandths(length / 60)


def thousandths(value: Fraction) -> Decimal:
    """Rounded half up to 3 places."""
    return Decimal(floor(value * 1000 + Fraction(1, 2))).scaleb(-3)
