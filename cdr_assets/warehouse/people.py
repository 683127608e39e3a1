"""How people are shown in the exports: by hashes with a secret key, unless somebody chose to show them in clear."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from functools import cached_property

from cdr_assets.database import WarehouseError
from cdr_assets.storage import Storage

KEY = "people.key"

IDS = ("cdr_id", "app_id", "conf_num", "room_id", "parent_partner_id")
"""The columns that hold ids. An account can put names and addresses there."""
_ID = re.compile("[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class PeopleInExports:
    """How the exports show people. The key is in the file KEY of `storage`; it is read once."""

    storage: Storage
    in_clear: bool = False
    """Exports have every column as it is in the table."""

    @cached_property
    def key(self) -> str:
        """The key. Raises WarehouseError as `people_key` does."""
        return people_key(self.storage)

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


def is_id(text: str) -> bool:
    """Whether the text has the shape of an id, as the macro of this name says."""
    return bool(_ID.fullmatch(text))


def people_key(storage: Storage) -> str:
    """The key in the file KEY, which is made when it is first needed and can be read by its owner alone.

    Raises WarehouseError if the file holds no key.
    """
    try:
        key = storage.read(KEY)
        if key is None:
            with storage.lock(KEY):
                # Another process may have made it meanwhile.
                key = storage.read(KEY)
                if key is None:
                    key = secrets.token_hex(32)
                    storage.write(KEY, key + "\n")
    except UnicodeDecodeError:
        key = ""
    if len(key.strip()) < 16:
        raise WarehouseError(
            f"{storage.place(KEY)} holds no key of 16 characters or more: put the former key there, or delete the file "
            "to make another one, by which people get other hashes in the exports"
        )
    return key.strip()


def project_id(storage: Storage) -> str:
    """A word by which these data are known wherever they are moved: it goes with the key, which it does not tell."""
    return hashlib.sha256(f"project of {people_key(storage)}".encode()).hexdigest()[:12]
