"""When a call of this process may begin: PostgreSQL counts those of all, where MatchaAI takes a limited number."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import structlog

from shared.background import AsyncBackgroundLoop
from shared.chat import call_limits
from shared.chat.dispatch import DispatchLimits
from shared.db import Database, DatabaseFailure
from worker.chat.database_threads import DatabaseThreads

log = structlog.get_logger(__name__)

CORRECT_SECONDS = 2.0
"""How often the calls that PostgreSQL takes for open are compared with those that are."""
AWAY_SECONDS = 1.0


class CallAdmission:
    """Begins and ends the calls of one process. Belongs to one event loop."""

    def __init__(
        self,
        database: Database,
        threads: DatabaseThreads,
        limits: DispatchLimits,
        process_id: uuid.UUID,
        ids: Callable[[], uuid.UUID],
    ) -> None:
        self._database = database
        self._threads = threads
        self._limits = limits
        self._process_id = process_id
        self._ids = ids
        self._open: set[uuid.UUID] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._loop = AsyncBackgroundLoop(
            "call-admission",
            self._correct_next,
            event="llm_chat.calls_not_corrected",
            message="Calls that have ended may count as open",
        )

    @property
    def is_needed(self) -> bool:
        """Whether there is a limit at all."""
        return self._limits.max_parallel is not None or self._limits.requests_per_minute is not None

    async def begin(self, chat_id: uuid.UUID) -> uuid.UUID | float:
        """The id of a call that may begin now, or the seconds until it is worth asking again."""
        call_id = self._ids()
        self._open.add(call_id)
        try:
            seconds = await self._threads.run(self._begin, call_id, chat_id)
        except BaseException:
            self._open.discard(call_id)
            raise
        if seconds > 0:
            self._open.discard(call_id)
            return seconds
        return call_id

    def end(self, call_id: uuid.UUID) -> None:
        """A call has ended; it is written soon."""
        self._open.discard(call_id)
        task = asyncio.ensure_future(self._threads.run(self._end, call_id))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    def start(self) -> None:
        """Correct what could not be written until `stop`, where there is a limit."""
        if self.is_needed:
            self._loop.start()

    async def stop(self) -> None:
        """Correct no more."""
        await self._loop.stop()

    async def _correct_next(self) -> None:
        await asyncio.sleep(CORRECT_SECONDS)
        await self._threads.run(self._correct, frozenset(self._open))

    def _begin(self, call_id: uuid.UUID, chat_id: uuid.UUID) -> float:
        try:
            with self._database.transaction(timeout_seconds=5) as connection:
                return call_limits.begin_call(
                    connection, self._limits, call_id=call_id, process_id=self._process_id, chat_id=chat_id
                )
        except DatabaseFailure as error:
            log.warning("llm_chat.call_not_begun", message="Nobody counts calls: PostgreSQL is away", error=str(error))
            return AWAY_SECONDS

    def _end(self, call_id: uuid.UUID) -> None:
        try:
            with self._database.transaction(timeout_seconds=5) as connection:
                call_limits.end_calls(connection, [call_id])
        except DatabaseFailure:
            return  # `_correct` does it

    def _correct(self, open_ids: frozenset[uuid.UUID]) -> None:
        try:
            with self._database.transaction(timeout_seconds=5) as connection:
                call_limits.end_other_calls(connection, self._process_id, open_ids)
        except DatabaseFailure:
            return  # the next time
