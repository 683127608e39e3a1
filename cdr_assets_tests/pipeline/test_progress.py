"""What a run says while it works, on standard error and not in Dagster's event log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest

from cdr_assets.enablex.errors import Unavailable
from cdr_assets.enablex.records import Batch, Lines
from cdr_assets.pipeline.progress import reporting
from cdr_assets.warehouse.tables import DAILY_TABLES
from cdr_assets_tests.location import Location, Script, record

DAY = date(2026, 11, 2)
PERSON = "zoya-the-patient"


def said(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The lines without Dagster's own, each without its time."""
    lines = (re.fullmatch(r"\d\d:\d\d:\d\d (.*)", line) for line in capfd.readouterr().err.splitlines())
    return [line[1] for line in lines if line]


def test_a_run_says_what_landed_and_which_tables_were_built(
    scripted: Location, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script.holds(DAY, record("a", DAY, user={"name": PERSON}), record("b", DAY), {"cdr_id": PERSON})
    first = scripted.run(DAY)
    assert first.success
    landed, *built, done = said(capfd)
    assert re.fullmatch(rf"{DAY}: 2 records, 2 new, 0 changed, 1 set aside; 0\.00\d MB in \d+\.\d s", landed)
    assert f"{DAY}: call_detail_records built, 2 rows" in built
    assert f"{DAY}: room_usage built, 1 rows" in built
    assert done == f"{DAY}: {len(DAILY_TABLES)} tables exported"
    assert scripted.run(DAY).success
    again = said(capfd)
    assert len(again) == 2
    assert again[1] == f"{DAY}: 0 tables exported, {len(DAILY_TABLES)} current"
    messages = [entry.user_message for entry in scripted.instance.all_logs(first.run_id)]
    assert [message for message in messages if "call_detail_records built" in message] == []
    assert PERSON not in "".join([landed, *built, done, *again])


def test_a_long_answer_says_every_few_seconds_how_much_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    seconds = 0.0

    def clock() -> float:
        return seconds

    @contextmanager
    def attempt() -> Iterator[Iterator[Batch]]:
        yield (Batch({DAY: Lines([str(number)] * 1_000, b"x" * 500_000)}) for number in range(7))

    received = []
    for each in reporting("an answer", [attempt()], clock):
        with each as batches:
            for batch in batches:
                received.append(batch)
                seconds += 2.0
    assert len(received) == 7
    assert said(capfd) == [
        "an answer: 3,000 records so far, 1.5 MB of text",
        "an answer: 6,000 records so far, 3.0 MB of text",
    ]


def test_an_attempt_that_fails_is_handled_as_without_it() -> None:
    class Failing:
        def __enter__(self) -> Iterator[Batch]:
            return self.batches()

        def batches(self) -> Iterator[Batch]:
            yield Batch()
            raise Unavailable("the body broke off")

        def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
            seen.append(error)
            return isinstance(error, Unavailable)

    seen: list[BaseException | None] = []
    (attempt,) = reporting("an answer", [Failing()])
    with attempt as batches:
        assert len(list(batches)) == 1
    assert [type(error) for error in seen] == [Unavailable]
