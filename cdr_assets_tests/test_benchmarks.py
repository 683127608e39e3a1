"""The benchmark, small and without its bars, so that it cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cdr_assets_tests.benchmarks.bars import bars
from cdr_assets_tests.benchmarks.plan import QUICK, Sizes, groups
from cdr_assets_tests.benchmarks.process import Run

CHECKOUT = Path(__file__).resolve().parents[1]
ROWS = ["prompt", "history", "read-small", "download-small", "duckdb-small"]
PEERS = ["dlt-small", "pandas-small"]


def test_it_measures_processes_that_did_their_work_and_prints_a_table(tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    bench = [sys.executable, "-m", "cdr_assets_tests.benchmarks.bench", "--quick", "--runs", "1"]
    done = subprocess.run(
        [*bench, "--json", str(figures), "--only", *ROWS, *PEERS], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in json.loads(figures.read_text())["rows"]}
    # The peers are measured where they are installed.
    assert set(ROWS) <= set(rows) <= {*ROWS, *PEERS}
    for name, row in rows.items():
        assert f"\n{name} " in done.stdout
        assert 0 < row["seconds"]["min"] <= row["seconds"]["median"] <= row["seconds"]["max"]
        assert row["cpu_s"] > 0
        assert row["peak_mb"] > 10


def test_it_says_so_when_there_is_no_such_row() -> None:
    bench = [sys.executable, "-m", "cdr_assets_tests.benchmarks.bench", "--only", "nothing"]
    done = subprocess.run(bench, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no row is named nothing" in done.stderr


@pytest.mark.parametrize("sizes", [Sizes(), QUICK])
def test_every_bar_is_about_rows_that_are_measured(sizes: Sizes) -> None:
    rows = [row.name for group in groups(sizes) for row in group.rows]
    assert len(set(rows)) == len(rows)
    # No two rows alike, so that no figure divides by zero.
    medians = {name: Run(100.0 + number**2, 1, 100, 10) for number, name in enumerate(rows)}
    for bar in bars(sizes, dict.fromkeys(rows, 100.0)):
        assert isinstance(bar.held(bar.figure(medians)), bool)
