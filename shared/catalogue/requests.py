"""What may be asked of a refresh, by whichever way it comes in, and carrying it out in a task."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.catalogue.outcomes import Options, Outcome
from shared.catalogue.refresh import Refresher
from shared.catalogue.runs import Trigger

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SourceName = Literal["matchaai", "mapping"]


class Arguments(BaseModel):
    """The arguments of `llm.refresh`, and the body of `POST /api/llms/refresh`."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    source: SourceName | None = Field(
        default=None, description="Where the list comes from; MatchaAI where it is set up"
    )
    dry_run: bool = Field(
        default=False, alias="dryRun", description="Only tell what a refresh would do; writes nothing"
    )
    force: Sha256 | None = Field(default=None, description="sha256 of a held list that shall be applied all the same")

    @property
    def options(self) -> Options:
        return Options(self.source, self.force)


@dataclass(frozen=True, slots=True)
class Call:
    """A task's message: its id, what our own headers say (None from a foreign sender), and its arguments."""

    task_id: str
    run_id: str | None
    trigger: str
    request_id: str | None
    arguments: Mapping[str, Any]


def carry_out(refresher: Refresher, call: Call, due: Callable[[datetime], datetime]) -> Outcome:
    """Do what a message asks for. `due` gives the local due time of the night at an instant.

    A message that comes twice, or after its run was carried out by another, only tells how the run ended. Raises
    ValueError, which names them, for arguments that are wrong, and NotHeld for a force that names no held list.
    """
    try:
        arguments = Arguments.model_validate(call.arguments)
        run_id = None if call.run_id is None else uuid.UUID(call.run_id)
    except ValidationError as error:
        raise ValueError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None
    if arguments.dry_run:
        return refresher.preview(arguments.options, request_id=call.request_id)
    if run_id is None:
        refresher.check_force(arguments.options, request_id=call.request_id)
    if run_id is None and call.trigger == "schedule":
        night = due(refresher.now())
        run_id, _ = refresher.request_night(night, trigger="schedule", task_id=call.task_id, actor="beat")
    elif run_id is None:
        trigger: Trigger = "task" if call.trigger not in get_args(Trigger) else call.trigger  # type: ignore[assignment]
        run_id, _, _ = refresher.request(
            arguments.options, trigger=trigger, actor="task", request_id=call.request_id, task_id=call.task_id
        )
    return refresher.perform(run_id, task_id=call.task_id)
