"""How good the media were, per client."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from cdr_assets.reports.dashboard.elements import (
    count_column,
    cut,
    downloads,
    number,
    say_nothing_is_built,
    share,
    table,
)
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.state import period, rows

PARTS = {"Browser": "browser", "Browser and version": "version", "Operating system": "system"}
LEAST_CONNECTIONS = 30

UNKNOWN = "unknown"
MEDIA = ["video", "audio", "sharing"]
COLORS = ["#3b82c4", "#d9822b", "#2e9e6b"]
SHORT = "Connections of less than 10 seconds, of 100 connections."
RETURNS = "Returns after an absence, of 100 people in conferences. Somebody in two conferences counts twice."


def page() -> None:
    """The page."""
    chosen = period()
    found = rows("quality_days", chosen, step_days=chosen.step_days)
    if found.empty:
        say_nothing_is_built(chosen)
        return
    _good(found)
    _good_over_time(found, chosen.step_days)
    _clients(chosen)


def _good(found: pd.DataFrame) -> None:
    st.subheader("Connections that were Good")
    for direction, words in (("received", "Received"), ("sent", "Sent")):
        of_direction = found[found["direction"] == direction]
        for column, media in zip(st.columns(len(MEDIA)), MEDIA, strict=True):
            of_media = of_direction[of_direction["media"] == media]
            rated = of_media["rated"].sum()
            column.metric(f"{words} {media}", share(of_media["good"].sum(), rated))
            column.caption(f"of {number(rated)} rated connections")
    st.caption("EnableX rates a connection Good or Bad in each direction and kind of media, or not at all.")


def _good_over_time(found: pd.DataFrame, step_days: int) -> None:
    st.subheader(f"Good per {'day' if step_days == 1 else 'week'}")
    rated = found[found["rated"] > 0]
    data = rated.assign(day=rated["first_day"].dt.strftime("%Y-%m-%d"), share=rated["good"] / rated["rated"])
    for column, direction in zip(st.columns(2), ("received", "sent"), strict=True):
        of_direction = data[data["direction"] == direction]
        if of_direction.empty:
            column.caption(f"No connection has a rating of what was {direction}.")
            continue
        chart = (
            alt.Chart(of_direction)
            .mark_line(point=True)
            .encode(
                x=alt.X("yearmonthdate(first_day):T", title=None),
                y=alt.Y("share:Q", title=f"Good, {direction}", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
                color=alt.Color(
                    "media:N",
                    title=None,
                    sort=MEDIA,
                    scale=alt.Scale(domain=MEDIA, range=COLORS),
                    legend=alt.Legend(orient="bottom"),
                ),
                shape=alt.Shape("media:N", title=None, scale=alt.Scale(domain=MEDIA)),
                tooltip=[
                    alt.Tooltip("day", title="UTC day" if step_days == 1 else "week from"),
                    "media",
                    alt.Tooltip("share", title="Good", format=".1%"),
                    alt.Tooltip("rated", title="rated connections", format=","),
                ],
            )
        )
        column.altair_chart(chart)


def _clients(chosen: Period) -> None:
    st.subheader("Which clients drop out")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    part = left.segmented_control("Per", list(PARTS), default=next(iter(PARTS)), required=True)
    least = right.number_input("At least so many connections", min_value=1, value=LEAST_CONNECTIONS, step=10)
    found = rows("clients", chosen, part=PARTS[part or next(iter(PARTS))])
    hidden = found[found["connections"] < least]
    shown = _worst_first(found[found["connections"] >= least])
    if shown.empty:
        st.info(f"No client has {number(least)} connections. Choose a smaller number, or more days.")
    else:
        _table(shown, str(part))
    st.caption(
        "Worst first. Short: connections of less than 10 seconds, of 100 connections. Returns: comings back after an "
        "absence, of 100 people in conferences, on the day on which the conference began."
    )
    if len(hidden):
        st.caption(
            f"Not in the table: {number(len(hidden))} with fewer than {number(least)} connections, which are "
            f"{number(hidden['connections'].sum())} of all {number(found['connections'].sum())} connections. "
            "The files have them."
        )
    downloads(lambda: _worst_first(found), "clients", chosen)


def _table(shown: pd.DataFrame, part: str) -> None:
    media = {
        f"{direction}_{media}": f"{media.capitalize()} {direction}"
        for direction in ("received", "sent")
        for media in ("video", "audio")
    }
    percent = {name: shown[name] * 100 for name in ("short_rate", "rejoin_rate", "drops", *media)}
    table(
        shown.assign(part=shown["part"].fillna(UNKNOWN).map(cut), **percent),
        column_order=["part", "connections", "short_rate", "rejoin_rate", "drops", *media],
        column_config={
            "part": st.column_config.TextColumn(part),
            "connections": count_column("Connections"),
            "short_rate": st.column_config.NumberColumn("Short", format="%.1f", help=SHORT),
            "rejoin_rate": st.column_config.NumberColumn("Returns", format="%.1f", help=RETURNS),
            "drops": st.column_config.NumberColumn("Both", format="%.1f", help="Short and Returns, added."),
            **{
                name: st.column_config.NumberColumn(label, format="%.0f%%", help="Good, of the rated connections.")
                for name, label in media.items()
            },
        },
    )


def _worst_first(found: pd.DataFrame) -> pd.DataFrame:
    """With a column for both signs of dropping out: short connections and returns."""
    drops = found["short_rate"].fillna(0) + found["rejoin_rate"].fillna(0)
    return found.assign(drops=drops).sort_values("drops", ascending=False, kind="stable")
