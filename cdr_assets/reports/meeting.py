"""Whether people met in a conference, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def who_met(conference: Mapping[str, Any]) -> str:
    """Says it of a row of `conference_usage`, in plain text."""
    met, moderated = conference["met_minutes"] or 0, conference["moderated_minutes"] or 0
    if met <= 0:
        return _nobody_met(conference["alone_minutes"] or 0)
    people = conference["participants"]
    who = "2 people were" if people == 2 else f"Two or more of {people:,} people were"
    if moderated <= 0:
        return f"{who} together for {_minutes(met)}; no moderator was there with anybody."
    return f"{who} together for {_minutes(met)}; a moderator was there with somebody for {_number(moderated)} of them."


def _nobody_met(alone: Any) -> str:
    if alone <= 0:
        return "Nobody met anybody."
    return f"Nobody met anybody: somebody was there alone, for {_minutes(alone)}."


def _minutes(value: Any) -> str:
    return f"{_number(value)} minutes"


def _number(value: Any) -> str:
    """A number of minutes that is not 0."""
    return f"{value:,.1f}" if value >= 0.05 else "less than 0.1"
