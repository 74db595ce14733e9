"""What nobody has in hand: chats that are past their deadline, lost, unpublished, or ended long ago.

Several processes may do this at the same time: none takes what another is taking.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from shared.chat import counting, waiting
from shared.chat.claims import DEADLINE_GRACE_SECONDS
from shared.chat.dispatch import HAS_PLACE, LIVING_PLACES, MESSAGE_SECONDS, DispatchedChat

LONGEST_PAUSE_SECONDS = 60.0
"""Between two messages for a dispatched chat: doubling from MESSAGE_SECONDS to this."""
BATCH = 500


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did: chats whose message is to be sent again, and chats whose readers are to be told."""

    resend: tuple[DispatchedChat, ...] = ()
    changed: tuple[uuid.UUID, ...] = ()
    ended: Mapping[uuid.UUID, str] = field(default_factory=dict)
    lost_leases: tuple[uuid.UUID, ...] = ()


# Expires chats past their deadline, a batch of queued ones (llm_chats_deadlines) and a batch of running ones
# (llm_chats_running) whose lease or whose grace is over.
_EXPIRE = f"""
UPDATE llm_chats SET status = 'expired', version = version + 1, finished_at = now(), lease_until = NULL,
  error_code = 'expired', error_detail = 'Not answered within its deadline of '
    || round(extract(epoch FROM deadline_at - created_at)) || ' s.'
    || CASE WHEN started_at IS NULL OR (tries = 0 AND waiting_for = 'upstream' AND attempt = attempts_returned)
         THEN ' It never had its turn' || CASE WHEN waiting_for = 'upstream'
           THEN ': MatchaAI did not answer (' || last_failure_code || ').' ELSE '.' END
       ELSE coalesce(' The last failure: ' || last_failure_code || '.', '') END,
  error_cause = last_failure
WHERE id = ANY(
  ARRAY(SELECT id FROM llm_chats WHERE status = 'queued' AND deadline_at < now() LIMIT {BATCH} FOR UPDATE SKIP LOCKED)
  || ARRAY(SELECT id FROM llm_chats WHERE status = 'running' AND deadline_at < now()
             AND (lease_until < now() OR deadline_at < now() - interval '{DEADLINE_GRACE_SECONDS} s')
           LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING {counting.ended_columns()}
"""


# Cancels a batch of open chats whose callers left and did not come back, by llm_chats_given_up.
_CANCEL_GIVEN_UP = f"""
UPDATE llm_chats SET status = 'cancelled', error_code = 'cancelled',
  error_detail = 'Cancelled: its caller closed the connection and did not come back.',
  version = version + 1, finished_at = now(), lease_until = NULL
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE cancel_at <= now() AND finished_at IS NULL
                     LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING {counting.ended_columns()}
"""


# Queues a batch of running chats whose lease ran out again, or fails them after their last attempt, by
# llm_chats_running.
_END_LEASES = f"""
UPDATE llm_chats SET version = version + 1, lease_until = NULL, dispatched_at = NULL, publish_at = now(),
  status = CASE WHEN attempt - attempts_returned < %s THEN 'queued' ELSE 'failed' END,
  finished_at = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE now() END,
  error_code = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE 'attempts_exhausted' END,
  error_detail = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE
    'Each of ' || (attempt - attempts_returned) || ' workers that took it stopped before it had an answer.'
    || coalesce(' The last failure: ' || last_failure_code || '.', '') END,
  error_cause = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE last_failure END
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE status = 'running' AND lease_until < now()
                     LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING {counting.ended_columns()}
"""


# Chooses dispatched chats whose message is lost, and sets when it would be lost again, by llm_chats_dispatched: nobody
# has claimed them for a while, though a place is free, or a chat that was dispatched later has been claimed. While all
# places are taken a message may merely wait. Who has a chat in hand moves its `publish_at`.
_TAKE_LOST = f"""
WITH taken AS MATERIALIZED (
  SELECT count(*) AS running, max(dispatched_at) AS newest FROM llm_chats WHERE {HAS_PLACE} AND status = 'running')
UPDATE llm_chats SET publishes = publishes + 1, dispatched_at = now(), publish_at = now()
  + make_interval(secs => least({LONGEST_PAUSE_SECONDS}, {MESSAGE_SECONDS} * power(2, least(publishes - 1, 16))))
WHERE id = ANY(ARRAY(
  SELECT c.id FROM llm_chats c CROSS JOIN taken
  WHERE c.dispatched_at IS NOT NULL AND c.finished_at IS NULL AND c.status = 'queued' AND c.publish_at <= now()
    AND (c.dispatched_at < taken.newest OR taken.running < ({LIVING_PLACES}))
  ORDER BY c.dispatched_at LIMIT {BATCH} FOR UPDATE OF c SKIP LOCKED))
RETURNING id, request_id
"""


def sweep(connection: sa.Connection, *, max_attempts: int, leases: bool = True) -> SweepResult:
    """Expire what is past its deadline, cancel what its caller gave up, take back what lost its lease, end pauses, and
    take what was dispatched and needs another message.

    Without `leases` those that ran out are left as they are.
    """
    expired = connection.exec_driver_sql(_EXPIRE).all()
    given_up = connection.exec_driver_sql(_CANCEL_GIVEN_UP).all()
    lost = connection.exec_driver_sql(_END_LEASES, (max_attempts,) * 5).all() if leases else []
    exhausted = [row for row in lost if row.status == "failed"]
    waiting.end_pauses(connection)
    resend = connection.exec_driver_sql(_TAKE_LOST).all()
    counting.count(connection, [*expired, *given_up, *exhausted])
    return SweepResult(
        resend=tuple(DispatchedChat(row.id, row.request_id, first=False) for row in resend),
        changed=tuple(row.id for row in (*expired, *given_up, *lost)),
        ended={row.id: row.status for row in (*expired, *given_up, *exhausted)},
        lost_leases=tuple(row.id for row in lost),
    )


# Deletes chats that ended before a moment, the oldest first, by llm_chats_finished.
_DELETE_FINISHED = """
DELETE FROM llm_chats WHERE id = ANY(ARRAY(
  SELECT id FROM llm_chats WHERE finished_at < now() - make_interval(secs => %s)
  ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def delete_finished(connection: sa.Connection, *, older_than_days: float, limit: int) -> int:
    """Delete chats that ended so long ago, the oldest first, at most `limit`; returns how many."""
    return connection.exec_driver_sql(_DELETE_FINISHED, (older_than_days * 86_400, limit)).rowcount
