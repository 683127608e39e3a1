"""The command line that serves the dashboard."""

from __future__ import annotations

import sys
from importlib.resources import files
from importlib.util import find_spec

OPTIONS = {
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "server.headless": "true",
    "server.fileWatcherType": "none",
}


def is_installed() -> bool:
    """Whether the packages of the extra `dashboard` are there."""
    return find_spec("streamlit") is not None


def command(host: str, port: int) -> list[str]:
    """Serves the dashboard at the address until it is stopped."""
    options = {**OPTIONS, "server.address": host, "server.port": str(port)}
    app = str(files(__package__) / "script" / "main.py")
    return [sys.executable, "-m", "streamlit", "run", app, *(f"--{name}={value}" for name, value in options.items())]
