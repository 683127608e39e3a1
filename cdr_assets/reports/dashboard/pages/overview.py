"""How much the account was used, and when."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from cdr_assets.days import DAY, utc_now
from cdr_assets.reports.dashboard.elements import Figure, figures, number, say_nothing_is_built, share
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.settings import RATE, settings
from cdr_assets.reports.dashboard.state import days_there, days_with_data, period, rows
from cdr_assets.warehouse.summary import same_weekdays

HEIGHT = 280
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def page() -> None:
    """The page."""
    chosen = period()
    now = rows("days", chosen)
    if now.empty:
        say_nothing_is_built(chosen)
        return
    _yesterday()
    lacking = [
        f"{there:,} of the {each.days:,} days {each}"
        for each in (chosen, chosen.before)
        if (there := days_there(each)) < each.days
    ]
    st.subheader(str(chosen) if lacking else f"{chosen}, and the change to {chosen.before}")
    figures(_figures(now, None if lacking else rows("days", chosen.before)))
    if lacking:
        st.caption(f"Not compared with {chosen.before}, since {' and '.join(lacking)} are built.")
    _say_cost(now)
    if now["provisional"].any():
        some = ", ".join(str(day.date()) for day in now.loc[now["provisional"], "usage_date"])
        st.caption(f"More records of {some} are expected, so its figures may still grow.")
    _minutes_by_day(chosen)
    left, right = st.columns([3, 2])
    with left:
        _hours(chosen)
    with right:
        _presence(chosen)


_PEAK = "Most connections that were open at once."


def _figures(now: pd.DataFrame, before: pd.DataFrame | None) -> list[Figure]:
    def figure(label: str, column: str, help: str | None = None, sums: str = "sum") -> Figure:
        return Figure(label, now[column].agg(sums), None if before is None else before[column].agg(sums), help)

    return [
        figure("Participant minutes", "participant_minutes"),
        figure("Conferences", "conferences", "Those that began in the period."),
        figure("People", "participants", "People of each day, summed: somebody who comes on two days counts twice."),
        figure("Billable minutes", "billable_minutes", "Each connection is rounded up to whole minutes."),
        figure("Peak", "peak_connections", _PEAK, "max"),
    ]


def _with_means(chosen: Period) -> pd.DataFrame:
    """The days, with the means of their weekday where all four days of it are built."""
    found, built = rows("days", chosen), set(days_with_data())
    whole = pd.Series([built.issuperset(same_weekdays(day.date())) for day in found["usage_date"]], dtype=bool)
    means = [name for name in found if name.endswith("_before")]
    return found.assign(is_compared=whole, **{name: found[name].where(whole) for name in means})


def _yesterday() -> None:
    """The newest day that is over: people who come in the morning ask for it."""
    last = days_with_data()[-1]
    found = _with_means(Period(last - DAY * 35, last))
    over = found[found["usage_date"].dt.date < utc_now().date()]
    if over.empty:
        return
    day = over.iloc[-1]
    title, weekdays = f"{day['usage_date']:%A, %Y-%m-%d}", f"the {day['usage_date']:%A}s of the four weeks before"
    st.subheader(f"{title}, and the change to {weekdays}" if day["is_compared"] else title)
    figures(
        [
            Figure("Participant minutes", day["participant_minutes"], day["participant_minutes_before"]),
            Figure("Conferences", day["conferences"], day["conferences_before"]),
            Figure("People", day["participants"], day["participants_before"]),
            Figure("Billable minutes", day["billable_minutes"], day["billable_minutes_before"]),
            Figure("Peak", day["peak_connections"], day["peak_connections_before"], _PEAK),
        ]
    )
    if not day["is_compared"]:
        st.caption(f"Not compared with {weekdays}, since not all of them are built.")


def _say_cost(now: pd.DataFrame) -> None:
    rate = settings().rate
    if rate is not None:
        cost = rate * now["participant_minutes"].sum()
        st.markdown(f"**Cost: {number(cost, 2)}**, which is {rate} ({RATE}) for each participant minute.")


def _minutes_by_day(chosen: Period) -> None:
    st.subheader("Participant minutes per day")
    found = _with_means(Period(chosen.first - DAY * 28, chosen.last))
    found = found[found["usage_date"] >= pd.Timestamp(chosen.first)]
    data = found.assign(
        day=found["usage_date"].dt.strftime("%Y-%m-%d"),
        minutes=found["participant_minutes"].astype(float),
        before=found["participant_minutes_before"].astype(float),
        state=found["provisional"].map({True: "may still grow", False: "final"}),
    )
    base = alt.Chart(data).encode(x=alt.X("yearmonthdate(usage_date):T", title=None))
    tooltip = [
        alt.Tooltip("day", title="UTC day"),
        alt.Tooltip("minutes", title="participant minutes", format=",.1f"),
        alt.Tooltip("before", title="same weekday before", format=",.1f"),
        alt.Tooltip("state", title="figures"),
    ]
    bars = base.mark_bar().encode(
        y=alt.Y("minutes", title="participant minutes"),
        opacity=alt.condition("datum.provisional", alt.value(0.5), alt.value(1.0)),
        tooltip=tooltip,
    )
    ticks = base.mark_tick(color="#d9822b", thickness=3).encode(y="before", tooltip=tooltip)
    # A layer without a value makes the browser complain.
    st.altair_chart(bars + ticks if data["before"].notna().any() else bars)
    st.caption(
        "Bars are the days, pale ones may still grow. A tick is the mean of the same weekday in the four weeks before, "
        "where all four are built."
    )


def _hours(chosen: Period) -> None:
    st.subheader("When conferences begin")
    found = rows("hours", chosen)
    data = found.assign(
        day=[WEEKDAYS[number - 1] for number in found["weekday"]], minutes=found["participant_minutes"].astype(float)
    )
    chart = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("hour:O", title="hour, UTC", axis=alt.Axis(labelAngle=0), scale=alt.Scale(domain=list(range(24)))),
            y=alt.Y("day:O", title=None, sort=WEEKDAYS, scale=alt.Scale(domain=WEEKDAYS)),
            color=alt.Color("minutes:Q", title="participant minutes", legend=alt.Legend(orient="bottom")),
            tooltip=["day", "hour", alt.Tooltip("minutes", title="participant minutes", format=",.1f")],
        )
        .properties(height=HEIGHT)
    )
    st.altair_chart(chart)
    st.caption("Participant minutes of the conferences that began in each hour, all weeks of the period together.")


def _presence(chosen: Period) -> None:
    st.subheader("Together or alone")
    (found,) = rows("presence", chosen).to_dict("records")
    figures(
        [
            Figure("Minutes with two or more", found["met_minutes"]),
            Figure("Minutes with one alone", found["alone_minutes"]),
        ]
    )
    st.markdown(
        f"People were together in **{share(found['met_minutes'], found['conference_minutes'])}** of the "
        f"{number(found['conference_minutes'])} minutes in which anybody was in a conference."
    )
