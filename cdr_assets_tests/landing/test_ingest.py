"""What an answer leaves in the landing zone: records by day, their versions, counts, and removed files."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import date, timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import zstandard

from cdr_assets.enablex.records import Batch, Lines, Quarantined
from cdr_assets.landing.ingest import Change, IngestResult, commit, ingest, staged_answer
from cdr_assets.landing.zone import LandingZone, OtherAccount
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.landing.places import Place, content_of, landed_names, name_in, put, remove
from cdr_assets_tests.reference import Record, utc_day
from cdr_assets_tests.soak.truth import read_lines

DAY = date(2026, 11, 2)
NEXT = DAY + timedelta(days=1)


def record(cdr_id: str, day: date = DAY, **fields: object) -> Record:
    return {"cdr_id": cdr_id, "trans_date": f"{day}T10:00:00.000Z", **fields}


def batches(*records: Record, quarantined: tuple[Quarantined, ...] = ()) -> Iterator[Batch]:
    days = defaultdict(list)
    for each in records:
        days[utc_day(each)].append(each)
    yield Batch(
        {
            day: Lines(
                [each["cdr_id"] for each in of_day], b"".join(json.dumps(each).encode() + b"\n" for each in of_day)
            )
            for day, of_day in days.items()
        },
        list(quarantined),
    )


def one(batches: Iterator[Batch]) -> list[AbstractContextManager[Iterator[Batch]]]:
    """A single attempt."""
    return [nullcontext(batches)]


def answer(
    zone: LandingZone, *records: Record, replace: bool = False, quarantined: tuple[Quarantined, ...] = ()
) -> IngestResult:
    return ingest(zone, one(batches(*records, quarantined=quarantined)), "period", [DAY], replace=replace)


def landed(zone: LandingZone, day: date = DAY) -> dict[str, Record]:
    """The newest version of each record that the zone holds for the day."""
    versions = {}
    for file in zone.files(day):
        versions.update({each["cdr_id"]: each for each in map(json.loads, read_lines(file.path))})
    return versions


def versions(zone: LandingZone, day: date = DAY) -> list[tuple[str, object]]:
    """Every landed record of the day with its name, in the order of their requests."""
    found = []
    for file in zone.files(day):
        found += [(each["cdr_id"], each.get("name")) for each in map(json.loads, read_lines(file.path))]
    return found


def test_an_answer_lands_under_the_days_of_its_records(zone: LandingZone) -> None:
    result = answer(zone, record("a"), record("b", NEXT))
    assert result.changes == {DAY: Change(new=1), NEXT: Change(new=1)}
    assert (list(landed(zone)), list(landed(zone, NEXT))) == (["a"], ["b"])
    assert {name.split("/")[1] for name in landed_names(zone)} == {"usage_date=2026-11-02", "usage_date=2026-11-03"}


def test_an_empty_answer_lands_too(zone: LandingZone) -> None:
    assert zone.files(DAY) == []
    assert answer(zone).changes == {DAY: Change()}
    assert len(zone.files(DAY)) == 1
    assert landed(zone) == {}


def test_the_same_answer_again_changes_nothing(zone: LandingZone) -> None:
    answer(zone, record("a"), record("b", NEXT))
    before = landed_names(zone)
    assert answer(zone, record("a"), record("b", NEXT)).changes == {DAY: Change(), NEXT: Change()}
    assert landed_names(zone) == before


def test_an_answer_lands_as_what_it_adds(zone: LandingZone) -> None:
    answer(zone, record("a", name="old"), record("b"))
    result = answer(zone, record("c"), record("b"), record("a", name="new"))
    assert result.changes == {DAY: Change(new=1, changed=1)}
    assert result.changes[DAY].landed == 3
    assert versions(zone) == [("a", "old"), ("b", None), ("c", None), ("a", "new")]


def test_what_a_newer_answer_lacks_stays_and_is_counted(zone: LandingZone) -> None:
    answer(zone, record("a"), record("b"))
    assert answer(zone).changes == {DAY: Change(vanished=2)}
    assert answer(zone, record("c")).changes == {DAY: Change(new=1, vanished=2)}
    assert answer(zone, record("c", name="new")).changes == {DAY: Change(changed=1, vanished=2)}
    assert sorted(landed(zone)) == ["a", "b", "c"]
    assert len(zone.files(DAY)) == 3


def test_records_that_spilled_are_never_counted_as_vanished_by_their_neighbour(zone: LandingZone) -> None:
    answer(zone, record("a", NEXT), record("b", NEXT))
    assert answer(zone, record("a", NEXT)).changes[NEXT] == Change()


def test_records_that_spilled_into_a_day_are_not_missed_in_its_own_answer(zone: LandingZone) -> None:
    ingest(zone, one(batches(record("a", NEXT), record("spilled"))), "period", [NEXT])
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
    put(zone, name_in(DAY, file.path.name.replace("-2", "-9", 1)), content_of(file))
    remove(zone, DAY, file)
    answer(zone, record("a", name="new"), record("b"))
    assert landed(zone)["a"]["name"] == "new"


def test_quarantined_records_are_kept_with_their_reason_once(zone: LandingZone) -> None:
    bad = (Quarantined(b'{"cdr_id":\n1}', "no trans_date", None), Quarantined(b"[1]", "not an object", DAY))
    for _ in range(2):
        result = answer(zone, record("a"), quarantined=bad)
        assert result.quarantined == {None: 1, DAY: 1}
    dated, unknown = (file.name for file in zone.storage.files("quarantine"))
    assert dated.startswith("quarantine/usage_date=2026-11-02/")
    assert unknown.startswith("quarantine/usage_date=unknown/")
    assert zone.storage.read(unknown) == 'reason: no trans_date\nrecord: {"cdr_id":\n1}\n\n'
    assert sorted(result.quarantine_files) == [dated, unknown]


def test_an_answer_that_fails_leaves_nothing(zone: LandingZone) -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(record("a"))
        raise ConnectionError("broke off")

    with pytest.raises(ConnectionError):
        ingest(zone, one(broken()), "period", [DAY])
    assert landed_names(zone) == []


def test_attempts_that_end_without_an_answer_are_no_empty_answer(zone: LandingZone) -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(record("a"))
        raise ConnectionError("broke off")

    @contextmanager
    def hiding() -> Iterator[Iterator[Batch]]:
        with suppress(ConnectionError):
            yield broken()

    for attempts in ([], [hiding()]):
        with pytest.raises(ValueError, match="without a whole answer"):
            ingest(zone, attempts, "period", [DAY])
    assert landed_names(zone) == []


def test_an_answer_without_a_list_of_records_lands_as_an_empty_day_that_says_so(zone: LandingZone) -> None:
    result = ingest(zone, one(iter([Batch(has_no_list=True)])), "period", [DAY])
    assert (result.has_no_list, result.changes, result.records) == (True, {DAY: Change()}, {})
    assert len(zone.files(DAY)) == 1
    assert not answer(zone).has_no_list


def test_a_staged_answer_can_be_read_before_it_is_committed(zone: LandingZone) -> None:
    answer(zone, record("a"))
    with staged_answer(zone, one(batches(record("a", name="new"), record("b", NEXT))), "conf") as staged:
        assert staged.records == {DAY: 1, NEXT: 1}
        with zstandard.open(staged.records_file(DAY), "rt") as lines:
            assert json.loads(lines.read()) == record("a", name="new")
        assert landed(zone) == {"a": record("a")}
        assert commit(zone, staged).changes == {DAY: Change(changed=1), NEXT: Change(new=1)}
    assert landed(zone) == {"a": record("a", name="new")}
    with staged_answer(zone, one(batches(record("c"))), "conf"):
        pass
    assert list(landed(zone)) == ["a"]
    assert not list(zone.storage.scratch.glob(".staging-*/"))


def test_another_attempt_begins_again(zone: LandingZone) -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(record("a"), record("b", NEXT), quarantined=bad)
        raise ConnectionError("broke off")

    bad = (Quarantined(b"[1]", "not an object", DAY),)

    @contextmanager
    def first() -> Iterator[Iterator[Batch]]:
        with pytest.raises(ConnectionError):
            yield broken()

    attempts = [first(), *one(batches(record("c"), quarantined=bad))]
    result = ingest(zone, attempts, "period", [DAY])
    assert (result.changes, result.quarantined) == ({DAY: Change(new=1)}, {DAY: 1})
    assert list(landed(zone)) == ["c"]
    assert zone.files(NEXT) == []


def test_files_can_be_read_by_their_owner_alone(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path)
    answer(zone, record("a"), quarantined=(Quarantined(b"1", "not an object", None),))
    zone.claim("app-1")
    paths = list(tmp_path.rglob("*"))
    assert {path.name for path in paths} > {"account", "landing", "quarantine"}
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}


def test_more_days_than_files_may_be_open_at_once(zone: LandingZone) -> None:
    days = [DAY + timedelta(days=number) for number in range(200)]
    records = [record(f"{day}-{number}", day) for number in range(2) for day in days]
    ingest(zone, one(batches(*records)), "room")
    assert [sorted(landed(zone, day)) for day in days] == [[f"{day}-0", f"{day}-1"] for day in days]


def write_and_wait(place: Place, started: Connection) -> None:
    def endless() -> Iterator[Batch]:
        yield from batches(record("a"))
        started.send("written")
        signal.pause()

    ingest(place.zone(), one(endless()), "period", [DAY])


def test_a_killed_run_leaves_a_temporary_folder_that_the_next_run_removes(zone: LandingZone, place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    hears, started = context.Pipe(duplex=False)
    writer = context.Process(target=write_and_wait, args=(place, started))
    writer.start()
    assert hears.recv() == "written"
    (left,) = zone.storage.scratch.glob(".staging-*/")

    answer(zone, record("b"))
    assert left.exists(), "a living writer's folder is not touched"

    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert left.exists()
    assert list(landed(zone)) == ["b"]
    answer(zone, record("b"))
    assert not left.exists()
    assert landed_names(zone) == [name_in(DAY, file.path.name) for file in zone.files(DAY)]


# One account per data folder


def test_a_landing_zone_belongs_to_the_first_account_that_fetches_into_it(zone: LandingZone) -> None:
    zone.claim("app-1")
    zone.claim(" app-1\n")
    with pytest.raises(OtherAccount) as caught:
        zone.claim("app-2")
    assert caught.value.permanent
    account = zone.storage.place("account")
    assert f"{account.removesuffix('/account')} belongs to another" in str(caught.value)
    assert f"delete {account}:" in str(caught.value)
    assert "app-1" not in str(caught.value)
    assert zone.storage.read("account") == "app-1\n"


def test_a_landing_zone_is_adopted_by_deleting_its_account_file(zone: LandingZone) -> None:
    zone.claim("app-1")
    zone.storage.delete("account")
    zone.claim("app-2")
    with pytest.raises(OtherAccount):
        zone.claim("app-1")


def test_a_note_of_the_account_that_nobody_can_read_is_that_of_another_account(zone: LandingZone) -> None:
    put(zone, "account", b"\xff")
    with pytest.raises(OtherAccount):
        zone.claim("app-1")


def test_no_app_id_claims_nothing(zone: LandingZone) -> None:
    zone.claim(" ")
    assert zone.storage.read("account") is None


ROUNDS = 20


def in_round(place: Place, number: int) -> LandingZone:
    return Place(place.data_dir / str(number), place.url and f"{place.url}/{number}", place.postgres).zone()


def claim_in_rounds(place: Place, app_id: str, together: Barrier, claimed: Connection) -> None:
    for number in range(ROUNDS):
        together.wait(timeout=PATIENCE_S)
        with suppress(OtherAccount):
            in_round(place, number).claim(app_id)
            claimed.send(number)
    claimed.close()


def test_of_accounts_that_claim_a_landing_zone_at_once_one_gets_it(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    owners = defaultdict(list)
    claimers = {}
    for app_id in ("app-0", "app-1", "app-2"):
        hears, sends = context.Pipe(duplex=False)
        claimer = context.Process(target=claim_in_rounds, args=(place, app_id, together, sends))
        claimer.start()
        claimers[app_id] = claimer, hears
        sends.close()
    for app_id, (claimer, hears) in claimers.items():
        with suppress(EOFError):
            while True:
                owners[hears.recv()].append(app_id)
        claimer.join()
    noted = {number: [(in_round(place, number).storage.read("account") or "").strip()] for number in range(ROUNDS)}
    assert owners == noted
