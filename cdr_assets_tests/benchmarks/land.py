"""Fetches one day and lands it, without Dagster and without tables.

python land.py URL DAY DATA_DIR
"""

import sys
from contextlib import closing
from datetime import date
from pathlib import Path

from cdr_assets.enablex.client import EnableX
from cdr_assets.landing.ingest import ingest
from cdr_assets.landing.zone import LandingZone

url, text, data_dir = sys.argv[1:]
day = date.fromisoformat(text)
with closing(EnableX("app", "key", url)) as client:
    ingest(LandingZone(Path(data_dir)), client.period(day, day), "period", [day])
