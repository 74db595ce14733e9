"""The gateway's limits over all processes: a call begins when its row of `llm_call_starts` is written, not before."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from shared.chat.dispatch import START_WINDOW_SECONDS, DispatchLimits

SOON_SECONDS: Final = 0.25
"""How soon to look again for a call that has to wait until another one ends."""
KEPT_SECONDS: Final = 120.0
_NOT_ANNOUNCED_SECONDS: Final = 10.0

# Lets processes that count calls take turns until their commit: an advisory lock, no index.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7293450128893)"

# Writes that a call begins, where the limits allow it, and says else how long to wait. Open calls are those of living
# processes (llm_call_starts_open), recent ones come from llm_call_starts_started_at. The clock is read after the lock.
_BEGIN = f"""
WITH open AS (
  SELECT count(*) AS number FROM llm_call_starts s LEFT JOIN llm_chat_processes p ON p.id = s.process_id
  WHERE s.ended_at IS NULL AND coalesce(p.lease_until > now(),
    s.started_at > now() - make_interval(secs => {_NOT_ANNOUNCED_SECONDS}))),
recent AS (
  SELECT started_at FROM llm_call_starts
  WHERE started_at > clock_timestamp() - make_interval(secs => {START_WINDOW_SECONDS})
  ORDER BY started_at DESC OFFSET %(per_minute)s::int - 1 LIMIT 1),
allowed AS (
  SELECT (SELECT number FROM open) < coalesce(%(max_parallel)s::int, 2147483647) AS parallel,
    %(per_minute)s::int IS NULL OR NOT EXISTS (SELECT FROM recent) AS rate),
begun AS (
  INSERT INTO llm_call_starts (id, process_id, chat_id, started_at)
  SELECT %(id)s, %(process_id)s, %(chat_id)s, clock_timestamp() FROM allowed WHERE parallel AND rate)
SELECT CASE WHEN parallel AND rate THEN 0.0 WHEN rate THEN {SOON_SECONDS} ELSE
  (SELECT {START_WINDOW_SECONDS} - extract(epoch FROM clock_timestamp() - started_at) FROM recent) END::float8
FROM allowed
"""


def begin_call(
    connection: sa.Connection, limits: DispatchLimits, *, call_id: uuid.UUID, process_id: uuid.UUID, chat_id: uuid.UUID
) -> float:
    """Write that a call begins; returns 0 then, and else the seconds until it is worth trying again."""
    connection.exec_driver_sql(_ONE_AT_A_TIME)
    values = {
        "id": call_id,
        "process_id": process_id,
        "chat_id": chat_id,
        "max_parallel": limits.max_parallel,
        "per_minute": limits.requests_per_minute,
    }
    return float(connection.exec_driver_sql(_BEGIN, values).scalar_one())


# Writes that these calls have ended, by llm_call_starts_pkey.
_END = "UPDATE llm_call_starts SET ended_at = now() WHERE id = ANY(%s::uuid[]) AND ended_at IS NULL"

# Writes that all calls of a process but these have ended, by llm_call_starts_open; one that has just begun is left.
_END_OTHERS = """
UPDATE llm_call_starts SET ended_at = now()
WHERE process_id = %s AND ended_at IS NULL AND NOT id = ANY(%s::uuid[]) AND started_at < now() - interval '10 seconds'
"""

# Deletes calls that no limit counts any more, by llm_call_starts_started_at.
_FORGET = f"""
DELETE FROM llm_call_starts s WHERE started_at < now() - interval '{KEPT_SECONDS} s' AND (ended_at IS NOT NULL
  OR NOT EXISTS (SELECT FROM llm_chat_processes p WHERE p.id = s.process_id AND p.lease_until > now()))
"""


def end_calls(connection: sa.Connection, call_ids: Collection[uuid.UUID]) -> None:
    """Write that these calls have ended."""
    connection.exec_driver_sql(_END, (list(call_ids),))


def end_other_calls(connection: sa.Connection, process_id: uuid.UUID, open_ids: Collection[uuid.UUID]) -> None:
    """Write that a process makes no calls but these, and forget what is long over."""
    connection.exec_driver_sql(_END_OTHERS, (process_id, list(open_ids)))
    connection.exec_driver_sql(_FORGET)
