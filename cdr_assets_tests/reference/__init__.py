"""What the tables must hold, computed from the records in plain Python, slowly and in another way than the SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Any

Record = dict[str, Any]
Row = dict[str, Any]

THOUSANDTH = Decimal("0.001")
LONGEST_SECONDS, LONGEST_MINUTES = 31 * 86_400, 31 * 1_440


def utc_day(record: Record) -> date:
    day = moment(record["trans_date"])
    assert day is not None
    return day.date()


def moment(text: str | None) -> datetime | None:
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc).replace(tzinfo=None)


def number(value: Any) -> Decimal | None:
    return None if value in (None, "") else Decimal(str(value)).quantize(THOUSANDTH, ROUND_HALF_UP)


def within(length: Decimal | None, longest: int) -> Decimal | None:
    """A length of time; None if it is negative or longer than 31 days."""
    return length if length is not None and 0 <= length <= longest else None


def part(record: Record, name: str) -> Record:
    return record.get(name) or {}


def seconds(record: Record) -> Decimal | None:
    room = part(record, "room")
    if (duration := number(room.get("duration"))) is not None:
        return within(duration, LONGEST_SECONDS)
    connect, disconnect = moment(room.get("connect_dt")), moment(room.get("disconnect_dt"))
    if connect is None or disconnect is None:
        return None
    length = Decimal((disconnect - connect).total_seconds()).quantize(THOUSANDTH, ROUND_HALF_UP)
    return within(length, LONGEST_SECONDS)


def usage(records: list[Record]) -> Row:
    """The columns that rooms and conferences have in common."""
    lengths = [length for record in records if (length := seconds(record)) is not None]
    stays = [
        (moment(part(record, "room").get("connect_dt")), moment(part(record, "room").get("disconnect_dt")))
        for record in records
    ]
    connects = [connect for connect, _ in stays if connect]
    disconnects = [disconnect for _, disconnect in stays if disconnect]
    open_stays = [(connect, disconnect) for connect, disconnect in stays if connect and disconnect]
    users = [part(record, "user") for record in records]
    return {
        "connections": len(records),
        "participants": len(
            {
                user.get("ref") or user.get("name") or record["cdr_id"]
                for user, record in zip(users, records, strict=True)
            }
        ),
        "participant_minutes": (sum(lengths, Decimal(0)) / 60).quantize(THOUSANDTH, ROUND_HALF_UP),
        "billable_minutes": sum(ceil(length / 60) for length in lengths),
        "subscribed_minutes": total(records, "subscribed_minutes"),
        "published_minutes": total(records, "published_minutes"),
        "peak_participants": max(
            (sum(c <= instant < d for c, d in open_stays) for instant in connects),
            default=0,
        ),
        "first_connect_dt": min(connects, default=None),
        "last_disconnect_dt": max(disconnects, default=None),
    }


def total(records: list[Record], name: str) -> Decimal:
    minutes = (within(number(part(record, "usage").get(name)), LONGEST_MINUTES) for record in records)
    return sum((value for value in minutes if value is not None), Decimal(0)).quantize(THOUSANDTH)


def room_usage(records: Iterable[Record]) -> list[Row]:
    rooms = defaultdict(list)
    for record in records:
        rooms[utc_day(record), record.get("app_id") or None, part(record, "room").get("room_id") or None].append(record)
    return [
        {
            "usage_date": day,
            "app_id": app_id,
            "room_id": room_id,
            "conferences": len({record["conf_num"] for record in group if record.get("conf_num")}),
            **usage(group),
        }
        for (day, app_id, room_id), group in rooms.items()
    ]


def conference_usage(records: Iterable[Record]) -> list[Row]:
    conferences = defaultdict(list)
    for record in records:
        # Records without a conference number are gathered day by day.
        conf_num = record.get("conf_num") or None
        conferences[record.get("app_id") or None, conf_num, None if conf_num else utc_day(record)].append(record)
    return [
        {"app_id": app_id, **row}
        for (app_id, conf_num, _), group in conferences.items()
        for row in sessions(conf_num, sorted(group, key=utc_day))
    ]


def sessions(conf_num: str | None, records: list[Record]) -> Iterable[Row]:
    """One row per conference: records of one number more than 7 days apart are two."""
    session: list[Record] = []
    for record in records:
        if session and (utc_day(record) - utc_day(session[-1])).days > 7:
            yield conference(conf_num, session)
            session = []
        session.append(record)
    yield conference(conf_num, session)


def conference(conf_num: str | None, records: list[Record]) -> Row:
    rooms = [part(record, "room").get("room_id") for record in records]
    names = [part(record, "user").get("confName") for record in records]
    return {
        "usage_date": utc_day(records[0]),
        "last_usage_date": utc_day(records[-1]),
        "conf_num": conf_num,
        "room_id": min((room for room in rooms if room), default=None),
        "conf_name": min((name for name in names if name), default=None),
        **usage(records),
    }
