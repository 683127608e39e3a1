"""Which records are valid, the UTC day that each belongs to, and why others are quarantined."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdr_assets.enablex import records
from cdr_assets.enablex.answers import read_records
from cdr_assets_tests.enablex.reading import DAY, body, one, read, record


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (b"5", "is a number"),
        (b'"},{"', "is a string"),
        (b"null", "is null"),
        (b"[1,{}]", "is a list"),
        (b"nonsense", "not"),
        (b"{}", "cdr_id is missing"),
        (b"{'cdr_id':1}", "not valid JSON"),
        (record(""), "cdr_id is missing or empty"),
        (record(None), "cdr_id is missing or empty"),
        (record(True), "cdr_id is true"),
        (record({"a": 1}), "cdr_id is an object"),
        (record([]), "cdr_id is a list"),
        (b'{"cdr_id":"a"}', "trans_date is missing"),
        (record("a", None), "trans_date is missing"),
        (record("a", ""), "not an RFC 3339"),
        (record("a", 1793527200), "not an RFC 3339"),
        (record("a", "2026-11-01"), "not an RFC 3339"),
        (record("a", "2026-11-31T10:00:00Z"), "not an RFC 3339"),
        (record("a", "YYYY-MM-DDTHH:II:SS.mmmZ"), "YYYY-MM-DDTHH:II:SS.mmmZ"),
        (record("a", "0001-01-01T00:00:00+05:00"), "not an RFC 3339"),
    ],
)
def test_a_record_that_belongs_nowhere_is_quarantined(element: bytes, reason: str, batch_bytes: int) -> None:
    bad = one(element)
    assert reason in bad.reason
    assert bad.usage_date == (DAY if b"2026-11-01T10" in element else None)


TIME = b'"2026-11-01T10:00:00Z"'


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (b'{"cdr_id":"a","cdr_id":"b","trans_date":%b}' % TIME, "cdr_id"),
        (b'{"cdr_id":"a","trans_date":%b,"x":{},"cdr_id":"a"}' % TIME, "cdr_id"),
        (b'{"cdr_id":null,"cdr_id":"a","trans_date":%b}' % TIME, "cdr_id"),
        (b'{"cdr\\u005Fid":1,"cdr_id":"a","trans_date":%b}' % TIME, "cdr_id"),
        (b'{"cdr_id":"a","trans_date":%b,"trans_date":%b}' % (TIME, TIME), "trans_date"),
        (b'{"trans_date":%b,"cdr_id":"a","trans_date":"2026-11-02T10:00:00Z"}' % TIME, "trans_date"),
        (b'{"cdr_id":"a","trans_date":"","trans_date":%b}' % TIME, "trans_date"),
    ],
)
def test_a_record_with_two_identities_or_two_times_is_quarantined(
    element: bytes, reason: str, batch_bytes: int
) -> None:
    bad = one(element)
    assert bad.reason == f"{reason} is given more than once"


@pytest.mark.parametrize(
    "element",
    [
        b'{"cdr_id":"a","x":"cdr_id","y":{"cdr_id":1,"trans_date":2},"trans_date":%b}' % TIME,
        b'{"cdr_id":"a","x":1,"x":2,"cdr_id ":1,"CDR_ID":2,"\\u0063dr":3,"trans_date":%b}' % TIME,
        b'{"cdr\\u005fid":"a","\\"cdr_id":"b","tr\\u0061ns_date":%b}' % TIME,
    ],
)
def test_other_keys_may_look_like_the_identity_or_repeat(element: bytes, batch_bytes: int) -> None:
    assert read(body(record("before"), element, record("after"))) == (
        {DAY: [record("before"), element, record("after")]},
        [],
    )


@pytest.mark.parametrize(
    "value",
    [
        b"NaN", b"-Infinity", b"01", b"1.", b"+1", b"tru", b"'a'", b'"\\x"', b'"\\u12g4"', b'"\x01"', b'"a\nb"',
        b'"a\tb"', b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\\ud800"', b'"\\ud800\\u0041"',
        b'"\\udc00"', b'"\\ud800\\ud800"', b'{"\\ud800":1}', b'{"a":1,}', b"[1,]", b'{"a" 1}', b"[1 2]", b"{1:2}",
        b"/**/1", b"\x0b1", b"[" * 100 + b"]" * 100, b'{"a":' * 100 + b"1" + b"}" * 100, b"[" * 3000 + b"]" * 3000,
    ],
)  # fmt: skip
def test_a_record_that_duckdb_would_not_read_is_quarantined(value: bytes, batch_bytes: int) -> None:
    element = b'{"cdr_id":"a","x":%b,"trans_date":"2026-11-01T10:00:00Z"}' % value
    bad = one(element)
    assert bad.usage_date == DAY
    assert bad.reason.startswith("the record is ")


def test_valid_records_are_read_by_duckdb(tmp_path: Path) -> None:
    odd = [
        b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\x7f"', b"1e999", b"-0", b"9" * 5000, '"\u2028"'.encode(), b'"\\/"',
        b'"},{"', b"[" * 99 + b"]" * 99, b"[" + b"{}," * 500 + b"{}]", b'"' + b"[" * 300 + b'"', b"[\r\n1\n]",
    ]  # fmt: skip
    elements = [b'{"cdr_id":%d,"x":%b,"trans_date":"2026-11-01T10:00:00Z"}' % (i, value) for i, value in enumerate(odd)]
    lines, quarantined = b"", []
    for batch in read_records([body(*elements)]):
        lines += batch.days[DAY].text
        quarantined += batch.quarantined
    assert quarantined == []
    (tmp_path / "lines.ndjson").write_bytes(lines)
    found = duckdb.execute(
        "SELECT cdr_id FROM read_json($1, format = 'newline_delimited', columns = {cdr_id: 'BIGINT'})",
        [str(tmp_path / "lines.ndjson")],
    )
    assert found.fetchall() == [(i,) for i in range(len(odd))]


def test_a_record_that_is_too_long_is_quarantined(batch_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 2000)
    assert "longer than 2,000 bytes" in one(record("a", text="x" * 2000)).reason
    longest = record("a", text="x" * (2000 - len(record("a", text=""))))
    assert read(body(longest)) == ({DAY: [longest]}, [])


@pytest.mark.parametrize(
    ("trans_date", "day"),
    [
        ("2026-11-01T00:00:00Z", DAY),
        ("2026-11-01T00:00:00.000Z", DAY),
        ("2026-11-01T23:59:59.999Z", DAY),
        ("2026-11-01T23:59:59.999999Z", DAY),
        ("2026-11-01T23:59:59.9999999Z", DAY),
        ("2026-11-01T23:59:59.9999994Z", DAY),
        ("2026-11-02T00:00:00Z", DAY + timedelta(1)),
        ("2026-11-01T00:00:00", DAY),
        ("2026-11-01T12:00:00", DAY),
        ("2026-11-01 12:00:00Z", DAY),
        ("2026-11-02T05:29:59.999+05:30", DAY),
        ("2026-11-02T05:30:00+05:30", DAY + timedelta(1)),
        ("2026-10-31T23:00:00-02:00", DAY),
        ("2026-11-01T23:59:59.9999999-00:00", DAY),
    ],
)
@pytest.mark.parametrize("others", [[], [record("z")], [record("z", "2026-11-01T11:00:00")]])
def test_a_record_belongs_to_the_utc_day_of_its_time(trans_date: str, day: date, others: list[bytes]) -> None:
    element = record("a", trans_date)
    days, quarantined = read(body(*others, element))
    assert quarantined == []
    assert element in days[day]
    assert sum(map(len, days.values())) == 1 + len(others)


@example(cdr_id=0)
@given(
    st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_cdr_id_is_any_text_or_number(cdr_id: object) -> None:
    assert read(body(record(cdr_id))) == ({DAY: [record(cdr_id)]}, [])


def test_days_of_one_batch_keep_the_order_of_their_records() -> None:
    elements = [record(str(i), f"2026-11-0{1 + i % 2}T12:00:00Z") for i in range(9)]
    assert read(body(*elements)) == ({DAY: elements[::2], DAY + timedelta(1): elements[1::2]}, [])


def test_pretty_printing_becomes_one_line_and_nothing_else_changes() -> None:
    element = b'{\r\n\t"cdr_id" :\n"a\\n",   "trans_date":"2026-11-01T10:00:00Z"\n}'
    line = b'{  \t"cdr_id" : "a\\n",   "trans_date":"2026-11-01T10:00:00Z" }'
    assert read(body(element, record())) == ({DAY: [line, record()]}, [])
    returns = b'{\r"cdr_id":"a",\r"trans_date":"2026-11-01T10:00:00Z"}'
    assert read(body(returns)) == ({DAY: [returns.replace(b"\r", b" ")]}, [])
    bad = element.replace(b"a", b"\xff")
    assert one(bad).record == bad
