"""Threads that do one thing again and again beside everything else."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0


class BackgroundLoop:
    """A daemon thread that takes turn after turn until it is stopped. No error ends it: each is logged."""

    def __init__(
        self,
        name: str,
        turn: Callable[[], float | None],
        *,
        pause_seconds: float = 0.0,
        event: str,
        message: str,
        expected: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> None:
        """`turn` returns the seconds until the next one, or None for `pause_seconds`.

        `event` and `message` say in the log what a failed turn means. An `expected` error is a warning without a
        traceback, written once until a turn succeeds again. After a failed turn the pause is at least a second, unless
        `pause_seconds` says otherwise.
        """
        self._name = name
        self._turn = turn
        self._pause_seconds = pause_seconds
        self._event, self._message, self._expected = event, message, expected
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Does nothing where it has been started."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Let the turn under way be the last one."""
        self._stopping.set()

    def stop(self, *, within_seconds: float) -> None:
        """As `finish`; returns when the thread has ended, or after so many seconds."""
        self.finish()
        self.join(within_seconds)

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, so many seconds at most."""
        if self._thread is not None:
            self._thread.join(timeout=seconds)

    def _run(self) -> None:
        failing = False
        pause: float | None = self._pause_seconds
        while not self._stopping.wait(self._pause_seconds if pause is None else pause):
            try:
                pause = self._turn()
                failing = False
                continue
            except self._expected as error:
                if not failing:
                    log.warning(self._event, message=self._message, error=str(error) or type(error).__name__)
            except Exception:
                log.exception(self._event, message=self._message)
            failing, pause = True, self._pause_seconds or RETRY_SECONDS
