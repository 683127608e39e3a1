"""What comes out of an answer is what went into it, and a fault of it is never an empty answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdr_assets import records
from cdr_assets.enablex.records import (
    AnswerError,
    BrokenOffAnswer,
    Quarantined,
    RefusedAnswer,
    UnreadableAnswer,
    excerpt,
    read_records,
    refusal,
)

DAY = date(2026, 11, 1)


def record(cdr_id: object = "a", trans_date: object = "2026-11-01T10:00:00.000Z", **more: object) -> bytes:
    return json.dumps({"trans_date": trans_date, **more, "cdr_id": cdr_id}).encode()


def body(*elements: bytes, result: str = '"0"') -> bytes:
    return b'{"result": %b, "cdr": [%b]}' % (result.encode(), b",".join(elements))


def read(answer: bytes | Iterable[bytes]) -> tuple[dict[date, list[bytes]], list[Quarantined]]:
    """All of an answer: lines by day, in order, and what was set aside."""
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
    """The reason for which the middle one of three records is set aside, the others being sound."""
    days, quarantined = read(body(record("before"), element, record("after")))
    assert days == {DAY: [record("before"), record("after")]}
    assert [aside.record for aside in quarantined] == [element]
    return quarantined[0]


def pieces(answer: bytes, size: int) -> list[bytes]:
    return [answer[at : at + size] for at in range(0, len(answer), size)]


@pytest.fixture(params=[1, 2, 7, 64, 1000, records.BATCH_BYTES])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(records, "BATCH_BYTES", request.param)
    return int(request.param)


# What goes in

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ['},{"', "\\", '"', '\\"', '"cdr":[', "]}", "{[", "}", "[", ',"', "\n", "é", "😀", " ", "\u2028"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
times = st.datetimes(datetime(2026, 10, 31), datetime(2026, 11, 3)) | st.sampled_from([datetime(2026, 11, 1)])
sound = st.builds(
    lambda more, cdr_id, when: {**more, "cdr_id": cdr_id, "trans_date": when.isoformat() + "Z"},
    st.dictionaries(texts, values, max_size=4),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.integers(),
    times,
)
spaces = st.text(" \t\r\n", max_size=3)
decoys = st.dictionaries(
    texts.filter(lambda key: key not in ("cdr", "result", "status")), values | st.just({"cdr": [{"cdr_id": "x"}, {}]})
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[tuple[date, dict[str, Any], bytes]], bytes]:
    """Records with their days and texts, and the text of an answer that holds them."""
    expected, elements = [], []
    for fields in draw(st.lists(sound, max_size=8)):
        indent, separators = (
            draw(st.sampled_from([None, 2, "\t"])),
            draw(st.sampled_from([(",", ":"), (" , ", "  : ")])),
        )
        text = json.dumps(fields, ensure_ascii=draw(st.booleans()), indent=indent, separators=separators).encode()
        if draw(st.booleans()):
            text = text.replace(b"\n", b"\r\n")
        elements.append(text)
        expected.append((datetime.fromisoformat(fields["trans_date"][:-1]).date(), fields, text))

    def spaced(text: bytes) -> bytes:
        return draw(spaces).encode() + text + draw(spaces).encode()

    array = b"[" + spaced(b",".join(map(spaced, elements))) + b"]"
    key = draw(st.sampled_from([b'"cdr"', b'"\\u0063dr"', b'"c\\u0064\\u0072"']))
    members = [(key, array), (b'"result"', draw(st.sampled_from([b'"0"', b"0"])))]
    members += [(json.dumps(k).encode(), json.dumps(v).encode()) for k, v in draw(decoys).items()]
    inside = b",".join(spaced(k) + b":" + spaced(v) for k, v in draw(st.permutations(members)))
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return expected, bom + spaced(b"{" + inside + b"}")


@settings(max_examples=250, deadline=None)
@given(answers(), st.data())
def test_what_comes_out_is_what_went_in(
    drawn: tuple[list[tuple[date, dict[str, Any], bytes]], bytes], data: st.DataObject
) -> None:
    expected, answer = drawn
    size = data.draw(st.sampled_from([1, 2, 3, 10, 100, len(answer)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BATCH_BYTES", data.draw(st.sampled_from([1, 5, 30, 200, 1 << 20])))
        days, quarantined = read(pieces(answer, size))
    assert quarantined == []
    by_day: dict[date, list[bytes]] = {}
    for day, fields, text in expected:
        by_day.setdefault(day, []).append(text.replace(b"\n", b" ").replace(b"\r", b" "))
        assert json.loads(by_day[day][-1]) == fields
    assert days == by_day


@settings(max_examples=100, deadline=None)
@given(st.lists(sound, min_size=1, max_size=5), st.integers(0, 4), st.sampled_from([1, 20, 1 << 20]))
def test_one_bad_record_costs_no_other(sounds: list[dict[str, Any]], place: int, batch: int) -> None:
    elements = [json.dumps(fields).encode() for fields in sounds]
    bad = b'{"cdr_id":"bad","trans_date":"2026-11-01T00:00:00Z","x":NaN}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BATCH_BYTES", batch)
        days, quarantined = read(body(*elements[:place], bad, *elements[place:]))
    assert sorted(line for lines in days.values() for line in lines) == sorted(elements)
    assert [(aside.record, aside.usage_date) for aside in quarantined] == [(bad, DAY)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([b"", *(bytes([c]) for c in b'{}[],:"\\ \n0aN\xff')]), st.booleans())
def test_a_damaged_answer_reads_the_same_in_windows_and_chunks_of_any_size(at: int, put: bytes, over: bool) -> None:
    whole = b'{"x":{"cdr":[1]},"cdr":[%b, %b,%b],"t":[{},{}],"result":"0"}' % (
        record("a", list=[{"a": 1}, {"b": '},{"'}]),
        record('b"\\', "2026-11-02T00:00:00Z", text="\u00e9"),
        record(3, z=None),
    )
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + over :]

    def outcome(batch: int, chunk: int) -> tuple[dict[date, list[bytes]], list[Quarantined]] | type[AnswerError]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "BATCH_BYTES", batch)
            try:
                return read(pieces(damaged, chunk))
            except AnswerError as error:
                return type(error)

    first = outcome(1, 1)
    assert [outcome(7, 50), outcome(64, 1000), outcome(1 << 20, 3)] == [first] * 3
    if not isinstance(first, type):
        for line in itertools.chain(*first[0].values()):
            assert isinstance(json.loads(line.decode()), dict)


def test_each_split_of_an_answer_into_two_chunks() -> None:
    answer = body(record("a", text='},{"\\'), record("b", deep=[{}, {"cdr": []}]), record("c", text="é"))
    for at in range(len(answer) + 1):
        days, quarantined = read([answer[:at], b"", answer[at:]])
        assert ([len(lines) for lines in days.values()], quarantined) == ([3], [])


def test_records_that_span_many_windows(batch: int) -> None:
    large = record("large", text='}, {"' * 2000, list=[{"a": 1}, {"b": 2}] * 200)
    days, quarantined = read(pieces(body(record("a"), large, record("b"), large), 500))
    assert (days, quarantined) == ({DAY: [record("a"), large, record("b"), large]}, [])


def test_a_record_is_read_in_a_time_that_grows_with_its_length_alone() -> None:
    """Bytes looked at, not seconds: a scan from the start for every chunk would look at 2,000 times as many."""
    seen = 0
    exact_cut = records._exact_cut

    def counting(text: bytes, follows: bool) -> records._Cut | None:
        nonlocal seen
        seen += len(text)
        return exact_cut(text, follows)

    answer = body(record("a", list=["x" * 90] * 20_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BATCH_BYTES", 1000)
        patch.setattr(records, "_exact_cut", counting)
        days, _ = read(pieces(answer, 1))
    assert [len(lines) for lines in days.values()] == [1]
    assert len(answer) <= seen < 4 * len(answer)


def test_memory_is_that_of_windows_not_of_the_answer() -> None:
    given_out = taken = most_ahead = 0

    def many() -> Iterator[bytes]:
        nonlocal given_out
        yield b'{"result":"0","cdr":[' + record()
        for _ in range(40):
            block = b"," + b",".join([record()] * 1000)
            given_out += len(block)
            yield block
        yield b"]}"

    for batch in read_records(many()):
        taken += len(batch.days[DAY].text)
        most_ahead = max(most_ahead, given_out - taken)
    assert given_out > 2 * records.BATCH_BYTES
    assert most_ahead < 1.2 * records.BATCH_BYTES


@pytest.mark.parametrize("empty", [b'{"result":"0","cdr":[]}', b'\xef\xbb\xbf {"cdr" : [ \r\n ] , "result" : 0 } \n'])
def test_an_empty_list_is_a_good_answer(empty: bytes, batch: int) -> None:
    assert list(read_records([empty])) == []


def test_a_cdr_that_is_not_the_answers_own_is_not_read() -> None:
    inner = b'{"cdr":[%b]}' % record("no")
    answer = b'{"a":%b,"text":"\\"cdr\\":[{","list":[%b],"result":0,"cdr":[%b],"z":{"cdr":[1]}}' % (
        inner,
        inner,
        record(),
    )
    assert read(answer) == ({DAY: [record()]}, [])


# Answers that cannot be taken


def test_a_comma_after_the_last_record_is_seen_wherever_windows_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = body(record("a"), record("b"), b"")
    for size in range(1, len(answer)):
        monkeypatch.setattr(records, "BATCH_BYTES", size)
        with pytest.raises(UnreadableAnswer, match="comma"):
            read(answer)


def test_each_beginning_of_an_answer_is_an_error(batch: int) -> None:
    answer = b'\xef\xbb\xbf{"n":-1.5e3,"t":true,"cdr":[%b, %b],"s":"\xc3\xa9\\ud83d\\ude00","result":"0"}' % (
        record("a", s="\\", u="é"),
        record("b", l=[[], {}]),
    )
    assert len(read(answer)[0][DAY]) == 2
    for end in range(len(answer)):
        with pytest.raises(AnswerError) as caught:
            read(answer[:end])
        # Nothing, and a byte order mark alone, are empty rather than the beginning of something.
        assert isinstance(caught.value, UnreadableAnswer if end in (0, 3) else BrokenOffAnswer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"<!DOCTYPE html>\n<title>502 Bad\tGateway</title>", "<!DOCTYPE html> <title>502 Bad Gateway</title>"),
        (b"Service Unavailable", "Service Unavailable"),
        (b"[]", "not a JSON object: []"),
        (b"null", "not a JSON object"),
        ('{"result":"0","cdr":[]}'.encode("utf-16"), "not a JSON object"),
        ('{"result":"0","cdr":[]}'.encode("utf-16-be"), "not a JSON object"),
        (b'{"cdr":[]}', "no result"),
        (b'{"result":"0"}', "no cdr"),
        (b"{}", "no result"),
        (b'{"result":"0","cdr":null}', "cdr is null, not a list"),
        (b'{"result":"0","cdr":{"cdr":[]}}', "cdr is an object, not a list"),
        (b'{"result":"0","cdr":"[]"}', "cdr is a string, not a list"),
        (b'{"result":"0","cdr":0}', "cdr is a number, not a list"),
        (b'{"result":"0","cdr":[],"cdr":[]}', "two cdr"),
        (b'{"result":"0","cdr":null,"cdr":[]}', "two cdr"),
        (b'{"result":"0","cdr":[],"\\u0063dr":7}', "two cdr"),
        (b'{"result":"0","cdr":[]}{}', "not JSON"),
        (b'{"result":"0","cdr":[]}]', "not JSON"),
        (b'{"result":"0","cdr":[]} <html>', "<html>"),
        (b'{"result":"0","cdr":[]} {"a":["', "not JSON"),
        (b'{"result":"0",,"cdr":[]}', "not JSON"),
        (b'{"result":"0" "cdr":[]}', "not JSON"),
        (b'{"result":"0","cdr":[],}', "not JSON"),
        (b'{"result":"0","cdr":[],"x":NaN}', "not JSON"),
        (b'{"result":"0","cdr":[],"x":"\xff"}', "not JSON"),
        (b'{"result":"0","\xff":1,"cdr":[]}', "not JSON"),
        (b'{"result":"0","cdr":[],"x":"\\ud800"}', "not JSON"),
        (b'{"result":"0","cdr":[],"x":%b}' % (b"[" * 3000 + b"]" * 3000), "not JSON"),
        (b'{"result":"0","cdr"[]}', "not JSON"),
    ],
)
def test_what_is_not_the_documented_answer_is_unreadable(answer: bytes, says: str, batch: int) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        read(answer)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "array",
    [
        b"%b %b",
        b"%b%b",
        b"%b,,%b",
        b",%b,%b",
        b"%b,%b,",
        b"%b , %b , ",
        b"%b 5,%b",
        b"5 %b,%b",
        b'"a" %b,%b',
        b"%b:%b",
        b"%b,1 2,%b",
    ],
)
def test_records_without_single_commas_between_them_are_unreadable(array: bytes, batch: int) -> None:
    with pytest.raises(UnreadableAnswer, match="comma"):
        read(body(array % (record("a"), record("b"))))


@pytest.mark.parametrize(
    "array", [b",", b" , ", b"%b}" % record(), b'{"a":[1},%b' % record(), b'{"a":1],%b' % record()]
)
def test_an_array_whose_structure_is_wrong_is_unreadable(array: bytes, batch: int) -> None:
    with pytest.raises(UnreadableAnswer):
        read(body(array))


@pytest.mark.parametrize(
    ("answer", "said", "fields"),
    [
        (
            b'{"result": 1001, "error": "Invalid date", "desc": "from_date is \\u00e9"}',
            "result 1001: Invalid date: from_date is é",
            {"result": "1001", "error": "Invalid date", "desc": "from_date is é", "message": None},
        ),
        (b'{"result":"1","cdr":[]}', "result 1", {"result": "1", "error": None}),
        (b'{"cdr":[%b],"result":4,"desc":"late"}' % record(), "result 4: late", {"result": "4"}),
        (
            b'{"status":"error","error_code":"RATE_LIMITED","message":"Slow down","request_id":"req_7"}',
            "RATE_LIMITED: Slow down (request_id req_7)",
            {"error_code": "RATE_LIMITED", "message": "Slow down", "request_id": "req_7", "result": None},
        ),
        (b'{"status":"error"}', "an error without words", {}),
        (b'{"desc":"down"}', "down", {"desc": "down"}),
        (b'{"error":{"code":5}}', '{"code":5}', {"error": '{"code":5}'}),
        (b'{"result":null,"cdr":[]}', "an error without words", {"result": None}),
        (b'{"result":false,"cdr":[]}', "result false", {"result": "false"}),
    ],
)
def test_an_error_envelope_is_refused_in_the_apis_words(
    answer: bytes, said: str, fields: dict[str, str | None], batch: int
) -> None:
    with pytest.raises(RefusedAnswer) as caught:
        read(answer)
    assert str(caught.value) == said
    assert {name: getattr(caught.value, name) for name in fields} == fields
    assert str(refusal(answer)) == said


@pytest.mark.parametrize(
    "other", [b"", b"<html>", b"[1]", b'{"result":"0","cdr":[]}', b'{"a":1}', b'{"result":1', b'{"error":null}']
)
def test_a_body_without_an_error_envelope_is_no_refusal(other: bytes) -> None:
    assert refusal(other) is None


def test_what_is_too_large_to_be_held_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BATCH_BYTES", 100)
    monkeypatch.setattr(records, "LONGEST_HELD", 5000)
    monkeypatch.setattr(records, "LONGEST_ENVELOPE", 2000)
    long = [b"x" * 100] * 1000

    def given_up_early(chunks: list[bytes], says: str) -> None:
        left = iter(chunks)
        with pytest.raises(UnreadableAnswer, match=says):
            read(left)
        assert len(list(left)) > 900

    given_up_early([b'{"result":"0","cdr":[%b,{"a":"' % record(), *long], "goes on")
    given_up_early([b'{"result":"0","cdr":[%b' % record(), *[b" " * 100] * 1000], "goes on")
    given_up_early([b'{"result":"0","a":"', *long], "no records in the first")
    given_up_early([body(record()), *long], "beside its records")
    large = record("a", text="x" * 4000)
    assert read(body(large, large)) == ({DAY: [large, large]}, [])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"a\x00\x1b[31m\n b", "a [31m b"),
        (b"x" * 200, "x" * 200),
        (b"x" * 201, "x" * 200 + "…"),
        (b" " * 5000 + b"x", "…"),
    ],
)
def test_an_excerpt_is_short_and_printable(text: bytes, shown: str) -> None:
    assert excerpt(text) == shown


# Records that are set aside


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
def test_a_record_that_belongs_nowhere_is_set_aside(element: bytes, reason: str, batch: int) -> None:
    aside = one(element)
    assert reason in aside.reason
    assert aside.usage_date == (DAY if b"2026-11-01T10" in element else None)


@pytest.mark.parametrize(
    "value",
    [
        b"NaN", b"-Infinity", b"01", b"1.", b"+1", b"tru", b"'a'", b'"\\x"', b'"\\u12g4"', b'"\x01"', b'"a\nb"',
        b'"a\tb"', b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\\ud800"', b'"\\ud800\\u0041"',
        b'"\\udc00"', b'"\\ud800\\ud800"', b'{"\\ud800":1}', b'{"a":1,}', b"[1,]", b'{"a" 1}', b"[1 2]", b"{1:2}",
        b"/**/1", b"\x0b1", b"[" * 100 + b"]" * 100, b'{"a":' * 100 + b"1" + b"}" * 100, b"[" * 3000 + b"]" * 3000,
    ],
)  # fmt: skip
def test_a_record_that_duckdb_would_not_read_is_set_aside(value: bytes, batch: int) -> None:
    element = b'{"cdr_id":"a","x":%b,"trans_date":"2026-11-01T10:00:00Z"}' % value
    aside = one(element)
    assert aside.usage_date == DAY
    assert aside.reason.startswith("the record is ")


def test_what_is_let_through_is_read_by_duckdb(tmp_path: Path) -> None:
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


def test_a_record_that_is_too_long_is_set_aside(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_RECORD", 2000)
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
@pytest.mark.parametrize("beside", [[], [record("z")], [record("z", "2026-11-01T11:00:00")]])
def test_a_record_belongs_to_the_utc_day_of_its_time(trans_date: str, day: date, beside: list[bytes]) -> None:
    element = record("a", trans_date)
    days, quarantined = read(body(*beside, element))
    assert quarantined == []
    assert element in days[day]
    assert sum(map(len, days.values())) == 1 + len(beside)


@example(cdr_id=0)
@given(
    st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_cdr_id_is_any_text_or_number(cdr_id: object) -> None:
    assert read(body(record(cdr_id))) == ({DAY: [record(cdr_id)]}, [])


def test_days_of_one_window_keep_the_order_of_their_records() -> None:
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
