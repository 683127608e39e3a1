"""A landing zone whose days were fetched again and again while they settled, compared with one final fetch of each.

    python month.py FOLDER DAYS RECORDS FETCHES

Of each day's records 1 % come late and 0.1 % change, both spread over the later fetches. Prints the figures as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import closing
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from random import Random
from typing import NamedTuple

from cdr_assets.enablex.client import EnableX
from cdr_assets.landing.ingest import ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets_tests.benchmarks.records import records
from cdr_assets_tests.httpserver import answer, serving
from cdr_assets_tests.soak.truth import read_lines

FIRST_DAY = date(2026, 1, 1)
LATE_SHARE = 0.01
CHANGED_SHARE = 0.001


class Month(NamedTuple):
    """What the landing zone has after all fetches."""

    bytes: int
    blocks_bytes: int
    """Disk that its files take in whole blocks of the file system."""
    final_bytes: int
    """The same of one fetch of each day at the end."""
    final_blocks_bytes: int
    versions: int
    """Versions of records that were served."""
    lost: int
    """Versions that were served and are not in the landing zone."""
    repeated: int
    """Versions that are there more than once."""

    @property
    def ratio(self) -> float:
        """Its size to that of one final fetch."""
        return self.bytes / self.final_bytes


def fetch_month(folder: Path, days: int, records_a_day: int, fetches: int) -> Month:
    """Fetches each day so often, and once more into another landing zone."""
    zone, final = LandingZone(folder / "kept"), LandingZone(folder / "final")
    body = b""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        answer(body)(handler)

    served, landed = set[bytes](), Counter[bytes]()
    with serving(reply) as server, closing(EnableX("app", "key", server.url)) as client:
        for day in (FIRST_DAY + timedelta(days=number) for number in range(days)):
            for lines in answers(day, records_a_day, fetches):
                body = b'{"result": "0", "cdr": [' + b", ".join(lines) + b"]}"
                ingest(zone, client.period(day, day), "period", [day])
                served.update(lines)
            ingest(final, client.period(day, day), "period", [day])
            landed.update(line for file in zone.files(day) for line in read_lines(file.path))
    lost, repeated = len(served - set(landed)), sum(count > 1 for count in landed.values())
    return Month(*_disk(zone), *_disk(final), len(served), lost, repeated)


def answers(day: date, records_a_day: int, fetches: int) -> list[list[bytes]]:
    """The day's answers, one after the other, each in another order."""
    chance = Random(f"month {day}")
    newest = list(records(records_a_day, day.isoformat()))
    late = chance.sample(range(records_a_day), round(records_a_day * LATE_SHARE))
    first_fetch = {number: chance.randrange(1, fetches) for number in late}
    changing = chance.sample(range(records_a_day), max(round(records_a_day * CHANGED_SHARE), 1))
    changes = {number: chance.randrange(1, fetches) for number in changing}
    found = []
    for fetch in range(fetches):
        for number, when in changes.items():
            if when == fetch:
                newest[number] = {**newest[number], "usage": {"subscribed_minutes": fetch, "published_minutes": 1}}
        lines = [json.dumps(each).encode() for number, each in enumerate(newest) if first_fetch.get(number, 0) <= fetch]
        chance.shuffle(lines)
        found.append(lines)
    return found


def _disk(zone: LandingZone) -> tuple[int, int]:
    found = [path.stat() for path in zone.landing.glob("usage_date=*/*")]
    return sum(each.st_size for each in found), sum(each.st_blocks * 512 for each in found)


def main() -> None:
    folder, *sizes = sys.argv[1:]
    month = fetch_month(Path(folder), *map(int, sizes))
    assert not month.lost, f"{month.lost} versions are not in the landing zone"
    print(json.dumps({"value": month.ratio, **month._asdict()}))


if __name__ == "__main__":
    main()
