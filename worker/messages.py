"""The web process's only sender of tasks."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.catalogue.sync.requests import Arguments
from shared.task_names import CHAT_TASK, REFRESH_QUEUE, REFRESH_TASK, REQUEST_ID_HEADER, RUN_ID_HEADER
from worker.upkeep.chats import publish

log = structlog.get_logger(__name__)

SOCKET_TIMEOUT_SECONDS = 2.0
MAX_UNSENT = 10_000
REST_SECONDS = 2.0
"""After a message that Redis did not take, the next ones are left to upkeep for so long."""


class Publisher:
    """Publishes within bounded time; says whether it did. A message that was not sent is upkeep's to send."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._unsent: queue.SimpleQueue[tuple[uuid.UUID, str | None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._sender: threading.Thread | None = None

    def chat(self, chat_id: uuid.UUID, *, request_id: str | None) -> None:
        """Send `llm.chat` soon, from a thread of its own: no caller waits for Redis; a lost message costs seconds."""
        if self._unsent.qsize() < MAX_UNSENT:
            self._unsent.put((chat_id, request_id))
        with self._lock:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_chats, name="chat-messages", daemon=True)
                self._sender.start()

    def _send_chats(self) -> None:
        resting_until = float("-inf")
        while True:
            chat_id, request_id = self._unsent.get()
            if time.monotonic() < resting_until:
                continue
            try:
                with self._app.producer_or_acquire() as producer:
                    while True:
                        # The first message has the chat's own id, which /api/tasks is asked for; later ones new ones.
                        sent = str(chat_id)
                        publish(self._app, sent, task_id=sent, request_id=request_id, producer=producer)
                        if self._unsent.empty():
                            break
                        chat_id, request_id = self._unsent.get()
            except (OperationalError, OSError) as error:
                resting_until = time.monotonic() + REST_SECONDS
                log.warning(
                    "llm_queue.not_published",
                    message="Redis takes no message, upkeep sends it",
                    task=CHAT_TASK,
                    error=type(error).__name__,
                )
            except Exception:  # told, and survived: every later message would be upkeep's
                resting_until = time.monotonic() + REST_SECONDS
                log.exception("llm_queue.not_published", message="A message could not be sent")

    def refresh(self, arguments: Arguments, *, task_id: str, run_id: str | None, request_id: str) -> bool:
        """Send `llm.refresh`; `run_id` is the queued run's, None for a dry run."""
        headers = {REQUEST_ID_HEADER: request_id}
        if run_id is not None:
            headers[RUN_ID_HEADER] = run_id
        return self._send(REFRESH_TASK, arguments.model_dump(exclude_defaults=True), REFRESH_QUEUE, task_id, headers)

    def result(self, task_id: str) -> tuple[str, Any]:
        """The state that Celery's result backend knows, and the result, of a task that no row stands for.

        Raises OperationalError when Redis cannot be reached.
        """
        backend = self._app.backend
        try:
            found = backend.get_task_meta(task_id)
        except (*backend.connection_errors, OSError) as error:
            raise OperationalError(type(error).__name__) from None
        return found["status"], found.get("result")

    def _send(self, task: str, kwargs: dict[str, Any], queue: str, task_id: str, headers: dict[str, str]) -> bool:
        try:
            shown = kwargs | {"run_id": headers[RUN_ID_HEADER]} if RUN_ID_HEADER in headers else kwargs
            self._app.send_task(
                task, kwargs=kwargs, kwargsrepr=repr(shown), task_id=task_id, queue=queue, headers=headers, retry=False
            )
        except (OperationalError, OSError) as error:
            log.warning(
                "llm_queue.not_published",
                message="Redis took no message, upkeep will send it",
                task=task,
                task_id=task_id,
                error=type(error).__name__,
            )
            return False
        return True
