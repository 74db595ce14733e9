"""How many chats are open, and whether there is room for one more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from shared.db import Statement

COUNT_MARGIN = 2000
"""More than several web processes accept in half a second."""


COUNT_SECONDS = 0.5

Counting = Literal["not", "beside", "alone"]
"""Whether the statement that opens a chat counts the open ones: not, beside others, or while no other does."""


COUNT_OPEN = """(SELECT count(*) FROM llm_chats WHERE status = 'queued')
      + (SELECT count(*) FROM llm_chats WHERE status = 'running')"""
"""SQL: how many chats are open, the queued ones by llm_chats_queued, the running ones by llm_chats_running"""


# Lets those who count alone take turns until their commit: an advisory lock, no index.
COUNT_ALONE = Statement("SELECT pg_advisory_xact_lock(7293450128891)")


class TooManyOpen(Exception):
    """As many chats are open as may be."""


class CountAlone(Exception):
    """So many chats are open that they have to be counted alone."""


class OpenChats:
    """Says whether one more chat may be opened, without counting for each while there is plenty of room.

    While there is room for more than all processes together accept meanwhile, the open chats are counted every half
    second; when there is less, for each chat, by one after the other.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._count = limit  # until the first look
        self._count_until = float("-inf")

    def must_count(self) -> Counting:
        """How to count for the next chat; counts that chat in where it has not to."""
        with self._lock:
            if self._limit - self._count <= COUNT_MARGIN:
                return "alone"
            if self._clock() >= self._count_until:
                return "beside"
            self._count += 1
            return "not"

    def most(self, counting: Counting) -> int:
        """With so many open chats at most another one may be opened by who counts so."""
        return self._limit - (1 if counting == "alone" else COUNT_MARGIN)

    def now(self) -> float:
        """When a count begins."""
        return self._clock()

    def counted(self, open_now: int, counting: Counting, *, since: float) -> None:
        """Take over a figure that was asked for at `since`, if it is the newest.

        Raises CountAlone where it leaves little room, TooManyOpen where who counted alone found none.
        """
        with self._lock:
            if since + COUNT_SECONDS > self._count_until:
                self._count, self._count_until = open_now + 1, since + COUNT_SECONDS
        if open_now <= self.most(counting):
            return
        if counting != "alone":
            raise CountAlone
        raise TooManyOpen(f"{open_now} chats are open, {self._limit} may be")
