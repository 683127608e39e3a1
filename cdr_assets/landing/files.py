"""A landed file: what its name says of it, and its lines.

<request>-<when sent>-<route>-<records>-<cdr_ids>-<random>.ndjson.zst

`request` is the number of the request that brought the file. It only grows over the whole landing zone, so of two
versions of a record the one with the larger number is newer, whatever the clock did. `records` is how many lines the
file has, and `cdr_ids` how many different ones: a file that was cut short does not read as a smaller day. Files of
earlier versions of this project are named `<when sent>-<route>-<random>` and are older than all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import IO

import msgspec
import zstandard

from cdr_assets.storage import Readable, Stored

SUFFIX = ".ndjson.zst"
TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"

PERIOD, REPLACE, SPILL = "period", "-replace", "-spill"
"""The route whose answers cover a day, and what is put behind a route: `-replace` when the answer replaces what landed
for the day before it, `-spill` when the day was not asked for as a whole."""

_BLOCK_BYTES = 1 << 20
_FED_BYTES = 16 << 10
_NAME = re.compile(
    r"(?:(?P<request>\d{10,})-)?(?P<sent_at>\d{8}T\d{6}\.\d{6}Z)-(?P<route>[a-z-]+)"
    r"(?(request)-(?P<records>\d+)-(?P<ids>\d+))-(?P<random>[0-9a-f]{8})" + re.escape(SUFFIX)
)


class DamagedFile(Exception):
    """A landed file does not hold what landed in it."""

    def __init__(self, path: Readable, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path, self.problem = path, problem


@dataclass(frozen=True)
class LandedFile:
    """A file with records of one UTC day, as its name describes it."""

    path: Readable
    size: int
    """Bytes of the file, when it was listed."""
    request: int
    """Number of the request that brought it; 0 for files of earlier versions."""
    landed_at: datetime
    """UTC: when that request was sent."""
    route: str
    records: int | None
    """Lines in the file; None for files of earlier versions, whose names do not say it."""
    has_repeats: bool
    """Some cdr_id may be in it more than once."""

    @classmethod
    def of(cls, file: Stored) -> LandedFile | None:
        """The file as its name describes it; None if the name is not that of a landed file."""
        found = _NAME.fullmatch(file.path.name)
        if not found:
            return None
        try:
            landed_at = datetime.strptime(found["sent_at"], TIME_FORMAT)
        except ValueError:
            return None
        records = int(found["records"]) if found["request"] else None
        return cls(
            file.path,
            file.size,
            int(found["request"] or 0),
            landed_at.replace(tzinfo=timezone.utc),
            found["route"],
            records,
            records is None or int(found["ids"]) < records,
        )

    @property
    def order(self) -> tuple[int, str]:
        """Sorts the files of a day, oldest version first."""
        return self.request, self.path.name

    @property
    def covers_day(self) -> bool:
        """It is of an answer that the whole day was asked for."""
        return self.route in (PERIOD, PERIOD + REPLACE)

    @property
    def replaces_day(self) -> bool:
        """Older files of the day no longer count."""
        return self.route.endswith(REPLACE)

    def blocks(self, file: IO[bytes]) -> Iterator[bytes]:
        """The text of the file, opened as `file`, in pieces of up to a megabyte. Raises DamagedFile."""
        file.seek(0)
        count = 0
        try:
            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False) as reader:
                while block := reader.read(_BLOCK_BYTES):
                    count += block.count(b"\n")
                    yield block
        except zstandard.ZstdError as error:
            raise DamagedFile(self.path, f"cannot be decompressed: {error}") from None
        if self.records not in (None, count):
            raise DamagedFile(self.path, f"holds {count} records instead of {self.records}")

    def lines(self, file: IO[bytes]) -> Iterator[list[bytes]]:
        """The records of the file, without their newlines, some hundreds at a time. Raises DamagedFile."""
        return split_lines(self.blocks(file))

    def damage(self) -> str | None:
        """What is wrong with the file, by reading all of it; None if nothing is."""
        try:
            with self.path.open("rb") as file:
                for _ in self.blocks(file):
                    pass
                if not _ends_with_a_frame(file):
                    return "breaks off"
        except DamagedFile as error:
            return error.problem
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None


def file_name(request: int, sent_at: datetime, route: str, records: int, ids: int, random: str) -> str:
    """The name of a file that lands."""
    return f"{request:010d}-{sent_at.strftime(TIME_FORMAT)}-{route}-{records}-{ids}-{random}{SUFFIX}"


def _ends_with_a_frame(file: IO[bytes]) -> bool:
    """Whether the last zstd frame of the file is whole. Reading the frame as a stream does not tell."""
    file.seek(0)
    frame, left = zstandard.ZstdDecompressor().decompressobj(), b""
    while left or (left := file.read(_FED_BYTES)):
        if frame.eof:
            frame = zstandard.ZstdDecompressor().decompressobj()
        frame.decompress(left)
        left = frame.unused_data if frame.eof else b""
    return bool(frame.eof)


def split_lines(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Whole lines, without their newlines, from pieces of a text that ends with a newline."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield lines


def texts(batches: Iterable[Sequence[bytes]]) -> Iterator[tuple[bytes, list[str]]]:
    """Batches of lines, each as one text and its ids."""
    for lines in batches:
        yield b"\n".join([*lines, b""]), ids_of(lines)


class _Head(msgspec.Struct, gc=False):
    cdr_id: str | int | float


_HEADS = msgspec.json.Decoder(list[_Head])


def ids_of(lines: Sequence[bytes]) -> list[str]:
    """The cdr_id of each record, as text."""
    return [str(head.cdr_id) for head in _HEADS.decode(b"[" + b",".join(lines) + b"]")]
