"""How long the daily pipeline takes, and how much memory, compared with its peers and the machine's limits.

    python -m cdr_assets_tests.benchmarks.bench [--quick] [--runs 3] [--only ROW ...] [--target NAME ...]
        [--against FOLDER] [--json bench.json]

README.md next to this file says what each row is, and how the sides differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cdr_assets_tests.benchmarks import sides
from cdr_assets_tests.benchmarks.plan import QUICK, Group, Row, Sizes, groups
from cdr_assets_tests.benchmarks.process import Run, serving
from cdr_assets_tests.benchmarks.targets import targets

PACKAGES = ("dagster", "duckdb", "msgspec", "zstandard", "requests", "dlt", "pandas")
HEAD = (
    f"{'row':<16} {'what':<50} {'seconds':>8} {'min':>8} {'max':>8} {'CPU s':>8} {'peak MB':>8} {'records/s':>10} "
    f"{'value':>8} runs"
)


class Figures:
    """Everything that was measured."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.runs: dict[str, list[Run]] = {}
        self.json_mb: dict[str, float] = {}

    @property
    def medians(self) -> dict[str, Run]:
        return {name: median(runs) for name, runs in self.runs.items()}

    def add(self, row: Row, run: Run) -> None:
        self.rows[row.name] = row
        self.runs.setdefault(row.name, []).append(run)


def median(runs: Sequence[Run]) -> Run:
    """The median of each figure by itself."""
    seconds, cpu_s, peak_mb = (statistics.median(figures) for figures in zip(*(run[:3] for run in runs), strict=True))
    return Run(seconds, cpu_s, peak_mb, runs[-1].disk_mb, runs[-1].value)


def measure(group: Group, runs: int, figures: Figures) -> None:
    """Runs the group's rows in turn, so that other work of the machine slows all of them."""
    with tempfile.TemporaryDirectory(prefix="cdr-bench-") as name:
        files = Path(name) / "files"
        files.mkdir()
        group.prepare(files)
        answers = sum(file.stat().st_size for file in files.glob("day/*.json")) / 1e6
        figures.json_mb.update({row.name: answers for row in group.rows})
        with serving(files) as url:
            for number in range(runs):
                for row in group.rows:
                    if number < row.most_runs:
                        with tempfile.TemporaryDirectory(dir=name) as folder:
                            took = row.measure(files, url, Path(folder))
                        figures.add(row, took)
                        print(f"{row.name} {took.seconds:.2f} s {took.peak_mb:.0f} MB", file=sys.stderr, flush=True)


def selected(plan: Iterable[Group], patterns: Sequence[str]) -> list[Group]:
    """The groups with the rows that match a pattern and can be measured here."""
    chosen = []
    for group in plan:
        rows = [row for row in group.rows if any(fnmatch(row.name, pattern) for pattern in patterns)]
        missing = [row.name for row in rows if not sides.is_measurable(row.needs)]
        if missing:
            print(f"left out, since what they need is not there: {', '.join(missing)}", file=sys.stderr)
        rows = [row for row in rows if row.name not in missing]
        if rows:
            chosen.append(group._replace(rows=rows))
    return chosen


def rows_of(patterns: Sequence[str], sizes: Sizes) -> list[str]:
    """The rows that the targets with these names need."""
    return [
        row
        for target in targets(sizes, {})
        if any(fnmatch(target.name, pattern) for pattern in patterns)
        for row in target.rows
    ]


def result(figures: Figures, sizes: Sizes) -> dict[str, Any]:
    """All figures as JSON has them."""
    return {
        "machine": machine(),
        "sizes": sizes._asdict(),
        "rows": [row_result(figures, name) for name in figures.runs],
        "targets": list(target_results(figures, sizes)),
    }


def machine() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "none"
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(), **versions}


def row_result(figures: Figures, name: str) -> dict[str, Any]:
    row, runs, middle = figures.rows[name], figures.runs[name], figures.medians[name]
    seconds = [run.seconds for run in runs]
    return {
        "row": name,
        "what": row.what.strip(),
        "records": row.records,
        "runs": len(runs),
        "seconds": {"median": middle.seconds, "min": min(seconds), "max": max(seconds)},
        "cpu_s": middle.cpu_s,
        "peak_mb": middle.peak_mb,
        "disk_mb": middle.disk_mb,
        "json_mb": figures.json_mb[name] or None,
        "records_per_s": row.records / middle.seconds,
        "value": middle.value,
    }


def target_results(figures: Figures, sizes: Sizes) -> Iterable[dict[str, Any]]:
    """The targets whose rows were measured: each by the clock and by the processors' time, and which of them counts."""
    by_clock = figures.medians
    by_cpu = {name: run._replace(seconds=run.cpu_s) for name, run in by_clock.items()}
    for target in targets(sizes, figures.json_mb):
        if not set(target.rows) <= set(by_clock):
            continue
        try:
            clock, cpu = target.figure(by_clock), target.figure(by_cpu)
        except ZeroDivisionError:
            continue  # Two rows of a few records took the same time.
        value = cpu if target.by_cpu else clock
        yield {
            "name": target.name,
            "what": target.what,
            "value": value,
            "unit": target.unit,
            "counts": "CPU" if target.by_cpu else "clock",
            "other": clock if target.by_cpu else cpu,
            "target": f"{'at least' if target.at_least else 'at most'} {target.target:g}",
            # At small sizes it would say nothing: there, starting up is all there is.
            "met": None if sizes == QUICK else target.held(value),
        }


def table(found: Mapping[str, Any], figures: Figures) -> str:
    """All figures as people read them."""
    lines = [", ".join(f"{name} {value}" for name, value in found["machine"].items()), "", HEAD]
    for row in found["rows"]:
        seconds = row["seconds"]
        lines.append(
            f"{row['row']:<16} {figures.rows[row['row']].what:<50} {seconds['median']:>8.2f} {seconds['min']:>8.2f} "
            f"{seconds['max']:>8.2f} {row['cpu_s']:>8.2f} {row['peak_mb']:>8.0f} {row['records_per_s']:>10,.0f} "
            f"{'' if row['value'] is None else format(row['value'], '.2f'):>8} {row['runs']:>4}"
        )
    if found["targets"]:
        lines += ["", f"{'target':<17} {'what':<70} {'value':>11} {'target':>14}  met    by    by the other"]
    for target in found["targets"]:
        met = {True: "met", False: "MISSED", None: "-"}[target["met"]]
        lines.append(
            f"{target['name']:<17} {target['what']:<70} {target['value']:>8.2f} {target['unit']:<2} "
            f"{target['target']:>14}  {met:<6} {target['counts']:<5} {target['other']:>12.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--runs", type=int, default=3, help="of each row; figures are medians")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="names of rows, or patterns: 'day-*'")
    parser.add_argument("--target", nargs="+", default=[], metavar="NAME", help="the rows of these targets; patterns")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="an older checkout, measured on its largest day")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    given = parser.parse_args()
    sizes = QUICK if given.quick else Sizes()
    if given.against and not (given.against / "cdr_assets").is_dir():
        parser.error(f"{given.against} is no checkout of this project")
    against = given.against and given.against.resolve()
    wanted = [*given.only, *rows_of(given.target, sizes)]
    chosen = selected(groups(sizes, against), wanted if given.only or given.target else ["*"])
    if not chosen:
        parser.error(f"no row or target is named {' or '.join([*given.only, *given.target])}")
    figures = Figures()
    try:
        for group in chosen:
            measure(group, given.runs, figures)
    finally:
        # Whatever ends it early, the figures so far are not lost.
        found = result(figures, sizes)
        given.json.write_text(json.dumps(found, indent=2) + "\n")
        print(table(found, figures))


if __name__ == "__main__":
    main()
