"""What Flower is told of tasks beside Celery's own events. What cannot be sent is missing in Flower, nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final

import structlog
from celery import Celery, Task
from kombu.exceptions import OperationalError

from shared.task_errors import of_chat
from shared.task_names import CHAT_TASK

log = structlog.get_logger(__name__)

ENDED: Final = "task-ended"
"""Has the `result` of a task that raises after this: Flower searches results, and no exceptions."""
RETRIED: Final = "task-retried"
REVOKED: Final = "task-revoked"
_FAILED: Final = "task-failed"
_SUCCEEDED: Final = "task-succeeded"


def publish_event(task: Task, kind: str, **fields: Any) -> None:
    """Send an event about the running task."""
    try:
        task.send_event(kind, retry=False, **fields)
    except (OperationalError, OSError) as error:
        log.warning("llm_task.event_not_sent", kind=kind, error=type(error).__name__)


class ChatEnds:
    """Tells Flower of chats that end without a task of theirs: by upkeep, or by a probe.

    The event is about the task of the chat's first message, which has the chat's id.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self.node: str | None = None
        """The worker's name, once it is known: events of another name would be another worker in Flower."""

    def publish(self, ends: Iterable[tuple[uuid.UUID, str, str | None]]) -> None:
        """Send the ends: id, status and error's code of each chat."""
        ends = list(ends)
        if not ends:
            return
        try:
            with self._app.events.default_dispatcher(hostname=self.node) as dispatcher:
                for chat_id, status, code in ends:
                    kind, fields = _fields(chat_id, status, code)
                    dispatcher.send(kind, uuid=str(chat_id), name=CHAT_TASK, args=f"('{chat_id}',)", **fields)
        except (OperationalError, OSError) as error:
            log.warning("llm_task.event_not_sent", chats=len(ends), error=type(error).__name__)


def _fields(chat_id: uuid.UUID, status: str, code: str | None) -> tuple[str, dict[str, Any]]:
    if status == "succeeded":
        return _SUCCEEDED, {"result": repr({"chat_id": str(chat_id), "status": status}), "runtime": 0.0}
    return _FAILED, {"exception": repr(of_chat(chat_id, status, code)), "traceback": ""}
