"""Another process that holds the warehouse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITES = "duckdb.connect(sys.argv[1])"
READS = "duckdb.connect(sys.argv[1], read_only=True)"
QUEUES = "FileLock(sys.argv[1] + '.lock').acquire()"


@contextmanager
def held(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that keeps the warehouse until its input ends."""
    program = f"import sys, duckdb; from filelock import FileLock; held = {how}; print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()
