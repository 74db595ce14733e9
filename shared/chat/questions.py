"""What may be asked, by whichever way it comes in. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_KEY_CHARS = 200
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


Text = Annotated[str, AfterValidator(_storable)]
Line = Annotated[str, AfterValidator(_storable), AfterValidator(_one_line)]


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
        Annotated[Line, Field(max_length=MAX_KEY_CHARS)] | None,
        BeforeValidator(_none_if_empty),
        Field(description="A model_key; null or an empty text: the default"),
    ] = None
    system_prompt: Text | None = Field(default=None, alias="systemPrompt")
    history: Annotated[
        tuple[Turn, ...],
        BeforeValidator(_empty_if_null, json_schema_input_type=tuple[Turn, ...] | None),
        Field(strict=False, max_length=MAX_TURNS, description="Oldest first"),
    ] = ()

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
        canonical = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()
