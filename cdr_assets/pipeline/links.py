"""Links to the pages of the dashboard."""

from __future__ import annotations

from datetime import date

from cdr_assets.warehouse.tables import CONFERENCE_USAGE, DAILY_USAGE, ROOM_USAGE

PAGES = {DAILY_USAGE.name: "", ROOM_USAGE.name: "rooms", CONFERENCE_USAGE.name: "conferences"}
"""The dashboard's page about each table that it has a page about."""


def dashboard_page(url: str, table: str, first: date, last: date) -> str:
    """The page about the table, on the days from `first` to `last`. `url` is where the dashboard is."""
    return f"{url}/{PAGES[table]}?from={first}&to={last}"
