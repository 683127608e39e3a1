"""No text of an answer's records reaches an error or a log, whatever shape the answer has."""

from __future__ import annotations

import json
import logging
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.enablex.answers import AnswerError, read_records, refusal
from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.errors import EnableXError, Unavailable
from cdr_assets.enablex.outline import describe
from cdr_assets_tests.httpserver import answer, chunked, cut, serving
from cdr_assets_tests.rawserver import Talk, saying, talking

PERSON = {"name": "Zoya Quillfeather", "ip": "198.51.100.77", "token": "eyJhbGciOi.xWvUtSrQpO", "ref": "zq-88412"}
WORDS = ["Zoya", "Quill", "feather", "198.51", "100.77", "eyJhb", "xWvUt", "88412"]
"""Pieces of the person's data."""

RECORD = {"cdr_id": "c-1", "trans_date": "2026-11-01T10:00:00Z", "user": PERSON, **PERSON}
TEXT = json.dumps(RECORD)
WHOLE = '{"result":"0","cdr":[' + ",".join([TEXT] * 3) + "]}"

SHAPES = [
    TEXT,
    f"[{TEXT}]",
    json.dumps(TEXT),
    json.dumps(PERSON["name"]),
    json.dumps(PERSON),
    '{"result":"0","data":[' + TEXT + "]}",
    '{"result":"0","cdr":' + TEXT + "}",
    '{"result":"0","cdr":' + json.dumps(TEXT) + "}",
    '{"result":' + TEXT + "}",
    '{"result":' + json.dumps(PERSON["name"]) + ',"cdr":[]}' + TEXT,
    '{"result":5,"error":' + TEXT + ',"desc":[' + TEXT + '],"message":' + json.dumps(TEXT) + "}",
    '{"status":"error","error_code":' + json.dumps(PERSON["token"] + "/=") + ',"request_id":' + TEXT + "}",
    json.dumps({**RECORD, "desc": "the room of Zoya", "error": None, "error_code": PERSON["ref"]}),
    json.dumps({PERSON["token"]: RECORD, PERSON["ref"]: 1, PERSON["ip"]: 2}),
    f"Call of {PERSON['name']} from {PERSON['ip']}",
    f"<html><body>{TEXT}</body></html>",
    "cdr_id,name\nc-1,Zoya Quillfeather\n",
    f"HTTP/1.1 200 OK\r\n\r\n{TEXT}",
    *(WHOLE[:end] for end in range(0, len(WHOLE), 7)),
    WHOLE.replace("},{", "} {"),
    WHOLE.replace("},{", "},,{"),
    WHOLE.replace("},{", "}},{"),
    WHOLE.replace("},{", "}]{"),
    WHOLE + TEXT,
    WHOLE.replace("[", "").replace("]", ""),
]


def said_of(body: bytes) -> str:
    """Everything that is said of a body, as an answer and as an error's body."""
    said = [describe(body), describe(body, "text/plain"), str(refusal(body))]
    try:
        for _ in read_records([body]):
            pass
    except AnswerError as error:
        said.append(f"{error} {vars(error)}")
    return "\n".join(said)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_another_shape_is_not_quoted(shape: str) -> None:
    said = said_of(shape.encode())
    assert [word for word in WORDS if word in said] == []


@settings(max_examples=300)
@given(st.sampled_from([WHOLE, *SHAPES[:8]]), st.data())
def test_a_damaged_answer_is_not_quoted(whole: str, data: st.DataObject) -> None:
    body = bytearray(whole.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        put = data.draw(st.sampled_from([b"", *(bytes([c]) for c in b'{}[],:"\\ \n0aN\xff')]))
        body[at : at + data.draw(st.integers(0, 1))] = put
    said = said_of(bytes(body))
    assert [word for word in WORDS if word in said] == []


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"", "text/html", "no text"),
        (b" \n", "", "no text"),
        (b"busy", "text/plain; charset=utf-8", "4 bytes of text/plain"),
        (b"busy", "Zoya Quillfeather", "4 bytes"),
        (b"\xff\xfe", "application/octet-stream", "2 bytes of application/octet-stream"),
        (b"<HTML><TITLE>a &amp;\n b</TITLE>", "text/html", "31 bytes of HTML, titled 'a & b'"),
        (b"<html><body>no title", "text/html", "20 bytes of HTML"),
        (b"[1,2]", "", "a list, 5 bytes"),
        (b'"text"', "", "a string, 6 bytes"),
        (b"{}", "", "a JSON object without a key, 2 bytes"),
        (
            b'{"items":[],"total":0,"a b":null,"x":{}}',
            "",
            "a JSON object with items (a list), total (a number), a key of 3 characters (null), x (an object), "
            "40 bytes",
        ),
        (b'{"cdr":[{"a":1}],"name":', "", "a JSON object with cdr (a list), 24 bytes"),
        (b'{"cdr":1,"name":2', "", "a JSON object with cdr (a number), a key of 4 characters (a number), 17 bytes"),
        (
            json.dumps(dict.fromkeys("abcdefghijklm")).encode(),
            "",
            "a JSON object with " + ", ".join(f"{key} (null)" for key in "abcdefghij") + " and 3 more, 143 bytes",
        ),
    ],
)
def test_a_body_is_described(body: bytes, content_type: str, said: str) -> None:
    assert describe(body, content_type) == said


# Through the client


def ask(client: EnableX) -> None:
    for attempt in client.room("1"):
        with attempt:
            pass


def everything_shown(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """All that an error of the client shows, and all that is logged on the way."""
    caplog.set_level(logging.DEBUG)
    client = EnableX("id", "key", url, tries=2, sleep=lambda _: None)
    with pytest.raises(EnableXError) as caught:
        ask(client)
    client.close()
    error = caught.value
    shown = traceback.format_exception(type(error), error, error.__traceback__)
    return "\n".join([*shown, str(vars(error)), caplog.text, *(str(record.exc_info) for record in caplog.records)])


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("body", [*SHAPES[:18], WHOLE[:-20]])
def test_no_error_of_the_client_quotes_a_record(body: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with serving(answer(body.encode(), status, {"Content-Type": f"{PERSON['name']}/{PERSON['ref']}"})) as server:
        shown = everything_shown(server.url, caplog)
    assert [word for word in WORDS if word in shown] == []


BROKEN: dict[str, Talk] = {
    "no status line": saying(f"{TEXT}\r\n\r\n".encode()),
    "a version": saying(f"HTTP/{PERSON['token']} 200 OK\r\n\r\n".encode()),
    "a status": saying(f"HTTP/1.1 {PERSON['ref']} OK\r\n\r\n".encode()),
    "the length of a chunk": saying(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TEXT}\r\n".encode()),
    "a length": saying(f"HTTP/1.1 200 OK\r\nContent-Length: {PERSON['ref']}\r\n\r\n{TEXT}".encode()),
    "two lengths": saying(f"HTTP/1.1 200 OK\r\nContent-Length: 5, {PERSON['ref']}\r\n\r\n{TEXT}".encode()),
    "a header": saying(f"HTTP/1.1 200 OK\r\nX: y\r\n{TEXT}\r\nZ: z\r\n\r\n{TEXT}".encode()),
    "an encoding": saying(f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n{TEXT}".encode()),
}


@pytest.mark.parametrize("talk", BROKEN.values(), ids=BROKEN.keys())
def test_a_record_in_the_place_of_http_is_not_quoted(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    with talking(talk) as server:
        shown = everything_shown(f"http://{server.address}", caplog)
    assert [word for word in WORDS if word in shown] == []


def test_what_breaks_off_says_where(caplog: pytest.LogCaptureFixture) -> None:
    with serving(cut(WHOLE.encode(), 100)) as server:
        assert "IncompleteRead" in everything_shown(server.url, caplog)
    with serving(chunked([WHOLE.encode()[:-30]])) as server, pytest.raises(Unavailable) as caught:
        ask(EnableX("id", "key", server.url, tries=1))
    assert str(caught.value).endswith(
        f"the answer breaks off among its records, {len(WHOLE) - 30:,} bytes from its start"
    )
    with pytest.raises(AnswerError, match="two records have no comma between them, 298 bytes from the start"):
        list(read_records([WHOLE.replace("},{", "} {").encode()]))
