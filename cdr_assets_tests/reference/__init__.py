"""What the tables must hold, computed from the records in plain Python, slowly and in another way than the SQL.

This module has what the tests ask of records as EnableX sends them, `tables` each usage table, and `hostile` records to
compute them from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from cdr_assets_tests.reference import tables

Record = dict[str, Any]
Row = dict[str, Any]

THOUSANDTH = Decimal("0.001")
HALF_A_YEAR = timedelta(days=183)
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


def near(record: Record, text: str | None) -> datetime | None:
    """A time of the record; None if its clock was wrong: more than half a year from the record's date."""
    when, dated = moment(text), moment(record["trans_date"])
    return when if when and dated and abs(when - dated) <= HALF_A_YEAR else None


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
    connect, disconnect = (near(record, room.get(name)) for name in ("connect_dt", "disconnect_dt"))
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
        "room_connect_dt": near(record, room.get("connect_dt")),
        "room_disconnect_dt": near(record, room.get("disconnect_dt")),
        "room_duration_s": seconds(record),
        **{
            name: within(number(media.get(name)), LONGEST_MINUTES)
            for name in ("subscribed_minutes", "published_minutes")
        },
    }


def room_usage(records: Iterable[Record]) -> list[Row]:
    return tables.room_usage(map(typed, records))


def conference_usage(records: Iterable[Record]) -> list[Row]:
    return tables.conference_usage(map(typed, records))
