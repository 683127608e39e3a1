from __future__ import annotations

from pathlib import Path

import pytest

from cdr_assets.landing.zone import LandingZone
from cdr_assets_tests.landing.places import Place
from cdr_assets_tests.scale import WITHOUT_SERVERS

PLACES = ["folder"] if WITHOUT_SERVERS else ["folder", pytest.param("bucket", marks=pytest.mark.scale)]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty landing zone."""
    if request.param == "folder":
        return Place(tmp_path)
    return Place(tmp_path, request.getfixturevalue("bucket"), request.getfixturevalue("postgres"))


@pytest.fixture
def zone(place: Place) -> LandingZone:
    return place.zone()
