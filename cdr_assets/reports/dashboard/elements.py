"""What several pages show in the same way."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

NONE = "\N{EN DASH}"

_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")


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
            figure.label, number(figure.value, figure.digits), change(figure.value, figure.before), help=figure.help
        )


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
    return _MARKDOWN.sub(r"\\\1", cut(" ".join(str(text).split()), most))


def cut(text: str, most: int = 100) -> str:
    """The text, cut after `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


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


def downloads(rows: pd.DataFrame, name: str) -> None:
    """Offers the rows as CSV and as an Excel file."""
    left, right, _ = st.columns([1, 1, 4])
    left.download_button(
        "CSV", rows.to_csv(index=False), f"{name}.csv", "text/csv", on_click="ignore", key=f"{name} csv"
    )
    right.download_button(
        "Excel",
        lambda: _spreadsheet(rows),
        f"{name}.xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        on_click="ignore",
        key=f"{name} xlsx",
    )


def _spreadsheet(rows: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    # A text that begins with = would be a formula.
    with pd.ExcelWriter(file, engine="openpyxl") as writer:
        rows.to_excel(writer, index=False)
    return file.getvalue()
