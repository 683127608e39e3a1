"""A page in a real browser, with what went wrong on it; and the services that such pages come from."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Response, expect

from cdr_assets.cli import free_port
from cdr_assets_tests import MEASURED, PATIENCE_S
from cdr_assets_tests.location import plain_environment

__all__ = ["Visit", "free_port", "running"]

COMMAND = [sys.executable, "-c", "from cdr_assets.cli import main; main()"]
LOCAL = ("data:", "blob:")


class Visit:
    """A browser's tab over the dashboard or the Dagster UI at `root`."""

    def __init__(self, page: Page, root: str) -> None:
        self.page = page
        self._troubles: list[str] = []
        self._root = root
        page.set_default_timeout(PATIENCE_S * 1000)
        expect.set_options(timeout=PATIENCE_S * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._troubles.append(f"exception: {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        # What was not found is told by its address instead.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self._troubles.append(f"console {message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        socket = self._root.replace("http", "ws")
        if not request.url.startswith((self._root, socket, *LOCAL)):
            self._troubles.append(f"request to {request.url}")

    def _on_response(self, response: Response) -> None:
        # Streamlit looks for itself below each page first.
        if response.status >= 400 and not re.search(r"/\w+/_stcore/", response.url):
            self._troubles.append(f"{response.status} for {response.url}")

    def open(self, path: str = "") -> None:
        """Opens a page of the dashboard, and waits until it is drawn."""
        self.page.goto(f"{self._root}/{path}")
        self.wait()

    def wait(self) -> None:
        """Waits until the page of the dashboard is drawn."""
        self.page.locator("h1").first.wait_for()
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=PATIENCE_S * 1000)
        # Charts are drawn after the script has ended.
        for chart in self.page.get_by_test_id("stVegaLiteChart").all():
            chart.locator("canvas, svg").first.wait_for()

    def figures(self) -> list[tuple[str, str]]:
        """The label and the value of every figure of the page, in order."""
        return [
            (
                metric.get_by_test_id("stMetricLabel").inner_text().strip(),
                metric.get_by_test_id("stMetricValue").inner_text().strip(),
            )
            for metric in self.page.get_by_test_id("stMetric").all()
        ]

    def column(self, title: str, number: int = -1) -> list[str]:
        """The cells of a column of one of the page's tables, the last one by default."""
        table = self.page.get_by_test_id("stDataFrame").nth(number)
        # What is outside of the window is drawn when it comes in.
        table.scroll_into_view_if_needed()
        table.locator("th", has_text=title).first.wait_for(state="attached")
        titles = [each.text_content() for each in table.locator("th").all()]
        place = titles.index(title)
        return [row.locator("td").nth(place).text_content() or "" for row in table.locator("tbody tr").all()]

    def timeline(self) -> list[str]:
        """The labels in the page's first chart."""
        return self.page.get_by_test_id("stVegaLiteChart").first.locator("text").all_text_contents()

    def leads_to(self, host: str) -> list[str]:
        """The links and pictures of the page that are on the host."""
        found: list[str] = self.page.evaluate(
            """host => [...document.querySelectorAll('a, img')]
                .map(each => each.href || each.src).filter(url => url && new URL(url).host === host)""",
            host,
        )
        return found

    def keep_picture(self, file: Path) -> None:
        """Writes a picture of the whole page."""
        size = self.page.viewport_size
        if size and self.main.count():
            # The dashboard scrolls within the window.
            height = self.main.evaluate("main => main.scrollHeight")
            self.page.set_viewport_size({"width": size["width"], "height": min(height + 100, 4000)})
        self.page.screenshot(path=file, full_page=True)
        if size:
            self.page.set_viewport_size(size)

    @property
    def main(self) -> Locator:
        return self.page.get_by_test_id("stMain")

    def complaints(self) -> list[str]:
        """What a careful visitor would complain of since the last time; and what sticks out of the window now."""
        sticks_out: list[str] = self.page.evaluate(
            """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
                .filter(each => each.scrollWidth > each.clientWidth)
                .map(each => `${each.tagName} sticks out: ${each.scrollWidth} > ${each.clientWidth}`)"""
        )
        exceptions = self.page.get_by_test_id("stException").all_inner_texts()
        found = [*self._troubles, *sticks_out, *exceptions]
        self._troubles.clear()
        return found


@contextmanager
def running(folder: Path, answers: str, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `cdr-assets` in the folder, from when the URL `answers` to the end of the context."""
    log = folder / f"{words[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=folder,
            env={**plain_environment(), **MEASURED, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(answers, process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if requests.get(url, timeout=PATIENCE_S).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
