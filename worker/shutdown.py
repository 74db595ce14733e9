"""A worker that was told to go is gone in time, whatever does not answer it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

LEAVE_SECONDS = 38.0
"""After SIGTERM: calls have had their 30 s and are given back by then."""
CLOSE_SECONDS = 5.0


class ShutdownDeadline:
    """Ends the process by itself when Celery's own end is held up.

    Celery acknowledges what was running and closes its connections on the way out, each with the time-out of a socket:
    hundreds of them, one after the other, where Redis does not answer. Nothing depends on that. What is left
    unacknowledged is delivered again, and its row says that it is done.
    """

    def __init__(
        self,
        close: Callable[[], None],
        *,
        leave_seconds: float = LEAVE_SECONDS,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        """`close` gives back and writes what this process holds; it gets five seconds at the end."""
        self._close = close
        self._leave_seconds = leave_seconds
        self._leave = leave
        self._begun = threading.Event()

    def begin(self) -> None:
        """The process was told to go. Safe in a signal handler; may be called again."""
        if not self._begun.is_set():
            self._begun.set()
            threading.Thread(target=self._watch, name="departure", daemon=True).start()

    def _watch(self) -> None:
        time.sleep(self._leave_seconds)
        closing = threading.Thread(target=self._close, name="closing", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        log.warning(
            "llm_worker.left", message="A server did not answer, leaving without it", closed=not closing.is_alive()
        )
        for handler in logging.getLogger().handlers:
            handler.flush()
        sys.stdout.flush()
        self._leave(0)
