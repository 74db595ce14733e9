"""What a refresh may be asked for, by whichever way it comes in: route, command, task, or the row of its run. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ListName = Annotated[str, StringConstraints(max_length=200)]
"""The sha256 of a held list; another text names none, and is refused with the one that is held."""
SourceName = Literal["matchaai", "mapping"]


class RefreshOptions(BaseModel):
    """The arguments of `llm.refresh`, and the body of `POST /api/llms/refresh`."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True, frozen=True)

    source: SourceName | None = Field(
        default=None, description="Where the list comes from; MatchaAI where it is set up"
    )
    dry_run: bool = Field(
        default=False, alias="dryRun", description="Only tell what a refresh would do; writes nothing"
    )
    force: ListName | None = Field(default=None, description="sha256 of a held list that shall be applied all the same")

    def as_row(self) -> dict[str, Any]:
        """What the row of a run keeps: what was asked for, without what is the default."""
        return self.model_dump(include={"source", "force"}, exclude_none=True)
