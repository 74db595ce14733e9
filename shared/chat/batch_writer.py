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
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
import structlog

from shared.background import BackgroundLoop
from shared.catalogue.resolve import NoModel
from shared.chat import claims, lifecycle, waiting
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.chat.waiting import Barred, Parked
from shared.db import Database, DatabaseError, DatabaseUnavailable, RoleNotGranted

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
ORDER_BYTES = 1024
"""What an order counts at least."""
_LOCKED = "55P03"


@dataclass(frozen=True, slots=True)
class ProbeClaim:
    """A claim that is made although a circuit is open."""

    chat_id: uuid.UUID


Operation = uuid.UUID | ProbeClaim | Finish | Release | SwitchModel
OperationResult = ChatClaim | Parked | bool | None
Delivery = OperationResult | Exception


@dataclass(slots=True)
class _Operation:
    operation: Operation
    future: asyncio.Future[OperationResult]
    retry_until: float
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        answer = self.operation.answer if isinstance(self.operation, Finish) else None
        # Three bytes for each character that is not ASCII is near enough, and costs nothing to know.
        self.bytes = ORDER_BYTES + len(answer or "") * (1 if (answer or "").isascii() else 3)


class BatchWriter:
    """A thread that writes claims, finishes and releases of one event loop in groups."""

    def __init__(
        self,
        database: Database,
        loop: asyncio.AbstractEventLoop,
        *,
        lease_seconds: float,
        max_attempts: int,
        changed: Callable[[Collection[uuid.UUID]], None],
        barred: Callable[[], Sequence[Barred]] = tuple,
        default_key: str = "",
        lock_seconds: float = LOCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is told, after each commit, of the chats whose readers should know; it must not block.

        `default_key` is MATCHAAI_DEFAULT_MODEL. `barred` says which chats are not to be claimed at the moment; they are
        told to wait instead.
        """
        self._database = database
        self._loop = loop
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._changed = changed
        self._barred = barred
        self._default_key = default_key
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._orders: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._waiting: list[_Operation] = []
        self._stopping = False
        self._turns = BackgroundLoop(
            "chat-writer", self._turn, event="llm_chat.not_written", message="A group could not be written"
        )
        self._latest = float("inf")
        self._group_bytes = MAX_GROUP_BYTES

    def start(self) -> None:
        self._turns.start()

    def stop(self, *, within_seconds: float = 5.0) -> None:
        """Write what has been ordered, and end."""
        self.limit_retries(within_seconds)
        self._orders.put(None)
        self._turns.join(within_seconds + 1)

    def limit_retries(self, seconds: float) -> None:
        """From now on nothing is retried for longer than this."""
        self._latest = min(self._latest, self._clock() + seconds)

    async def claim(self, chat_id: uuid.UUID) -> ChatClaim | Parked | None:
        """Claim a chat; None where it is not to be had, or PostgreSQL is away (the sweeper finds it then)."""
        result = await self._order(chat_id, retry_seconds=0.0)
        return result if isinstance(result, ChatClaim | Parked) else None

    async def claim_probe(self, chat_id: uuid.UUID) -> ChatClaim | None:
        """Claim a chat for a call that is made although its circuit is open; None where it is not to be had."""
        result = await self._order(ProbeClaim(chat_id), retry_seconds=0.0)
        return replace(result, is_probe=True) if isinstance(result, ChatClaim) else None

    async def write(self, end: Finish | Release | SwitchModel, *, retry_seconds: float) -> bool:
        """Write how an attempt ended or goes on, for so long as PostgreSQL is away; False where it is not ours."""
        return await self._order(end, retry_seconds=retry_seconds) is True

    async def _order(self, operation: Operation, *, retry_seconds: float) -> OperationResult:
        order = _Operation(operation, self._loop.create_future(), self._clock() + retry_seconds)
        self._orders.put(order)
        return await order.future

    def _turn(self) -> float:
        started = self._clock()
        self._stopping |= self._gather(self._waiting, block=not self._waiting and not self._stopping)
        again = self._write_groups(self._waiting)
        self._waiting = [order for order in again if self._clock() < min(order.retry_until, self._latest)]
        self._deliver([(order, None) for order in again if order not in self._waiting])
        if self._stopping and not self._waiting:
            self._turns.finish()
        pause = RETRY_SECONDS if self._waiting else PAUSE_SECONDS
        return max(0.0, started + pause - self._clock())

    def _gather(self, waiting: list[_Operation], *, block: bool) -> bool:
        """Take what has been ordered; returns whether we are to stop."""
        try:
            while True:
                order = self._orders.get(block=block)
                if order is None:
                    return True
                waiting.append(order)
                block = False
        except queue.Empty:
            return False

    def _write_groups(self, orders: list[_Operation]) -> list[_Operation]:
        """Write all in groups of a bounded size, small ones first; returns what has to be tried again.

        After a failure groups are half as large, after a success twice: one that PostgreSQL cannot take is split until
        it can, and one order that it cannot take at all lets the others pass.
        """
        rest, again = sorted(orders, key=lambda order: order.bytes), list[_Operation]()
        orders.clear()  # what is written is not kept in memory until all is
        failures = 0
        while rest and failures < MAX_LATE:
            group, rest = _split(rest, self._group_bytes)
            late = self._write(group)
            again += late
            if len(late) == len(group):
                failures += 1
                self._group_bytes = max(ORDER_BYTES, min(self._group_bytes, sum(order.bytes for order in group)) // 2)
            else:
                failures = 0
                self._group_bytes = min(MAX_GROUP_BYTES, self._group_bytes * 2)
        return [*rest, *again]

    def _write(self, orders: list[_Operation]) -> list[_Operation]:
        """Write the group; returns what has to be tried again."""
        try:
            self._deliver(self._apply(orders))
        except DatabaseUnavailable as error:
            if error.sqlstate == _LOCKED and len(orders) > 1:
                return self._write_individually(orders)
            log.warning("llm_chat.not_written", message="PostgreSQL is away", error=str(error), chats=len(orders))
            return orders
        except (DatabaseError, RoleNotGranted, NoModel) as error:
            if len(orders) > 1:
                return [again for order in orders for again in self._write([order])]
            log.error("llm_chat.not_written", message="A chat could not be written", error=str(error))  # noqa: TRY400 - the text says it all
            self._deliver([(orders[0], None)])
        except Exception as error:  # noqa: BLE001 - whose order it was gets it; the thread must outlive it
            if len(orders) > 1:
                return [again for order in orders for again in self._write([order])]
            self._deliver([(orders[0], error)])
        return []

    def _write_individually(self, orders: list[_Operation]) -> list[_Operation]:
        """Write each alone, since somebody holds a row of one; where that holds for several, it is more than a row."""
        late: list[_Operation] = []
        for place, order in enumerate(orders):
            if len(late) >= MAX_LATE:
                return [*orders[place:], *late]
            late += self._write([order])
        return late

    def _apply(self, orders: list[_Operation]) -> list[tuple[_Operation, OperationResult]]:
        claims = {order.operation: order for order in orders if isinstance(order.operation, uuid.UUID)}
        probes = {order.operation.chat_id: order for order in orders if isinstance(order.operation, ProbeClaim)}
        finishes = {order.operation.chat_id: order for order in orders if isinstance(order.operation, Finish)}
        releases = {order.operation.chat_id: order for order in orders if isinstance(order.operation, Release)}
        switches = {order.operation.chat_id: order for order in orders if isinstance(order.operation, SwitchModel)}
        with self._database.transaction(timeout_seconds=WRITE_SECONDS, lock_seconds=self._lock_seconds) as connection:
            parked = self._park(connection, claims)
            claimed = self._claim(connection, [*(chat_id for chat_id in claims if chat_id not in parked), *probes])
            released = self._release(
                connection, [o.operation for o in releases.values() if isinstance(o.operation, Release)]
            )
            switched = self._switch(
                connection, [o.operation for o in switches.values() if isinstance(o.operation, SwitchModel)]
            )
            finished = self._finish(
                connection, [o.operation for o in finishes.values() if isinstance(o.operation, Finish)]
            )
        self._changed([*(chat_id for chat_id, new in parked.items() if new), *claimed, *released, *switched, *finished])
        results: list[tuple[_Operation, OperationResult]] = [
            (order, Parked() if chat_id in parked else claimed.get(chat_id)) for chat_id, order in claims.items()
        ]
        results += [(order, claimed.get(chat_id)) for chat_id, order in probes.items()]
        results += [(order, chat_id in released) for chat_id, order in releases.items()]
        results += [(order, chat_id in switched) for chat_id, order in switches.items()]
        results += [(order, chat_id in finished) for chat_id, order in finishes.items()]
        return results

    def _park(self, connection: sa.Connection, chat_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, bool]:
        barred = self._barred() if chat_ids else ()
        return waiting.park(connection, chat_ids, barred) if barred else {}

    def _claim(self, connection: sa.Connection, chat_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, ChatClaim]:
        if not chat_ids:
            return {}
        return claims.claim(
            connection,
            chat_ids,
            lease_seconds=self._lease_seconds,
            max_attempts=self._max_attempts,
            default_key=self._default_key,
        )

    def _release(self, connection: sa.Connection, releases: list[Release]) -> set[uuid.UUID]:
        return lifecycle.release(connection, releases) if releases else set()

    def _switch(self, connection: sa.Connection, switches: list[SwitchModel]) -> set[uuid.UUID]:
        return lifecycle.switch_models(connection, switches) if switches else set()

    def _finish(self, connection: sa.Connection, finishes: list[Finish]) -> set[uuid.UUID]:
        return lifecycle.finish(connection, finishes) if finishes else set()

    def _deliver(self, results: Sequence[tuple[_Operation, Delivery]]) -> None:
        if results and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_hand_over, results)


def _split(orders: list[_Operation], limit_bytes: int) -> tuple[list[_Operation], list[_Operation]]:
    """The first orders that fit into so many bytes, one at least; and the rest."""
    size = 0
    for number, order in enumerate(orders):
        size += order.bytes
        if number and size > limit_bytes:
            return orders[:number], orders[number:]
    return orders, []


def _hand_over(results: Sequence[tuple[_Operation, Delivery]]) -> None:
    for order, result in results:
        if order.future.done():
            continue
        if isinstance(result, Exception):
            order.future.set_exception(result)
        else:
            order.future.set_result(result)
