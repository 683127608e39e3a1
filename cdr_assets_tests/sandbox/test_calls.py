"""The calls of the sandbox: how many there are and when, and what happens in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from cdr_assets.sandbox import calls
from cdr_assets.sandbox.calls import Record, Settings, records_of_day

SETTINGS = Settings(start=date(2026, 10, 1))
DAY = date(2026, 11, 3)


def ids(records: Iterable[Record]) -> set[str]:
    return {record["cdr_id"] for record in records}


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


def seconds(text: str) -> float:
    """Since 1970."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def kind(record: Record) -> str:
    return calls.rooms(SETTINGS)[record["room"]["room_id"]].kind


class Visit(NamedTuple):
    """One connection of a person."""

    begin: float
    end: float
    record: Record


@pytest.fixture(scope="module")
def month() -> dict[date, list[Record]]:
    return {day: records_of_day(SETTINGS, day) for day in days(date(2026, 10, 5), 28)}


# The days


def test_a_day_holds_the_same_calls_in_any_process_and_after_any_question() -> None:
    program = (
        "import sys; from datetime import date; from cdr_assets.sandbox.calls import *;"
        "records_of_day(Settings(seed=7), date(2026, 11, 9));"
        "print(*(encode(r).decode() for r in records_of_day(Settings(), date(2026, 11, 3))), sep='\\n')"
    )
    here = [calls.encode(record).decode() for record in records_of_day(Settings(), DAY)]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        elsewhere = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
        assert elsewhere.stdout.decode().splitlines() == here


def test_another_seed_holds_other_calls() -> None:
    other = records_of_day(Settings(seed=2), DAY)
    assert not ids(other) & ids(records_of_day(Settings(seed=1), DAY))


def test_an_earlier_start_leaves_a_day_as_it_is() -> None:
    assert records_of_day(Settings(start=date(2020, 1, 1)), DAY) == records_of_day(SETTINGS, DAY)


def test_ids_are_unique_over_days(month: dict[date, list[Record]]) -> None:
    every = [record["cdr_id"] for records in month.values() for record in records]
    assert len(set(every)) == len(every)
    assert all(len(cdr_id) == 24 and int(cdr_id, 16) for cdr_id in every)


def test_records_lie_on_the_day_of_their_end(month: dict[date, list[Record]]) -> None:
    for day, records in month.items():
        assert {record["trans_date"][:10] for record in records} == {str(day)}
        assert all(record["trans_date"] == record["room"]["disconnect_dt"] for record in records)


@pytest.mark.parametrize("connections", [40, 400, 1_000])
def test_a_working_day_has_as_many_connections_as_asked(connections: int) -> None:
    settings = Settings(connections=connections)
    counts = [len(records_of_day(settings, day)) for day in days(date(2026, 3, 2), 19) if day.weekday() < 5]
    assert sum(counts) / len(counts) == pytest.approx(connections, rel=0.15)


def test_no_connections_are_days_without_calls() -> None:
    assert records_of_day(Settings(connections=0), DAY) == []


def test_weekends_have_fewer_calls(month: dict[date, list[Record]]) -> None:
    working = [len(records) for day, records in month.items() if day.weekday() < 5]
    weekend = [len(records) for day, records in month.items() if day.weekday() >= 5]
    assert 0 < max(weekend) < min(working)


def test_most_calls_happen_in_working_hours(month: dict[date, list[Record]]) -> None:
    hours = [int(record["room"]["connect_dt"][11:13]) for records in month.values() for record in records]
    assert sum(7 <= hour < 19 for hour in hours) > 0.75 * len(hours)


def test_every_day_has_a_conference_over_midnight(month: dict[date, list[Record]]) -> None:
    for today, tomorrow in pairwise(sorted(month)):
        both = {record["conf_num"] for record in month[today]} & {record["conf_num"] for record in month[tomorrow]}
        assert both


def test_a_conference_lies_within_two_adjacent_days(month: dict[date, list[Record]]) -> None:
    seen: dict[str, set[date]] = {}
    for day, records in month.items():
        for record in records:
            seen.setdefault(record["conf_num"], set()).add(day)
    assert {(max(on) - min(on)).days for on in seen.values()} == {0, 1}


def test_a_room_recurs_and_hosts_one_conference_at_a_time(month: dict[date, list[Record]]) -> None:
    spans: dict[str, dict[str, list[str]]] = {}
    for record in (record for records in month.values() for record in records):
        room = record["room"]
        span = spans.setdefault(room["room_id"], {}).setdefault(record["conf_num"], [])
        span += [room["connect_dt"], room["disconnect_dt"]]
    assert 24 <= len(spans) <= 80
    assert len([conferences for conferences in spans.values() if len(conferences) > 5]) > 20
    for conferences in spans.values():
        in_order = sorted((min(span), max(span)) for span in conferences.values())
        assert all(end <= begin for (_, end), (begin, _) in pairwise(in_order))


def test_some_users_have_no_ref_and_some_no_name(month: dict[date, list[Record]]) -> None:
    users = [record["user"] for records in month.values() for record in records]
    kinds = Counter((bool(user["ref"]), bool(user["name"])) for user in users)
    assert set(kinds) == {(True, True), (True, False), (False, True), (False, False)}
    assert kinds[True, True] > len(users) / 2


def test_durations_are_what_the_timestamps_say_and_some_are_zero(month: dict[date, list[Record]]) -> None:
    lengths = set()
    for record in (record for records in month.values() for record in records):
        for connection in (record["room"], record["sigserver"]):
            length = seconds(connection["disconnect_dt"]) - seconds(connection["connect_dt"])
            assert length == pytest.approx(connection["duration"], abs=1e-6)
        lengths.add(record["room"]["duration"])
    assert min(lengths) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        *({"connections": -1}, {"start": date(1969, 1, 1)}, {"shape": "old"}, {"errors": "none"}, {"app_id": "a:b"}),
        {"lag_minutes": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_make_no_calls_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


# What happens in them


@pytest.fixture(scope="module")
def conferences(month: dict[date, list[Record]]) -> dict[str, list[Record]]:
    """The records by conference."""
    found: dict[str, list[Record]] = {}
    for record in (record for records in month.values() for record in records):
        found.setdefault(record["conf_num"], []).append(record)
    return found


@pytest.fixture(scope="module")
def people(conferences: dict[str, list[Record]]) -> dict[tuple[str, str], list[Visit]]:
    """The visits of each (conference, person), in order. A person is known by their ref, or else by their name."""
    found: dict[tuple[str, str], list[Visit]] = {}
    for number, records in conferences.items():
        for record in records:
            user, room = record["user"], record["room"]
            if person := user["ref"] or user["name"]:
                visit = Visit(seconds(room["connect_dt"]), seconds(room["disconnect_dt"]), record)
                found.setdefault((number, person), []).append(visit)
    return {person: sorted(visits, key=lambda visit: visit[:2]) for person, visits in found.items()}


def of_kind(conferences: dict[str, list[Record]], wanted: str) -> list[list[Record]]:
    return [records for records in conferences.values() if kind(records[0]) == wanted]


def refs(records: Iterable[Record], *roles: str) -> set[str]:
    return {record["user"]["ref"] for record in records if record["user"]["role"] in roles} - {""}


def test_conferences_are_as_large_as_their_kind(conferences: dict[str, list[Record]]) -> None:
    sizes: dict[str, set[int]] = {}
    roles: dict[str, set[str]] = {}
    for records in conferences.values():
        sizes.setdefault(kind(records[0]), set()).add(len({record["user"]["ref"] for record in records} - {""}))
        roles.setdefault(kind(records[0]), set()).update(record["user"]["role"] for record in records)
    largest = {"meeting": (8, 12), "handover": (7, 10), "consultation": (2, 2), "class": (20, 27)}
    for wanted, (least, most) in largest.items():
        assert least <= max(sizes[wanted]) <= most
    assert max(sizes["webinar"]) > 100
    assert roles.pop("webinar") == {"moderator", "participant", "viewer", "audience"}
    assert set(map(frozenset, roles.values())) == {frozenset({"moderator", "participant"})}


def test_webinars_with_hundreds_are_rare(conferences: dict[str, list[Record]]) -> None:
    webinars = of_kind(conferences, "webinar")
    large = [records for records in webinars if len({record["user"]["ip"] for record in records}) > 200]
    # Of the 20 working days.
    assert 1 <= len(large) <= 5
    assert len(webinars) > 2 * len(large)


def test_the_doctor_is_often_late_and_sometimes_somebody_waits_in_vain(conferences: dict[str, list[Record]]) -> None:
    delays, alone = [], Counter[str]()
    consultations = of_kind(conferences, "consultation")
    for records in consultations:
        begins: dict[str, float] = {}
        for record in records:
            role, begin = record["user"]["role"], seconds(record["room"]["connect_dt"])
            begins[role] = min(begin, begins.get(role, begin))
        if set(begins) == {"moderator", "participant"}:
            delays.append(begins["moderator"] - begins["participant"])
        else:
            alone.update(begins.keys())
    assert 0.4 < sum(delay > 60 for delay in delays) / len(delays) < 0.8
    assert max(delays) > 10 * 60
    assert set(alone) == {"moderator", "participant"}
    assert 0.02 < sum(alone.values()) / len(consultations) < 0.2


def test_a_class_has_the_same_pupils_again_and_a_teacher_of_its_own(conferences: dict[str, list[Record]]) -> None:
    lessons: dict[str, list[list[Record]]] = {}
    for records in of_kind(conferences, "class"):
        lessons.setdefault(records[0]["room"]["room_id"], []).append(records)
    for of_room in lessons.values():
        assert len({ref for records in of_room for ref in refs(records, "moderator")}) == 1
        pupils = [refs(records, "participant") for records in of_room]
        assert all(len(before & after) > 3 for before, after in pairwise(pupils))
        assert len(set().union(*pupils)) <= 32


def test_pupils_drop_out_and_return(people: dict[tuple[str, str], list[Visit]]) -> None:
    returns: list[list[float]] = []
    for visits in people.values():
        if kind(visits[0].record) == "class":
            gaps = (after.begin - before.end for before, after in pairwise(visits))
            returns.append([gap for gap in gaps if gap > 0])
    assert 0.1 < sum(map(bool, returns)) / len(returns) < 0.5
    assert max(map(len, returns)) >= 3
    assert 120 < max(gap for gaps in returns for gap in gaps) < 600


def test_who_drops_out_often_does_so_again(people: dict[tuple[str, str], list[Visit]]) -> None:
    visits: dict[str, list[int]] = {}
    for (_, person), found in people.items():
        if kind(found[0].record) == "class":
            visits.setdefault(person, []).append(len(found))
    regular = {person: min(counts) for person, counts in visits.items() if len(counts) > 3}
    assert 0 < sum(fewest > 1 for fewest in regular.values()) < len(regular) / 4


def test_some_return_at_the_very_moment_or_before_the_old_connection_is_gone(
    people: dict[tuple[str, str], list[Visit]],
) -> None:
    gaps = Counter[str]()
    for visits in people.values():
        for before, after in pairwise(visits):
            if before.record["user"] == after.record["user"] and before.begin < before.end:
                gap = round(after.begin - before.end, 3)
                gaps["none" if gap == 0 else "overlap" if -15 <= gap < 0 else "absence"] += 1
    assert min(gaps["none"], gaps["overlap"]) > 5
    assert gaps["absence"] > 5 * (gaps["none"] + gaps["overlap"])


def test_some_people_use_two_devices_at_once(people: dict[tuple[str, str], list[Visit]]) -> None:
    pairs = [
        (before.record["user"], after.record["user"])
        for visits in people.values()
        for before, after in pairwise(visits)
        if min(before.end, after.end) - after.begin > 60 and before.record["user"]["ip"] != after.record["user"]["ip"]
    ]
    assert 0.01 < len(pairs) / len(people) < 0.1
    phones = ("Mobile", "okhttp", "CFNetwork")
    mixed = [pair for pair in pairs if len({any(word in user["agent"] for word in phones) for user in pair}) == 2]
    assert len(mixed) > len(pairs) / 2
    assert any(one["role"] != other["role"] for one, other in pairs)
    assert any(one["name"] != other["name"] for one, other in pairs)
    # Also people who are known by their name alone.
    assert any(not one["ref"] for one, _ in pairs)


def test_some_connections_are_shorter_than_ten_seconds(month: dict[date, list[Record]]) -> None:
    lengths = [record["room"]["duration"] for records in month.values() for record in records]
    assert 0.01 < sum(0 < length < 10 for length in lengths) / len(lengths) < 0.05
    assert 0.002 < sum(length == 0 for length in lengths) / len(lengths) < 0.03


def test_two_people_of_one_conference_can_have_one_name(conferences: dict[str, list[Record]]) -> None:
    def shared(records: list[Record]) -> bool:
        by_name: dict[str, set[str]] = {}
        for record in records:
            by_name.setdefault(record["user"]["name"], set()).add(record["user"]["ref"])
        return any(name and len(found - {""}) > 1 for name, found in by_name.items())

    assert any(map(shared, conferences.values()))


def test_rooms_have_owners_and_billing_codes_or_lack_them(month: dict[date, list[Record]]) -> None:
    details: dict[str, list[dict[str, Any]]] = {}
    for record in (record for records in month.values() for record in records):
        found = details.setdefault(record["room"]["room_id"], [])
        if record["room"]["room_details"] not in found:
            found.append(record["room"]["room_details"])
    assert {len(found) for found in details.values()} == {1}
    payers = Counter(
        (bool(of_room.get("owner_ref")), bool(of_room.get("settings", {}).get("billing_code")))
        for (of_room,) in details.values()
    )
    assert set(payers) == {(True, True), (True, False), (False, True), (False, False)}
    assert payers[True, True] > len(details) / 2
    # A field can be absent, and it can be empty.
    assert {of_room["owner_ref"] for (of_room,) in details.values() if of_room} > {""}
    assert [{}] in details.values()
    owners = Counter(of_room.get("owner_ref") for (of_room,) in details.values())
    assert max(count for owner, count in owners.items() if owner) > 2


def test_some_networks_are_bad_and_drop_people_more_often(people: dict[tuple[str, str], list[Visit]]) -> None:
    media = Counter[tuple[str, str, str]]()
    spellings = set()
    visits: dict[bool, list[int]] = {True: [], False: []}
    for found in people.values():
        verdicts = []
        for record in (visit.record for visit in found):
            for direction, measured in record.get("stats_quality", {}).items():
                for medium, figures in measured.items():
                    verdict, share = list(figures)[3:]
                    spellings.add((verdict, share))
                    verdicts.append(figures[verdict])
                    media[direction, medium, figures[verdict]] += 1
                    assert 0 < figures["min_bitrate"] <= figures["avg_bitrate"] <= figures["max_bitrate"]
                    assert 0 <= figures[share] <= 100
                    assert (figures[share] >= 80) == (figures[verdict] == "Good")
        if verdicts:
            visits[verdicts.count("Bad") > len(verdicts) / 2].append(len(found))
    assert spellings == {("avg_quality", "good_percent"), ("avg_bitrate_quality", "bitrate_good_percent")}
    assert set(media) == {
        (direction, medium, verdict)
        for direction in ("send", "receive")
        for medium in ("video", "audio", "sharing")
        for verdict in ("Good", "Bad")
    }
    bad = sum(count for (_, _, verdict), count in media.items() if verdict == "Bad")
    assert 0.03 < bad / sum(media.values()) < 0.25
    assert sum(visits[True]) / len(visits[True]) > 1.5 * sum(visits[False]) / len(visits[False])


def test_what_nobody_sent_or_received_is_not_measured(month: dict[date, list[Record]]) -> None:
    for record in (record for records in month.values() for record in records):
        if record["sip"]:
            assert "stats_quality" not in record
            continue
        sent, received = record["stats_quality"]["send"], record["stats_quality"]["receive"]
        if record["room"]["duration"] < 10:
            assert not sent
            assert not received
        else:
            names = {"video": "video", "audio": "audio", "sharing": "screen"}
            assert set(sent) == {medium for medium, track in names.items() if record["published_track"][track]}
            assert "sharing" not in set(sent) & set(received)


def test_people_use_the_browsers_and_apps_of_today(month: dict[date, list[Record]]) -> None:
    agents = Counter(record["user"]["agent"] for records in month.values() for record in records)
    for mark in (
        *("Windows NT 10.0; Win64; x64) AppleWebKit/537.36", "Macintosh", "X11; Linux", "CrOS", "iPhone", "iPad"),
        *("Android", "Edg/", "OPR/", "Firefox/", "SamsungBrowser/", "CriOS/", "Version/26", "Electron/"),
        *("okhttp/", "CFNetwork/", "Polycom"),
    ):
        assert any(mark in agent for agent in agents), mark
    assert 0 < agents[""] < sum(agents.values()) / 50
    assert len({agent.partition("Chrome/")[2][:3] for agent in agents}) > 2


def test_calls_end_at_every_hour_of_a_working_day(month: dict[date, list[Record]]) -> None:
    working = [records for day, records in month.items() if day.weekday() < 5]
    hours = Counter(hour for records in working for hour in {record["trans_date"][11:13] for record in records})
    assert len(hours) == 24
    assert min(hours.values()) > len(working) / 2
