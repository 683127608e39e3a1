"""The command `cdr-assets`: Dagster's own commands, on the right home, data folder and EnableX."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout

from cdr_assets import processes
from cdr_assets.instance import SANDBOX_MARK, on_sandbox
from cdr_assets.reports.dashboard.launch import asks_for_log_in, missing_packages
from cdr_assets.reports.dashboard.launch import command as dashboard_command
from cdr_assets.reports.dashboard.settings import DashboardSettings

MODULE = "cdr_assets.definitions"
CREDENTIALS = ("ENABLEX_APP_ID", "ENABLEX_APP_KEY")
UI_PORT = 3000
DASHBOARD_PORT = 8501
ACCOUNT_FOLDERS = {"DAGSTER_HOME": ".dagster", "CDR_DATA_DIR": "data"}
SANDBOX_FOLDERS = {"DAGSTER_HOME": "sandbox-data/dagster", "CDR_DATA_DIR": "sandbox-data/cdr"}
DAY = click.DateTime(["%Y-%m-%d"])
READING_PATIENCE_S = 60.0


class _Commands(click.Group):
    """Loads the sandbox's server only for its own command: a service would keep it in memory."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "sandbox"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "sandbox":
            from cdr_assets.sandbox.__main__ import sandbox

            return sandbox
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands, context_settings={"max_content_width": 100})
@click.version_option(package_name="cdr_assets", prog_name="cdr-assets")
def main() -> None:
    """Keeps the Call Detail Reports of an EnableX video account.

    Data lies in CDR_DATA_DIR, else ./data; Dagster's state in DAGSTER_HOME, else ./.dagster. On the sandbox the
    defaults are ./sandbox-data/cdr and ./sandbox-data/dagster. Variables may also be in ./.env, as Dagster reads it.
    """
    os.environ.update(processes.env_file())
    # Whoever can write to Dagster's home decides what code runs.
    os.umask(os.umask(0) | 0o002)


@main.command()
def demo() -> None:
    """Fetch seven days from the sandbox into DuckDB, and show the tables. Needs no account."""
    from cdr_assets.sandbox.demo import run_demo

    with _sandbox_environment(os.environ) as environment:
        sys.exit(run_demo(environment, launch_command("--job", "daily_cdr")))


@main.command()
@click.option("--port", type=int, help=f"Port of the UI.  [default: {UI_PORT}, or a free one if that is taken]")
def dev(port: int | None) -> None:
    """Run the Dagster UI and daemon, and the dashboard: on the account, or on the sandbox if no credentials are set."""
    missing = missing_credentials(os.environ)
    if missing:
        with _sandbox_environment(os.environ) as environment:
            reason = f"{' and '.join(missing)} are not set"
            # A newcomer sees today grow.
            environment.setdefault("CDR_OPEN_DAY_MINUTES", "1")
            sys.exit(_dev(environment, f"the sandbox, with invented calls: {reason}", port))
    environment = ready_environment(os.environ)
    sys.exit(_dev(environment, _where(environment), port))


def _dev(environment: dict[str, str], where: str, port: int | None) -> int:
    home = Path(environment["DAGSTER_HOME"])
    with _only_one(environment):
        if port is None and not is_free("127.0.0.1", UI_PORT):
            port = free_port()
            click.echo(f"Port {UI_PORT} is taken, so the UI is on http://localhost:{port}")
        port = port or UI_PORT
        environment.setdefault("CDR_UI_URL", f"http://localhost:{port}")
        _say_where(environment, where, environment["CDR_UI_URL"])
        services = _dashboard_of_dev(environment, port)
        module = {"python_module": {"module_name": MODULE, "location_name": location_name(environment)}}
        workspace = write_workspace(home, module)
        return processes.run(
            processes.console_script("dg", "dev", "--workspace", str(workspace), "--port", str(port)),
            environment,
            services,
        )


def _dashboard_of_dev(environment: dict[str, str], ui_port: int) -> list[list[str]]:
    """The command of the dashboard, and none where it cannot run. Says where it is, or why it is not."""
    if reason := _why_no_dashboard(environment):
        click.echo(f"No dashboard: {reason}")
        return []
    is_taken = ui_port == DASHBOARD_PORT or not is_free("127.0.0.1", DASHBOARD_PORT)
    port = free_port() if is_taken else DASHBOARD_PORT
    click.echo(f"Dashboard: http://localhost:{port}")
    environment.setdefault("CDR_DASHBOARD_URL", f"http://localhost:{port}")
    return [dashboard_command("127.0.0.1", port)]


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the UI.")
@click.option("--port", type=int, default=UI_PORT, show_default=True, help="Port of the UI.")
def serve(host: str, port: int) -> None:
    """Run the Dagster UI and daemon as a service, until SIGTERM or Ctrl-C. Logs go to standard output."""
    missing = missing_credentials(os.environ)
    if missing:
        raise click.ClickException(
            f"{' and '.join(missing)} are not set, and a service needs an account. "
            "To run it on invented calls: cdr-assets sandbox -- cdr-assets serve"
        )
    environment = ready_environment(os.environ)
    home = Path(environment["DAGSTER_HOME"])
    environment.setdefault("CDR_UI_URL", f"http://localhost:{port}")
    # The C library gives each thread an arena of its own otherwise, and keeps what it freed there.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    with _only_one(environment), tempfile.TemporaryDirectory(prefix="cdr-assets-") as folder:
        if not is_free(host, port):
            raise click.ClickException(
                f"{host}:{port} cannot be opened for the UI: choose another with --host or --port"
            )
        _say_where(environment, _where(environment), environment["CDR_UI_URL"])
        try:
            _serve(environment, home, Path(folder) / "code.sock", host, port)
        except processes.ServiceEnded as error:
            raise click.ClickException(str(error)) from None
    click.echo("Stopped")


def _serve(environment: dict[str, str], home: Path, code_socket: Path, host: str, port: int) -> None:
    """Runs the services until a signal comes. Raises ServiceEnded when one of them ends by itself."""
    name = location_name(environment)
    # One code server for both. On a socket in a folder of this user alone: whoever reaches it can run code.
    workspace = write_workspace(home, {"grpc_server": {"socket": str(code_socket), "location_name": name}})
    with processes.Services(environment) as services:
        services.start(
            "code server",
            processes.console_script(
                "dagster",
                *("api", "grpc", "--socket", str(code_socket), "--module-name", MODULE, "--location-name", name),
                *("--use-python-environment-entry-point", "--log-level", "warning"),
            ),
        )
        while not _answers(code_socket):
            if services.wait(0.1):
                return
        services.start("daemon", processes.console_script("dagster-daemon", "run", "--workspace", str(workspace)))
        services.start(
            "webserver",
            processes.console_script(
                "dagster-webserver", "--workspace", str(workspace), "--host", host, "--port", str(port)
            ),
        )
        services.wait()


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the dashboard.")
@click.option("--port", type=int, default=DASHBOARD_PORT, show_default=True, help="Port of the dashboard.")
def dashboard(host: str, port: int) -> None:
    """Show who used the account, when and how well, as pages over the Parquet copies, until SIGTERM or Ctrl-C.

    Needs no credentials. It reads the sandbox's data where there is no other.
    """
    environment = {**os.environ, "CDR_DATA_DIR": str(_folder_to_read(os.environ))}
    if reason := _why_no_dashboard(environment):
        raise click.ClickException(reason)
    if not is_free(host, port):
        raise click.ClickException(
            f"{host}:{port} cannot be opened for the dashboard: choose another with --host or --port"
        )
    click.echo(f"Data: {environment['CDR_DATA_DIR']}\nDashboard: http://{host}:{port}")
    command = dashboard_command(host, port)
    os.execve(command[0], command, environment)


def _why_no_dashboard(environment: Mapping[str, str]) -> str | None:
    """Why the dashboard cannot be started, with the remedy; None if it can."""
    if missing := missing_packages():
        return f"{' and '.join(missing)} must be installed first: pip install 'cdr_assets[dashboard]'"
    try:
        DashboardSettings.read(environment)
        asks_for_log_in()
    except ValueError as error:
        return str(error)
    return None


@main.command()
@click.option("--assets", help="Asset selection, as in 'key:\"period_cdr\"+'.")
@click.option("--job", help="Job, as in daily_cdr.")
@click.option("--partition", help="UTC day, as in 2026-11-01.")
@click.option("--partition-range", help="Range of UTC days, as in 2026-11-01...2026-11-07; one run.")
@click.option("--config-json", help="Run config as JSON.")
def launch(**options: str | None) -> None:
    """Run a job, or some assets, now and in this process. The UI shows the run."""
    if bool(options["assets"]) == bool(options["job"]):
        raise click.UsageError("give --assets or --job")
    words = [word for name, value in options.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    _launch(*words)


@main.command()
@click.option("--from", "first", type=DAY, required=True, help="First UTC day.")
@click.option("--to", "last", type=DAY, required=True, help="Last UTC day.")
def rebuild(first: datetime, last: datetime) -> None:
    """Build the tables of a range of days again from what landed. Never asks EnableX."""
    if first > last:
        raise click.UsageError(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")
    _launch("--job", "rebuild", "--partition-range", f"{first:%Y-%m-%d}...{last:%Y-%m-%d}")


@main.command()
@click.argument("conf_num")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else call-....html.")
@click.option("--show-people", is_flag=True, help="Show names and references instead of hashes.")
def call(conf_num: str, output: Path | None, show_people: bool) -> None:
    """Write the page of a conference: who was there, when, and for how long. One HTML file, to attach to a ticket."""
    from cdr_assets.database import WarehouseError
    from cdr_assets.places import Places
    from cdr_assets.reports.call import find_conferences, page
    from cdr_assets.warehouse.build import Warehouse
    from cdr_assets.warehouse.people import PeopleInExports

    try:
        places = Places.from_environment({**os.environ, "CDR_DATA_DIR": str(_folder_to_read(os.environ))})
        people = PeopleInExports(places.storage, show_people or os.environ.get("CDR_EXPORT_PEOPLE") == "clear")
        warehouse = Warehouse(places, patience_s=READING_PATIENCE_S)
        if not warehouse.exists():
            raise click.ClickException(
                f"{places.shown_warehouse} is not there: fetch some days first, or set CDR_DATA_DIR or CDR_WAREHOUSE"
            )
        with warehouse.reading() as connection:
            conferences = find_conferences(connection, conf_num, people)
    except (WarehouseError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if not conferences:
        config = json.dumps({"ops": {"fetch_conference": {"config": {"conf_num": conf_num, "wait": True}}}})
        raise click.ClickException(
            f"{places.shown_warehouse} has no conference {conf_num}. To ask EnableX for it: "
            f"cdr-assets launch --job fetch_conference --config-json '{config}'"
        )
    shown = conferences[0].row["shown_conf_num"]
    file = output or Path(f"call-{re.sub('[^A-Za-z0-9_.-]', '_', shown)[:80]}.html")
    html = page(conferences, people, is_sandbox=(places.data_dir / SANDBOX_MARK).exists())
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as written:
        written.write(html)
    click.echo(file)


@main.command()
def move_to_lake() -> None:
    """Copy CDR_DATA_DIR to the lake and the bucket that CDR_WAREHOUSE and CDR_LANDING name, and compare row for row.

    Stop the daemon first. Nothing is changed in CDR_DATA_DIR.
    """
    from cdr_assets.database import WarehouseError
    from cdr_assets.places import Places
    from cdr_assets.storage import StorageError
    from cdr_assets.warehouse.move import move

    try:
        target = Places.from_environment(os.environ)
        source = Places.read(target.data_dir)
        if not source.file.exists():
            raise click.ClickException(f"{source.file} is not there, so there is nothing to move: set CDR_DATA_DIR")
        move(source, target, os.environ.get("CDR_EXPORT_DIR"), click.echo)
    except (WarehouseError, StorageError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
def alert_test() -> None:
    """Send a test alert to every channel that CDR_ALERT_URLS and CDR_ALERT_WEBHOOK_URL name."""
    from cdr_assets.pipeline.channels import Unreachable, channels
    from cdr_assets.settings import Settings

    try:
        settings = Settings.read(os.environ)
        found = channels(settings.alert_webhook_url, settings.alert_urls)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if not found:
        raise click.ClickException("set CDR_ALERT_URLS or CDR_ALERT_WEBHOOK_URL to where alerts should go")
    failed = False
    for channel in found:
        try:
            problem = channel.send(f"Test alert of cdr_assets\nAlerts arrive here. {settings.ui_url}")
        except Unreachable as error:
            problem = str(error)
        failed = failed or bool(problem)
        click.echo(f"{channel.name}: {problem or 'delivered'}")
    if failed:
        raise SystemExit(1)


def _folder_to_read(environ: Mapping[str, str]) -> Path:
    """CDR_DATA_DIR; else the account's data folder, or the sandbox's where there is no other."""
    if environ.get("CDR_DATA_DIR"):
        return Path(environ["CDR_DATA_DIR"]).resolve()
    candidates = [Path(each["CDR_DATA_DIR"]).resolve() for each in (ACCOUNT_FOLDERS, SANDBOX_FOLDERS)]
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def _launch(*words: str) -> None:
    missing_credentials(os.environ)
    # Dagster's command takes a range only where a range is one run, as it is here.
    environment = ready_environment({name: value for name, value in os.environ.items() if name != "CDR_DAYS_A_RUN"})
    command = launch_command(*words)
    os.execve(command[0], command, environment)


def launch_command(*words: str) -> list[str]:
    """`dg launch` of this package's definitions, from any folder."""
    return processes.console_script("dg", "launch", "--module-name", MODULE, *words)


def missing_credentials(environ: Mapping[str, str]) -> list[str]:
    """The variables of the credentials, if none is set; nothing if all are. Raises ClickException for one of two."""
    missing = [name for name in CREDENTIALS if not environ.get(name)]
    if len(missing) == 1:
        (given,) = set(CREDENTIALS) - set(missing)
        raise click.ClickException(
            f"{missing[0]} is not set, but {given} is: set both for the account, or neither for the sandbox"
        )
    return missing


def location_name(environ: Mapping[str, str]) -> str:
    """The code location's name, which every page of the UI shows."""
    return "cdr_assets-sandbox" if on_sandbox(environ) else "cdr_assets"


def folders(environ: Mapping[str, str]) -> dict[str, Path]:
    """DAGSTER_HOME and CDR_DATA_DIR, absolute. None of them is made.

    Raises ClickException if one of them belongs to the sandbox and the credentials to an account, or the reverse.
    """
    invented = on_sandbox(environ)
    defaults = SANDBOX_FOLDERS if invented else ACCOUNT_FOLDERS
    found = {name: Path(environ.get(name) or default).resolve() for name, default in defaults.items()}
    for name, folder in found.items():
        mark = folder / SANDBOX_MARK
        if not invented and mark.exists():
            raise click.ClickException(
                f"{name} is {folder}, which holds the sandbox's invented calls: choose another for the account"
            )
        # The default folder is the sandbox's, whatever is in it: earlier versions left no mark.
        if invented and environ.get(name) and not mark.exists() and folder.is_dir() and any(folder.iterdir()):
            raise click.ClickException(
                f"{name} is {folder}, which is in use for an account: choose another for the sandbox"
            )
    return found


def ready_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with DAGSTER_HOME and CDR_DATA_DIR as `folders` gives them, ready for use; all settings are right.

    Else the command ends, and has said why in one line.
    """
    environment = {**environ, **{name: str(folder) for name, folder in folders(environ).items()}}
    processes.refuse_env_file(environment)
    # In another process, because this one may live long and should not keep Dagster in memory.
    prepare = processes.python_function("prepare", "cdr_assets.instance", "main")
    prepared = subprocess.run(prepare, env=environment, check=False)
    if prepared.returncode:
        raise SystemExit(prepared.returncode)
    return environment


@contextmanager
def _sandbox_environment(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A sandbox that runs for as long as the context is open, and the environment of a command that uses it."""
    from cdr_assets.sandbox.server import serve as serve_sandbox

    with serve_sandbox() as server:
        yield ready_environment({**environ, **server.environment})


def _where(environment: Mapping[str, str]) -> str:
    return "the sandbox, with invented calls" if on_sandbox(environment) else "the EnableX account"


def _say_where(environment: Mapping[str, str], where: str, url: str) -> None:
    click.echo(f"On {where}\nData: {environment['CDR_DATA_DIR']}\nUI: {url}")


def write_workspace(home: Path, target: dict[str, Any]) -> Path:
    """Writes the file that tells Dagster's processes where the code location is, and returns its path."""
    path = home / "workspace.yaml"
    # JSON is YAML, too.
    path.write_text(json.dumps({"load_from": [target]}))
    return path


@contextmanager
def _only_one(environment: Mapping[str, str]) -> Iterator[None]:
    """Refuses a second daemon on the same home or the same data: both would launch the same runs."""
    with ExitStack() as stack:
        for name, lock in (("DAGSTER_HOME", ".daemon.lock"), ("CDR_DATA_DIR", ".service.lock")):
            try:
                stack.enter_context(FileLock(Path(environment[name], lock), mode=0o600).acquire(timeout=0))
            except Timeout:
                raise click.ClickException(
                    f"cdr-assets already runs on {environment[name]}: stop it, or set another {name}"
                ) from None
        yield


def is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
