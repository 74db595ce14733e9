"""Reads `mapping.toml`: the specification's models, and what is stated about others."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping as Lookup
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib import resources
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared.catalogue.facts.capabilities import CapabilityStatement, CapabilityValues
from shared.catalogue.facts.names import bare_words, words
from shared.catalogue.sync.parse import MAX_ID, MAX_NAME

Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_NAME)]
Key = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=MAX_NAME)]
_FILE: Final = "mapping.toml"


class MappingError(ValueError):
    """The mapping does not say what a mapping must; the text names the place and the fault, a line each."""


class MappedModel(BaseModel):
    """One model of the specification."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int = Field(strict=True, ge=1, le=MAX_ID)
    key: Key
    name: Text
    provider: Key
    default: bool = Field(default=False, strict=True)
    order: int = Field(strict=True, ge=0, le=MAX_ID)
    capabilities: CapabilityValues = CapabilityValues()


class MappedCapabilities(BaseModel):
    """What is stated about the models of some names, where it was read, and on which day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[Text, ...] = Field(min_length=1)
    values: CapabilityValues
    stated: date | None = None
    source: Text | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[MappedModel, ...] = Field(min_length=1)
    capabilities: tuple[MappedCapabilities, ...] = ()

    @model_validator(mode="after")
    def _states_each_thing_once(self) -> _Document:
        statements: dict[str, list[int] | list[str] | list[tuple[str, ...]]] = {
            "id": [model.id for model in self.models],
            "key": [model.key for model in self.models],
            "order": [model.order for model in self.models],
            "name": [words(model.name) for model in self.models],
            "name of capabilities": [words(name) for block in self.capabilities for name in block.names],
        }
        for what, values in statements.items():
            if len(set(values)) != len(values):
                raise ValueError(f"the same {what} stands there twice")
        if sum(model.default for model in self.models) != 1:
            raise ValueError("exactly one model must be the default")
        return self


@dataclass(frozen=True, slots=True)
class Mapping:
    """The mapping, ready for look-up. `models` are in their display order."""

    models: tuple[MappedModel, ...]
    _by_words: Lookup[tuple[str, ...], MappedModel]
    _stated: Lookup[tuple[str, ...], CapabilityStatement]

    def model(self, name: str) -> MappedModel | None:
        """The specification's model of this name, in any order, case and punctuation."""
        return self._by_words.get(words(name))

    def find(self, name: str) -> CapabilityStatement | None:
        """What the mapping states about the model of this name; None where it states nothing.

        The words of the name decide, then the words without dates and qualifiers.
        """
        return self._stated.get(words(name)) or self._stated.get(bare_words(name).words)


def read_mapping(text: str) -> Mapping:
    """The mapping written in TOML. Raises MappingError."""
    try:
        document = _Document.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as fault:
        raise MappingError(f"{_FILE}: {fault}") from fault
    except ValidationError as fault:
        lines = (f"{_FILE}: {'.'.join(map(str, error['loc'])) or 'whole'}: {error['msg']}" for error in fault.errors())
        raise MappingError("\n".join(lines)) from fault
    by_words: dict[tuple[str, ...], CapabilityStatement] = {}
    for model in document.models:
        if values := model.capabilities.stated():
            by_words[words(model.name)] = CapabilityStatement("mapping", values, detail=f"model {model.id}")
    for block in document.capabilities:
        day = block.stated.isoformat() if block.stated else None
        for name in block.names:
            earlier = by_words.get(words(name))
            values = block.values.stated() | (dict(earlier.values) if earlier else {})  # the specification's own first
            by_words[words(name)] = CapabilityStatement("mapping", values, detail=block.source or name, date=day)
    models = tuple(sorted(document.models, key=lambda model: model.order))
    return Mapping(models, {words(model.name): model for model in models}, by_words)


@lru_cache(maxsize=1)
def load_mapping() -> Mapping:
    """The mapping that ships with this package, read once a process. Raises MappingError."""
    return read_mapping(resources.files("shared.catalogue.facts").joinpath(_FILE).read_text(encoding="utf-8"))
