"""What the dashboard takes from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache

from cdr_assets.places import Places
from cdr_assets.storage import Storage

RATE = "CDR_RATE_PER_MINUTE"


@dataclass(frozen=True)
class DashboardSettings:
    """Where the exports are, and what the pages add to them."""

    exports: Storage
    keys: Storage
    """Has the key by which a searched reference is hashed as in the exports. It may be absent."""
    rate: Decimal | None
    """Cost of one participant minute, in whatever currency; None if nobody gave one."""
    ui_url: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> DashboardSettings:
        """The settings. Raises ValueError, naming the variable and the remedy, for a value that cannot be used."""
        places = Places.from_environment(environ)
        return cls(
            exports=places.exports(environ.get("CDR_EXPORT_DIR")),
            keys=places.storage,
            rate=_rate(environ.get(RATE) or ""),
            ui_url=(environ.get("CDR_UI_URL") or "http://localhost:3000").rstrip("/"),
        )


@cache
def settings() -> DashboardSettings:
    """Those of this process."""
    return DashboardSettings.read(os.environ)


def _rate(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        rate = Decimal(text)
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or rate < 0:
        raise ValueError(f"{RATE} is {text!r}: give the cost of one participant minute, for example 0.004")
    return rate
