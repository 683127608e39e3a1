"""Runs that are interrupted between two events, as by Ctrl-C or by a daemon that stops: the warehouse is free then."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import date
from typing import Any

import dagster as dg
import pytest
from filelock import FileLock

from cdr_assets.database import WarehouseError
from cdr_assets.days import DAY as ONE_DAY
from cdr_assets.landing.zone import LandingZone
from cdr_assets.pipeline.assets import no_client
from cdr_assets.pipeline.daily_run import DailyRun
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.expected import TABLES, assert_exact
from cdr_assets_tests.location import Location, Script, record

DAY = date(2026, 11, 2)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def generator_exit() -> None:
    raise GeneratorExit


def keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def is_free(location: Location) -> bool:
    """Whether no one has the warehouse open. Waits for nobody."""
    lock = FileLock(f"{location.places.file}.lock", blocking=False)
    try:
        with lock:
            return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("asset", ["period_cdr", TABLES[-1]])
@pytest.mark.parametrize("how", [interrupt, keyboard_interrupt, generator_exit])
def test_a_run_that_is_interrupted_after_an_event_frees_the_warehouse(
    scripted: Location, script: Script, monkeypatch: pytest.MonkeyPatch, asset: str, how: Callable[[], None]
) -> None:
    days = [DAY + ONE_DAY * number for number in range(3)]
    for day in days:
        script.holds(day, record(str(day), day))
    handle_new_event = scripted.instance.handle_new_event

    def interrupted(event: dg.EventLogEntry, **options: Any) -> None:
        handle_new_event(event, **options)
        done = event.asset_materialization
        if done and done.asset_key == dg.AssetKey(asset) and done.partition == str(days[0]):
            how()

    with monkeypatch.context() as patch:
        patch.setattr(scripted.instance, "handle_new_event", interrupted)
        result = scripted.run(days[0], days[-1])
    # The result holds the error, and with it the frames in which the run was interrupted.
    assert not result.success
    assert is_free(scripted)
    assert scripted.run(days[0], days[-1]).success
    assert_exact(scripted.places, [record(str(day), day) for day in days])


def test_a_run_that_was_closed_never_opens_the_warehouse_again(scripted: Location, script: Script) -> None:
    script.holds(DAY, record("a", DAY))
    assert scripted.run(DAY).success
    run = DailyRun(LandingZone(scripted.data_dir), Warehouse(scripted.places), no_client, DAILY_TABLES)
    days = run.build([DAY, DAY])
    assert next(days).error is None
    run.close()
    assert is_free(scripted)
    assert [type(outcome.error) for outcome in run.build([DAY])] == [WarehouseError]
    assert is_free(scripted)
    run.close()
