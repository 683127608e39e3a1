"""The sentence says whether people met, for how long, and whether a moderator was one of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cdr_assets.reports.meeting import who_met


@pytest.mark.parametrize(
    ("people", "met", "moderated", "alone", "said"),
    [
        (
            *(2, "12.34", "11.94", "1"),
            "2 people were together for 12.3 minutes; a moderator was there with somebody for 11.9 of them.",
        ),
        (2, "1.5", "0", "1", "2 people were together for 1.5 minutes; no moderator was there with anybody."),
        (
            *(1_200, "1234.56", "0.001", "0"),
            "Two or more of 1,200 people were together for 1,234.6 minutes; a moderator was there with somebody for "
            "less than 0.1 of them.",
        ),
        (1, "0", "0", "3", "Nobody met anybody: somebody was there alone, for 3.0 minutes."),
        (1, "0", "0", "0", "Nobody met anybody."),
    ],
)
def test_sentence(people: int, met: str, moderated: str, alone: str, said: str) -> None:
    row = {
        "participants": people,
        "met_minutes": Decimal(met),
        "moderated_minutes": Decimal(moderated),
        "alone_minutes": Decimal(alone),
    }
    assert who_met(row) == said
