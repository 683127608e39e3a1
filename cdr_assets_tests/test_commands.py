"""The code location as processes: its commands, many at once, and killed at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler
from itertools import chain
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import dagster as dg
import duckdb
import pytest

import cdr_assets
from cdr_assets.definitions import code_location
from cdr_assets.landing.zone import LandingZone
from cdr_assets.sandbox.calls import records_of_day
from cdr_assets.sandbox.server import Sandbox, serve
from cdr_assets.warehouse.build import Warehouse
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.expected import TABLES, assert_exact, in_order, read, without_times
from cdr_assets_tests.location import SETTINGS, Locate, Script, plain_environment, record
from cdr_assets_tests.reference import Record

DAY = date(2026, 11, 2)
CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
EVERY_ASSET = 'key:"period_cdr"+'
MATERIALIZE = [str(BIN / "dagster"), "asset", "materialize", "-m", "cdr_assets.definitions", "--select", EVERY_ASSET]


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def true_records(*days: date) -> list[Record]:
    return list(chain.from_iterable(records_of_day(SETTINGS, day) for day in days))


def temporary_files(data_dir: Path) -> list[str]:
    """Files on disk that are not meant to stay."""
    lasting = re.compile(
        r"account|pace(\.lock)?|people\.key|"
        r"landing/usage_date=[^/]+/([^/]+\.ndjson\.zst|\.asked|\.loaded|\.moved)|"
        r"landing/\.requests|landing/(\.staging|\.locks/[^/]+)\.lock|quarantine/.+\.txt"
        r"|built/.+|published/(README\.md|status\.json|\w+/[-\d]+\.parquet)|cdr\.duckdb(\.lock)?|runs/[^/]+\.lock"
    )
    files = (str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.is_file())
    folders = (str(path.relative_to(data_dir)) for path in data_dir.rglob(".staging-*"))
    return [path for path in chain(files, folders) if not lasting.fullmatch(path)]


def contents(data_dir: Path) -> dict[str, Any]:
    """The rows of every table that is built, without the times at which records landed."""
    return {table: in_order(without_times(read(data_dir / "cdr.duckdb", table))) for table in TABLES}


# Commands


class Command:
    """A command that runs while others are started; nothing of the environment but where EnableX and the data are."""

    def __init__(self, words: list[str], environment: Mapping[str, str], folder: Path, cwd: Path | None = None) -> None:
        self.data_dir = folder / "data"
        folder.mkdir()
        self.process = subprocess.Popen(
            words,
            cwd=cwd or folder,
            env={
                **plain_environment(),
                **environment,
                "CDR_DATA_DIR": str(self.data_dir),
                "DAGSTER_DISABLE_TELEMETRY": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def said(self) -> str:
        """Its whole output, once it has ended; fails unless it ended well."""
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, said
        return said

    def wait_for(self, words: str) -> None:
        """Reads what it says up to the line with these words."""
        assert self.process.stdout is not None
        assert any(words in line for line in self.process.stdout), f"it never said {words!r}"

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Command]]:
    """Every command of this section, started together."""
    folder = tmp_path_factory.mktemp("commands")
    with serve(SETTINGS) as sandbox:

        def in_checkout(name: str, *words: str) -> Command:
            home = folder / f"{name}-home"
            home.mkdir()
            shutil.copy(CHECKOUT / "cdr_assets" / "dagster.yaml", home)
            environment = {**sandbox.environment, "DAGSTER_HOME": str(home)}
            return Command([str(BIN / "dg"), *words], environment, folder / name, CHECKOUT)

        commands = {
            "day": Command([*MATERIALIZE, "--partition", str(DAY)], sandbox.environment, folder / "day"),
            "range": Command(
                [*MATERIALIZE, "--partition-range", f"{DAY}...{DAY + timedelta(days=2)}"],
                sandbox.environment,
                folder / "range",
            ),
            "launch": in_checkout("launch", "launch", "--assets", EVERY_ASSET, "--partition", str(DAY)),
            "list": in_checkout("list", "list", "defs", "--json"),
            "check": in_checkout("check", "check", "defs"),
        }
        yield commands
        for command in commands.values():
            if command.process.poll() is None:
                command.kill()


def test_a_day_is_materialized_by_one_command_from_any_folder(commands: dict[str, Command]) -> None:
    commands["day"].said()
    assert_exact(commands["day"].data_dir / "cdr.duckdb", true_records(DAY))
    assert temporary_files(commands["day"].data_dir) == []


def test_a_range_is_materialized_by_one_command_from_any_folder(commands: dict[str, Command]) -> None:
    commands["range"].said()
    assert_exact(commands["range"].data_dir / "cdr.duckdb", true_records(*days(DAY, 3)))
    assert temporary_files(commands["range"].data_dir) == []


def test_dg_launches_a_day(commands: dict[str, Command]) -> None:
    commands["launch"].said()
    assert_exact(commands["launch"].data_dir / "cdr.duckdb", true_records(DAY))


def test_dg_lists_every_asset_and_the_job(commands: dict[str, Command]) -> None:
    said = commands["list"].said()
    defs = json.loads(said[said.index("{") :])
    assert {"period_cdr", *TABLES} <= {asset["asset_key"] for asset in defs["assets"]}
    assert "daily_cdr" in {job["name"] for job in defs["jobs"]}
    assert not commands["list"].data_dir.exists(), "looking at the definitions makes no files"


def test_dg_finds_nothing_wrong_with_the_definitions(commands: dict[str, Command]) -> None:
    assert "loaded successfully" in commands["check"].said()


# Many processes, and killed ones: each forks off a server that has imported what a run needs.


def materialize(
    environment: Mapping[str, str], day: date, together: Any = None, steps: Any = None, fatal_step: int = 0
) -> None:
    """Runs the daily job for a day, when all are ready, and dies at one of the package's steps if that is not 0."""
    for name in set(os.environ) - set(plain_environment()):
        del os.environ[name]
    os.environ.update(environment)
    job = code_location(os.environ).resolve_job_def("daily_cdr")
    with dg.DagsterInstance.ephemeral() as instance:
        if together:
            together.wait()
        if steps is not None:
            threading.setprofile(dying_at(fatal_step, steps))
            sys.setprofile(dying_at(fatal_step, steps))
        result = job.execute_in_process(instance=instance, partition_key=str(day), raise_on_error=False)
        sys.setprofile(None)
    sys.exit(0 if result.success else 1)


def dying_at(fatal_step: int, steps: Any) -> Callable[[FrameType, str, Any], None]:
    """Counts every call and return in the package, and of what it calls, and ends the process at one of them."""
    package = str(Path(cdr_assets.__file__).parent)

    def step(frame: FrameType, _event: str, _argument: Any) -> None:
        if frame.f_code.co_filename.startswith(package):
            steps.value += 1
            if 0 < fatal_step <= steps.value:
                os.kill(os.getpid(), signal.SIGKILL)

    return step


@pytest.fixture(scope="module")
def forking() -> Any:
    context = multiprocessing.get_context("forkserver")
    # The second one is Dagster's own business; without it only time is lost.
    context.set_forkserver_preload(["cdr_assets_tests.test_commands", "dagster._core.storage.sqlite_storage"])
    return context


@pytest.mark.parametrize("count", [8])
def test_many_processes_write_their_days_at_once(forking: Any, sandbox: Sandbox, tmp_path: Path, count: int) -> None:
    environment = {**sandbox.environment, "CDR_DATA_DIR": str(tmp_path)}
    together = forking.Barrier(count)
    span = days(DAY, count)
    writers = [forking.Process(target=materialize, args=(environment, day, together)) for day in span]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_S)
    assert [writer.exitcode for writer in writers] == [0] * count
    assert_exact(tmp_path / "cdr.duckdb", true_records(*span))
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("count", [4])
def test_many_processes_write_one_day_at_once(forking: Any, sandbox: Sandbox, tmp_path: Path, count: int) -> None:
    environment = {**sandbox.environment, "CDR_DATA_DIR": str(tmp_path)}
    together = forking.Barrier(count)
    writers = [forking.Process(target=materialize, args=(environment, DAY, together)) for _ in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_S)
    assert [writer.exitcode for writer in writers] == [0] * count
    assert_exact(tmp_path / "cdr.duckdb", true_records(DAY))
    assert temporary_files(tmp_path) == []


def findings(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What the checks found on the day."""
    return {row["check_name"]: row["count"] for row in rows}


def built_entries(data_dir: Path) -> set[str]:
    """The partitions that are built from what landed, by the SQL of today, and whose exports are in place."""
    landed = LandingZone(data_dir)
    return {
        f"{table} {day}"
        for table, days in Warehouse(data_dir / "cdr.duckdb").built_partitions().items()
        for day, version in days.items()
        if version == landed.version(day)
    }


def test_a_run_killed_at_any_step_leaves_whole_partitions_and_the_next_run_mends_the_rest(
    forking: Any, locate: Locate, script: Script, tmp_path: Path
) -> None:
    # What the checks find changes too: the former answer lost a field, the latter has a record that is not valid.
    vanishing, changing = record("vanishing", DAY), record("changing", DAY, sigserver={"duration": "long"})
    changed = {**changing, "room": {"room_id": "other", "duration": 90}, "sigserver": {"duration": 90}}
    changed["stats_quality"] = {"send": {"audio": {"avg_bitrate": 30}}}
    before = locate(script.environment)
    script.holds(DAY, vanishing, changing)
    assert before.run(DAY).success
    former = contents(before.data_dir)
    formerly_found = findings(read(before.places, "check_findings"))
    script.holds(DAY, changed, record("new", DAY), record("spilled", DAY + timedelta(days=1)), {"cdr_id": "undated"})

    def start(data_dir: Path, fatal_step: int = 0) -> tuple[Any, Any]:
        environment = {**script.environment, "CDR_AGREEMENT_SAMPLE": "0", "CDR_DATA_DIR": str(data_dir)}
        steps = forking.Value("i", 0, lock=False)
        process = forking.Process(target=materialize, args=(environment, DAY, None, steps, fatal_step))
        process.start()
        return process, steps

    def ends(processes: Iterable[tuple[Any, Any]]) -> list[int]:
        return [process.join(PATIENCE_S) or process.exitcode for process, _ in processes]

    whole = shutil.copytree(before.data_dir, tmp_path / "whole")
    process, steps = start(whole)
    assert ends([(process, steps)]) == [0]
    assert steps.value > 1_000
    latter = contents(whole)
    assert all(former[table] != latter[table] for table in TABLES)
    found = findings(read(whole / "cdr.duckdb", "check_findings"))
    assert len(built_entries(whole)) == len(TABLES)
    assert formerly_found == {"no_field_was_lost_to_its_type": 1}
    assert found == {"no_record_was_set_aside": 1, "no_record_vanished_upstream": 1}

    chance, moments = Random(), 8
    # Threads that wait for each other do not take the same number of steps each time: the very last ones are spared.
    most = steps.value * 0.95
    fatal_steps = [int(most * (number + chance.random()) / moments) + 1 for number in range(moments)]
    killed = {step: shutil.copytree(before.data_dir, tmp_path / f"killed-at-{step}") for step in fatal_steps}
    assert ends([start(data_dir, step) for step, data_dir in killed.items()]) == [-signal.SIGKILL] * len(killed)
    for data_dir in killed.values():
        present = contents(data_dir)
        for table in TABLES:
            assert present[table] in (former[table], latter[table]), data_dir
        # The findings of a table are those of its rows.
        is_built = present["call_detail_records"] == latter["call_detail_records"]
        kept = findings(read(data_dir / "cdr.duckdb", "check_findings"))
        assert ("no_field_was_lost_to_its_type" in kept) == (not is_built), data_dir
        assert kept.items() <= (formerly_found | found).items(), data_dir
    assert ends([start(data_dir) for data_dir in killed.values()]) == [0] * len(killed)
    for data_dir in killed.values():
        assert_exact(data_dir / "cdr.duckdb", [vanishing, changed, record("new", DAY)])
        assert temporary_files(data_dir) == [], data_dir
        kept_rows = read(data_dir / "cdr.duckdb", "check_findings")
        assert findings(kept_rows) == found, data_dir
        exported = duckdb.execute(f"SELECT check_name, count FROM '{data_dir}/published/check_findings/*.parquet'")
        assert dict(exported.fetchall()) == found, data_dir
        assert built_entries(data_dir) == built_entries(whole), data_dir


def test_a_killed_command_leaves_nothing_that_the_next_run_minds(
    locate: Locate, script: Script, tmp_path: Path
) -> None:
    records = records_of_day(SETTINGS, DAY)
    body = json.dumps({"result": "0", "cdr": records}).encode()
    asked, half_way = threading.Event(), threading.Event()

    def stall(sent: bytes, stalled: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
        def send(handler: BaseHTTPRequestHandler) -> None:
            if sent:
                handler.send_response(200)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(sent)
            stalled.set()
            handler.connection.recv(1)  # until the client is gone
            handler.close_connection = True

        return send

    half, tables = DAY + timedelta(days=1), DAY + timedelta(days=2)
    script.answers_with(DAY, stall(b"", asked))
    script.answers_with(half, stall(body[: len(body) // 2], half_way))
    script.holds(tables, *records_of_day(SETTINGS, tables))
    commands = [
        Command([*MATERIALIZE, "--partition", str(day)], script.environment, tmp_path / str(day))
        for day in (DAY, half, tables)
    ]
    moments: list[threading.Event | str] = [asked, half_way, "Materialized value period_cdr"]
    for command, moment in zip(commands, moments, strict=True):
        if isinstance(moment, str):
            command.wait_for(moment)
        else:
            assert moment.wait(PATIENCE_S)
        command.kill()
        assert command.process.returncode == -signal.SIGKILL

    for command, day in zip(commands, (DAY, half, tables), strict=True):
        script.holds(day, *records_of_day(SETTINGS, day))
        assert temporary_files(command.data_dir) or day == tables, "it was killed before it began"
        location = locate(script.environment, command.data_dir)
        assert location.run(day).success
        assert_exact(location.places, true_records(day))
        assert temporary_files(command.data_dir) == []
