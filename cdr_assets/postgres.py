"""What several machines share besides the tables: locks, and a few small values, in the Postgres server of the lake.

Each lock is an advisory lock on its own connection. When its holder dies, the server ends the connection, and the lock
is free. The small values are in the schema `cdr_assets`, next to the tables of the lake's catalogue.

    PostgresError           the server cannot be reached, or refuses what is asked
    └── LockLost            the connection that holds a lock broke, so somebody else may hold it now
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 10

KEEPALIVES = "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4"
"""With this the server notices within a minute that a machine is gone. By itself it takes more than two hours, in which
nobody would get the locks that were held there."""

TABLES = """
CREATE SCHEMA IF NOT EXISTS cdr_assets;
CREATE TABLE IF NOT EXISTS cdr_assets.pace (
    only_row BOOLEAN PRIMARY KEY CHECK (only_row), free_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE IF NOT EXISTS cdr_assets.runs (run_id TEXT PRIMARY KEY);
"""


class PostgresError(Exception):
    """The Postgres server cannot be reached, or refuses what is asked."""


class LockLost(PostgresError):
    """The connection that holds a lock broke, so somebody else may hold the lock now."""


class Busy(Exception):
    """Somebody else held a lock until the deadline."""


class HeldLock:
    """A lock that is held for as long as its connection lives."""

    def __init__(self, connection: psycopg.Connection[Any], name: str) -> None:
        self._connection, self._name = connection, name

    def check(self) -> None:
        """Raises LockLost if the lock may be somebody else's by now."""
        import psycopg

        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise LockLost(
                f"the connection that held the lock {self._name!r} broke, so nothing was committed: {_said(error)}"
            ) from None


class Postgres:
    """The Postgres server that a connection string of libpq names. Methods may be called from several threads."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        """It may have a password in it: show people `str(self)`."""
        self._has_tables = False

    @contextmanager
    def lock(self, name: str, patience_s: float | None = None) -> Iterator[HeldLock]:
        """Holds the lock of that name. Raises Busy when others held it for `patience_s`; None waits without end."""
        import psycopg

        with self.connection() as connection:
            # 0 waits without end; a millisecond is the least.
            patience_ms = 0 if patience_s is None else max(int(patience_s * 1000), 1)
            connection.execute(f"SET lock_timeout = {patience_ms}")
            try:
                connection.execute("SELECT pg_advisory_lock(%s)", [key_of(name)])
            except psycopg.errors.LockNotAvailable:
                raise Busy(
                    f"the lock {name!r} was held by {self._holder(connection, name)} for {patience_s:g} s"
                ) from None
            yield HeldLock(connection, name)

    def is_held(self, name: str) -> bool:
        """Whether anybody holds the lock of that name, alone or with others."""
        with self.connection() as connection:
            return _others(connection, [name]) > 0

    @contextmanager
    def present(self, names: Sequence[str]) -> Iterator[HeldLock]:
        """Holds the locks of these names together with others who do the same."""
        with self.connection() as connection:
            for name in names:
                connection.execute("SELECT pg_advisory_lock_shared(%s)", [key_of(name)])
            yield HeldLock(connection, names[0])

    def holders(self, names: Collection[str]) -> int:
        """How many connections hold locks of these names."""
        with self.connection() as connection:
            return _others(connection, names)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection on which every statement is a transaction. Raises PostgresError, which has no password in it."""
        import psycopg

        try:
            connection = psycopg.connect(
                self.dsn,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name="cdr_assets",
                # A server that is gone is noticed within a minute.
                keepalives_idle=20,
                keepalives_interval=5,
                keepalives_count=4,
            )
        except psycopg.Error as error:
            raise PostgresError(f"Postgres at {self} cannot be reached: {self.told(error)}") from None
        try:
            connection.execute(KEEPALIVES)
            self._make_tables(connection)
            yield connection
        except psycopg.Error as error:
            raise PostgresError(f"Postgres at {self} fails: {self.told(error)}") from None
        finally:
            with suppress(psycopg.Error):
                connection.close()

    def _make_tables(self, connection: psycopg.Connection[Any]) -> None:
        if self._has_tables:
            return
        with connection.transaction():
            # Two that make the same schema at once fail.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [key_of("tables of cdr_assets")])
            connection.execute(TABLES)
        self._has_tables = True

    def _holder(self, connection: psycopg.Connection[Any], name: str) -> str:
        row = connection.execute(
            "SELECT activity.application_name, host(client_addr), activity.pid FROM pg_locks"
            " JOIN pg_stat_activity AS activity USING (pid) WHERE granted AND " + _OF_KEYS,
            [[key_of(name)]],
        ).fetchone()
        return f"{row[0]} at {row[1]} (server process {row[2]})" if row else "somebody else"

    def told(self, error: Exception) -> str:
        """What the error says, on one line: of the connection string only host, port and database, else nothing but
        the error's kind.

        A password can be spelled in many ways, so what is left is compared with all words of the connection string.
        """
        given, address = self._given(), self._address()
        hidden = {str(value) for name, value in given.items() if not address or name not in _SHOWN}
        text = " ".join(str(error).replace(self.dsn, "…").split())
        for value in hidden:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
        words = set(re.findall(r"\w+", " ".join([self.dsn, *hidden])))
        words -= {"postgres", "postgresql", *given, *re.findall(r"\w+", address)}
        told = re.findall(r"\w+", text)
        return type(error).__name__ if any(word in (text if len(word) > 2 else told) for word in words) else text

    def __str__(self) -> str:
        """The server and the database."""
        return self._address() or "the address in CDR_WAREHOUSE"

    def _address(self) -> str:
        """Host, port and database; empty if they look as if a password that is not escaped had got into them."""
        given = self._given()
        address = f"{given.get('host', 'localhost')}:{given.get('port', 5432)}/{given.get('dbname', '')}"
        return address if re.fullmatch(r"[\w.,:/%-]*:[\d,]*/[\w.-]*", address) else ""

    def _given(self) -> dict[str, Any]:
        """The parts of the connection string; those that are absent come from libpq's own variables and files."""
        import psycopg.conninfo

        try:
            return dict(psycopg.conninfo.conninfo_to_dict(self.dsn))
        except psycopg.Error:
            # libpq quotes the part that it cannot read, which may be the password.
            raise PostgresError(
                "CDR_WAREHOUSE is no connection string of libpq: give ducklake:postgres:host=... dbname=... user=... "
                "password=..., with values in single quotes if they have spaces"
            ) from None


_SHOWN = ("host", "hostaddr", "port", "dbname")

_OF_KEYS = (
    "locktype = 'advisory' AND objsubid = 1"
    " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND ((classid::bigint << 32) | objid::bigint) = ANY(%s)"
)


def _others(connection: psycopg.Connection[Any], names: Collection[str]) -> int:
    row = connection.execute(
        f"SELECT count(DISTINCT pid) FROM pg_locks WHERE granted AND {_OF_KEYS}", [[key_of(name) for name in names]]
    ).fetchone()
    assert row
    return int(row[0])


def key_of(name: str) -> int:
    """The number of the advisory lock of that name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _said(error: Exception) -> str:
    """What libpq says, on one line. It names host, port and user, and no password."""
    return " ".join(str(error).split())
