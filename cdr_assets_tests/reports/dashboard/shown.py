"""A page of the dashboard as a visitor gets it, and the data folder that it is about."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cdr_assets.days import DAY, days_between
from cdr_assets.reports.dashboard import state
from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.settings import settings
from cdr_assets_tests import PATIENCE_S

FIRST = date(2026, 10, 5)
DAYS = days_between(FIRST, FIRST + DAY * 34)
WHOLE = Period(DAYS[0], DAYS[-1])


def read_from(monkeypatch: pytest.MonkeyPatch, folder: Path, **environ: str) -> None:
    """Sets up the dashboard in this process to show the data folder."""
    monkeypatch.setenv("CDR_DATA_DIR", str(folder))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    state.exports.clear()
    # AppTest replaces the main module, and later tests cannot start processes with its replacement.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


def show(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    page: str,
    period: Period = WHOLE,
    query: Mapping[str, str] | None = None,
    **environ: str,
) -> AppTest:
    """Draws a page of `pages/` over the data folder, as if the period were chosen. Fails if the page raises."""
    read_from(monkeypatch, folder, **environ)

    def script(page: str) -> None:
        from importlib import import_module

        import_module(f"cdr_assets.reports.dashboard.pages.{page}").page()

    app = AppTest.from_function(script, default_timeout=PATIENCE_S, kwargs={"page": page})
    app.session_state["period"] = period
    app.query_params.update(query or {})
    app.run()
    assert [each.message for each in app.exception] == []
    return app
