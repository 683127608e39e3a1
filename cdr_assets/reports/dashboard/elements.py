"""What several pages show in the same way."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from cdr_assets.reports.dashboard.period import Period
from cdr_assets.reports.dashboard.state import days_there

NONE = "\N{EN DASH}"
UNNAMED = "Unnamed connection"
"""Whoever had neither a reference nor a name: known by nothing but the connection's own id."""

_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")
# Markdown makes links of addresses, escaped or not. A character that nobody sees keeps it from that.
_LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Figure(NamedTuple):
    """A number with the one to compare it with. Either may be missing."""

    label: str
    value: Any
    before: Any = None
    help: str | None = None
    digits: int = 0


def figures(found: Sequence[Figure]) -> None:
    """Shows figures in a row, each with its change."""
    for column, figure in zip(st.columns(len(found)), found, strict=True):
        column.metric(
            figure.label,
            number(figure.value, figure.digits),
            change(figure.value, figure.before),
            # More is good for one reader and dear for another.
            delta_color="off",
            help=figure.help,
        )


def say_nothing_is_built(chosen: Period) -> None:
    """Says that nothing of the period is there, and what to do."""
    what = "There was no connection" if days_there(chosen) else "No day is built"
    st.info(f"{what} from {chosen.first} to {chosen.last}. Choose other days.")


def number(value: Any, digits: int = 0) -> str:
    """A number for people: 12,345.6. A dash for none."""
    return NONE if is_missing(value) else f"{value:,.{digits}f}"


def share(part: Any, whole: Any) -> str:
    """A part in percent of the whole. A dash where there is no whole."""
    return NONE if is_missing(part) or is_missing(whole) or not whole else f"{part / whole:.0%}"


def change(value: Any, before: Any) -> str | None:
    """How a figure differs from the one before, in percent; None where that says nothing."""
    if is_missing(value) or is_missing(before) or not before:
        return None
    return f"{float(value) / float(before) - 1:+.0%}"


def is_missing(value: Any) -> bool:
    """Whether it is no value: None, NaN or NaT."""
    return value is None or (not isinstance(value, (str, Decimal)) and bool(pd.isna(value)))


def plain(text: object, most: int = 100) -> str:
    """The text as Markdown that shows it as it is, on one line, cut after `most` characters."""
    return _MARKDOWN.sub(r"\\\1", _LINK.sub("\N{WORD JOINER}", cut(" ".join(str(text).split()), most)))


def cut(text: str, most: int = 100) -> str:
    """The text, cut after `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def table(rows: Any, **options: Any) -> Any:
    """Shows rows as a table, with a dash for what is missing."""
    return st.dataframe(rows, hide_index=True, placeholder=NONE, **options)


def minutes_column(label: str, *, help: str | None = None) -> Any:
    """A column of minutes in a table."""
    return st.column_config.NumberColumn(label, format="%,.1f", help=help)


def count_column(label: str, *, help: str | None = None) -> Any:
    """A column of whole numbers in a table."""
    return st.column_config.NumberColumn(label, format="%,d", help=help)


def time_column(label: str, *, help: str | None = None) -> Any:
    """A column of moments in a table."""
    return st.column_config.DatetimeColumn(label, format="YYYY-MM-DD HH:mm:ss", help=help)


def link(page: str, **query: object) -> str:
    """The address of a page of the dashboard, as other pages link to it."""
    return f"{page}?{urlencode(query)}"


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows one by one, with None for what is missing."""
    return [
        {name: None if is_missing(value) else value for name, value in row.items()} for row in rows.to_dict("records")
    ]


def downloads(rows: Callable[[], pd.DataFrame], what: str, chosen: Period) -> None:
    """Offers rows as CSV and as an Excel file, named for their days. They are read when somebody asks for one."""
    there = days_there(chosen)
    name = f"{what}_{chosen.first}_{chosen.last}{f'_only_{there}_of_{chosen.days}_days' if there < chosen.days else ''}"
    left, right, _ = st.columns([1, 1, 4])
    left.download_button(
        "CSV", lambda: csv(rows()), f"{name}.csv", "text/csv", on_click="ignore", key=f"{name} csv", width="stretch"
    )
    right.download_button(
        "Excel",
        lambda: spreadsheet(rows()),
        f"{name}.xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        on_click="ignore",
        key=f"{name} xlsx",
        width="stretch",
    )


def csv(rows: pd.DataFrame) -> bytes:
    """The rows as a CSV file in UTF-8. Decimals are exact.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    text: str = rows.map(_harmless).to_csv(index=False)
    return text.encode()


def spreadsheet(rows: pd.DataFrame) -> bytes:
    """The rows as an Excel file. Numbers are numbers there, and no text is a formula."""
    file = io.BytesIO()
    with pd.ExcelWriter(file, engine="openpyxl") as writer:
        rows.map(_printable).to_excel(writer, index=False, freeze_panes=(1, 0))
        for line in writer.book.active.iter_rows():
            for cell in line:
                if isinstance(cell.value, str):
                    # openpyxl takes a text for a formula if it begins with "=". The prefix keeps it a text when edited.
                    cell.data_type = "s"
                    cell.quotePrefix = True
    return file.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_BEGINS_A_FORMULA) else value


def _printable(value: Any) -> Any:
    """The value as an Excel file can hold it: without what XML forbids, and a decimal as a number."""
    if isinstance(value, Decimal):
        # pandas before 3 writes it as a text.
        return float(value)
    return _NOT_IN_XML.sub("", value) if isinstance(value, str) else value
