"""The servers that the other tests need are there, and each test has its own part of them."""

from __future__ import annotations

import psycopg

from cdr_assets.postgres import Postgres
from cdr_assets_tests import PATIENCE_S


def test_each_test_has_an_empty_database(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone() == (0,)


def test_the_locks_of_a_lake_are_in_its_database(postgres: str) -> None:
    # The server notices a moment later that a holder has gone. Whoever waits for the lock then has it alone.
    for _ in range(2):
        with Postgres(postgres).lock("warehouse", PATIENCE_S):
            assert Postgres(postgres).holders(["warehouse"]) == 1
