"""Machines, each a process with its own folders: a daemon with the sensors, and Celery workers that do the runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import dagster as dg
import duckdb
import psycopg.conninfo

from cdr_assets.lake import Lake
from cdr_assets.places import Places
from cdr_assets.processes import console_script
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.location import plain_environment
from cdr_assets_tests.scale import BUCKET, REDIS, REDIS_DATABASES

MODULE = "cdr_assets.definitions"
DAGSTER_YAML = Path(__file__).parents[2] / "deploy" / "dagster.celery.yaml"

Found = TypeVar("Found")


@dataclass
class Machine:
    """A process in its own process group."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As if the machine lost its power: no process on it can say anything any more."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def runs(self, run_pid: int) -> bool:
        """Whether that process is one of this machine."""
        try:
            return os.getpgid(run_pid) == self.process.pid
        except ProcessLookupError:
            return False


@dataclass
class Cluster:
    """The machines over one lake, one bucket and one EnableX."""

    folder: Path
    environment: dict[str, str]
    machines: list[Machine] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The DAGSTER_HOME of the one who looks on."""
        return self._home("onlooker")

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's state."""
        with patch.dict(os.environ, self.environment), dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The tables."""
        lake = Places.from_environment(self.environment).database(lambda _: None, 0, nullcontext)
        assert isinstance(lake, Lake)
        with lake.read() as connection:
            yield connection

    def done_by(self, instance: dg.DagsterInstance, run_id: str) -> str | None:
        """The name of the machine that does the run now."""
        pid = pid_of(instance, run_id)
        return next((machine.name for machine in self.machines if pid and machine.runs(pid)), None)

    def start_daemon(self) -> Machine:
        return self._start("daemon", console_script("dagster-daemon", "run", "-m", MODULE))

    def start_worker(self, name: str) -> Machine:
        options = ["-n", f"{name}@%h", "-Q", "dagster", "--concurrency=1", "--disable-prefetch", "--loglevel=info"]
        command = [sys.executable, "-m", "celery", "-A", "dagster_celery.app", "worker", *options]
        return self._start(name, command)

    def run(self, command: Sequence[str], **more: str) -> str:
        """What the command says. Raises AssertionError when it fails."""
        done = subprocess.run(
            command, env=self._environment_of("onlooker") | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def backfill(self, first: date, last: date) -> None:
        """Launches the daily job for each day of the range, a run for each."""
        days = ["--from", str(first), "--to", str(last), "--noprompt"]
        self.run(console_script("dagster", "job", "backfill", "-m", MODULE, "-j", "daily_cdr", *days))

    def wait(self, look: Callable[[], Found], timeout_s: float = PATIENCE_S, every_s: float = 0.2) -> Found:
        """What `look` finds, as soon as it finds something. Raises AssertionError with what the machines said."""
        deadline = time.monotonic() + timeout_s
        while True:
            if found := look():
                return found
            dead = [machine.name for machine in self.machines if machine.process.poll() not in (None, -signal.SIGKILL)]
            if dead or time.monotonic() > deadline:
                said = "\n".join(f"--- {each.name}\n{self.said_by(each.name)}" for each in self.machines)
                raise AssertionError(f"{f'ended: {dead}' if dead else f'nothing after {timeout_s:g} s'}\n{said}")
            time.sleep(every_s)

    def done_runs(self, instance: dg.DagsterInstance) -> Iterator[tuple[dg.DagsterRun, str]]:
        """Each run when it has ended, and the name of the machine that did it, until none is left."""
        by: dict[str, str] = {}
        reported: set[str] = set()

        def look() -> list[dg.DagsterRun]:
            runs = instance.get_runs()
            for run in runs:
                if run.run_id not in by and (name := self.done_by(instance, run.run_id)):
                    by[run.run_id] = name
            return [run for run in runs if run.is_finished and run.run_id not in reported]

        while len(reported) < instance.get_runs_count():
            for run in self.wait(look):
                reported.add(run.run_id)
                yield run, by.get(run.run_id, "nobody")

    def stop(self) -> None:
        for machine in self.machines:
            machine.kill()

    def said_by(self, name: str) -> str:
        """The end of what the machine of that name printed."""
        return "\n".join(machine.log.read_text()[-6000:] for machine in self.machines if machine.name == name)

    def _start(self, name: str, command: Sequence[str]) -> Machine:
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                env=self._environment_of(name),
                cwd=self._home(name),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        machine = Machine(name, log, process)
        self.machines.append(machine)
        return machine

    def _home(self, name: str) -> Path:
        home = self.folder / name / "dagster"
        if not home.exists():
            home.mkdir(parents=True)
            shutil.copy(DAGSTER_YAML, home / "dagster.yaml")
        return home

    def _environment_of(self, name: str) -> dict[str, str]:
        folders = {"DAGSTER_HOME": str(self._home(name)), "CDR_DATA_DIR": str(self.folder / name / "data")}
        return plain_environment() | self.environment | folders


@contextmanager
def cluster(folder: Path, enablex: Mapping[str, str], database: str, workers: int) -> Iterator[Cluster]:
    """A cluster on which nothing runs yet; `database` is a connection string of libpq. All is stopped at the end."""
    address = psycopg.conninfo.conninfo_to_dict(database)
    server = "{user}@{host}:{port}/{dbname}".format(**address)
    # Nobody else's tasks are in that one.
    broker = f"{REDIS}/{uuid.uuid4().int % REDIS_DATABASES}"
    environment = {
        **enablex,
        "CDR_WAREHOUSE": f"ducklake:postgres:{database}",
        "CDR_LANDING": f"s3://{BUCKET}/{uuid.uuid4().hex}",
        "CDR_AGREEMENT_SAMPLE": "0",
        "DAGSTER_STORAGE": f"postgresql+psycopg2://{server}",
        "CELERY_BROKER_URL": broker,
        "CELERY_RESULT_BACKEND": broker,
        "CELERY_WORKERS": str(workers),
        "PYTHONUNBUFFERED": "1",
    }
    made = Cluster(folder, environment)
    made.run([sys.executable, "-m", "cdr_assets.instance"])
    with ExitStack() as stack:
        stack.callback(made.stop)
        yield made


def pid_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that does the run; None before it has begun."""
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        if found := re.search(r"Started process for run \(pid: (\d+)\)", record.message or record.user_message):
            return int(found[1])
    return None
