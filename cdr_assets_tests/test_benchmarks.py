"""The benchmark, small and without judging its targets, so that it cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdr_assets_tests import benchmarks
from cdr_assets_tests.benchmarks.plan import QUICK, Sizes, groups
from cdr_assets_tests.benchmarks.process import Run
from cdr_assets_tests.benchmarks.records import records as made_up
from cdr_assets_tests.benchmarks.targets import targets
from cdr_assets_tests.benchmarks.variants import CHANGED_EVERY

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
    assert "no row or target is named nothing" in done.stderr


@pytest.mark.parametrize("sizes", [Sizes(), QUICK])
def test_every_target_is_about_rows_that_are_measured(sizes: Sizes) -> None:
    rows = [row.name for group in groups(sizes, Path("older")) for row in group.rows]
    assert len(set(rows)) == len(rows)
    # No two rows alike, so that no figure divides by zero.
    medians = {name: Run(100.0 + number**2, 1, 100, 10, 10) for number, name in enumerate(rows)}
    named = targets(sizes, dict.fromkeys(rows, 100.0))
    assert len({target.name for target in named}) == len(named)
    for target in named:
        figure = target.figure({name: medians[name] for name in target.rows})
        assert isinstance(target.held(figure), bool)


def test_rows_of_targets_are_measured_by_the_names_of_the_targets(tmp_path: Path) -> None:
    figures = measured(tmp_path, "--target", "compare-*", "checks", "rebuild")
    rows = ["land-huge", "land-huge-order", "rebuild-year", "rebuild-day", "checks"]
    assert [row["row"] for row in figures["rows"]] == rows
    # At small sizes none is judged.
    assert {each["name"]: each["met"] for each in figures["targets"]} == dict.fromkeys(
        ("compare-time", "compare-memory", "checks", "rebuild")
    )


def test_a_day_is_answered_again_in_another_order_or_with_one_percent_changed(tmp_path: Path) -> None:
    records = [json.dumps(record) for record in made_up(400, "2026-01-01")]
    answers = {"first": f'{{"result": "0", "cdr": [{", ".join(records)}]}}'}
    (tmp_path / "first").write_text(answers["first"])
    # So small that an answer has several parts.
    variants = Path(benchmarks.__file__).with_name("variants.py").read_text().replace("5_000_000", "50_000")
    (tmp_path / "variants.py").write_text(variants)
    for how in ("order", "changed"):
        subprocess.run([sys.executable, "variants.py", how, "first", how], cwd=tmp_path, check=True)
        answers[how] = (tmp_path / how).read_text()
    first, order, changed = (json.loads(answers[name])["cdr"] for name in ("first", "order", "changed"))
    assert order != first
    assert sorted(order, key=str) == sorted(first, key=str)
    differing = [number for number, record in enumerate(changed) if record != first[number]]
    assert differing == list(range(0, 400, CHANGED_EVERY))


def measured(folder: Path, *options: str) -> Any:
    """The figures of a benchmark at small sizes."""
    figures = folder / "bench.json"
    bench = [sys.executable, "-m", "cdr_assets_tests.benchmarks.bench", "--quick", "--runs", "1"]
    done = subprocess.run([*bench, "--json", str(figures), *options], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    # People see the same.
    assert all(f"\n{each['name']} " in done.stdout for each in found["targets"])
    return found
