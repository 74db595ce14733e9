"""Probes of open circuits, and waking those who waited: both take their chats from PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence

import structlog

from shared.background import AsyncBackgroundLoop
from shared.chat import waiting
from shared.chat.circuit_breaker import GATEWAY, CircuitBreaker, CircuitScope, OpenCircuit
from shared.chat.waiting import BlockedScope
from shared.db import Database, DatabaseFailure
from worker.chat.database_threads import DatabaseThreads

log = structlog.get_logger(__name__)

DATABASE_SECONDS = 5.0


def blocked_scopes(breaker: CircuitBreaker) -> Sequence[BlockedScope]:
    """The chats that open circuits keep from being claimed. May be called in any thread."""
    return [
        BlockedScope(circuit.scope, circuit.code, max(0.0, breaker.now() - circuit.failed_at))
        for circuit in breaker.open_circuits
    ]


class CircuitProbes:
    """Probes the circuits of one process. Its methods belong to the event loop where it is started."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        database: Database,
        threads: DatabaseThreads,
        run_probe: Callable[[uuid.UUID], Awaitable[bool]],
    ) -> None:
        """`run_probe` makes one call for a chat; it returns False, before any call, where the chat is not to be had."""
        self._breaker = breaker
        self._database = database
        self._threads = threads
        self._run_probe = run_probe
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = AsyncBackgroundLoop(
            "chat-probes", self._probe_due, event="llm_chat.not_probed", message="Circuits not probed"
        )

    def notify(self) -> None:
        """A circuit has opened or closed, or somebody began to wait."""
        self._changed.set()

    def wake(self, scopes: tuple[CircuitScope, ...]) -> None:
        """Let the chats that waited for these circuits have their turn."""
        self._start(self._wake(scopes))

    def start(self) -> None:
        """Probe each open circuit when it is due, until `stop`."""
        self.wake((GATEWAY,))  # who waited for a process that is gone waits for nobody now
        self._loop.start()

    async def stop(self) -> None:
        """Begin no more probes."""
        await self._loop.stop()

    async def _probe_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._breaker.seconds_to_probe()):
                await self._changed.wait()
        self._changed.clear()
        while not self._breaker.shutting_down and (circuit := self._breaker.acquire()) is not None:
            self._start(self._probe(circuit))

    async def _probe(self, circuit: OpenCircuit) -> None:
        try:
            chat_id = await self._threads.run(self._find, circuit)
        except DatabaseFailure as error:  # the next turn comes
            log.warning("llm_chat.not_probed", message="PostgreSQL is away", error=str(error))
            return
        if chat_id is None:
            self._breaker.release(circuit.scope, nobody_waits=True)
        elif not await self._run_probe(chat_id):
            self._breaker.release(circuit.scope, nobody_waits=False)

    def _find(self, circuit: OpenCircuit) -> uuid.UUID | None:
        with self._database.transaction(timeout_seconds=DATABASE_SECONDS) as connection:
            return waiting.find_probe(connection, circuit.scope, avoided=circuit.subjects)

    async def _wake(self, scopes: Sequence[CircuitScope]) -> None:
        await self._threads.run(self._publish_soon, scopes)

    def _publish_soon(self, scopes: Sequence[CircuitScope]) -> None:
        try:
            with self._database.transaction(timeout_seconds=DATABASE_SECONDS) as connection:
                waiting.wake(connection, scopes)
        except DatabaseFailure as error:  # they get a message all the same, a little later
            log.warning("llm_chat.not_woken", message="PostgreSQL is away", error=str(error))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
