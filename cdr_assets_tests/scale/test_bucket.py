"""A landing zone in a bucket: many writers, writers that are killed, and a store that fails."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psycopg
import pytest

from cdr_assets import storage
from cdr_assets.landing.ingest import Change, commit, staged_answer
from cdr_assets.landing.zone import LandingZone
from cdr_assets.postgres import LockLost
from cdr_assets.storage import PART_BYTES, Bucket, Refused, StorageError
from cdr_assets_tests.landing.places import Place, content_of, landed_names
from cdr_assets_tests.landing.test_ingest import DAY, NEXT, answer, batches, one, record, versions
from cdr_assets_tests.scale import BUCKET, S3
from cdr_assets_tests.scale.proxy import Proxy, proxied

WRITERS, ROUNDS = 3, 6


@pytest.fixture
def place(tmp_path: Path, bucket: str, postgres: str) -> Place:
    return Place(tmp_path, bucket, postgres)


@pytest.fixture
def zone(place: Place) -> LandingZone:
    return place.zone()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxied() as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, this process asks the store through the proxy."""
    return lambda: monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Starts processes in no time. None of them has the threads of a store's client, which would hang."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run(context: ForkServerContext, proxy: Proxy, work: Callable[..., None], *arguments: object) -> int | None:
    """Runs the work in a separate process, whose requests go through the proxy. Returns its exit code."""
    proxy.requests.clear()
    waits, go = context.Pipe(duplex=False)
    process = context.Process(target=in_turn, args=(proxy.url, waits, work, *arguments))
    process.start()
    assert process.pid
    proxy.victim = process.pid
    go.send(None)
    process.join()
    return process.exitcode


def in_turn(store: str, waits: Connection, work: Callable[..., None], *arguments: object) -> None:
    os.environ["AWS_ENDPOINT_URL"] = store
    waits.recv()
    work(*arguments)


# Many writers


def write_versions(place: Place, number: int) -> None:
    for version in range(ROUNDS):
        records = [record("shared", name=f"{number}-{version}"), record(f"of {number}", name=str(version))]
        answer(place.zone(), *records)


def test_of_answers_that_land_on_a_day_at_once_no_version_is_lost(
    zone: LandingZone, place: Place, context: ForkServerContext
) -> None:
    processes = []
    for number in range(WRITERS):
        waits, go = context.Pipe(duplex=False)
        # Each writer is another machine, with its own folder.
        own = Place(place.data_dir / str(number), place.url, place.postgres)
        processes.append(context.Process(target=in_turn, args=(S3, waits, write_versions, own, number)))
        go.send(None)
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WRITERS
    found = versions(zone)
    numbers = range(WRITERS)
    expected = {("shared", f"{number}-{version}") for number in numbers for version in range(ROUNDS)}
    expected |= {(f"of {number}", str(version)) for number in numbers for version in range(ROUNDS)}
    assert set(found) == expected
    requests = [file.request for file in zone.files(DAY)]
    assert requests == sorted(set(requests))
    assert zone.next_request() == WRITERS * ROUNDS + 1


def test_an_answer_for_a_day_that_another_machine_asks_for_lands_whole(zone: LandingZone, place: Place) -> None:
    answer(zone, record("a", name="first"))
    other = Place(place.data_dir / "other", place.url, place.postgres).zone()
    with staged_answer(zone, one(batches(record("a", name="second"))), "period", [DAY]) as late:
        answer(other, record("a", name="first"))
        commit(zone, late)
    assert versions(zone) == [("a", "first"), ("a", "second"), ("a", "first")]


# Killed writers


def ingest_changes(place: Place) -> None:
    answer(place.zone(), record("a", name="new"), record("b"), record("c"), record("d", NEXT))


@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_an_ingest_is_killed_the_next_one_makes_it_whole(
    place: Place, context: ForkServerContext, proxy: Proxy, when: str
) -> None:
    number, kills = 0, 0
    while True:
        number += 1
        at = Place(place.data_dir / str(number), f"{place.url}/{number}", place.postgres)
        zone = at.zone()
        answer(zone, record("a", name="old"), record("b"))
        before = zone.next_request()
        proxy.kill_at = number, when
        code = run(context, proxy, ingest_changes, at)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
        assert [file.damage() for file in [*zone.files(DAY), *zone.files(NEXT)]].count(None) >= 1
        ingest_changes(at)
        assert sorted(versions(zone), key=str) == [("a", "new"), ("a", "old"), ("b", None), ("c", None)]
        assert versions(zone)[0] == ("a", "old")
        assert versions(zone, NEXT) == [("d", None)]
        assert not any(file.damage() for file in [*zone.files(DAY), *zone.files(NEXT)])
        assert zone.next_request() > before + 1
        assert answer(zone, record("a", name="new"), record("b"), record("c")).changes == {DAY: Change()}
    assert kills >= 10


def upload(place: Place) -> None:
    file = place.data_dir / "large"
    file.write_bytes(os.urandom(PART_BYTES * 3))
    place.zone().storage.put(file, "landing/large")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_upload_that_was_killed_is_never_seen(
    place: Place, context: ForkServerContext, proxy: Proxy, number: int
) -> None:
    kept = place.zone().storage
    proxy.kill_at = number, "after"
    assert run(context, proxy, upload, place) == -signal.SIGKILL
    assert kept.files("landing") == []
    assert kept.read("landing/large") is None
    proxy.kill_at = None
    assert run(context, proxy, upload, place) == 0
    assert len(proxy.requests) == 5, "beginning, three parts, end"
    assert [(file.name, file.size) for file in kept.files("landing")] == [("landing/large", PART_BYTES * 3)]


def lock_and_die(place: Place) -> None:
    with place.zone().lock(DAY):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_no_lock(place: Place, context: ForkServerContext, proxy: Proxy) -> None:
    assert run(context, proxy, lock_and_die, place) == -signal.SIGKILL
    with place.zone().lock(DAY):
        pass


# Locks that are lost


def end_connections(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def land_unseen(zone: LandingZone, postgres: str) -> None:
    with staged_answer(zone, one(batches(record("b"))), "period", [DAY]) as staged:
        end_connections(postgres)
        commit(zone, staged)


def test_an_answer_that_the_others_do_not_see_any_more_does_not_land(place: Place) -> None:
    zone = place.zone()
    answer(zone, record("a"))
    with pytest.raises(LockLost, match="asking 2026-11-02"):
        land_unseen(zone, place.postgres)
    assert versions(zone) == [("a", None)]
    assert answer(zone, record("b")).changes == {DAY: Change(new=1, vanished=1)}


def test_a_lock_that_was_lost_is_an_error_at_its_end(place: Place) -> None:
    with pytest.raises(LockLost), place.zone().lock(DAY):
        end_connections(place.postgres)


# A store that fails


def test_a_store_that_is_busy_for_a_while_is_asked_again(
    zone: LandingZone, proxy: Proxy, through: Callable[[], None]
) -> None:
    answer(zone, record("a", name="old"), record("b"))
    refused: dict[str, int] = {}

    def twice_each(request: str) -> bool:
        refused[request] = refused.get(request, 0) + 1
        return refused[request] <= 2

    through()
    proxy.refuses = twice_each
    assert answer(zone, record("a", name="new"), record("b")).changes == {DAY: Change(changed=1)}
    assert versions(zone) == [("a", "old"), ("b", None), ("a", "new")]
    assert min(refused.values()) >= 3


@pytest.mark.parametrize("refused", ["GET", "PUT", "PUT .*zst"])
def test_a_store_that_stays_busy_is_named_and_nothing_lands(
    zone: LandingZone, proxy: Proxy, through: Callable[[], None], monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    answer(zone, record("a"))
    before, version = landed_names(zone), zone.version(DAY)
    with monkeypatch.context() as patched:
        patched.setattr(storage, "PATIENCE", timedelta(seconds=1))
        patched.setenv("AWS_ENDPOINT_URL", proxy.url)
        method, _, suffix = refused.partition(" .*")
        proxy.refuses = lambda request: request.startswith(method) and request.endswith(suffix)
        with pytest.raises(StorageError, match=rf"s3://{BUCKET}/.*503 Service Unavailable.*{proxy.url}") as caught:
            answer(zone, record("a"), record("b"))
        assert not caught.value.permanent
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert (landed_names(zone), zone.version(DAY)) == (before, version)
    assert answer(zone, record("a"), record("b")).changes == {DAY: Change(new=1)}


def test_an_answer_of_the_store_that_breaks_off_is_never_taken_for_the_file(
    zone: LandingZone, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(zone, *(record(str(number), text=os.urandom(500).hex()) for number in range(2_000)))
    (file,) = zone.files(DAY)
    whole = content_of(file)
    assert len(whole) == file.size > 1_000_000
    monkeypatch.setattr(storage, "PATIENCE", timedelta(seconds=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    cut: list[str] = []

    def once(request: str) -> bool:
        cut.append(request)
        return len(cut) == 1

    proxy.cuts = once
    with suppress(StorageError):
        assert content_of(file) == whole
    assert cut
    proxy.cuts = lambda request: True
    with pytest.raises(StorageError):
        content_of(file)


def test_what_the_store_refuses_is_named_with_the_remedy(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Bucket("s3://no-such-bucket-of-anybody/zone", place.data_dir)
    with pytest.raises(Refused, match=r"cannot list s3://no-such-bucket-of-anybody/zone/landing: .*CDR_LANDING"):
        gone.files("landing")
    with pytest.raises(Refused, match="NoSuchBucket"):
        gone.read("account")
    with pytest.raises(Refused, match="has no locks: set CDR_WAREHOUSE"), gone.lock("account"):
        pass
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something else")
    with pytest.raises(Refused, match="AWS_SECRET_ACCESS_KEY belongs to AWS_ACCESS_KEY_ID") as caught:
        place.zone().files(DAY)
    assert "something else" not in str(caught.value)


# What it costs


def test_an_answer_takes_few_requests(zone: LandingZone, proxy: Proxy, through: Callable[[], None]) -> None:
    for number in range(-7, 8):
        day = DAY + timedelta(days=number)
        with staged_answer(zone, one(batches(record(f"a{number}", day))), "period", [day]) as staged:
            commit(zone, staged)
        zone.note_loaded(day, staged.request)
    through()
    answer(zone, record("a0"))
    # The number of the request: 2. What landed on the day: 2, and 1 to read it. The marks of the days around it: 16.
    # The same at the end: 1, and the note of the request: 2.
    assert len(proxy.requests) <= 24, proxy.requests
    proxy.requests.clear()
    answer(zone, record("a0"))
    assert len(proxy.requests) <= 9, "the marks are known"
    assert zone.all_asked() == {day: zone.asked(day) for day in zone.days()}
    proxy.requests.clear()
    assert len(zone.all_asked()) == 15
    assert len(zone.all_asked(DAY, NEXT)) == 2
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, PART_BYTES + 1, PART_BYTES * 2 + 7])
def test_the_mark_of_a_file_is_known_before_it_is_put(zone: LandingZone, tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    mark = zone.storage.mark_of(file)
    put = zone.storage.put(file, "published/file")
    assert not file.exists()
    assert zone.storage.files("published") == [put]
    assert (put.size, put.mark) == (size, mark)
