"""A bound on the bytes of long answers that a process has in memory at once, from the reading to the commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

SHORT_BYTES = 64 * 1024
"""Bodies up to here ask for no room: as many as there are calls fit into memory in any case."""
ROOM_BYTES = 192 * 1024 * 1024


class AnswerMemory:
    """Room for long answers, given out in turn. Belongs to one event loop.

    A reader that finds no room leaves the rest of its answer with the gateway, by not reading on.
    """

    def __init__(self, limit_bytes: int = ROOM_BYTES) -> None:
        self._limit = limit_bytes
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def share(self) -> Iterator[AnswerShare]:
        """What one chat takes, given back at the end. `current_share` finds it, in tasks made meanwhile as well."""
        share = AnswerShare(self)
        token = _current.set(share)
        try:
            yield share
        finally:
            _current.reset(token)
            share.shrink(0)

    async def _take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._taken += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._return(size)
            else:
                with suppress(ValueError):  # it may have been passed over already
                    self._waiting.remove((size, turn))
                self._serve()
            raise

    def _return(self, size: int) -> None:
        self._taken -= size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._taken += size
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._taken == 0 or self._taken + size <= self._limit  # one fits in any case


class AnswerShare:
    """What one chat has of the room."""

    def __init__(self, room: AnswerMemory) -> None:
        self._room = room
        self._bytes = 0

    async def take(self, size: int) -> None:
        """Have room for so many bytes; waits for it. At once where the chat has some: who holds never waits."""
        if not self._bytes:
            await self._room._take(size)
            self._bytes = size

    async def take_beside(self, size: int, limit: asyncio.Timeout) -> None:
        """As `take`; the time of `limit` stands still meanwhile."""
        now = asyncio.get_running_loop().time
        started, ends_at = now(), limit.when()
        limit.reschedule(None)
        await self.take(size)
        if ends_at is not None:
            limit.reschedule(ends_at + now() - started)

    def shrink(self, size: int) -> None:
        """Keep room for so many bytes at most."""
        if size < self._bytes:
            surplus, self._bytes = self._bytes - size, size
            self._room._return(surplus)


_current: ContextVar[AnswerShare | None] = ContextVar("answer_share", default=None)


def current_share() -> AnswerShare | None:
    """The share of the chat that this task works for; None where nobody bounds answers."""
    return _current.get()
