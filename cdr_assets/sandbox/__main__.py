"""The command `sandbox`: serves until Ctrl-C, or for as long as one command runs."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, TypeVar, get_args

import click

from cdr_assets import processes
from cdr_assets.sandbox.calls import Errors, Settings, Shape
from cdr_assets.sandbox.server import Faults, serve, ticking, utc_now

T = TypeVar("T")


def _day(text: str) -> date:
    return _parsed(text, "YYYY-MM-DD", lambda: datetime.strptime(text, "%Y-%m-%d").date())


def _moment(text: str) -> datetime:
    return _parsed(text, "YYYY-MM-DDTHH:MM:SSZ", lambda: datetime.strptime(f"{text}+0000", "%Y-%m-%dT%H:%M:%SZ%z"))


def _status(text: str) -> int:
    return _parsed(text, "HTTP status", lambda: HTTPStatus(int(text)).value)


def _parsed(text: str, form: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError:
        raise click.BadParameter(f"invalid {form} value: {text!r}") from None


class _Command(click.Command):
    """Keeps what follows the first `--` for the command to run, with any further dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            args, ctx.obj = args[:place], args[place + 1 :]
            if not ctx.obj:
                raise click.UsageError("no command after --", ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND ...]"]


@click.command(cls=_Command, context_settings={"show_default": True, "max_content_width": 100})
@click.option("--port", type=int, default=0, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option("--seed", type=int, default=Settings.seed, help="Another seed gives other calls.")
@click.option("--connections", type=int, default=Settings.connections, help="CDRs on an average working day.")
@click.option(
    "--start", metavar="YYYY-MM-DD", type=_day, default=str(Settings.start), help="First UTC day that has calls."
)
@click.option("--shape", type=click.Choice(get_args(Shape)), default=Settings.shape, help="Fields of a record.")
@click.option("--errors", type=click.Choice(get_args(Errors)), default=Settings.errors, help="Form of an error.")
@click.option(
    "--lag",
    "lag_minutes",
    metavar="MINUTES",
    type=int,
    default=Settings.lag_minutes,
    help="A record of the open day appears within so many minutes of its disconnect.",
)
@click.option("--app-id", default=Settings.app_id, help="User name of the Basic auth.")
@click.option("--app-key", default=Settings.app_key, help="Password of the Basic auth.")
@click.option(
    "--now",
    metavar="MOMENT",
    type=_moment,
    help="The sandbox's present, as in 2026-11-22T01:00:00Z; still without --speed.",
)
@click.option("--speed", type=float, help="Seconds on the sandbox's clock per real second.  [default: 1 without --now]")
@click.option(
    "--fail-status", metavar="STATUS", type=_status, default=Faults.fail_status, help="Status of answers that fail."
)
@click.option("--fail-times", type=int, default=Faults.fail_times, help="How many answers fail.")
@click.option("--fail-each-path", is_flag=True, show_default=False, help="Count --fail-times for each path separately.")
@click.option("--retry-after", type=int, help="Retry-After of answers that fail, in seconds.")
@click.option("--cut-times", type=int, default=Faults.cut_times, help="How many answers break off.")
@click.option("--delay-ms", type=int, default=Faults.delay_ms, help="Milliseconds before each answer.")
@click.option(
    "--spill",
    "spill_minutes",
    metavar="MINUTES",
    type=int,
    default=Faults.spill_minutes,
    help="A period also holds the records up to this long before and after it.",
)
@click.option("--late-share", type=float, default=Faults.late_share, help="Share of records that appear late, 0 to 1.")
@click.option("--late-hours", type=float, default=Faults.late_hours, help="How late they appear.")
@click.pass_context
def sandbox(ctx: click.Context, /, port: int, now: datetime | None, speed: float | None, **given: Any) -> None:
    """A local EnableX with invented calls.

    With a COMMAND, runs it with ENABLEX_BASE_URL, ENABLEX_APP_ID and ENABLEX_APP_KEY set to the sandbox's, stops when
    it ends, and exits with its exit code. Without one, runs until Ctrl-C.
    """
    with ExitStack() as stack:
        try:
            settings = Settings(**{field.name: given[field.name] for field in fields(Settings)})
            faults = Faults(**{field.name: given[field.name] for field in fields(Faults) if field.init})
            server = stack.enter_context(serve(settings, faults=faults, clock=_clock(now, speed), port=port))
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error), ctx) from None
        if ctx.obj is None:
            _wait(server.environment)
        else:
            environment = {**os.environ, **processes.env_file(), **server.environment}
            processes.refuse_env_file(environment)
            ctx.exit(processes.run(ctx.obj, environment))


def _clock(now: datetime | None, speed: float | None) -> Callable[[], datetime]:
    if now is None:
        return utc_now if speed is None else ticking(utc_now(), speed)
    return ticking(now, speed or 0)


def _wait(environment: Mapping[str, str]) -> None:
    stopped = threading.Event()
    for signal_number in processes.STOP_SIGNALS:
        signal.signal(signal_number, lambda *_: stopped.set())
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    print(f"sandbox is ready: export {variables}", flush=True)
    stopped.wait()


if __name__ == "__main__":
    sandbox(prog_name="python -m cdr_assets.sandbox")
