"""An EnableX whose records change between answers, and that remembers what it served.

The same seed gives the same records and the same changes. Every version of a record has its own revision in the field
`call_num`, a number that only grows. So of two landed versions the one with the larger revision is the newer one, as
long as nothing changes while a run is under way.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Protocol

from cdr_assets.days import days_between, parse_day
from cdr_assets_tests.httpserver import on_a_thread
from cdr_assets_tests.reference import Record, utc_day

APP_ID = "5f8d0a1b2c3d4e5f60718293"
ROOMS = 5
PEOPLE = 12
LONGEST_PAUSE_S = 0.02
LATELY = 6
SPILL_SHARE = 0.1
"""The share of records that the answers for the neighbouring days hold too."""
REPEAT_SHARE = 0.02
"""The share of restated records whose former version comes in the same answer, before the newest one."""


@dataclass
class Answer:
    """One answer: the records as they were sent, by UTC day."""

    path: str
    arrived: float
    """When its request came, by the monotonic clock."""
    lines: dict[date, list[bytes]] = field(default_factory=dict)
    is_sent: bool = False
    """It was sent to its end. The client may still have been killed before it had read it."""


class Serves(Protocol):
    """What a server asks for its answers."""

    answers: list[Answer]

    def records_for(self, path: str, number: int) -> Sequence[Record]:
        """The records of the answer with this number. Raises KeyError for an unknown path."""


class World:
    """The records of some days, and how they change."""

    def __init__(self, seed: int, days: Sequence[date], records_a_day: int) -> None:
        self.days = days
        self.answers: list[Answer] = []
        self.lately: deque[Record] = deque(maxlen=LATELY)
        """The records that changed last, as they are now."""
        self._seed = seed
        self._random = Random(f"world {seed}")
        self._revision = 0
        self._records: dict[str, Record] = {}
        self._former: dict[str, Record] = {}
        self._gone: dict[str, Record] = {}
        for day in days:
            for _ in range(records_a_day):
                self._add(day)

    @property
    def records(self) -> list[Record]:
        """The records as they are now, those that vanished not included."""
        return list(self._records.values())

    def change(self) -> list[str]:
        """Some changes, in words. Call it only while no run is under way."""
        ways: dict[Callable[[], str], int] = {
            self._appear_late: 6,
            self._restate: 6,
            self._move: 5,
            self._vanish: 2,
            self._return: 1,
        }
        chosen = self._random.choices(list(ways), list(ways.values()), k=self._random.randint(1, 4))
        return [way() for way in chosen]

    def records_for(self, path: str, number: int) -> list[Record]:
        """The records of an answer, in no order."""
        chance = Random(f"{self._seed} {path} {number}")
        records = [each for each in self.records if matches(path, each)]
        former = [self._former[each["cdr_id"]] for each in records if each["cdr_id"] in self._former]
        chance.shuffle(records)
        # Before the newest version, and of the same day.
        return [each for each in former if chance.random() < REPEAT_SHARE] + records

    def _add(self, day: date) -> str:
        cdr_id = f"{len(self._records) + len(self._gone):04d}-{self._random.getrandbits(48):012x}"
        self._records[cdr_id] = invented(self._random, day, cdr_id, self._next_revision(), 2 * len(self.days))
        self.lately.append(self._records[cdr_id])
        return cdr_id

    def _appear_late(self) -> str:
        day = self._random.choice(self.days)
        return f"{self._add(day)} appears late on {day}"

    def _restate(self) -> str:
        cdr_id = self._any(self._records)
        minutes = round(self._random.random() * 60, 3)
        self._former[cdr_id] = self._records[cdr_id]
        self._replace(cdr_id, usage={"subscribed_minutes": minutes, "published_minutes": 0.5})
        return f"{cdr_id} is restated"

    def _move(self) -> str:
        cdr_id = self._any(self._records)
        record = self._records[cdr_id]
        day = self._random.choice([day for day in self.days if day != utc_day(record)])
        self._former.pop(cdr_id, None)
        self._replace(cdr_id, trans_date=f"{day}{record['trans_date'][10:]}")
        return f"{cdr_id} moves to {day}"

    def _vanish(self) -> str:
        cdr_id = self._any(self._records)
        self._gone[cdr_id] = self._records.pop(cdr_id)
        return f"{cdr_id} vanishes"

    def _return(self) -> str:
        if not self._gone:
            return "nothing returns"
        cdr_id = self._any(self._gone)
        self._records[cdr_id] = self._gone.pop(cdr_id)
        return f"{cdr_id} returns"

    def _any(self, records: dict[str, Record]) -> str:
        return self._random.choice(sorted(records))

    def _replace(self, cdr_id: str, **fields: Any) -> None:
        self._records[cdr_id] = {**self._records[cdr_id], "call_num": self._next_revision(), **fields}
        self.lately.append(self._records[cdr_id])

    def _next_revision(self) -> str:
        self._revision += 1
        return str(self._revision)


def invented(chance: Random, day: date, cdr_id: str, call_num: str, conferences: int) -> Record:
    """A record of the UTC day, in one of some rooms and of so many conferences; a few are in none."""
    connect = datetime(day.year, day.month, day.day) + timedelta(seconds=chance.randrange(80_000))
    stayed = timedelta(milliseconds=chance.randrange(1_000, 5_000_000))
    return {
        "trans_date": _written(min(connect + stayed, _last_moment(day))),
        "conf_num": f"c{chance.randrange(conferences)}" if chance.random() < 0.95 else "",
        "call_num": call_num,
        "room": {
            "room_id": f"r{chance.randrange(ROOMS)}" if chance.random() < 0.95 else None,
            "connect_dt": _written(connect),
            "disconnect_dt": _written(connect + stayed),
            "duration": stayed.total_seconds(),
        },
        "user": {"name": f"Participant {chance.randrange(PEOPLE)}", "confName": "Weekly meeting"},
        "usage": {"subscribed_minutes": round(chance.random() * 60, 3), "published_minutes": 0.25},
        "app_id": APP_ID,
        "cdr_id": cdr_id,
    }


def revision(record: Record) -> int:
    """Which of a record's versions this is; the newest has the largest."""
    return int(record["call_num"])


def matches(path: str, record: Record) -> bool:
    """Whether the record is in the answer of the route. A period's answer has some of the neighbouring days too."""
    day, room = utc_day(record), record["room"]["room_id"]
    route, *words = path.strip("/").split("/")[1:]
    if route == "period":
        first, last = (parse_day("day", word) for word in words)
        spill = timedelta(days=_spills(record))
        return first - spill <= day <= last + spill
    if route == "room-period":
        first, last = (parse_day("day", word) for word in words[1:])
        return room == words[0] and day in days_between(first, last)
    return bool({"room": room, "conf": record["conf_num"]}[route] == words[0])


def _spills(record: Record) -> bool:
    return Random(record["cdr_id"]).random() < SPILL_SHARE


def _written(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds") + "Z"


def _last_moment(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 59, 59)


@contextmanager
def serving(world: Serves) -> Iterator[str]:
    """The URL of a server of the world's answers. Each answer comes in two parts, with a short pause in between."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            arrived = time.monotonic()
            with lock:
                number = len(world.answers)
                answer = Answer(self.path, arrived)
                world.answers.append(answer)
                records = world.records_for(self.path, number)
            texts = [json.dumps(record, separators=(",", ":")).encode() for record in records]
            for record, text in zip(records, texts, strict=True):
                answer.lines.setdefault(utc_day(record), []).append(text)
            body = b'{"result":"0","cdr":[' + b",".join(texts) + b"]}"
            half = len(body) // 2
            # The client may have been killed.
            with suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:half])
                time.sleep(Random(number).uniform(0, LONGEST_PAUSE_S))
                self.wfile.write(body[half:])
                answer.is_sent = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass  # A killed client resets its connections.

    with Server(("127.0.0.1", 0), Handler) as http, on_a_thread(http):
        yield f"http://127.0.0.1:{http.server_port}"
