"""Which records of a day may have a newer version under another day, so that seeing them again is news.

    landing/usage_date=YYYY-MM-DD/.moved     records of the day that lie under another day, and which request moved each
    landing/usage_date=YYYY-MM-DD/.loaded    number of the newest request whose records are in the tables

A record moves when a newer version has another trans_date. Only the loading of a day finds out which records moved, and
notes it here. Until a day is loaded, all of its records may have moved there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from cdr_assets.landing.files import DamagedFile, LandedFile, ids_of
from cdr_assets.landing.hashes import Hashes


class MovedRecords:
    """Records that may have moved away from a day, by the hash of their id.

    `noted` has those that did, and `not_loaded` the files of other days whose records may have.
    """

    def __init__(self, noted: Mapping[str, int], not_loaded: Sequence[LandedFile]) -> None:
        self._noted = {hash(cdr_id): request for cdr_id, request in noted.items()}
        self._not_loaded = [(file.request, _ids(file)) for file in not_loaded]

    def __bool__(self) -> bool:
        return bool(self._noted or self._not_loaded)

    def request(self, id_hash: int) -> int:
        """Number of the newest request that may have moved the record; -1 if there is none."""
        requests = [request for request, ids in self._not_loaded if id_hash in ids]
        return max([self._noted.get(id_hash, -1), *requests])


def _ids(file: LandedFile) -> Hashes:
    ids = Hashes()
    # Loading that day names the file if it is damaged.
    with suppress(DamagedFile, OSError), file.path.open("rb") as content:
        for lines in file.lines(content):
            ids.update(map(hash, ids_of(lines)))
    return ids
