"""Sets of hashes of lines and ids: nine bytes each, so that millions of records are compared without holding them.

Two texts with the same hash are taken for the same one. Python's own hash of a text has 64 bits, and another key in
each process unless someone turns that off. If a million records of a day change, the chance that one goes unseen is
less than one in ten million.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

_RECENT = 1 << 16


class Hashes:
    """A set of 64-bit integers that can be marked."""

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(256)]
        self._is_sorted = True
        self._recent: set[int] = set()
        self._marks: list[bytearray] = []
        self._length = 0
        self.marked = 0
        """How many members are marked."""

    def update(self, values: Iterable[int]) -> None:
        """Adds many members. Removes all marks."""
        buckets = self._buckets
        for value in values:
            buckets[value & 255].append(value)
        self._is_sorted, self._marks, self.marked = False, [], 0

    def add(self, value: int) -> None:
        """Adds a member. Removes all marks."""
        self._recent.add(value)
        # Sorting in is worth it for many at once, and the more, the more there are already.
        if len(self._recent) > max(_RECENT, self._length // 8):
            self.update(self._recent)
            self._recent = set()

    def __len__(self) -> int:
        self._settle()
        return self._length

    def __contains__(self, value: int) -> bool:
        if value in self._recent:
            return True
        if not self._is_sorted:
            self._sort()
        bucket = self._buckets[value & 255]
        at = bisect_left(bucket, value)
        return at < len(bucket) and bucket[at] == value

    def mark(self, value: int) -> bool:
        """Marks the value. Returns whether it is a member."""
        if not self._marks:
            self._settle()
            self._marks = [bytearray(len(bucket)) for bucket in self._buckets]
        number = value & 255
        bucket, marks = self._buckets[number], self._marks[number]
        at = bisect_left(bucket, value)
        if at == len(bucket) or bucket[at] != value:
            return False
        if not marks[at]:
            marks[at] = 1
            self.marked += 1
        return True

    def is_marked(self, value: int) -> bool:
        """Whether the value is a member with a mark."""
        if not self._marks:
            return False
        number = value & 255
        bucket = self._buckets[number]
        at = bisect_left(bucket, value)
        return at < len(bucket) and bucket[at] == value and bool(self._marks[number][at])

    def _settle(self) -> None:
        if self._recent:
            self.update(self._recent)
            self._recent = set()
        if not self._is_sorted:
            self._sort()

    def _sort(self) -> None:
        self._buckets = [_distinct(sorted(bucket)) for bucket in self._buckets]
        self._is_sorted, self._length = True, sum(map(len, self._buckets))


def _distinct(values: list[int]) -> array[int]:
    if len(set(values)) < len(values):
        values = sorted(set(values))
    return array("q", values)
