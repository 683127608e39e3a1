"""Jobs: what can be launched by name."""

from __future__ import annotations

import dagster as dg

daily_cdr = dg.define_asset_job(
    "daily_cdr",
    selection=dg.AssetSelection.assets("period_cdr", "call_detail_records", "room_usage", "conference_usage"),
    description="Lands a UTC day, or each day of a range, builds its tables and checks them.",
)
