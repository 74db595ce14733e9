"""A PostgreSQL, or one of its backends, that is stopped: it takes what is sent and answers nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from harness.processes import ROOT
from harness.servers import Database
from harness.waiting import wait_for
from shared.db import Database as Pool
from shared.db import DatabaseUnavailable, Limits
from tests.support.stopping import stopped

QUICK = Limits(statement=0.3, connect=1.0, pool=1.0)


@contextmanager
def pool_of(url: str, *, size: int = 2) -> Iterator[Pool]:
    made = Pool(
        url.replace("postgresql://", "postgresql+psycopg://", 1), application_name="test", pool_size=size, limits=QUICK
    )
    try:
        yield made
    finally:
        made.dispose()


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server whose kernel takes connections, and that itself does nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield int(server.getsockname()[1])


def backend(pool: Pool) -> int:
    with pool.transaction() as connection:
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


def backend_or_none(pool: Pool) -> int | None:
    try:
        return backend(pool)
    except DatabaseUnavailable:
        return None


def test_a_stopped_backend_costs_its_own_statement_and_is_replaced(database: Database) -> None:
    with pool_of(database.url) as pool:
        frozen = backend(pool)
        with stopped([frozen]):
            with pytest.raises(DatabaseUnavailable), pool.transaction() as connection:
                connection.execute(sa.text("SELECT 1"))
            # The server may count as silent for a moment, since nobody else has heard from it.
            assert wait_for(lambda: backend_or_none(pool)) != frozen


def test_a_backend_stopped_within_a_transaction_ends_it(database: Database) -> None:
    with pool_of(database.url) as pool, pytest.raises(DatabaseUnavailable), pool.transaction() as connection:
        frozen = int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
        os.kill(frozen, signal.SIGSTOP)
        try:
            connection.execute(sa.text("SELECT 1"))
        finally:
            os.kill(frozen, signal.SIGCONT)


def test_a_server_that_never_greets_is_given_up_and_then_refused_at_once() -> None:
    with silent_server() as port, pool_of(f"postgresql://app:word@127.0.0.1:{port}/db") as pool:
        with pytest.raises(DatabaseUnavailable) as first:
            pool.check()
        with pytest.raises(DatabaseUnavailable) as second:
            pool.check()
    assert first.value.sqlstate is None
    assert second.value.sqlstate == "silent"


def test_names_of_several_hosts_are_tried_in_turn_within_one_budget(database: Database) -> None:
    port = sa.make_url(database.url).port
    with silent_server() as silent:
        address = database.url.replace(f"127.0.0.1:{port}/", "/", 1)
        both = f"{address}?host=127.0.0.1:{silent}&host=localhost:{port}"
        with pool_of(both) as pool:
            assert backend(pool)


def test_a_name_that_nobody_knows_is_a_database_that_cannot_be_reached() -> None:
    with pool_of("postgresql://app:word@no-such-host.invalid:5432/db") as pool, pytest.raises(DatabaseUnavailable):
        pool.check()


def test_greenlets_that_wait_for_a_stopped_server_hold_up_no_other() -> None:
    """In a process of its own, since gevent patches all of it."""
    program = textwrap.dedent("""
        from gevent import monkey; monkey.patch_all()
        import sys, time, gevent
        from shared.db import Database, DatabaseUnavailable, Limits
        pool = Database(sys.argv[1], application_name="t", limits=Limits(statement=0.3, connect=1.0, pool=1.0))
        ticks, ended = [], []
        def ask():
            try:
                pool.check()
            except DatabaseUnavailable:
                ended.append(True)
        def tick():
            while True:
                ticks.append(time.monotonic()); gevent.sleep(0.02)
        ticking = gevent.spawn(tick)
        gevent.joinall([gevent.spawn(ask) for _ in range(20)])
        ticking.kill()
        print(len(ended), len(ticks) > 20)
    """)
    with silent_server() as port:
        url = f"postgresql+psycopg://app:word@localhost:{port}/db"
        command = [sys.executable, "-c", program, url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["20", "True"], done.stderr
