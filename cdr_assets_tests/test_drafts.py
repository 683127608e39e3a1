"""Small files in one step, whatever is killed in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from cdr_assets.drafts import write_in_one_step
from cdr_assets.landing.zone import LandingZone

DAY = date(2026, 11, 2)
NOON = datetime(2026, 11, 3, 12, tzinfo=timezone.utc)

# Notes that the day was asked for. It stops before the note takes its place, says so, and goes on when told to.
NOTE = """
import os, sys
from datetime import date, datetime
from pathlib import Path
from cdr_assets.drafts import write_in_one_step
from cdr_assets.landing.zone import LandingZone

replace = os.replace

def stop_and_replace(source, target):
    print(flush=True)
    sys.stdin.readline()
    replace(source, target)

os.replace = stop_and_replace
LandingZone(Path(sys.argv[1])).note_asked(date.fromisoformat(sys.argv[2]), 7, datetime.fromisoformat(sys.argv[3]))
"""


@contextmanager
def noting(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written its note, and has not put it in its place."""
    command = [sys.executable, "-c", NOTE, str(folder), str(DAY), NOON.isoformat()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "\n"
        yield process


def files(folder: Path) -> set[str]:
    """Every file that is no lock."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_what_a_killed_process_left_is_removed_when_the_next_answer_comes(tmp_path: Path) -> None:
    with noting(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert len(files(tmp_path)) == 1
    zone = LandingZone(tmp_path)
    assert zone.next_request() == 1
    assert files(tmp_path) == {".requests"}
    assert zone.asked(DAY) is None


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path)
    with noting(tmp_path) as process:
        assert zone.next_request() == 1
        process.communicate("\n")
    assert process.returncode == 0
    assert zone.asked(DAY) == NOON
    assert files(tmp_path) == {".asked", ".requests"}


def test_a_note_that_was_swept_before_it_was_locked_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, replace, swept = LandingZone(tmp_path), os.replace, list[str]()

    def sweep_first(source: Path, target: Path) -> None:
        if not swept:
            swept.append(source.name)
            source.unlink()
        replace(source, target)

    monkeypatch.setattr(os, "replace", sweep_first)
    zone.note_asked(DAY, 7, NOON)
    assert swept
    assert zone.asked(DAY) == NOON


def test_a_note_whose_folder_is_gone_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_in_one_step(tmp_path / "gone" / "note", "text", tmp_path)
    assert files(tmp_path) == set()


def test_a_note_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        LandingZone(tmp_path).note_asked(DAY, 7, NOON)
    assert files(tmp_path) == set()
