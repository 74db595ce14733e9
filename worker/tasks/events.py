"""What Flower is told of a task beside Celery's own events."""

from typing import Any, Final

import structlog
from celery import Task
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

ENDED: Final = "task-ended"
"""Has the `result` of a task that raises after this: Flower searches results, and no exceptions."""
REVOKED: Final = "task-revoked"


def publish_event(task: Task, kind: str, **fields: Any) -> None:
    """Send an event about the running task; what cannot be sent is only missing in Flower."""
    try:
        task.send_event(kind, retry=False, **fields)
    except (OperationalError, OSError) as error:
        log.warning("llm_task.event_not_sent", kind=kind, error=type(error).__name__)
