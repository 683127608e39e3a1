"""Turns an answer that records.py wrote into another answer for the same day.

    python variants.py order SOURCE TARGET      the same records in another order
    python variants.py changed SOURCE TARGET    every hundredth record changed: its user is a moderator

Works on a part of the answer at a time, so that its memory does not grow with the day.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

HEAD, TAIL = b'{"result": "0", "cdr": [', b"]}"
RECORD_START = b'{"trans_date": '
SEAM = b", " + RECORD_START
PART_BYTES = 5_000_000
CHANGED_EVERY = 100


def parts(answer: mmap.mmap) -> list[tuple[int, int]]:
    """Where parts of the answer begin and end, each with whole records."""
    cuts, end = [len(HEAD)], len(answer) - len(TAIL)
    while (seam := answer.find(SEAM, min(cuts[-1] + PART_BYTES, end), end)) > 0:
        cuts.append(seam + len(b", "))
    return [(start, stop) for start, stop in zip(cuts, [*(cut - len(b", ") for cut in cuts[1:]), end], strict=True)]


def records_of(part: bytes) -> list[bytes]:
    first, *others = part.split(SEAM)
    return [first, *(RECORD_START + other for other in others)]


def other_order(answer: mmap.mmap) -> Iterator[list[bytes]]:
    """The parts in another order, and the records of each."""
    chance, order = Random(1), parts(answer)
    chance.shuffle(order)
    for start, stop in order:
        records = records_of(answer[start:stop])
        chance.shuffle(records)
        yield records


def changed(answer: mmap.mmap) -> Iterator[list[bytes]]:
    number = 0
    for start, stop in parts(answer):
        records = records_of(answer[start:stop])
        for each, record in enumerate(records):
            if number % CHANGED_EVERY == 0:
                records[each] = record.replace(b'"role": "participant"', b'"role": "moderator"')
            number += 1
        yield records


def main() -> None:
    how, source, target = sys.argv[1:]
    with (
        Path(source).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as answer,
        Path(target).open("wb") as written,
    ):
        written.write(HEAD)
        for number, records in enumerate({"order": other_order, "changed": changed}[how](answer)):
            written.write(b", " * bool(number) + b", ".join(records))
        written.write(TAIL)


if __name__ == "__main__":
    main()
