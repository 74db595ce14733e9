"""Group commits: what a process's chats want written within some milliseconds goes into one transaction.

A chat counts as claimed or answered only after the commit of its group. One that cannot be written for a reason of its
own is tried alone, so that it takes nobody along.
"""

from __future__ import annotations

import asyncio
import queue
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

import sqlalchemy as sa
import structlog

from shared.background import BackgroundLoop
from shared.catalogue.resolve import NoModel
from shared.chat import claims, lifecycle, waiting
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.chat.waiting import BlockedScope, ParkedChat
from shared.db import Database, DatabaseError, DatabaseFailure, DatabaseUnavailable, RoleNotGranted

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.02
RETRY_SECONDS = 0.5
LOCK_SECONDS = 2.0
"""A row that somebody holds for longer is left for the next time, and the group goes on without it."""
MAX_LATE = 3
"""So many groups or rows in a row that cannot be written now are more than a matter of their own."""
WRITE_SECONDS = 5.0
MAX_GROUP_BYTES = 8 * 1024 * 1024
"""Of answers in one transaction: PostgreSQL refuses a statement of a gigabyte, and each is in memory several times."""
MIN_ITEM_BYTES = 1024
"""What an item counts at least."""
_LOCKED = "55P03"


@dataclass(frozen=True, slots=True)
class ProbeClaim:
    """A claim that is made although a circuit is open."""

    chat_id: uuid.UUID


Operation = uuid.UUID | ProbeClaim | Finish | Release | SwitchModel
OperationResult = ChatClaim | ParkedChat | bool | None
Delivery = OperationResult | Exception


@dataclass(slots=True)
class _QueuedWrite:
    operation: Operation
    future: asyncio.Future[OperationResult]
    retry_until: float
    bytes: int = field(init=False)

    @property
    def chat_id(self) -> uuid.UUID:
        return self.operation if isinstance(self.operation, uuid.UUID) else self.operation.chat_id

    def __post_init__(self) -> None:
        answer = self.operation.answer if isinstance(self.operation, Finish) else None
        # Three bytes for each character that is not ASCII is near enough, and costs nothing to know.
        self.bytes = MIN_ITEM_BYTES + len(answer or "") * (1 if (answer or "").isascii() else 3)


class Notify(Protocol):
    """Tells the readers of these chats that they have changed; `still_open`: who waits for the end need not look."""

    def __call__(self, chat_ids: Collection[uuid.UUID], *, still_open: bool = False) -> None: ...


class BatchWriter:
    """A thread that writes claims, finishes and releases of one event loop in groups."""

    def __init__(
        self,
        database: Database,
        loop: asyncio.AbstractEventLoop,
        *,
        lease_seconds: float,
        max_attempts: int,
        notify: Notify,
        blocked_scopes: Callable[[], Sequence[BlockedScope]] = tuple,
        default_key: str = "",
        lock_seconds: float = LOCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`notify` gets, after each commit, the chats whose readers should know; it must not block.

        `default_key` is MATCHAAI_DEFAULT_MODEL. `blocked_scopes` returns which chats may not be claimed at the moment:
        these wait.
        """
        self._database = database
        self._loop = loop
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._notify = notify
        self._blocked_scopes = blocked_scopes
        self._default_key = default_key
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._queue: queue.SimpleQueue[_QueuedWrite | None] = queue.SimpleQueue()
        self._waiting: list[_QueuedWrite] = []
        self._stopping = False
        self._turns = BackgroundLoop(
            "chat-writer", self._turn, event="llm_chat.not_written", message="A group could not be written"
        )
        self._latest = float("inf")
        self._group_bytes = MAX_GROUP_BYTES

    def start(self) -> None:
        self._turns.start()

    def stop(self, *, within_seconds: float = 5.0) -> None:
        """Write what is queued, and end."""
        self.limit_retries(within_seconds)
        self._queue.put(None)
        self._turns.join(within_seconds + 1)

    def limit_retries(self, seconds: float) -> None:
        """From now on nothing is retried for longer than this."""
        self._latest = min(self._latest, self._clock() + seconds)

    async def claim(self, chat_id: uuid.UUID) -> ChatClaim | ParkedChat | None:
        """Claim a chat; None where it is not to be had, or PostgreSQL is away (the sweeper finds it then)."""
        result = await self._enqueue(chat_id, retry_seconds=0.0)
        return result if isinstance(result, ChatClaim | ParkedChat) else None

    async def claim_probe(self, chat_id: uuid.UUID) -> ChatClaim | None:
        """Claim a chat for a call that is made although its circuit is open; None where it is not to be had."""
        result = await self._enqueue(ProbeClaim(chat_id), retry_seconds=0.0)
        return replace(result, is_probe=True) if isinstance(result, ChatClaim) else None

    async def write(self, end: Finish | Release | SwitchModel, *, retry_seconds: float) -> bool:
        """Write how an attempt ended or goes on, for so long as PostgreSQL is away; False where it is not ours."""
        return await self._enqueue(end, retry_seconds=retry_seconds) is True

    async def _enqueue(self, operation: Operation, *, retry_seconds: float) -> OperationResult:
        item = _QueuedWrite(operation, self._loop.create_future(), self._clock() + retry_seconds)
        self._queue.put(item)
        return await item.future

    def _turn(self) -> float:
        started = self._clock()
        self._stopping |= self._gather(self._waiting, block=not self._waiting and not self._stopping)
        again = self._write_groups(self._waiting)
        self._waiting = [item for item in again if self._clock() < min(item.retry_until, self._latest)]
        self._deliver([(item, None) for item in again if item not in self._waiting])
        if self._stopping and not self._waiting:
            self._turns.finish()
        pause = RETRY_SECONDS if self._waiting else PAUSE_SECONDS
        return max(0.0, started + pause - self._clock())

    def _gather(self, waiting: list[_QueuedWrite], *, block: bool) -> bool:
        """Take what is queued; returns whether to stop."""
        try:
            while True:
                item = self._queue.get(block=block)
                if item is None:
                    return True
                waiting.append(item)
                block = False
        except queue.Empty:
            return False

    def _write_groups(self, items: list[_QueuedWrite]) -> list[_QueuedWrite]:
        """Write all in groups of a bounded size, small ones first; returns what has to be tried again.

        After a failure groups are half as large, after a success twice: one that PostgreSQL cannot take is split until
        it can, and one item that it cannot take at all lets the others pass.
        """
        rest, again = sorted(items, key=lambda item: item.bytes), list[_QueuedWrite]()
        items.clear()  # what is written is not kept in memory until all is
        failures = 0
        while rest and failures < MAX_LATE:
            group, rest = _split(rest, self._group_bytes)
            late = self._write(group)
            again += late
            if len(late) == len(group):
                failures += 1
                self._group_bytes = max(MIN_ITEM_BYTES, min(self._group_bytes, sum(item.bytes for item in group)) // 2)
            else:
                failures = 0
                self._group_bytes = min(MAX_GROUP_BYTES, self._group_bytes * 2)
        return [*rest, *again]

    def _write(self, items: list[_QueuedWrite]) -> list[_QueuedWrite]:
        """Write the group; returns what has to be tried again."""
        try:
            self._deliver(self._apply(items))
        except DatabaseUnavailable as error:
            if error.sqlstate == _LOCKED and len(items) > 1:
                return self._write_individually(items)
            log.warning("llm_chat.not_written", message="PostgreSQL is away", error=str(error), chats=len(items))
            return items
        except (DatabaseError, RoleNotGranted, NoModel) as error:
            if len(items) > 1:
                return [again for item in items for again in self._write([item])]
            log.error("llm_chat.not_written", message="A chat could not be written", error=str(error))  # noqa: TRY400 - the text says it all
            self._deliver([(items[0], None)])
        except Exception as error:  # noqa: BLE001 - whose item it was gets it; the thread must outlive it
            if len(items) > 1:
                return [again for item in items for again in self._write([item])]
            self._deliver([(items[0], error)])
        return []

    def _write_individually(self, items: list[_QueuedWrite]) -> list[_QueuedWrite]:
        """Write each alone, since somebody holds a row of one; where that holds for several, it is more than a row."""
        late: list[_QueuedWrite] = []
        for place, item in enumerate(items):
            if len(late) >= MAX_LATE:
                return [*items[place:], *late]
            late += self._write([item])
        return late

    def _apply(self, items: list[_QueuedWrite]) -> list[tuple[_QueuedWrite, OperationResult]]:
        """Write all of these in one exchange with PostgreSQL; no two of them are of the same chat."""
        operations = [item.operation for item in items]
        new_ids = [each for each in operations if isinstance(each, uuid.UUID)]
        parked = self._park(new_ids)
        wanted = [chat_id for chat_id in new_ids if chat_id not in parked]
        wanted += [each.chat_id for each in operations if isinstance(each, ProbeClaim)]
        claimed, written = self._write_together(wanted, operations)
        claimed |= self._claim_changed([chat_id for chat_id in wanted if chat_id not in claimed])
        ended = {each.chat_id for each in operations if isinstance(each, Finish)} & written
        self._notify(ended)
        self._notify([*claimed, *(written - ended)], still_open=True)
        results: dict[uuid.UUID, OperationResult] = {**dict.fromkeys(written, True), **claimed}
        results |= dict.fromkeys(parked, ParkedChat())
        return [(item, results.get(item.chat_id, False)) for item in items]

    def _write_together(
        self, wanted: list[uuid.UUID], operations: Sequence[Operation]
    ) -> tuple[dict[uuid.UUID, ChatClaim], set[uuid.UUID]]:
        """The claims that were made, and the ids of the chats whose other operations were written."""
        releases = [each for each in operations if isinstance(each, Release)]
        switches = [each for each in operations if isinstance(each, SwitchModel)]
        finishes = [each for each in operations if isinstance(each, Finish)]
        statements = (
            [claims.claim_unchanged(wanted, lease_seconds=self._lease_seconds, max_attempts=self._max_attempts)]
            if wanted
            else []
        )
        statements += [lifecycle.release(releases)] if releases else []
        statements += [lifecycle.switch_models(switches)] if switches else []
        statements += [lifecycle.finish(finishes)] if finishes else []
        if not statements:
            return {}, set()
        rows = self._database.run(*statements, timeout_seconds=WRITE_SECONDS, lock_seconds=self._lock_seconds)
        claimed = {row["id"]: claims.claim_of(row, self._max_attempts) for row in (rows.pop(0) if wanted else ())}
        return claimed, {row["id"] for each in rows for row in each}

    def _claim_changed(self, chat_ids: list[uuid.UUID]) -> dict[uuid.UUID, ChatClaim]:
        """Claim those of these chats whose model is not what it was; most are others' by now, or have ended.

        What was written before is committed: a chat that cannot be claimed is left to the sweeper.
        """
        if not chat_ids:
            return {}
        try:
            with self._transaction() as connection:
                return claims.claim(
                    connection,
                    chat_ids,
                    lease_seconds=self._lease_seconds,
                    max_attempts=self._max_attempts,
                    default_key=self._default_key,
                )
        except (DatabaseFailure, NoModel) as error:
            if len(chat_ids) > 1 and not isinstance(error, DatabaseUnavailable):
                return {k: v for chat_id in chat_ids for k, v in self._claim_changed([chat_id]).items()}
            log.warning(
                "llm_chat.not_written", message="A chat could not be claimed", error=str(error), chats=len(chat_ids)
            )
            return {}

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

    def _deliver(self, results: Sequence[tuple[_QueuedWrite, Delivery]]) -> None:
        if results and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_hand_over, results)


def _split(items: list[_QueuedWrite], limit_bytes: int) -> tuple[list[_QueuedWrite], list[_QueuedWrite]]:
    """The first items that fit into so many bytes, one at least; and the rest."""
    size = 0
    for number, item in enumerate(items):
        size += item.bytes
        if number and size > limit_bytes:
            return items[:number], items[number:]
    return items, []


def _hand_over(results: Sequence[tuple[_QueuedWrite, Delivery]]) -> None:
    for item, result in results:
        if item.future.done():
            continue
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
