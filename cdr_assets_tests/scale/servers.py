"""Postgres, Redis and an S3 store on free ports of this machine, for as long as a command runs.

    python -m cdr_assets_tests.scale.servers COMMAND...

The command finds their addresses in its environment.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import obstore
import psycopg
import redis
import requests
from obstore.exceptions import BaseError
from obstore.store import S3Store

from cdr_assets import processes
from cdr_assets.cli import free_port
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.scale import BUCKET, REDIS_DATABASES

KEY, SECRET = "key", "secret"
DEBIAN = Path(".venv-scale/debian")

# Postgres refuses to run as root.
UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


class NoServer(Exception):
    """A server is not installed, or does not start."""


def main(command: Sequence[str]) -> int:
    """Runs the command among the servers. Returns its exit code."""
    with tempfile.TemporaryDirectory(prefix="cdr-assets-servers-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        environment = {**os.environ, "LD_LIBRARY_PATH": _libraries()}
        with processes.Services(environment) as services:
            try:
                found = _start(services, folder, environment)
            except (NoServer, processes.ServiceEnded) as error:
                print(f"{error}\n{_last_words(folder)}", file=sys.stderr)
                return 1
            if found is None:
                return 130
            return processes.run(command, {**os.environ, **found})


def _start(services: processes.Services, folder: Path, environment: Mapping[str, str]) -> dict[str, str] | None:
    """Starts the servers. Returns the variables that name them, or None if a signal asks to stop meanwhile."""
    postgres, redis, s3, filer = free_port(), free_port(), free_port(), free_port()
    found = {
        "CDR_TEST_POSTGRES": f"host=127.0.0.1 port={postgres} user=cdr",
        "CDR_TEST_REDIS": f"redis://127.0.0.1:{redis}",
        "CDR_TEST_S3": f"http://127.0.0.1:{s3}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }
    starting = {
        "S3 store": (_s3(folder / "s3", s3, filer), lambda: _try_s3(found, filer)),
        "Postgres": (_postgres(folder / "postgres", postgres, environment), lambda: _try_postgres(found)),
        "Redis": (_redis(folder / "redis", redis), lambda: _try_redis(found)),
    }
    for server, (command, _) in starting.items():
        log = str(folder / f"{server}.log")
        services.start(server, ["sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", log, *command])
    for server, (_, look) in starting.items():
        if _wait(services, server, look):
            return None
    return found


def _wait(services: processes.Services, server: str, look: Callable[[], object]) -> bool:
    """Waits until the server answers, and `look` raises no error. Says whether a signal asked to stop meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            look()
            return False
        except (OSError, psycopg.Error, redis.RedisError, BaseError) as error:
            if time.monotonic() > deadline:
                raise NoServer(f"the {server} does not answer after {PATIENCE_S} s: {error}") from None
        if services.wait(0.1):
            return True


def _try_postgres(found: Mapping[str, str]) -> None:
    psycopg.connect(found["CDR_TEST_POSTGRES"], dbname="postgres").close()


def _try_redis(found: Mapping[str, str]) -> None:
    redis.Redis.from_url(found["CDR_TEST_REDIS"]).ping()


def _try_s3(found: Mapping[str, str], filer: int) -> None:
    # A bucket is a folder of the store's file system. One that is there already is a conflict.
    requests.post(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", timeout=10)
    store = S3Store(
        BUCKET,
        endpoint=found["CDR_TEST_S3"],
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    obstore.put(store, "started", b"")
    obstore.delete(store, "started")


def postgres_command(folder: Path, port: int) -> list[str]:
    """The command of a server with a new, empty database cluster in that folder."""
    return ["env", f"LD_LIBRARY_PATH={_libraries()}", *_postgres(folder, port, {"LD_LIBRARY_PATH": _libraries()})]


def started(command: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    """A server of Postgres that answers at the port."""
    process = subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with suppress(psycopg.Error):
            psycopg.connect(f"host=127.0.0.1 port={port} user=cdr dbname=postgres").close()
            return process
    raise NoServer(f"Postgres ended with {process.returncode}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a server of Postgres, and every connection to it."""
    process.send_signal(signal.SIGINT)
    process.wait()


def _postgres(folder: Path, port: int, environment: Mapping[str, str]) -> list[str]:
    """The command of a server with a new, empty database cluster in that folder."""
    programs = _postgres_programs(folder.with_name("debian"))
    folder.mkdir()
    if UNPRIVILEGED:
        shutil.chown(folder, "nobody", "nogroup")
    where = ["-D", str(folder / "data")]
    options = ["--username=cdr", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
    made = subprocess.run(
        [*UNPRIVILEGED, str(programs / "initdb"), *where, *options],
        env={**environment, "TZ": "UTC"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise NoServer(f"initdb of Postgres fails: {made.stderr.strip()}")
    settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "300", "jit": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [*UNPRIVILEGED, str(programs / "postgres"), *where, "-p", str(port), "-k", "", *options]


def _postgres_programs(copy: Path) -> Path:
    """The folder of Postgres's programs: `make` unpacked them, or they are installed."""
    for root in (DEBIAN.absolute(), Path("/")):
        for folder in sorted(root.glob("usr/lib/postgresql/*/bin"), key=lambda folder: -int(folder.parent.name)):
            if UNPRIVILEGED and root != Path("/"):
                # The checkout may lie where only root can read.
                shutil.copytree(root, copy, symlinks=True)
                return copy / folder.relative_to(root)
            return folder
    return Path(_program("postgres")).parent


def _redis(folder: Path, port: int) -> list[str]:
    folder.mkdir()
    options = {"port": str(port), "bind": "127.0.0.1", "databases": str(REDIS_DATABASES), "dir": str(folder)}
    options |= {"save": "", "appendonly": "no"}
    return [_program("redis-server"), *(part for name, value in options.items() for part in (f"--{name}", value))]


def _s3(folder: Path, port: int, filer: int) -> list[str]:
    folder.mkdir()
    credentials = {"accessKey": KEY, "secretKey": SECRET}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [{"name": "tests", "credentials": [credentials], "actions": actions}]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    ports = {"s3.port": port, "filer.port": filer, "s3.port.iceberg": 0, "s3.port.lance": 0}
    # By themselves those of gRPC are 10000 higher, where no port need be free.
    others = ("s3.port.grpc", "filer.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    ports.update({name: free_port() for name in others})
    return [
        # Its orderly stop takes 15 s, and nothing in it is kept.
        *("sh", "-c", 'trap "kill -9 0" TERM; "$@" & wait', "sh"),
        _program("weed"),
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        "-filer",
        "-s3",
        f"-s3.config={folder / 'identities.json'}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100",
        *(f"-{name}={number}" for name, number in ports.items()),
    ]


def _program(name: str) -> str:
    """The path of a server's program. Raises NoServer where it is nowhere."""
    places = [Path(sys.executable).parent, *(DEBIAN.absolute() / "usr" / folder for folder in ("bin", "sbin"))]
    path = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))
    if not path:
        raise NoServer(f"{name} is neither unpacked in {DEBIAN} nor on the PATH: make .venv-scale/debian")
    return path


def _libraries() -> str:
    """Where the unpacked programs find the libraries that came with them."""
    return os.pathsep.join(
        str(folder) for lib in ("usr/lib", "lib") for folder in DEBIAN.absolute().glob(f"{lib}/*-linux-*")
    )


def _last_words(folder: Path) -> str:
    logs = sorted(folder.glob("*.log"))
    return "\n".join(f"{log.stem}: {line}" for log in logs for line in log.read_text().splitlines()[-15:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
