"""The statements over `llm_chats` from a claim to an end. Leases and deadlines go by the database's clock alone.

An answer is written while the row is open, whoever's attempt is current: the first one stored is the chat's, and
nothing follows it. Anything else that a process writes for a chat counts only while its attempt is the row's. Locks
are taken in one order everywhere, chats before usage, and chats by id or without waiting, so that groups of them do not
deadlock.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from shared.catalogue import resolve
from shared.catalogue.resolve import ModelNotFound, Resolution
from shared.chat import usage
from shared.db import Caller

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
"""Between two messages for a chat that stays queued: doubling from the first to the longest."""
BATCH = 500
DEADLINE_GRACE_SECONDS = 2.0
"""So long after its deadline the process that has a chat may still write what it has; then anybody ends it."""


@dataclass(frozen=True, slots=True)
class ChatClaim:
    """A chat that is ours until its lease runs out. `seconds_left` counts down to its deadline.

    `tries` are the calls that earlier attempts made in vain; `spent` is the number of this attempt among those that
    count, and `is_last` says that no other may follow. `is_probe`: one call is made although its circuit is open.
    """

    chat_id: uuid.UUID
    attempt: int
    model: Resolution
    question: str
    system_prompt: str | None
    history: Sequence[tuple[str, str]]
    request_id: str | None
    seconds_left: float
    subject: str = ""
    tries: int = 0
    spent: int = 1
    is_last: bool = False
    is_probe: bool = False
    no_model: str | None = None
    """Why nobody may answer: the model is not there any more, and no other is allowed"""


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
    gateway; None when it waits for nothing. `counted`: the attempt is the chat's to spend.
    """

    chat_id: uuid.UUID
    attempt: int
    tries: int = 0
    failure: str | None = None
    pause_seconds: float = 0.0
    code: str | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: chats to publish with their request ids, and chats whose readers are to be told."""

    publish: tuple[tuple[uuid.UUID, str | None], ...] = ()
    changed: tuple[uuid.UUID, ...] = ()
    ended: Mapping[uuid.UUID, str] = field(default_factory=dict)
    lost_leases: tuple[uuid.UUID, ...] = ()


_LEASE = f"least(now() + make_interval(secs => %s), deadline_at + interval '{DEADLINE_GRACE_SECONDS} s')"


# Gives each of these chats that is queued, or whose lease ran out, one more attempt with a lease, and returns what a
# call needs; locked by id (llm_chats_pkey), the model's key looked up by llm_models_model_key_key.
_CLAIM = f"""
UPDATE llm_chats c SET status = 'running', attempt = attempt + 1, version = version + 1, waiting_for = NULL,
  started_at = coalesce(started_at, now()), lease_until = {_LEASE}
WHERE id = ANY(ARRAY(
  SELECT id FROM llm_chats WHERE id = ANY(%s::uuid[])
    AND (status = 'queued' OR (status = 'running' AND lease_until < now()))
    AND deadline_at > now() AND attempt - attempts_returned < %s
  ORDER BY id FOR UPDATE))
RETURNING id, attempt, requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story,
  question, system_prompt, history, request_id, extract(epoch FROM deadline_at - clock_timestamp())::float8 AS left,
  subject, tries, attempt - attempts_returned AS spent, other_models, strict,
  (SELECT m.matcha_llm_id FROM llm_models m WHERE m.model_key = c.model_key AND m.is_active
     AND (c.requested_model = c.model_key OR {resolve.REFUSED} IS NOT TRUE)) AS means
"""


def claim(
    connection: sa.Connection,
    chat_ids: Collection[uuid.UUID],
    *,
    lease_seconds: float,
    max_attempts: int,
    default_key: str = "",
) -> dict[uuid.UUID, ChatClaim]:
    """Make those of these chats ours that are queued or whose lease has run out.

    If the key no longer means the model that was promised, or upstream has refused a model that nobody named, it is
    resolved again; a claim whose chat allows no other model says that it is gone. Raises NoModel.
    """
    rows = connection.exec_driver_sql(_CLAIM, (lease_seconds, list(chat_ids), max_attempts)).mappings().all()
    claims = {}
    for row in rows:
        promised = Resolution(
            row["requested_model"],
            row["model_key"],
            row["model_name"],
            row["matcha_llm_id"],
            row["fallback_reason"],
            row["fallback_story"],
            tuple(row["other_models"]),
            row["strict"],
        )
        model, no_model = promised, None
        if row["means"] != promised.matcha_llm_id:
            try:
                model = _resolve_again(connection, row["id"], promised, default_key)
            except ModelNotFound as missing:
                no_model = str(missing)
        claims[row["id"]] = ChatClaim(
            row["id"],
            row["attempt"],
            model,
            row["question"],
            row["system_prompt"],
            tuple((role, content) for role, content in row["history"]),
            row["request_id"],
            row["left"],
            row["subject"],
            row["tries"],
            row["spent"],
            is_last=row["spent"] >= max_attempts,
            no_model=no_model,
        )
    return claims


def _resolve_again(connection: sa.Connection, chat_id: uuid.UUID, promised: Resolution, default_key: str) -> Resolution:
    model = resolve.resolve(
        connection,
        promised.requested,
        preferred_key=default_key,
        others=promised.others,
        strict=promised.strict,
    )
    # Writes the model that the chat has been given instead; finds it by llm_chats_pkey.
    connection.execute(
        sa.text("""
            UPDATE llm_chats SET model_key = :key, model_name = :name, matcha_llm_id = :llm_id,
              fallback_reason = :reason, fallback_story = :story WHERE id = :id
        """).bindparams(sa.bindparam("story", type_=sa.JSON(none_as_null=True))),
        {
            "id": chat_id,
            "key": model.key,
            "name": model.name,
            "llm_id": model.matcha_llm_id,
            "reason": model.reason,
            "story": model.story,
        },
    )
    return model


# Writes the model that each running attempt asks next; finds its chats by llm_chats_pkey.
_SWITCH = """
UPDATE llm_chats c SET model_key = n.key, model_name = n.name, matcha_llm_id = n.llm_id, fallback_reason = n.reason,
  fallback_story = NULL, version = version + 1
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::int[], %s::text[])
  AS n (id, attempt, key, name, llm_id, reason)
WHERE c.id = n.id AND c.attempt = n.attempt AND c.status = 'running'
RETURNING c.id
"""


def switch_models(connection: sa.Connection, switches: Sequence[SwitchModel]) -> set[uuid.UUID]:
    """Write which model each of these attempts asks from now on, where they are still ours; returns their ids."""
    columns = (
        [s.chat_id for s in switches],
        [s.attempt for s in switches],
        [s.model.key for s in switches],
        [s.model.name for s in switches],
        [s.model.matcha_llm_id for s in switches],
        [s.model.reason for s in switches],
    )
    return set(connection.exec_driver_sql(_SWITCH, columns).scalars())


# Ends each chat with an answer while it is open, or with a failure while the attempt is its own; finds its chats by
# llm_chats_pkey. Answers go in binary form: psycopg's text form of an array escapes character by character.
_FINISH = """
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
RETURNING c.id, c.model_key, c.status, c.fallback_reason, c.requested_model, c.upstream_ms
"""


def finish(connection: sa.Connection, finishes: Sequence[Finish]) -> set[uuid.UUID]:
    """End the chats of these attempts, and count them; returns the ids of those that it ended.

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
    rows = connection.exec_driver_sql(_FINISH, tuple(columns)).all()
    usage.count(connection, _ended(rows))
    return {row.id for row in rows}


# Queues the chat of each running attempt again, with its failure and its pause; finds its chats by llm_chats_pkey.
_RELEASE = """
UPDATE llm_chats c SET status = 'queued', tries = c.tries + n.tries, lease_until = NULL, version = version + 1,
  attempts_returned = attempts_returned + CASE WHEN n.counted THEN 0 ELSE 1 END, publishes = 0,
  last_failure = coalesce(n.failure, c.last_failure), publish_at = now() + make_interval(secs => n.kept),
  waiting_for = CASE WHEN n.code IS NOT NULL THEN 'upstream' END,
  waiting_since = CASE WHEN n.code IS NOT NULL THEN coalesce(c.waiting_since, now()) END,
  last_failure_code = coalesce(n.code, c.last_failure_code),
  last_failure_at = CASE WHEN n.code IS NOT NULL THEN now() ELSE c.last_failure_at END
FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::text[], %s::float8[], %s::text[], %s::boolean[])
  AS n (id, attempt, tries, failure, kept, code, counted)
WHERE c.id = n.id AND c.attempt = n.attempt AND c.status = 'running'
RETURNING c.id
"""


def release(connection: sa.Connection, releases: Sequence[Release]) -> set[uuid.UUID]:
    """Queue the chats of these attempts again, where they are still ours; returns their ids."""
    columns = (
        [r.chat_id for r in releases],
        [r.attempt for r in releases],
        [r.tries for r in releases],
        [r.failure for r in releases],
        [r.pause_seconds for r in releases],
        [r.code for r in releases],
        [r.counted for r in releases],
    )
    return set(connection.exec_driver_sql(_RELEASE, columns).scalars())


# Renews the leases of running attempts before their deadline; finds its chats by llm_chats_pkey. Rows that are being
# written at this moment are left alone: whoever waits for nobody deadlocks with nobody.
_RENEW = f"""
UPDATE llm_chats SET lease_until = {_LEASE}
WHERE id = ANY(ARRAY(
  SELECT c.id FROM unnest(%s::uuid[], %s::int[]) AS n (id, attempt)
  JOIN llm_chats c ON c.id = n.id AND c.attempt = n.attempt AND c.status = 'running'
  WHERE c.deadline_at > now()
  FOR UPDATE OF c SKIP LOCKED))
"""


def renew(connection: sa.Connection, attempts: Mapping[uuid.UUID, int], *, lease_seconds: float) -> set[uuid.UUID]:
    """Renew the leases of those of these attempts that are the row's, never past a deadline; returns the open chats.

    One that is open and no longer ours is queued again or another's: what we have of it by its end is still wanted.
    """
    connection.exec_driver_sql(_RENEW, (lease_seconds, list(attempts), list(attempts.values())))
    return still_open(connection, attempts)


# Selects those of these chats that have not ended, by llm_chats_pkey.
_STILL_OPEN = "SELECT id FROM llm_chats WHERE id = ANY(%s::uuid[]) AND status IN ('queued', 'running')"


def still_open(connection: sa.Connection, chat_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Which of these chats have not ended."""
    return set(connection.exec_driver_sql(_STILL_OPEN, (list(chat_ids),)).scalars())


# Sets when these queued chats are published next; finds them by llm_chats_pkey and skips locked rows.
_POSTPONE = """
UPDATE llm_chats SET publish_at = now() + make_interval(secs => %s)
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE id = ANY(%s::uuid[]) AND status = 'queued' FOR UPDATE SKIP LOCKED))
"""


def postpone(connection: sa.Connection, chat_ids: Collection[uuid.UUID], *, seconds: float) -> None:
    """Publish these queued chats again only after so many seconds: a process has them in hand. 0: at once."""
    connection.exec_driver_sql(_POSTPONE, (seconds, list(chat_ids)))


# Takes one publication of these queued chats back and sets the next; finds them by llm_chats_pkey and skips locked
# rows.
_MARK_UNPUBLISHED = """
UPDATE llm_chats SET publishes = greatest(publishes - 1, 0), publish_at = now() + make_interval(secs => %s)
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE id = ANY(%s::uuid[]) AND status = 'queued' FOR UPDATE SKIP LOCKED))
"""


def mark_unpublished(connection: sa.Connection, chat_ids: Collection[uuid.UUID]) -> None:
    """Take back that these queued chats were published: Redis took no message. They are due again soon."""
    connection.exec_driver_sql(_MARK_UNPUBLISHED, (FIRST_PAUSE_SECONDS, list(chat_ids)))


# Expires chats past their deadline, a batch of queued ones (llm_chats_queued) and a batch of running ones
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
RETURNING id, model_key, status, fallback_reason, requested_model, NULL::int AS upstream_ms
"""


# Cancels a batch of open chats whose callers left and did not come back, by llm_chats_given_up.
_CANCEL_GIVEN_UP = f"""
UPDATE llm_chats SET status = 'cancelled', error_code = 'cancelled',
  error_detail = 'Cancelled: its caller closed the connection and did not come back.',
  version = version + 1, finished_at = now(), lease_until = NULL
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE cancel_at <= now() AND finished_at IS NULL
                     LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING id, model_key, status, fallback_reason, requested_model, NULL::int AS upstream_ms
"""


# Queues a batch of running chats whose lease ran out again, or fails them after their last attempt, by
# llm_chats_running.
_END_LEASES = f"""
UPDATE llm_chats SET version = version + 1, lease_until = NULL, publish_at = now(),
  status = CASE WHEN attempt - attempts_returned < %s THEN 'queued' ELSE 'failed' END,
  finished_at = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE now() END,
  error_code = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE 'attempts_exhausted' END,
  error_detail = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE
    'Each of ' || (attempt - attempts_returned) || ' workers that took it stopped before it had an answer.'
    || coalesce(' The last failure: ' || last_failure_code || '.', '') END,
  error_cause = CASE WHEN attempt - attempts_returned < %s THEN NULL ELSE last_failure END
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE status = 'running' AND lease_until < now()
                     LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING id, model_key, status, fallback_reason, requested_model, NULL::int AS upstream_ms
"""


# Sets the next publication of a batch of queued chats that are due, the oldest first, by llm_chats_queued.
_TAKE_UNPUBLISHED = f"""
UPDATE llm_chats SET publishes = publishes + 1,
  publish_at = now() + make_interval(secs => least(%s::float8, %s::float8 * power(2, least(publishes, 16))))
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE status = 'queued' AND publish_at <= now()
                     ORDER BY created_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING id, request_id
"""


def sweep(connection: sa.Connection, *, max_attempts: int, leases: bool = True) -> Swept:
    """Expire what is past its deadline, cancel what its caller gave up, take back what lost its lease, and take what
    has to be published (again).

    Several processes may do this at the same time: none takes what another is taking. Without `leases` those that ran
    out are left as they are.
    """
    expired = connection.exec_driver_sql(_EXPIRE).all()
    given_up = connection.exec_driver_sql(_CANCEL_GIVEN_UP).all()
    lost = connection.exec_driver_sql(_END_LEASES, (max_attempts,) * 5).all() if leases else []
    exhausted = [row for row in lost if row.status == "failed"]
    publish = connection.exec_driver_sql(_TAKE_UNPUBLISHED, (LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS)).all()
    usage.count(connection, _ended([*expired, *given_up, *exhausted]))
    return Swept(
        publish=tuple((row.id, row.request_id) for row in publish),
        changed=tuple(row.id for row in (*expired, *given_up, *lost)),
        ended={row.id: row.status for row in (*expired, *given_up, *exhausted)},
        lost_leases=tuple(row.id for row in lost),
    )


# Cancels one open chat of this caller, or of any caller where none is named, by llm_chats_pkey.
_CANCEL = """
UPDATE llm_chats SET status = 'cancelled', error_code = 'cancelled', error_detail = 'Cancelled by its caller.',
  version = version + 1, finished_at = now(), lease_until = NULL
WHERE id = %s AND status IN ('queued', 'running') AND (%s::text IS NULL OR subject = %s)
RETURNING id, model_key, status, fallback_reason, requested_model, NULL::int AS upstream_ms
"""


def cancel(connection: sa.Connection, chat_id: uuid.UUID, caller: Caller) -> bool:
    """End an open chat that is the caller's to end; False where it had ended before, or is none of theirs."""
    subject = None if caller.role == "service_role" else caller.subject
    rows = connection.exec_driver_sql(_CANCEL, (chat_id, subject, subject)).all()
    usage.count(connection, _ended(rows))
    return bool(rows)


# Sets when an open chat is cancelled, unless its question was sent again since; finds it by llm_chats_pkey.
_GIVE_UP = """
UPDATE llm_chats SET cancel_at = now() + make_interval(secs => %s)
WHERE id = %s AND resends = %s AND status IN ('queued', 'running')
"""


def give_up(connection: sa.Connection, chat_id: uuid.UUID, *, resends: int, seconds: float) -> None:
    """Cancel this chat in so many seconds: its caller is gone. Not where the question has come again since."""
    connection.exec_driver_sql(_GIVE_UP, (seconds, chat_id, resends))


# Cancels all open chats of one caller, found by llm_chats_of_subject and locked by id.
_CANCEL_ALL = """
UPDATE llm_chats SET status = 'cancelled', error_code = 'cancelled',
  error_detail = 'Cancelled, because the chats of its caller were erased.',
  version = version + 1, finished_at = now(), lease_until = NULL
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE subject = %s AND status IN ('queued', 'running')
                     ORDER BY id FOR UPDATE))
RETURNING id, model_key, status, fallback_reason, requested_model, NULL::int AS upstream_ms
"""


def cancel_all(connection: sa.Connection, subject: str) -> tuple[uuid.UUID, ...]:
    """End the open chats of a caller, and count them; returns their ids."""
    rows = connection.exec_driver_sql(_CANCEL_ALL, (subject,)).all()
    usage.count(connection, _ended(rows))
    return tuple(row.id for row in rows)


# Deletes chats that ended before a moment, the oldest first, by llm_chats_finished.
_DELETE_FINISHED = """
DELETE FROM llm_chats WHERE id = ANY(ARRAY(
  SELECT id FROM llm_chats WHERE finished_at < now() - make_interval(secs => %s)
  ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def delete_finished(connection: sa.Connection, *, older_than_days: float, limit: int) -> int:
    """Delete chats that ended so long ago, the oldest first, at most `limit`; returns how many."""
    return connection.exec_driver_sql(_DELETE_FINISHED, (older_than_days * 86_400, limit)).rowcount


def _ended(rows: Sequence[sa.Row[Any]]) -> list[usage.EndedChat]:
    return [
        usage.EndedChat(row.model_key, row.status, row.fallback_reason, row.upstream_ms, row.requested_model)
        for row in rows
    ]
