"""How attempts and chats end: what an attempt writes, and what its caller cancels.

An answer is written while the row is open, whoever's attempt is current: the first one stored is the chat's, and
nothing follows it. Anything else that a process writes for a chat counts only while its attempt is the row's. Locks
are taken in one order everywhere, chats before usage, and chats by id or without waiting, so that groups of them do not
deadlock.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from shared.catalogue.fallback import Resolution
from shared.chat import counting
from shared.db import Caller, Statement


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended: an answer of `model`, or an error, told to its caller (`error_detail`) and to operators."""

    chat_id: uuid.UUID
    attempt: int
    status: Literal["succeeded", "failed"]
    model: Resolution
    answer: str | None = None
    error_code: str | None = None
    error_detail: str | None = None
    error_cause: str | None = None
    tries: int = 0
    upstream_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SwitchModel:
    """An attempt goes on with another model: written before that one is asked."""

    chat_id: uuid.UUID
    attempt: int
    model: Resolution


@dataclass(frozen=True, slots=True)
class Release:
    """An attempt that ends without a result: the gateway is down, the chat pauses, or the process is going.

    `pause_seconds`: for so long no message is to be sent. `code`: the failure after which the chat waits for the
    gateway; None when it waits for nothing. `counted`: the attempt is the chat's to spend. `limited`: a
    limit of the gateway's lets no call begin.
    """

    chat_id: uuid.UUID
    attempt: int
    tries: int = 0
    failure: str | None = None
    pause_seconds: float = 0.0
    code: str | None = None
    counted: bool = False
    limited: bool = False


# Writes the model that each running attempt asks next; finds its chats by llm_chats_pkey.
_SWITCH = """
UPDATE llm_chats c SET model_key = n.key, model_name = n.name, matcha_llm_id = n.llm_id, fallback_reason = n.reason,
  fallback_story = NULL, version = version + 1
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::int[], %s::text[])
  AS n (id, attempt, key, name, llm_id, reason)
WHERE c.id = n.id AND c.attempt = n.attempt AND c.status = 'running'
RETURNING c.id
"""


def switch_models(switches: Sequence[SwitchModel]) -> Statement:
    """Writes which model each of these attempts asks from now on, where they are still ours; returns their ids."""
    columns = (
        [s.chat_id for s in switches],
        [s.attempt for s in switches],
        [s.model.key for s in switches],
        [s.model.name for s in switches],
        [s.model.matcha_llm_id for s in switches],
        [s.model.reason for s in switches],
    )
    return Statement(_SWITCH, columns)


# Ends each chat with an answer while it is open, or with a failure while the attempt is its own; finds its chats by
# llm_chats_pkey. Answers go in binary form: psycopg's text form of an array escapes character by character.
_FINISH = counting.with_counts(
    f"""
UPDATE llm_chats c SET status = n.status, answer = n.answer, error_code = n.error_code, error_detail = n.error_detail,
  error_cause = n.error_cause, model_key = n.key, model_name = n.name, matcha_llm_id = n.llm_id,
  fallback_reason = n.reason,
  fallback_story = CASE WHEN n.reason = c.fallback_reason THEN c.fallback_story END,
  tries = c.tries + n.tries, upstream_ms = n.upstream_ms, version = version + 1, finished_at = now(),
  lease_until = NULL, waiting_for = NULL
FROM unnest(%s::uuid[], %s::int[], %s::text[], %b::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
            %s::int[], %s::text[], %s::int[], %s::int[])
  AS n (id, attempt, status, answer, error_code, error_detail, error_cause, key, name, llm_id, reason, tries,
        upstream_ms)
WHERE c.id = n.id AND c.status IN ('queued', 'running') AND (n.status = 'succeeded' OR c.attempt = n.attempt)
RETURNING {counting.ended_columns("c")}""",
    "id",
)


def finish(finishes: Sequence[Finish]) -> Statement:
    """Ends the chats of these attempts, and counts them; returns the ids of those that it ended.

    An answer ends a chat that is open, a failure only one that nobody else has taken since.
    """
    columns = [
        [f.chat_id for f in finishes],
        [f.attempt for f in finishes],
        [f.status for f in finishes],
        [f.answer for f in finishes],
        [f.error_code for f in finishes],
        [f.error_detail for f in finishes],
        [f.error_cause for f in finishes],
        [f.model.key for f in finishes],
        [f.model.name for f in finishes],
        [f.model.matcha_llm_id for f in finishes],
        [f.model.reason for f in finishes],
        [f.tries for f in finishes],
        [f.upstream_ms for f in finishes],
    ]
    return Statement(_FINISH, columns)


# Queues the chat of each running attempt again, with its failure and its pause; finds its chats by llm_chats_pkey.
_RELEASE = """
UPDATE llm_chats c SET status = 'queued', tries = c.tries + n.tries, lease_until = NULL, version = version + 1,
  dispatched_at = NULL,
  attempts_returned = attempts_returned + CASE WHEN n.counted THEN 0 ELSE 1 END, publishes = 0,
  last_failure = coalesce(n.failure, c.last_failure), publish_at = now() + make_interval(secs => n.kept),
  waiting_for = CASE WHEN n.code IS NOT NULL THEN 'upstream' WHEN n.limited THEN 'limit' END,
  waiting_since = CASE WHEN n.code IS NOT NULL THEN coalesce(c.waiting_since, now()) END,
  last_failure_code = coalesce(n.code, c.last_failure_code),
  last_failure_at = CASE WHEN n.code IS NOT NULL THEN now() ELSE c.last_failure_at END
FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::text[], %s::float8[], %s::text[], %s::boolean[],
            %s::boolean[])
  AS n (id, attempt, tries, failure, kept, code, counted, limited)
WHERE c.id = n.id AND c.attempt = n.attempt AND c.status = 'running'
RETURNING c.id
"""


def release(releases: Sequence[Release]) -> Statement:
    """Queues the chats of these attempts again, where they are still ours; returns their ids."""
    columns = (
        [r.chat_id for r in releases],
        [r.attempt for r in releases],
        [r.tries for r in releases],
        [r.failure for r in releases],
        [r.pause_seconds for r in releases],
        [r.code for r in releases],
        [r.counted for r in releases],
        [r.limited for r in releases],
    )
    return Statement(_RELEASE, columns)


# Cancels one open chat of this caller, or of any caller where none is named, by llm_chats_pkey.
_CANCEL = counting.with_counts(
    f"""
UPDATE llm_chats SET status = 'cancelled', error_code = 'cancelled', error_detail = 'Cancelled by its caller.',
  version = version + 1, finished_at = now(), lease_until = NULL
WHERE id = %s AND status IN ('queued', 'running') AND (%s::text IS NULL OR subject = %s)
RETURNING {counting.ended_columns()}""",
    "id",
)


def cancel(connection: sa.Connection, chat_id: uuid.UUID, caller: Caller) -> bool:
    """End an open chat that is the caller's to end; False where it had ended before, or is none of theirs."""
    subject = None if caller.role == "service_role" else caller.subject
    return connection.exec_driver_sql(_CANCEL, (chat_id, subject, subject)).first() is not None


# Sets when an open chat is cancelled, unless its question was sent again since; finds it by llm_chats_pkey.
_CANCEL_LATER = """
UPDATE llm_chats SET cancel_at = now() + make_interval(secs => %s)
WHERE id = %s AND resends = %s AND status IN ('queued', 'running')
"""


def cancel_later(connection: sa.Connection, chat_id: uuid.UUID, *, resends: int, seconds: float) -> None:
    """Cancel this chat in so many seconds: its caller is gone. Not where the question has come again since."""
    connection.exec_driver_sql(_CANCEL_LATER, (seconds, chat_id, resends))


# Cancels all open chats of one caller, found by llm_chats_of_subject and locked by id.
_CANCEL_ALL = counting.with_counts(
    f"""
UPDATE llm_chats SET status = 'cancelled', error_code = 'cancelled',
  error_detail = 'Cancelled, because the chats of its caller were erased.',
  version = version + 1, finished_at = now(), lease_until = NULL
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE subject = %s AND status IN ('queued', 'running')
                     ORDER BY id FOR UPDATE))
RETURNING {counting.ended_columns()}""",
    "id",
)


def cancel_all(connection: sa.Connection, subject: str) -> tuple[uuid.UUID, ...]:
    """End the open chats of a caller, and count them; returns their ids."""
    return tuple(connection.exec_driver_sql(_CANCEL_ALL, (subject,)).scalars())
