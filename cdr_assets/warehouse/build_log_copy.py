"""A copy of the build log in a file, which is read without opening the warehouse.

    built/log    one line of JSON per change of the build log, and of the warehouse's files

The last line names the warehouse's files as they were after the last commit: the number of the DuckDB file on the disk,
its bytes and modification time, and the last two of the write-ahead log. If they are not those of the files in place,
the copy does not count: the file was put back from a backup, another program wrote to it, or a process was killed
between its commit and its note. Whoever opens the warehouse next writes the copy again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from cdr_assets.warehouse.build_log import Entry
from cdr_assets.warehouse.exports import FileStamp

# Rewritten when it is several times as long as it need be, and at least as long as this.
_LONG = 1 << 18
_TIMES_TOO_LONG = 4

# More than the longest line.
_TAIL = 1 << 12

_log = logging.getLogger(__name__)

Stamp = list[int]
"""The files of the warehouse: number of the main file, bytes and nanoseconds of both."""


class Read(NamedTuple):
    """The entries of the copy, and the files of the warehouse that they are about."""

    entries: list[Entry]
    stamp: Stamp


class NoCopy:
    """Stands for the copy where none is needed: a lake is read while others write to it."""

    is_current = False
    is_too_long = False

    def read(self) -> None:
        return None

    def stamp(self) -> None:
        return None

    def rewrite(self, entries: Iterable[Entry]) -> None:
        pass

    def append(self, forgotten: Sequence[tuple[str, date]], written: Sequence[Entry]) -> None:
        pass


class BuildLogCopy:
    """The copy at `path` of the build log in the DuckDB file `warehouse`."""

    def __init__(self, path: Path, warehouse: Path) -> None:
        self._path, self._warehouse = path, warehouse
        self.is_current = False
        """Whether the copy holds what the open warehouse's build log holds. Only while the warehouse is open."""

    def read(self) -> Read | None:
        """The copy; None if it is not that of the warehouse's files in place."""
        stamp = self.stamp()
        if stamp is None:
            return None
        try:
            text = self._path.read_text(encoding="utf-8")
            lines = json.loads(f"[{','.join(text.splitlines())}]")
            return Read(_entries(lines[1:-1]), stamp) if lines and lines[-1] == {"stamp": stamp} else None
        except (OSError, ValueError, TypeError):
            return None

    def stamp(self) -> Stamp | None:
        """The files of the warehouse in place; None if there is none, or one without content."""
        try:
            main = self._warehouse.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if main.st_size == 0:
            return None
        log = FileStamp.of(Path(f"{self._warehouse}.wal"))
        return [main.st_ino, main.st_size, main.st_mtime_ns, *(log or ())]

    @contextmanager
    def while_open(self) -> Iterator[None]:
        """Enter it before the warehouse is opened, and leave it when it is closed: closing changes its files."""
        stamp = self.stamp()
        self.is_current = stamp is not None and self._last_line() == {"stamp": stamp}
        try:
            yield
        finally:
            if self.is_current and self.stamp() != stamp:
                self._append([])
            if not self.is_current:
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)

    @property
    def is_too_long(self) -> bool:
        """Whether most of the copy is out of date, so that writing it again makes it quicker to read."""
        try:
            with self._path.open(encoding="utf-8") as file:
                needed = int(json.loads(file.readline())["bytes"])
                return os.fstat(file.fileno()).st_size > max(_LONG, _TIMES_TOO_LONG * needed)
        except (OSError, ValueError, TypeError, KeyError):
            return True

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Replaces the whole copy, in one step. Call it with every entry while the warehouse is open."""
        body = "".join(_line([*entry]) for entry in entries)
        with self._writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_name(f".{self._path.name}.draft")
            draft.write_text(f"{_line({'bytes': len(body)})}{body}{_line({'stamp': self.stamp()})}", encoding="utf-8")
            os.replace(draft, self._path)

    def append(self, forgotten: Sequence[tuple[str, date]], written: Sequence[Entry]) -> None:
        """Adds what a transaction changed to the copy, which was current before it. Call it after the commit."""
        self._append([*map(list, forgotten), *map(list, written)])

    def _append(self, lines: Sequence[list[Any]]) -> None:
        text = "".join(map(_line, [*lines, {"stamp": self.stamp()}]))
        with self._writing(), self._path.open("a", encoding="utf-8") as file:
            file.write(text)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A copy that cannot be written stops no run: the sensors read the warehouse instead."""
        self.is_current = False
        try:
            yield
        except OSError as error:
            _log.warning("The copy of the build log is not written: %s", error)
        else:
            self.is_current = True

    def _last_line(self) -> Any:
        try:
            with self._path.open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
                tail = file.read()
            return json.loads(tail.splitlines()[-1]) if tail.endswith(b"\n") else None
        except (OSError, ValueError, IndexError):
            return None


def _line(content: Any) -> str:
    return json.dumps(content, default=str) + "\n"


def _entries(lines: Sequence[Any]) -> list[Entry]:
    """The entries that are left of the changes, the last one of each partition."""
    found: dict[tuple[str, str], list[Any]] = {}
    for line in lines:
        if isinstance(line, list):
            asset, day, *rest = line
            found.pop((asset, day), None)
            if rest:
                found[asset, day] = rest
    return [Entry(asset, date.fromisoformat(day), *rest) for (asset, day), rest in found.items()]
