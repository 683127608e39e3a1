"""Days of made-up records, as EnableX would answer them; the same ones every time.

    python records.py FOLDER COUNT DAY [DAY ...] [--lines]

Writes FOLDER/DAY.json for each day, the answer of the period route, and with --lines FOLDER/DAY.ndjson, one record per
line. A script that needs nothing but Python, so that what it takes of memory is not the benchmark's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

ROOMS = 2_000
USERS = 20_000
CONNECTIONS_A_CONFERENCE = 6
LAST_START_MS = 20 * 3_600_000
LATEST_MS = 1_800_000
LONGEST_MS = 5_400_000
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)


def records(count: int, day: str) -> Iterator[dict[str, Any]]:
    """Records of one day in the shape of the specification, about 1,040 bytes each.

    A conference has its room and its start; some six people join it within half an hour of that and stay for up to
    90 minutes. Records come in no order.
    """
    chance = Random(f"{day} {count}")
    midnight = datetime.fromisoformat(day)
    conferences = max(count // CONNECTIONS_A_CONFERENCE, 1)
    number_of_day = midnight.toordinal()
    rooms = [f"{Random(number).getrandbits(96):024x}" for number in range(ROOMS)]

    def written(milliseconds: int) -> str:
        return (midnight + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + "Z"

    for number in range(count):
        conference = chance.randrange(conferences)
        # Few rooms are busy, and many are hardly used.
        room = rooms[int(ROOMS * (conference / conferences) ** 2)]
        begins = conference * 7_919_000 % LAST_START_MS
        joined = begins + chance.randrange(LATEST_MS)
        stayed = chance.randrange(1_000, LONGEST_MS)
        left = joined + stayed
        user = chance.randrange(USERS)
        seconds = stayed / 1_000
        connected, disconnected = written(joined), written(left)
        identity = chance.getrandbits(384)
        yield {
            "trans_date": disconnected,
            "conf_num": f"{number_of_day:08x}{conference:016x}",
            "call_num": f"{identity & (1 << 96) - 1:024x}",
            "call_log_id": f"{identity >> 96 & (1 << 96) - 1:024x}",
            "room": {
                "room_id": room,
                "connect_dt": connected,
                "disconnect_dt": disconnected,
                "duration": seconds,
            },
            "user": {
                "ip": f"192.0.2.{user % 254 + 1}",
                "name": f"Participant {user}",
                "role": "participant",
                "ref": f"user-{user:05d}",
                "agent": AGENT,
                "token": f"{identity >> 192 & (1 << 96) - 1:024x}",
                "confName": "Weekly meeting",
            },
            "sigserver": {
                "connect_dt": connected,
                "ip": "198.51.100.7",
                "disconnect_dt": disconnected,
                "duration": seconds,
                "hold_duration": 0.0,
            },
            "published_track": {"audio": "true", "data": "true", "video": "true", "screen": "false", "url": "false"},
            "usage": {"subscribed_minutes": round(seconds / 60, 3), "published_minutes": round(seconds / 90, 3)},
            "app_id": "5f8d0a1b2c3d4e5f60718293",
            "cdr_id": f"{number:08x}{identity >> 320:016x}",
        }


def write(folder: Path, count: int, day: str, lines: bool) -> None:
    """Writes one day: the answer, and the same records as lines."""
    with ExitStack() as stack:
        answer = stack.enter_context((folder / f"{day}.json").open("w"))
        each = stack.enter_context((folder / f"{day}.ndjson").open("w")) if lines else None
        answer.write('{"result": "0", "cdr": [')
        for number, record in enumerate(records(count, day)):
            text = json.dumps(record)
            answer.write(f"{', ' if number else ''}{text}")
            if each:
                each.write(f"{text}\n")
        answer.write("]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("days", nargs="+")
    parser.add_argument("--lines", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for day in given.days:
        write(given.folder, given.count, day, given.lines)


if __name__ == "__main__":
    main()
