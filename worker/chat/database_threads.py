"""Short work with PostgreSQL beside an event loop, which ends before the pool of connections does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class DatabaseThreads:
    """Runs blocking functions in threads for one event loop, and knows which are still under way."""

    def __init__(self) -> None:
        self._pending: set[asyncio.Future[Any]] = set()

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """What the function returns. A caller that is cancelled leaves it running."""
        work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        self._pending.add(work)
        work.add_done_callback(self._pending.discard)
        return await asyncio.shield(work)

    async def finish(self, *, within_seconds: float) -> None:
        """Wait for what is under way."""
        if self._pending:
            await asyncio.wait(self._pending, timeout=within_seconds)
