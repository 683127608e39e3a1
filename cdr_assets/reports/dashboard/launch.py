"""The command line that serves the dashboard."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from importlib.util import find_spec

from cdr_assets.processes import console_script

# What the extra `dashboard` brings, without what comes with Streamlit anyway.
PACKAGES = ("streamlit", "openpyxl")

AUTH_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")

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


def asks_for_log_in() -> bool:
    """Whether Streamlit's secrets set up a log-in. Raises ValueError, with the remedy, if they cannot be used."""
    from streamlit import config, secrets
    from streamlit.errors import StreamlitSecretNotFoundError

    places = config.get_option("secrets.files")
    there = [place for place in places if os.path.lexists(place)]
    try:
        given = secrets.to_dict()
    except (StreamlitSecretNotFoundError, OSError, ValueError) as error:
        is_absent = isinstance(error, StreamlitSecretNotFoundError) and not there
        if is_absent and not config.is_manually_set("secrets.files"):
            return False
        # The rest of the message quotes the file.
        line = re.search(r"at line \d+, column \d+", str(error))
        why = line[0] if line else getattr(error, "strerror", None)
        raise ValueError(
            f"{' or '.join(there or places)} may ask for a log-in and cannot be read as TOML in UTF-8"
            f"{f' ({why})' if why else ''}: mend the file, or remove it if nobody has to log in"
        ) from None
    if "auth" not in given:
        return False
    auth = given["auth"] if isinstance(given["auth"], dict) else {}
    lacking = [name for name in AUTH_KEYS if not auth.get(name)]
    if lacking or not find_spec("authlib"):
        why = f"give {', '.join(lacking)}" if lacking else "install its package: pip install 'streamlit[auth]'"
        raise ValueError(f"The log-in of the table auth in {' or '.join(there)} cannot be used: {why}")
    return True


def command(host: str, port: int) -> list[str]:
    """Serves the dashboard at the address until it is stopped."""
    options = {**OPTIONS, "server.address": host, "server.port": str(port)}
    app = str(files(__package__) / "script" / "main.py")
    return console_script("streamlit", "run", app, *(f"--{name}={value}" for name, value in options.items()))
