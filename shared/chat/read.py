"""Chats as the API shows them: one, a caller's own, and those that have changed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
import structlog

from shared.db import Caller, Statement
from shared.models import llm_chats as chats
from shared.vocabulary import ENDED_CHATS

log = structlog.get_logger(__name__)

Content = Literal["none", "answer", "all"]
"""How much of what was asked and answered is read with a chat."""


SHOWN = (
    chats.c.id,
    chats.c.status,
    chats.c.requested_model,
    chats.c.model_key,
    chats.c.model_name,
    chats.c.matcha_llm_id,
    chats.c.fallback_reason,
    chats.c.fallback_story,
    chats.c.error_code,
    chats.c.error_detail,
    (chats.c.attempt - chats.c.attempts_returned).label("attempts"),
    chats.c.version,
    chats.c.created_at,
    chats.c.started_at,
    chats.c.finished_at,
    chats.c.upstream_ms,
    chats.c.waiting_for,
    chats.c.waiting_since,
    chats.c.last_failure_code,
    chats.c.last_failure_at,
    chats.c.subject,
    chats.c.request_id,
    chats.c.erased_at,
    chats.c.dispatched_at,
)
_WHOLE = (*SHOWN, chats.c.answer)
_COLUMNS: Mapping[Content, tuple[sa.ColumnElement[Any], ...]] = {
    "none": SHOWN,
    "answer": _WHOLE,
    "all": (*_WHOLE, chats.c.question, chats.c.system_prompt, chats.c.history),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A chat as it was at one moment. `body` is what the API shows its caller, without links; `subject` whose it is."""

    chat_id: uuid.UUID
    version: int
    body: Mapping[str, Any]
    subject: str = ""
    request_id: str | None = None
    prompt: Mapping[str, Any] | None = None
    """What was asked, in the fields of the request; None where it was not read"""

    @property
    def status(self) -> str:
        return str(self.body["status"])

    @property
    def ended(self) -> bool:
        return self.status in ENDED_CHATS


def read_cause(connection: sa.Connection, chat_id: uuid.UUID) -> str | None:
    """Why a chat failed, or fails so far, in the words for operators; None where nothing is known. Not for callers."""
    cause = sa.func.coalesce(chats.c.error_cause, chats.c.last_failure)
    # Selects the texts for operators of one chat, by llm_chats_pkey.
    text: str | None = connection.execute(sa.select(cause).where(chats.c.id == chat_id)).scalar()
    return text


def find(connection: sa.Connection, chat_id: uuid.UUID, *, content: Content = "answer") -> Snapshot | None:
    """One chat that the transaction's caller may see. The role `operator` may read no content."""
    # Selects one chat, by llm_chats_pkey.
    row = connection.execute(sa.select(*_COLUMNS[content]).where(chats.c.id == chat_id)).mappings().first()
    return None if row is None else snapshot_of(row)


def log_read_by_another(chat: Snapshot, reader: Caller) -> None:
    """The line that says who read the content of somebody else's chat. A warning, which commands print as well."""
    log.warning(
        "llm_chat.read_by_another",
        message="Somebody read another's chat",
        chat_id=str(chat.chat_id),
        owner=chat.subject,
        subject=reader.subject,
        role=reader.role,
    )


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A chat of /v1/responses. `options` is what its row keeps beside the question, `prompt` what was asked."""

    snapshot: Snapshot
    options: Mapping[str, Any]
    prompt: Mapping[str, Any]


def find_response(connection: sa.Connection, chat_id: uuid.UUID, subject: str) -> StoredResponse | None:
    """One response of this subject's own; None where there is none, or its content was erased."""
    # Selects one chat of /v1/responses and of this caller, by llm_chats_pkey.
    query = sa.select(*_COLUMNS["all"], chats.c.response).where(
        chats.c.id == chat_id, chats.c.subject == subject, chats.c.response.is_not(None)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    snapshot = snapshot_of(row)
    return StoredResponse(snapshot, row["response"], snapshot.prompt or {})


def state_of(connection: sa.Connection, chat_id: uuid.UUID) -> tuple[str, str | None] | None:
    """The status of a chat, and its error's code; None where there is no such chat."""
    # Selects the state of one chat, by llm_chats_pkey.
    row = connection.execute(sa.select(chats.c.status, chats.c.error_code).where(chats.c.id == chat_id)).first()
    return None if row is None else (row.status, row.error_code)


@dataclass(frozen=True, slots=True)
class ChatFilter:
    """Which chats: with one of these statuses, of a model (asked for or asked), of a caller, made in a span of time."""

    statuses: Sequence[str] = ()
    model: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        clauses: list[sa.ColumnElement[bool]] = []
        if self.statuses:
            clauses.append(chats.c.status.in_(self.statuses))
        if self.model is not None:
            clauses.append(sa.or_(chats.c.model_key == self.model, chats.c.requested_model == self.model))
        if self.subject is not None:
            clauses.append(chats.c.subject == self.subject)
        if self.since is not None:
            clauses += [chats.c.created_at >= self.since, chats.c.id >= first_id(self.since - APART)]
        if self.until is not None:
            clauses += [chats.c.created_at < self.until, chats.c.id < first_id(self.until + APART)]
        return clauses


def newest(
    connection: sa.Connection,
    caller: Caller,
    *,
    limit: int,
    before: uuid.UUID | None,
    chat_filter: ChatFilter = ChatFilter(),
) -> list[Snapshot]:
    """Chats that the caller may see, newest first, those older than `before`; without their answers."""
    # Selects chats, the newest ids first: by llm_chats_of_subject for one caller, else by llm_chats_pkey backwards.
    query = sa.select(*SHOWN).where(*chat_filter.conditions())
    query = query.order_by(chats.c.id.desc()).limit(limit)  # ids begin with the time they were made
    if before is not None:
        query = query.where(chats.c.id < before)
    if caller.role == "authenticated":  # the policy says so too; saying it again shows the planner whom it is for
        query = query.where(chats.c.subject == caller.subject)
    return [snapshot_of(row) for row in connection.execute(query).mappings()]


APART = timedelta(minutes=10)
"""How far the clock of who makes ids may be from the database's: ids narrow a search by time, created_at decides."""


def first_id(moment: datetime) -> uuid.UUID:
    """The lowest id (UUID version 7, RFC 9562) of this moment."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return uuid.UUID(int=max(0, min(milliseconds, 2**48 - 1)) << 80)


# Selects those of these chats whose version is above the one that was seen, by llm_chats_pkey.
_NEWER = f"""
SELECT {", ".join(f"c.{column.name}" for column in _WHOLE if column.name != "attempts")},
       c.attempt - c.attempts_returned AS attempts
FROM unnest(%s::uuid[], %s::bigint[]) AS known (id, version)
JOIN llm_chats c ON c.id = known.id AND c.version > known.version
"""


def newer_than(versions: Mapping[uuid.UUID, int]) -> Statement:
    """Of these chats those whose version is above the known one; returns what makes a snapshot."""
    return Statement(_NEWER, (list(versions), list(versions.values())))


def snapshot_of(row: Mapping[Any, Any]) -> Snapshot:
    """The snapshot that a row of `SHOWN` columns makes."""
    created, started, finished = row["created_at"], row["started_at"], row["finished_at"]
    model: dict[str, Any] = {
        "requested": row["requested_model"],
        "key": row["model_key"],
        "name": row["model_name"],
        "matcha_llm_id": row["matcha_llm_id"],
        "fallback": row["fallback_reason"] is not None,
        "reason": row["fallback_reason"],
    }
    if row["fallback_story"] is not None:
        model["story"] = row["fallback_story"]
    body: dict[str, Any] = {"id": str(row["id"]), "status": row["status"], "model": model}
    if row.get("answer") is not None:
        body["answer"] = row["answer"]
    if row["error_code"] is not None:
        body["error"] = {"code": row["error_code"], "detail": row["error_detail"]}
    if row["status"] not in ENDED_CHATS:
        queued = row["status"] == "queued"
        body["waiting_for"] = (row["waiting_for"] or "turn") if queued else None
        # A reader of a waiting chat looks it up: shared/chat/queue_position.py.
        body["position"] = 1 if queued and row["dispatched_at"] is not None else None
        if queued and row["waiting_for"] == "upstream":
            body["waiting_since"] = row["waiting_since"]
        if row["last_failure_code"] is not None:
            body["last_failure"] = {"code": row["last_failure_code"], "at": row["last_failure_at"]}
    body |= {
        "attempts": row["attempts"],
        "timings": {
            "queued_ms": _between(created, started if started is not None else finished),
            "upstream_ms": row["upstream_ms"],
            "total_ms": _between(created, finished),
        },
        "created_at": created,
        "finished_at": finished,
    }
    if row["erased_at"] is not None:
        body["erased_at"] = row["erased_at"]
    return Snapshot(row["id"], row["version"], body, row["subject"], row["request_id"], _prompt_of(row))


def _prompt_of(row: Mapping[Any, Any]) -> dict[str, Any] | None:
    if "question" not in row or row["erased_at"] is not None:
        return None
    history = [{"role": role, "content": content} for role, content in row["history"]]
    return {"question": row["question"], "systemPrompt": row["system_prompt"], "history": history}


def _between(begin: datetime, end: datetime | None) -> int | None:
    return None if end is None else round((end - begin) / timedelta(milliseconds=1))
