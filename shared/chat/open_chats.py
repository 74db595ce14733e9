"""How many chats are open, and whether there is room for one more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

COUNT_MARGIN = 2000
"""More than several web processes accept in half a second."""


# Counts open chats: those that are queued by llm_chats_queued, those that are running by llm_chats_running.
_COUNT_OPEN = sa.text("""
    SELECT (SELECT count(*) FROM llm_chats WHERE status = 'queued')
         + (SELECT count(*) FROM llm_chats WHERE status = 'running')
""")


# Lets processes that count take turns until their commit: an advisory lock, no index.
_ONE_AT_A_TIME = sa.text("SELECT pg_advisory_xact_lock(7293450128891)")


class TooManyOpen(Exception):
    """As many chats are open as may be."""


class OpenChats:
    """Says whether one more chat may be opened, without counting for each while there is plenty of room.

    The figure is looked up every half second while there is room for more than all processes together accept in that
    time, and for each chat when there is less.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._count_until = float("-inf")

    def must_count(self) -> bool:
        """Whether the figure has to be looked up before the next chat; counts that chat in when not."""
        with self._lock:
            if self._clock() >= self._count_until or self._limit - self._count <= COUNT_MARGIN:
                return True
            self._count += 1
            return False

    def counted(self, open_now: int) -> None:
        """Take over a figure. Raises TooManyOpen when it leaves no room."""
        with self._lock:
            self._count, self._count_until = open_now + 1, self._clock() + 0.5
        if open_now >= self._limit:
            raise TooManyOpen(f"{open_now} chats are open, {self._limit} may be")

    def look_up(self, connection: sa.Connection) -> None:
        """Count the open chats, one process after the other. Raises TooManyOpen when that leaves no room."""
        connection.execute(_ONE_AT_A_TIME)
        self.counted(connection.execute(_COUNT_OPEN).scalar_one())
