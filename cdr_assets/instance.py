"""DAGSTER_HOME, made ready before any Dagster process starts on it: the folder, its settings, its storage."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path

from filelock import FileLock


def prepare(home: Path) -> None:
    """Makes `home` a Dagster home: with this package's `dagster.yaml`, if it has none, and with empty storage.

    Safe to call from any number of processes at once, and on a home that is in use. Raises OSError if the folder
    cannot be written.
    """
    # Not at the top: a service's supervisor imports this module, and should not keep Dagster in memory.
    import dagster as dg

    home.mkdir(parents=True, exist_ok=True)
    # Dagster creates its tables without a lock: processes that start together on an empty home fail.
    with FileLock(home / ".prepare.lock"):
        settings = home / "dagster.yaml"
        if not settings.exists():
            part = settings.with_suffix(".part")
            part.write_bytes((files("cdr_assets") / "dagster.yaml").read_bytes())
            part.replace(settings)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            # Each of the three storages creates its tables when it is first asked.
            instance.get_runs_count()
            instance.get_materialized_partitions(dg.AssetKey("period_cdr"))
            instance.all_instigator_state()


def main() -> int:
    """Prepares DAGSTER_HOME. Returns the exit code."""
    try:
        prepare(Path(os.environ["DAGSTER_HOME"]))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
