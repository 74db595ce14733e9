"""What is done again and again beside everything else: in a thread, or in a task of an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0


class _FailedTurns:
    """Logs turns that fail: an expected error once until a turn succeeds, any other with its traceback."""

    def __init__(self, event: str, message: str, expected: type[Exception] | tuple[type[Exception], ...]) -> None:
        self._event, self._message, self._expected = event, message, expected
        self._failing = False

    def reset(self) -> None:
        self._failing = False

    def log(self, error: Exception) -> None:
        if not isinstance(error, self._expected):
            log.error(self._event, message=self._message, exc_info=error)
        elif not self._failing:
            log.warning(self._event, message=self._message, error=str(error) or type(error).__name__)
        self._failing = True


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
        self._failures = _FailedTurns(event, message, expected)
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
        pause: float | None = self._pause_seconds
        while not self._stopping.wait(self._pause_seconds if pause is None else pause):
            try:
                pause = self._turn()
                self._failures.reset()
            except Exception as error:  # noqa: BLE001 - it is logged, and the next turn comes
                self._failures.log(error)
                pause = self._pause_seconds or RETRY_SECONDS


class AsyncBackgroundLoop:
    """As `BackgroundLoop`, as a task of the event loop that runs where it is started."""

    def __init__(
        self,
        name: str,
        turn: Callable[[], Awaitable[None]],
        *,
        event: str,
        message: str,
        expected: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> None:
        """`turn` waits for what it does, too: the next one follows at once, after a failed one in a second.

        `event`, `message` and `expected`: as of `BackgroundLoop`.
        """
        self._name = name
        self._turn = turn
        self._failures = _FailedTurns(event, message, expected)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task. Does nothing where it has been started."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Cancel the turn under way; returns when the task has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
                self._failures.reset()
            except Exception as error:  # noqa: BLE001 - it is logged, and the next turn comes
                self._failures.log(error)
                await asyncio.sleep(RETRY_SECONDS)
