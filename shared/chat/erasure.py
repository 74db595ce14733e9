"""Taking away what was said in chats: their rows, their states and every count stay.

What is asked and answered lies in `llm_chats` alone. An erased row keeps `erased_at`; CHAT_RETENTION_DAYS after its end
it is deleted like any other.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
import structlog

from shared.catalogue.sync import store
from shared.chat import lifecycle, usage
from shared.db import Caller, Database

log = structlog.get_logger(__name__)

BATCH: Final = 2000
STATEMENT_SECONDS: Final = 15.0

CONTENT: Final[Mapping[str, str]] = {
    "question": "''",
    "system_prompt": "NULL",
    "history": "'[]'::jsonb",
    "answer": "NULL",
    # Texts that a caller chose freely, and the digest of the body: who guesses a question could compare it.
    "requested_model": "NULL",
    "other_models": "'{}'",
    "idempotency_key": "NULL",
    "response": "NULL",
    "body_sha256": "''",
    "request_id": "NULL",
}
"""The columns of a chat with what was said, or another text of the caller's choice, and what erasing leaves there."""

_ERASE = f"""
UPDATE llm_chats SET {", ".join(f"{column} = {nothing}" for column, nothing in CONTENT.items())},
  erased_at = now(), version = version + 1
"""


_FIRST: Final = uuid.UUID(int=0)

OneErased = Literal["erased", "open", "absent"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was done for a caller: `erased` chats lost their content now, `cancelled` of them were open before."""

    subject: str
    erased: int
    cancelled: tuple[uuid.UUID, ...] = ()


def erase_caller(database: Database, subject: str, *, actor: str) -> Erasure:
    """Cancel a caller's open chats, then take the content of all of them away, with one line in the ledger. What is
    known of the caller's use goes as well.

    The cancelled ones are counted as usage before the content goes, in a transaction of their own. Erasing is one
    transaction: nothing, or all with its line. It may be repeated; where nothing is left to erase, no line is
    written. Chats that are asked meanwhile may be missed: they are new. Raises what `Database.transaction` raises.
    """
    with database.transaction(timeout_seconds=STATEMENT_SECONDS) as connection:
        cancelled = lifecycle.cancel_all(connection, subject)
    with database.transaction(timeout_seconds=STATEMENT_SECONDS) as connection:
        erased = _erase_all(connection, subject)
        usage.delete_of_caller(connection, subject)
        if erased:
            _record(connection, subject, actor, erased=erased, cancelled=len(cancelled))
    return Erasure(subject, erased, cancelled)


# Takes the content of one ended chat away, of this caller's or of any caller's where none is named, by llm_chats_pkey.
_ERASE_ONE = f"""
{_ERASE}
WHERE id = %s AND finished_at IS NOT NULL AND erased_at IS NULL AND (%s::text IS NULL OR subject = %s)
RETURNING id, subject
"""


def erase_chat(database: Database, chat_id: uuid.UUID, caller: Caller) -> OneErased:
    """Take the content of one ended chat away. `absent`: there is none that the caller may erase.

    A caller may erase what is their own, service_role any chat; one of somebody else leaves a line in the ledger.
    """
    subject = None if caller.role == "service_role" else caller.subject
    with database.transaction() as connection:
        row = connection.exec_driver_sql(_ERASE_ONE, (chat_id, subject, subject)).first()
        if row is None:
            return _state_of(connection, chat_id, subject)
        if row.subject != caller.subject:
            _record(connection, row.subject, caller.subject, erased=1, cancelled=0)
    return "erased"


def log_erasure(erasure: Erasure, *, actor: str, role: str) -> None:
    """The log's line of an erasure, which holds no more than the ledger's."""
    log.info(
        "llm_chat.caller_erased",
        message="The chats of a caller were erased",
        owner=erasure.subject,
        chats=erasure.erased,
        cancelled=len(erasure.cancelled),
        subject=actor,
        role=role,
    )


def _state_of(connection: sa.Connection, chat_id: uuid.UUID, subject: str | None) -> OneErased:
    # Selects whether a chat has ended, by llm_chats_pkey.
    look = "SELECT finished_at FROM llm_chats WHERE id = %s AND (%s::text IS NULL OR subject = %s)"
    row = connection.exec_driver_sql(look, (chat_id, subject, subject)).first()
    if row is None:
        return "absent"
    return "open" if row.finished_at is None else "erased"


# Takes the content of the caller's next batch of ended chats away, by llm_chats_of_subject; locked by id, as
# everywhere.
_ERASE_NEXT = f"""
{_ERASE}
WHERE id = ANY(ARRAY(
  SELECT id FROM llm_chats WHERE subject = %s AND id > %s AND finished_at IS NOT NULL AND erased_at IS NULL
  ORDER BY id LIMIT {BATCH} FOR UPDATE))
RETURNING id
"""


def _erase_all(connection: sa.Connection, subject: str) -> int:
    number, after = 0, _FIRST
    while True:
        ids: list[Any] = list(connection.exec_driver_sql(_ERASE_NEXT, (subject, after)).scalars())
        number += len(ids)
        if len(ids) < BATCH:
            return number
        after = max(ids)


# Appends a line about the erasure to the ledger; llm_model_changes_pkey gives it its place.
_RECORD = """
INSERT INTO llm_model_changes (kind, before, after, actor) VALUES ('erased', NULL, %s::jsonb, %s)
"""


def _record(connection: sa.Connection, subject: str, actor: str, *, erased: int, cancelled: int) -> None:
    """Write the line: whose chats, how many, by whom and when; nothing of what was said."""
    store.lock(connection)  # so that a cursor over the ledger skips no line
    after = {"subject": subject, "chats": erased, "cancelled": cancelled}
    connection.exec_driver_sql(_RECORD, (json.dumps(after), actor))
