"""Compares an answer, while it arrives, with what landed of its day before: which of its records are not known yet."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from cdr_assets.landing.files import DamagedFile, LandedFile, ids_of, texts
from cdr_assets.landing.hashes import Hashes
from cdr_assets.landing.moved import MovedRecords


@dataclass(frozen=True)
class Counts:
    """How an answer differs from what landed before, in records."""

    new: int
    changed: int
    vanished: int
    """Records that an earlier answer for the whole day had and this one lacks."""
    landed: int
    """Records of the day, with those of this answer."""


class Comparison:
    """The records of an answer on one day, compared with the landed files of the day. Use it as a context manager.

    A record is known if its newest version landed with the same bytes. For an answer that covers the day, some such
    answer must have had the record before: only then can a later one tell that it vanished. A record that may have
    `moved` to another day is not known, unless it came back after the request that moved it.

    The files stay open, so that what is read does not change. Raises DamagedFile when one is not what landed.
    """

    def __init__(self, files: Sequence[LandedFile], covers_day: bool, moved: MovedRecords) -> None:
        self._files, self._covers_day, self._moved = files, covers_day, moved
        self._came_back: set[int] = set()
        self._opened = ExitStack()
        self._open: list[IO[bytes]] = []
        self._same: _SameText | None = None
        self._is_indexed = False
        self._known = Hashes()
        self._known_lines, self._known_ids = array("q"), array("q")
        """Hashes of the known lines, and of their ids where these had to be read."""
        self._not_covered: dict[int, int] = {}
        """Hash of the newest line by hash of the id, for records that no answer for the whole day had."""
        self._answer_ids, self._answer_lines = Hashes(), 0
        self._unknown_ids = Hashes()
        self._landed_again = 0
        self._has_known_again = False

    def __enter__(self) -> Comparison:
        self._open = [self._opened.enter_context(file.path.open("rb")) for file in self._files]
        # An answer mostly says the same in the same order. Comparing bytes is enough as long as it does.
        if self._covers_day and len(self._files) == 1 and self._files[0].covers_day:
            self._same = _SameText(self._files[0], self._open[0])
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def unknown(self, text: bytes, ids: Sequence[str]) -> tuple[bytes, list[str]]:
        """The lines of `text` that are not known, and their ids. `ids` has one per line."""
        hashed = list(map(hash, ids))
        self._answer_ids.update(hashed)
        self._answer_lines += len(hashed)
        moved = [self._may_have_moved(id_hash) for id_hash in hashed] if self._moved else []
        if self._same and self._same.goes_on(text, len(hashed), not any(moved)):
            return b"", []
        self._index()
        lines, found = text.split(b"\n"), []
        mark, unknown_ids, has_unknown = self._known.mark, self._unknown_ids, bool(self._unknown_ids)
        for at, id_hash in enumerate(hashed):
            line_hash = hash(lines[at])
            if mark(line_hash):
                # A known line counts if another version came before it: else that one would be the newest.
                if not (
                    (has_unknown and id_hash in unknown_ids) or (moved and moved[at] and self._may_have_moved(id_hash))
                ):
                    continue
                self._has_known_again = True
            found.append(at)
            has_unknown = True
            if id_hash not in unknown_ids:
                unknown_ids.add(id_hash)
                self._landed_again += self._not_covered.get(id_hash) == line_hash
        return b"".join([lines[at] + b"\n" for at in found]), [ids[at] for at in found]

    def known_so_far(self) -> Iterator[tuple[bytes, list[str]]]:
        """The part of the answer that was compared as bytes before the files turned out to be damaged, and its ids."""
        if self._same and not self._is_indexed:
            yield from texts(self._same.seen())

    def counts(self) -> Counts:
        """How the answer differs, once it has been read to its end."""
        if self._same and self._same.is_complete():
            landed = len(self._answer_ids)
            return Counts(0, 0, 0, landed)
        self._index()
        changed, missing = self._changed_and_missing()
        new = len(self._unknown_ids) - changed - self._landed_again
        landed = len(self._known) + len(self._not_covered) + new
        return Counts(new, changed, missing if self._covers_day else 0, landed)

    def _changed_and_missing(self) -> tuple[int, int]:
        """How many landed records have another version in the answer, and how many known ones it does not have."""
        not_met = len(self._known) - self._known.marked
        if not self._unknown_ids:
            return 0, not_met
        changed = sum(id_hash in self._unknown_ids for id_hash in self._not_covered) - self._landed_again
        # An answer that repeats an id can have both the known version of a record and another one.
        may_have_both = self._has_known_again or len(self._answer_ids) < self._answer_lines
        if not not_met and not may_have_both:
            return changed, 0
        is_met, missing = self._known.is_marked, 0
        wanted = [at for at, line in enumerate(self._known_lines) if may_have_both or not is_met(line)]
        ids = (self._known_ids[at] for at in wanted) if self._known_ids else self._ids_at(wanted)
        for at, id_hash in zip(wanted, ids, strict=True):
            if id_hash in self._unknown_ids:
                changed += 1
            elif not is_met(self._known_lines[at]):
                missing += 1
        return changed, missing

    def _ids_at(self, places: Sequence[int]) -> Iterator[int]:
        """The ids of the lines at these places of the only file, hashed."""
        first, left = 0, deque(places)
        for lines in self._lines():
            wanted = []
            while left and left[0] < first + len(lines):
                wanted.append(lines[left.popleft() - first])
            yield from map(hash, ids_of(wanted))
            first += len(lines)

    def _lines(self) -> Iterator[list[bytes]]:
        for file, content in zip(self._files, self._open, strict=True):
            yield from file.lines(content)

    def _index(self) -> None:
        """Reads the landed files, and marks what the answer had so far."""
        if self._is_indexed:
            return
        newest = self._files[-1]
        if len(self._files) == 1 and self._covers(newest) and not newest.has_repeats:
            for lines in self._lines():
                self._known_lines.extend(map(hash, lines))
        else:
            self._index_versions()
        self._known.update(self._known_lines)
        if self._same:
            for lines in self._same.seen():
                for line in lines:
                    self._known.mark(hash(line))
        self._is_indexed = True

    def _may_have_moved(self, id_hash: int) -> bool:
        """Whether a newer version than the newest landed one may lie under another day."""
        request = self._moved.request(id_hash)
        return request > self._files[0].request and id_hash not in self._came_back

    def _covers(self, file: LandedFile) -> bool:
        return file.covers_day or not self._covers_day

    def _index_versions(self) -> None:
        """Reads several files, or one that repeats an id: of each record only the newest line is known."""
        seen, not_covered = Hashes(), self._not_covered
        newest_first = list(zip(self._files, self._open, strict=True))[::-1]
        for file, content in newest_first:
            line_hashes, id_hashes = array("q"), array("q")
            for lines in file.lines(content):
                line_hashes.extend(map(hash, lines))
                id_hashes.extend(map(hash, ids_of(lines)))
            is_oldest = file is self._files[0] and not file.has_repeats
            for line_hash, id_hash in zip(reversed(line_hashes), reversed(id_hashes), strict=True):
                if id_hash not in seen:
                    if self._moved and 0 <= self._moved.request(id_hash) <= file.request:
                        self._came_back.add(id_hash)
                    if not is_oldest:
                        seen.add(id_hash)
                    if self._covers(file):
                        self._know(line_hash, id_hash)
                    else:
                        not_covered[id_hash] = line_hash
                elif self._covers(file) and id_hash in not_covered:
                    self._know(not_covered.pop(id_hash), id_hash)

    def _know(self, line_hash: int, id_hash: int) -> None:
        self._known_lines.append(line_hash)
        self._known_ids.append(id_hash)


class _SameText:
    """Whether an answer goes on as the text of a landed file does."""

    def __init__(self, file: LandedFile, content: IO[bytes]) -> None:
        self._file, self._content = file, content
        self._blocks = file.blocks(content)
        self._ahead = b""
        self._lines = 0
        self._still = True

    def goes_on(self, text: bytes, lines: int, may_go_on: bool) -> bool:
        """Whether all text so far, this one included, is the beginning of the file. False if it may not go on."""
        self._still = self._still and may_go_on
        if not self._still:
            return False
        parts, length = [self._ahead], len(self._ahead)
        try:
            while length < len(text) and (block := next(self._blocks, b"")):
                parts.append(block)
                length += len(block)
        except DamagedFile:
            self._still = False
            return False
        ahead = b"".join(parts)
        self._still = ahead.startswith(text)
        if self._still:
            self._ahead = ahead[len(text) :]
            self._lines += lines
        return self._still

    def is_complete(self) -> bool:
        """Whether the text was that of the whole file, which is undamaged."""
        if not self._still or self._ahead:
            return False
        self._still = not next(self._blocks, b"")
        return self._still

    def seen(self) -> Iterator[list[bytes]]:
        """The lines that were the same."""
        left = self._lines
        lines = self._file.lines(self._content)
        while left > 0:
            found = next(lines)[:left]
            left -= len(found)
            yield found
