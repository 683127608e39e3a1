"""Which fields a later version of a record changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import msgspec

from cdr_assets.database import Connection, run
from cdr_assets.warehouse.load import MAX_TEXTS, has_texts, read_versions
from cdr_assets.warehouse.partitions import delete_partitions, slices
from cdr_assets.warehouse.table import Inputs, Rebuilt, Table

VERSIONS_AT_ONCE = 5_000
"""Records whose versions are decoded at a time."""

_COLUMNS = ("cdr_ids", "landed_ats", "versions", "fields", "befores", "afters")

MAX_VALUE = 65_536
"""Letters of a value that are kept. One can be as long as a record."""

SECRET = "token"
"""A field that lets its holder join a call. It never enters the warehouse."""


def replace_changes(connection: Connection, table: Table, days: Sequence[date], inputs: Inputs) -> Rebuilt:
    """Compares the versions of each record of the day that has several, field by field."""
    (usage_date,) = days
    delete_partitions(connection, table, days)
    if has_texts(connection, usage_date):
        _insert(connection, table, usage_date)
    else:
        for each in slices(connection, table, usage_date=usage_date, slice_size=MAX_TEXTS):
            run(connection, table.sql("changed_ids"), usage_date=usage_date, **each)
            read_versions(connection, usage_date, inputs.landed, [], with_text=True)
            _insert(connection, table, usage_date)
    return Rebuilt(frozenset(days))


def changed_fields(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The fields of two decoded records that differ: path, value before, value after. None stands for no value.

    A list counts as one value. 1 and 1.0 are the same value, and so are null and a field that is not there.
    """
    if isinstance(before, dict) or isinstance(after, dict):
        parts = [each if isinstance(each, dict) else {} for each in (before, after)]
        if not all(isinstance(each, dict) or each is None for each in (before, after)):
            # One of them is a value, the other is an object.
            yield path, None if isinstance(before, dict) else before, None if isinstance(after, dict) else after
        for name in dict.fromkeys([*parts[0], *parts[1]]):
            if name != SECRET:
                yield from changed_fields(parts[0].get(name), parts[1].get(name), f"{path}.{name}" if path else name)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield path, before, after


def _insert(connection: Connection, table: Table, usage_date: date) -> None:
    """Adds the changes between the versions in `landed_versions`."""
    for each in slices(connection, table, usage_date=usage_date, slice_size=VERSIONS_AT_ONCE):
        versions = run(connection, table.sql("versions"), usage_date=usage_date, **each)
        changes = [
            (row["cdr_id"], row["landed_at"], row["version"], field, _text(before), _text(after))
            for row in versions
            for field, before, after in changed_fields(_decoded(row["before"]), _decoded(row["after"]))
        ]
        if changes:
            columns = map(list, zip(*changes, strict=True))
            run(connection, table.sql("insert"), usage_date=usage_date, **dict(zip(_COLUMNS, columns, strict=True)))


def _decoded(record: str) -> Any:
    try:
        return msgspec.json.decode(record)
    except msgspec.DecodeError:
        # Half of a surrogate pair, for instance. Python's own decoder takes it.
        return json.loads(record, parse_int=float)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:MAX_VALUE].encode(errors="replace").decode()
