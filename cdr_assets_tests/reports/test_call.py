"""The page of a conference shows what its tables hold, and of its people no more than somebody chose."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from cdr_assets.cli import main
from cdr_assets.reports.call import find_conferences, page
from cdr_assets.sandbox.calls import Settings, records_of_day
from cdr_assets.storage import Folder
from cdr_assets.warehouse.build import Warehouse
from cdr_assets.warehouse.people import PeopleInExports
from cdr_assets_tests.expected import exported, read
from cdr_assets_tests.reference import Row
from cdr_assets_tests.reports.calls import DAY, build, call

WHOLE = ("conf_num", "app_id", "usage_date")
HOSTILE = '<script>alert("1")</script>&\'' + "x" * 10_000


class Parsed(HTMLParser):
    """What a page shows: its tables, the bars of its timelines, its sections, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bars: list[tuple[float, float]] = []
        self.tags: list[str] = []
        self.text = ""
        self._cell: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = []
        if named.get("class") == "bar":
            left, width = re.findall(r"[\d.]+", str(named["style"]))
            self.bars.append((float(left), float(width)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell.append(data)


def html_of(folder: Path, conf_num: str, in_clear: bool = False) -> str:
    people = PeopleInExports(Folder(folder), in_clear)
    with Warehouse(folder / "cdr.duckdb").connect() as connection:
        return page(find_conferences(connection, conf_num, people), people, is_sandbox=False)


@pytest.fixture(scope="module")
def sandbox_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sandbox")
    build(folder, (DAY, records_of_day(Settings(connections=300, start=DAY), DAY)))
    return folder


def of_conference(folder: Path, table: str, conf_num: str) -> list[Row]:
    return [row for row in read(folder / "cdr.duckdb", table) if row["conf_num"] == conf_num]


def test_every_conference_of_a_day_is_shown_as_its_tables_have_it(sandbox_day: Path) -> None:
    hashes = {
        (row["conf_num"], row["presence_minutes"], row["first_connect_dt"], row["rejoins"]): (
            "Unnamed connection" if row["participant_known_by"] == "cdr_id" else row["participant"][:8]
        )
        for row in exported(sandbox_day / "published", "attendance")
    }
    conferences = [row for row in read(sandbox_day / "cdr.duckdb", "conference_usage") if row["conf_num"]]
    assert len(conferences) > 10
    for conference in conferences:
        conf_num = conference["conf_num"]
        shown = Parsed(html_of(sandbox_day, conf_num))
        people = of_conference(sandbox_day, "attendance", conf_num)
        expected = {
            (
                hashes[conf_num, row["presence_minutes"], row["first_connect_dt"], row["rejoins"]],
                row["user_role"],
                f"{row['first_connect_dt']:%H:%M:%S}",
                f"{row['presence_minutes']:,.1f}",
                str(row["rejoins"]),
                row["client"] or "\N{EN DASH}",
            )
            for row in people
        }
        found = {(row[0], row[1], row[2], row[4], row[6], row[8]) for row in shown.rows[1 : len(people) + 1]}
        assert found == expected, conf_num
        records = of_conference(sandbox_day, "call_detail_records", conf_num)
        stays = [row for row in records if row["room_connect_dt"] < row["room_disconnect_dt"]]
        assert len(shown.bars) == len(stays)
        whole = conference["last_disconnect_dt"] - conference["first_connect_dt"]
        widths = sorted(100 * (row["room_disconnect_dt"] - row["room_connect_dt"]) / whole for row in stays)
        assert sorted(width for _, width in shown.bars) == pytest.approx(widths, abs=0.001)
        assert all(0 <= left <= left + width <= 100.001 for left, width in shown.bars)
        assert f"{len(records)} records" in shown.text


def test_people_are_hashes_unless_somebody_chose_otherwise(sandbox_day: Path) -> None:
    records = read(sandbox_day / "cdr.duckdb", "call_detail_records")
    conf_num = max({row["conf_num"] for row in records if row["conf_num"]}, key=lambda each: each)
    own = [row for row in records if row["conf_num"] == conf_num]
    masked, clear = html_of(sandbox_day, conf_num), html_of(sandbox_day, conf_num, in_clear=True)
    telling = {row[name] for row in own for name in ("user_name", "user_ref", "user_ip", "conf_name") if row[name]}
    assert telling
    assert [text for text in telling if text in masked] == []
    names = {row["user_name"] for row in own if row["user_name"]}
    assert [name for name in names if name not in Parsed(clear).text] == []


def test_the_page_needs_nothing_from_elsewhere(sandbox_day: Path) -> None:
    (conf_num, *_) = (
        row["conf_num"] for row in read(sandbox_day / "cdr.duckdb", "conference_usage") if row["conf_num"]
    )
    html = html_of(sandbox_day, conf_num)
    assert not re.search(r"https?:|//|src=|url\(|@import|<script|<link", html)


def test_hostile_texts_are_text(tmp_path: Path) -> None:
    user = {"ref": "x", "name": HOSTILE, "role": HOSTILE, "confName": HOSTILE}
    room = {"room_id": HOSTILE, "connect_dt": f"{DAY}T10:00:00Z", "disconnect_dt": f"{DAY}T10:30:00Z", "duration": 1800}
    build(tmp_path, (DAY, [{**call("1", 0, 30), "room": room, "user": user}]))
    shown = Parsed(html_of(tmp_path, "c", in_clear=True))
    assert "script" not in shown.tags
    assert shown.text.count(HOSTILE) == 5, "room, name of the conference, person twice, role"


def test_a_number_that_was_used_again_is_two_conferences(tmp_path: Path) -> None:
    later = DAY + timedelta(days=30)
    build(tmp_path, (DAY, [call("1", 0, 30)]), (later, [call("2", 0, 10, later)]))
    shown = Parsed(html_of(tmp_path, "c"))
    assert shown.tags.count("section") == 2
    assert shown.text.index(str(DAY)) < shown.text.index(str(later))
    assert shown.bars == [(0, 100)] * 2


def test_connections_without_both_times_are_in_no_timeline(tmp_path: Path) -> None:
    build(tmp_path, (DAY, [call("1", 0, None), call("2", 5, 5)]))
    shown = Parsed(html_of(tmp_path, "c"))
    assert shown.bars == []
    assert "Who was there, and when" not in shown.text
    assert "2 records" in shown.text


def test_restated_records_are_counted_and_their_fields_named_without_values(tmp_path: Path) -> None:
    first, second = call("1", 0, 10, user={"name": "Ann"}), call("1", 0, 20, user={"name": "Bea"})
    build(tmp_path, (DAY, [first, call("2", 0, 5, sip="perhaps")]), (DAY, [second]))
    html = html_of(tmp_path, "c")
    shown = Parsed(html)
    assert "2 records, 1 of which EnableX has restated." in " ".join(shown.text.split())
    assert "Fields that could not be read: sip." in shown.text
    fields = {row[0]: row[1] for row in shown.rows if len(row) == 3}
    assert fields == {
        "Field that was restated": "Changes",
        "room.disconnect_dt": "1",
        "room.duration": "1",
        "user.name": "1",
    }
    assert "Ann" not in html
    assert "Bea" not in html


# The command


def run(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["call", *words], env={"CDR_DATA_DIR": str(folder), "CDR_EXPORT_PEOPLE": ""})
    return result.exit_code, result.output


def test_the_command_writes_a_file_that_its_owner_alone_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "data", (DAY, [{**call("1", 0, 30, user={"name": "Ann"}), "conf_num": "../c c"}]))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, _ = run(tmp_path / "data", "../c c")
    assert code == 0
    (written,) = (tmp_path / "here").iterdir()
    assert re.fullmatch(r"call-[0-9a-f]{32}\.html", written.name)
    assert written.stat().st_mode & 0o777 == 0o600
    assert "Ann" not in written.read_text()
    assert "sandbox" not in written.read_text()
    (tmp_path / "data" / ".sandbox").touch()
    assert run(tmp_path / "data", "../c c", "--show-people") == (0, "call-.._c_c.html\n")
    assert run(tmp_path / "data", "../c c", "--show-people", "--output", "other.html") == (0, "other.html\n")
    other = (tmp_path / "here" / "other.html").read_text()
    assert "Ann" in other
    assert "These are invented calls of the sandbox." in other


def test_a_conference_that_is_not_there_is_an_error_that_says_how_to_fetch_it(tmp_path: Path) -> None:
    code, said = run(tmp_path, "c")
    assert code == 1
    assert f"{tmp_path / 'cdr.duckdb'} is not there" in said
    assert list(tmp_path.iterdir()) == []
    build(tmp_path, (DAY, [call("1", 0, 30)]))
    code, said = run(tmp_path, "d")
    assert code == 1
    assert "has no conference d. To ask EnableX for it: cdr-assets launch --job fetch_conference" in said
