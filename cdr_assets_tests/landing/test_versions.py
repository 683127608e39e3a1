"""The log of versions: what an answer adds to it, in which order, and how damage to it is noticed."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
from collections.abc import Iterator, Sequence
from datetime import date
from multiprocessing.connection import Connection
from random import Random
from threading import Barrier, Thread

import pytest
import zstandard

from cdr_assets.enablex.records import Batch, Lines
from cdr_assets.landing.files import LandedFile
from cdr_assets.landing.hashes import Hashes
from cdr_assets.landing.ingest import Change, IngestResult, commit, ingest, staged_answer
from cdr_assets.landing.zone import LandingZone
from cdr_assets_tests.landing.places import Place, content_of, name_in, overwrite, put, remove
from cdr_assets_tests.landing.test_ingest import DAY, NEXT, batches, one, record
from cdr_assets_tests.reference import Record
from cdr_assets_tests.soak.truth import read_lines

Log = list[tuple[str, str]]
"""Lines of a day in the order of their requests: id and text."""


def fetch(zone: LandingZone, *records: Record, route: str = "period", replace: bool = False) -> IngestResult:
    return ingest(zone, one(batches(*records)), route, [DAY] if route == "period" else [], replace)


def log(zone: LandingZone, day: date = DAY) -> Log:
    return [(json.loads(line)["cdr_id"], line.decode()) for file in zone.files(day) for line in read_lines(file.path)]


def history(of: Log) -> dict[str, list[str]]:
    """The versions of each record: a line with the same text as the one before it is none."""
    versions: dict[str, list[str]] = {}
    for cdr_id, text in of:
        known = versions.setdefault(cdr_id, [])
        if known[-1:] != [text]:
            known.append(text)
    return versions


# What lands


def test_a_later_answer_lands_a_small_file_or_none(zone: LandingZone) -> None:
    fetch(zone, *(record(str(number)) for number in range(100)))
    fetch(zone, *(record(str(number)) for number in reversed(range(100))))
    assert [file.records for file in zone.files(DAY)] == [100]
    fetch(zone, *(record(str(number), name="new" if number == 7 else None) for number in range(100)))
    fetch(zone, *(record(str(number), name="new" if number == 7 else None) for number in range(100)))
    assert [file.records for file in zone.files(DAY)] == [100, 100]


def test_any_change_of_bytes_is_a_version(zone: LandingZone) -> None:
    trans_date = record("a")["trans_date"]
    texts = [
        '{"cdr_id": "a", "trans_date": "%s", "n": 1}',
        '{"cdr_id": "a", "trans_date": "%s", "n": 1.0}',
        '{"trans_date": "%s", "cdr_id": "a", "n": 1.0}',
        '{"trans_date": "%s", "cdr_id": "a", "n": 1.0, "user": {"token": "t"}}',
        '{"cdr_id": "a", "trans_date": "%s", "n": 1}',
    ]
    lines = [text % trans_date for text in texts]
    for line in lines:
        result = ingest(zone, one(iter([Batch({DAY: Lines(["a"], line.encode() + b"\n")})])), "period", [DAY])
        assert result.changes[DAY].landed == 1
    assert history(log(zone)) == {"a": lines}


def test_the_last_of_several_versions_in_one_answer_is_the_newest(zone: LandingZone) -> None:
    old, new = record("a", name="old"), record("a", name="new")
    fetch(zone, old, record("b"))
    assert fetch(zone, new, record("b"), old).changes == {DAY: Change(changed=1)}
    assert [json.loads(text).get("name") for text in history(log(zone))["a"]] == ["old", "new", "old"]
    assert fetch(zone, record("b"), old, new).changes == {DAY: Change(changed=1)}
    assert [json.loads(text).get("name") for text in history(log(zone))["a"]] == ["old", "new", "old", "new"]
    assert fetch(zone, record("b"), new).changes == {DAY: Change()}


def test_a_record_that_only_other_routes_brought_is_missed_once_the_day_s_own_answer_had_it(zone: LandingZone) -> None:
    fetch(zone, record("a"))
    fetch(zone, record("b"), route="conf")
    assert fetch(zone, record("a")).changes == {DAY: Change()}
    assert fetch(zone, record("a"), record("b")).changes == {DAY: Change()}
    assert fetch(zone, record("a")).changes == {DAY: Change(vanished=1)}
    assert history(log(zone)).keys() == {"a", "b"}


def texts_of(model: dict[str, list[str]]) -> dict[str, str]:
    return {cdr_id: versions[-1] for cdr_id, versions in model.items()}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_answered_every_version_lands_and_the_counts_are_right(zone: LandingZone, seed: int) -> None:
    random = Random(seed)
    model: dict[str, list[str]] = {}
    answered: set[str] = set()
    for number in range(random.randint(2, 8)):
        covers = number == 0 or random.random() < 0.7
        ids = random.sample("abcdefghij", random.randint(0, 10))
        if random.random() < 0.4:
            ids += random.choices("abcdefghij", k=2)
        answer = [record(cdr_id, name=random.choice([None, "x", "y"])) for cdr_id in ids]
        if random.random() < 0.3:
            # As it was before, which is compared by its bytes.
            answer = [json.loads(text) for text in texts_of(model).values()]
        newest = {each["cdr_id"]: json.dumps(each) for each in answer}
        expected = Change(
            new=len(newest.keys() - model),
            changed=sum(
                cdr_id in model
                and [
                    *history(
                        [
                            (cdr_id, texts_of(model)[cdr_id]),
                            *((cdr_id, json.dumps(e)) for e in answer if e["cdr_id"] == cdr_id),
                        ]
                    )[cdr_id]
                ][1:]
                != []
                for cdr_id in newest
            ),
            vanished=len(answered - newest.keys()) if covers else 0,
        )
        result = fetch(zone, *answer, route="period" if covers else "room")
        for each in answer:
            versions = model.setdefault(each["cdr_id"], [])
            if versions[-1:] != [json.dumps(each)]:
                versions.append(json.dumps(each))
        if covers:
            answered |= newest.keys()
        assert result.changes.get(DAY, Change()) == expected
        assert texts_of(history(log(zone))) == texts_of(model)
        if DAY in result.changes:
            assert result.changes[DAY].landed == len(model)
    assert history(log(zone)) == model


# The order of requests


def test_an_answer_that_lands_late_never_beats_a_newer_version(zone: LandingZone) -> None:
    fetch(zone, record("a", name="first"))
    with staged_answer(zone, one(batches(record("a", name="second"), record("b"))), "period", [DAY]) as late:
        # The server went back to the first version in the meantime, and this answer lands before the older one.
        fetch(zone, record("a", name="first"))
        commit(zone, late)
    assert [json.loads(text)["name"] for text in history(log(zone))["a"]] == ["first", "second", "first"]
    assert "b" in history(log(zone))


def test_a_late_answer_of_another_route_never_beats_a_newer_version(zone: LandingZone) -> None:
    fetch(zone, record("a", name="first"))
    with staged_answer(zone, one(batches(record("a", name="second"))), "room") as late:
        fetch(zone, record("a", name="third"))
        commit(zone, late)
    assert [json.loads(text)["name"] for text in history(log(zone))["a"]] == ["first", "second", "third"]


def test_an_answer_takes_the_number_of_the_try_that_was_answered(zone: LandingZone) -> None:
    def broken() -> Iterator[Batch]:
        raise ConnectionError
        yield Batch()

    class First:
        def __enter__(self) -> Iterator[Batch]:
            return broken()

        def __exit__(self, *_: object) -> bool:
            return True

    def attempts() -> Iterator[object]:
        yield First()
        fetch(zone, record("a", name="old"))
        yield from one(batches(record("a", name="new")))

    ingest(zone, attempts(), "period", [DAY])  # type: ignore[arg-type]
    assert [json.loads(text)["name"] for text in history(log(zone))["a"]] == ["old", "new"]


def test_an_answer_to_a_request_before_a_replacement_does_not_come_back(zone: LandingZone) -> None:
    fetch(zone, record("a"))
    with staged_answer(zone, one(batches(record("a"), record("b"))), "period", [DAY]) as late:
        fetch(zone, record("c"), replace=True)
        assert commit(zone, late).changes == {DAY: Change()}
    assert [cdr_id for cdr_id, _ in log(zone)] == ["c"]


def test_numbers_grow_across_threads_and_when_the_counter_is_lost(zone: LandingZone, place: Place) -> None:
    together, numbers = Barrier(4), list[int]()

    def take() -> None:
        together.wait()
        numbers.extend(place.zone().next_request() for _ in range(20))

    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 81))
    fetch(zone, record("a", name="old"))
    for left in ("", "garbage"):
        zone.storage.write("landing/.requests", left)
        fetch(zone, record("a", name=f"after {left}"))
    requests = [file.request for file in zone.files(DAY)]
    assert requests == sorted(set(requests))
    assert min(requests) > max(numbers)


def test_a_record_that_moved_away_and_came_back_unchanged_is_a_newer_version(zone: LandingZone) -> None:
    fetch(zone, record("a"), record("b"))
    (first,) = zone.files(DAY)
    moved_by = zone.next_request()
    zone.note_moved(DAY, {"a": moved_by})
    assert fetch(zone, record("b")).changes == {DAY: Change(vanished=1)}
    assert fetch(zone, record("a"), record("b")).changes == {DAY: Change(changed=1)}
    assert fetch(zone, record("a"), record("b")).changes == {DAY: Change()}
    assert [(file.records, file.request > moved_by) for file in zone.files(DAY)] == [(2, False), (1, True)]
    assert zone.files(DAY)[0] == first


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"a": "b"}', b"\xff\xff", b"x"])
def test_damaged_notes_of_what_moved_are_made_again_from_what_landed(zone: LandingZone, damage: bytes) -> None:
    fetch(zone, record("a"), record("b"))
    ingest(zone, one(batches(record("a", NEXT))), "period", [NEXT])
    for day in (DAY, NEXT):
        zone.note_loaded(day, zone.files(day)[-1].request)
        put(zone, name_in(day, ".loaded"), damage)
        put(zone, name_in(day, ".moved"), damage or b"{")
    assert fetch(zone, record("b"), record("a")).changes == {DAY: Change(changed=1)}
    assert fetch(zone, record("b"), record("a")).changes == {DAY: Change()}
    zone.note_loaded(DAY, 3)
    assert zone.storage.read(name_in(DAY, ".loaded")) == "3"
    assert zone.storage.read(name_in(DAY, ".moved")) == "{}"


def test_a_record_that_came_back_before_its_other_day_was_loaded_is_a_newer_version(zone: LandingZone) -> None:
    fetch(zone, record("a"), record("b"))
    for _ in range(2):
        ingest(zone, one(batches(record("a", NEXT), record("c", NEXT))), "period", [NEXT])
        assert fetch(zone, record("b"), record("a")).changes == {DAY: Change(changed=1)}
        assert fetch(zone, record("b"), record("a")).changes == {DAY: Change()}
    zone.note_loaded(NEXT, zone.files(NEXT)[-1].request)
    assert fetch(zone, record("b"), record("a")).changes == {DAY: Change()}
    assert [file.records for file in zone.files(DAY)] == [2, 1, 1]


# Damage


def files_after(zone: LandingZone, damage: str) -> LandedFile:
    """A day of which one file is damaged."""
    fetch(zone, *(record(str(number), text="x" * number) for number in range(200)))
    (file,) = zone.files(DAY)
    content = content_of(file)
    if damage == "emptied":
        overwrite(zone, DAY, file, b"")
    elif damage == "flipped":
        middle = len(content) // 2
        overwrite(zone, DAY, file, content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    elif damage == "another file of the same name":
        overwrite(zone, DAY, file, zstandard.compress(b'{"cdr_id": "other"}\n'))
    else:
        overwrite(zone, DAY, file, content[: len(content) * int(damage) // 100])
    return file


@pytest.mark.parametrize("damage", ["emptied", "flipped", "another file of the same name", "1", "50", "99"])
def test_a_damaged_file_is_noticed_and_does_not_stop_a_refetch(zone: LandingZone, damage: str) -> None:
    file = files_after(zone, damage)
    assert file.damage()
    changed = [record(str(number), text="x" * number) for number in range(200)]
    changed[150]["text"] = "new"
    fetch(zone, *changed)
    assert file.path in {landed.path for landed in zone.files(DAY)}
    remove(zone, DAY, file)
    assert {cdr_id: json.loads(text) for cdr_id, text in log(zone)} == {each["cdr_id"]: each for each in changed}


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_file_that_lost_its_last_bytes_is_damaged(zone: LandingZone, lost: int) -> None:
    file = files_after(zone, "100")
    assert not file.damage()
    overwrite(zone, DAY, file, content_of(file)[:-lost])
    assert file.damage()


@pytest.mark.parametrize("kept", range(0, 100, 7))
def test_wherever_a_file_is_cut_it_never_reads_as_fewer_records(zone: LandingZone, kept: int) -> None:
    assert files_after(zone, str(kept)).damage()
    fetch(zone, *(record(str(number), text="x" * number) for number in range(200)))
    assert [file.records for file in zone.files(DAY)] == [200, 200]


@pytest.mark.parametrize(
    "name", ["._{}", "copy of {}", "x.ndjson.zst", "99999999999-20261102T999999.000000Z-period-1-1-0123abcd.ndjson.zst"]
)
def test_files_that_did_not_land_are_told_apart(zone: LandingZone, name: str) -> None:
    fetch(zone, record("a"))
    (file,) = zone.files(DAY)
    before = zone.version(DAY)
    foreign = name_in(DAY, name.format(file.path.name))
    put(zone, foreign, content_of(file))
    assert zone.files(DAY) == [file]
    assert [str(path) for path in zone.foreign_files(DAY)] == [zone.storage.place(foreign)]
    assert zone.version(DAY) != before
    assert fetch(zone, record("a")).changes == {DAY: Change()}


def test_files_of_earlier_versions_stay_readable(zone: LandingZone) -> None:
    for time, name in (("2026-11-03T000000.000000", "old"), ("2026-11-03T060000.000000", "new")):
        content = zstandard.compress(json.dumps(record("a", name=name)).encode() + b"\n")
        put(zone, name_in(DAY, f"{time.replace('-', '')}Z-period-0123abcd.ndjson.zst"), content)
    assert fetch(zone, record("a", name="new")).changes == {DAY: Change()}
    assert fetch(zone, record("a", name="newer"), record("b")).changes == {DAY: Change(new=1, changed=1)}
    assert [json.loads(text)["name"] for text in history(log(zone))["a"]] == ["old", "new", "newer"]


def write_to_a_full_disk(place: Place, said: Connection) -> None:
    # Stands for a full disk: nothing longer than this can be written, whatever the file.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
    random = Random(1)
    many = [record(str(number), text=str(random.random())) for number in range(2_000)]
    try:
        fetch(place.zone(), *many)
    except OSError as error:
        said.send(str(error))


def test_a_full_disk_is_named_and_leaves_nothing(zone: LandingZone, place: Place) -> None:
    fetch(zone, record("a"))
    context = multiprocessing.get_context("spawn")
    hears, said = context.Pipe(duplex=False)
    process = context.Process(target=write_to_a_full_disk, args=(place, said))
    process.start()
    said.close()
    assert str(zone.storage.scratch) in hears.recv()
    process.join()
    assert [cdr_id for cdr_id, _ in log(zone)] == ["a"]
    assert not list(zone.storage.scratch.glob(".staging-*/"))
    assert fetch(zone, record("a"), record("b")).changes == {DAY: Change(new=1)}


# Sets of hashes


@pytest.mark.parametrize("numbers", [range(-500, 500), [2**63 - 1, -(2**63), 0, 255, 256]])
def test_a_set_of_hashes_knows_its_members(numbers: Sequence[int]) -> None:
    hashes = Hashes()
    hashes.update([*numbers, *numbers])
    assert len(hashes) == len(numbers)
    assert all(number in hashes and hashes.mark(number) and hashes.mark(number) for number in numbers)
    assert hashes.marked == len(numbers)
    assert 12345 not in hashes
    assert not hashes.mark(12345)
    for number in range(10_000, 90_000):
        hashes.add(number)
    assert len(hashes) == len(numbers) + 80_000
    assert not hashes.is_marked(numbers[0])
    assert all(number in hashes for number in range(10_000, 90_000, 997))
