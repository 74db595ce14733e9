"""Accepting a question: the model is resolved, the row is written and committed. Nothing is sent from here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from shared.catalogue import fallback, resolve
from shared.catalogue.fallback import Resolution
from shared.chat import read
from shared.chat.admission import (
    NO_CALLER_LIMITS,
    CallerDefaults,
    CallerOverLimit,
    ExclusiveLockNeeded,
    allowance_of,
)
from shared.chat.chat_request import AcceptedChat, ChatRequest
from shared.chat.dispatch import MESSAGE_SECONDS, NO_LIMITS, DispatchLimits
from shared.chat.open_chats import COUNT_ALONE, COUNT_OPEN, CountAlone, Counting, OpenChats, TooManyOpen
from shared.db import Database, Statement

RESEND_MINUTES = 15
"""So long after a question the same one, marked as sent again, means the same chat."""


class IdempotencyConflict(Exception):
    """The idempotency key was used for another question."""


# The condition of the caller's given-up chats of the same body (llm_chats_given_up).
_GIVEN_UP = """
  cancel_at IS NOT NULL AND finished_at IS NULL AND subject = %(subject)s AND body_sha256 = %(body_sha256)s"""


# Takes back the cancellation of the caller's newest given-up chat of the same body.
_RETURN = f"""
    UPDATE llm_chats SET resends = resends + 1, cancel_at = NULL
    WHERE id = (SELECT id FROM llm_chats WHERE {_GIVEN_UP} ORDER BY id DESC LIMIT 1) AND finished_at IS NULL
    RETURNING id, resends
"""


# Inserts a chat with the active model that {wanted} selects where its caller may open one, with a place where one is
# free and nobody waits (`llm_admit_chat`, migration 0022), all in one statement; a second one with the
# same idempotency key (llm_chats_idempotency) inserts nothing. Decides nothing where the caller has given the same
# question up (llm_chats_given_up), and this one would take it up again, nor where too many chats are open.
_INSERT = f"""
    WITH room AS MATERIALIZED (SELECT CASE WHEN %(counts)s THEN {COUNT_OPEN} END AS open_chats),
    admission AS MATERIALIZED (
      SELECT admitted.* FROM room, llm_admit_chat(%(subject)s, %(id)s, %(max_open)s, %(per_minute)s,
        %(max_running)s, %(max_parallel)s, %(alone)s) AS admitted
      WHERE (open_chats IS NULL OR open_chats <= %(most_open)s)
        AND NOT (%(returns)s AND EXISTS (SELECT FROM llm_chats WHERE {_GIVEN_UP}))),
    accepted AS (
      INSERT INTO llm_chats (id, subject, idempotency_key, body_sha256, request_id, question, system_prompt, history,
        requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story, other_models, strict,
        response, deadline_at, dispatched_at, publish_at, publishes)
      SELECT chat_id, %(subject)s, %(idempotency_key)s, %(body_sha256)s, %(request_id)s, %(question)s,
        %(system_prompt)s, %(history)s::jsonb, %(requested)s, model_key, model_name, matcha_llm_id, %(reason)s,
        %(story)s::jsonb, %(others)s::text[], %(strict)s, %(response)s::jsonb,
        now() + make_interval(secs => %(deadline)s), CASE WHEN place = 'free' THEN now() END,
        CASE WHEN place = 'free' THEN now() + make_interval(secs => {MESSAGE_SECONDS}) ELSE now() END,
        CASE WHEN place = 'free' THEN 1 ELSE 0 END
      FROM llm_models CROSS JOIN admission WHERE decision = 'admitted' AND is_active AND {{wanted}}
      ON CONFLICT (subject, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
      RETURNING {", ".join(column.name for column in read.SHOWN if column.name != "attempts")}, 0 AS attempts)
    SELECT open_chats, admission.*, accepted.* FROM room LEFT JOIN admission ON true LEFT JOIN accepted ON true
"""

# Inserts a chat with the active model of a key, by llm_models_model_key_key.
_INSERT_BY_KEY = _INSERT.format(wanted="model_key = %(key)s")


# Inserts a chat with the default model, by llm_models_one_default, unless upstream has refused it.
_INSERT_DEFAULT = _INSERT.format(wanted=f"is_default AND {fallback.REFUSED} IS NOT TRUE")


# Selects the chat of a caller's idempotency key, by llm_chats_idempotency.
_EARLIER = sa.text(
    "SELECT id, body_sha256, resends FROM llm_chats WHERE subject = :subject AND idempotency_key = :idempotency_key"
)


# Counts a repeated question for the caller's newest chat of the same body, found by llm_chats_of_subject: ids begin
# with the time they were made, so the index finds the late ones.
_REJOIN = f"""
    UPDATE llm_chats SET resends = resends + 1, cancel_at = NULL WHERE id = (
      SELECT id FROM llm_chats WHERE subject = %s AND id >= %s AND body_sha256 = %s
        AND created_at > now() - interval '{RESEND_MINUTES} minutes'
        AND status IN ('queued', 'running', 'succeeded')
      ORDER BY id DESC LIMIT 1)
    RETURNING id, resends
"""


class Submitter:
    """Accepts questions. One may serve many threads."""

    def __init__(
        self,
        database: Database,
        *,
        ids: Callable[[], uuid.UUID],
        deadline_seconds: float,
        max_open: int,
        default_key: str = "",
        limits: DispatchLimits = NO_LIMITS,
        callers: CallerDefaults = NO_CALLER_LIMITS,
    ) -> None:
        """`default_key`: MATCHAAI_DEFAULT_MODEL. `callers`: the limits of those without limits of their own."""
        self._database = database
        self._ids = ids
        self._deadline_seconds = deadline_seconds
        self._default_key = default_key
        self._limits = limits
        self._callers = callers
        self._open = OpenChats(max_open)

    def submit(self, request: ChatRequest) -> AcceptedChat:
        """Accept a question: when this returns, it is committed.

        Raises TooManyOpen, CallerOverLimit, IdempotencyConflict, NoModel, ModelNotFound, and what
        `Database.transaction` raises; nothing is stored then.
        """
        earlier = self._earlier(request)
        if earlier is not None:
            return earlier
        try:
            return self._accept(request)
        except (TooManyOpen, CallerOverLimit):
            # The last place may have gone to the same question, sent twice at the same time.
            earlier = self._earlier(request)
            if earlier is None:
                raise
            return earlier

    def _accept(self, request: ChatRequest) -> AcceptedChat:
        counting, alone = self._open.must_count(), False
        while True:
            try:
                return self._accept_beside(request, counting, alone=alone)
            except ExclusiveLockNeeded:
                alone = True
            except CountAlone:
                counting = "alone"

    def _accept_beside(self, request: ChatRequest, counting: Counting, *, alone: bool) -> AcceptedChat:
        """Accept beside other chats of the caller, or `alone`. Raises ExclusiveLockNeeded and CountAlone."""
        question = request.question
        accepted = self._insert(request, question.requested, counting=counting, alone=alone)
        while accepted is None:
            with self._database.transaction() as connection:
                model = resolve.resolve(
                    connection,
                    question.requested,
                    preferred_key=self._default_key,
                    others=question.others,
                    strict=question.strict,
                )
            accepted = self._insert(request, model.key, model, counting=counting, alone=alone)
        return accepted

    def _insert(
        self,
        request: ChatRequest,
        key: str | None,
        fallback: Resolution | None = None,
        *,
        counting: Counting,
        alone: bool,
    ) -> AcceptedChat | None:
        """Insert the question for the active model of this key, or the default; None where that is not active.

        Where open chats are counted alone, all processes take turns until their commit: the last place is given away
        once.
        """
        question = request.question
        story = fallback.story if fallback is not None else None
        values = {
            "id": self._ids(),
            "subject": request.caller.subject,
            "idempotency_key": request.idempotency_key,
            "body_sha256": request.sha256,
            "response": None if request.response is None else json.dumps(request.response, ensure_ascii=False),
            "request_id": request.request_id,
            "question": question.question,
            "system_prompt": question.system_prompt,
            "history": question.history_json,
            "requested": question.requested,
            "others": list(question.others),
            "strict": question.strict,
            "key": key,
            "reason": fallback.reason if fallback is not None else None,
            "story": None if story is None else json.dumps(story),
            "deadline": self._deadline_seconds,
            "max_running": self._limits.caller_max_running,
            "max_parallel": self._limits.max_parallel,
            "max_open": self._callers.max_open,
            "per_minute": self._callers.per_minute,
            "alone": alone,
            "returns": request.joins == "given_up" and request.idempotency_key is None,
            "counts": counting != "not",
            "most_open": self._open.most(counting),
        }
        statement = _INSERT_DEFAULT if key is None else _INSERT_BY_KEY
        returned = self._return(values) if counting == "alone" and values["returns"] else None
        row: Mapping[Any, Any] = {"decision": None} if returned else self._run(statement, values, counting)
        if row["decision"] is None:
            returned = returned or self._return(values)
            if returned is not None:
                return returned
            row = self._run(statement, values | {"returns": False}, counting)  # it has ended meanwhile
        allowance = allowance_of(row)
        if row["id"] is not None:
            return AcceptedChat(read.snapshot_of(row), new=True, place=row["place"], allowance=allowance)
        return None if request.idempotency_key is None else self._earlier(request)

    def _run(self, statement: str, values: Mapping[str, Any], counting: Counting) -> Mapping[Any, Any]:
        """The row of the question. Raises TooManyOpen and CountAlone."""
        since = self._open.now()
        before = [COUNT_ALONE] if counting == "alone" else []
        ((row,),) = self._database.run(*before, Statement(statement, values))[-1:]
        if row["open_chats"] is not None:
            self._open.counted(row["open_chats"], counting, since=since)
        return row

    def _return(self, values: Mapping[str, Any]) -> AcceptedChat | None:
        """The given-up chat that this question takes up again; None where it has ended."""
        with self._database.transaction() as connection:
            returned = connection.exec_driver_sql(_RETURN, dict(values)).first()
            snapshot = None if returned is None else read.find(connection, returned.id)
        if returned is None or snapshot is None:
            return None
        return AcceptedChat(snapshot, new=False, resends=returned.resends)

    def _earlier(self, request: ChatRequest) -> AcceptedChat | None:
        """The chat that this question means, where it is there."""
        if request.idempotency_key is None:
            return self._rejoined(request) if request.joins == "any" else None
        with self._database.transaction() as connection:
            row = connection.execute(
                _EARLIER, {"subject": request.caller.subject, "idempotency_key": request.idempotency_key}
            ).first()
            return None if row is None else _same(connection, row, request)

    def _rejoined(self, request: ChatRequest) -> AcceptedChat | None:
        since = datetime.now(UTC) - timedelta(minutes=RESEND_MINUTES)
        values = (request.caller.subject, read.first_id(since - read.APART), request.sha256)
        with self._database.transaction() as connection:
            row = connection.exec_driver_sql(_REJOIN, values).first()
            snapshot = None if row is None else read.find(connection, row.id)
        return None if row is None or snapshot is None else AcceptedChat(snapshot, new=False, resends=row.resends)


def _same(connection: sa.Connection, row: sa.Row[Any], request: ChatRequest) -> AcceptedChat:
    snapshot = read.find(connection, row.id)
    if row.body_sha256 != request.sha256 or snapshot is None:
        raise IdempotencyConflict("this Idempotency-Key was used for another body")
    return AcceptedChat(snapshot, new=False, resends=row.resends)
