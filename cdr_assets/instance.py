"""DAGSTER_HOME, made ready before any Dagster process starts on it: the folder, its settings, its storage."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from filelock import FileLock

SANDBOX_MARK = ".sandbox"
"""Lies in a folder that holds the sandbox's invented calls, or the state of runs over them."""


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
    """Checks the settings, and makes CDR_DATA_DIR and DAGSTER_HOME ready. Returns the exit code."""
    from cdr_assets.settings import Settings

    try:
        Settings.read(os.environ)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for name in ("CDR_DATA_DIR", "DAGSTER_HOME"):
        if not os.environ.get(name) and name == "CDR_DATA_DIR":
            continue
        folder = Path(os.environ[name])
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if on_sandbox(os.environ):
                (folder / SANDBOX_MARK).touch()
            if name == "DAGSTER_HOME":
                prepare(folder)
            elif not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            print(f"Error: {name} {folder} cannot be used: {error.strerror}", file=sys.stderr)
            return 1
    return 0


def on_sandbox(environ: Mapping[str, str]) -> bool:
    """Whether the EnableX that the environment names is a sandbox, which gives its URL in CDR_SANDBOX."""
    return bool(environ.get("CDR_SANDBOX")) and environ.get("CDR_SANDBOX") == environ.get("ENABLEX_BASE_URL")


if __name__ == "__main__":
    sys.exit(main())
