"""Minutes per room, owner and billing code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from cdr_assets.reports.dashboard.elements import (
    Figure,
    count_column,
    cut,
    downloads,
    figures,
    minutes_column,
    number,
    say_nothing_is_built,
    share,
    table,
)
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.settings import RATE, settings
from cdr_assets.reports.dashboard.state import exports, period, rows

MOST_SHOWN = 1_000
MOST_DOWNLOADED = 100_000

NO_ROOM = "no room named"
UNALLOCATED = "unallocated"
NO_CODE = "no billing code"
HASHED = "[0-9a-f]{32}"
RED = "color: #d63a3a"


def page() -> None:
    """The page."""
    chosen = period()
    of_rooms, of_owners = st.tabs(["Rooms", "Owners and billing codes"])
    with of_rooms:
        _rooms(chosen)
    with of_owners:
        _owners(chosen)


def _rooms(chosen: Period) -> None:
    found = rows("rooms", chosen, most=MOST_SHOWN)
    if found.empty:
        say_nothing_is_built(chosen)
        return
    total = found.iloc[0]
    figures(
        [
            Figure("Rooms", total["all_rooms"]),
            Figure("Connections", total["all_connections"]),
            Figure("Participant minutes", total["all_participant_minutes"]),
            Figure("Billable minutes", total["all_billable_minutes"]),
        ]
    )
    steps = rows("room_minutes", chosen, rooms=_keys(found["room_id"]), step_days=chosen.step_days)
    shown = found.merge(steps, on="room_id", how="left")
    table(
        shown.assign(room_id=_named(shown["room_id"], NO_ROOM)),
        column_order=[
            "room_id",
            "participant_minutes",
            "minutes",
            "share_of_minutes",
            "connections",
            "conferences",
            "billable_minutes",
            "peak_participants",
        ],
        column_config={
            "room_id": st.column_config.TextColumn("Room", width="medium", pinned=True),
            **_usage_columns(chosen),
            "share_of_minutes": st.column_config.NumberColumn("Share of all minutes", format="percent"),
            "peak_participants": count_column("Peak", help="Most connections that were open at once."),
        },
    )
    _say_what_is_cut(len(found), total["all_rows"], "rooms")
    _downloads("rooms", chosen, lambda source: _without_totals(source("rooms", chosen, most=MOST_DOWNLOADED)))
    st.caption("A conference that lasts over midnight counts on both days.")


def _without_totals(found: pd.DataFrame) -> pd.DataFrame:
    return found.loc[:, ~found.columns.str.startswith("all_")]


def _owners(chosen: Period) -> None:
    everything: dict[str, Any] = {"owners": [], "codes": []}
    (total,) = rows("owner_totals", chosen, **everything).to_dict("records")
    if not total["rows"]:
        say_nothing_is_built(chosen)
        return
    _say_what_nobody_owns(total)
    some = _choose_owners(chosen)
    (total,) = rows("owner_totals", chosen, **some).to_dict("records")
    if not total["rows"]:
        st.info("No owner has such a billing code. Choose other ones.")
        return
    found = _with_cost(rows("owners", chosen, most=MOST_SHOWN, **some))
    figures(
        [
            Figure("Connections", total["connections"]),
            Figure("Participant minutes", total["participant_minutes"]),
            Figure("Billable minutes", total["billable_minutes"]),
            *(
                [Figure("Cost", settings().rate * total["participant_minutes"], digits=2)]
                if settings().rate is not None
                else []
            ),
        ]
    )
    steps = rows("owner_minutes", chosen, owners=_keys(found["owner_ref"]), step_days=chosen.step_days)
    shown = found.merge(steps, on=["owner_ref", "billing_code"], how="left")
    shown = shown.assign(
        owner_ref=_named(shown["owner_ref"], UNALLOCATED), billing_code=_named(shown["billing_code"], NO_CODE)
    )
    table(
        _in_red(shown),
        column_order=[
            "owner_ref",
            "billing_code",
            "participant_minutes",
            "minutes",
            "cost",
            "connections",
            "conferences",
            "rooms",
            "billable_minutes",
        ],
        column_config={
            "owner_ref": st.column_config.TextColumn("Owner"),
            "billing_code": st.column_config.TextColumn("Billing code"),
            **_usage_columns(chosen),
            "rooms": count_column("Rooms", help="Rooms of each day, summed."),
            "cost": st.column_config.NumberColumn("Cost", format="%,.2f", help=f"{RATE} for each participant minute."),
        },
    )
    _say_what_is_cut(len(found), total["rows"], "rows")
    _downloads("owners", chosen, lambda source: _with_cost(source("owners", chosen, most=MOST_DOWNLOADED, **some)))
    st.caption("Conferences and rooms are those of each day, summed: a room that is used on two days counts twice.")
    if found["owner_ref"].str.fullmatch(HASHED).any():
        st.caption(
            "An owner that EnableX alone names is a hash here, since it can be a person. Name it in the file "
            "`CDR_ROOMS`, and it is shown."
        )


def _in_red(shown: pd.DataFrame) -> Any:
    """The table with what nobody owns in red."""
    colored = shown.style.map(lambda owner: RED if owner == UNALLOCATED else "", subset=["owner_ref"])
    # Else pandas writes all numbers of the small charts as text, which takes longer than all the rest.
    return colored.format(lambda _: "", subset=["minutes"])


def _choose_owners(chosen: Period) -> dict[str, list[str]]:
    """The filters of owners.sql."""
    (names,) = rows("owner_names", chosen).to_dict("records")
    left, right = st.columns(2)
    owners = left.multiselect(
        "Owners", list(names["owners"]), format_func=lambda name: cut(name) or UNALLOCATED, placeholder="All owners"
    )
    codes = right.multiselect(
        "Billing codes", list(names["codes"]), format_func=lambda name: cut(name) or NO_CODE, placeholder="All codes"
    )
    return {"owners": owners, "codes": codes}


def _say_what_nobody_owns(total: dict[str, Any]) -> None:
    unallocated = total["unallocated_minutes"]
    if not unallocated:
        return
    with_code = unallocated - total["bare_minutes"]
    st.error(
        f"**Unallocated: {number(unallocated)} participant minutes, "
        f"{share(unallocated, total['participant_minutes'])} of all.** Nobody is known to own their rooms"
        + (f"; {number(with_code)} of them have a billing code. " if with_code else ". ")
        + "Name the owners in the file `CDR_ROOMS`, and the days are summed again."
    )


def _with_cost(found: pd.DataFrame) -> pd.DataFrame:
    rate = settings().rate
    return found if rate is None else found.assign(cost=found["participant_minutes"] * rate)


def _usage_columns(chosen: Period) -> dict[str, Any]:
    each = "day" if chosen.step_days == 1 else "week"
    return {
        "connections": count_column("Connections"),
        "conferences": count_column("Conferences", help="Conferences of each day, summed."),
        "participant_minutes": minutes_column("Participant minutes"),
        "billable_minutes": count_column("Billable minutes", help="Each connection is rounded up to whole minutes."),
        "minutes": st.column_config.BarChartColumn(f"Minutes per {each}", y_min=0),
    }


def _keys(names: pd.Series) -> list[str]:
    return sorted(set(names.fillna("")))


def _named(names: pd.Series, none: str) -> pd.Series:
    return names.fillna(none).map(cut)


def _say_what_is_cut(shown: int, total: int, what: str) -> None:
    if shown < total:
        in_files = "all of them" if total <= MOST_DOWNLOADED else f"the first {MOST_DOWNLOADED:,}"
        st.caption(f"The table has the first {shown:,} of {total:,} {what}. The files below have {in_files}.")


def _downloads(name: str, chosen: Period, read: Callable[[Callable[..., pd.DataFrame]], pd.DataFrame]) -> None:
    # The files are made in another thread than the page.
    source = exports().query
    downloads(lambda: read(source), name, chosen)
