from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import zstandard

from cdr_assets.enablex.records import Batch, Lines, Quarantined
from cdr_assets.landing.ingest import Change, IngestResult, ingest
from cdr_assets.landing.zone import LandingZone
from cdr_assets_tests.reference import Record, utc_day

DAY = date(2026, 11, 2)
NEXT = DAY + timedelta(days=1)


def record(cdr_id: str, day: date = DAY, **fields: object) -> Record:
    return {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00.000Z", **fields}


def batches(*records: Record, quarantined: tuple[Quarantined, ...] = ()) -> Iterator[Batch]:
    days = defaultdict(list)
    for each in records:
        days[utc_day(each)].append(json.dumps(each).encode() + b"\n")
    yield Batch({day: Lines(len(lines), b"".join(lines)) for day, lines in days.items()}, list(quarantined))


def answer(
    zone: LandingZone, *records: Record, replace: bool = False, quarantined: tuple[Quarantined, ...] = ()
) -> IngestResult:
    return ingest(
        zone, lambda receive: receive(batches(*records, quarantined=quarantined)), "period", [DAY], replace=replace
    )


def landed(zone: LandingZone, day: date = DAY) -> dict[str, Record]:
    """The newest version of each record that the zone holds for the day."""
    versions = {}
    for file in zone.files(day):
        with zstandard.open(file, "rt") as lines:
            versions.update({each["cdr_id"]: each for each in map(json.loads, lines)})
    return versions


def everything(zone: LandingZone) -> list[Path]:
    return [path for path in zone.landing.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    return LandingZone(tmp_path)


def test_an_answer_lands_under_the_days_of_its_records(zone: LandingZone) -> None:
    intake = answer(zone, record("a"), record("b", NEXT))
    assert intake.changes == {DAY: Change(new=1), NEXT: Change(new=1)}
    assert (list(landed(zone)), list(landed(zone, NEXT))) == (["a"], ["b"])
    assert {file.parent.name for file in everything(zone)} == {"usage_date=2026-11-02", "usage_date=2026-11-03"}


def test_an_empty_answer_lands_too(zone: LandingZone) -> None:
    assert zone.files(DAY) == []
    assert answer(zone).changes == {DAY: Change()}
    assert len(zone.files(DAY)) == 1
    assert landed(zone) == {}


def test_the_same_answer_again_changes_nothing(zone: LandingZone) -> None:
    answer(zone, record("a"), record("b", NEXT))
    before = everything(zone)
    assert answer(zone, record("a"), record("b", NEXT)).changes == {DAY: Change(), NEXT: Change()}
    assert everything(zone) == before


def test_newer_versions_win_and_files_that_a_newer_one_covers_go(zone: LandingZone) -> None:
    answer(zone, record("a", name="old"), record("b"))
    intake = answer(zone, record("c"), record("b"), record("a", name="new"))
    assert intake.changes == {DAY: Change(new=1, changed=1)}
    assert landed(zone) == {each["cdr_id"]: each for each in (record("a", name="new"), record("b"), record("c"))}
    assert len(zone.files(DAY)) == 1


def test_what_a_newer_answer_lacks_stays_and_is_counted(zone: LandingZone) -> None:
    answer(zone, record("a"), record("b"))
    assert answer(zone).changes == {DAY: Change(vanished=2)}
    assert answer(zone, record("c")).changes == {DAY: Change(new=1, vanished=2)}
    assert answer(zone, record("c", name="new")).changes == {DAY: Change(changed=1, vanished=2)}
    assert sorted(landed(zone)) == ["a", "b", "c"]
    assert len(zone.files(DAY)) == 2


def test_records_that_spilled_are_never_counted_as_vanished_by_their_neighbour(zone: LandingZone) -> None:
    answer(zone, record("a", NEXT), record("b", NEXT))
    assert answer(zone, record("a", NEXT)).changes[NEXT] == Change()


def test_records_that_spilled_into_a_day_are_not_missed_in_its_own_answer(zone: LandingZone) -> None:
    ingest(zone, lambda receive: receive(batches(record("a", NEXT), record("spilled"))), "period", [NEXT])
    assert answer(zone, record("b")).changes[DAY] == Change(new=1)
    assert answer(zone).changes[DAY] == Change(vanished=1)
    assert sorted(landed(zone)) == ["b", "spilled"]


def test_replace_drops_what_the_answer_lacks_on_the_day_that_was_asked_for(zone: LandingZone) -> None:
    answer(zone, record("a"), record("b", NEXT))
    answer(zone, record("c"), replace=True)
    assert (list(landed(zone)), list(landed(zone, NEXT))) == (["c"], ["b"])
    answer(zone, replace=True)
    assert landed(zone) == {}
    assert len(zone.files(DAY)) == 1


def test_a_clock_that_went_back_does_not_make_a_newer_answer_old(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(zone, record("a", name="old"))
    (file,) = zone.files(DAY)
    file.rename(file.with_name("2999" + file.name[4:]))
    answer(zone, record("a", name="new"), record("b"))
    assert landed(zone)["a"]["name"] == "new"


def test_what_was_set_aside_is_kept_with_its_reason_once(zone: LandingZone) -> None:
    bad = (Quarantined(b'{"cdr_id":\n1}', "no trans_date", None), Quarantined(b"[1]", "not an object", DAY))
    for _ in range(2):
        intake = answer(zone, record("a"), quarantined=bad)
        assert intake.quarantined == {None: 1, DAY: 1}
    unknown, dated = sorted(zone.quarantine.rglob("*.txt"), key=lambda path: path.parent.name, reverse=True)
    assert (unknown.parent.name, dated.parent.name) == ("usage_date=unknown", "usage_date=2026-11-02")
    assert unknown.read_bytes() == b'reason: no trans_date\nrecord: {"cdr_id":\n1}\n\n'
    assert sorted(intake.quarantine) == sorted([unknown, dated])


def test_an_answer_that_fails_leaves_nothing(zone: LandingZone) -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(record("a"))
        raise ConnectionError("broke off")

    with pytest.raises(ConnectionError):
        ingest(zone, lambda receive: receive(broken()), "period", [DAY])
    assert everything(zone) == []


def test_another_try_begins_afresh(zone: LandingZone) -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(record("a"), record("b", NEXT))
        raise ConnectionError("broke off")

    def twice(receive: object) -> None:
        with pytest.raises(ConnectionError):
            receive(broken())
        receive(batches(record("c")))

    assert ingest(zone, twice, "period", [DAY]).changes == {DAY: Change(new=1)}
    assert list(landed(zone)) == ["c"]
    assert zone.files(NEXT) == []


def test_files_are_their_owners_alone(zone: LandingZone) -> None:
    answer(zone, record("a"), quarantined=(Quarantined(b"1", "not an object", None),))
    paths = [path for root in (zone.landing, zone.quarantine) for path in (root, *root.rglob("*"))]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}


def test_more_days_than_files_may_be_open_at_once(zone: LandingZone) -> None:
    days = [DAY + timedelta(days=number) for number in range(200)]
    records = [record(f"{day}-{number}", day) for number in range(2) for day in days]
    ingest(zone, lambda receive: receive(batches(*records)), "room")
    assert [sorted(landed(zone, day)) for day in days] == [[f"{day}-0", f"{day}-1"] for day in days]


def receive_and_wait(folder: Path, started: Connection) -> None:
    def endless() -> Iterator[Batch]:
        yield from batches(record("a"))
        started.send("written")
        signal.pause()

    ingest(LandingZone(folder), lambda receive: receive(endless()), "period", [DAY])


def test_a_killed_run_leaves_a_temporary_folder_that_the_next_run_removes(zone: LandingZone, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    hears, started = context.Pipe(duplex=False)
    writer = context.Process(target=receive_and_wait, args=(tmp_path, started))
    writer.start()
    assert hears.recv() == "written"
    (left,) = zone.landing.glob(".staging-*/")

    answer(zone, record("b"))
    assert left.exists(), "a living writer's folder is not touched"

    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert left.exists()
    assert list(landed(zone)) == ["b"]
    answer(zone, record("b"))
    assert not left.exists()
    assert everything(zone) == zone.files(DAY)
