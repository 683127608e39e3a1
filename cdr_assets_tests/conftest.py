from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, settings

from cdr_assets.definitions import code_location
from cdr_assets.sandbox.server import Faults, Sandbox, serve
from cdr_assets_tests.httpserver import serving
from cdr_assets_tests.location import SETTINGS, Locate, Location, Script, plain_environment
from cdr_assets_tests.places import drop_all_lakes, drop_lakes, variables
from cdr_assets_tests.scale import BUCKET, ON_LAKE, POSTGRES, WITHOUT_SERVERS

SCALE_TESTS = Path(__file__).with_name("scale")
ON_SERVERS = {"postgres", "bucket"}

# How long an example takes says something about the machine, not about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(SCALE_TESTS) or ON_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("scale")
        if WITHOUT_SERVERS and item.get_closest_marker("scale"):
            item.add_marker(pytest.mark.skip(reason=WITHOUT_SERVERS))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(plain_environment()):
        monkeypatch.delenv(name)


@pytest.fixture(autouse=ON_LAKE)
def _lakes_of_a_test(tmp_path: Path) -> Iterator[None]:
    yield
    drop_lakes(tmp_path)


@pytest.fixture(scope="session", autouse=ON_LAKE)
def _lakes() -> Iterator[None]:
    yield
    drop_all_lakes()


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Sandbox]:
    with serve(SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    _sandbox.settings, _sandbox.faults = SETTINGS, Faults()
    _sandbox.requests.clear()
    return _sandbox


@pytest.fixture
def postgres() -> Iterator[str]:
    """A database of the test's own, as a connection string of libpq."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(POSTGRES, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{POSTGRES} dbname={name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def bucket() -> str:
    """A bucket, and a prefix of the test's own in it, where nothing is."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    with serving(script.reply) as server:
        script.url = server.url
        yield script


@pytest.fixture
def locate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Locate]:
    """Makes a code location over the EnableX that an environment names; its data folder is empty if none is given."""
    instances: list[dg.DagsterInstance] = []

    def locate(environment: Mapping[str, str], data_dir: Path | None = None) -> Location:
        data_dir = data_dir or tmp_path / f"data-{len(instances)}"
        # Only requests for the days, unless a test wants others.
        environment = {
            "CDR_AGREEMENT_SAMPLE": "0",
            **variables(data_dir),
            **environment,
            "CDR_DATA_DIR": str(data_dir),
        }
        for name, value in environment.items():
            # Dagster reads secrets from the process's own environment when a run needs them.
            monkeypatch.setenv(name, value)
        instances.append(dg.DagsterInstance.ephemeral())
        return Location(code_location(environment), instances[-1], data_dir)

    yield locate
    for instance in instances:
        instance.dispose()


@pytest.fixture
def location(locate: Locate, sandbox: Sandbox) -> Location:
    """The code location over the sandbox."""
    return locate(sandbox.environment)


@pytest.fixture
def scripted(locate: Locate, script: Script) -> Location:
    """The code location over what the test writes."""
    return locate(script.environment)
