"""What can be chosen about a sandbox: how many calls it has, and the form of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

Shape = Literal["specification", "current"]
Errors = Literal["older", "newer"]

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Settings:
    """The calls of a sandbox, and the form of its answers.

    `connections` is the average number of CDRs on a working day, `start` the first UTC day with calls, `shape` the
    form of the records, and `errors` the form of the error envelope. A record appears within `lag_minutes` of its
    disconnect. Owners, billing codes and `stats_quality` are in the shape "current" alone. Raises `ValueError` for a
    value that is wrong.
    """

    seed: int = 1
    connections: int = 400
    start: date = date(2025, 1, 1)
    shape: Shape = "current"
    errors: Errors = "newer"
    lag_minutes: int = 10
    app_id: str = "sandbox-app-id"
    app_key: str = "sandbox-app-key"

    def __post_init__(self) -> None:
        if self.connections < 0:
            raise ValueError(f"connections must be 0 or more, not {self.connections}")
        if self.start < EPOCH:
            raise ValueError(f"start must be {EPOCH} or later, not {self.start}")
        if self.shape not in ("specification", "current"):
            raise ValueError(f"shape must be 'specification' or 'current', not {self.shape!r}")
        if self.errors not in ("older", "newer"):
            raise ValueError(f"errors must be 'older' or 'newer', not {self.errors!r}")
        if self.lag_minutes < 0:
            raise ValueError(f"lag_minutes must be 0 or more, not {self.lag_minutes}")
        if not self.app_id or ":" in self.app_id or not self.app_key:
            raise ValueError("app_id and app_key must not be empty, and app_id must not hold a colon")
