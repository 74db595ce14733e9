"""Group commits: what a process's chats want written within some milliseconds goes into one transaction.

A chat counts as claimed or answered only after the commit of its group. One that cannot be written for a reason of its
own is tried alone, so that it takes nobody along.
"""

from __future__ import annotations

import asyncio
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from shared.background import BackgroundLoop
from shared.catalogue.resolve import NoModel
from shared.chat.chat_writes import ChatWrites, Operation, OperationResult, ProbeClaim
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.chat.waiting import ParkedChat
from shared.db import DatabaseError, DatabaseUnavailable, RoleNotGranted

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.02
RETRY_SECONDS = 0.5
MAX_LATE = 3
"""So many groups or rows in a row that cannot be written now are more than a matter of their own."""
MAX_GROUP_BYTES = 8 * 1024 * 1024
"""Of answers in one transaction: PostgreSQL refuses a statement of a gigabyte, and each is in memory several times."""
MIN_ITEM_BYTES = 1024
"""What an item counts at least."""
_LOCKED = "55P03"


Delivery = OperationResult | Exception


@dataclass(slots=True)
class _QueuedWrite:
    operation: Operation
    future: asyncio.Future[OperationResult]
    retry_until: float
    chat_id: uuid.UUID = field(init=False)
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.chat_id = self.operation if isinstance(self.operation, uuid.UUID) else self.operation.chat_id
        answer = self.operation.answer if isinstance(self.operation, Finish) else None
        # Three bytes for each character that is not ASCII is near enough, and costs nothing to know.
        self.bytes = MIN_ITEM_BYTES + len(answer or "") * (1 if (answer or "").isascii() else 3)


class BatchWriter:
    """A thread that writes claims, finishes and releases of one event loop in groups."""

    def __init__(
        self,
        writes: ChatWrites,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writes = writes
        self._loop = loop
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
            results, others = self._writes.apply([item.operation for item in items])
            self._deliver([(item, results.get(item.chat_id)) for item in items if item.chat_id not in others])
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
        else:
            if others:
                claimed = self._writes.claim_changed(others)
                self._deliver([(item, claimed.get(item.chat_id)) for item in items if item.chat_id in others])
        return []

    def _write_individually(self, items: list[_QueuedWrite]) -> list[_QueuedWrite]:
        """Write each alone, since somebody holds a row of one; where that holds for several, it is more than a row."""
        late: list[_QueuedWrite] = []
        for place, item in enumerate(items):
            if len(late) >= MAX_LATE:
                return [*items[place:], *late]
            late += self._write([item])
        return late

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
