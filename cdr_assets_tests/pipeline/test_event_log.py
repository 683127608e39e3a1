"""Dagster's event log is kept open while a run writes to it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cdr_assets.pipeline.event_log import INDEX, kept_open, sqlite_file

RUNLESS = ""


def report(instance: dg.DagsterInstance, day: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("a", partition=day))


def test_while_it_is_kept_open_sqlite_does_not_copy_its_log_after_every_event(tmp_path: Path) -> None:
    def logs() -> set[str]:
        return {path.name for path in (tmp_path / "history" / "runs").glob("*.db-wal")}

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        report(instance, "2026-11-01")
        assert logs() == set(), "it was copied when the connection was closed"
        with kept_open(instance, RUNLESS):
            report(instance, "2026-11-02")
            assert logs() == {"index.db-wal", ".db-wal"}
            assert instance.get_materialized_partitions(dg.AssetKey("a")) == {"2026-11-01", "2026-11-02"}
        assert logs() == set()
        assert instance.get_materialized_partitions(dg.AssetKey("a")) == {"2026-11-01", "2026-11-02"}


def test_a_run_without_events_or_another_storage_is_left_alone(tmp_path: Path) -> None:
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance, kept_open(instance, "no-such-run"):
        file = sqlite_file(instance, "no-such-run")
        assert file
        assert not file.exists()
    with dg.DagsterInstance.ephemeral() as instance, kept_open(instance, RUNLESS):
        assert sqlite_file(instance, INDEX) is None
