"""Find a conference, and see who was there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from cdr_assets.days import DAY
from cdr_assets.reports.dashboard.elements import (
    NONE,
    UNNAMED,
    Figure,
    count_column,
    cut,
    figures,
    is_missing,
    link,
    minutes_column,
    number,
    plain,
    records,
    table,
    time_column,
)
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.state import period, rows
from cdr_assets.reports.meeting import who_met

MOST_CONFERENCES = 500
"""Rows of a search."""

MOST_LINES = 60
"""People in a timeline."""

RECENT_DAYS = 7

MODERATOR, OTHERS = "moderator", "others"

_FACTS = (
    ("People", "participants", 0),
    ("Most at once", "peak_participants", 0),
    ("Returns", "rejoins", 0),
    ("Participant minutes", "participant_minutes", 1),
    ("Billable minutes", "billable_minutes", 0),
    ("Minutes with anybody", "conference_minutes", 1),
    ("Minutes with two or more", "met_minutes", 1),
    ("Minutes with one alone", "alone_minutes", 1),
    ("Minutes moderated", "moderated_minutes", 1),
)
_HELP = {
    "peak_participants": "Most connections that were open at once.",
    "rejoins": "How often people came back after an absence.",
    "billable_minutes": "Each connection is rounded up to whole minutes.",
    "conference_minutes": "Minutes with anybody there.",
    "met_minutes": "Minutes with two people or more.",
    "alone_minutes": "Minutes with exactly one person there.",
    "moderated_minutes": "Minutes with a moderator and at least one other person.",
}

_FLOATS = dict.fromkeys(("conference_minutes", "met_minutes", "alone_minutes", "participant_minutes"), float)
"""Exact minutes, as a table shows them."""

Row = Mapping[str, Any]


def page() -> None:
    """The page: one conference number if the address has one, else the search."""
    conf_num = st.query_params.get("conf_num")
    if conf_num:
        _show_number(conf_num)
    else:
        _search()


# The search


def _search() -> None:
    left, right = st.columns(2)
    with left:
        given = _field("number", "Conference number, or its beginning")
    with right:
        room = _field("room", "Room, or its beginning")
    chosen = period()
    found = _newest(chosen, given, room)
    if found.empty:
        st.info(
            f"No such conference began from {chosen.first} to {chosen.last}. Choose other days, or search for less."
        )
        return
    st.caption(_how_many(found) + " Select a row to see who was there.")
    found = found.head(MOST_CONFERENCES)
    picked = table(
        found.drop(columns="usage_date").astype(_FLOATS),
        key="conferences",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "first_connect_dt": time_column("Start, UTC"),
            "conf_num": "Conference",
            "room_id": "Room",
            "participants": count_column("People"),
            "connections": count_column("Connections"),
            "conference_minutes": minutes_column("Minutes", help=_HELP["conference_minutes"]),
            "met_minutes": minutes_column("Met", help=_HELP["met_minutes"]),
            "alone_minutes": minutes_column("Alone", help=_HELP["alone_minutes"]),
            "participant_minutes": minutes_column("Participant minutes"),
            "rejoins": count_column("Returns", help=_HELP["rejoins"]),
        },
    )
    for place in picked["selection"]["rows"]:
        _open(found.iloc[place]["conf_num"])


def _field(name: str, label: str) -> str:
    """A text to search for, which the address has too."""
    if name not in st.session_state:
        st.session_state[name] = st.query_params.get(name, "")
    given = st.text_input(label, key=name).strip()
    if given:
        st.query_params[name] = given
    else:
        st.query_params.pop(name, None)
    return given


def _newest(chosen: Period, given: str, room: str) -> pd.DataFrame:
    """The newest conferences of the period, one more than are shown if there are more."""
    most = MOST_CONFERENCES + 1
    border = max(chosen.first, chosen.last - DAY * (RECENT_DAYS - 1))
    found = rows("conferences", Period(border, chosen.last), number=given, room=room, most=most)
    if len(found) < most and border > chosen.first:
        # As a rule the last days have enough, and sorting all of a year takes long.
        former = rows("conferences", Period(chosen.first, border - DAY), number=given, room=room, most=most)
        found = pd.concat([each for each in (found, former) if len(each)] or [found])
    return found.head(most).sort_values("first_connect_dt", ascending=False, kind="stable", ignore_index=True)


def _how_many(found: pd.DataFrame) -> str:
    if len(found) > MOST_CONFERENCES:
        return f"The newest {MOST_CONFERENCES} conferences. There are more: search for a number or a room."
    count = found["conf_num"].count()
    unnamed = len(found) - count
    others = f" Records that name none have {unnamed} more rows." if unnamed else ""
    return ("One conference." if count == 1 else f"{count} conferences, newest first.") + others


def _open(conf_num: Any) -> None:
    if is_missing(conf_num):
        st.info("These are the records of a day that name no conference, so nobody knows who met whom.")
        return
    st.query_params["conf_num"] = conf_num
    st.rerun()


# One conference


def _show_number(conf_num: str) -> None:
    if st.button("Back to the search", icon=":material/arrow_back:"):
        del st.query_params["conf_num"]
        st.rerun()
    found = records(rows("conferences_of_number", None, conf_num=conf_num))
    st.header(f"Conference {plain(conf_num)}")
    if not found:
        st.warning(
            "The exports have no such conference. Compare the number with the search's. To ask EnableX for it: "
            "`cdr-assets launch --job fetch_conference`."
        )
    elif len(found) > 1:
        st.caption(f"{len(found)} conferences have this number: they lie more than 7 days apart, or are of two apps.")
    for place, row in enumerate(found):
        if place:
            st.divider()
        _show(row)


def _show(row: Row) -> None:
    days = Period(pd.Timestamp(row["usage_date"]).date(), pd.Timestamp(row["last_usage_date"]).date())
    of_app = f" App {plain(row['app_id'])}." if row["app_id"] else ""
    begin, end = (_time(row[name]) for name in ("first_connect_dt", "last_disconnect_dt"))
    st.markdown(f"Room {plain(row['room_id'] or 'unknown')}.{of_app} {begin} to {end} UTC.")
    st.subheader(who_met(row))
    (state,) = records(rows("provisional", days))
    if state["provisional"]:
        st.warning("Provisional: more records of this conference may still come.")
    facts = [Figure(label, row[name], help=_HELP.get(name), digits=digits) for label, name, digits in _FACTS]
    figures(facts[:5])
    figures(facts[5:])
    which = {"conf_num": row["conf_num"], "app_id": row["app_id"]}
    connections = rows("conference_connections", days, **which)
    people = rows("conference_people", Period(days.first, days.first), **which, usage_date=days.first)
    people = people.assign(name=_names(people))
    _timeline(people, connections)
    _people(people, connections)
    _say_restated(connections, rows("conference_changes", days, **which))


def _time(value: datetime | None) -> str:
    return NONE if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _names(people: pd.DataFrame) -> list[str]:
    """What each person is called on this page. No two have the same name."""
    names: list[str] = []
    for person in records(people):
        # Exports in clear have a name; else the first characters of the hash tell people of a conference apart.
        short = person["participant"] if "user_name" in people else person["participant"][:8]
        name = UNNAMED if person["participant_known_by"] == "cdr_id" else cut(person.get("user_name") or short, 60)
        same = sum(each == name or each.startswith(f"{name} (") for each in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return names


def _timeline(people: pd.DataFrame, connections: pd.DataFrame) -> None:
    shown = people.head(MOST_LINES)
    labels = [f"{row['name']} (moderator)" if row["is_moderator"] else row["name"] for row in records(shown)]
    who = ["participant_known_by", "participant"]
    stays = connections[connections["has_presence"].astype(bool)].merge(shown.assign(label=labels), on=who)
    if stays.empty:
        return
    st.subheader("Who was there, and when")
    begin, end = stays["room_connect_dt"].min(), stays["room_disconnect_dt"].max()
    data = pd.DataFrame(
        {
            "person": stays["label"],
            "role": stays["is_moderator"].map({True: MODERATOR, False: OTHERS}),
            "came": stays["room_connect_dt"].dt.tz_localize("UTC"),
            "left": stays["room_disconnect_dt"].dt.tz_localize("UTC"),
            "from_utc": stays["room_connect_dt"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "to_utc": stays["room_disconnect_dt"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "minutes": (stays["room_disconnect_dt"] - stays["room_connect_dt"]).dt.total_seconds() / 60,
        }
    )
    present = set(data["person"])
    base = alt.Chart(data).encode(
        x=alt.X(
            "came:T",
            title="UTC",
            scale=alt.Scale(type="utc"),
            axis=alt.Axis(format=_axis_format(end - begin), labelOverlap=True, tickCount=8),
        ),
        y=alt.Y(
            "person:N",
            title=None,
            sort=[label for label in labels if label in present],
            axis=alt.Axis(labelOverlap=False),
        ),
        color=alt.Color(
            "role:N",
            title=None,
            scale=alt.Scale(domain=[MODERATOR, OTHERS], range=["#d9822b", "#4c8fd9"]),
            legend=alt.Legend(orient="top"),
        ),
        tooltip=[
            alt.Tooltip("person:N"),
            alt.Tooltip("from_utc:N", title="came, UTC"),
            alt.Tooltip("to_utc:N", title="left, UTC"),
            alt.Tooltip("minutes:Q", format=",.1f"),
        ],
    )
    # A connection of a second would be too thin to see.
    chart = base.mark_bar(height=14).encode(x2="left:T") + base.mark_tick(thickness=2, height=14)
    chart = chart.properties(
        height=24 * len(present) + 112,
        description="A line per person, a bar per connection. The table below says the same.",
    )
    st.altair_chart(chart.configure_axisY(labelLimit=220))
    if len(people) > len(shown):
        st.caption(f"The first {MOST_LINES} of {len(people):,} people, moderators before others. The table has all.")


def _axis_format(length: timedelta) -> str:
    if length > timedelta(days=1):
        return "%m-%d %H:%M"
    return "%H:%M:%S" if length < timedelta(minutes=10) else "%H:%M"


def _people(people: pd.DataFrame, connections: pd.DataFrame) -> None:
    st.subheader("People")
    bad = _bad_media(connections)
    chosen = period()
    whose = zip(people["participant_known_by"], people["participant"], strict=True)
    shown = pd.DataFrame(
        {
            "Person": people["name"],
            "Page": [
                link("people", participant=each, **{"from": chosen.first, "to": chosen.last})
                for each in people["participant"]
            ],
            "Role": people["user_role"],
            "Came": people["first_connect_dt"],
            "Left": people["last_disconnect_dt"],
            "Minutes present": people["presence_minutes"].astype(float),
            "Of the conference": people["share"].astype(float),
            "Returns": people["rejoins"],
            "Minutes alone": people["alone_minutes"].astype(float),
            "With a moderator": people["with_moderator_minutes"].astype(float),
            "Client": people["client"],
            "Bad media": [bad.get(each) for each in whose],
        }
    )
    table(
        shown,
        column_config={
            "Came": time_column("Came"),
            "Left": time_column("Left"),
            "Minutes present": minutes_column("Minutes present", help="Two connections at once count once."),
            "Of the conference": st.column_config.NumberColumn(format="percent"),
            "Minutes alone": minutes_column("Minutes alone"),
            "With a moderator": minutes_column("With a moderator", help="Minutes with another person who moderates."),
            "Page": st.column_config.LinkColumn("Page", display_text="Open", help="The person's other conferences."),
        },
    )


def _bad_media(connections: pd.DataFrame) -> dict[tuple[str, str], str]:
    """What was bad on one of a person's connections, such as "receive video"."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in records(connections):
        if row["bad_media"]:
            found.setdefault((row["participant_known_by"], row["participant"]), set()).update(
                row["bad_media"].split(", ")
            )
    return {whose: ", ".join(sorted(media)) for whose, media in found.items()}


def _say_restated(connections: pd.DataFrame, changes: pd.DataFrame) -> None:
    st.subheader("Records")
    restated = int((connections["versions"] > 1).sum())
    said = f"{number(len(connections))} records"
    if restated:
        said += f", {number(restated)} of which EnableX has restated"
    lost = {name.strip() for names in connections["lost_fields"].dropna() for name in names.split(",")}
    if lost:
        said += f". Fields that could not be read: {plain(', '.join(sorted(lost)), 500)}"
    st.markdown(f"{said}.")
    if len(changes):
        table(
            changes,
            width="content",
            column_config={
                "field": "Field that was restated",
                "changes": count_column("Changes"),
                "last_landed_at": time_column("Last, UTC"),
            },
        )
