"""The circuit of one process: while upstream as a whole is down, chats wait instead of spending their attempts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

FAILURES = 5
PROBE_SECONDS = 5.0


class Circuit:
    """Opens after so many failures in a row; then lets one through every `probe_seconds` until one is answered.

    Belongs to one event loop. A failure is one of upstream as a whole (connection, time-out, 5xx, HTML page); any other
    answer, a refusal as well, is a sign of life.
    """

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        probe_seconds: float = PROBE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._failures = 0
        self._open = False
        self._dismissed = False
        self._probe_at = 0.0
        self._changed = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether upstream counts as down."""
        return self._open

    def answered(self) -> bool:
        """Note a sign of life; returns whether this closed the circuit."""
        self._failures = 0
        was_open, self._open = self._open, False
        if was_open:
            self._wake()
        return was_open

    def failed(self) -> bool:
        """Note a failure; returns whether this opened the circuit."""
        self._failures += 1
        if self._failures < self._limit or self._open:
            return False
        self._open = True
        self._probe_at = self._clock() + self._probe_seconds
        return True

    def not_called(self) -> None:
        """Who was admitted had nothing to call for (its chat has ended): the next one may."""
        if self._open:
            self._probe_at = self._clock()
            self._wake()

    def dismiss(self) -> None:
        """Let all who wait go, whatever upstream does: the process is going."""
        self._dismissed = True
        self._wake()

    async def admitted(self) -> None:
        """Return when a call may be made: at once, when the circuit closes, or as the next probe."""
        while self._open and not self._dismissed:
            left = self._probe_at - self._clock()
            if left <= 0:
                self._probe_at = self._clock() + self._probe_seconds
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
