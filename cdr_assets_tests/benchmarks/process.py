"""A process and all it starts, measured from its start to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
BIN = Path(sys.executable).parent


class Run(NamedTuple):
    """What finished processes took: seconds on the clock and of the processors, and memory at its peak.

    `peak_mb` is the most that any one process of them held. `value` is what the row is about, where that is none of
    these; the row says what it is.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    disk_mb: float | None = None
    value: float | None = None

    def then(self, other: Run) -> Run:
        """Both, one after the other."""
        return Run(
            self.seconds + other.seconds,
            self.cpu_s + other.cpu_s,
            max(self.peak_mb, other.peak_mb),
            other.disk_mb,
            other.value,
        )


def environment(**more: str) -> dict[str, str]:
    """The environment without what an account or a Dagster instance has set."""
    ours = ("CDR_", "ENABLEX_", "DAGSTER_", "DLT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    quiet = {"DAGSTER_DISABLE_TELEMETRY": "1", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    return {**kept, **quiet, "NO_PROXY": "127.0.0.1", **more}


def with_figures(command: Sequence[str | Path], folder: Path) -> Run:
    """Runs a command that prints its figures as a line of JSON, among them `value`, and maybe `disk_mb`."""
    took, said = _run(command, folder, {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), *_python_path()])})
    figures = json.loads(said.splitlines()[-1])
    print(f"  {figures}", file=sys.stderr, flush=True)
    return took._replace(value=figures["value"], disk_mb=figures.get("disk_mb"))


def run(command: Sequence[str | Path], folder: Path, **more: str) -> Run:
    """Runs a command in a folder to its end. Raises RuntimeError with what it said when it fails."""
    return _run(command, folder, more)[0]


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _run(command: Sequence[str | Path], folder: Path, more: Mapping[str, str]) -> tuple[Run, str]:
    """What the command took, and what it said."""
    with tempfile.TemporaryFile() as said:
        began = perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, env=environment(**more))
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace")
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{text[-4_000:]}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit), text


def script(name: str, *words: object) -> list[str]:
    """The command of one of the scripts next to this module."""
    return [sys.executable, str(HERE / name), *map(str, words)]


def module(name: str, *words: object) -> list[str]:
    """The command of one of the modules next to this one, which need the tests' other modules."""
    return [sys.executable, "-m", f"{__package__}.{name}", *map(str, words)]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a server of the prepared answers, in a process of its own."""
    with subprocess.Popen(script("server.py", folder), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()
