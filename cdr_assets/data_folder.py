"""The layout of the data folder.

cdr.duckdb                                     the warehouse
landing/usage_date=YYYY-MM-DD/                 records as received
quarantine/usage_date=YYYY-MM-DD/              records that are not valid, with the reason
published/<table>/                             the tables as Parquet, unless another folder is set
published/status.json                          how the days, the runs and the disk stand
built/log                                      a copy of the warehouse's table build_log, for the sensors
runs/                                          the locks of living runs
pace                                           when the next request to EnableX may be sent
scratch/                                       for a moment, what is on its way to a bucket, or does not fit in memory
people.key                                     with what people are hashed in published/
account                                        App ID of the account whose records these are
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

STATUS_FILE = "status.json"
"""The file in the folder of the exports that says how the days, the runs and the disk stand."""


@dataclass(frozen=True)
class DataFolder:
    """The folders and files under `root`. None of them is made by looking at it."""

    root: Path

    @property
    def warehouse(self) -> Path:
        return self.root / "cdr.duckdb"

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def exports(self) -> Path:
        return self.root / "published"

    @property
    def build_log(self) -> Path:
        return self.root / "built" / "log"

    @property
    def former_build_log(self) -> Path:
        """Where earlier versions kept it, in a folder for each table."""
        return self.root / "built"

    @property
    def run_locks(self) -> Path:
        return self.root / "runs"

    @property
    def pace(self) -> Path:
        return self.root / "pace"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"


class DiskUsage(NamedTuple):
    """A disk, in bytes."""

    total: int
    free: int


def disk_usage(data_dir: Path) -> DiskUsage:
    """The disk that holds the data folder, or will hold it when it is made. Raises OSError if it cannot be read."""
    made = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    usage = shutil.disk_usage(made)
    return DiskUsage(usage.total, usage.free)
