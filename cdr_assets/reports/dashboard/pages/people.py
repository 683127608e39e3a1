"""What one person attended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from cdr_assets.database import WarehouseError
from cdr_assets.days import DAY
from cdr_assets.reports.dashboard.elements import (
    UNNAMED,
    Figure,
    count_column,
    figures,
    is_missing,
    link,
    minutes_column,
    number,
    plain,
    records,
    share,
    table,
    time_column,
)
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.settings import settings
from cdr_assets.reports.dashboard.state import exports, period, rows
from cdr_assets.warehouse.people import KEY, people_key

MOST_CONFERENCES = 500

CONNECTIONS_DAYS = 30
"""Connections are shown of so many days."""

_HASH = re.compile(r"[0-9a-f]{32}")
_BEGINNING_OF_A_HASH = re.compile(r"[0-9a-f]{8,31}")
_COLUMNS = (
    "first_connect_dt",
    "conf_num",
    "room_id",
    "user_role",
    "presence_minutes",
    "share",
    "rejoins",
    "alone_minutes",
    "with_moderator_minutes",
    "client",
)
_FLOATS = dict.fromkeys(("presence_minutes", "share", "alone_minutes", "with_moderator_minutes"), float)


def page() -> None:
    """The page. The address has the person as the exports do: unless they are in clear, that is a hash."""
    in_clear = "user_name" in rows("attendance_columns", period())
    participant = _ask(in_clear)
    if not participant:
        st.info("Give a reference, or open a person on the page of a conference.")
        return
    whole = participant if in_clear else _whole_hash(participant)
    if whole:
        _show(whole)


# The search


def _ask(in_clear: bool) -> str:
    """Asks for a person. Returns what the address then has, empty without one."""
    key = None if in_clear else _key()
    left, right = st.columns(2)
    left.text_input(
        "Reference of the person (user_ref)",
        key="reference",
        disabled=key is None and not in_clear,
        help="Not a name."
        if in_clear
        else "Not a name. It is hashed before anything is searched, and does not appear in the address.",
        on_change=_look_up,
        args=(key,),
    )
    if not in_clear:
        # A page that was opened by a link shows whose it is.
        st.session_state["hash"] = st.query_params.get("participant", "")
        right.text_input("Hash, as in the exports, or its first 8 characters", key="hash", on_change=_take_hash)
    return st.query_params.get("participant", "")


def _key() -> str | None:
    """The key of the hashes; None, with what to do, if there is none. It is never made here."""
    keys = settings().keys
    try:
        if keys.read(KEY) is not None:
            return people_key(keys)
        problem = f"{keys.place(KEY)} is not there. Set CDR_DATA_DIR or CDR_LANDING as where the exports are written"
    except (WarehouseError, OSError) as error:
        problem = f"The key cannot be read. {error}"
    st.warning(f"People cannot be searched by their reference: {plain(problem, 500)}. The hash works without the key.")
    return None


def _look_up(key: str | None) -> None:
    reference = st.session_state["reference"].strip()
    participant = _hashed(reference, key) if reference and key else reference
    _put_in_address(participant)


def _take_hash() -> None:
    st.session_state["reference"] = ""
    _put_in_address(st.session_state["hash"].strip().lower())


def _put_in_address(participant: str) -> None:
    if participant:
        st.query_params["participant"] = participant
    else:
        st.query_params.pop("participant", None)


def _hashed(reference: str, key: str) -> str:
    # Past the cache of `rows`, which would keep the reference and the key.
    ((participant,),) = exports().query("hashed", None, key=key, user_ref=reference).to_numpy()
    return str(participant)


def _whole_hash(given: str) -> str | None:
    """The hash that begins like this; None, with what to do, if there is not just one."""
    if _HASH.fullmatch(given):
        return given
    if not _BEGINNING_OF_A_HASH.fullmatch(given):
        st.warning(f"{plain(given)} is no hash: give at least 8 of its 32 characters, which are 0 to 9 and a to f.")
        return None
    found = rows("people_beginning", period(), beginning=given, most=2)["participant"].tolist()
    if len(found) == 1:
        return str(found[0])
    if found:
        st.warning(f"The hashes of several people begin with {given}. Give more of its characters.")
    else:
        _say_absent()
    return None


def _say_absent() -> None:
    chosen = period()
    st.info(
        f"Nobody with this reference was in a conference that began from {chosen.first} to {chosen.last}. Choose other "
        "days, or compare the reference with the one that the conference was given. People are not searched by their "
        "name here. The warehouse says who has it, and where: "
        "`SELECT participant, participant_known_by, conf_num FROM attendance WHERE user_name = '...'`"
    )


# One person


def _show(participant: str) -> None:
    found = rows("person_conferences", period(), participant=participant, most=MOST_CONFERENCES)
    if found.empty:
        _say_absent()
        return
    sums = records(found.drop(columns="clients").head(1))[0]
    short = plain(participant[:8] if _HASH.fullmatch(participant) else participant)
    st.header(UNNAMED if sums["known_by_nothing"] else f"Person {short}")
    if sums["known_by_name"]:
        st.caption("Known by a name alone, which tells people apart only within one conference.")
    figures(
        [
            Figure("Conferences", sums["all_conferences"]),
            Figure("Minutes present", sums["all_presence_minutes"], digits=1),
            Figure("Minutes alone", sums["all_alone_minutes"], digits=1),
            Figure("Returns", sums["all_rejoins"], help="How often the person came back after an absence."),
            Figure("Connections", sums["all_connections"]),
        ]
    )
    _conferences(found, sums)
    left, right = st.columns(2)
    with left:
        _clients(found["clients"].iloc[0])
    with right:
        _connections(participant, _last_days(sums))


def _conferences(found: pd.DataFrame, sums: Mapping[str, Any]) -> None:
    st.subheader("Conferences")
    if sums["all_conferences"] > len(found):
        st.caption(f"The newest {len(found)} of {number(sums['all_conferences'])}. Choose fewer days to see others.")
    chosen = period()
    shown = found[list(_COLUMNS)].astype(_FLOATS)
    links = [
        None if is_missing(each) else link("conferences", conf_num=each, **{"from": chosen.first, "to": chosen.last})
        for each in found["conf_num"]
    ]
    shown.insert(2, "page", links)
    table(
        shown,
        column_config={
            "first_connect_dt": time_column("Came, UTC"),
            "conf_num": "Conference",
            "room_id": "Room",
            "user_role": "Role",
            "presence_minutes": minutes_column("Minutes present", help="Two connections at once count once."),
            "share": st.column_config.NumberColumn("Of the conference", format="percent"),
            "rejoins": count_column("Returns"),
            "alone_minutes": minutes_column("Minutes alone"),
            "with_moderator_minutes": minutes_column(
                "With a moderator", help="Minutes with another person who moderates."
            ),
            "client": "Client",
            "page": st.column_config.LinkColumn("Page", display_text="Open", help="Who else was there."),
        },
    )


def _clients(counts: Iterable[Mapping[str, Any]]) -> None:
    st.subheader("Clients")
    clients = pd.DataFrame(list(counts), columns=["key", "value"])
    if clients.empty:
        st.caption("The client of no connection is known.")
        return
    table(
        clients.sort_values(["value", "key"], ascending=[False, True]),
        column_config={"key": "Client", "value": count_column("Conferences")},
    )


def _last_days(sums: Mapping[str, Any]) -> Period:
    """The last days on which the person was there: the records of a year would take many seconds to read."""
    first, last = (pd.Timestamp(sums[end]).date() for end in ("first_date", "last_date"))
    return Period(max(first, last - DAY * (CONNECTIONS_DAYS - 1)), last)


def _connections(participant: str, days: Period) -> None:
    st.subheader("Connections")
    found = rows("person_connections", days, participant=participant)
    counted = records(found.head(1))[0]
    st.markdown(
        f"{number(counted['short_connections'])} of {number(counted['connections'])} connections were shorter than "
        f"10 seconds, {days}."
    )
    rated = found[found["rated"] > 0]
    if rated.empty:
        st.caption("EnableX rated none of them.")
        return
    quality = pd.DataFrame(
        {
            "Media": rated["direction"].map({"send": "sent ", "receive": "received "}) + rated["media"],
            "Good": [share(row["good"], row["rated"]) for row in records(rated)],
            "Rated": rated["rated"],
        }
    )
    table(
        quality,
        column_config={"Rated": count_column("Rated", help="Connections that EnableX rated.")},
    )
