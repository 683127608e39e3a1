"""The secret with which people are hashed in the exports."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cdr_assets.database import WarehouseError


def people_key(file: Path) -> str:
    """The key in the file, which is made when it is first needed and can be read by its owner alone.

    Raises WarehouseError if the file holds no key.
    """
    try:
        key = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        key = secrets.token_hex(32)
        unfinished = file.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(key + "\n")
            new.flush()
            os.fsync(new.fileno())
        os.replace(unfinished, file)
    except UnicodeDecodeError:
        key = ""
    if len(key) < 16:
        raise WarehouseError(
            f"{file} holds no key of 16 characters or more: put the former key there, or delete the file to make "
            "another one, by which people get other hashes in the exports"
        )
    return key
