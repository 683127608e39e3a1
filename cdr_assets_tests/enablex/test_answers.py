"""An answer is read as it was made, and a faulty answer is never read as an empty one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.enablex import answers, tokens
from cdr_assets.enablex.answers import (
    AnswerError,
    BrokenOffAnswer,
    RefusedAnswer,
    UnreadableAnswer,
    read_records,
    refusal,
)
from cdr_assets.enablex.errors import excerpt
from cdr_assets.enablex.records import Batch, Quarantined
from cdr_assets_tests.enablex.reading import DAY, body, read, record


def pieces(answer: bytes, size: int) -> list[bytes]:
    return [answer[at : at + size] for at in range(0, len(answer), size)]


# Records and answers

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
valid_records = st.builds(
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
def answer_texts(draw: st.DrawFn) -> tuple[list[tuple[date, dict[str, Any], bytes]], bytes]:
    """Records with their days and texts, and the text of an answer that holds them."""
    expected, elements = [], []
    for fields in draw(st.lists(valid_records, max_size=8)):
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


@settings(max_examples=250)
@given(answer_texts(), st.data())
def test_what_comes_out_is_what_went_in(
    drawn: tuple[list[tuple[date, dict[str, Any], bytes]], bytes], data: st.DataObject
) -> None:
    expected, answer = drawn
    size = data.draw(st.sampled_from([1, 2, 3, 10, 100, len(answer)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "BATCH_BYTES", data.draw(st.sampled_from([1, 5, 30, 200, 1 << 20])))
        days, quarantined = read(pieces(answer, size))
    assert quarantined == []
    by_day: dict[date, list[bytes]] = {}
    for day, fields, text in expected:
        by_day.setdefault(day, []).append(text.replace(b"\n", b" ").replace(b"\r", b" "))
        assert json.loads(by_day[day][-1]) == fields
    assert days == by_day


@settings(max_examples=100)
@given(st.lists(valid_records, min_size=1, max_size=5), st.integers(0, 4), st.sampled_from([1, 20, 1 << 20]))
def test_one_bad_record_costs_no_other(valid: list[dict[str, Any]], place: int, batch_bytes: int) -> None:
    elements = [json.dumps(fields).encode() for fields in valid]
    bad = b'{"cdr_id":"bad","trans_date":"2026-11-01T00:00:00Z","x":NaN}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "BATCH_BYTES", batch_bytes)
        days, quarantined = read(body(*elements[:place], bad, *elements[place:]))
    assert sorted(line for lines in days.values() for line in lines) == sorted(elements)
    assert [(each.record, each.usage_date) for each in quarantined] == [(bad, DAY)]


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.sampled_from([b"", *(bytes([c]) for c in b'{}[],:"\\ \n0aN\xff')]), st.booleans())
def test_a_damaged_answer_reads_the_same_in_batches_and_chunks_of_any_size(at: int, put: bytes, over: bool) -> None:
    whole = b'{"x":{"cdr":[1]},"cdr":[%b, %b,%b],"t":[{},{}],"result":"0"}' % (
        record("a", list=[{"a": 1}, {"b": '},{"'}]),
        record('b"\\', "2026-11-02T00:00:00Z", text="\u00e9"),
        record(3, z=None),
    )
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + over :]

    def outcome(batch: int, chunk: int) -> tuple[dict[date, list[bytes]], list[Quarantined]] | type[AnswerError]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answers, "BATCH_BYTES", batch)
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


def test_records_that_span_many_batches(batch_bytes: int) -> None:
    large = record("large", text='}, {"' * 2000, list=[{"a": 1}, {"b": 2}] * 200)
    days, quarantined = read(pieces(body(record("a"), large, record("b"), large), 500))
    assert (days, quarantined) == ({DAY: [record("a"), large, record("b"), large]}, [])


def test_a_record_is_read_in_a_time_that_grows_with_its_length_alone() -> None:
    """Bytes looked at, not seconds: a scan from the start for every chunk would look at 2,000 times as many."""
    seen = 0

    def counting(text: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
        nonlocal seen
        seen += len(text) - at
        return tokens.tokens(text, at)

    answer = body(record("a", list=["x" * 90] * 20_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "BATCH_BYTES", 1000)
        patch.setattr(answers, "tokens", counting)
        days, _ = read(pieces(answer, 1))
    assert [len(lines) for lines in days.values()] == [1]
    assert len(answer) <= seen < 4 * len(answer)


def test_memory_is_that_of_batches_not_of_the_answer() -> None:
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
    assert given_out > 2 * answers.BATCH_BYTES
    assert most_ahead < 1.2 * answers.BATCH_BYTES


@pytest.mark.parametrize("empty", [b'{"result":"0","cdr":[]}', b'\xef\xbb\xbf {"cdr" : [ \r\n ] , "result" : 0 } \n'])
def test_an_empty_list_is_a_good_answer(empty: bytes, batch_bytes: int) -> None:
    assert list(read_records([empty])) == []


@pytest.mark.parametrize(
    "without",
    [
        b'{"result":0}',
        b'\xef\xbb\xbf {"result":"0"}\n',
        b'{"result":"0","cdr":null}',
        b'{"c\\u0064r":null,"result":0}',
        b'{"result":0,"desc":"No records, [{","error":"","error_code":null,"total":0}',
    ],
)
def test_success_without_a_list_is_an_empty_answer_that_says_so(without: bytes, batch_bytes: int) -> None:
    assert list(read_records([without])) == [Batch(has_no_list=True)]


@pytest.mark.parametrize(
    ("says", "sign"),
    [
        (b'"next_page_token":"abc"', "next_page_token is set"),
        (b'"has_more":true', "has_more is set"),
        (b'"hasMore":"true"', "hasMore is set"),
        (b'"truncated":1', "truncated is set"),
        (b'"error":"too many records"', "error is set"),
        (b'"total":3', "total is 3, the list has 2"),
        (b'"totalCount":"1200"', "totalCount is 1,200, the list has 2"),
        (b'"paging":{"next":{"page":2}}', "next is set"),
    ],
)
def test_an_answer_that_says_that_it_lacks_records_is_read_and_told_without_what_it_says(
    says: bytes, sign: str, batch_bytes: int
) -> None:
    two = b'"cdr":[%b,%b]' % (record("a"), record("b"))
    for answer in (b'{"result":0,%b,%b}' % (says, two), b'{%b,%b,"result":0}' % (two, says)):
        *batches, last = read_records([answer])
        assert sum(lines.count for batch in batches for lines in batch.days.values()) == 2
        assert last == Batch(signs_of_more=(sign,))


@pytest.mark.parametrize(
    "says",
    [
        b'"next_page_token":null,"has_more":false,"truncated":"false","error":"","total":2,"count":"2","more":[]',
        b'"nextroom":1,"countess":9,"errors_seen":3,"page":{"total":1}',
    ],
)
def test_an_answer_that_says_that_it_is_whole_has_no_sign_of_more(says: bytes) -> None:
    batches = read_records([b'{"result":0,%b,"cdr":[%b,%b]}' % (says, record("a"), record("b"))])
    assert not any(batch.signs_of_more for batch in batches)


@pytest.mark.parametrize("said", ["result", "status"])
def test_a_refusal_without_a_list_is_no_empty_answer(said: str) -> None:
    refused = {"result": b'{"result":1,"cdr":null}', "status": b'{"result":0,"status":"error"}'}
    with pytest.raises(RefusedAnswer):
        read(refused[said])


def test_a_cdr_that_is_not_the_answers_own_is_not_read() -> None:
    inner = b'{"cdr":[%b]}' % record("no")
    answer = b'{"a":%b,"text":"\\"cdr\\":[{","list":[%b],"result":0,"cdr":[%b],"z":{"cdr":[1]}}' % (
        inner,
        inner,
        record(),
    )
    assert read(answer) == ({DAY: [record()]}, [])


# Answers that cannot be used


def test_a_comma_after_the_last_record_is_seen_wherever_batches_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = body(record("a"), record("b"), b"")
    for size in range(1, len(answer)):
        monkeypatch.setattr(answers, "BATCH_BYTES", size)
        with pytest.raises(UnreadableAnswer, match="comma"):
            read(answer)


def test_each_beginning_of_an_answer_is_an_error(batch_bytes: int) -> None:
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
        (b"<!DOCTYPE html>\n<title>502 Bad\tGateway</title>", "46 bytes of HTML, titled '502 Bad Gateway'"),
        (b"Service Unavailable", "not a JSON object: 19 bytes"),
        (b"[]", "not a JSON object: a list, 2 bytes"),
        (b"null", "not a JSON object"),
        ('{"result":"0","cdr":[]}'.encode("utf-16"), "not a JSON object"),
        ('{"result":"0","cdr":[]}'.encode("utf-16-be"), "not a JSON object"),
        (b'{"cdr":[]}', "no result: a JSON object with cdr (a list), 10 bytes"),
        (b'{"result":"0","list":[]}', "no cdr, but another list"),
        (b'{"result":"0","cdr":null,"data":{"cdr":[]}}', "no cdr, but another list or object"),
        (b'{"result":"0","x":[],"x":1}', "no cdr, but another list or object"),
        (b'{"result":"0","error":"Bad period"}', "no cdr, but an error"),
        (b'{"result":"0","cdr":null,"error_code":"E7"}', "no cdr, but an error"),
        (b"{}", "no result"),
        (b'{"result":"0","cdr":{"cdr":[]}}', "cdr is an object, not a list"),
        (b'{"result":"0","cdr":"[]"}', "cdr is a string, not a list"),
        (b'{"result":"0","cdr":0}', "cdr is a number, not a list"),
        (b'{"result":"0","cdr":[],"cdr":[]}', "two cdr"),
        (b'{"result":"0","cdr":null,"cdr":[]}', "two cdr"),
        (b'{"result":"0","cdr":null,"cdr":null}', "two cdr"),
        (b'{"result":"0","cdr":[],"\\u0063dr":7}', "two cdr"),
        (b'{"result":"0","cdr":[]}{}', "not JSON"),
        (b'{"result":"0","cdr":[]}]', "not JSON"),
        (b'{"result":"0","cdr":[]} <html>', "not JSON: wrong at byte"),
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
def test_anything_but_the_documented_answer_is_unreadable(answer: bytes, says: str, batch_bytes: int) -> None:
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
def test_records_without_single_commas_between_them_are_unreadable(array: bytes, batch_bytes: int) -> None:
    with pytest.raises(UnreadableAnswer, match="comma"):
        read(body(array % (record("a"), record("b"))))


@pytest.mark.parametrize(
    "array", [b",", b" , ", b"%b}" % record(), b'{"a":[1},%b' % record(), b'{"a":1],%b' % record()]
)
def test_an_array_whose_structure_is_wrong_is_unreadable(array: bytes, batch_bytes: int) -> None:
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
        (b'{"error":{"code":5}}', "an object", {"error": "an object"}),
        (b'{"error":[{"name":"Alice"}]}', "a list", {}),
        (b'{"result":5,"desc":"{\\"name\\":\\"Alice\\"}"}', "result 5: a text that is no message", {}),
        (b'{"result":"Alice, 10.1.1.1","desc":"no"}', "result a text of 15 characters: no", {}),
        (b'{"result":null,"cdr":[]}', "an error without words", {"result": None}),
        (b'{"result":false,"cdr":[]}', "result false", {"result": "false"}),
    ],
)
def test_an_error_envelope_is_refused_in_the_apis_words(
    answer: bytes, said: str, fields: dict[str, str | None], batch_bytes: int
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


def test_an_answer_too_large_to_be_held_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BATCH_BYTES", 100)
    monkeypatch.setattr(answers, "MAX_HELD_BYTES", 5000)
    monkeypatch.setattr(answers, "MAX_ENVELOPE_BYTES", 2000)
    long = [b"x" * 100] * 1000

    def given_up_early(chunks: list[bytes], says: str) -> None:
        left = iter(chunks)
        with pytest.raises(UnreadableAnswer, match=says):
            read(left)
        assert len(list(left)) > 900

    given_up_early([b'{"result":"0","cdr":[%b,{"a":"' % record(), *long], "goes on")
    given_up_early([b'{"result":"0","cdr":[%b' % record(), *[b" " * 100] * 1000], "goes on")
    given_up_early([b'{"result":"0","a":"', *long], "no records in the first")
    given_up_early([body(record()), *long], "outside its records")
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
