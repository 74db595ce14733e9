"""The places of chat processes: each says how many calls it can make at once, for as long as it lives."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

# Writes how many places a process has, and how long that holds; forgets those that are long gone. By the primary key.
_ANNOUNCE = """
WITH gone AS (DELETE FROM llm_chat_processes WHERE lease_until < now() - interval '10 minutes')
INSERT INTO llm_chat_processes (id, node, places, lease_until) VALUES (%s, %s, %s, now() + make_interval(secs => %s))
ON CONFLICT (id) DO UPDATE SET places = excluded.places, lease_until = excluded.lease_until
"""


def announce(connection: sa.Connection, process_id: uuid.UUID, node: str, places: int, *, lease_seconds: float) -> None:
    """Say that a process can make so many calls at once; it holds for `lease_seconds`."""
    connection.exec_driver_sql(_ANNOUNCE, (process_id, node, places, lease_seconds))


# Deletes the places of a process, by the primary key.
_WITHDRAW = "DELETE FROM llm_chat_processes WHERE id = %s"


def withdraw(connection: sa.Connection, process_id: uuid.UUID) -> None:
    """Say that a process makes no calls any more."""
    connection.exec_driver_sql(_WITHDRAW, (process_id,))
