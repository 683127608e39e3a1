"""Child processes that share the fate of this one: a single command, or a group of services."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import entry_points
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import FrameType, TracebackType

import click
from dotenv import dotenv_values

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Longer than Dagster's code server waits for the calls that are under way.
STOP_TIMEOUT_S = 25


def console_script(name: str, *arguments: str) -> list[str]:
    """The command line that runs an installed package's console script with this Python.

    The script's own file may be missing: a virtual environment can share packages without their scripts.
    """
    entry = next(iter(entry_points(group="console_scripts", name=name)))
    return python_function(name, entry.module, entry.attr, *arguments)


def python_function(name: str, module: str, function: str, *arguments: str) -> list[str]:
    """The command line that runs a function of a module as the command `name`, and exits with what it returns."""
    # Unlike a script, -c looks for modules in the current folder first. Dagster drops the first folder, since for a
    # script that is the script's own.
    call = (
        "import os, sys; sys.path[:] = [os.path.dirname(sys.executable), *filter(None, sys.path)]; "
        f"sys.argv[0] = {name!r}; "
        f"from {module} import {function} as main; sys.exit(main())"
    )
    return [sys.executable, "-c", call, *arguments]


def env_file() -> dict[str, str]:
    """What `.env` in the working folder sets. Dagster's processes read it, too, and it wins over exported variables."""
    return {name: value for name, value in dotenv_values(".env").items() if value is not None}


def refuse_env_file(environment: Mapping[str, str]) -> None:
    """Raises ClickException if `.env` has other values than those that a command chose for Dagster's processes."""
    for name, value in env_file().items():
        if environment.get(name) not in (value, str(Path(value).resolve()) if name == "CDR_DATA_DIR" else value):
            remedy = "give an absolute path there" if name == "DAGSTER_HOME" else "take it out of the file"
            raise click.ClickException(
                f"{Path('.env').resolve()} sets {name}, and Dagster would read it there instead of what this command "
                f"needs: {remedy}, or work in another folder"
            )


def run(command: Sequence[str], environment: Mapping[str, str], services: Sequence[Sequence[str]] = ()) -> int:
    """Runs `command` to its end, and passes signals on to it. The commands in `services` run until then.

    Returns its exit code, or 128 + N if signal N ended it; 126 or 127 if it cannot be run.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(signal_number: int, _frame: FrameType | None) -> None:
        if process is None:
            early.append(signal_number)  # the command may already run, but where is not known yet
        else:
            _signal_group(process, signal_number)

    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, forward)
    with ExitStack() as stack:
        for each in services:
            stack.callback(_stop, _start_service(each, environment))
        try:
            # In its own session the command gets a terminal's Ctrl-C once, from here, and not a second time from the
            # terminal: a second one makes many programs give up an orderly stop.
            process = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with_parent)
        except OSError as error:
            print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
            return 127 if isinstance(error, FileNotFoundError) else 126
        for missed in early:
            forward(missed, None)
        code = process.wait()
    return code if code >= 0 else 128 - code


class ServiceEnded(Exception):
    """A service ended although nobody had asked it to."""


class Services:
    """Services that run until a signal asks to stop, or until one of them ends.

    A context manager: at its end every service is stopped, the last one started first.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # The name of a service that has ended, or None for a signal.
        self._events: SimpleQueue[str | None] = SimpleQueue()

    def __enter__(self) -> Services:
        for signal_number in STOP_SIGNALS:
            signal.signal(signal_number, lambda *_: self._events.put(None))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in reversed(self._processes.values()):
            _stop(process, deadline - time.monotonic())

    def start(self, name: str, command: Sequence[str]) -> None:
        """Starts a service. Its whole output goes to standard output."""
        process = _start_service(command, self._environment)
        self._processes[name] = process
        Thread(target=self._watch, args=(name, process), name=f"watch {name}", daemon=True).start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for a signal that asks to stop, at most `timeout_s`, and says whether one came.

        Raises ServiceEnded when a service ends first.
        """
        try:
            ended = self._events.get(timeout=timeout_s)
        except Empty:
            return False
        if ended is None:
            return True
        code = self._processes[ended].returncode
        how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        raise ServiceEnded(f"the {ended} ended {how}; the lines above say why. The other services were stopped")

    def _watch(self, name: str, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._events.put(name)


def _start_service(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # In its own session it does not hear a terminal's Ctrl-C, which would stop all of them at once.
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Asks Linux to stop this process when its parent dies, also of SIGKILL."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes], timeout_s: float | None = None) -> None:
    """Ends the process and its children: with SIGTERM, and after the timeout with SIGKILL."""
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S if timeout_s is None else max(timeout_s, 0))
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], signal_number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal_number)
