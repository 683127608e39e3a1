"""When a day was last asked for whole: what the landing zone notes of it, and what it answers without a note."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cdr_assets.days import midnight
from cdr_assets.landing.ingest import commit, ingest, staged_answer
from cdr_assets.landing.zone import LandingZone
from cdr_assets_tests.landing.places import Place, name_in, put
from cdr_assets_tests.landing.test_ingest import DAY, NEXT, batches, one, record
from cdr_assets_tests.reference import Record

NOON = midnight(DAY) + timedelta(hours=12)
HOUR = timedelta(hours=1)


class Hands:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def zone(place: Place, clock: Hands) -> LandingZone:
    return place.zone(clock)


def fetch(zone: LandingZone, *records: Record) -> None:
    ingest(zone, one(batches(*records)), "period", [DAY])


MARKER = name_in(DAY, ".asked")


def test_a_day_that_was_never_asked_for_says_so(zone: LandingZone) -> None:
    assert zone.asked(DAY) is None
    ingest(zone, one(batches(record("a"))), "conf")
    assert zone.files(DAY)
    assert zone.asked(DAY) is None


def test_the_time_of_the_request_is_noted_also_when_its_answer_brings_nothing(zone: LandingZone, clock: Hands) -> None:
    fetch(zone, record("a"))
    assert zone.asked(DAY) == NOON
    version = zone.version(DAY)
    clock.now = NOON + HOUR
    fetch(zone, record("a"))
    assert zone.version(DAY) == version
    assert zone.asked(DAY) == NOON + HOUR
    assert zone.asked(NEXT) is None


def test_the_time_is_that_of_sending_and_not_of_landing(zone: LandingZone, clock: Hands) -> None:
    with staged_answer(zone, one(batches(record("a"))), "period", [DAY]) as staged:
        assert zone.asked(DAY) is None
        clock.now += HOUR
        commit(zone, staged)
    assert zone.asked(DAY) == NOON


def test_an_answer_that_lands_late_leaves_the_note_of_a_later_request(zone: LandingZone, clock: Hands) -> None:
    with staged_answer(zone, one(batches(record("a"))), "period", [DAY]) as staged:
        clock.now += HOUR
        fetch(zone, record("a"), record("b"))
        commit(zone, staged)
    assert zone.asked(DAY) == NOON + HOUR


def test_after_a_clock_was_wrong_the_note_is_that_of_the_newest_request(zone: LandingZone, clock: Hands) -> None:
    clock.now = NOON + 8_760 * HOUR
    fetch(zone, record("a"))
    clock.now = NOON
    fetch(zone, record("a"))
    assert zone.asked(DAY) == NOON


@pytest.mark.parametrize("ahead", [HOUR, 60 * HOUR])
def test_a_time_of_asking_in_the_future_is_no_proof(zone: LandingZone, clock: Hands, ahead: timedelta) -> None:
    fetch(zone, record("a"))
    clock.now = NOON + HOUR + ahead
    fetch(zone, record("a"), record("b"))
    clock.now = NOON + HOUR
    assert zone.asked(DAY) == NOON
    assert zone.all_asked() == {DAY: NOON}
    clock.now = midnight(NEXT) + HOUR
    if ahead > 2 * HOUR:
        assert zone.asked(DAY) == NOON, "still in the future"
    fetch(zone, record("a"), record("b"))
    assert zone.asked(DAY) == clock.now
    assert [file.records for file in zone.files(DAY)] == [1, 1, 0], "the first answer since the day closed"


def test_an_answer_that_fails_notes_nothing(zone: LandingZone) -> None:
    with pytest.raises(ValueError, match="without a whole answer"):
        ingest(zone, [], "period", [DAY])
    assert zone.asked(DAY) is None


def test_an_answer_for_other_days_or_by_another_route_notes_nothing(zone: LandingZone, clock: Hands) -> None:
    fetch(zone, record("a"), record("spilled", NEXT))
    assert zone.asked(NEXT) is None
    clock.now += HOUR
    ingest(zone, one(batches(record("b"))), "room-period")
    assert zone.asked(DAY) == NOON


def remove(zone: LandingZone) -> None:
    zone.storage.delete(MARKER)


def spoil(zone: LandingZone) -> None:
    zone.storage.write(MARKER, "nonsense")


def overflow(zone: LandingZone) -> None:
    zone.storage.write(MARKER, "2 0001-01-01T00:00:00+14:00")


def break_text(zone: LandingZone) -> None:
    put(zone, MARKER, b"\xff\xff")


@pytest.mark.parametrize("lose", [remove, spoil, overflow, break_text])
def test_without_a_note_it_is_the_newest_file_of_an_answer_for_the_whole_day(
    zone: LandingZone, clock: Hands, lose: Callable[[LandingZone], None]
) -> None:
    fetch(zone, record("a"))
    clock.now += HOUR
    fetch(zone, record("a"), record("b"))
    clock.now += HOUR
    ingest(zone, one(batches(record("c"))), "conf")
    lose(zone)
    assert zone.asked(DAY) == NOON + HOUR
    assert zone.all_asked() == zone.all_asked(DAY, DAY) == {DAY: NOON + HOUR}
    assert zone.all_asked(NEXT, NEXT) == {}
    clock.now += HOUR
    fetch(zone, record("a"), record("b"))
    assert zone.asked(DAY) == NOON + 3 * HOUR


def test_without_a_note_a_closed_day_is_taken_to_have_been_asked_for_as_long_as_it_settled(
    zone: LandingZone, clock: Hands
) -> None:
    clock.now = landed = midnight(DAY) + 25 * HOUR
    fetch(zone, record("a"))
    remove(zone)
    clock.now += 9 * HOUR
    assert zone.asked(DAY) == clock.now
    clock.now += 400 * 24 * HOUR
    assert zone.asked(DAY) == landed + 32 * 24 * HOUR


def test_a_day_whose_folder_was_deleted_was_not_asked_for(zone: LandingZone) -> None:
    fetch(zone, record("a"))
    for file in zone.storage.files(f"landing/usage_date={DAY}"):
        zone.storage.delete(file.name)
    assert zone.asked(DAY) is None


def test_requests_go_on_from_the_noted_one_when_their_count_is_lost(zone: LandingZone) -> None:
    for _ in range(3):
        fetch(zone, record("a"))
    zone.storage.delete("landing/.requests")
    assert zone.next_request() == 4


@pytest.mark.parametrize("note", [b"00000000000000000001", b"99999999999999999999", b"\xff\xff", b""])
def test_requests_go_on_above_every_number_of_a_restored_zone(
    zone: LandingZone, place: Place, clock: Hands, note: bytes
) -> None:
    fetch(zone, record("a", name="old"))
    fetch(zone, record("a", name="newer"))
    fetch(zone, record("a", name="newer"))
    put(zone, "landing/.requests", note)
    restored = place.zone(clock)
    fetch(restored, record("a", name="newest"))
    assert [file.request for file in restored.files(DAY)] == [1, 2, 4]
    assert restored.next_request() == 5
    put(zone, f"landing/usage_date={DAY}/.loaded", b"7")
    assert place.zone(clock).next_request() == 8


def test_the_note_is_readable_by_its_owner_alone_and_the_version_of_the_day_is_without_it(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path)
    fetch(zone, record("a"))
    version = zone.version(DAY)
    assert (tmp_path / MARKER).stat().st_mode & 0o777 == 0o600
    remove(zone)
    assert zone.version(DAY) == version


def test_the_first_answer_since_the_day_closed_lands_also_when_it_brings_nothing(
    zone: LandingZone, clock: Hands
) -> None:
    fetch(zone, record("a"))
    files = []
    for clock.now in (NOON + HOUR, midnight(NEXT) + HOUR, midnight(NEXT) + 2 * HOUR):
        fetch(zone, record("a"))
        files.append([file.records for file in zone.files(DAY)])
    assert files == [[1], [1, 0], [1, 0]]
