"""Whether giving places away costs the same with a million waiting chats of 10,000 callers as with a few of one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg
import sqlalchemy as sa

from bench.figures import Aim, Figure
from bench.place import Place
from shared.chat import dispatch, places
from shared.chat.dispatch import NO_LIMITS
from shared.db import SYSTEM, Database

FLAT = Aim(3)
CALLERS = (1, 100, 10_000)
PLACES, RUNNING = 200, 180
_WAITING = """
INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, deadline_at)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'caller ' || n %% %(callers)s, '', 'why?', 'k',
       'n', 28, now() + interval '1 day'
FROM generate_series(1, %(rows)s) AS n
"""
_RUNNING = """
UPDATE llm_chats SET status = 'running', dispatched_at = now(), lease_until = now() + interval '1 day'
WHERE id IN (SELECT id FROM llm_chats ORDER BY id LIMIT %s)
"""


def run(place: Place) -> Iterator[Figure]:
    """A turn that gives 41 places away (20 free ones and the reserve), rolled back; 180 chats are running."""
    sizes = (400, 10_000, place.choose(1_000_000, 20_000))
    repetitions = place.choose(15, 5)
    beside: tuple[float, ...] = ()
    with place.servers.database() as addresses:
        database = Database(addresses.url.replace("://", "+psycopg://", 1), application_name="bench", pool_size=1)
        with database.transaction() as connection:
            places.announce(connection, uuid.uuid4(), "chat@bench", PLACES, lease_seconds=86_400)
        for rows in sizes:
            for callers in (number for number in CALLERS if number <= rows):
                place.say(f"dispatch, {rows:,} chats of {callers:,} callers")
                with psycopg.connect(addresses.superuser_url, autocommit=True) as owner:
                    owner.execute("TRUNCATE llm_chats")
                    owner.execute(_WAITING, {"rows": rows, "callers": callers})
                    owner.execute(_RUNNING, (RUNNING,))
                    owner.execute("VACUUM ANALYZE llm_chats")
                took = tuple(_turn(database) for _ in range(repetitions + 2))[2:]
                beside = beside or took
                what = f"a turn with {rows:,} waiting chats of {callers:,} callers / with {sizes[0]:,} of 1"
                yield Figure("dispatch", what, "ms", took, beside, FLAT)
        database.dispose()


def _turn(database: Database) -> float:
    with closing(database.engine.connect()) as connection, connection.begin() as transaction:
        connection.execute(sa.text("SELECT set_config('role', :role, true)"), {"role": SYSTEM.role})
        began = time.perf_counter()
        turn = dispatch.take_turn(connection, NO_LIMITS)
        took = time.perf_counter() - began
        transaction.rollback()
    assert len(turn.dispatched) == PLACES + 1 + PLACES // 10 - RUNNING, len(turn.dispatched)
    return took * 1000
