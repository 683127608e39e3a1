"""The files in deploy/: they are valid, they fit each other, and what the containers would run works as processes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from compose_spec import PyCompose
from dagster_celery.launcher import CeleryRunLauncher
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job

from cdr_assets.cli import free_port
from cdr_assets.days import DAY
from cdr_assets.definitions import code_location
from cdr_assets.processes import console_script
from cdr_assets.settings import Settings
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.location import Script, plain_environment, record
from cdr_assets_tests.scale.cluster import Cluster, cluster

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"

GIVEN = {
    "ENABLEX_APP_ID": "an-id",
    "ENABLEX_APP_KEY": "a-key",
    "POSTGRES_PASSWORD": "a-password",
    "S3_SECRET": "a-secret",
    "CELERY_WORKERS": "2",
}


def compose(given: Mapping[str, str]) -> Any:
    """The compose file with its variables filled in, as docker compose does."""

    def value(found: re.Match[str]) -> str:
        name, operator, word = found.groups()
        assert name in given or operator == ":-", f"{name} is not given: {word}"
        return given.get(name) or word

    text = (DEPLOY / "docker-compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text))


COMPOSE = compose(GIVEN)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "cdr_assets"}
VALUES = yaml.safe_load((DEPLOY / "values.yaml").read_text(encoding="utf-8"))


def test_the_compose_file_is_valid() -> None:
    made = PyCompose.from_yaml(yaml.safe_dump(COMPOSE))
    made.validate()
    made.validate_volumes()
    made.validate_configs()
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_each_of_our_services_has_one_image_and_one_environment() -> None:
    assert set(OURS) == {"webserver", "daemon", "worker", "dashboard", "prepare"}
    assert all(service["environment"] == OURS["worker"]["environment"] for service in OURS.values())
    assert SERVICES["worker"]["deploy"]["replicas"] == OURS["worker"]["environment"]["CELERY_WORKERS"] == 2


def test_the_pages_are_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:3000:3000", "127.0.0.1:8501:8501"]


@pytest.mark.parametrize("name", [name for name in GIVEN if name != "CELERY_WORKERS"])
def test_what_has_no_default_must_be_given(name: str) -> None:
    with pytest.raises(AssertionError, match=f"{name} is not given"):
        compose({each: value for each, value in GIVEN.items() if each != name})


def test_the_environment_of_the_containers_makes_a_lake_and_a_bucket() -> None:
    environment = {name: str(value) for name, value in OURS["worker"]["environment"].items()}
    settings = Settings.read(environment)
    assert settings.places.is_lake
    assert settings.places.is_bucket
    assert settings.days_a_run
    assert "a-password" not in repr(settings)


def test_the_dockerfile_copies_what_is_there_and_runs_as_a_user_without_rights() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [(words[0], words[1:]) for line in lines if (words := shlex.split(line, comments=True))]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for keyword, words in steps:
        if keyword == "COPY" and not any(word.startswith("--from") for word in words):
            for source in [word for word in words if not word.startswith("--")][:-1]:
                assert (CHECKOUT / source).exists(), source
                assert f"!{source}" in ignored, source
    (user,) = (words[0] for keyword, words in steps if keyword == "USER")
    assert user != "root"
    assert any("useradd" in words and user in words for _, words in steps)
    extras = re.search(r'"\.\[([\w,]+)\]"', (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    assert extras
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[$", (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


# Dagster's settings


@contextmanager
def instance(name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a file of settings, which Dagster refuses if they are wrong."""
    (folder / "dagster.yaml").write_text((DEPLOY / name).read_text(encoding="utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        # As if it were in a pod.
        patch.setattr("kubernetes.config.load_incluster_config", lambda **_: None)
        with dg.DagsterInstance.from_config(str(folder)) as made:
            yield made


def address(postgres: str) -> str:
    parts = dict(part.split("=") for part in postgres.split())
    return f"postgresql+psycopg2://{parts['user']}@{parts['host']}:{parts['port']}/{parts['dbname']}"


def runs_at_once(made: dg.DagsterInstance) -> int | None:
    queue = made.get_concurrency_config().run_queue_config
    return queue and queue.max_concurrent_runs


def test_dagster_takes_the_settings_for_celery_with_the_variables_of_the_containers(
    tmp_path: Path, postgres: str
) -> None:
    environment = {name: str(value) for name, value in OURS["worker"]["environment"].items()}
    with instance("dagster.celery.yaml", tmp_path, environment | {"DAGSTER_STORAGE": address(postgres)}) as made:
        assert isinstance(made.run_launcher, CeleryRunLauncher)
        assert runs_at_once(made) == 2
        assert made.get_runs_count() == 0


def test_dagster_takes_the_settings_for_kubernetes(tmp_path: Path, postgres: str) -> None:
    environment = {"DAGSTER_STORAGE": address(postgres), "CDR_NAMESPACE": "calls", "CDR_IMAGE": "cdr_assets"}
    with instance("dagster.k8s.yaml", tmp_path, environment) as made:
        assert isinstance(made.run_launcher, K8sRunLauncher)
        queue = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
        assert runs_at_once(made) == queue["maxConcurrentRuns"]
        assert made.get_runs_count() == 0
        run = made.create_run_for_job(code_location({}).resolve_job_def("daily_cdr"))
        container = K8sContainerContext.create_for_run(run, made.run_launcher, include_run_tags=True)
        job = construct_dagster_k8s_job(
            container.get_k8s_job_config(None, made.run_launcher), ["run"], "job", container.run_k8s_config
        )
    pod = job.spec.template.spec
    (runs,) = pod.containers
    assert (container.namespace, runs.image, pod.service_account_name) == ("calls", "cdr_assets", "dagster")
    assert [source.secret_ref.name for source in runs.env_from if source.secret_ref] == ["cdr-assets"]
    assert [source.config_map_ref.name for source in runs.env_from if source.config_map_ref] == ["cdr-assets"]
    assert {name.name: name.value for name in runs.env}["DAGSTER_HOME"] == "/dagster"
    assert [mount.mount_path for mount in runs.volume_mounts] == ["/dagster/dagster.yaml"]
    assert pod.termination_grace_period_seconds == 120
    assert runs.resources.limits == {"memory": "2Gi"}
    assert job.spec.ttl_seconds_after_finished == 3600


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_the_chart_runs_jobs_as_the_settings_without_it_do() -> None:
    given = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    without = yaml.safe_load((DEPLOY / "dagster.k8s.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"]
    config = {snake(part): {snake(name): value for name, value in of.items()} for part, of in given.items()}
    assert config == without["run_k8s_config"]


def test_the_chart_has_one_image_and_its_code_server_has_our_variables() -> None:
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    assert deployment["image"] == VALUES["dagsterWebserver"]["image"] == VALUES["dagsterDaemon"]["image"]
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
    secret = {"CDR_WAREHOUSE": "ducklake:postgres:dbname=lake"}
    settings = Settings.read(deployment["env"] | secret)
    assert settings.places.is_bucket
    assert settings.days_a_run
    assert deployment["dagsterApiGrpcArgs"] == ["--module-name", "cdr_assets.definitions"]
    for part in ("postgresql", "rabbitmq", "redis", "flower"):
        assert VALUES[part]["enabled"] is False


# The commands


@contextmanager
def running(name: str, made: Cluster, ports: Mapping[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    """What the container of that service runs, as a process; its ports are others."""
    log = made.folder / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(name, ports),
            env=environment_of(name, made),
            cwd=made.home,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def command(name: str, ports: Mapping[str, int]) -> list[str]:
    program, *words = (str(ports.get(word, word)) for word in OURS[name]["command"])
    return [sys.executable, *words] if program == "python" else console_script(program, *words)


def environment_of(name: str, made: Cluster) -> dict[str, str]:
    """The environment of the container; the servers are those of the tests."""
    given = {name: str(value) for name, value in OURS[name]["environment"].items()}
    ours = {name: value for name, value in made.environment.items() if name in given or name == "ENABLEX_BASE_URL"}
    stores = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    quiet = {"CDR_SETTLE_MINUTES": "0", "CDR_AGREEMENT_SAMPLE": "0", "CDR_TICK_SECONDS": "5"}
    folders = {"CDR_DATA_DIR": str(made.folder / name), "DAGSTER_HOME": str(made.home)}
    return {**plain_environment(), **given, **ours, **stores, **quiet, **folders}


def wait_for_page(url: str, made: Cluster) -> str:
    """What the page says, once the service answers."""

    def answer() -> str:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return ""

    return made.wait(answer)


def test_the_services_together_fetch_the_days_and_show_them(
    tmp_path: Path, postgres: str, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("streamlit")
    today = datetime.now(timezone.utc).date()
    days = [today - DAY, today]
    for day in days:
        script.holds(day, record(str(day), day))
    # Midnight may pass.
    script.holds(today + DAY)
    ports = {"3000": free_port(), "8501": free_port()}
    enablex = script.environment | {"CDR_START_DATE": str(days[0])}
    with ExitStack() as stack, cluster(tmp_path, enablex, postgres, workers=1) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        prepare = subprocess.run(command("prepare", ports), env=environment_of("prepare", made), check=False)
        assert prepare.returncode == 0
        processes = {
            name: stack.enter_context(running(name, made, ports))
            for name in ("webserver", "daemon", "worker", "dashboard")
        }
        assert "dagster_version" in wait_for_page(f"http://127.0.0.1:{ports['3000']}/server_info", made)
        assert wait_for_page(f"http://127.0.0.1:{ports['8501']}/_stcore/health", made) == "ok"
        with made.instance() as looking:

            def all_built() -> bool:
                said = {name: process.poll() for name, process in processes.items()}
                assert set(said.values()) == {None}, f"ended: {said}"
                return looking.get_materialized_partitions(dg.AssetKey("room_usage")) >= set(map(str, days))

            made.wait(all_built)
        # A worker that is told to stop does so.
        processes["worker"].send_signal(signal.SIGTERM)
        processes["worker"].wait(PATIENCE_S)
