"""An entry of the registry: a table, its columns, and the statements in its folder `sql/<table>/`.

sql/<table>/table.sql       CREATE TABLE, with the meaning of every column
sql/<table>/insert.sql      the rows of some partitions, `$first_date` to `$last_date`
sql/<table>/export.sql      the rows of a partition in its Parquet copy, without people; else they are the table's
sql/<table>/metadata.sql    figures of each of these partitions, one row per `usage_date`
sql/<table>/checks/*.sql    the rows that contradict each check, with their `usage_date`
sql/<table>/lists/*.sql     up to ten rows of each of these partitions
sql/macros.sql              what several tables share

All that lies in a table's folder decides its rows, except `metadata.sql`. What decides none lies in the folders below.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache, cached_property
from importlib import metadata
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from cdr_assets.database import Connection

SQL = files(__package__) / "sql"


class Column(NamedTuple):
    """A column as its `CREATE TABLE` declares and describes it."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Check:
    """A statement about an asset that is true when the check is green, and what to do when it is not.

    A blocking check stops the day that it fails on: the table is not exported, and no table below is built.
    """

    name: str
    meaning: str
    remedy: str
    blocking: bool = False
    over_all_days: bool = False
    """It needs the whole table: it is evaluated once a week and by "Execute", but not when a day is built."""


class LandedFile(Protocol):
    """A file with landed records of one UTC day."""

    @property
    def path(self) -> object:
        """Where it is: its text is a path, or an address that DuckDB reads."""

    @property
    def request(self) -> int:
        """Number of the request that brought it. Of two versions of a record, the one with the larger is newer."""

    @property
    def landed_at(self) -> datetime:
        """When that request was sent."""

    @property
    def records(self) -> int | None:
        """How many records it has; None if that is not known."""

    @property
    def has_repeats(self) -> bool:
        """Whether some cdr_id may be in it more than once."""

    def damage(self) -> str | None:
        """What is wrong with it; None if it holds what landed."""


class LandedFiles(Protocol):
    """The landed records, as a table is built from them."""

    def files(self, day: date) -> Sequence[LandedFile]:
        """The files with records of the UTC day, oldest request first. Empty if the day never landed."""

    def foreign_files(self, day: date) -> Sequence[object]:
        """Files among them that did not land."""

    def version(self, day: date) -> str:
        """A short name for exactly these files."""

    def version_of(self, files: Sequence[Any]) -> str:
        """The version of a day on which exactly these of its files have landed."""

    def lock(self, day: date) -> AbstractContextManager[object]:
        """Hold it while the files must not change."""

    def note_loaded(self, day: date, request: int) -> None:
        """Notes that the day's records up to this request are loaded. Called after every note about what they moved."""

    def note_moved(self, day: date, moved: Mapping[str, int]) -> None:
        """Notes which records of the day lie under another day: their ids, and the request that moved each."""


class Rebuilt(NamedTuple):
    """Replaced partitions: the days of the table whose rows may have changed, their own included."""

    changed_days: frozenset[date]
    days_due: frozenset[date] = frozenset()
    """Other days on which the table itself must be built again, and with it every table below."""


class Room(NamedTuple):
    """What people keep of a room: whose it is, and where its cost goes. None where that is not said."""

    room_id: str
    owner_ref: str | None
    billing_code: str | None


class Rooms(Protocol):
    """What people keep of the rooms, day by day."""

    def valid_on(self, day: date) -> Sequence[Room]:
        """The rooms on that UTC day, each once."""

    def version(self, day: date) -> str:
        """A short name for exactly these."""


@dataclass(frozen=True)
class Facts:
    """What tables are built from besides landed records."""

    rooms: Rooms
    is_provisional: Callable[[date], bool]
    """Whether more records of the UTC day are expected."""


@dataclass(frozen=True)
class Inputs:
    """What the tables of some days are built from."""

    landed: LandedFiles
    facts: Facts
    prepared: dict[str, Any] = field(default_factory=dict)
    """Which temporary tables, that several tables of the days read, are there, and what they hold."""


Build = Callable[[Connection, "Table", Sequence[date], Inputs], Rebuilt]
"""Replaces the partitions of a table on adjacent days, inside a transaction."""


@dataclass(frozen=True)
class Table:
    """A table of the warehouse. `sources` are the tables that it is built from; without any it is the landing zone.

    A table without `build` has no partitions of its own: other work writes to it.
    """

    name: str
    grain: str
    description: str
    build: Build | None
    sources: tuple[Table, ...] = ()
    support: tuple[Table, ...] = ()
    """Tables without partitions of their own that it reads."""
    checks: tuple[Check, ...] = ()
    lists: tuple[str, ...] = ()
    """Statements in its folder that give up to ten rows of each day, to be shown with the day."""
    exported: bool = True
    one_day_at_a_time: bool = False
    """Its `build` takes a single day."""
    shared_sql: tuple[str, ...] = ()
    """Further folders of `sql/` with statements that build it."""
    modules: tuple[str, ...] = ()
    """Modules next to this one that compute values of its rows."""
    packages: tuple[str, ...] = ()
    """Installed packages on whose versions these values depend."""
    version_of_facts: Callable[[Facts, date], str] | None = None
    """A short name for what a day is built from besides landed records; empty for nothing."""

    def sql(self, name: str) -> str:
        """The text of `sql/<table>/<name>.sql`."""
        return read_sql(f"{self.name}/{name}")

    def query(self, name: str) -> str:
        """The same without its semicolon, to be put into another statement."""
        return self.sql(name).strip().removesuffix(";")

    def has_sql(self, name: str) -> bool:
        """Whether the table's folder holds that statement."""
        return (SQL / self.name / f"{name}.sql").is_file()

    @property
    def daily_checks(self) -> tuple[Check, ...]:
        """The checks that are evaluated when a day is built."""
        return tuple(check for check in self.checks if not check.over_all_days)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns, read from `table.sql`: name, type, and the comment behind each."""
        declared = re.findall(
            r"^    (\w+) ([\w(),]+?)(?: USING COMPRESSION \w+)?,? +-- (.+)$", self.sql("table"), flags=re.MULTILINE
        )
        return tuple(Column(*column) for column in declared)

    @cached_property
    def exported_columns(self) -> tuple[Column, ...]:
        """The columns of its export, unless that shows people in clear.

        `export.sql` leaves some columns out. A comment behind one that it changes or adds says what readers must know.
        """
        statement = self.sql("export") if self.has_sql("export") else ""
        noted = {
            name: (type_, note)
            for type_, name, note in re.findall(r"(?:::(\w+))? AS (\w+),? +-- (.+)$", statement, flags=re.MULTILINE)
        }
        left_out = self.columns_left_out
        kept = [
            column._replace(description=f"{column.description}; {noted[column.name][1]}")
            if column.name in noted
            else column
            for column in self.columns
            if column.name not in left_out
        ]
        own = {column.name for column in self.columns}
        added = [Column(name, type_, note) for name, (type_, note) in noted.items() if name not in own]
        return (*kept, *added)

    @property
    def columns_left_out(self) -> list[str]:
        """The columns that `export.sql` leaves out."""
        found = re.search(r"EXCLUDE \(([^)]*)\)", self.sql("export")) if self.has_sql("export") else None
        return re.findall(r"\w+", found[1]) if found else []

    @cached_property
    def meaning(self) -> str:
        """The comment at the head of `table.sql`, on one line."""
        head = self.sql("table").partition("CREATE TABLE")[0]
        return " ".join(line.removeprefix("--").strip() for line in head.splitlines())

    @cached_property
    def fingerprint(self) -> str:
        """A short name for what decides the rows of the table and its copies, that of the tables it reads included."""
        parts = [
            *(code_of(read_sql(name)) for name in self.statements),
            *(table.fingerprint for table in (*self.sources, *self.support)),
            *(_code_of_module(name) for name in self.modules),
            *(metadata.version(name) for name in self.packages),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @property
    def statements(self) -> list[str]:
        """The names of the statements that decide the rows."""
        folders = (self.name, *self.shared_sql)
        found = (f"{folder}/{file.name}" for folder in folders for file in (SQL / folder).iterdir())
        names = {name.removesuffix(".sql") for name in found if name.endswith(".sql")}
        return ["macros", *sorted(names - {f"{self.name}/metadata"})]


def code_of(sql: str) -> str:
    """The SQL without comments, and with one space for several. A text in quotes stays as it is."""
    return re.sub(r"""('[^']*'|"[^"]*")|(?:\s|--.*)+""", lambda found: found[1] or " ", sql).strip()


def _code_of_module(name: str) -> str:
    """The code of a module, without comments and docstrings."""
    module = ast.parse((files(__package__) / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(module):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [
                each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ]
    return ast.unparse(module)


@cache
def read_sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")
