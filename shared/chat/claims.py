"""Which process has a chat: claims, and their leases. Leases and deadlines go by the database's clock alone."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from shared.catalogue import fallback, resolve
from shared.catalogue.fallback import Resolution
from shared.catalogue.resolve import ModelNotFound
from shared.db import Statement

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


_LEASE = f"least(now() + make_interval(secs => %s), deadline_at + interval '{DEADLINE_GRACE_SECONDS} s')"


# The model that a chat's key means now: none where upstream has refused it and nobody has named it.
_MEANS = f"""(SELECT m.matcha_llm_id FROM llm_models m WHERE m.model_key = c.model_key AND m.is_active
     AND (c.requested_model = c.model_key OR {fallback.REFUSED} IS NOT TRUE))"""


# Gives each of these chats that is queued, or whose lease ran out, one more attempt with a lease, and returns what a
# call needs; locked by id (llm_chats_pkey), the model's key looked up by llm_models_model_key_key. One that was not
# dispatched takes a place all the same; it counts as an old one, for it has overtaken no message.
_CLAIM = f"""
UPDATE llm_chats c SET status = 'running', attempt = attempt + 1, version = version + 1, waiting_for = NULL,
  started_at = coalesce(started_at, now()), lease_until = {_LEASE}, dispatched_at = coalesce(dispatched_at, created_at)
WHERE id = ANY(ARRAY(
  SELECT id FROM llm_chats c WHERE id = ANY(%s::uuid[])
    AND (status = 'queued' OR (status = 'running' AND lease_until < now()))
    AND deadline_at > now() AND attempt - attempts_returned < %s AND (%s OR matcha_llm_id = {_MEANS})
  ORDER BY id FOR UPDATE OF c))
RETURNING id, attempt, requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story,
  question, system_prompt, history, request_id, extract(epoch FROM deadline_at - clock_timestamp())::float8 AS left,
  subject, tries, attempt - attempts_returned AS spent, other_models, strict, {_MEANS} AS means
"""


def claim_unchanged(chat_ids: Collection[uuid.UUID], *, lease_seconds: float, max_attempts: int) -> Statement:
    """Makes those of these chats ours that `claim` would, if their model is the one that was promised; returns what
    `claim_of` reads.
    """
    return Statement(_CLAIM, (lease_seconds, list(chat_ids), max_attempts, False))


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
    rows = connection.exec_driver_sql(_CLAIM, (lease_seconds, list(chat_ids), max_attempts, True)).mappings().all()
    claims = {}
    for row in rows:
        one = claim_of(row, max_attempts)
        if row["means"] != one.model.matcha_llm_id:
            try:
                one = replace(one, model=_resolve_again(connection, one.chat_id, one.model, default_key))
            except ModelNotFound as missing:
                one = replace(one, no_model=str(missing))
        claims[one.chat_id] = one
    return claims


def claim_of(row: Mapping[Any, Any], max_attempts: int) -> ChatClaim:
    """The claim that a row is."""
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
    return ChatClaim(
        row["id"],
        row["attempt"],
        promised,
        row["question"],
        row["system_prompt"],
        tuple((role, content) for role, content in row["history"]),
        row["request_id"],
        row["left"],
        row["subject"],
        row["tries"],
        row["spent"],
        is_last=row["spent"] >= max_attempts,
    )


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
