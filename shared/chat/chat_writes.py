"""What a process's chats write: claims, ends, returns to the queue and switches of model, many in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
import structlog

from shared.catalogue.resolve import NoModel
from shared.chat import claims, lifecycle, waiting
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.chat.waiting import BlockedScope, ParkedChat
from shared.db import Database, DatabaseFailure, DatabaseUnavailable, Statement

log = structlog.get_logger(__name__)

LOCK_SECONDS = 2.0
"""A row that somebody holds for longer is left for the next time, and the group goes on without it."""
WRITE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ProbeClaim:
    """A claim that is made although a circuit is open."""

    chat_id: uuid.UUID


Operation = uuid.UUID | ProbeClaim | Finish | Release | SwitchModel
"""A chat's id stands for its claim."""
OperationResult = ChatClaim | ParkedChat | bool | None


class Notify(Protocol):
    """Tells the readers of these chats that they have changed; `still_open`: who waits for the end need not look."""

    def __call__(self, chat_ids: Collection[uuid.UUID], *, still_open: bool = False) -> None: ...


class ChatWrites:
    """Carries out operations in PostgreSQL. Belongs to one thread."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        max_attempts: int,
        notify: Notify,
        blocked_scopes: Callable[[], Sequence[BlockedScope]] = tuple,
        default_key: str = "",
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        """`notify` gets, after each commit, the chats whose readers should know; it must not block.

        `default_key` is MATCHAAI_DEFAULT_MODEL. `blocked_scopes` returns which chats may not be claimed at the moment:
        these wait.
        """
        self._database = database
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._notify = notify
        self._blocked_scopes = blocked_scopes
        self._default_key = default_key
        self._lock_seconds = lock_seconds

    def apply(self, operations: Sequence[Operation]) -> tuple[dict[uuid.UUID, OperationResult], list[uuid.UUID]]:
        """Carry out these operations, no two of which are of the same chat, in one transaction.

        Returns, by chat, its claim, or that it waits for the gateway, or True where something else was written; and the
        chats that `claim_changed` may be able to claim. Other operations were not to be had. Raises what
        `Database.run` raises; then nothing is written but which chats wait for the gateway.
        """
        new_ids = [each for each in operations if isinstance(each, uuid.UUID)]
        parked = self._park(new_ids)
        wanted = [chat_id for chat_id in new_ids if chat_id not in parked]
        wanted += [each.chat_id for each in operations if isinstance(each, ProbeClaim)]
        claimed, written = self._write_together(wanted, operations)
        ended = {each.chat_id for each in operations if isinstance(each, Finish)} & written
        self._notify(ended)
        self._notify([*claimed, *(written - ended)], still_open=True)
        results: dict[uuid.UUID, OperationResult] = {
            **dict.fromkeys(parked, ParkedChat()),
            **dict.fromkeys(written, True),
            **claimed,
        }
        return results, [chat_id for chat_id in wanted if chat_id not in claimed]

    def _write_together(
        self, wanted: list[uuid.UUID], operations: Sequence[Operation]
    ) -> tuple[dict[uuid.UUID, ChatClaim], set[uuid.UUID]]:
        """The claims that were made, and the ids of the chats whose other operations were written."""
        releases = [each for each in operations if isinstance(each, Release)]
        switches = [each for each in operations if isinstance(each, SwitchModel)]
        finishes = [each for each in operations if isinstance(each, Finish)]
        statements: list[Statement] = []
        if wanted:
            statements.append(
                claims.claim_unchanged(wanted, lease_seconds=self._lease_seconds, max_attempts=self._max_attempts)
            )
        statements += [lifecycle.release(releases)] if releases else []
        statements += [lifecycle.switch_models(switches)] if switches else []
        statements += [lifecycle.finish(finishes)] if finishes else []
        if not statements:
            return {}, set()
        rows = self._database.run(
            *statements,
            timeout_seconds=WRITE_SECONDS,
            lock_seconds=self._lock_seconds,
            at_once=not wanted,  # an end that is written twice is the same; a late claim would be nobody's
        )
        claimed = {row["id"]: claims.claim_of(row, self._max_attempts) for row in (rows.pop(0) if wanted else ())}
        return claimed, {row["id"] for each in rows for row in each}

    def claim_changed(self, chat_ids: list[uuid.UUID]) -> dict[uuid.UUID, ChatClaim]:
        """Claim those of these chats whose model is not what it was; most are others' by now, or have ended.

        A chat that cannot be claimed is left to the sweeper: raises nothing.
        """
        try:
            with self._transaction() as connection:
                claimed = claims.claim(
                    connection,
                    chat_ids,
                    lease_seconds=self._lease_seconds,
                    max_attempts=self._max_attempts,
                    default_key=self._default_key,
                )
        except Exception as error:
            if len(chat_ids) > 1 and not isinstance(error, DatabaseUnavailable):
                return {k: v for chat_id in chat_ids for k, v in self.claim_changed([chat_id]).items()}
            foreseen = isinstance(error, DatabaseFailure | NoModel)
            log.warning(
                "llm_chat.not_written",
                message="A chat could not be claimed",
                error=str(error),
                chats=len(chat_ids),
                exc_info=None if foreseen else error,
            )
            return {}
        self._notify(claimed, still_open=True)
        return claimed

    def _park(self, chat_ids: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
        """Those of these chats that wait for the gateway, as they do from now on."""
        blocked_scopes = self._blocked_scopes() if chat_ids else ()
        if not blocked_scopes:
            return ()
        with self._transaction() as connection:
            parked = waiting.park(connection, chat_ids, blocked_scopes)
        self._notify([chat_id for chat_id, new in parked.items() if new], still_open=True)
        return parked

    def _transaction(self) -> AbstractContextManager[sa.Connection]:
        return self._database.transaction(timeout_seconds=WRITE_SECONDS, lock_seconds=self._lock_seconds)
