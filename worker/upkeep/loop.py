"""Upkeep: what every worker does beside its tasks, without Redis having to ask for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.signals import worker_ready
from kombu.exceptions import OperationalError

from shared.background import BackgroundLoop
from shared.db import DatabaseError, DatabaseUnavailable, RoleNotGranted
from shared.redis_store import RedisStore, RedisUnavailable

log = structlog.get_logger(__name__)

ALIVE_SECONDS = 20
"""How long a worker that was killed still counts as alive."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do every so many seconds. What it raises is logged, and it is tried again."""

    name: str
    every_seconds: float
    run: Callable[[], object]
    apart: bool = False
    """It waits for others than our own servers: it gets a thread of its own, and holds up nobody."""


class RepeatedFailures:
    """Which failures of duties are worth a line: each new one, and one that lasts once a minute."""

    def __init__(self, *, every_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_seconds = every_seconds
        self._clock = clock
        self._last: dict[str, tuple[str, float]] = {}

    def is_news(self, duty: str, text: str) -> bool:
        """Whether to log this failure now."""
        now = self._clock()
        last_text, logged_at = self._last.get(duty, ("", float("-inf")))
        if text == last_text and now < logged_at + self._every_seconds:
            return False
        self._last[duty] = text, now
        return True

    def end(self, duty: str) -> bool:
        """The duty was done; whether it had failed before."""
        return self._last.pop(duty, None) is not None


class Upkeep:
    """A thread that does its duties in turn until it is stopped."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties
        self._due = {duty.name: 0.0 for duty in duties}
        self._stopping = False
        self._failures = RepeatedFailures()
        self._loop = BackgroundLoop("upkeep", self._turn, event="llm_upkeep.failed", message="Upkeep goes on")

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """Stop after the duty under way; returns when it is done, or after ten seconds."""
        self._stopping = True
        self._loop.stop(within_seconds=10)

    def _turn(self) -> float:
        for duty in self._duties:
            if time.monotonic() >= self._due[duty.name] and not self._stopping:
                self._do(duty)
                self._due[duty.name] = time.monotonic() + duty.every_seconds
        return max(0.05, min(self._due.values()) - time.monotonic())

    def _do(self, duty: Duty) -> None:
        try:
            duty.run()
            if self._failures.end(duty.name):
                log.info("llm_upkeep.recovered", duty=duty.name)
        except (DatabaseUnavailable, RedisUnavailable, OperationalError, OSError) as error:
            text = str(error) or type(error).__name__
            if self._failures.is_news(duty.name, text):
                log.warning("llm_upkeep.unreachable", duty=duty.name, error=text)
        except (DatabaseError, RoleNotGranted) as error:
            log.error("llm_upkeep.failed", duty=duty.name, error=str(error))  # noqa: TRY400 - the text says it all
        except Exception:  # the thread must outlive what nobody foresaw; it is told, with where it came from
            log.exception("llm_upkeep.failed", duty=duty.name)


def grouped(duties: Sequence[Duty]) -> list[list[Duty]]:
    """The duties of each thread: most of them take turns in one."""
    return [[duty for duty in duties if not duty.apart], *([duty] for duty in duties if duty.apart)]


def alive_duty(
    cache: Callable[[], RedisStore],
    ready: threading.Event,
    kinds: Sequence[str],
    node: str,
    illness: Callable[[str], str | None] = lambda kind: None,
) -> Duty:
    """Say every few seconds that this worker consumes; not before it does, and not while it cannot do its work.

    `illness` says why a worker of a kind does not work; None when it does.
    """
    ill: dict[str, str] = {}

    def announce() -> None:
        if not ready.is_set():
            return
        for kind in kinds:
            why = illness(kind)
            if why is None:
                ill.pop(kind, None)
                cache().announce(kind, node, seconds=ALIVE_SECONDS)
                continue
            cache().withdraw(kind, node)
            if kind not in ill:
                log.error("llm_worker.ill", message="A worker does not work", kind=kind, reason=why)
            ill[kind] = why

    return Duty("alive", 2, announce, apart=True)


def install(app: Celery, make_duties: Callable[[Sequence[str], str, threading.Event], Sequence[Duty]]) -> None:
    """Let every worker of this app do upkeep. `make_duties` gets its queues, name and readiness."""
    ready = threading.Event()

    @worker_ready.connect(weak=False)
    def _ready(**_: Any) -> None:
        ready.set()

    class UpkeepStep(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **kwargs: Any) -> None:
            self._upkeeps: list[Upkeep] = []
            super().__init__(worker, **kwargs)

        def start(self, worker: Any) -> None:
            queues = tuple(worker.app.amqp.queues.consume_from)
            duties = make_duties(queues, worker.hostname, ready)
            self._upkeeps = [Upkeep(group) for group in grouped(duties)]
            for upkeep in self._upkeeps:
                upkeep.start()

        def stop(self, worker: Any) -> None:
            for upkeep in self._upkeeps:
                upkeep.stop()

        terminate = stop

    app.steps["worker"].add(UpkeepStep)
