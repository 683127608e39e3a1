"""The failure of a step: why and what to do, whether Dagster may retry, and tags that the sensors read."""

from __future__ import annotations

import errno
import os
import re
from datetime import date

import dagster as dg
import duckdb

from cdr_assets.enablex.errors import BadCredentials, BadParameter, BadSetting, Forbidden, Unavailable
from cdr_assets.pipeline.live_run import (
    ACCOUNT_ERROR_TAG,
    BAD_ROOMS_TAG,
    FAILED_DAY_TAG,
    MISTAKE_TAG,
    REFUSED_CREDENTIALS_TAG,
    UNAVAILABLE_TAG,
)
from cdr_assets.settings import ENABLEX_VARIABLES
from cdr_assets.warehouse.rooms import BadRooms

ACCOUNT_ERRORS = (BadCredentials, Forbidden, BadSetting)
"""Errors about the account: every other request would fail with them too."""


def failure(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    error: Exception,
    day: date | None = None,
    outlook: str = "",
) -> dg.Failure:
    """The step's failure for `error`; `outlook` says what it means for the run. A permanent error stops every retry.

    Raise it `from without_values(error)`: Dagster keeps the text of every error in the chain.

    Tags the run with what the sensors must know: the day that failed, which credentials were refused, and whether
    EnableX was unavailable.
    """
    tags = {FAILED_DAY_TAG: day.isoformat()} if day else {}
    permanent = bool(getattr(error, "permanent", False))
    if permanent:
        # Without this tag, run retries go on after a failure that allows none.
        tags["dagster/max_retries"] = "0"
    if isinstance(error, ACCOUNT_ERRORS):
        tags[ACCOUNT_ERROR_TAG] = type(error).__name__
        tags[REFUSED_CREDENTIALS_TAG] = context.resources.enablex.credentials
    if isinstance(error, BadParameter):
        tags[MISTAKE_TAG] = "true"
    if isinstance(error, BadRooms):
        tags[BAD_ROOMS_TAG] = "true"
    if isinstance(error, Unavailable):
        tags[UNAVAILABLE_TAG] = _how_unavailable(error)
    context.instance.add_run_tags(context.run.run_id, tags)
    return dg.Failure(
        f"{type(error).__name__}: {in_words(without_values(error))}\n{outlook}".rstrip(), allow_retries=not permanent
    )


def _how_unavailable(error: Unavailable) -> str:
    if error.status is None:
        return "no answer"
    return "broken answer" if error.status == 200 else f"HTTP {error.status}"


def in_words(error: Exception) -> str:
    """The error, with the environment variables to check if it is about settings."""
    variables = [ENABLEX_VARIABLES[setting] for setting in getattr(error, "settings", ())]
    return f"{error}; check {' and '.join(variables)}" if variables else str(error)


def without_values(error: Exception) -> Exception:
    """`error`, or one like it where its text can quote a record: DuckDB quotes what it could not convert or store."""
    if not isinstance(error, duckdb.Error):
        return error
    text = re.sub(r"""['"].*['"]""", _shown, str(error).partition("\n")[0])
    # DuckDB quotes what the system said, too, such as that no space is left.
    causes = {cause for cause in map(os.strerror, errno.errorcode) if cause in str(error) and cause not in text}
    return type(error)(": ".join([text, *sorted(causes)])).with_traceback(error.__traceback__)


def _shown(quoted: re.Match[str]) -> str:
    """A quoted text if it is a path; else an ellipsis in its place."""
    return quoted[0] if re.fullmatch(r"/[\w./=-]+", quoted[0][1:-1]) else "'…'"
