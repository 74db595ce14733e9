"""Whether what is done all the time stays as quick with a million finished chats as with a thousand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import psycopg
import sqlalchemy as sa

from bench.figures import Aim, Figure
from bench.place import Place
from bench.processes import cpu_of_one
from harness.refreshing import catalogue_harness
from harness.servers import Database as Addresses
from harness.statements import execute
from shared.catalogue.listing import read_models, read_state
from shared.catalogue.listing_cache import READER
from shared.chat import claims, figures, lifecycle, read, sweeper, usage
from shared.chat.accept import Submitter
from shared.chat.chat_request import ChatRequest
from shared.chat.requests import Question
from shared.clock import new_id
from shared.db import SYSTEM, Caller, Database

FLAT = Aim(1.5)
ANNA = Caller("authenticated", "anna")
OPEN_CHATS = 200
A_NIGHT = timedelta(hours=26)
_FINISHED = """
INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, status, answer,
                       attempt, version, created_at, deadline_at, started_at, finished_at, upstream_ms)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       CASE WHEN n %% 100 = 0 THEN 'anna' ELSE 'caller ' || n %% 5000 END, md5(n::text), repeat('why? ', 12),
       'claude-3-7-sonnet', 'Claude 3.7 Sonnet', 28, 'succeeded', repeat('because ', 30), 1, 3, at, at + '10 minutes',
       at, at + '8 seconds', 8000
FROM (SELECT n, now() - (%(number)s - n) * interval '25 days' / %(number)s AS at FROM generate_series(1, %(number)s) n)
"""
_USED = """
INSERT INTO llm_usage_stats (model_key, day, request_count, last_used, successes, latency_ms, latency_buckets)
SELECT 'model-' || model, current_date - day, 100, now(), 100, 800000, array_fill(7::bigint, ARRAY[13])
FROM generate_series(1, 27) model, generate_series(0, 29) day
"""


@dataclass
class _Table:
    """A database with so many finished chats, and what each operation took there."""

    database: Database
    open_chats: list[UUID] = field(default_factory=list)
    backend_pid: int = 0
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, name: str, caller: Caller, do: Callable[[sa.Connection, _Table], object], times: int) -> None:
        """CPU of this process and of PostgreSQL's, in milliseconds each time, all of it rolled back."""
        began = time.process_time() + cpu_of_one(self.backend_pid)
        for _ in range(times):
            with closing(self.database.engine.connect()) as connection, connection.begin() as transaction:
                connection.execute(
                    sa.text("SELECT set_config('role', :role, true), set_config('request.jwt.claims', :claims, true)"),
                    {"role": caller.role, "claims": caller.claims},
                )
                do(connection, self)
                transaction.rollback()
        spent = time.process_time() + cpu_of_one(self.backend_pid) - began
        self.cpu.setdefault(name, []).append(spent / times * 1000)


def _claim(connection: sa.Connection, table: _Table) -> object:
    return claims.claim(connection, table.open_chats[:20], lease_seconds=30, max_attempts=3)


def _claim_and_finish(connection: sa.Connection, table: _Table) -> object:
    claimed = claims.claim(connection, table.open_chats[:20], lease_seconds=30, max_attempts=3).values()
    ends = [lifecycle.Finish(c.chat_id, c.attempt, "succeeded", c.model, answer="yes", upstream_ms=10) for c in claimed]
    return execute(connection, lifecycle.finish(ends))


OPERATIONS: dict[str, tuple[Caller, Callable[[sa.Connection, _Table], object]]] = {
    "claim 20": (SYSTEM, _claim),
    "claim and finish 20": (SYSTEM, _claim_and_finish),
    "sweep": (SYSTEM, lambda connection, _: sweeper.sweep(connection, max_attempts=3)),
    "usage of 30 days": (ANNA, lambda connection, _: usage.by_model(connection, days=30)),
    "figures for metrics": (SYSTEM, lambda connection, _: figures.figures(connection)),
    "a caller's newest 50 chats": (ANNA, lambda connection, _: read.newest(connection, ANNA, limit=50, before=None)),
    "the newest 50 chats": (SYSTEM, lambda connection, _: read.newest(connection, SYSTEM, limit=50, before=None)),
    "one chat": (ANNA, lambda connection, table: read.find(connection, table.open_chats[0])),
    "retention, nothing due": (SYSTEM, lambda c, _: sweeper.delete_finished(c, older_than_days=30, limit=1000)),
    "retention of 100": (SYSTEM, lambda c, _: sweeper.delete_finished(c, older_than_days=24, limit=100)),
    "the listing": (
        READER,
        lambda connection, _: (read_state(connection, stale_after=A_NIGHT), read_models(connection)),
    ),
}


def run(place: Place) -> Iterator[Figure]:
    """Both tables hold the same open chats and are measured in turn; the ratio is the large one's to the small's."""
    large_number = place.choose(1_000_000, 50_000)
    with place.servers.database() as small_at, place.servers.database() as large_at:
        small, large = _filled(place, small_at, 1_000), _filled(place, large_at, large_number)
        for repetition in range(place.choose(9, 3)):
            place.say(f"growth, repetition {repetition + 1}")
            for name, (caller, do) in OPERATIONS.items():
                for table in (small, large):
                    table.measure(name, caller, do, times=10)
        small.database.dispose()
        large.database.dispose()
    for name in OPERATIONS:
        what = f"{name}: CPU with {large_number:,} finished chats / with 1,000"
        yield Figure("growth", what, "ms", tuple(large.cpu[name]), tuple(small.cpu[name]), FLAT)


def _filled(place: Place, addresses: Addresses, number: int) -> _Table:
    place.say(f"growth, filling in {number:,} chats")
    with catalogue_harness(addresses.url, None) as catalogue:
        catalogue.seed()
    with psycopg.connect(addresses.superuser_url, autocommit=True) as connection:
        connection.execute(_FINISHED, {"number": number})
        connection.execute(_USED)
        url = addresses.url.replace("://", "+psycopg://", 1)
        table = _Table(Database(url, application_name="bench", pool_size=1))
        submitter = Submitter(table.database, ids=new_id, deadline_seconds=600, max_open=100_000)
        chat_requests = [
            ChatRequest(Question(question=f"Question {each}?"), ANNA, None, None) for each in range(OPEN_CHATS)
        ]
        table.open_chats = [submitter.submit(each).snapshot.chat_id for each in chat_requests]
        connection.execute("VACUUM ANALYZE")  # as autovacuum would have by then
    with table.database.engine.connect() as held:
        table.backend_pid = held.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return table
