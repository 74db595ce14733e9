"""The web process's only sender of tasks."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.catalogue.requests import Arguments
from shared.task_names import REFRESH_QUEUE, REFRESH_TASK, REQUEST_ID_HEADER, RUN_ID_HEADER

log = structlog.get_logger(__name__)

SOCKET_TIMEOUT_SECONDS = 2.0


class Queue:
    """Publishes within bounded time; says whether it did. A message that was not sent is upkeep's to send."""

    def __init__(self, app: Celery) -> None:
        self._app = app

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
        try:
            found = self._app.backend.get_task_meta(task_id)
        except OSError as error:
            raise OperationalError(str(error)) from None
        return found["status"], found.get("result")

    def _send(self, task: str, kwargs: dict[str, Any], queue: str, task_id: str, headers: dict[str, str]) -> bool:
        try:
            self._app.send_task(task, kwargs=kwargs, task_id=task_id, queue=queue, headers=headers, retry=False)
        except (OperationalError, OSError) as error:
            log.warning("llm_queue.not_published", message="[LLM Refresh] Redis took no message, upkeep will send it",
                        task=task, task_id=task_id, error=type(error).__name__)  # fmt: skip
            return False
        return True
