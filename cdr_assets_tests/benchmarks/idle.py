"""`cdr-assets serve` in which nothing is due: what it costs while it waits. Linux only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cdr_assets_tests.benchmarks.process import Run, environment

COMMAND = [sys.executable, "-c", "from cdr_assets.cli import main; main()"]
PROC = Path("/proc")
DAYS = 10
PATIENCE_S = 120
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def idle(url: str, folder: Path, wait_s: float, measure_s: float) -> Run:
    """Fetches some days, starts the service, waits, and measures for so long: CPU seconds an hour, and memory.

    `value` is CPU seconds an hour, and `peak_mb` the memory of all its processes, shared pages counted once.
    """
    today = datetime.now(timezone.utc).date()
    first, last = today - timedelta(days=DAYS), today - timedelta(days=1)
    port = _free_port()
    settings = environment(
        ENABLEX_APP_ID="app",
        ENABLEX_APP_KEY="key",
        ENABLEX_BASE_URL=url,
        CDR_DATA_DIR=str(folder / "data"),
        DAGSTER_HOME=str(folder / "home"),
        CDR_START_DATE=str(first),
        CDR_SETTLE_MINUTES="0",
        CDR_AGREEMENT_SAMPLE="0",
        # The open day is fetched at the start, and then not while it is measured.
        CDR_OPEN_DAY_MINUTES="1440",
    )
    _run([*COMMAND, "launch", "--job", "daily_cdr", "--partition-range", f"{first}...{last}"], folder, settings)
    with _serving([*COMMAND, "serve", "--port", str(port)], folder, settings, f"http://127.0.0.1:{port}") as pid:
        time.sleep(wait_s)
        began, before = time.monotonic(), _cpu_s(pid)
        time.sleep(measure_s)
        took, used = time.monotonic() - began, _cpu_s(pid) - before
        memory = sum(map(_memory_mb, _family(pid)))
    return Run(took, used, memory, value=used * 3600 / took)


def is_measurable() -> bool:
    """Whether this machine tells what its processes take."""
    return (PROC / "self" / "smaps_rollup").exists()


def _run(command: list[str], folder: Path, settings: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")


@contextmanager
def _serving(command: list[str], folder: Path, settings: dict[str, str], url: str) -> Iterator[int]:
    """The process id of the service, once its UI answers. It is stopped at the end, with everything that it started."""
    with (folder / "serve.log").open("wb") as log:
        service = subprocess.Popen(
            command, cwd=folder, env=settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not _answers(f"{url}/server_info"):
                if service.poll() is not None or time.monotonic() > deadline:
                    said = (folder / "serve.log").read_text(errors="replace")
                    raise RuntimeError(f"the service did not start\n{said[-4_000:]}")
                time.sleep(0.25)
            yield service.pid
        finally:
            service.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                service.wait(PATIENCE_S)
            with suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)
            service.wait()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _stat(pid: int) -> list[str]:
    # The name of a process, in brackets, may hold anything.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _family(pid: int) -> set[int]:
    """The process, and all that it started and that live."""
    parents = {}
    for path in PROC.glob("[0-9]*"):
        with suppress(OSError):
            parents[int(path.name)] = int(_stat(int(path.name))[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _cpu_s(pid: int) -> float:
    """Seconds of the processors that the process and all that it started took, those that ended included."""
    total = 0.0
    for each in _family(pid):
        with suppress(OSError):
            total += sum(map(int, _stat(each)[11:15])) / TICKS_PER_S
    return total


def _memory_mb(pid: int) -> float:
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
