"""What may be asked, by whichever way it comes in. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_KEY_CHARS = 200
MAX_MODELS = 20
MAX_TURNS = 1000
MAX_IDEMPOTENCY_KEY_CHARS = 255


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character, which no text may")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair, which is no text") from None
    return text


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be one line of visible characters")
    return text


def _none_if_empty(value: object) -> object:
    """A page's `<select>` is "" before its list has come: that names no model."""
    return None if value == "" else value


def _empty_if_null(value: object) -> object:
    return () if value is None else value


def _some_or_none(value: object) -> object:
    """No list is none asked for; an empty one is a caller's mistake, and no model would answer for it."""
    if isinstance(value, list) and not value:
        raise ValueError("must hold a model key; leave the list out to name none")
    return _empty_if_null(value)


Text = Annotated[str, AfterValidator(_storable)]
Line = Annotated[str, AfterValidator(_storable), AfterValidator(_one_line)]
Key = Annotated[Line, Field(max_length=MAX_KEY_CHARS)]
Keys = Annotated[
    tuple[Key, ...],
    BeforeValidator(
        _some_or_none,
        json_schema_input_type=Annotated[tuple[Key, ...], Field(min_length=1, max_length=MAX_MODELS)] | None,
    ),
    Field(strict=False, max_length=MAX_MODELS, json_schema_extra={"default": None}),  # () is for Python alone
]
"""In order of preference; () where none are named."""


class Turn(BaseModel):
    """One message of the conversation so far."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    role: Annotated[Line, Field(max_length=32, description="user, assistant or system, or what else a gateway knows")]
    content: Text


class Question(BaseModel):
    """The body of `POST /api/chasen/chat`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    question: Annotated[Text, AfterValidator(_said)]
    model: Annotated[
        Key | None,
        BeforeValidator(_none_if_empty),
        Field(description="A model_key; null or an empty text: the default"),
    ] = None
    models: Annotated[Keys, Field(description="Instead of model: the first of them that is there")] = ()
    fallback: Annotated[
        bool, Field(description="false: where no model that was named is there, 404, and the default does not answer")
    ] = True
    system_prompt: Text | None = Field(default=None, alias="systemPrompt")
    history: Annotated[
        tuple[Turn, ...],
        BeforeValidator(_empty_if_null, json_schema_input_type=tuple[Turn, ...] | None),
        Field(strict=False, max_length=MAX_TURNS, description="Oldest first"),
    ] = ()

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if self.models and self.model is not None:
            raise ValueError("model and models: give one of them")
        return self

    @property
    def requested(self) -> str | None:
        """The key that was asked for; None for the default."""
        return self.models[0] if self.models else self.model

    @property
    def others(self) -> tuple[str, ...]:
        """Keys that are tried in order where that one is not there."""
        return self.models[1:]

    @property
    def strict(self) -> bool:
        """Whether only a model that was named may answer."""
        return self.requested is not None and not self.fallback

    @property
    def characters(self) -> int:
        """Of all that is sent to the model."""
        spoken = sum(len(turn.content) for turn in self.history)
        return len(self.question) + len(self.system_prompt or "") + spoken

    @property
    def history_json(self) -> str:
        """The history as a row keeps it."""
        return json.dumps([[turn.role, turn.content] for turn in self.history], ensure_ascii=False)

    @property
    def sha256(self) -> str:
        """Of all that was asked, however the body was written."""
        # What is younger than the first release stands in it only where it is given: stored digests stay comparable.
        body = self.model_dump(mode="json", exclude=None if self.models else {"models"})
        if self.fallback:
            del body["fallback"]
        canonical = json.dumps(body, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()
