"""What may be asked of a refresh, by whichever way it comes in, and carrying it out in a task."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from shared.catalogue.sync.holds import NotHeld
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.outcomes import Outcome
from shared.catalogue.sync.refresh import TASK_SECONDS, Refresher
from shared.db import DatabaseFailure
from shared.field_errors import words_of
from shared.vocabulary import RUN_TRIGGERS, RunTrigger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """A task's message: its id, what our own headers say (None from a foreign sender), and its arguments."""

    task_id: str
    run_id: str | None
    trigger: str
    request_id: str | None
    arguments: Mapping[str, Any]


class InvalidOptions(Exception):
    """The arguments of a refresh are wrong: its text names them, and what is wrong."""


def run_refresh(refresher: Refresher, call: RefreshRequest, due: Callable[[datetime], datetime]) -> Outcome:
    """Do what a message asks for. `due` gives the local due time of the night at an instant.

    A message that comes twice, or after its run was carried out by another, only tells how the run ended. A database
    that cannot be used is the cause of a failure, and so is a force that names no held list. Raises InvalidOptions.
    """
    try:
        arguments = RefreshOptions.model_validate(call.arguments)
        run_id = None if call.run_id is None else uuid.UUID(call.run_id)
    except ValidationError as error:
        raise InvalidOptions("; ".join(f"{_name(e['loc'])}: {words_of(e)}" for e in error.errors())) from None
    started = time.monotonic()
    try:
        if arguments.dry_run:
            return refresher.preview(arguments, request_id=call.request_id)
        if run_id is None:
            refresher.check_force(arguments, request_id=call.request_id)
            run_id = _request_run(refresher, call, arguments, due)
        # A service waits for the result of a message that stands for no run yet.
        waits = call.run_id is None and call.trigger == "task"
        within_seconds = TASK_SECONDS - (time.monotonic() - started) if waits else None
        return refresher.perform(run_id, task_id=call.task_id, within_seconds=within_seconds)
    except NotHeld as refused:
        return Outcome(None, "failed", code="not_held", detail=str(refused))
    except DatabaseFailure as error:
        log.error(  # noqa: TRY400 - the text says it
            "llm_refresh.failed",
            message="Failed to sync models",
            code="database_unavailable",
            detail=str(error),
            run_id=str(run_id),
        )
        plan = () if arguments.dry_run else None
        return Outcome(run_id, "failed", code="database_unavailable", detail=str(error), plan=plan)


def _request_run(
    refresher: Refresher, call: RefreshRequest, arguments: RefreshOptions, due: Callable[[datetime], datetime]
) -> uuid.UUID:
    if call.trigger == "schedule":
        night = due(refresher.now())
        run_id, _ = refresher.queue.request_night(night, trigger="schedule", task_id=call.task_id, actor="beat")
        return run_id
    trigger: RunTrigger = next((each for each in RUN_TRIGGERS if each == call.trigger), "task")
    run_id, _, _ = refresher.queue.request(
        arguments, trigger=trigger, actor="task", request_id=call.request_id, task_id=call.task_id
    )
    return run_id


def _name(location: tuple[int | str, ...]) -> str:
    """An argument as the task calls it: pydantic gives the name in the body of the route."""
    return ".".join("dry_run" if part == "dryRun" else str(part) for part in location)
