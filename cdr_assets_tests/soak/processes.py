"""Runs in processes of their own, which can be killed.

They start in some milliseconds, since they are forked from a process that has imported everything.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from cdr_assets.definitions import code_location
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.location import Location, plain_environment

PRELOADED = ["cdr_assets_tests.soak.kills", "cdr_assets_tests.soak.writers"]
LOG_TAIL = 4_000


class Difference(Exception):
    """What is not as it must be. It ends the soak."""


@dataclass(frozen=True)
class Place:
    """Where a run works: its settings, its data folder, and its Dagster home; without a home nothing is remembered."""

    environment: Mapping[str, str]
    data_dir: Path
    home: Path | None = None

    @contextmanager
    def location(self) -> Iterator[Location]:
        """The code location, in this process."""
        environment = {**self.environment, "CDR_DATA_DIR": str(self.data_dir)}
        for name in set(os.environ) - set(plain_environment()):
            del os.environ[name]
        # Dagster reads secrets from the process's own environment when a run needs them.
        os.environ.update(environment)
        opened = dg.DagsterInstance.from_config(str(self.home)) if self.home else dg.DagsterInstance.ephemeral()
        with opened as instance:
            yield Location(code_location(environment), instance, self.data_dir)


@dataclass(frozen=True)
class Action:
    """A run of a job: of a day, of a range of days, or with a config."""

    job: str
    first: date | None = None
    last: date | None = None
    op: str = ""
    config: Mapping[str, Any] | None = None

    def run(self, location: Location) -> bool:
        """Runs it in this process. Returns whether it succeeded."""
        is_range = self.last not in (None, self.first)
        ends = {"start": str(self.first), "end": str(self.last)} if is_range else {}
        return (
            location.definitions.resolve_job_def(self.job)
            .execute_in_process(
                instance=location.instance,
                run_config={"ops": {self.op: {"config": dict(self.config)}}} if self.config else None,
                partition_key=str(self.first) if self.first and not is_range else None,
                tags={f"dagster/asset_partition_range_{end}": day for end, day in ends.items()},
                raise_on_error=False,
            )
            .success
        )


class Child:
    """A function in a forked process, with what it says in a file."""

    def __init__(self, log: Path, function: Callable[..., object], *arguments: object) -> None:
        self._log = log
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._process: BaseProcess = context.Process(target=_call, args=(log, function, arguments))
        self._process.start()

    def ends_within(self, seconds: float) -> bool:
        """Waits for its end, but no longer than this."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """Kills it with everything that it started, unless it has ended."""
        if self.ends_within(0):
            return
        pid = self._process.pid
        assert pid is not None
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has not come to making its own process group yet, or it has just ended.
            self._process.kill()
        self._process.join()

    @property
    def was_killed(self) -> bool:
        return self._process.exitcode == -signal.SIGKILL

    def finish(self, what: str) -> None:
        """Waits for its end. Raises Difference with what it said if it failed."""
        if not self.ends_within(PATIENCE_S):
            self.kill()
            raise Difference(f"{what} did not end within {PATIENCE_S} s\n{self.said()}")
        if self._process.exitcode:
            raise Difference(f"{what} failed\n{self.said()}")

    def said(self) -> str:
        """The last of what it said, without what Dagster says of runs that go well."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if " - DEBUG - " not in line and " - INFO - " not in line)[-LOG_TAIL:]


def _call(log: Path, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        function(*arguments)
    except Exception as error:
        if not isinstance(error, Difference):
            traceback.print_exc()
        print(error, file=sys.stderr)
        sys.exit(1)


def run_action(place: Place, action: Action) -> None:
    """Runs the action in this process. Raises Difference if it fails."""
    with place.location() as location:
        if not action.run(location):
            raise Difference(f"{action} failed")
