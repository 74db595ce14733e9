"""The room on the disks for `/metrics`: a file system that hangs holds up no scrape, nor any other call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

log = structlog.get_logger(__name__)

Figures = Mapping[str, tuple[int, int]]
"""folder -> bytes that are free on its disk, and the disk's size"""
WAIT_SECONDS: Final = 1.0


class DiskRoom:
    """Measures in a real thread: statvfs on a hung mount never returns, and in a greenlet it would stop the process."""

    def __init__(self, measure: Callable[[], Figures], *, wait_seconds: float = WAIT_SECONDS) -> None:
        """`measure` may raise OSError. No thread starts before the first `figures`."""
        self._measure = measure
        self._wait_seconds = wait_seconds
        self._pool: ThreadPool | None = None
        self._under_way: AsyncResult[Figures] | None = None
        self._overdue = False

    def figures(self) -> Figures:
        """The figures of now; none where a disk cannot be measured, or has not answered within `wait_seconds`.

        While a measurement hangs, no other is begun, nobody waits for it again, and one line in the log says so.
        """
        if self._pool is None:
            self._pool = ThreadPool(1)
        if self._under_way is None or self._under_way.ready():
            self._under_way, self._overdue = self._pool.spawn(self._measure), False
        measurement = self._under_way
        measurement.wait(0 if self._overdue else self._wait_seconds)
        if not measurement.ready():
            if not self._overdue:
                self._overdue = True
                log.warning(
                    "llm_metrics.without_disks", error=f"a disk has not answered within {self._wait_seconds:g} s"
                )
            return {}
        try:
            figures: Figures = measurement.get()
        except OSError as error:
            log.warning("llm_metrics.without_disks", error=error.strerror)
            return {}
        return figures
