"""A folder of one machine is moved to a lake and a bucket; then nothing is fetched or built again."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cdr_assets.cli import main
from cdr_assets.landing.zone import LandingZone
from cdr_assets.places import LAKE, Places
from cdr_assets.storage import StorageError
from cdr_assets.warehouse import move
from cdr_assets.warehouse.build import Warehouse
from cdr_assets_tests.scale.worlds import build_until_done, differences, land_hostile, on_lake

DAYS = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with some days that are built."""
    folder = tmp_path / "data"
    zone = LandingZone(folder)
    zone.claim("app")
    days = land_hostile(zone, seed=1)
    for day in days[DAYS:]:
        for path in (folder / "landing" / f"usage_date={day}").iterdir():
            path.unlink()
    build_until_done(Warehouse(folder / "cdr.duckdb"), zone, days[:DAYS])
    return folder


def test_what_was_moved_is_the_same_and_nothing_is_due(folder: Path, postgres: str, bucket: str) -> None:
    variables = {"CDR_DATA_DIR": str(folder), "CDR_WAREHOUSE": f"{LAKE}{postgres}", "CDR_LANDING": bucket}
    moved = CliRunner().invoke(main, ["move-to-lake"], env=variables)
    assert moved.exit_code == 0, moved.output
    lake = on_lake(folder, postgres, bucket)
    assert differences(lake, folder / "cdr.duckdb") == []
    landed = LandingZone(folder).days()
    assert LandingZone(lake).days() == landed
    assert Warehouse(lake).built_days() == Warehouse(folder / "cdr.duckdb").built_days() == landed
    assert lake.storage.read("account") == "app\n"
    again = CliRunner().invoke(main, ["move-to-lake"], env=variables)
    assert again.exit_code == 1
    assert "has tables with rows already" in again.output


def test_a_move_that_broke_off_goes_on(
    folder: Path, postgres: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = on_lake(folder, postgres, bucket)
    source = Places.read(folder)
    said: list[str] = []

    def say(words: str) -> None:
        said.append(words)
        if words.startswith("room_usage:"):
            raise StorageError("the bucket is gone")

    with pytest.raises(StorageError):
        move.move(source, lake, None, say)
    assert not any(Warehouse(lake).built_days()), "what is moved in part counts as not built"
    move.move(source, lake, None, said.append)
    assert differences(lake, folder / "cdr.duckdb") == []


def test_without_a_lake_the_remedy_is_named(tmp_path: Path) -> None:
    (tmp_path / "cdr.duckdb").touch()
    moved = CliRunner().invoke(main, ["move-to-lake"], env={"CDR_DATA_DIR": str(tmp_path)})
    assert moved.exit_code == 1
    assert "set CDR_WAREHOUSE to the lake to move to" in moved.output
