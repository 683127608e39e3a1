"""The page of one conference: who was there, when, and for how long. One HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from cdr_assets.database import Connection, run
from cdr_assets.reports.meeting import who_met
from cdr_assets.warehouse.people import PeopleInExports

TICKS = 5
"""Times that are written below a timeline."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """A connection in the timeline, in percent of its width."""

    left: float
    width: float
    says: str


@dataclass(frozen=True)
class Person:
    """Somebody in a conference. `row` is the row of `attendance`, with the name by which the person is shown."""

    row: Row
    bars: Sequence[Bar]
    bad_media: str
    """What was bad on one of the connections, such as "receive video"."""


@dataclass(frozen=True)
class Conference:
    """A conference as its page shows it. `row` is the row of `conference_usage`, with `provisional`."""

    row: Row
    people: Sequence[Person]
    ticks: Sequence[datetime]
    restated_records: int
    lost_fields: Sequence[str]
    changed_fields: Sequence[Row]


def find_conferences(connection: Connection, conf_num: str, people: PeopleInExports) -> list[Conference]:
    """The conferences of a number, oldest first: records more than 7 days apart, or of two apps, are two of them."""
    shown = {"key": "" if people.in_clear else people.key, "in_clear": people.in_clear}
    found = run(connection, _sql("conferences"), conf_num=conf_num, **shown)
    return [_conference(connection, row, shown) for row in found]


def page(conferences: Sequence[Conference], people: PeopleInExports, is_sandbox: bool) -> str:
    """The page as HTML. Every text in it is escaped."""
    return _template().render(
        conferences=conferences,
        in_clear=people.in_clear,
        is_sandbox=is_sandbox,
        who_met=who_met,
    )


def _conference(connection: Connection, row: Row, shown: Mapping[str, Any]) -> Conference:
    """The conference of a row. `shown` says how ids and people are shown."""
    which = {name: row[name] for name in ("conf_num", "app_id", "usage_date")}
    span = {**which, "last_usage_date": row["last_usage_date"]}
    connections = run(connection, _sql("connections"), **span)
    begin, end = row["first_connect_dt"], row["last_disconnect_dt"]
    found = run(connection, _sql("people"), **which, **shown)
    lost = {name for each in connections for name in (each["lost_fields"] or "").split(",") if name}
    return Conference(
        row,
        [_person(person, connections, begin, end) for person in found],
        _ticks(begin, end) if any(each["has_presence"] for each in connections) else [],
        sum(each["versions"] > 1 for each in connections),
        sorted(lost),
        run(connection, _sql("changed_fields"), **span, in_clear=shown["in_clear"]),
    )


def _person(row: Row, connections: Sequence[Row], begin: datetime, end: datetime) -> Person:
    known = (row["participant_known_by"], row["participant"])
    own = [each for each in connections if (each["participant_known_by"], each["participant"]) == known]
    stays = [(each["room_connect_dt"], each["room_disconnect_dt"]) for each in own if each["has_presence"]]
    bad = {media for each in own for media in (each["bad_media"] or "").split(", ") if media}
    return Person(row, [_bar(*stay, begin, end) for stay in stays], ", ".join(sorted(bad)))


def _bar(connected: datetime, disconnected: datetime, begin: datetime, end: datetime) -> Bar:
    whole = (end - begin) / timedelta(microseconds=1)
    left, right = (100 * ((at - begin) / timedelta(microseconds=1)) / whole for at in (connected, disconnected))
    return Bar(round(left, 3), round(right - left, 3), f"{connected:%H:%M:%S} to {disconnected:%H:%M:%S} UTC")


def _ticks(begin: datetime, end: datetime) -> list[datetime]:
    return [begin + (end - begin) * number / (TICKS - 1) for number in range(TICKS)]


@cache
def _sql(name: str) -> str:
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files(__package__) / "call.html").read_text(encoding="utf-8"))
