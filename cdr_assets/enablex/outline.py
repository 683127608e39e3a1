"""What can be said of a text without quoting it: what it is, how long, and its keys.

An answer that is not what it should be may still hold records, and with them names, addresses and join tokens. Its
values never reach an error, a log or an alert.
"""

from __future__ import annotations

import html
import re

import msgspec

from cdr_assets.enablex.errors import excerpt
from cdr_assets.enablex.tokens import SPACE, members, value_kind

MAX_KEYS = 10
BOM = b"\xef\xbb\xbf"

_MAX_TITLE = 80
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|title)\b", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^<>]*>([^<>]*)</title", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,30}")
_MEDIA_TYPE = re.compile(r"[A-Za-z]{1,20}/[\w.+-]{1,60}", re.ASCII)
_KNOWN = frozenset(
    re.findall(
        r"\w+",
        "result cdr error desc error_code message request_id status cdr_id trans_date conf_num app_id room user "
        "sigserver usage published_track stats_quality price sip",
    )
)
"""Keys of an answer and of a record. In a text that is not JSON, any other could be a value."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PLACE = re.compile(r"\(byte (\d+)\)")


def describe(body: bytes, content_type: str = "") -> str:
    """What a body is: `no text`, `412 bytes of text/html, titled "Bad Gateway"`, `a JSON object with error (null)`."""
    text = body.removeprefix(BOM).strip(SPACE)
    if not text:
        return "no text"
    if text.startswith(b"{"):
        return f"{_object(text)}, {len(body):,} bytes"
    if text[:1] in (b"[", b'"'):
        return f"{value_kind(text)}, {len(body):,} bytes"
    if _HTML.match(text):
        title = _TITLE.search(text)
        said = excerpt(html.unescape(title[1].decode(errors="replace")).encode(errors="replace")) if title else ""
        return f"{len(body):,} bytes of HTML{f', titled {said[:_MAX_TITLE]!r}' if said else ''}"
    kind = _MEDIA_TYPE.match(content_type)
    return f"{len(body):,} bytes{f' of {kind[0]}' if kind else ''}"


def _object(text: bytes) -> str:
    try:
        is_json = bool(_OBJECT.decode(text)) and bool(text.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_json = False
    keys = [f"{_shown(key, is_json)} ({value_kind(text[at:])})" for key, at in members(text)]
    more = f" and {len(keys) - MAX_KEYS:,} more" if len(keys) > MAX_KEYS else ""
    return f"a JSON object with {', '.join(keys[:MAX_KEYS])}{more}" if keys else "a JSON object without a key"


def _shown(key: str, is_json: bool) -> str:
    """The key, or its length where it could be a value: an id, or in broken JSON anything."""
    return key if _PLAIN_KEY.fullmatch(key) and (is_json or key in _KNOWN) else f"a key of {len(key)} characters"


def json_fault(error: Exception) -> str:
    """Where JSON is wrong, as far as the decoder's error says so."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start:,}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    place = _PLACE.search(str(error)) if isinstance(error, msgspec.DecodeError) else None
    return f"wrong at byte {int(place[1]):,}" if place else "cut short or of another shape"
