"""What was put back, deleted, damaged or killed heals by the sensors alone, from what landed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import date, datetime, timezone
from pathlib import Path

import duckdb
import pytest

from cdr_assets.days import DAY, days_between
from cdr_assets_tests.expected import assert_exact, assert_exports_are_the_tables
from cdr_assets_tests.holding import QUEUES, held
from cdr_assets_tests.location import Locate, Location, Script, record
from cdr_assets_tests.reference import Record
from cdr_assets_tests.ticks import skipped, tick_until_done

COUNT = 3
IN_ORDER = f"the tables hold everything that landed, {COUNT} days"


@pytest.fixture
def span() -> list[date]:
    """Some closed days."""
    today = datetime.now(timezone.utc).date()
    return days_between(today - DAY * (COUNT + 1), today - DAY * 2)


@pytest.fixture
def place(locate: Locate, script: Script, span: list[date]) -> Location:
    """Days of two versions. The first one is also in the folder `backup`."""
    location = locate({**script.environment, "CDR_START_DATE": str(span[0])})
    for records in (first_version(span), second_version(span)):
        for day in span:
            script.holds(day, *(each for each in records if each["trans_date"].startswith(str(day))))
        assert location.run(span[0], span[-1]).success
        if not backup(location).exists():
            shutil.copy2(location.places.file, backup(location))
    script.paths.clear()
    return location


def backup(location: Location) -> Path:
    return location.data_dir / "backup"


def first_version(span: list[date]) -> list[Record]:
    return [record(f"a-{day}", day, sigserver={"duration": "an hour"}) for day in span]


def second_version(span: list[date]) -> list[Record]:
    return [record(f"{name}-{day}", day, room={"room_id": "r", "duration": 90}) for day in span for name in ("a", "b")]


def assert_heals(place: Location, script: Script, span: list[date], launched: list[list[date]]) -> None:
    assert tick_until_done(place, "landed_days") == (launched, IN_ORDER)
    assert_exact(place.places, second_version(span))
    assert_exports_are_the_tables(place.places)
    assert script.paths == [], "what landed is enough"


@pytest.mark.parametrize("copy", [shutil.copy2, shutil.copyfile], ids=["with its time", "with a new time"])
def test_an_older_warehouse_that_is_put_back(
    place: Location, script: Script, span: list[date], copy: Callable[[Path, Path], object]
) -> None:
    copy(backup(place), place.places.file)
    assert_heals(place, script, span, [span])


def test_a_folder_of_exports_that_is_deleted(place: Location, script: Script, span: list[date]) -> None:
    shutil.rmtree(place.data_dir / "published")
    assert_heals(place, script, span, [span])


def test_an_export_that_is_cut_short(place: Location, script: Script, span: list[date]) -> None:
    os.truncate(place.data_dir / "published" / "room_usage" / f"{span[1]}.parquet", 10)
    assert_heals(place, script, span, [[span[1]]])


def test_an_acknowledgement_that_is_killed_before_its_export(place: Location, script: Script, span: list[date]) -> None:
    script.holds(span[0], *second_version(span[:1]), record("odd", span[0], sigserver={"duration": "an hour"}))
    assert place.run(span[0]).success
    exported = place.data_dir / "published" / "check_findings" / f"{span[0]}.parquet"
    exported.unlink()
    (exported / "in the way").mkdir(parents=True)
    config = {"check": "no_field_was_lost_to_its_type", "first_day": str(span[0]), "note": "known"}
    job = place.definitions.resolve_job_def("acknowledge")
    run_config = {"ops": {"acknowledge": {"config": config}}}
    assert not job.execute_in_process(instance=place.instance, run_config=run_config, raise_on_error=False).success
    shutil.rmtree(exported)
    assert tick_until_done(place, "landed_days") == ([[span[0]]], IN_ORDER)
    assert duckdb.execute(f"SELECT acknowledged_at IS NOT NULL FROM '{exported}'").fetchall() == [(True,)]


def test_a_warehouse_that_is_in_use_is_left_for_the_next_tick(place: Location) -> None:
    os.utime(place.places.file)
    with held(place.places.file, QUEUES) as holder:
        said = skipped(place, "landed_days")
    assert said.startswith(f"the build log cannot be read: {place.places.file} was in use")
    assert str(holder.pid) in said
    assert skipped(place, "landed_days") == IN_ORDER


def test_a_warehouse_that_is_none_is_named(place: Location) -> None:
    place.places.file.write_bytes(b"not a database\n" * 1_000)
    assert f"{place.places.file} can't be opened" in skipped(place, "landed_days")
    place.places.file.unlink()
    result = tick_until_done(place, "landed_days")
    assert result[1] == IN_ORDER
