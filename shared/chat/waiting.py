"""The statements for chats that wait for the gateway: they are queued rows, and hold no place in any process."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from shared.chat.circuit_breaker import CircuitScope

PARK_SECONDS = 30.0
"""A chat that waits has its turn again after this, should the process that would wake it be gone."""
WAKE_BATCH = 5000
RETRY_LATER_SECONDS = 2.0
"""Chats that have failed themselves come after those that have not."""


@dataclass(frozen=True, slots=True)
class BlockedScope:
    """Chats that are not to be claimed: those of a scope, because of a failure so long ago."""

    scope: CircuitScope
    code: str
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class ParkedChat:
    """In place of a claim: the chat waits for the gateway."""


_SCOPES = "unnest(%(models)s::int[], %(subjects)s::text[]) AS s (model, subject)"
_COVERS = "(s.model IS NULL OR s.model = c.matcha_llm_id) AND (s.subject IS NULL OR s.subject = c.subject)"


# Marks those of these queued chats that a circuit bars as waiting for the gateway, with the latest failure; locks them
# by id (llm_chats_pkey). Where another process has claimed one before us, it is not queued any more.
_PARK = f"""
WITH barred AS MATERIALIZED (
  SELECT c.id, why.code, why.ago, c.waiting_for IS DISTINCT FROM 'upstream' AS new
  FROM llm_chats c CROSS JOIN LATERAL (
    SELECT code, ago
    FROM unnest(%(models)s::int[], %(subjects)s::text[], %(codes)s::text[], %(agos)s::float8[])
      AS s (model, subject, code, ago)
    WHERE {_COVERS} ORDER BY ago LIMIT 1) AS why
  WHERE c.id = ANY(%(ids)s::uuid[]) AND c.status = 'queued' AND c.deadline_at > now()
  ORDER BY c.id FOR UPDATE OF c)
UPDATE llm_chats c SET waiting_for = 'upstream', waiting_since = coalesce(c.waiting_since, now()), publishes = 0,
  dispatched_at = NULL, publish_at = now() + make_interval(secs => %(pause)s),
  last_failure_code = barred.code, last_failure_at = now() - make_interval(secs => barred.ago),
  version = version + CASE WHEN barred.new THEN 1 ELSE 0 END
FROM barred WHERE c.id = barred.id
RETURNING c.id, barred.new
"""


def park(
    connection: sa.Connection, chat_ids: Collection[uuid.UUID], blocked_scopes: Sequence[BlockedScope]
) -> dict[uuid.UUID, bool]:
    """Let those of these queued chats wait that are barred; returns them, and whether each is new among the waiting."""
    values = {
        "ids": list(chat_ids),
        "codes": [blocked.code for blocked in blocked_scopes],
        "agos": [blocked.seconds_ago for blocked in blocked_scopes],
        "pause": PARK_SECONDS,
        **_arrays([blocked.scope for blocked in blocked_scopes]),
    }
    return {row.id: row.new for row in connection.exec_driver_sql(_PARK, values)}


# Lets paused chats of these scopes wait for their turn again, the oldest first, by llm_chats_waiting_for_upstream.
_WAKE = f"""
UPDATE llm_chats SET waiting_for = CASE WHEN tries > 0 THEN waiting_for END,
  publish_at = least(publish_at, now() + make_interval(secs => CASE WHEN tries = 0 THEN 0 ELSE %(later)s END))
WHERE id = ANY(ARRAY(
  SELECT c.id FROM llm_chats c
  WHERE c.status = 'queued' AND c.waiting_for = 'upstream' AND c.publish_at > now()
    AND EXISTS (SELECT FROM {_SCOPES} WHERE {_COVERS})
  ORDER BY c.created_at LIMIT {WAKE_BATCH} FOR UPDATE SKIP LOCKED))
"""


def wake(connection: sa.Connection, scopes: Sequence[CircuitScope]) -> int:
    """Let the chats of these scopes that wait for the gateway have their turn soon; returns how many."""
    return connection.exec_driver_sql(_WAKE, {**_arrays(scopes), "later": RETRY_LATER_SECONDS}).rowcount


# Ends the pauses that are over, of a batch of chats, by llm_chats_paused.
_END_PAUSES = f"""
UPDATE llm_chats SET waiting_for = NULL
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE status = 'queued' AND waiting_for IS NOT NULL
                       AND publish_at <= now()
                     ORDER BY publish_at LIMIT {WAKE_BATCH} FOR UPDATE SKIP LOCKED))
"""


def end_pauses(connection: sa.Connection) -> None:
    """Let chats whose pause is over wait for their turn again."""
    connection.exec_driver_sql(_END_PAUSES)


# Selects the waiting chat to probe a circuit with, by llm_chats_waiting_for_upstream.
_CANDIDATE = """
SELECT id FROM llm_chats
WHERE status = 'queued' AND waiting_for = 'upstream' AND deadline_at > now()
  AND (%(model)s::int IS NULL OR matcha_llm_id = %(model)s)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s)
ORDER BY tries > 0, subject = ANY(%(avoided)s::text[]), tries, created_at LIMIT 1
"""


def find_probe(connection: sa.Connection, scope: CircuitScope, *, avoided: Sequence[str]) -> uuid.UUID | None:
    """The waiting chat that says most about the gateway: one that has not failed yet, of a caller whose have not."""
    values = {"model": scope.model, "subject": scope.subject, "avoided": list(avoided)}
    chat_id: uuid.UUID | None = connection.exec_driver_sql(_CANDIDATE, values).scalar()
    return chat_id


def _arrays(scopes: Sequence[CircuitScope]) -> dict[str, list[int | None] | list[str | None]]:
    return {"models": [scope.model for scope in scopes], "subjects": [scope.subject for scope in scopes]}
