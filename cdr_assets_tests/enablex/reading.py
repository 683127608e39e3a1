"""Makes answers of records, and reads answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date

from cdr_assets.enablex.answers import read_records
from cdr_assets.enablex.records import Quarantined

DAY = date(2026, 11, 1)


def record(cdr_id: object = "a", trans_date: object = "2026-11-01T10:00:00.000Z", **more: object) -> bytes:
    return json.dumps({"trans_date": trans_date, **more, "cdr_id": cdr_id}).encode()


def body(*elements: bytes, result: str = '"0"') -> bytes:
    return b'{"result": %b, "cdr": [%b]}' % (result.encode(), b",".join(elements))


def read(answer: bytes | Iterable[bytes]) -> tuple[dict[date, list[bytes]], list[Quarantined]]:
    """All of an answer: lines by day, in order, and the quarantined records."""
    days: dict[date, list[bytes]] = {}
    quarantined: list[Quarantined] = []
    for batch in read_records([answer] if isinstance(answer, bytes) else answer):
        assert batch.days or batch.quarantined
        for day, lines in batch.days.items():
            split = lines.text.split(b"\n")
            assert split.pop() == b""
            assert lines.count == len(split)
            days.setdefault(day, []).extend(split)
        quarantined.extend(batch.quarantined)
    return days, quarantined


def one(element: bytes) -> Quarantined:
    """The middle one of three records, when it is quarantined and the others are valid."""
    days, quarantined = read(body(record("before"), element, record("after")))
    assert days == {DAY: [record("before"), record("after")]}
    assert [bad.record for bad in quarantined] == [element]
    return quarantined[0]
