"""Backends of PostgreSQL that freeze, and a PostgreSQL that nobody can write to, while answers are under way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from harness.chatting import System
from harness.servers import with_database
from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem
from tests.fault.test_chat_servers import postgres_pid
from tests.support.stopping import stopped, with_children

LEASE = 6
TWO_LEASES = 2 * LEASE + 1


@contextmanager
def frozen_for_chats(system: System) -> Iterator[None]:
    """The backends of all connections that chat workers have now."""
    pids = system.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'llm-refresh chat%'")
    assert pids
    with stopped([pid for (pid,) in pids]):
        yield


@contextmanager
def silent(system: System) -> Iterator[None]:
    with stopped(with_children(postgres_pid(system))):
        yield


@contextmanager
def only_reading(system: System) -> Iterator[None]:
    outside = with_database(system.database_url, "postgres")
    with psycopg.connect(outside, autocommit=True) as server:
        server.execute("SET default_transaction_read_only = off")
        server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        server.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            server.execute("ALTER SYSTEM RESET default_transaction_read_only")
            server.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("delay", [3, 20], ids=["answers in hand", "calls under way"])
@pytest.mark.parametrize("trouble", [frozen_for_chats, silent, only_reading])
def test_a_postgresql_that_takes_nothing_for_two_leases_costs_no_second_call(
    start_system: StartSystem, report: Report, trouble: object, delay: float
) -> None:
    system = start_system(delay=delay, CHAT_LEASE_SECONDS=str(LEASE))
    system.start_refresh_worker()
    system.start_chat_worker()
    system.start_chat_worker()
    system.ask_many(40)
    system.wait_for_calls(40)

    with trouble(system):
        time.sleep(TWO_LEASES)
    system.wait_until_ended(seconds=60)

    figures = system.check(succeeded=40)
    assert figures["called again"] == 0
    report(**figures)


def test_backends_that_stay_frozen_hold_up_no_chat(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=3, CHAT_LEASE_SECONDS=str(LEASE), CHAT_DEADLINE_SECONDS="60")
    system.start_refresh_worker()
    system.start_chat_worker()
    system.ask_many(30)
    system.wait_for_calls(30)

    began = time.monotonic()
    with frozen_for_chats(system):
        system.wait_until_ended(seconds=60)
        took = time.monotonic() - began
        figures = system.check(succeeded=30)
    assert figures["called again"] == 0
    report(seconds=round(took, 1), **figures)


def test_a_deadline_ends_a_chat_also_while_its_worker_is_silent(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=60, CHAT_LEASE_SECONDS="300", CHAT_DEADLINE_SECONDS="15")
    system.start_refresh_worker()
    worker = system.start_chat_worker()
    system.ask_many(5)
    system.wait_for_calls(5)

    with stopped([worker.pid]):
        wait_for(lambda: system.statuses() == {"expired": 5}, seconds=40)
    late = system.query("SELECT max(extract(epoch FROM finished_at - deadline_at))::float8 FROM llm_chats")[0][0]
    assert late <= 5
    report(seconds_past_the_deadline=round(late, 1))
