"""What every page reads: the period that was chosen, and rows of the exports, kept until a file of them changes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import streamlit as st

from cdr_assets.reports.dashboard.exports import Exports
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.settings import settings
from cdr_assets.warehouse.tables import DAILY_USAGE

KEPT_RESULTS = 500


@st.cache_resource
def exports() -> Exports:
    """The exports of this process."""
    return Exports(settings().exports)


def rows(statement: str, period: Period | None, **parameters: Any) -> pd.DataFrame:
    """The rows of `sql/<statement>.sql` over the days of the period; over all days without one."""
    # Streamlit hashes one long text much faster than a year of stamps.
    return _rows(statement, period, parameters, repr(exports().stamps(statement, period)))


@st.cache_data(max_entries=KEPT_RESULTS, show_spinner="Reading the exports")
def _rows(statement: str, period: Period | None, parameters: dict[str, Any], stamps: str) -> pd.DataFrame:
    return exports().query(statement, period, **parameters)


def period() -> Period:
    """The period that is chosen on every page."""
    chosen = st.session_state["period"]
    assert isinstance(chosen, Period)
    return chosen


def days_there(period: Period) -> int:
    """How many days of the period have been built."""
    return sum(period.first <= day <= period.last for day in days_with_data())


def days_with_data() -> list[date]:
    """The UTC days that have been built, in order."""
    return exports().days(DAILY_USAGE)
