"""The looks of the soak: each finds the harm that it looks for, and nothing where there is none."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cdr_assets.data_folder import DataFolder
from cdr_assets.definitions import code_location
from cdr_assets.landing.zone import LandingZone
from cdr_assets_tests.location import Location
from cdr_assets_tests.soak import truth
from cdr_assets_tests.soak.kills import until_quiet
from cdr_assets_tests.soak.processes import Action, Difference
from cdr_assets_tests.soak.world import Answer, World, serving
from cdr_assets_tests.soak.writers import JITTER_S, check_pace
from cdr_assets_tests.warehouse.landed import land

DAYS = [date(2026, 11, 2), date(2026, 11, 3)]


class Folders:
    """A sound data folder, and a warehouse built from its landing zone from nothing."""

    def __init__(self, data: Path, scratch: Path, answers: list[Answer]) -> None:
        self.data, self.scratch, self.answers = DataFolder(data), DataFolder(scratch), answers
        self.served = truth.Lines()
        for answer in answers:
            for day, lines in answer.lines.items():
                self.served.setdefault(day, Counter()).update(lines)

    def look(self) -> None:
        """Everything that the soak looks at."""
        landed = truth.landed_lines(self.data.root)
        truth.check_landing_zone(landed, self.served, self.served)
        truth.check_tables(self.data.warehouse, truth.newest(landed))
        truth.check_exports(self.data.warehouse, self.data.exports)
        truth.check_against_scratch(self.data.warehouse, self.scratch.warehouse)
        truth.check_leftovers(self.data.root)

    def execute(self, statement: str) -> None:
        with duckdb.connect(self.data.warehouse) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folders]:
    """Made once, since it takes seconds."""
    world, folder = World(1, DAYS, records_a_day=8), tmp_path_factory.mktemp("sound")
    data, scratch = folder / "data", folder / "scratch"
    with serving(world) as url, pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        environment = {
            "ENABLEX_BASE_URL": url,
            "ENABLEX_APP_ID": "app-id",
            "ENABLEX_APP_KEY": "key",
            "CDR_START_DATE": str(DAYS[0]),
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        location = Location(code_location({**environment, "CDR_DATA_DIR": str(data)}), instance, data)
        assert Action("daily_cdr", DAYS[0], DAYS[1]).run(location)
        shutil.copytree(data / "landing", scratch / "landing")
        location = Location(code_location({**environment, "CDR_DATA_DIR": str(scratch)}), instance, scratch)
        assert Action("rebuild", DAYS[0], DAYS[1]).run(location)
        until_quiet(location, ["landed_days"], datetime(2026, 11, 4, 12, tzinfo=timezone.utc))
        yield Folders(data, scratch, world.answers)


@pytest.fixture
def folders(sound: Folders, tmp_path: Path) -> Folders:
    """A copy that a test may harm."""
    shutil.copytree(sound.data.root, tmp_path / "data")
    return Folders(tmp_path / "data", sound.scratch.root, sound.answers)


def foreign(folders: Folders) -> None:
    folder = folders.data.landing / f"usage_date={DAYS[0]}"
    newest = LandingZone(folders.data.root).files(DAYS[0])[-1].path.name.removesuffix(".ndjson.zst")
    land(folder, newest, [json.loads(line) | {"call_num": "77"} for line in folders.served[DAYS[0]]])


def lost(folders: Folders) -> None:
    for file in LandingZone(folders.data.root).files(DAYS[1]):
        Path(str(file.path)).unlink()


def left(path: str) -> Callable[[Folders], None]:
    def harm(folders: Folders) -> None:
        (folders.data.root / path).parent.mkdir(parents=True, exist_ok=True)
        (folders.data.root / path).touch()

    return harm


def statement(text: str) -> Callable[[Folders], None]:
    return lambda folders: folders.execute(text)


def without_export(folders: Folders) -> None:
    (folders.data.exports / "conference_usage" / f"{DAYS[0]}.parquet").unlink()


def other_export(folders: Folders) -> None:
    shutil.copy(*(folders.data.exports / "room_usage" / f"{day}.parquet" for day in DAYS))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (foreign, "were never served so"),
        (lost, "that landed once are lost"),
        (statement("DELETE FROM call_detail_records WHERE cdr_id LIKE '0003-%'"), "0 rows too many, 1 missing"),
        (statement("UPDATE room_usage SET billable_minutes = billable_minutes + 1"), "room_usage differs from plain"),
        (statement("DELETE FROM conference_usage"), "conference_usage differs from plain"),
        (statement("UPDATE call_detail_records SET user_ip = '192.0.2.1'"), "call_detail_records differs from a wareh"),
        (without_export, "conference_usage has no export of"),
        (other_export, "differs from the table room_usage"),
        (left("published/room_usage/2026-11-02.4711"), "files that are no exports"),
        (left("landing/.staging-x/usage_date=2026-11-02/a"), "left of killed runs"),
    ],
)
def test_harm_is_found(folders: Folders, harm: Callable[[Folders], None], words: str) -> None:
    folders.look()
    harm(folders)
    with pytest.raises(Difference, match=words):
        folders.look()


def test_the_same_seed_gives_the_same_records_and_changes() -> None:
    worlds = [World(seed, DAYS, records_a_day=5) for seed in (7, 7, 8)]
    changes = [[world.change() for _ in range(20)] for world in worlds]
    assert changes[0] == changes[1] != changes[2]
    path = f"/cdr/period/{DAYS[0]}/{DAYS[1]}"
    answers = [world.records_for(path, 1) for world in worlds]
    assert answers[0] == answers[1] != answers[2]


def test_requests_beyond_the_pace_are_found() -> None:
    even = [float(second) for second in range(60)]
    check_pace(even, requests_per_minute=60)
    check_pace([even[0] + JITTER_S / 2, *even[1:]], requests_per_minute=60)
    with pytest.raises(Difference, match="at 60 a minute"):
        check_pace([*even, 30.0], requests_per_minute=60)
    with pytest.raises(Difference, match="at 57 a minute"):
        check_pace(even, requests_per_minute=57)
