"""Small files that are written in one step: a reader sees all of one or nothing.

A file is first written as a draft, locked by its writer. One without a living writer was left by a killed process and
is removed by the next sweep.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_in_one_step(path: Path, text: str, drafts: Path) -> None:
    """Writes the file. `drafts` is a folder on the same file system, and the file's own folder exists.

    An error leaves the former file as it was, and no draft.
    """
    while True:
        draft = drafts / secrets.token_hex(8)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.replace(draft, path)
            except BaseException as error:
                if isinstance(error, FileNotFoundError) and not draft.exists():
                    continue  # It was swept before it was locked.
                draft.unlink(missing_ok=True)
                raise
            return


def sweep(drafts: Path) -> None:
    """Removes the drafts that killed processes left."""
    with suppress(FileNotFoundError):
        for draft in drafts.iterdir():
            # Gone in between, or its writer lives.
            with suppress(FileNotFoundError, BlockingIOError), draft.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
