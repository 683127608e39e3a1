"""Days that are fetched again and again while they settle take hardly more disk than one final fetch of each."""

from __future__ import annotations

from pathlib import Path

from cdr_assets_tests.benchmarks.month import fetch_month


def test_fetching_again_takes_disk_for_what_is_new_alone_and_keeps_every_version(tmp_path: Path) -> None:
    month = fetch_month(tmp_path, days=2, records_a_day=3_000, fetches=4)
    assert month.versions >= 2 * (3_000 + 3)
    assert month.lost == 0
    assert month.repeated == 0
    assert month.ratio <= 1.05
