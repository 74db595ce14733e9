"""What a task's message brings as arguments: anybody who has Redis's address may send it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from shared.task_errors import INVALID_ARGUMENTS

log = structlog.get_logger(__name__)


def bind_arguments(signature: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name, with defaults. Raises ValueError, which says what is wrong with them.

    The tasks take any arguments, so that Celery does not end them with a TypeError and a traceback.
    """
    try:
        bound = inspect.signature(signature).bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(str(error)) from None
    bound.apply_defaults()
    return bound.arguments


def log_refusal(task: str, task_id: str, detail: str) -> None:
    """Say it once: Celery is silent about expected exceptions, and the sender may ignore its result."""
    log.warning(
        "llm_task.refused",
        message="A message has wrong arguments",
        task=task,
        task_id=task_id,
        code=INVALID_ARGUMENTS,
        detail=detail,
    )
