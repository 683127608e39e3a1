"""How long a day takes from HTTP to the three tables, and how much memory, beside DuckDB's own read of the same records.

    python -m cdr_assets_tests.benchmarks.day [--records 500000] [--runs 3]

Every figure is a whole process, medians of the runs. DuckDB reads the records as NDJSON from disk into a table, with
their types declared; the day is a `dagster asset materialize` over loopback HTTP, net of the same run over an empty day.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from shutil import copyfileobj
from time import perf_counter
from typing import Any, NamedTuple

DAY = "2026-11-01"
EMPTY_DAY = "2026-11-03"

TYPED_READ = """
import sys, duckdb
text, time, number = "VARCHAR", "TIMESTAMP", "DECIMAL(18,3)"
def struct(fields, type): return "STRUCT(" + ", ".join(f'"{field}" {type}' for field in fields.split()) + ")"
columns = {
    "trans_date": time, "conf_num": text, "call_num": text, "call_log_id": text,
    "room": f"STRUCT(room_id {text}, connect_dt {time}, disconnect_dt {time}, duration {number})",
    "user": struct("ip name role ref agent token confName", text),
    "sigserver": f"STRUCT(connect_dt {time}, ip {text}, disconnect_dt {time}, duration {number}, hold_duration {number})",
    "published_track": struct("audio data video screen url", "BOOLEAN"),
    "usage": struct("subscribed_minutes published_minutes", number),
    "app_id": text, "cdr_id": text,
}
duckdb.connect(sys.argv[2]).execute(
    "CREATE TABLE cdr AS SELECT * FROM read_json($file, format = 'newline_delimited', columns = " + repr(columns) + ")",
    {"file": sys.argv[1]},
)
"""


class Run(NamedTuple):
    """A finished process: wall seconds and the peak of its memory in MB."""

    seconds: float
    peak_mb: float


def records(count: int) -> Iterator[dict[str, Any]]:
    """Records of one day in the shape of the specification, some 920 bytes each; the same ones every time."""
    chance = random.Random(count)

    def identity(bits: int = 96) -> str:
        return f"{chance.getrandbits(bits):024x}"

    def written(time: datetime) -> str:
        return time.isoformat(timespec="milliseconds") + "Z"

    rooms = [identity() for _ in range(2_000)]
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
    for number in range(count):
        seconds = chance.randrange(1_000, 5_400_000) / 1_000
        left = datetime.fromisoformat(DAY) + timedelta(milliseconds=chance.randrange(1, 86_400_000))
        joined = left - timedelta(seconds=seconds)
        yield {
            "trans_date": written(left),
            "conf_num": f"{chance.randrange(max(count // 6, 1)):024x}",
            "call_num": identity(),
            "call_log_id": identity(),
            "room": {
                "room_id": rooms[int(chance.triangular(0, len(rooms), 0))],
                "connect_dt": written(joined),
                "disconnect_dt": written(left),
                "duration": seconds,
            },
            "user": {
                "ip": f"192.0.2.{number % 254 + 1}",
                "name": f"Participant {chance.randrange(20_000)}",
                "role": "participant",
                "ref": f"user-{chance.randrange(20_000):05d}",
                "agent": agent,
                "token": identity(),
                "confName": "Weekly meeting",
            },
            "sigserver": {
                "connect_dt": written(joined),
                "ip": "198.51.100.7",
                "disconnect_dt": written(left),
                "duration": seconds,
                "hold_duration": 0.0,
            },
            "published_track": {"audio": "true", "data": "true", "video": "true", "screen": "false", "url": "false"},
            "usage": {"subscribed_minutes": round(seconds / 60, 3), "published_minutes": round(seconds / 90, 3)},
            "app_id": "5f8d0a1b2c3d4e5f60718293",
            "cdr_id": f"{number:08x}{identity(64)[-16:]}",
        }


def prepare(folder: Path, count: int) -> tuple[Path, Path]:
    """Writes the records as one JSON object and as NDJSON. Returns both files."""
    answer, lines = folder / f"{count}.json", folder / f"{count}.ndjson"
    with answer.open("w") as whole, lines.open("w") as each:
        whole.write('{"result": "0", "cdr": [')
        for number, record in enumerate(records(count)):
            text = json.dumps(record)
            whole.write(f"{', ' if number else ''}{text}")
            each.write(f"{text}\n")
        whole.write("]}")
    return answer, lines


def serve(answer: Path, ready: Connection) -> None:
    """Serves the prepared answer for the day, and no records for any other."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            full = self.path.endswith(DAY)
            empty = b'{"result": "0", "cdr": []}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(answer.stat().st_size if full else len(empty)))
            self.end_headers()
            if full:
                with answer.open("rb") as body:
                    copyfileobj(body, self.wfile, 1 << 20)
            else:
                self.wfile.write(empty)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ready.send(server.server_port)
        server.serve_forever()


@contextmanager
def served(answer: Path) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    context = get_context("spawn")
    hears, ready = context.Pipe(duplex=False)
    server = context.Process(target=serve, args=(answer, ready), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{hears.recv()}"
    finally:
        server.terminate()
        server.join()


def run(command: Sequence[str], **environment: str) -> Run:
    """Runs a command to its end. Raises RuntimeError with what it said when it fails."""
    with tempfile.TemporaryFile() as said:
        began = perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode()[-4_000:])
    return Run(seconds, used.ru_maxrss / 1024)


def median(runs: Sequence[Run]) -> Run:
    return Run(*(statistics.median(figures) for figures in zip(*runs, strict=True)))


def materialize(base_url: str, day: str, folder: Path) -> Run:
    """One day through Dagster into a warehouse of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as data_dir:
        return run(
            [str(Path(sys.executable).parent / "dagster"), "asset", "materialize", "-m", "cdr_assets.definitions"]
            + ["--select", 'key:"period_cdr"+', "--partition", day],
            ENABLEX_APP_ID="benchmark",
            ENABLEX_APP_KEY="benchmark",
            ENABLEX_BASE_URL=base_url,
            CDR_DATA_DIR=data_dir,
        )


def typed_read(lines: Path, folder: Path) -> Run:
    """DuckDB alone."""
    with tempfile.TemporaryDirectory(dir=folder) as warehouse:
        return run([sys.executable, "-c", TYPED_READ, str(lines), f"{warehouse}/cdr.duckdb"])


def measure(folder: Path, count: int, runs: int) -> tuple[Run, Run, Run]:
    """Medians of a day of `count` records, of an empty day, and of DuckDB's read, taken in turn."""
    answer, lines = prepare(folder, count)
    days, empties, reads = [], [], []
    with served(answer) as base_url:
        for _ in range(runs):
            days.append(materialize(base_url, DAY, folder))
            empties.append(materialize(base_url, EMPTY_DAY, folder))
            reads.append(typed_read(lines, folder))
    print(f"{count:,} records, {answer.stat().st_size / 1e6:.0f} MB", flush=True)
    answer.unlink()
    lines.unlink()
    return median(days), median(empties), median(reads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for count in (given.records, 2 * given.records):
            day, empty, read = measure(Path(folder), count, given.runs)
            peaks.append(day.peak_mb)
            print(f"  a day, net of an empty one  {day.seconds - empty.seconds:6.2f} s   peak {day.peak_mb:4.0f} MB")
            print(f"  an empty day                {empty.seconds:6.2f} s   peak {empty.peak_mb:4.0f} MB")
            print(f"  DuckDB's typed read         {read.seconds:6.2f} s   peak {read.peak_mb:4.0f} MB")
            print(f"  ratio                       {(day.seconds - empty.seconds) / read.seconds:6.2f}", flush=True)
        print(f"Peak of twice the records to that of once: {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
