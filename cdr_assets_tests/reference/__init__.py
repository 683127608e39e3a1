"""What the tables must hold, computed from the records in plain Python, slowly and in another way than the SQL.

This module has what the tests ask of records as EnableX sends them, `tables` each usage table, and `hostile` records to
compute them from.
"""

from __future__ import annotations

import json
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
    given = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return given.astimezone(timezone.utc).replace(tzinfo=None) if given.tzinfo else given


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


def typed(record: Record) -> Row:
    """The record as a row of `call_detail_records`, with the columns that `tables` reads and that do not say when."""
    room, user, media = part(record, "room"), part(record, "user"), part(record, "usage")
    texts = {
        "cdr_id": record["cdr_id"],
        "app_id": record.get("app_id"),
        "conf_num": record.get("conf_num"),
        "conf_name": user.get("confName"),
        "room_id": room.get("room_id"),
        "user_ref": user.get("ref"),
        "user_name": user.get("name"),
        "user_role": user.get("role"),
    }
    objects = {"room_details": room.get("room_details"), "stats_quality": record.get("stats_quality")}
    return {
        "usage_date": utc_day(record),
        **{name: None if value is None else str(value) for name, value in texts.items()},
        **{name: None if value is None else json.dumps(value) for name, value in objects.items()},
        "room_connect_dt": moment(room.get("connect_dt")),
        "room_disconnect_dt": moment(room.get("disconnect_dt")),
        "room_duration_s": seconds(record),
        **{
            name: within(number(media.get(name)), LONGEST_MINUTES)
            for name in ("subscribed_minutes", "published_minutes")
        },
    }


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
