"""Whatever the records of an answer are: each is a row or is quarantined, lost fields are named, and sums are right."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.database import Connection, run
from cdr_assets.enablex.answers import read_records
from cdr_assets.landing.ingest import IngestResult, ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES, TABLES
from cdr_assets_tests.expected import in_order
from cdr_assets_tests.places import examples, places
from cdr_assets_tests.reference import Record, Row, tables
from cdr_assets_tests.soak.truth import read_lines

DAY = date(2026, 11, 2)
LONGEST_S, LONGEST_MIN = Decimal(31 * 86_400), Decimal(31 * 1_440)

# Where the table finds each field that can be lost.
SECONDS = {"sigserver_duration_s": ("sigserver", "duration"), "hold_duration_s": ("sigserver", "hold_duration")}
MINUTES = {
    name: ("usage", name)
    for name in (
        "subscribed_minutes", "published_minutes", "screen_minutes", "connect_minutes", "connect_minutes_cal",
        "room_connect_minutes",
    )
}  # fmt: skip
OTHERS = {
    "trans_date": ("trans_date",),
    "room_connect_dt": ("room", "connect_dt"),
    "room_disconnect_dt": ("room", "disconnect_dt"),
    "sigserver_connect_dt": ("sigserver", "connect_dt"),
    "sigserver_disconnect_dt": ("sigserver", "disconnect_dt"),
    **{f"published_{name}": ("published_track", name) for name in ("audio", "data", "video", "screen", "url")},
}
FIELDS = {**SECONDS, **MINUTES, **OTHERS}
PARTS = ("room", "user", "sigserver", "published_track", "usage")

# Values as they stand in the JSON


def written(value: object) -> str:
    return json.dumps(value)


texts = st.text(max_size=12).map(written) | st.sampled_from(
    [r'"\u0000"', r'"a\u0000b"', r'"\ud800"', r'"\ud83d\ude00"', '"\t"', '"\u2028"', '""', '"null"']
)
integers = st.integers() | st.integers(-(10**40), 10**40) | st.sampled_from([0, 59, 60, 2_678_400, 2_678_401, 44_641])
reals = st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-100, 3_000_000, places=4).map(float)
numbers = (integers | reals).map(written) | st.sampled_from(
    ["-0", "-0.0", "1e3", "1E-3", "1e999", "-1e999", "0.0005", "-0.0004", "60.0005", "9" * 400, "NaN", "Infinity", "01"]
)
number_texts = numbers.map(written) | st.sampled_from(['" 12 "', '"1_000"', '"0x1F"', '"inf"', '"nan"', '"1,5"', '"٣"'])
times = st.datetimes().map(lambda time: written(time.isoformat() + "Z")) | st.sampled_from(
    [
        f'"{DAY}T{rest}"'
        for rest in ("00:00:00Z", "23:59:59.9999999Z", "10:00:00", "10:00:00.123456789123Z", "10:00:60Z", "24:00:00Z")
    ]
    + ['"2026-11-02T01:00:00+05:30"', '"2026-11-02T23:00:00-23:59"', '"9999-12-31T23:59:59Z"', '"0001-01-01T00:00:00Z"']
    + ['"290000-01-01T00:00:00Z"', '"infinity"', '"2026-11-02t10:00:00z"', '"2026-11-02 10:00:00Z"', '"now"']
)
scalars = st.sampled_from(["null", "true", "false"]) | texts | numbers | number_texts | times
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", "duration", "cdr_id", "trans_date"]), inner, max_size=3).map(
            lambda members: text_of([*members.items()])
        )
    ),
    max_leaves=6,
)
too_deep = st.sampled_from(["[" * depth + "]" * depth for depth in (98, 99, 100, 101)])
values = st.sampled_from(range(9)).flatmap(lambda number: nested if number else too_deep)

Members = list[tuple[str, str]]
"""The members of an object: each key, and its value as it stands in the JSON. Keys may repeat."""


def text_of(members: Members) -> str:
    return "{" + ",".join(f'"{key}":{value}' for key, value in members) + "}"


USUAL = {
    "app_id": ['"a"', '"b"', '""', "null"],
    "conf_num": ['"X"', '"Y"', '""', "null", "7"],
    "sip": ["true", "false", '"true"', '""'],
    "stats_quality": [
        "{}",
        '{"video":{"sent":[1,2]}}',
        '"good"',
        '{"send":{"video":{"avg_bitrate":300.5,"min_bitrate":"12","avg_quality":"Good","good_percent":97.25}}}',
        '{"receive":{"audio":{"avg_bitrate_quality":"Bad","bitrate_good_percent":"3"},"sharing":{},"video":[]}}',
    ],
}
LENGTHS = ["0", "0.0004", "59.9995", "60", '"60.5"', "3600.25", '""', "null", "-60", "2678400.0004", "2678400.0005"]
USUAL_IN = {
    "room": {
        "room_id": ['"r"', '"s"', '""', "5"],
        "duration": LENGTHS,
        "room_details": ['{"owner_ref":"o","settings":{"billing_code":"b"}}', '{"owner_ref":7}', "{}", '"o"', "null"],
    },
    "user": {
        **{key: ['"u"', '"v"', '""', "null"] for key in ("ref", "name", "confName")},
        "role": ['"moderator"', '"participant"', '""', "null"],
        "agent": ['"okhttp/4.12.0"', '"?"', '""', "null"],
    },
    "sigserver": {"duration": LENGTHS, "hold_duration": LENGTHS},
    "published_track": {key: ["true", "false", '"true"', '""'] for key in ("audio", "video", "screen")},
    "usage": {key: ["0", "1.5", '"0.333"', "7", "-5", "44640", "44640.001", "999999999999999"] for key in MINUTES},
}


def usual_record(chance: Random, number: int) -> dict[str, Members | str]:
    """A record with values that EnableX might give, some of them out of range. Nested objects are lists of members."""

    def moment() -> str:
        return f'"{DAY}T10:{chance.randrange(60):02d}:00.{chance.randrange(3):03d}Z"'

    parts: dict[str, Members | str] = {
        part: [(key, chance.choice(values)) for key, values in usual.items()] for part, usual in USUAL_IN.items()
    }
    for part in ("room", "sigserver"):
        parts[part] = [*parts[part], ("connect_dt", moment()), ("disconnect_dt", moment())]
    usual = {key: chance.choice(values) for key, values in USUAL.items()}
    return {"cdr_id": f'"cdr-{number}"', "trans_date": moment(), **usual, **parts}


ODD_KEYS = [
    r"\u0000",
    r"cdr\u005fid",
    r"tr\u0061ns_date",
    r"\ud800",
    "CDR_ID",
    "cdr_id",
    "trans_date",
    "room",
    "more",
    "",
]


def mutate(draw: st.DrawFn, members: Members) -> None:
    """Changes a value, repeats a key, drops a member or adds an odd one."""
    at = draw(st.integers(0, len(members)))
    change = draw(st.sampled_from(["value", "repeat", "drop"])) if at < len(members) else "add"
    if change == "value":
        members[at] = (members[at][0], draw(values))
    elif change == "repeat":
        members.insert(draw(st.integers(0, len(members))), (members[at][0], draw(values)))
    elif change == "drop":
        del members[at]
    else:
        members.append((draw(st.sampled_from(ODD_KEYS)), draw(values)))


@st.composite
def answers(draw: st.DrawFn) -> list[str]:
    """The elements of an answer: records, some of which come in two versions, and a few values that are no records."""
    chance = Random(draw(st.integers(0, 2**32)))
    elements = []
    for number in range(draw(st.integers(1, 20))):
        parts = usual_record(chance, chance.choice([number, number, number, number // 2]))
        if draw(st.booleans()):
            part = draw(st.sampled_from(PARTS))
            inner = parts[part]
            assert isinstance(inner, list)
            mutate(draw, inner)
        members = [(key, value if isinstance(value, str) else text_of(value)) for key, value in parts.items()]
        if draw(st.booleans()):
            mutate(draw, members)
        chance.shuffle(members)
        elements.append(text_of(members))
    return [*elements, *draw(st.lists(values, max_size=1))]


# What must come of them


def landed_lines(zone: LandingZone, day: date) -> list[str]:
    """The landed records of the day, in the order of their versions."""
    return [line.decode() for file in zone.files(day) for line in read_lines(file.path)]


def first_of_each(pairs: Sequence[tuple[str, Any]]) -> Record:
    """An object of JSON, as DuckDB reads it: of two members with one key the first counts."""
    return dict(reversed(pairs))


def parsed(line: str) -> Record:
    parsed: Record = json.loads(line, object_pairs_hook=first_of_each)
    return parsed


def given_value(record: Record, path: Sequence[str]) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def in_thousandths(value: Any) -> Decimal | None:
    """A number of JSON as the table rounds it; None for another value. Of texts only the plainest numbers are read."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", value, flags=re.ASCII):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, float) and abs(value) > 1e12:
        return None
    exact = Decimal(repr(value) if isinstance(value, float) else value)
    return exact.quantize(Decimal("0.001"), ROUND_HALF_UP) if abs(exact) < 10**15 else None


def is_read_by_rule(value: Any) -> bool:
    """Whether the reference knows what the table makes of the value."""
    return not isinstance(value, str) or in_thousandths(value) is not None


def assert_typed(row: Row, record: Record) -> None:
    """Each field of the row is the record's, or it is NULL and named as lost."""
    lost = set((row["lost_fields"] or "").split(", ")) - {""}
    for name, path in FIELDS.items():
        value = given_value(record, path)
        if value in (None, ""):
            assert row[name] is None
            assert name not in lost
        else:
            assert (row[name] is None) == (name in lost), (name, value, row[name], lost)
        longest = LONGEST_S if name in SECONDS else LONGEST_MIN
        if name in SECONDS or name in MINUTES:
            expected = in_thousandths(value)
            if is_read_by_rule(value):
                assert row[name] == (expected if expected is not None and 0 <= expected <= longest else None)
            assert row[name] is None or 0 <= row[name] <= longest
    for name in PARTS:
        assert (name in lost) == (record.get(name) is not None and not isinstance(record[name], dict))
    assert_time_in_room(row, given_value(record, ("room", "duration")), "room_duration_s" in lost)


def assert_time_in_room(row: Row, duration: Any, lost: bool) -> None:
    connect, disconnect = row["room_connect_dt"], row["room_disconnect_dt"]
    length = in_thousandths(duration)
    assert row["room_duration_s"] is None or 0 <= row["room_duration_s"] <= LONGEST_S
    if not is_read_by_rule(duration) and duration != "":
        return
    not_a_number = duration not in (None, "") and length is None
    if length is None and connect and disconnect:
        length = Decimal((disconnect - connect).total_seconds()).quantize(Decimal("0.001"), ROUND_HALF_UP)
    fits = length is not None and 0 <= length <= LONGEST_S
    assert row["room_duration_s"] == (length if fits else None)
    assert lost == (not_a_number or (length is not None and not fits))


def assert_all_adds_up(zone: LandingZone, connection: Connection, elements: Sequence[str], found: IngestResult) -> None:
    assert sum(found.records.values()) + sum(found.quarantined.values()) == len(elements)
    kept = "".join(
        Path(zone.storage.place(name)).read_text(errors="surrogateescape") for name in found.quarantine_files
    )
    assert kept.count("reason: ") >= sum(found.quarantined.values())
    rows = run(connection, "FROM call_detail_records")
    newest = {}
    for day in found.records:
        for line in landed_lines(zone, day):
            record = parsed(line)
            newest[str(record["cdr_id"])] = (day, record)
    assert sorted((row["usage_date"], row["cdr_id"]) for row in rows) == sorted(
        (day, cdr_id) for cdr_id, (day, _) in newest.items()
    )
    for row in rows:
        assert_typed(row, newest[row["cdr_id"]][1])
    for name, expected in {
        "room_usage": tables.room_usage(rows),
        "conference_usage": tables.conference_usage(rows),
        "attendance": tables.attendance(rows),
        "daily_usage": tables.daily_usage(rows),
        "owner_usage": tables.owner_usage(rows, []),
        "connection_quality": tables.connection_quality(rows),
        "client_usage": tables.client_usage(rows),
    }.items():
        computed = run(
            connection, f"SELECT * EXCLUDE ({OTHERS_OF[name]}) FROM {name}" if name in OTHERS_OF else f"FROM {name}"
        )
        assert in_order(computed) == in_order(expected), name


# Columns that do not follow from the records alone.
OTHERS_OF = {"attendance": "client", "daily_usage": "provisional"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, Connection]]:
    """One warehouse for all examples. To make and open one takes longer than to build a day."""
    warehouse = Warehouse(places(tmp_path_factory.mktemp("warehouse")))
    with warehouse.connect() as connection:
        yield warehouse, connection


@pytest.mark.lake
@given(elements=answers())
@settings(max_examples=examples(40))
def test_any_answer_ends_in_rows_lost_fields_and_quarantine_that_add_up(
    opened: tuple[Warehouse, Connection], elements: list[str]
) -> None:
    warehouse, connection = opened
    body = '{"result":"0","cdr":[' + ",".join(elements) + "]}"
    with tempfile.TemporaryDirectory() as folder:
        zone = LandingZone(Path(folder))
        found = ingest(zone, [nullcontext(read_records([body.encode()]))], "period", [DAY])
        for table in TABLES:
            run(connection, f"DELETE FROM {table.name}")
        for day in sorted(found.changes):
            list(warehouse.build_days(connection, [day], DAILY_TABLES, zone))
        assert_all_adds_up(zone, connection, elements, found)
