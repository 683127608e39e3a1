"""Many processes that run days on one data folder, and a reader that looks at everything meanwhile.

Every answer for a day has the same records with one length for all of them, which grows by a minute from answer to
answer. So whoever sees two lengths on one day sees parts of two answers.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from random import Random

import duckdb

from cdr_assets.data_folder import DataFolder
from cdr_assets.days import DAY, days_between
from cdr_assets_tests.reference import Record
from cdr_assets_tests.soak import truth
from cdr_assets_tests.soak.processes import Action, Child, Difference, Place, run_action
from cdr_assets_tests.soak.world import APP_ID, Answer, serving

RECORDS_A_DAY = 24
ROOMS = 3
CONFERENCES = 2
JITTER_S = 0.5
"""How much later than another a request may reach the server for reasons of the machine."""


class Growing:
    """An EnableX whose answers for a day all differ."""

    def __init__(self, days: list[date]) -> None:
        self.days = days
        self.answers: list[Answer] = []
        self.minutes = Counter[date]()
        """The length of the day's records in its newest answer."""

    def records_for(self, path: str, number: int) -> list[Record]:
        day = date.fromisoformat(path.rpartition("/")[2])
        self.minutes[day] += 1
        return [self._record(day, each, number) for each in range(RECORDS_A_DAY)]

    def _record(self, day: date, number: int, answer: int) -> Record:
        connect = datetime(day.year, day.month, day.day) + timedelta(minutes=number)
        disconnect = connect + timedelta(minutes=self.minutes[day])
        return {
            "trans_date": f"{day}T23:59:00Z",
            "conf_num": f"{day}-c{number % CONFERENCES}",
            "call_num": str(answer),
            "room": {
                "room_id": f"r{number % ROOMS}",
                "connect_dt": f"{connect.isoformat()}Z",
                "disconnect_dt": f"{disconnect.isoformat()}Z",
                "duration": self.minutes[day] * 60,
            },
            "user": {"name": f"Participant {number}"},
            "app_id": APP_ID,
            "cdr_id": f"{day}-{number:03d}",
        }


@dataclass
class Writers:
    """The state of one such soak."""

    folder: Path
    seed: int
    writers: int = 16
    days: int = 4
    say: Callable[[str], None] = print
    runs: int = 0
    """How many runs the writers did, without the last one."""
    reads: Counter[str] = field(default_factory=Counter)
    """How often the reader read what."""

    def run(self, seconds: float, requests_per_minute: int | None = None) -> None:
        """Lets them work for so long. Raises Difference if a run fails, a read is torn, or the pace is not kept."""
        today = datetime.now(timezone.utc).date()
        world = Growing(days_between(today - DAY * self.days, today - DAY))
        with serving(world) as url:
            environment = {
                "ENABLEX_BASE_URL": url,
                "ENABLEX_APP_ID": "app-id",
                "ENABLEX_APP_KEY": "a-key-that-nobody-may-read",
                "CDR_START_DATE": str(world.days[0]),
                "CDR_AGREEMENT_SAMPLE": "0",
            }
            if requests_per_minute:
                environment["CDR_REQUESTS_PER_MINUTE"] = str(requests_per_minute)
            place = Place(environment, self.folder / "data")
            counts, stop = self.folder / "reads.json", self.folder / "stop"
            reader = Child(self.folder / "reader.log", read, place.data_dir, stop, counts)
            writers = [
                Child(self.folder / f"writer-{number}.log", write, place, world.days, self.seed + number, seconds)
                for number in range(self.writers)
            ]
            try:
                for number, writer in enumerate(writers):
                    writer.finish(f"writer {number}")
                stop.touch()
                reader.finish("the reader")
            finally:
                for child in (*writers, reader):
                    child.kill()
            self.runs, self.reads = len(world.answers), Counter(json.loads(counts.read_text()))
            self.say(f"{self.writers} writers did {self.runs} runs; the reader read {dict(self.reads)}")
            if requests_per_minute:
                check_pace([answer.arrived for answer in world.answers], requests_per_minute)
            last = Action("daily_cdr", world.days[0], world.days[-1])
            Child(self.folder / "last.log", run_action, place, last).finish("the last run")
        self._look_at_everything(world)

    def _look_at_everything(self, world: Growing) -> None:
        data = DataFolder(self.folder / "data")
        served, newest = truth.Lines(), list[Record]()
        for answer in world.answers:
            for day, lines in answer.lines.items():
                served.setdefault(day, Counter()).update(lines)
        for day in world.days:
            last = [answer for answer in world.answers if day in answer.lines][-1]
            newest += map(json.loads, last.lines[day])
        truth.check_landing_zone(truth.landed_lines(data.root), served, served)
        truth.check_tables(data.warehouse, newest)
        truth.check_exports(data.warehouse, data.exports)
        truth.check_leftovers(data.root)


def write(place: Place, days: list[date], seed: int, seconds: float) -> None:
    """Runs random days, one after the other, for so long."""
    chance = Random(seed)
    with place.location() as location:
        until = time.monotonic() + seconds
        while True:
            day = chance.choice(days)
            if not Action("daily_cdr", day).run(location):
                raise Difference(f"a run of {day} failed")
            if time.monotonic() > until:
                return


def read(data_dir: Path, stop: Path, counts: Path) -> None:
    """Reads the exports and the warehouse until the file `stop` is there, and writes to `counts` how often.

    Raises Difference at the first torn read.
    """
    data, reads = DataFolder(data_dir), Counter[str]()
    while not stop.exists():
        for table in ("room_usage", "conference_usage"):
            for file in (data.exports / table).glob("*.parquet"):
                with duckdb.connect() as connection:
                    _check_day(connection, str(file), f"read_parquet('{file}')")
                reads[table] += 1
        # A moment only, since a reader holds up the writers; and not at all while a writer has it.
        with suppress(duckdb.IOException), duckdb.connect(data.warehouse, read_only=True) as connection:
            for table in truth.table_names(connection):
                if table in ("room_usage", "conference_usage"):
                    _check_day(connection, table, table)
                elif table == "call_detail_records":
                    _check_records(connection)
            reads["warehouse"] += 1
        time.sleep(0.05)
    counts.write_text(json.dumps(reads))


def _check_day(connection: duckdb.DuckDBPyConnection, name: str, source: str) -> None:
    query = f"""
        SELECT usage_date, sum(connections), min(minutes), max(minutes)
        FROM (SELECT *, participant_minutes / connections AS minutes FROM {source}) GROUP BY usage_date
    """
    _expect_whole(name, truth.rows(connection, query))


def _check_records(connection: duckdb.DuckDBPyConnection) -> None:
    query = """
        SELECT usage_date, count(*), min(room_duration_s), max(room_duration_s)
        FROM call_detail_records GROUP BY usage_date
    """
    _expect_whole("call_detail_records", truth.rows(connection, query))


def _expect_whole(name: str, days: list[tuple[date, int, object, object]]) -> None:
    for day, records, shortest, longest in days:
        if records != RECORDS_A_DAY or shortest != longest:
            raise Difference(f"{name} on {day}: {records} records, of {shortest} to {longest}: parts of two answers")


def check_pace(arrivals: list[float], requests_per_minute: int) -> None:
    """Raises Difference if more requests came within any time than the pace allows."""
    arrivals = sorted(arrivals)
    for number, first in enumerate(arrivals):
        for count, arrived in enumerate(arrivals[number:], start=1):
            allowed = (arrived - first + JITTER_S) * requests_per_minute / 60 + 1
            if count > allowed:
                raise Difference(
                    f"{count} requests came within {arrived - first:.2f} s, at {requests_per_minute} a minute"
                )
