"""The one place that puts the parts of a worker together."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import structlog
from celery import Celery
from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import state
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.chat import read
from shared.chat.dispatch import dispatch_limits_of
from shared.clock import new_id
from shared.db import DatabaseFailure
from shared.redis_rights import ADVICE, missing_rights
from shared.redis_store import RedisUnavailable, connect
from shared.settings import Settings
from shared.task_names import CHAT_QUEUE, REFRESH_QUEUE, REQUEST_ID_HEADER
from worker.celery_app import make_celery
from worker.chat.dispatcher import ChatPlaces
from worker.chat.gateway import make_chat_gateway
from worker.chat.process import ChatProcess
from worker.flower.task_events import ChatEnds
from worker.process_limits import return_large_blocks
from worker.runtime import Runtime
from worker.shutdown import ShutdownDeadline
from worker.tasks import chat, refresh
from worker.upkeep import loop as upkeep
from worker.upkeep.chats import chat_duties
from worker.upkeep.notices import notice_duties
from worker.upkeep.refreshes import refresh_duties
from worker.upkeep.webhooks import webhook_duties

log = structlog.get_logger(__name__)
SOCKET_SECONDS = 10.0
FLOWER_SOCKET_SECONDS = 3.0
"""Its threads are waited for when it ends, some exchanges each."""

BuildRuntime = Callable[[Settings, str], Runtime]


class _Closable(Protocol):
    def close(self) -> None: ...


P = TypeVar("P", bound=_Closable)


class Lazy(Generic[P]):
    """A part of this process, built when it is first needed: never at import, never before a fork."""

    def __init__(self, build: Callable[[], P]) -> None:
        self._build = build
        self._built: P | None = None
        self._lock = threading.Lock()

    @property
    def built(self) -> P | None:
        """The part, where it has been needed."""
        return self._built

    def __call__(self) -> P:
        with self._lock:
            if self._built is None:
                self._built = self._build()
            return self._built

    def close(self) -> None:
        with self._lock:
            if self._built is not None:
                self._built.close()
                self._built = None


def create_worker(settings: Settings, build_runtime: BuildRuntime, *, process: str = "worker") -> Celery:
    """The Celery application of workers, beat and Flower, with its tasks and its upkeep."""
    is_flower = process == "flower"
    app = make_celery(
        settings,
        socket_timeout_seconds=FLOWER_SOCKET_SECONDS if is_flower else SOCKET_SECONDS,
        own_transport=not is_flower,
    )
    lazy_runtime = Lazy(lambda: build_runtime(settings, process))
    shutting_down = threading.Event()
    ends = ChatEnds(app)
    places = Lazy(lambda: _chat_places(app, lazy_runtime()))
    chats = Lazy(lambda: _chat_process(lazy_runtime(), shutting_down, ends, places))
    refresh.register(app, lazy_runtime)
    chat.register(app, chats, lambda chat_id: _state_of(lazy_runtime(), chat_id))

    def illness(kind: str) -> str | None:
        process = chats.built if kind == CHAT_QUEUE else None
        overdue = process.overdue_seconds if process is not None else 0.0
        return f"its heartbeat is {overdue:.0f} s overdue: no lease is renewed" if overdue else None

    def duties(queues: Sequence[str], node: str, ready: threading.Event) -> Sequence[upkeep.Duty]:
        runtime = lazy_runtime()
        ends.node = node
        kinds = [queue for queue in (REFRESH_QUEUE, CHAT_QUEUE) if queue in queues]
        alive = upkeep.alive_duty(lambda: runtime.store, ready, kinds, node, illness)
        chats_and_runs = [*refresh_duties(app, runtime), *chat_duties(app, runtime, ends)]
        return [alive, *chats_and_runs, *notice_duties(runtime), *webhook_duties(runtime)]

    upkeep.install(app, duties)
    _bind_logs()
    _check_rights_first(settings)
    _announce_places(app, places)
    _bind_shutdown(lazy_runtime, chats, places, shutting_down)
    return app


def _state_of(runtime: Runtime, chat_id: uuid.UUID) -> tuple[str, str | None]:
    try:
        with runtime.database.transaction() as connection:
            return read.state_of(connection, chat_id) or ("not_found", None)
    except DatabaseFailure:
        return "unknown", None  # the row says it to whoever asks


def _chat_places(app: Celery, runtime: Runtime) -> ChatPlaces:
    settings = runtime.settings
    limits = dispatch_limits_of(settings)
    return ChatPlaces(
        app,
        runtime.database,
        runtime.store,
        limits,
        process_id=new_id(),
        lease_seconds=settings.chat_lease_seconds,
    )


def _announce_places(app: Celery, places: Lazy[ChatPlaces]) -> None:
    @worker_ready.connect(weak=False)
    def _start(sender: Any, **_: Any) -> None:
        if CHAT_QUEUE in app.amqp.queues.consume_from:
            places().start(sender.hostname, sender.controller.concurrency)


def _chat_process(
    runtime: Runtime, shutting_down: threading.Event, ends: ChatEnds, places: Lazy[ChatPlaces]
) -> ChatProcess:
    return_large_blocks()
    settings = runtime.settings
    process = ChatProcess(
        settings,
        runtime.database,
        runtime.notifier,
        lambda: make_chat_gateway(settings),
        on_probed=lambda end: ends.publish([(end.chat_id, end.status, end.error_code)]),
        place_freed=places().place_freed,
        process_id=places().process_id,
    )
    process.start()
    if shutting_down.is_set():  # its first chat came after the signal
        process.drain()
    return process


def _bind_shutdown(
    runtime: Lazy[Runtime], chats: Lazy[ChatProcess], places: Lazy[ChatPlaces], shutting_down: threading.Event
) -> None:
    shutdown_deadline = ShutdownDeadline(chats.close)

    @worker_shutting_down.connect(weak=False)
    def _drain(sig: str = "", **_: Any) -> None:
        log.info("llm_worker.stopping", signal=sig)
        shutting_down.set()
        shutdown_deadline.begin()
        if places.built is not None:
            places.built.drain(lambda: chats.built.running if chats.built is not None else 0)
        if chats.built is not None:
            chats.built.drain()

    def at_once(number: int, frame: object) -> None:
        """As SIGTERM, without the time for calls under way. Celery's own handlers would kill threads, and cannot."""
        _drain()
        if chats.built is not None:
            chats.built.release_running()
        state.should_stop = 0

    def interrupted(number: int, frame: object) -> None:
        """The first Ctrl-C is as SIGTERM."""
        signal.signal(signal.SIGINT, at_once)
        _drain()
        state.should_stop = 0

    @worker_ready.connect(weak=False)
    def _take_signals(**_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGQUIT, at_once)
            signal.signal(signal.SIGINT, interrupted)

    @worker_shutdown.connect(weak=False)
    def _close(**_: Any) -> None:
        chats.close()
        places.close()
        runtime.close()


def _check_rights_first(settings: Settings) -> None:
    @worker_init.connect(weak=False)
    def _check(**_: Any) -> None:
        """Celery calls a missing right an unrecoverable error, with forty lines of traceback."""
        with suppress(RedisUnavailable):  # it waits for Redis to come
            if missing := missing_rights(connect(settings.redis_url.get_secret_value())):
                log.critical(
                    "llm_redis.rights_missing",
                    message="Redis does not allow its user " + ", ".join(missing),
                    advice=ADVICE,
                )
                sys.exit(1)


class _Outages(logging.Filter):
    """A server that is away is told in a line: the traceback of a lost connection says nothing more."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError | RedisError | OperationalError):
            record.exc_info = None
            text = record.getMessage()
            if str(error) not in text:  # Celery's line of a worker that ends names only the class
                record.msg, record.args = f"{text}: {error}", None
        return True


def _bind_logs() -> None:
    for name in ("celery.worker", "celery.worker.request", "celery.worker.consumer.consumer", "kombu.transport.redis"):
        logging.getLogger(name).addFilter(_Outages())

    @setup_logging.connect(weak=False)
    def _ours(**_: Any) -> None:
        """Logging is set up already: Celery leaves it alone when somebody answers this signal."""

    @task_prerun.connect(weak=False)
    def _begin(task_id: str, task: Any, **_: Any) -> None:
        structlog.contextvars.clear_contextvars()
        request_id = task.request.get(REQUEST_ID_HEADER) or task_id
        structlog.contextvars.bind_contextvars(task_id=task_id, task=task.name, request_id=request_id)

    @task_postrun.connect(weak=False)
    def _end(**_: Any) -> None:
        structlog.contextvars.clear_contextvars()
