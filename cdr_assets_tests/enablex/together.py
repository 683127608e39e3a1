"""Processes and threads that ask EnableX at once, by a pace that they share."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.httpserver import answer, serving

EMPTY = b'{"result":"0","cdr":[]}'

ASK = """
import sys, threading
from pathlib import Path
from cdr_assets.enablex.client import EnableX
from cdr_assets.enablex.pacing import PostgresPace, SharedPace
from cdr_assets.postgres import Postgres

url, pace, where, per_minute, threads, calls = sys.argv[1:]
paces = {"file": lambda: SharedPace(Path(where), float(per_minute)),
         "postgres": lambda: PostgresPace(Postgres(where), float(per_minute))}

def ask():
    client = EnableX("id", "key", url, pace=paces[pace]())
    for _ in range(int(calls)):
        for attempt in client.room("1"):
            with attempt:
                pass

print("ready", flush=True)
sys.stdin.read()
asking = [threading.Thread(target=ask) for _ in range(int(threads))]
for thread in asking:
    thread.start()
for thread in asking:
    thread.join()
"""

PROCESSES, THREADS, CALLS = 4, 2, 3


def assert_the_pace_is_kept(pace: str, where: str, interval_s: float) -> None:
    """Lets several processes ask by the pace in that `file` or `postgres`."""
    came: list[float] = []

    def count(handler: BaseHTTPRequestHandler) -> None:
        came.append(time.monotonic())
        answer(EMPTY)(handler)

    with serving(count) as server, ExitStack() as stack:
        words = [sys.executable, "-c", ASK, server.url, pace, where, str(60 / interval_s), str(THREADS), str(CALLS)]
        asking = [
            stack.enter_context(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(PROCESSES)
        ]
        assert [process.stdout and process.stdout.readline() for process in asking] == [b"ready\n"] * PROCESSES
        began = time.monotonic()
        for process in asking:
            assert process.stdin
            process.stdin.close()
        assert [process.wait(PATIENCE_S) for process in asking] == [0] * PROCESSES
    assert len(came) == PROCESSES * THREADS * CALLS
    # However long each request was on its way, at no moment have more come than may have been sent.
    early = [number for number, at in enumerate(sorted(came)) if at - began < number * interval_s * 0.99]
    assert early == []
