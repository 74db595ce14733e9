"""Whether this web process ends soon, for requests that wait: an answer in time is worth more than a cut connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

EXTENSION: Final = "llm_refresh_stopping"
"""Where gunicorn's worker finds it among the extensions of the application."""
LAST_WAITS_SECONDS: Final = 6.0
"""So long who cannot come back for an answer may wait for it still: gunicorn ends the process after
`graceful_timeout`, which is 10 s, and looks once a second whether it may go."""


class Stopping:
    """Begins once, with SIGTERM. Waits that cost their callers nothing end at once, the others a little later."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_begin(self, listener: Callable[[], None]) -> None:
        """Call this when the process was told to stop."""
        self._listeners.append(listener)

    def begin(self) -> None:
        """The process was told to stop. May be called again."""
        if self._began is None:
            self._began = time.monotonic()
            for listener in self._listeners:
                listener()

    @property
    def begun(self) -> bool:
        """Whether to answer now, where the caller learns how to go on: by a 202, or an event stream's last id."""
        return self._began is not None

    @property
    def is_over(self) -> bool:
        """Whether to answer now in any case."""
        return self._began is not None and time.monotonic() >= self._began + LAST_WAITS_SECONDS
