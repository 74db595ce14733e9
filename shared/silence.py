"""Whether a server has stopped answering altogether, remembered by one process for all that would ask it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PAUSE_SECONDS = 1.0
"""While a server is silent, one caller in this time asks it; the others are refused at once."""


class Silence:
    """Keeps the waits for a silent server from adding up. Threads and greenlets may share one.

    A wait without an answer says little: one connection may be broken. The server counts as silent when nobody in
    this process has heard from it since that wait began. Anything heard ends the silence.
    """

    def __init__(self, *, pause_seconds: float = PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._heard_at = float("-inf")
        self._silent = False
        self._silent_since = float("-inf")
        self._ask_at = float("-inf")

    def now(self) -> float:
        """The time by this object's clock."""
        return self._clock()

    def record_answer(self) -> None:
        """The server has answered somebody."""
        self._heard_at = self._clock()
        self._silent = False

    def record_no_answer(self, since: float) -> None:
        """A wait that began at `since` (of this object's clock) has ended without an answer."""
        with self._lock:
            if self._heard_at < since:
                now = self._clock()
                if not self._silent:
                    self._silent, self._silent_since = True, now
                self._ask_at = now + self._pause_seconds

    def began_after(self, moment: float) -> bool:
        """Whether the server is silent, and was not known to be so at this moment."""
        return self._silent and self._silent_since > moment

    def may_ask(self) -> bool:
        """Whether to ask the server now. While it is silent, True for one caller in each pause."""
        if not self._silent:
            return True
        with self._lock:
            now = self._clock()
            if not self._silent:
                return True
            if now < self._ask_at:
                return False
            self._ask_at = now + self._pause_seconds
            return True
