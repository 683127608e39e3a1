"""Statements over the exports: while runs replace files, and where a file is damaged."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.reports.dashboard.exports import Exports, UnreadableExports
from cdr_assets.storage import ReadableFolder
from cdr_assets_tests.expected import read
from cdr_assets_tests.reports.dashboard.shown import DAYS, WHOLE


@pytest.fixture
def exports(folder: Path, tmp_path: Path) -> Path:
    """A copy of the exports that may be changed."""
    return Path(shutil.copytree(folder / "published", tmp_path / "published"))


class ReplacedMeanwhile(Exports):
    """The whole file takes the place of a part of it after the first try, as if a run had been writing it."""

    def __init__(self, folder: Path, file: Path) -> None:
        super().__init__(ReadableFolder(folder))
        self.file, self.whole, self.asked = file, file.read_bytes(), 0
        file.write_bytes(self.whole[:-100])

    def stamps(self, *args: Any) -> Any:
        self.asked += 1
        if self.asked == 2:
            self.file.write_bytes(self.whole)
        return super().stamps(*args)


def minutes(exports: Exports) -> Decimal:
    return Decimal(exports.query("days", WHOLE)["participant_minutes"].sum())


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(folder: Path, exports: Path) -> None:
    found = minutes(ReplacedMeanwhile(exports, exports / "daily_usage" / f"{DAYS[3]}.parquet"))
    assert found == sum(row["participant_minutes"] for row in read(folder / "cdr.duckdb", "daily_usage"))


def test_a_file_that_stays_damaged_is_named_with_what_to_do(exports: Path) -> None:
    file = exports / "daily_usage" / f"{DAYS[3]}.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UnreadableExports, match=rf"{file.name}.*Materialize"):
        minutes(Exports(ReadableFolder(exports)))


def test_a_table_without_a_file_has_no_rows(exports: Path) -> None:
    shutil.rmtree(exports / "daily_usage")
    assert Exports(ReadableFolder(exports)).query("days", WHOLE).empty


def test_every_query_keeps_the_metadata_of_files_and_reads_times_as_utc(folder: Path) -> None:
    exports = Exports(ReadableFolder(folder / "published"))
    # Each query uses a new connection, and a setting of another connection does not apply to it.
    with exports._views("", None) as connection:
        set_to = connection.execute("SELECT current_setting('parquet_metadata_cache'), current_setting('TimeZone')")
        assert set_to.fetchall() == [(True, "UTC")]
