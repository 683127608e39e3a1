"""The dashboard's frame: log-in, menu, period, and what is said when the exports cannot be read."""

from __future__ import annotations

from datetime import datetime
from threading import Event
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from cdr_assets.days import utc_now
from cdr_assets.reports.dashboard import state
from cdr_assets.reports.dashboard.elements import plain
from cdr_assets.reports.dashboard.exports import UnreadableExports
from cdr_assets.reports.dashboard.launch import asks_for_log_in
from cdr_assets.reports.dashboard.pages import conferences, health, overview, people, quality, rooms
from cdr_assets.reports.dashboard.period import FIRST_DAY, Period, last_days, month_before, period_of
from cdr_assets.reports.dashboard.settings import settings
from cdr_assets.reports.dashboard.status import read_status

CHOICES = {"7 days": 7, "30 days": 30, "90 days": 90, "365 days": 365}
DEFAULT = "30 days"
LAST_MONTH = "Last month"
OTHER = "Other days"

_log_in = Event()
"""Is set as soon as a log-in was set up while this process runs."""


def main() -> None:
    """Draws the page that the address asks for."""
    st.set_page_config(page_title="CDRs", page_icon="📞", layout="wide")
    if not _is_let_in():
        return
    chosen = st.navigation(_pages(), position="top")
    try:
        settings()
    except ValueError as error:
        st.error(plain(error, 500))
        return
    if not state.days_with_data():
        st.title(chosen.title)
        st.info(
            f"There are no exports in {plain(settings().exports.place(''), 300)} yet. They appear when a day is built: "
            "run `cdr-assets demo` for seven days of invented calls, or `cdr-assets dev` and materialize a day. If the "
            "data lies elsewhere, set `CDR_DATA_DIR` and start the dashboard again."
        )
        return
    st.title(chosen.title)
    status = read_status(settings().exports)
    if status and status.is_of_sandbox:
        st.badge("The sandbox's invented calls", color="orange")
    try:
        _choose_period()
        chosen.run()
    except UnreadableExports as error:
        st.error(plain(error, 1_000))


def _pages() -> list[StreamlitPage]:
    return [
        st.Page(overview.page, title="Overview", icon=":material/monitoring:", url_path="overview", default=True),
        st.Page(rooms.page, title="Rooms and owners", icon=":material/meeting_room:", url_path="rooms"),
        st.Page(conferences.page, title="Conferences", icon=":material/groups:", url_path="conferences"),
        st.Page(people.page, title="People", icon=":material/person:", url_path="people"),
        st.Page(quality.page, title="Quality and clients", icon=":material/network_check:", url_path="quality"),
        st.Page(health.page, title="Health", icon=":material/monitor_heart:", url_path="health"),
    ]


def _is_let_in() -> bool:
    """Whether the visitor may look. Everybody may, unless Streamlit's secrets set up a log-in."""
    try:
        if asks_for_log_in():
            _log_in.set()
        elif _log_in.is_set():
            raise ValueError("The log-in is gone from secrets.toml. Restart the dashboard if nobody has to log in")
    except ValueError as error:
        st.error(plain(error, 500))
        return False
    if not _log_in.is_set() or st.user.get("is_logged_in", False):
        return True
    st.button("Log in", on_click=st.login)
    return False


def _choose_period() -> None:
    """Draws the picker. The address has the period, too, so that it can be passed on."""
    last, today = state.days_with_data()[-1], utc_now().date()
    possible = Period(FIRST_DAY, max(last, today))
    known = {name: last_days(count, last) for name, count in CHOICES.items()}
    known[LAST_MONTH] = month_before(today)
    if "period" not in st.session_state:
        try:
            given = period_of(st.query_params, known[DEFAULT], possible)
        except ValueError as error:
            st.warning(plain(error, 500))
            given = known[DEFAULT]
        st.session_state["choice"] = next((name for name, each in known.items() if each == given), OTHER)
        st.session_state["given"] = given
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    choice = left.segmented_control("Period, in UTC days", [*known, OTHER], key="choice", required=True)
    period = known.get(choice or "")
    if period is None:
        # The second day is missing while somebody picks it.
        given = st.session_state["given"]
        picked = right.date_input(
            "From and to, both included", tuple(given), min_value=possible.first, max_value=possible.last, key="days"
        )
        period = Period(picked[0], picked[-1]) if isinstance(picked, tuple) and picked else given
    else:
        st.session_state["given"] = period
    st.session_state["period"] = period
    st.query_params.update({"from": str(period.first), "to": str(period.last)})
    right.caption(f"{period}. {_zone()}")
    there = state.days_there(period)
    if 0 < there < period.days:
        st.caption(
            f":material/warning: **{there:,} of these {period.days:,} days are built.** Sums of the period are of "
            "these days alone."
        )


def _zone() -> str:
    """The zone of the visitor's clock, in words."""
    name = st.context.timezone or "UTC"
    try:
        offset = datetime.now(ZoneInfo(name)).strftime("%z")
    except (ZoneInfoNotFoundError, ValueError):
        return "Times on this page are UTC."
    return f"Times on this page are UTC; your clock shows {name}, UTC{offset[:3]}:{offset[3:]}."
