"""The frame that every page has."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import streamlit
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from cdr_assets.days import DAY
from cdr_assets.reports.dashboard import app, launch
from cdr_assets.reports.dashboard.pages import conferences, health, overview, people, quality, rooms
from cdr_assets_tests import PATIENCE_S
from cdr_assets_tests.reports.dashboard.shown import DAYS, read_from

SCRIPT = next(Path(part) for part in launch.command("127.0.0.1", 8501) if part.endswith(".py"))


def open_dashboard(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    query: Mapping[str, str] | None = None,
    secrets: Mapping[str, object] | None = None,
) -> AppTest:
    read_from(monkeypatch, folder)
    page = AppTest.from_file(str(SCRIPT), default_timeout=PATIENCE_S)
    page.query_params.update(query or {})
    for name, value in (secrets or {}).items():
        page.secrets[name] = value
    page.run()
    assert [each.message for each in page.exception] == []
    return page


def test_the_overview_is_the_first_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_dashboard(monkeypatch, folder).title[0].value == "Overview"


def test_streamlit_takes_no_module_of_a_page_for_a_script() -> None:
    assert not (SCRIPT.parent / "pages").exists()


def test_an_empty_folder_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "cdr-assets demo" in open_dashboard(monkeypatch, tmp_path).info[0].value


@pytest.mark.parametrize(("enablex", "said"), [("sandbox", 1), ("api.enablex.io", 0), (None, 0)])
def test_invented_calls_are_called_so(
    enablex: str | None, said: int, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(folder / "published", tmp_path / "published")
    (tmp_path / "published" / "status.json").write_text(json.dumps({"enablex": enablex}), encoding="utf-8")
    page = open_dashboard(monkeypatch, tmp_path)
    assert len([each for each in page.markdown if "invented calls" in each.value]) == said


def test_every_page_says_how_many_days_of_the_period_are_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for first, said in ((DAYS[0], 0), (DAYS[0] - DAY * 3, 1)):
        page = open_dashboard(monkeypatch, folder, {"from": str(first), "to": str(DAYS[3])})
        assert len([each for each in page.caption if "4 of these 7 days are built." in each.value]) == said


PICTURE = "![x](http://evil.example/x.png) <b>"
ODD = st.one_of(
    st.sampled_from(
        [
            "",
            PICTURE,
            "0001-01-01",
            "9999-12-31",
            "2026-10-07",
            "\0",
            "\uffff",
            "'; --",
            "$a$ :red[b]",
            "x" * 9_000,
            "0" * 32,
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"])),
)
QUERIES = st.dictionaries(st.sampled_from(["from", "to", "number", "room", "conf_num", "participant", "page"]), ODD)
PAGES = [overview.page, rooms.page, conferences.page, people.page, quality.page, health.page]


def written(page: AppTest) -> list[str]:
    """The texts of the page that Streamlit reads as Markdown."""
    kinds = (page.markdown, page.title, page.header, page.subheader, page.caption, page.error, page.warning, page.info)
    return [each.value for kind in kinds for each in kind]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__module__.rpartition(".")[2])
def test_no_page_raises_or_draws_a_picture_whatever_the_address_says(
    page: Callable[[], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_pages", lambda: [streamlit.Page(page, default=True)])

    @given(QUERIES)
    @example({"from": PICTURE, "to": PICTURE, "conf_num": PICTURE, "participant": PICTURE, "number": PICTURE})
    @example({"from": "0001-01-01"})
    @example({"to": "9999-12-31"})
    @example({"from": "2026-10-07", "to": "2026-10-08", "room": "\0", "number": "\uffff"})
    @settings(max_examples=3, derandomize=True)
    def visit(query: dict[str, str]) -> None:
        drawn = written(open_dashboard(monkeypatch, folder, query))
        assert [text for text in drawn if re.search(r"(?<!\\)[<\[]\w|\]\(", text)] == []

    visit()


AUTH = dict.fromkeys(launch.AUTH_KEYS, "s3cret")


@pytest.fixture
def nobody_asked_before() -> Iterator[None]:
    app._log_in.clear()
    yield
    app._log_in.clear()


def test_secrets_that_become_unusable_close_every_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nobody_asked_before: None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_dashboard(monkeypatch, folder).title
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text('[auth]\ncookie_secret = "s3cret', encoding="utf-8")
    page = open_dashboard(monkeypatch, folder)
    assert [len(page.title), len(page.metric), len(page.error)] == [0, 0, 1]
    assert "secrets" in page.error[0].value
    assert "s3cret" not in page.error[0].value


@pytest.mark.parametrize("auth", [{}, "s3cret", {**AUTH, "client_id": ""}], ids=["empty", "text", "no client_id"])
def test_a_log_in_that_lacks_something_closes_every_page(
    auth: object, folder: Path, monkeypatch: pytest.MonkeyPatch, nobody_asked_before: None
) -> None:
    page = open_dashboard(monkeypatch, folder, secrets={"auth": auth})
    assert not page.title
    assert "give" in page.error[0].value
    assert "s3cret" not in page.error[0].value


def test_a_log_in_is_asked_for_and_its_loss_opens_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, nobody_asked_before: None
) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda _: True)
    page = open_dashboard(monkeypatch, folder, secrets={"auth": AUTH})
    assert not page.title
    assert [button.label for button in page.button] == ["Log in"]
    page = open_dashboard(monkeypatch, folder, secrets={"another": 1})
    assert not page.title
    assert "Restart" in page.error[0].value
