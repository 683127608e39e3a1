"""The browser: Chromium as the machine has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, sync_playwright

from cdr_assets_tests.browser.visit import Visit

Scheme = Literal["light", "dark"]
Visiting = Callable[..., Visit]

# The folder of all pictures; else each test leaves them in its own temporary folder.
SCREENSHOTS = os.environ.get("SCREENSHOTS")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if not executable:
        pytest.skip("there is no Chromium: apt-get install chromium")
    # For one module: while it is open, no other test can run an event loop in this thread.
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where the test's pictures go."""
    return Path(SCREENSHOTS) if SCREENSHOTS else tmp_path


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest, pictures: Path) -> Iterator[Visiting]:
    """Opens a tab over a service. A picture of it is kept when the test ends."""
    with ExitStack() as stack:

        def visit(root: str, width: int = 1280, scheme: Scheme = "light") -> Visit:
            context = browser.new_context(
                viewport={"width": width, "height": 1000}, color_scheme=scheme, timezone_id="Europe/Berlin"
            )
            stack.callback(context.close)
            visit = Visit(context.new_page(), root)
            name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:80]
            stack.callback(visit.keep_picture, pictures / f"{name}.png")
            return visit

        yield visit
