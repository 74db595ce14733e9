"""How many chats are open, and whether there is room for one more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

import sqlalchemy as sa

COUNT_MARGIN = 2000
"""More than several web processes accept in half a second."""


COUNT_SECONDS = 0.5

Counting = Literal["not", "with", "before"]
"""Whether open chats are counted for a new one: by the statement that opens it, or before it, by one at a time."""


COUNT_OPEN = """(SELECT count(*) FROM llm_chats WHERE status = 'queued')
      + (SELECT count(*) FROM llm_chats WHERE status = 'running')"""
"""SQL: how many chats are open, the queued ones by llm_chats_queued, the running ones by llm_chats_running"""


# Counts open chats, by the indexes that COUNT_OPEN names.
_COUNT_OPEN = sa.text(f"SELECT {COUNT_OPEN}")


# Lets processes that count take turns until their commit: an advisory lock, no index.
_ONE_AT_A_TIME = sa.text("SELECT pg_advisory_xact_lock(7293450128891)")


class TooManyOpen(Exception):
    """As many chats are open as may be."""


class OpenChats:
    """Says whether one more chat may be opened, without counting for each while there is plenty of room.

    While there is room for more than all processes together accept meanwhile, the figure is looked up every half
    second, by the statement that opens a chat; when there is less, it is looked up before each chat, by one after the
    other.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._count = limit  # until the first look
        self._count_until = float("-inf")

    def must_count(self) -> Counting:
        """How the figure has to be looked up for the next chat; counts that chat in where it has not."""
        with self._lock:
            if self._limit - self._count <= COUNT_MARGIN:
                return "before"
            if self._clock() >= self._count_until:
                return "with"
            self._count += 1
            return "not"

    def counted(self, open_now: int) -> None:
        """Take over a figure. Raises TooManyOpen when it leaves no room."""
        with self._lock:
            self._count, self._count_until = open_now + 1, self._clock() + COUNT_SECONDS
        if open_now >= self._limit:
            raise TooManyOpen(f"{open_now} chats are open, {self._limit} may be")

    @property
    def plenty(self) -> int:
        """So many open chats at most leave room for one more, and for all that others open meanwhile."""
        return self._limit - COUNT_MARGIN

    def look_up(self, connection: sa.Connection) -> None:
        """Count the open chats, one process after the other. Raises TooManyOpen when that leaves no room."""
        connection.execute(_ONE_AT_A_TIME)
        self.counted(connection.execute(_COUNT_OPEN).scalar_one())
