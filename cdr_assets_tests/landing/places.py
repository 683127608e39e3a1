"""Where the landing zones of tests are: in a folder and, where there are servers, in a bucket too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from cdr_assets.days import utc_now
from cdr_assets.landing.files import LandedFile
from cdr_assets.landing.zone import LandingZone
from cdr_assets.places import LAKE, Places
from cdr_assets.storage import Folder, Stored, make_folder


@dataclass(frozen=True)
class Place:
    """A landing zone that several processes can open: in a bucket, if `url` and the server of its locks are set."""

    data_dir: Path
    url: str = ""
    postgres: str = ""

    def zone(self, clock: Callable[[], datetime] = utc_now) -> LandingZone:
        if not self.url:
            return LandingZone(self.data_dir, clock)
        return LandingZone(Places.read(self.data_dir, LAKE + self.postgres, self.url), clock)


def landed_names(zone: LandingZone) -> list[str]:
    """The names of all files with records."""
    return [file.name for file in zone.storage.files("landing") if file.name.endswith(".zst")]


def name_in(day: date, name: str) -> str:
    return f"landing/usage_date={day}/{name}"


def content_of(file: LandedFile | Stored) -> bytes:
    with file.path.open("rb") as content:
        return content.read()


def put(zone: LandingZone, name: str, content: bytes) -> None:
    """Writes a file as somebody does who does not know of the landing zone."""
    make_folder(zone.storage.scratch)
    draft = zone.storage.scratch / ".by-hand"
    draft.write_bytes(content)
    zone.storage.put(draft, name)


def overwrite(zone: LandingZone, day: date, file: LandedFile, content: bytes) -> None:
    put(zone, name_in(day, file.path.name), content)


def remove_day(zone: LandingZone, day: date) -> None:
    """Deletes what landed for the day, with its folder if it has one."""
    for file in zone.storage.files(f"landing/usage_date={day}"):
        zone.storage.delete(file.name)
    if isinstance(zone.storage, Folder):
        (zone.landing / f"usage_date={day}").rmdir()


def remove(zone: LandingZone, day: date, file: LandedFile) -> None:
    zone.storage.delete(name_in(day, file.path.name))
