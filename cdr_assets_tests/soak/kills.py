"""Kills at random moments over every kind of run, then the sensors alone; then everything must be right."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import NamedTuple

import dagster as dg
from dagster._core.test_utils import freeze_time

from cdr_assets import instance
from cdr_assets.data_folder import DataFolder
from cdr_assets.days import DAY, days_between
from cdr_assets_tests.location import Location
from cdr_assets_tests.reference import utc_day
from cdr_assets_tests.soak import truth
from cdr_assets_tests.soak.processes import Action, Child, Difference, Place, run_action
from cdr_assets_tests.soak.world import Answer, World, serving
from cdr_assets_tests.ticks import launch, tick

SENSORS = ("closed_days", "settling_days", "landed_days")
KINDS = {"day": 3, "range": 4, "room": 2, "room-period": 3, "conference": 3, "rebuild": 3, "replace": 1}
"""The kinds of run, and how often each comes."""

IN_STEP_SHARE = 0.8
"""The share of kills whose moment is counted from the start of the run's step: before that, nothing can go wrong."""

LATELY_SHARE = 0.8
"""The share of runs that are about a record that changed lately."""

MOST_TICKS = 60
POLL_S = 0.002
A_DAY_LATER = timedelta(hours=25)
"""By then no day that failed has to wait any more."""


class Typical(NamedTuple):
    """Seconds that a run of a kind takes: as a whole, and its step alone."""

    whole_s: float
    step_s: float


class Moment(NamedTuple):
    """When a run is killed: a fraction, 0 to 1, of its typical time, from its start or from that of its step."""

    in_step: bool
    fraction: float

    def seconds(self, typical: Typical) -> float:
        return self.fraction * (typical.step_s if self.in_step else typical.whole_s)


@dataclass
class Kills:
    """The state of one soak. The same seed gives the same records, changes, kinds and fractions."""

    folder: Path
    seed: int
    days: int = 6
    records_a_day: int = 30
    say: Callable[[str], None] = print
    kills: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How many runs of each kind were killed."""
    moments: Counter[str] = field(default_factory=Counter)
    """What the runs that were killed had got from EnableX."""
    steps: int = 0

    def __post_init__(self) -> None:
        today = datetime.now(timezone.utc).date()
        self._days = days_between(today - DAY * self.days, today - DAY)
        self._random = Random(f"kills {self.seed}")
        self._world = World(self.seed, self._days, self.records_a_day)
        self._typical: dict[str, Typical] = {}
        self._required: dict[date, set[bytes]] = {}
        self._now = datetime.now(timezone.utc)
        self._log = self.folder / "said.log"

    def run(self, kills: int, kills_a_round: int) -> None:
        """Rounds of kills, each with a look at everything at its end. Raises Difference at the first difference."""
        with serving(self._world) as url:
            self._place = Place(
                {
                    "ENABLEX_BASE_URL": url,
                    "ENABLEX_APP_ID": "app-id",
                    "ENABLEX_APP_KEY": "a-key-that-nobody-may-read",
                    "CDR_START_DATE": str(self._days[0]),
                    "CDR_SETTLE_MINUTES": "0",
                    # The other days are as the runs left them.
                    "CDR_SETTLING_DAYS": "2",
                    "CDR_AGREEMENT_SAMPLE": "1",
                },
                self.folder / "data",
                self.folder / "home",
            )
            instance.prepare(self.folder / "home")
            self._step("range", Action("daily_cdr", self._days[0], self._days[-1]), None)
            if kills > kills_a_round:
                for kind in KINDS:
                    self._step(kind, self._action(kind), None)
            else:
                # A short soak has no time to learn how long each kind takes: half of the first range is near enough.
                whole, step = self._typical["range"]
                self._typical = dict.fromkeys(KINDS, Typical(whole / 2, step / 2))
            while self.kills < kills:
                until = min(self.kills + kills_a_round, kills)
                while self.kills < until:
                    self.say(f"{self.steps}: {'; '.join(self._world.change())}")
                    kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
                    moment = Moment(self._random.random() < IN_STEP_SHARE, self._random.random())
                    self._step(kind, self._action(kind), moment)
                self._heal()
                self._look_at_everything()
                self.say(f"all is right after {self.kills} kills")

    def _action(self, kind: str) -> Action:
        # Mostly about what has just changed: there, a kill can do harm.
        chance = self._random
        record = chance.choice(list(self._world.lately) if chance.random() < LATELY_SHARE else self._world.records)
        first, last = sorted([utc_day(record), chance.choice(self._days)])
        if kind == "day":
            return Action("daily_cdr", utc_day(record))
        if kind == "range":
            return Action("daily_cdr", first, last)
        if kind == "replace":
            return Action("daily_cdr", first, min(last, first + DAY), "cdr_by_day", {"replace": True})
        if kind == "rebuild":
            return Action("rebuild", first, last)
        if kind == "conference" and record["conf_num"]:
            return Action("fetch_conference", op="fetch_conference", config={"conf_num": record["conf_num"]})
        room = {"room_id": record["room"]["room_id"] or "r0"}
        if kind == "room-period":
            room |= {"from_date": str(first), "to_date": str(last)}
        return Action("fetch_room", op="fetch_room", config=room)

    def _step(self, kind: str, action: Action, moment: Moment | None) -> None:
        """One run, killed at the moment unless it ends before. Without a moment it shows how long its kind takes."""
        before, locks = len(self._world.answers), self._run_locks()
        began = in_step = time.monotonic()
        child = Child(self._log, run_action, self._place, action)
        try:
            if moment is None or moment.in_step:
                while self._run_locks() <= locks and not child.ends_within(POLL_S):
                    pass
                in_step = time.monotonic()
            if moment and not child.ends_within(moment.seconds(self._typical[kind])):
                child.kill()
        except BaseException:
            child.kill()
            raise
        if not child.was_killed:
            child.finish(f"{kind}: {action}")
        if moment is None:
            ended = time.monotonic()
            self._typical[kind] = Typical(ended - began, ended - in_step)
        answers = self._world.answers[before:]
        self._note(action, answers, child.was_killed)
        if child.was_killed:
            self.kills += 1
            self.kinds[kind] += 1
            sent = sum(answer.is_sent for answer in answers)
            self.moments["no answer" if not sent else "one answer" if sent == 1 else "several answers"] += 1
            truth.age_locks(self._place.data_dir)
        self.say(f"{self.steps}: {kind} {action.first or ''} {'killed' if child.was_killed else 'ended'}")
        self.steps += 1

    def _run_locks(self) -> set[Path]:
        return set(DataFolder(self._place.data_dir).run_locks.glob("*.lock"))

    def _note(self, action: Action, answers: list[Answer], was_killed: bool) -> None:
        """What must be in the landing zone from now on."""
        sent = [answer for answer in answers if answer.is_sent]
        if action.config and action.config.get("replace"):
            assert action.first
            for day in days_between(action.first, action.last or action.first):
                # Nothing is removed before the day's own answer is whole.
                for answer in sent:
                    if answer.path == f"/cdr/period/{day}/{day}":
                        self._required[day] = self._required.get(day, set()) & set(answer.lines.get(day, ()))
        if not was_killed:
            for answer in sent:
                for day, lines in answer.lines.items():
                    self._required.setdefault(day, set()).update(lines)

    def _heal(self) -> None:
        """What a service does when nobody looks at it: it fetches the next day, and the sensors ask for the rest."""
        before = len(self._world.answers)
        Child(self._log, run_action, self._place, Action("daily_cdr", self._days[-1])).finish("a run after the kills")
        self._now = max(self._now, datetime.now(timezone.utc)) + A_DAY_LATER
        Child(self._log, let_sensors_work, self._place, self._now).finish("the sensors")
        self._now += A_DAY_LATER
        self._note(Action("daily_cdr"), self._world.answers[before:], was_killed=False)

    def _look_at_everything(self) -> None:
        data = DataFolder(self._place.data_dir)
        landed = truth.landed_lines(data.root)
        served = truth.Lines()
        for answer in self._world.answers:
            for day, lines in answer.lines.items():
                served.setdefault(day, Counter()).update(lines)
        truth.check_landing_zone(landed, served, self._required)
        truth.check_tables(data.warehouse, truth.newest(landed))
        scratch = Place(self._place.environment, self.folder / "scratch")
        shutil.rmtree(scratch.data_dir, ignore_errors=True)
        shutil.copytree(data.landing, DataFolder(scratch.data_dir).landing)
        Child(self._log, build_from_nothing, scratch, min(landed), max(landed), self._now).finish(
            "the build from nothing"
        )
        truth.check_against_scratch(data.warehouse, DataFolder(scratch.data_dir).warehouse)
        truth.check_exports(data.warehouse, data.exports)
        truth.check_leftovers(data.root)


def let_sensors_work(place: Place, now: datetime) -> None:
    """Evaluates the sensors and launches what they request until they request nothing, at `now` and a day later."""
    with place.location() as location:
        until_quiet(location, SENSORS, now)
        until_quiet(location, SENSORS, now + A_DAY_LATER)


def build_from_nothing(place: Place, first: date, last: date, now: datetime) -> None:
    """Builds all tables of the days from what landed."""
    with place.location() as location:
        if not Action("rebuild", first, last).run(location):
            raise Difference("the rebuild failed")
        until_quiet(location, ["landed_days"], now)


def until_quiet(location: Location, sensors: Sequence[str], now: datetime) -> None:
    """Evaluates the sensors in turn and launches what they request, until they request nothing."""
    with freeze_time(now), dg.partition_loading_context(effective_dt=now):
        for _ in range(MOST_TICKS):
            launched = 0
            for sensor in sensors:
                for request in tick(location, sensor, now).run_requests or []:
                    launched += 1
                    if not launch(location, sensor, request, now).success:
                        raise Difference(f"a run that {sensor} requested failed: {dict(request.tags)}")
            if not launched:
                return
    raise Difference(f"{', '.join(sensors)} still request runs after {MOST_TICKS} ticks")
