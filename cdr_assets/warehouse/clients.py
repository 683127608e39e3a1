"""The client of a connection: browser or app, and operating system, as people say them."""

from __future__ import annotations

import re
from datetime import date

from cdr_assets.database import Connection, run
from cdr_assets.warehouse.table import read_sql

AGENTS_AT_ONCE = 10_000

PRODUCTS = re.compile(
    r"Android|Brave|Chrome( Mobile( WebView| iOS)?)?|Chromium|DuckDuckGo Mobile|Edge( Mobile)?|Electron"
    r"|Firefox( Mobile| iOS)?|Google|HeadlessChrome|IE|MiuiBrowser|Mobile Safari( UI/WKWebView)?|Opera( Mini| Mobile)?"
    r"|Python Requests|Safari|Samsung Internet|UC Browser|Vivaldi|Yandex Browser|okhttp"
)
"""The browsers and apps that are named, as ua-parser names them. The name of any other can be that of a person."""

SYSTEMS = re.compile(r"Android|Chrome OS|Debian|Fedora|HarmonyOS|Linux|Mac OS X|Ubuntu|Windows|iOS|iPadOS|tvOS")

LONGEST_AGENT = 1_000
"""Characters of an agent that are looked at. What tells a client is at the beginning or not there."""


def name_clients(connection: Connection, first_date: date, last_date: date, fingerprint: str) -> None:
    """Notes the client of every agent of the days' records in the table `clients`, unless this code did it before."""
    some = {"first_date": first_date, "last_date": last_date, "agents_at_once": AGENTS_AT_ONCE}
    while agents := run(connection, read_sql("clients/unnamed"), fingerprint=fingerprint, **some):
        names = [row["user_agent"] for row in agents]
        run(connection, read_sql("clients/delete"), user_agents=names)
        clients = [client(name) for name in names]
        run(connection, read_sql("clients/insert"), user_agents=names, clients=clients, fingerprint=fingerprint)


def client(user_agent: str) -> str | None:
    """For example "Chrome 131 on Windows 10"; None where neither is known. It never repeats an unknown agent's text.

    What PRODUCTS does not match is "other app". Systems that SYSTEMS does not match are left out.
    """
    # Loading the patterns takes longer than most runs need, and few runs meet an agent that is new.
    from ua_parser import parse

    found = parse(user_agent[:LONGEST_AGENT])
    browser, system = found.user_agent, found.os
    parts = []
    if browser and browser.family != "Other":
        parts.append(_named(browser.family, browser.major) if PRODUCTS.fullmatch(browser.family) else "other app")
    if system and SYSTEMS.fullmatch(system.family):
        parts.append(_named(system.family, system.major))
    # An app is often known by its system alone, which is its own name then.
    return " on ".join(dict.fromkeys(parts)) or None


def _named(family: str, major: str | None) -> str:
    return f"{family} {major}" if major and re.fullmatch(r"\d+(\.\d+)*", major, re.ASCII) else family
