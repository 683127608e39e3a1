"""Nothing of a lake's connection string is shown but host, port and database, in whatever spelling it was given."""

from __future__ import annotations

from pathlib import Path

import duckdb
import psycopg
import pytest

from cdr_assets.database import WarehouseError
from cdr_assets.lake import Lake
from cdr_assets.places import BadPlaces, Places
from cdr_assets.postgres import Postgres

CLOSED = [
    "host=127.0.0.1 port=1 dbname=cdr user=somebody password='hun\\'ter2' sslpassword=other3",
    "postgresql://somebody:hun%27ter2@127.0.0.1:1/cdr?sslpassword=oth%65r3",
    "postgresql://somebody@127.0.0.1:1/cdr?password=ter2&sslpassword=other3",
]
SECRETS = ("somebody", "ter2", "other3", "oth%65r3")


@pytest.mark.parametrize("dsn", CLOSED)
@pytest.mark.parametrize("use", [Lake.read, Lake.connect, Lake.upkeep])
def test_a_lake_that_cannot_be_reached_names_its_server_and_the_cause(dsn: str, use: object, tmp_path: Path) -> None:
    lake = Lake(Postgres(dsn), str(tmp_path / "lake"), tmp_path)
    with pytest.raises(WarehouseError, match=r"127\.0\.0\.1:1/cdr .*refused") as error:
        lake.upkeep() if use is Lake.upkeep else use(lake).__enter__()  # type: ignore[operator]
    assert not [each for each in SECRETS if each in str(error.value)]


@pytest.mark.parametrize("dsn", CLOSED)
@pytest.mark.parametrize(
    "said",
    [
        'authentication failed for "somebody"',
        "host=127.0.0.1 password=hun''ter2",
        'no option "{tail}"',
        "FATAL: other3",
        'Unable to connect to Postgres at "{dsn}": no',
    ],
)
def test_an_error_is_told_without_what_it_repeats(dsn: str, said: str) -> None:
    told = Postgres(dsn).told(duckdb.IOException(said.format(dsn=dsn, tail=dsn[-20:])))
    assert told == "IOException" or "…" in told
    assert not [each for each in SECRETS if each in told]
    assert Postgres(dsn).told(psycopg.OperationalError("database\n  cdr is full")) == "database cdr is full"


@pytest.mark.parametrize(
    "dsn", ["postgresql://user:hun/ter2@db.example/cdr", "postgresql://u:12/34@db.example/cdr", "host=a port=ter2"]
)
def test_a_password_that_is_not_escaped_is_no_part_of_the_address(dsn: str) -> None:
    assert str(Postgres(dsn)) == "the address in CDR_WAREHOUSE"


@pytest.mark.parametrize(
    "warehouse",
    [
        "ducklake:postgres:password=a hunter2 host=x",
        "ducklake:postgres:postgresql://u:p%zzhunter2@h/d",
        "postgres:host=x password=hunter2",
        "postgresql://u:hunter2@h/d",
        "host=x password = hunter2",
    ],
)
def test_what_libpq_cannot_read_is_refused_and_not_shown(warehouse: str, tmp_path: Path) -> None:
    with pytest.raises(BadPlaces, match="CDR_WAREHOUSE is") as error:
        Places.read(tmp_path, warehouse)
    assert "hunter2" not in str(error.value)
