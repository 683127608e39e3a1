"""The command `cdr-assets`: from the checkout, and from the wheel in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import requests
from click.testing import CliRunner, Result
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from cdr_assets import cli, instance, processes
from cdr_assets.sandbox import demo
from cdr_assets_tests import MEASURED, PATIENCE_S
from cdr_assets_tests.location import plain_environment

CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "from cdr_assets.cli import main; main()"]
INVENTED = {"CDR_SANDBOX": "http://127.0.0.1:9/video/v2", "ENABLEX_BASE_URL": "http://127.0.0.1:9/video/v2"}
ACCOUNT = {"ENABLEX_APP_ID": "app-id", "ENABLEX_APP_KEY": "app-key"}
SANDBOX_DATA = Path("sandbox-data", "cdr")
SANDBOX_HOME = Path("sandbox-data", "dagster")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*words: str, environment: Mapping[str, str] | None = None) -> Result:
    """Runs the command in this process, as far as it goes without starting another."""
    return CliRunner().invoke(cli.main, words, env=environment)


def yesterday() -> date:
    return datetime.now(timezone.utc).date() - timedelta(days=1)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command in the test's folder; whatever still runs after the test is killed."""
    with ExitStack() as stack:

        def start(*words: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                words,
                cwd=tmp_path,
                env={
                    **plain_environment(),
                    **MEASURED,
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            stack.callback(end, process)
            return process

        yield start


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def line_with(process: subprocess.Popen[str], words: str) -> str:
    """The next line that the process prints with these words; fails if its output ends before."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return line.strip()
    raise AssertionError(f"it never said {words!r}\n{''.join(said)}")


def test_a_range_is_one_run_though_days_are_spread_over_several(start: Start, tmp_path: Path) -> None:
    first, last = yesterday() - timedelta(days=2), yesterday()
    process = start(*COMMAND, "rebuild", "--from", str(first), "--to", str(last), **ACCOUNT, CDR_DAYS_A_RUN="1")
    said, _ = process.communicate(timeout=PATIENCE_S)
    # Nothing has landed. The run began, and has all days.
    assert f"Days left: {first}...{last}" in said
    with dg.DagsterInstance.from_config(str(tmp_path / ".dagster")) as made:
        (run,) = made.get_runs()
    assert run.tags["cdr_assets/days"] == f"{first}...{last}"


# What it refuses


@pytest.mark.parametrize("command", [["dev"], ["serve"], ["launch", "--job", "daily_cdr"]], ids=lambda words: words[0])
@pytest.mark.parametrize(("given", "missing"), [list(ACCOUNT), list(reversed(ACCOUNT))])
def test_one_credential_without_the_other_is_an_error_that_names_it(
    command: list[str], given: str, missing: str, tmp_path: Path
) -> None:
    result = invoke(*command, environment={given: "x", missing: ""})
    assert result.exit_code == 1
    assert f"{missing} is not set, but {given} is" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_service_needs_an_account_and_says_how_to_try_it_without() -> None:
    result = invoke("serve")
    assert result.exit_code == 1
    assert "ENABLEX_APP_ID and ENABLEX_APP_KEY are not set" in result.output
    assert "cdr-assets sandbox -- cdr-assets serve" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launch", "--partition", "2026-11-01"], "give --assets or --job"),
        (["launch", "--job", "daily_cdr", "--assets", "*"], "give --assets or --job"),
        (["rebuild", "--from", "2026-11-02", "--to", "2026-11-01"], "--from 2026-11-02 is after --to 2026-11-01"),
        (["rebuild", "--from", "2026-11-02"], "Missing option '--to'"),
        (["rebuild", "--from", "yesterday", "--to", "2026-11-01"], "'yesterday' does not match"),
    ],
)
def test_wrong_options_are_explained(words: list[str], message: str, tmp_path: Path) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["DAGSTER_HOME", "CDR_DATA_DIR"])
def test_a_folder_in_use_for_an_account_is_refused_to_the_sandbox(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in-use"
    folder.mkdir()
    (folder / "something").touch()
    result = invoke("dev", environment={name: str(folder)})
    assert result.exit_code == 1
    assert f"{name} is {folder}, which is in use for an account" in result.output


@pytest.mark.parametrize("name", ["DAGSTER_HOME", "CDR_DATA_DIR"])
def test_a_folder_of_the_sandbox_is_refused_to_an_account(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "invented"
    for _ in range(2):  # a second time is no contradiction
        assert cli.ready_environment({**os.environ, **INVENTED, name: str(folder)})[name] == str(folder)
    for command in (["dev"], ["serve"], ["launch", "--job", "daily_cdr"]):
        result = invoke(*command, environment={**ACCOUNT, name: str(folder)})
        assert result.exit_code == 1
        assert f"{name} is {folder}, which holds the sandbox's invented calls" in result.output


def test_a_port_that_is_taken_is_refused_to_a_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        result = invoke("serve", "--port", port, environment=ACCOUNT)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be opened" in result.output


@pytest.mark.parametrize("name", ["DAGSTER_HOME", "CDR_DATA_DIR"])
@pytest.mark.parametrize(("command", "environment"), [("dev", {}), ("dev", ACCOUNT)], ids=["sandbox", "account"])
def test_a_folder_that_cannot_be_made_is_named(
    name: str, command: str, environment: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    result = invoke(command, environment={**environment, name: str(folder)})
    assert result.exit_code == 1
    assert capfd.readouterr().err == f"Error: {name} {folder} cannot be used: Not a directory\n"


@pytest.mark.parametrize("words", [["dev"], ["serve"], ["demo"], ["launch", "--job", "daily_cdr"]])
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CDR_START_DATE", "01.01.2026", "Error: CDR_START_DATE is '01.01.2026': give the first UTC day"),
        ("CDR_TICK_SECONDS", "soon", "Error: CDR_TICK_SECONDS is 'soon': give a whole number"),
    ],
)
def test_a_setting_that_is_wrong_is_named_in_one_line_before_anything_starts(
    words: list[str], name: str, value: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = invoke(*words, environment={**ACCOUNT, name: value})
    assert result.exit_code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "file", "says"),
    [
        (["serve"], "ENABLEX_APP_ID=x", "ENABLEX_APP_KEY is not set, but ENABLEX_APP_ID is"),
        (["demo"], "ENABLEX_APP_ID=x\nENABLEX_APP_KEY=y", "/.env sets ENABLEX_APP_ID, and Dagster would read it"),
        (["sandbox", "--", "true"], "ENABLEX_APP_ID=x", "/.env sets ENABLEX_APP_ID, and Dagster would read it"),
        (["launch", "--job", "daily_cdr"], "DAGSTER_HOME=here", "/.env sets DAGSTER_HOME, and Dagster would"),
        (["rebuild", "--from", "2026-11-01", "--to", "2026-11-02"], "CDR_DAYS_A_RUN=1", "/.env sets CDR_DAYS_A_RUN"),
        (["demo"], "CDR_DATA_DIR=mine", "CDR_DATA_DIR is {folder}/mine, which is in use for an account"),
        (["dashboard"], "CDR_RATE_PER_MINUTE=free", "CDR_RATE_PER_MINUTE is 'free'"),
        (["alert-test"], "CDR_EXPORT_PEOPLE=all", "CDR_EXPORT_PEOPLE is 'all'"),
    ],
)
def test_variables_of_the_env_file_that_dagster_reads_are_read_first_and_never_win_unseen(
    start: Start, words: list[str], file: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(file)
    (tmp_path / "mine" / "landing").mkdir(parents=True)
    process = start(*COMMAND, *words)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, said
    assert says.format(folder=tmp_path) in said
    assert {path.name for path in tmp_path.iterdir()} == {".env", "mine"}


@pytest.mark.parametrize("rate", ["free", "-1", "nan"])
def test_a_rate_that_is_no_number_is_named_before_the_dashboard_starts(rate: str) -> None:
    result = invoke("dashboard", environment={"CDR_RATE_PER_MINUTE": rate})
    assert result.exit_code == 1
    assert result.output == (
        f"Error: CDR_RATE_PER_MINUTE is '{rate}': give the cost of one participant minute, for example 0.004\n"
    )


@pytest.mark.parametrize(
    "content",
    [
        b'[auth]\nclient_secret = "s3cret',
        b"\xef\xbb\xbf[auth]\n",
        b"[auth]\ns3cret = 1\ns3cret = 2\n",
        b"s3cret = '\xff'\n",
        None,
    ],
    ids=["no closing quote", "byte order mark", "a key twice", "not UTF-8", "no file behind the link"],
)
def test_a_dashboard_with_secrets_that_cannot_be_read_does_not_start(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / ".streamlit" / "secrets.toml"
    file.parent.mkdir()
    if content is None:
        file.symlink_to(tmp_path / "gone")
    else:
        file.write_bytes(content)
    result = invoke("dashboard", environment={"HOME": str(tmp_path / "home")})
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {file} may ask for a log-in and cannot be read as TOML in UTF-8")
    assert "s3cret" not in result.output
    assert result.output.count("\n") == 1


def test_a_dashboard_whose_packages_are_missing_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    result = invoke("dashboard")
    assert result.exit_code == 1
    assert result.output == "Error: streamlit must be installed first: pip install 'cdr_assets[dashboard]'\n"


# DAGSTER_HOME


def test_the_account_and_the_sandbox_have_folders_of_their_own(tmp_path: Path) -> None:
    assert cli.folders({}) == {"DAGSTER_HOME": tmp_path / ".dagster", "CDR_DATA_DIR": tmp_path / "data"}
    invented = {"DAGSTER_HOME": tmp_path / SANDBOX_HOME, "CDR_DATA_DIR": tmp_path / SANDBOX_DATA}
    assert list(tmp_path.iterdir()) == []
    for folder in invented.values():
        folder.mkdir(parents=True)
        (folder / "of-an-earlier-version").touch()
    assert cli.folders(INVENTED) == invented
    assert cli.location_name(INVENTED) == "cdr_assets-sandbox"


def test_an_account_stays_one_whatever_a_sandbox_left_in_the_shell(tmp_path: Path) -> None:
    for url in ("", "https://api.enablex.io/video/v2"):
        environment = {**ACCOUNT, **INVENTED, "ENABLEX_BASE_URL": url}
        assert cli.folders(environment)["CDR_DATA_DIR"] == tmp_path / "data"
        assert cli.location_name(environment) == "cdr_assets"


def test_the_environment_says_where_state_and_data_lie(tmp_path: Path) -> None:
    given = {"DAGSTER_HOME": "here", "CDR_DATA_DIR": str(tmp_path / "there")}
    expected = {"DAGSTER_HOME": tmp_path / "here", "CDR_DATA_DIR": tmp_path / "there"}
    assert cli.folders(given) == cli.folders({**given, **INVENTED}) == expected


def test_processes_that_start_together_on_an_empty_home_all_find_it_ready(tmp_path: Path) -> None:
    environment = {
        **plain_environment(),
        "DAGSTER_HOME": str(tmp_path / "home"),
        "CDR_DATA_DIR": str(tmp_path / "data"),
    }
    prepare = processes.python_function("prepare", "cdr_assets.instance", "main")
    started = [subprocess.Popen(prepare, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=PATIENCE_S)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, "\n".join(said)
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as ready:
        assert ready.run_monitoring_enabled
        assert ready.get_runs_count() == 0


def test_the_daemon_runs_only_the_threads_that_have_work(tmp_path: Path) -> None:
    instance.prepare(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as dagster:
        assert set(dagster.get_required_daemon_types()) == {
            "SENSOR",
            "BACKFILL",
            "SCHEDULER",
            "QUEUED_RUN_COORDINATOR",
            "MONITORING",
        }


def test_the_settings_of_a_home_are_left_as_they_are(tmp_path: Path) -> None:
    settings = tmp_path / "dagster.yaml"
    settings.write_text("telemetry: {enabled: false}\n")
    instance.prepare(tmp_path)
    assert settings.read_text() == "telemetry: {enabled: false}\n"


# The demo, and the wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the wheel, in a virtual environment that shares the packages that it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # From a copy: a build leaves files next to the source, and uses those of an earlier build.
    shutil.copytree(CHECKOUT / "cdr_assets", source / "cdr_assets", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    venv.create(environment)
    python = environment / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "shared.pth").write_text("\n".join(shared))
    where = subprocess.run(
        [python, "-c", "import cdr_assets; print(cdr_assets.__file__)"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(packages)), "it must not be the checkout that is tested"
    return environment / "bin" / "cdr-assets"


def test_the_wheel_runs_the_demo_and_later_commands_in_an_empty_folder(
    installed: Path, start: Start, tmp_path: Path
) -> None:
    process = start(str(installed), "demo")
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    week = [yesterday() - timedelta(days=ago) for ago in range(6, -1, -1)]
    done = re.findall(r"^  (\S+): (\d+) connections in (\d+) conferences$", said, flags=re.MULTILINE)
    assert [day for day, _, _ in done] == list(map(str, week))
    assert [line for line in said.splitlines() if len(line) > 80 and str(tmp_path) not in line] == []
    warehouse = tmp_path / SANDBOX_DATA / "cdr.duckdb"
    assert f"The tables are in {warehouse}" in said
    assert "cdr-assets dev" in said
    assert "cdr-assets dashboard" in said
    counts = "SELECT usage_date::VARCHAR, count(*), count(DISTINCT conf_num) FROM call_detail_records GROUP BY ALL"
    with duckdb.connect(warehouse, read_only=True) as connection:
        connections = {day: count for day, count, _ in connection.execute(counts).fetchall()}
    assert {day: int(count) for day, count, _ in done} == connections

    # The UI also shows the runs of the other commands. They start together, and wait for each other at the warehouse.
    later = [
        start(str(installed), "sandbox", "--", str(installed), *words)
        for words in (
            ["launch", "--assets", 'key:"period_cdr"+', "--partition", str(week[0])],
            ["rebuild", "--from", str(week[1]), "--to", str(week[2])],
        )
    ]
    for process in later:
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
    with dg.DagsterInstance.from_config(str(tmp_path / SANDBOX_HOME)) as shown:
        runs = shown.get_runs()
    assert sorted((run.job_name, run.status) for run in runs) == [
        ("__ASSET_JOB", dg.DagsterRunStatus.SUCCESS),
        ("daily_cdr", dg.DagsterRunStatus.SUCCESS),
        ("rebuild", dg.DagsterRunStatus.SUCCESS),
    ]
    with duckdb.connect(warehouse, read_only=True) as connection:
        ((conf_num,),) = connection.execute("SELECT max(conf_num) FROM conference_usage").fetchall()
    said, _ = start(str(installed), "call", conf_num).communicate(timeout=PATIENCE_S)
    assert conf_num in (tmp_path / said.strip()).read_text()
    (tmp_path / said.strip()).unlink()
    ends = {run.job_name: run.tags for run in runs}["rebuild"]
    assert ends["dagster/asset_partition_range_start"] == str(week[1])
    assert ends["dagster/asset_partition_range_end"] == str(week[2])
    assert {path.name for path in tmp_path.iterdir()} == {"sandbox-data"}


TWO_DAYS = """
import sys
import dagster as dg
from cdr_assets.sandbox.demo import LAST
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    for day in ("2026-11-01", "2026-11-02"):
        for table, rows in (("call_detail_records", 30), ("conference_usage", 4), (LAST, 7)):
            metadata = {"dagster/partition_row_count": rows}
            event = dg.AssetMaterialization(table, partition=day, metadata=metadata)
            instance.report_runless_asset_event(event)
        sys.stdin.readline()
"""


def test_a_day_is_shown_as_soon_as_it_is_done_and_only_if_this_demo_did_it(tmp_path: Path) -> None:
    instance.prepare(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as shown:
        shown.report_runless_asset_event(dg.AssetMaterialization(demo.LAST, partition="2026-10-31"))
        job = subprocess.Popen([sys.executable, "-c", TWO_DAYS, str(tmp_path)], stdin=subprocess.PIPE)
        assert job.stdin is not None
        days = demo.days_done(shown, demo.newest(shown), job)
        for day in ("2026-11-01", "2026-11-02"):
            assert next(days) == f"{day}: 30 connections in 4 conferences"
            assert job.poll() is None, "the job still waits"
            job.stdin.write(b"\n")
            job.stdin.flush()
        assert list(days) == []
        job.communicate(timeout=PATIENCE_S)


def test_a_demo_that_fails_shows_what_the_job_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance.prepare(tmp_path)
    environment = {
        **plain_environment(),
        "DAGSTER_HOME": str(tmp_path),
        "CDR_DATA_DIR": str(tmp_path),
        "ENABLEX_BASE_URL": "http://127.0.0.1:9",
    }
    job = [sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"]
    assert demo.run_demo(environment, job) == 3
    assert "the reason" in capsys.readouterr().err


# The UI and the daemon


def locations(port: int) -> dict[str, str]:
    """The code locations of the UI on that port, with their state."""
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
    with patient_session() as session:
        answer = session.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=PATIENCE_S)
    entries: list[dict[str, Any]] = answer.json()["data"]["workspaceOrError"]["locationEntries"]
    return {entry["name"]: entry["loadStatus"] for entry in entries}


def health(url: str) -> str:
    """What the dashboard says of itself."""
    with patient_session() as session:
        return session.get(f"{url}/_stcore/health", timeout=PATIENCE_S).text


def patient_session() -> requests.Session:
    """Waits for a server that says where it is before it is there."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(connect=12, backoff_factor=0.1, backoff_max=2)))
    return session


def processes_on(home: Path) -> list[int]:
    """Every process with that DAGSTER_HOME."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"DAGSTER_HOME={home}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_without_credentials_dev_says_that_it_runs_on_the_sandbox_and_finds_a_free_port(
    start: Start, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        dev_there = f"from cdr_assets import cli; cli.UI_PORT = {taken}; cli.main()"
        process = start(sys.executable, "-c", dev_there, "dev", CDR_START_DATE=str(yesterday()))
        url = line_with(process, f"Port {taken} is taken").rpartition(" ")[2]
        said = line_with(process, "On the sandbox")
        assert "ENABLEX_APP_ID and ENABLEX_APP_KEY are not set" in said
        dashboard = line_with(process, "Dashboard: ").rpartition(" ")[2]
        line_with(process, "Serving dagster-webserver")
        port = int(url.rpartition(":")[2])
        assert locations(port) == {"cdr_assets-sandbox": "LOADED"}
        assert health(dashboard) == "ok"
        if sys.platform == "linux":
            (home,) = tmp_path.glob(str(SANDBOX_HOME))
            for pid in processes_on(home):
                given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                assert {f"CDR_UI_URL={url}".encode(), f"CDR_DASHBOARD_URL={dashboard}".encode()} <= set(given)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        if sys.platform == "linux":
            assert processes_on(home) == []


def test_dev_runs_without_the_dashboard_where_its_packages_are_missing(start: Start) -> None:
    hidden = COMMAND[2].replace("from", "import sys; sys.modules['openpyxl'] = None; from")
    process = start(
        sys.executable, "-c", hidden, "dev", "--port", str(cli.free_port()), CDR_START_DATE=str(yesterday())
    )
    said = line_with(process, "dashboard")
    assert said == "No dashboard: openpyxl must be installed first: pip install 'cdr_assets[dashboard]'"
    # Before that dg may lose the signal that ends it.
    line_with(process, "Serving dagster-webserver")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_the_dashboard_runs_until_it_is_told_to_stop(
    start: Start, tmp_path: Path, signal_number: signal.Signals
) -> None:
    (tmp_path / SANDBOX_DATA).mkdir(parents=True)
    port = str(cli.free_port())
    process = start(*COMMAND, "dashboard", "--port", port)
    assert line_with(process, "Data: ") == f"Data: {tmp_path / SANDBOX_DATA}"
    assert line_with(process, "Dashboard: ") == f"Dashboard: http://127.0.0.1:{port}"
    assert health(f"http://127.0.0.1:{port}") == "ok"
    if sys.platform == "linux":
        given = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert f"CDR_DATA_DIR={tmp_path / SANDBOX_DATA}".encode() in given
    second = invoke("dashboard", "--port", port)
    assert second.exit_code == 1
    assert f"127.0.0.1:{port} cannot be opened for the dashboard" in second.output
    process.send_signal(signal_number)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert cli.is_free("127.0.0.1", int(port))


WITH_SERVICE = """
import sys
from cdr_assets.processes import run
sys.exit(run(["/bin/sh", "-c", sys.argv[1]], {}, [["/bin/sh", "-c", word] for word in sys.argv[2:]]))
"""


@pytest.mark.parametrize(("last", "code"), [("exit 3", 3), ("kill -9 $$", 128 + 9)])
def test_a_service_of_a_command_ends_with_it(start: Start, tmp_path: Path, last: str, code: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    companion = service("companion").partition("=")[2]
    process = start(sys.executable, "-c", WITH_SERVICE, f"read line <fifo; {last}", companion)
    assert line_with(process, "") == "companion is up"
    (tmp_path / "fifo").write_text("now\n")
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert said == "companion stops\n"
    assert process.returncode == code


def test_a_service_runs_until_it_is_told_to_stop_and_leaves_no_process(start: Start, tmp_path: Path) -> None:
    port = cli.free_port()
    home = tmp_path / SANDBOX_HOME
    process = start(*COMMAND, "sandbox", "--", *COMMAND, "serve", "--port", str(port), CDR_START_DATE=str(yesterday()))
    line_with(process, "On the sandbox")
    line_with(process, "Serving dagster-webserver")
    assert locations(port) == {"cdr_assets-sandbox": "LOADED"}
    second = invoke("serve", "--port", str(cli.free_port()), environment={**ACCOUNT, **INVENTED})
    assert second.exit_code == 1
    assert f"cdr-assets already runs on {home}" in second.output
    if sys.platform == "linux":
        assert len(processes_on(home)) >= 3
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert said.rstrip().endswith("Stopped")
    if sys.platform == "linux":
        assert processes_on(home) == []


SERVICES = """
import sys
from cdr_assets.processes import ServiceEnded, Services
names = dict(word.split("=", 1) for word in sys.argv[1:])
try:
    with Services({}) as services:
        for name, command in names.items():
            services.start(name, ["/bin/sh", "-c", command])
        assert services.wait(0) is False
        print("waiting", flush=True)
        print("told to stop:", services.wait(), flush=True)
except ServiceEnded as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell a process that its parent died")
def test_services_stop_when_their_supervisor_is_killed(start: Start) -> None:
    process = start(sys.executable, "-c", SERVICES, service("first"), service("second"))
    assert {line_with(process, "") for _ in range(3)} == {"waiting", "first is up", "second is up"}
    process.kill()
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert sorted(said.splitlines()) == ["first stops", "second stops"]


@pytest.mark.parametrize("name", ["DAGSTER_HOME", "CDR_DATA_DIR"])
def test_a_second_service_on_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    environment = {"DAGSTER_HOME": str(tmp_path / "home"), "CDR_DATA_DIR": str(tmp_path / "data")}
    other = {**{each: f"{folder}-2" for each, folder in environment.items()}, name: environment[name]}
    for folder in (environment, other):
        cli.ready_environment({**os.environ, **ACCOUNT, **folder})
    with cli._only_one(environment):
        port = str(cli.free_port())
        result = invoke("serve", "--port", port, environment={**ACCOUNT, **other})
    assert result.exit_code == 1
    assert result.output == f"Error: cdr-assets already runs on {other[name]}: stop it, or set another {name}\n"


def service(name: str, awaited: signal.Signals = signal.SIGTERM) -> str:
    """A service that says when it is up, and stops at a signal; SIGTERM does nothing else to it."""
    program = (
        f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, {awaited:d}]); "
        f"print('{name} is up', flush=True); signal.sigwait([{awaited:d}]); print('{name} stops', flush=True)"
    )
    return f"{name}=exec {shlex.join([sys.executable, '-c', program])}"


@pytest.mark.parametrize(
    ("command", "how"), [("read line; exit 3", "with exit code 3"), ("read line; kill -9 $$", "by SIGKILL")]
)
def test_when_one_service_ends_the_others_are_stopped_and_the_reason_is_given(
    start: Start, tmp_path: Path, command: str, how: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start(sys.executable, "-c", SERVICES, f"daemon=exec <{fifo}; {command}", service("webserver"))
    assert {line_with(process, "") for _ in range(2)} == {"waiting", "webserver is up"}
    fifo.write_text("now\n")
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"the daemon ended {how}" in said
    assert "webserver stops" in said


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_services_stop_in_order_when_a_signal_comes(start: Start, signal_number: signal.Signals) -> None:
    process = start(sys.executable, "-c", SERVICES, service("first"), service("second"))
    said = {line_with(process, "") for _ in range(3)}
    assert said == {"waiting", "first is up", "second is up"}
    process.send_signal(signal_number)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert rest.splitlines() == ["told to stop: True", "second stops", "first stops"]
    assert process.returncode == 0


def test_a_service_that_will_not_stop_is_killed(start: Start) -> None:
    patient = SERVICES.replace(
        "import sys", "import sys; from cdr_assets import processes; processes.STOP_TIMEOUT_S = 0.5"
    )
    process = start(sys.executable, "-c", patient, service("stubborn", signal.SIGUSR1))
    assert {line_with(process, "") for _ in range(2)} == {"waiting", "stubborn is up"}
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said


def test_a_console_script_is_found_by_its_name() -> None:
    done = subprocess.run([*processes.console_script("dg", "--version")], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith("dg, version")


def test_a_workspace_names_the_code_location(tmp_path: Path) -> None:
    path = cli.write_workspace(tmp_path, {"grpc_server": {"socket": "s", "location_name": "cdr_assets"}})
    assert json.loads(path.read_text()) == {
        "load_from": [{"grpc_server": {"socket": "s", "location_name": "cdr_assets"}}]
    }


def test_a_command_finds_modules_where_a_script_would(tmp_path: Path) -> None:
    """Not in the current folder, and in PYTHONPATH, also after Dagster has dropped the folder of the script."""
    (tmp_path / "on_path").mkdir()
    (tmp_path / "on_path" / "tellers.py").write_text("import json, sys\ndef tell(): print(json.dumps(sys.path))\n")
    done = subprocess.run(
        processes.python_function("tell", "tellers", "tell"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "on_path")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    script_folder, *others = json.loads(done.stdout)
    assert script_folder == str(Path(sys.executable).parent)
    assert others[0] == str(tmp_path / "on_path")
    assert not {"", str(tmp_path)}.intersection(others)
