"""The frame that every page has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cdr_assets.reports.dashboard.launch import command
from cdr_assets_tests.reports.dashboard.shown import PAGE_SECONDS, read_from

SCRIPT = next(Path(part) for part in command("127.0.0.1", 8501) if part.endswith(".py"))


def open_dashboard(monkeypatch: pytest.MonkeyPatch, folder: Path) -> AppTest:
    read_from(monkeypatch, folder)
    app = AppTest.from_file(str(SCRIPT), default_timeout=PAGE_SECONDS).run()
    assert [each.message for each in app.exception] == []
    return app


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
