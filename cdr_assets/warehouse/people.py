"""How people are shown in the exports: by hashes with a secret key, unless somebody chose to show them in clear."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cdr_assets.database import WarehouseError


@dataclass(frozen=True)
class PeopleInExports:
    """How the exports show people. The key is in `key_file`; it is read once."""

    key_file: Path
    in_clear: bool = False
    """Exports have every column as it is in the table."""

    @cached_property
    def key(self) -> str:
        """The key. Raises WarehouseError as `people_key` does."""
        return people_key(self.key_file)

    @cached_property
    def version(self) -> str:
        """A short name for how people are shown. With another one, the exports with people are written again."""
        if self.in_clear:
            return "clear"
        try:
            return hashlib.sha256(f"version of {self.key}".encode()).hexdigest()[:8]
        except WarehouseError:
            # No export has this version, so the days are due, and building them says what is wrong with the key.
            return "unknown"


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
