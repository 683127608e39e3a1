"""The command line that serves the dashboard."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec

from cdr_assets.processes import console_script

# What the extra `dashboard` brings, without what comes with Streamlit anyway.
PACKAGES = ("streamlit", "openpyxl")

OPTIONS = {
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "logger.hideWelcomeMessage": "true",
    "server.headless": "true",
    "server.fileWatcherType": "none",
}


def missing_packages() -> list[str]:
    """Those of the extra `dashboard` that are not installed."""
    return [name for name in PACKAGES if not find_spec(name)]


def command(host: str, port: int) -> list[str]:
    """Serves the dashboard at the address until it is stopped."""
    options = {**OPTIONS, "server.address": host, "server.port": str(port)}
    app = str(files(__package__) / "script" / "main.py")
    return console_script("streamlit", "run", app, *(f"--{name}={value}" for name, value in options.items()))
