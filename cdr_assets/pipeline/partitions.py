"""The UTC day: what every asset is partitioned by."""

from __future__ import annotations

from datetime import datetime

import dagster as dg


def utc_days(start_date: str) -> dg.DailyPartitionsDefinition:
    """One partition per UTC day, from `start_date` (YYYY-MM-DD) to the last closed day.

    Raises ValueError when `start_date` is not a day.
    """
    try:
        datetime.strptime(start_date, "%Y-%m-%d")
    except ValueError:
        raise ValueError(
            f"CDR_START_DATE is {start_date!r}: give the first UTC day to keep as YYYY-MM-DD, for example 2025-01-01"
        ) from None
    return dg.DailyPartitionsDefinition(start_date=start_date, timezone="UTC")
