"""What a model can do, and who says so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

Tokens = Annotated[int, Field(strict=True, gt=0, le=1_000_000_000)]
Flag = Annotated[bool, Field(strict=True)]


class CapabilityValues(BaseModel):
    """The capabilities there are. One that is absent (or None) is unknown, which is never the same as false."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context_window: Tokens | None = None
    max_output: Tokens | None = None
    supports_vision: Flag | None = None
    supports_tools: Flag | None = None
    supports_files: Flag | None = None
    supports_websearch: Flag | None = None
    supports_reasoning: Flag | None = None
    supports_audio: Flag | None = None

    def stated(self) -> dict[str, int | bool]:
        """Only what is known."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class Stated:
    """What one source states. `detail`: where in it; `date`: the source's own day (ISO), where it has one."""

    source: str
    values: Mapping[str, int | bool]
    detail: str | None = None
    date: str | None = None


CAPABILITIES: Final = tuple(CapabilityValues.model_fields)
