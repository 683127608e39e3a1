"""Runs the sandbox from a shell: until Ctrl-C, or around one command that it exists for."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields
from datetime import date, datetime, timezone
from http import HTTPStatus
from types import FrameType
from typing import get_args

from cdr_assets.sandbox.calls import Errors, Settings, Shape
from cdr_assets.sandbox.server import Faults, serve, ticking, utc_now

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves as the arguments ask. Returns the exit code: 0 after Ctrl-C, or the command's, 128+N if signal N ended it.

    Wrong arguments, or a port that cannot be had, exit with 2; a command that cannot be run returns 126 or 127.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # All that follows the first -- is the command's own, further dashes included.
    options, command = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, None)
    parser = _parser()
    given = parser.parse_args(options)
    if command == []:
        parser.error("no command after --")
    with ExitStack() as stack:
        try:
            settings = Settings(**{field.name: getattr(given, field.name) for field in fields(Settings)})
            faults = Faults(**{field.name: getattr(given, field.name) for field in fields(Faults) if field.init})
            clock = _clock(given.now, given.speed)
            sandbox = stack.enter_context(serve(settings, faults=faults, clock=clock, port=given.port))
        except (ValueError, OSError) as error:
            parser.error(str(error))
        return _wait(sandbox.environment) if command is None else _run(command, sandbox.environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cdr_assets.sandbox",
        usage="%(prog)s [options] [-- COMMAND ...]",
        description="A local EnableX with invented calls. With a COMMAND, runs it with ENABLEX_BASE_URL, "
        "ENABLEX_APP_ID and ENABLEX_APP_KEY pointing at the sandbox, stops with it and exits as it does.",
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    calls = parser.add_argument_group("calls")
    calls.add_argument("--seed", type=int, default=Settings.seed, help="another seed, other calls (%(default)s)")
    calls.add_argument(
        "--connections",
        type=int,
        default=Settings.connections,
        help="average number of CDRs on a working day (%(default)s)",
    )
    calls.add_argument("--start", type=_date, default=Settings.start, help="first UTC day that has calls (%(default)s)")
    calls.add_argument(
        "--shape", choices=get_args(Shape), default=Settings.shape, help="which fields a record has (%(default)s)"
    )
    calls.add_argument(
        "--errors", choices=get_args(Errors), default=Settings.errors, help="the error envelope (%(default)s)"
    )
    calls.add_argument("--app-id", default=Settings.app_id, help="user name of the Basic auth (%(default)s)")
    calls.add_argument("--app-key", default=Settings.app_key, help="password of the Basic auth (%(default)s)")
    clock = parser.add_argument_group("clock")
    clock.add_argument(
        "--now", type=_moment, metavar="MOMENT", help="the present, as in 2026-11-22T01:00:00Z; frozen without --speed"
    )
    clock.add_argument("--speed", type=float, help="seconds by the sandbox's clock in a real second; 1 without --now")
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--fail-status", type=_status, default=Faults.fail_status, help="status of failing answers (%(default)s)"
    )
    faults.add_argument("--fail-times", type=int, default=Faults.fail_times, help="how many answers fail (%(default)s)")
    faults.add_argument("--fail-each-path", action="store_true", help="count --fail-times for each path by itself")
    faults.add_argument("--retry-after", type=int, help="seconds that failing answers ask to wait")
    faults.add_argument(
        "--cut-times", type=int, default=Faults.cut_times, help="how many answers break off (%(default)s)"
    )
    faults.add_argument(
        "--delay-ms", type=int, default=Faults.delay_ms, help="milliseconds before each answer (%(default)s)"
    )
    faults.add_argument(
        "--spill",
        type=int,
        dest="spill_minutes",
        metavar="MINUTES",
        default=Faults.spill_minutes,
        help="periods also hold the records within this time of their bounds (%(default)s)",
    )
    faults.add_argument(
        "--late-share", type=float, default=Faults.late_share, help="share of records that appear late (%(default)s)"
    )
    faults.add_argument(
        "--late-hours", type=float, default=Faults.late_hours, help="how late they appear (%(default)s)"
    )
    return parser


def _date(text: str) -> date:
    return datetime.strptime(text, "%Y-%m-%d").date()


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _status(text: str) -> int:
    return HTTPStatus(int(text)).value


# argparse names a type by this in its messages.
_date.__name__, _moment.__name__, _status.__name__ = "YYYY-MM-DD", "YYYY-MM-DDTHH:MM:SSZ", "HTTP status"


def _clock(now: datetime | None, speed: float | None) -> Callable[[], datetime]:
    if now is None:
        return utc_now if speed is None else ticking(utc_now(), speed)
    return ticking(now, speed or 0)


def _wait(environment: Mapping[str, str]) -> int:
    stopped = threading.Event()
    for signal_number in _SIGNALS:
        signal.signal(signal_number, lambda *_: stopped.set())
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    print(f"sandbox is ready: export {variables}", flush=True)
    stopped.wait()
    return 0


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(signal_number: int, _frame: FrameType | None) -> None:
        if process is None:
            early.append(signal_number)  # the command may already run, but where is not known yet
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)

    for signal_number in _SIGNALS:
        signal.signal(signal_number, forward)
    try:
        # In a session of its own the command gets a terminal's Ctrl-C once, from here, and not a second time from the
        # terminal: a second one makes many programs give up an orderly stop.
        process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    for missed in early:
        forward(missed, None)
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
