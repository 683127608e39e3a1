"""Old runs go from Dagster's state, and nothing that is known of days and checks goes with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdr_assets.days import DAY, days_between
from cdr_assets.pipeline import retention
from cdr_assets.pipeline.resources import Clock
from cdr_assets.pipeline.retention import compact_index, delete_old_runs
from cdr_assets.sandbox.server import Sandbox
from cdr_assets.settings import KEEP_RUNS_DAYS
from cdr_assets_tests.expected import TABLES
from cdr_assets_tests.httpserver import answer
from cdr_assets_tests.location import Locate, Location, Script, record

FIRST = date(2026, 11, 2)
WEEK = days_between(FIRST, FIRST + DAY * 6)
KEPT = int(KEEP_RUNS_DAYS.default)
ASSETS = ("period_cdr", *TABLES)


class LaterClock(Clock):
    days: float

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(days=self.days)


def tick(location: Location, days: float, cursor: str | None = None) -> Any:
    """A tick of the sensor so many days from now."""
    with dg.build_sensor_context(
        instance=location.instance,
        definitions=location.definitions,
        resources={**(location.definitions.resources or {}), "clock": LaterClock(days=days)},
        cursor=cursor,
        repository_name="__repository__",
    ) as context:
        return location.definitions.resolve_sensor_def("old_runs").evaluate_tick(context)


@pytest.fixture
def on_disk(tmp_path: Path, locate: Locate, script: Script) -> Iterator[Location]:
    """The code location over what the test writes, with Dagster's state on disk as it usually is."""
    home = tmp_path / "home"
    home.mkdir()
    location = locate(script.environment)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Location(location.definitions, instance, location.data_dir)


def known(location: Location) -> Mapping[str, Any]:
    """Everything that Dagster knows of the days and the checks now."""
    checks = location.definitions.resolve_asset_graph().asset_check_keys
    evaluations = {key: location.instance.get_latest_asset_check_evaluation_record(key) for key in checks}
    return {
        **{asset: location.materialized_days(asset) for asset in ASSETS},
        **{
            f"{asset} {day}": location.metadata(asset, date.fromisoformat(day))
            for asset in ASSETS
            for day in location.materialized_days(asset)
        },
        **{str(key): record and (record.run_id, record.status) for key, record in evaluations.items()},
    }


def test_superseded_and_failed_runs_go_and_what_is_known_of_days_and_checks_stays(
    on_disk: Location, script: Script
) -> None:
    for day in WEEK:
        script.holds(day, record(str(day), day))
    gone = [on_disk.run(FIRST), on_disk.run(WEEK[1], assets=["period_cdr"])]
    # The range holds the only results of its third day, and the newest of none of the others.
    stays = [on_disk.run(FIRST, WEEK[2])]
    stays.append(on_disk.run(FIRST, WEEK[1]))
    script.answers_with(WEEK[3], answer(b"", status=404))
    gone.append(on_disk.run(WEEK[3]))
    script.holds(WEEK[3], record("late", WEEK[3]))
    stays.append(on_disk.run(WEEK[3]))
    before = known(on_disk)
    home = Path(on_disk.instance.root_directory)

    assert tick(on_disk, KEPT - 1).skip_message.startswith("0 runs ")
    result = tick(on_disk, KEPT + 1)
    assert result.skip_message.startswith("3 runs from before ")
    assert "deleted; 3 kept" in result.skip_message
    assert {run.run_id for run in on_disk.instance.get_runs()} == {run.run_id for run in stays}
    assert known(on_disk) == before
    left = [path.name for path in home.rglob("*") if any(run.run_id in path.name for run in gone)]
    assert left == []
    # Nothing is missing to the sensors, and a second tick finds nothing more.
    assert tick(on_disk, KEPT + 1, result.cursor).skip_message.startswith("0 runs ")


def test_the_run_with_the_newest_evaluation_of_a_check_stays(on_disk: Location, script: Script) -> None:
    script.holds(FIRST, record("a", FIRST))
    on_disk.run(FIRST)
    # Newer materializations of everything, without checks.
    for asset in ASSETS:
        on_disk.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=str(FIRST)))
    before = known(on_disk)
    assert "0 runs" in tick(on_disk, KEPT + 1).skip_message
    assert known(on_disk) == before


def test_old_runs_are_looked_at_in_portions_and_then_from_the_beginning(on_disk: Location, script: Script) -> None:
    script.holds(FIRST, record("a", FIRST))
    # With replace, every run builds and checks all that the run before it did.
    *_, newest = (on_disk.run(FIRST, replace=True) for _ in range(4))
    now = datetime.now(timezone.utc) + DAY
    portions, resume_after = [], None
    for _ in range(3):
        portion = delete_old_runs(on_disk.instance, now, resume_after, max_runs=2)
        resume_after = portion.resume_after
        portions.append((portion.deleted, portion.kept, resume_after is None))
    assert portions == [(2, 0, False), (1, 1, False), (0, 0, True)]
    assert [run.run_id for run in on_disk.instance.get_runs()] == [newest.run_id]


def test_a_year_at_default_settings_takes_less_than_300_megabytes(on_disk: Location, script: Script) -> None:
    """Four runs a day over three settling days; of old runs, the last one of each day stays. Those of the open day stay
    for a day. Each changes every table."""

    def bytes_after(number: int, days: list[date]) -> int:
        for day in days:
            calls = (record(f"{day}-{each}", day, conf_num=f"{each:024}") for each in range(10 + number))
            rooms = ({**call, "room": {**call["room"], "room_id": f"{call['conf_num']}"}} for call in calls)
            script.holds(day, *rooms)
        assert on_disk.run(days[0], days[-1]).success
        home = Path(on_disk.instance.root_directory)
        return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())

    settling, open_day = WEEK[:3], WEEK[:1]
    sizes = [
        bytes_after(number, days) for number, days in enumerate([settling, settling, settling, open_day, open_day])
    ]
    run, open_day_run = (sizes[2] - sizes[0]) / 2, (sizes[4] - sizes[2]) / 2
    days, ticks = KEEP_RUNS_DAYS.default, 20_000_000
    assert 100_000 < open_day_run < run < 1_000_000
    assert (4 * days + 365 - days) * run + 48 * open_day_run + ticks < 300_000_000


def index(location: Location) -> Path:
    return Path(location.instance.root_directory) / "history" / "runs" / "index.db"


def check_results(location: Location) -> int:
    with closing(sqlite3.connect(index(location))) as connection:
        return int(connection.execute("SELECT count(*) FROM asset_check_executions").fetchone()[0])


def test_old_results_of_checks_go_and_the_newest_of_each_stays(on_disk: Location, script: Script) -> None:
    for day in WEEK[:2]:
        script.holds(day, record(str(day), day))
    assert on_disk.run(FIRST).success
    one_of_each = check_results(on_disk)
    for day in (WEEK[1], FIRST, FIRST):
        assert on_disk.run(day, replace=True).success
    before = known(on_disk)
    tick(on_disk, KEPT - 1)
    assert check_results(on_disk) == 4 * one_of_each
    tick(on_disk, KEPT + 1)
    assert check_results(on_disk) == one_of_each
    assert known(on_disk) == before


def test_runs_that_failed_since_enablex_was_unavailable_go_after_a_week(on_disk: Location, script: Script) -> None:
    script.answers_with(FIRST, answer(b"", 500, {"Retry-After": "86400"}))
    tries = {on_disk.run(FIRST).run_id for _ in range(2)}
    script.answers_with(FIRST, answer(b"", 404))
    other = on_disk.run(FIRST).run_id
    # A range that had done a day before it failed holds that day's newest state.
    script.holds(FIRST, record("a", FIRST))
    script.answers_with(WEEK[1], answer(b"", 500, {"Retry-After": "86400"}))
    half_done = on_disk.run(FIRST, WEEK[1]).run_id
    tick(on_disk, 7.9)
    assert {run.run_id for run in on_disk.instance.get_runs()} == {*tries, other, half_done}
    assert tick(on_disk, 8.1).skip_message.endswith("2 newer ones deleted, since EnableX was unavailable")
    assert {run.run_id for run in on_disk.instance.get_runs()} == {other, half_done}


@pytest.fixture
def wasted(on_disk: Location, script: Script, monkeypatch: pytest.MonkeyPatch) -> Location:
    """Dagster's state with a megabyte of unused space in its index."""
    monkeypatch.setattr(retention, "WASTED_BYTES", 1 << 19)
    monkeypatch.setattr(retention, "SECONDS_TO_LOCK", 0.1)
    script.holds(FIRST, record("a", FIRST))
    assert on_disk.run(FIRST).success
    with closing(sqlite3.connect(index(on_disk), isolation_level=None)) as connection:
        connection.execute("CREATE TABLE filler AS SELECT zeroblob(2000000) AS bytes")
        connection.execute("DROP TABLE filler")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return on_disk


def test_unused_space_of_the_index_is_given_back(wasted: Location) -> None:
    before, size = known(wasted), index(wasted).stat().st_size
    tick(wasted, 0)
    assert compact_index(wasted.instance) is False
    with closing(sqlite3.connect(index(wasted))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert index(wasted).stat().st_size < size - 1_900_000
    assert known(wasted) == before


def test_the_index_stays_as_it_is_while_runs_are_in_flight_or_somebody_writes(wasted: Location) -> None:
    with closing(sqlite3.connect(index(wasted), isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert compact_index(wasted.instance) is False
        writer.execute("ROLLBACK")
    job = wasted.definitions.resolve_job_def("daily_cdr")
    run = wasted.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert compact_index(wasted.instance) is False
    wasted.instance.report_run_failed(run)
    assert compact_index(wasted.instance) is True


def test_state_that_is_not_in_sqlite_is_left_alone(location: Location) -> None:
    assert retention.delete_old_check_results(location.instance, datetime.now(timezone.utc)) == 0
    assert compact_index(location.instance) is False


def test_old_logs_of_ticks_go_with_the_runs(on_disk: Location) -> None:
    logs = Path(on_disk.instance.storage_directory()) / "__repository__" / "closed_days"
    logs.mkdir(parents=True)
    (logs / "1.err").write_text("old")
    tick(on_disk, KEPT - 1)
    assert (logs / "1.err").exists()
    tick(on_disk, KEPT + 1)
    assert list(logs.iterdir()) == []


def test_a_setting_of_zero_keeps_every_run(locate: Locate, sandbox: Sandbox) -> None:
    location = locate({**sandbox.environment, "CDR_KEEP_RUNS_DAYS": "0"})
    for _ in range(2):
        assert location.run(FIRST).success
    assert tick(location, 9_999).skip_message == "every run is kept: CDR_KEEP_RUNS_DAYS is 0"
    assert len(location.instance.get_runs()) == 2


def test_failures_that_decide_when_a_day_is_tried_again_are_remembered(locate: Locate, script: Script) -> None:
    location = locate({**script.environment, "CDR_KEEP_RUNS_DAYS": "1"})
    script.answers_with(FIRST, answer(b"", status=404))
    failed = location.run(FIRST).run_id
    script.holds(FIRST, record("a", FIRST))
    assert location.run(FIRST).success
    tick(location, 7.9)
    assert failed in {run.run_id for run in location.instance.get_runs()}
    tick(location, 8.1)
    assert failed not in {run.run_id for run in location.instance.get_runs()}


def test_runs_of_other_code_locations_stay(location: Location) -> None:
    @dg.job
    def somebody_elses() -> None: ...

    somebody_elses.execute_in_process(instance=location.instance)
    tick(location, KEPT + 1)
    assert len(location.instance.get_runs()) == 1


def test_a_run_in_flight_stays_however_old(location: Location) -> None:
    job = location.definitions.resolve_job_def("daily_cdr")
    location.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    tick(location, KEPT + 1)
    assert len(location.instance.get_runs()) == 1
