"""Which days are complete, and how the fetching goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from urllib.parse import quote

import altair as alt
import pandas as pd
import streamlit as st

from cdr_assets.data_folder import STATUS_FILE
from cdr_assets.days import days_between, describe_days, utc_now
from cdr_assets.reports.dashboard.elements import Figure, count_column, figures, number, plain, table
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.settings import settings
from cdr_assets.reports.dashboard.state import days_with_data, period, rows
from cdr_assets.reports.dashboard.status import OLD_AFTER, Status, read_status

FOUND, NOT_BUILT = "open finding", "not built"
STATES = {
    "complete": ("#2e9e6b", ""),
    "provisional": ("#3b82c4", "~"),
    "waiting": ("#c9a227", "…"),
    "missing": ("#8a8f98", "?"),
    "failed": ("#d9822b", "x"),
    "overdue": ("#d63a3a", "!"),
    FOUND: ("#8e5bd0", "*"),
    NOT_BUILT: ("#8a8f98", "?"),
}
"""The colour and the mark of a day that is in the state. A day in several of them is shown in the last one."""

LATENESS = [1, 10, 60, 360, 1_440, 10_080, 43_200, 525_600]
LATENESS_IN_WORDS = (
    "datum.value < 60 ? datum.value + ' min' : datum.value < 1440 ? datum.value / 60 + ' h' "
    ": round(datum.value / 1440) + ' d'"
)
LEAST_LATENESS = 0.1
GIB = 2**30
MONTH, AROUND_CALENDAR = 26, 110
"""Pixels."""


def page() -> None:
    """The page."""
    chosen = period()
    status = read_status(settings().exports)
    findings = rows("findings", None)
    _service(status)
    _calendar(_with_newest(chosen, status), status, findings)
    _findings(findings, status)
    if status:
        _fetches(status)
    _lateness(chosen)
    if status:
        _runs(status)


def _service(status: Status | None) -> None:
    if status is None:
        st.info(
            "Nothing is known of the service, since there is no file that can be read at "
            f"{plain(settings().exports.place(STATUS_FILE), 300)}. Run `cdr-assets dev` or `cdr-assets serve` on this "
            "data folder: it writes the file within minutes. What follows is what the exports say."
        )
        return
    age = status.age(utc_now())
    if age is None or age > OLD_AFTER:
        old = (
            "does not say when it was written" if age is None else f"is {number(age.total_seconds() / 60)} minutes old"
        )
        st.warning(
            f"The service does not seem to run: {STATUS_FILE} {old}. Start `cdr-assets serve` or `cdr-assets dev`. "
            "What follows is how things stood then."
        )
    st.subheader("All days, whatever the period")
    figures(
        [
            Figure("Complete days", status.count("complete"), help="With the provisional ones."),
            Figure("Provisional", status.count("provisional"), help="Of the complete ones. They are fetched again."),
            Figure("Waiting", status.count("waiting"), help="They landed, and their tables wait to be built."),
            Figure("Missing days", status.count("missing")),
            Figure("Failed", status.count("failed"), help="Of the missing ones: their last fetch failed."),
            Figure("Overdue", status.count("overdue"), help="Of the missing ones: they were due long ago."),
            Figure(
                "Free disk, GiB",
                None if status.free_bytes is None else status.free_bytes / GIB,
                digits=1,
                help=_disk(status),
            ),
        ]
    )
    if status.next_try:
        st.markdown(f"Next try of the overdue days: {plain(status.next_try, 300)}")


def _disk(status: Status) -> str | None:
    return f"Of {number(status.total_bytes / GIB, 1)} GiB." if status.total_bytes else None


def _with_newest(chosen: Period, status: Status | None) -> Period:
    """The period, up to the newest day that is due: that one may be missing in the exports."""
    if status is None or status.last_day is None or chosen.last < days_with_data()[-1]:
        return chosen
    return Period(chosen.first, max(chosen.last, min(status.last_day, utc_now().date())))


def _calendar(chosen: Period, status: Status | None, findings: pd.DataFrame) -> None:
    st.subheader(f"Days, {chosen}")
    built = rows("health_days", chosen)
    provisional = dict(zip(built["usage_date"].dt.date, built["provisional"], strict=True))
    found = _checks_by_day(findings)
    data = pd.DataFrame(
        [
            {
                "date": str(day),
                "month": f"{day:%Y-%m}",
                "day": day.day,
                "state": _state(day, status, provisional, found),
                "findings": ", ".join(found.get(day, [])) or "none",
            }
            for day in days_between(*chosen)
        ]
    )
    data["mark"] = [STATES[state][1] for state in data["state"]]
    met = [state for state in STATES if state in set(data["state"])]
    base = alt.Chart(data).encode(
        x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0), scale=alt.Scale(domain=list(range(1, 32)))),
        y=alt.Y("month:O", title=None),
        tooltip=[alt.Tooltip("date", title="UTC day"), "state", alt.Tooltip("findings", title="open findings")],
    )
    cells = base.mark_rect(stroke="white", strokeOpacity=0.4).encode(
        color=alt.Color(
            "state:N",
            title=None,
            scale=alt.Scale(domain=met, range=[STATES[state][0] for state in met]),
            legend=alt.Legend(orient="bottom"),
        )
    )
    marks = base.mark_text(color="white", fontWeight="bold").encode(text="mark:N")
    st.altair_chart((cells + marks).properties(height=AROUND_CALENDAR + MONTH * data["month"].nunique()))
    days_of = data.groupby("state")["date"].apply(lambda days: describe_days(map(date.fromisoformat, days)))
    table(
        pd.DataFrame(
            [
                {
                    "state": state,
                    "mark": STATES[state][1],
                    "count": (data["state"] == state).sum(),
                    "days": days_of[state],
                }
                for state in met
            ]
        ),
        column_config={
            "state": st.column_config.TextColumn("State", width="small"),
            "mark": st.column_config.TextColumn("Mark", width="small"),
            "count": count_column("Days"),
            "days": st.column_config.TextColumn("Which", width="large"),
        },
    )


def _checks_by_day(findings: pd.DataFrame) -> Mapping[date, Sequence[str]]:
    """The checks with an open finding of each day."""
    found: dict[date, list[str]] = defaultdict(list)
    for row in findings[findings["is_open"].astype(bool)].to_dict("records"):
        for day in row["usage_dates"]:
            found[date.fromisoformat(day)].append(row["check_name"])
    return found


def _state(
    day: date, status: Status | None, provisional: Mapping[date, bool], found: Mapping[date, Sequence[str]]
) -> str:
    """The state to show of the day. The exports tell it where the status does not."""
    if day in found:
        return FOUND
    known = status.states_of(day) if status else []
    if known:
        return known[-1]
    if day not in provisional:
        return NOT_BUILT
    return "provisional" if provisional[day] else "complete"


def _findings(findings: pd.DataFrame, status: Status | None) -> None:
    st.subheader("Open findings of the checks, on all days")
    is_open = findings["is_open"].astype(bool)
    found, acknowledged = findings[is_open], findings.loc[~is_open, "days"].sum()
    if found.empty:
        st.markdown("There are none.")
    else:
        checks = f"{_ui(status)}/assets/"
        table(
            found.assign(
                which=[describe_days(map(date.fromisoformat, days)) for days in found["usage_dates"]],
                link=[f"{checks}{quote(asset, safe='')}?view=checks" for asset in found["asset"]],
            ),
            column_order=["check_name", "asset", "days", "which", "records", "since", "link"],
            column_config={
                "check_name": st.column_config.TextColumn("Check, named for what should be true"),
                "asset": st.column_config.TextColumn("Asset"),
                "days": count_column("Days"),
                "which": st.column_config.TextColumn("Which"),
                "records": count_column("Count", help="Rows or records that contradict the check."),
                "since": st.column_config.DatetimeColumn("Since, UTC", format="YYYY-MM-DD HH:mm"),
                "link": st.column_config.LinkColumn("What to do", display_text="Dagster UI"),
            },
        )
    if acknowledged:
        st.caption(f"{number(acknowledged)} more are acknowledged.")


def _fetches(status: Status) -> None:
    st.subheader("What the last fetch of each of the newest days brought")
    if not status.fetches:
        st.markdown("No day has been fetched yet.")
        return
    data = pd.DataFrame(status.fetches)
    numbers = [name for name in data.columns if name != "day"]
    data[numbers] = data[numbers].apply(pd.to_numeric)
    table(
        data,
        column_config={
            "day": st.column_config.TextColumn("UTC day"),
            "records": count_column("Records"),
            "new": count_column("New"),
            "changed": count_column("Changed"),
            "vanished": count_column("Vanished", help="Landed before, and not in the newest answer. They are kept."),
            "quarantined": count_column("Quarantined", help="Not valid, and set aside."),
            "late": count_column("Late", help="New records that an earlier fetch of the closed day did not have."),
            "requests": count_column("Requests"),
            "retries": count_column("Retries"),
            "seconds": st.column_config.NumberColumn("Seconds", format="%,.1f"),
        },
    )
    asked = data.melt("day", ["requests", "retries"], "what", "count").dropna()
    st.altair_chart(
        alt.Chart(asked)
        .mark_bar()
        .encode(
            x=alt.X("yearmonthdate(day):T", title=None),
            # Retries are requests, too, so that these bars stand one in front of the other.
            y=alt.Y("count:Q", title="requests", stack=False, axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=["requests", "retries"], range=["#3b82c4", "#d9822b"]),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=["day", "what", "count"],
        )
        .properties(height=200)
    )


def _lateness(chosen: Period) -> None:
    st.subheader(f"How late records came, {chosen}")
    found = rows("health_days", chosen).dropna(subset=["median_minutes", "p95_minutes"])
    if found.empty:
        st.markdown("It is not known for these days.")
        return
    data = (
        found.assign(day=found["usage_date"].dt.strftime("%Y-%m-%d"))
        .rename(columns={"median_minutes": "half of them", "p95_minutes": "95 of 100"})
        .melt(["usage_date", "day"], ["half of them", "95 of 100"], "what", "minutes")
    )
    # A logarithm has no zero.
    data["shown"] = data["minutes"].clip(lower=LEAST_LATENESS)
    st.altair_chart(
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X("yearmonthdate(usage_date):T", title=None),
            y=alt.Y(
                "shown:Q",
                title="from leaving to landing",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(values=LATENESS, labelExpr=LATENESS_IN_WORDS),
            ),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=["half of them", "95 of 100"], range=["#3b82c4", "#d9822b"]),
                legend=alt.Legend(orient="bottom"),
            ),
            shape=alt.Shape("what:N", title=None, scale=alt.Scale(domain=["half of them", "95 of 100"])),
            tooltip=["day", "what", alt.Tooltip("minutes", format=",.1f")],
        )
        .properties(height=240)
    )
    st.caption(
        "From leaving a call to the landing of its record: half of a day's records, and 95 of 100 of them, came within "
        "this time. Days that were fetched as history are late by their age."
    )


def _runs(status: Status) -> None:
    st.subheader("Last runs")
    if not status.runs:
        st.markdown("There are none.")
        return
    # Dagster names the job of assets that somebody picked so.
    data = pd.DataFrame(status.runs).replace({"job": {"__ASSET_JOB": "picked assets"}})
    link = [f"{_ui(status)}/runs/{quote(run['run_id'] or '', safe='')}" for run in status.runs]
    table(
        data.assign(run_id=link),
        column_order=["run_id", "job", "status", "days", "started_at", "ended_at"],
        column_config={
            "run_id": st.column_config.LinkColumn("Run", display_text=r"/runs/(.{8})"),
            "job": st.column_config.TextColumn("Job"),
            "status": st.column_config.TextColumn("Status"),
            "days": st.column_config.TextColumn("UTC days"),
            "started_at": st.column_config.DatetimeColumn("Started, UTC", format="YYYY-MM-DD HH:mm:ss", timezone="UTC"),
            "ended_at": st.column_config.DatetimeColumn("Ended, UTC", format="YYYY-MM-DD HH:mm:ss", timezone="UTC"),
        },
    )


def _ui(status: Status | None) -> str:
    return (status and status.ui_url) or settings().ui_url
