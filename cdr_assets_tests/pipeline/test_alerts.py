"""The outbox of alerts as plain values. How it is used is tested with the sensor."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from cdr_assets.pipeline.alerts import MAX_WAITING, Outbox

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("cursor", [None, "", "nonsense", "[]", "1", "{}", '{"last_event": "x"}', '{"last_event": 1}'])
def test_a_cursor_that_is_no_outbox_gives_none(cursor: str | None) -> None:
    assert Outbox.read(cursor) is None


def test_an_outbox_is_read_as_it_was_written() -> None:
    outbox = Outbox(7)
    outbox.add("a", NOW)
    outbox.add("b", NOW + timedelta(seconds=1))
    for _ in outbox.deliver(NOW, lambda run_id: "answered 500"):
        pass
    assert outbox.waiting["a"].tries == 1
    assert Outbox.read(outbox.write()) == outbox


def test_a_run_is_in_the_outbox_once() -> None:
    outbox = Outbox(1)
    for minutes in range(2):
        outbox.add("a", NOW + timedelta(minutes=minutes))
    assert outbox.next_try == NOW


def test_waits_double_up_to_an_hour() -> None:
    outbox, now, waits = Outbox(1), NOW, []
    outbox.add("a", now)
    for _ in range(9):
        assert list(outbox.deliver(now, lambda run_id: "answered 500")) == [("a", "answered 500", False)]
        assert outbox.next_try is not None
        waits.append((outbox.next_try - now) / timedelta(minutes=1))
        now = outbox.next_try
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_one_alert_that_is_refused_holds_up_no_other() -> None:
    outbox = Outbox(1)
    for run_id in ("a", "b", "c"):
        outbox.add(run_id, NOW)
    delivered = list(outbox.deliver(NOW, lambda run_id: "answered 400" if run_id == "a" else ""))
    assert delivered == [("a", "answered 400", False), ("b", "", True), ("c", "", True)]
    assert list(outbox.waiting) == ["a"]


def test_the_oldest_alerts_beyond_the_most_are_dropped_and_named() -> None:
    outbox = Outbox(1)
    for number in range(MAX_WAITING + 2):
        outbox.add(str(number), NOW)
    assert outbox.drop_excess() == ["0", "1"]
    assert len(outbox.waiting) == MAX_WAITING
    assert outbox.drop_excess() == []
