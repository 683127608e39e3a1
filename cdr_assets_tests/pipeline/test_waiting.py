"""A run that waits for the warehouse: what its log says, where the UI shows it."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from threading import Thread
from time import monotonic

import dagster as dg
import pytest

import cdr_assets
from cdr_assets import database
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.holding import QUEUES, WRITES, held
from cdr_assets_tests.location import Location, Script, record

DAY = date(2026, 11, 2)


@pytest.mark.parametrize("how", [WRITES, QUEUES])
def test_a_run_that_waits_for_the_warehouse_says_who_holds_it(
    scripted: Location, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(database, "WAITING_LOG_SECONDS", 0.1)
    script.holds(DAY, record("a", DAY))
    scripted.data_dir.mkdir()
    shutil.copy(Path(cdr_assets.__file__).with_name("dagster.yaml"), tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        location = Location(scripted.definitions, instance, scripted.data_dir)
        run = Thread(target=location.run, args=(DAY,), daemon=True)
        with held(location.places.file, how) as holder:
            run.start()
            lines = waiting_lines(instance, run)
            assert location.materialized_days("room_usage") == set()
        run.join(PATIENCE_S)
        assert location.materialized_days("room_usage") == {str(DAY)}
    assert str(holder.pid) in lines[0]
    assert str(location.places.file) in lines[0]


def waiting_lines(instance: dg.DagsterInstance, run: Thread) -> list[str]:
    """What the run says of its wait, as soon as it says something."""
    lines: list[str] = []
    deadline = monotonic() + PATIENCE_S
    while not lines:
        run.join(0.1)
        assert run.is_alive(), "it did not wait"
        assert monotonic() < deadline, "it waited and did not say so"
        logs = [entry for each in instance.get_runs() for entry in instance.all_logs(each.run_id)]
        lines = [entry.user_message for entry in logs if entry.user_message.startswith("Waiting for ")]
    return lines
