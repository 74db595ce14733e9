"""What comes in and goes out under /v1. Fields that nobody here knows are let through: clients send many."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from shared.chat.requests import MAX_TURNS, Key, Keys, Text
from worker.web.bodies import NoQuery

UNSUPPORTED = "unsupported_parameter"
"""Pydantic's name, and OpenAI's code, for what is understood and cannot be done here."""
_OTHER_PARTS = ("image_url", "input_audio", "file", "refusal")
_ROLES = ("system", "developer", "user", "assistant")
_OTHER_ROLES = ("tool", "function")


def unsupported(text: str) -> PydanticCustomError:
    """What a validator raises for what is understood and cannot be done here."""
    return PydanticCustomError(UNSUPPORTED, text)


def _text_only(kind: str) -> str:
    if kind in _OTHER_PARTS:
        raise unsupported("only parts of the type text can be sent to a model here")
    if kind != "text":
        raise ValueError("must be text: no other type of part is known here")
    return kind


def speaker(role: str) -> str:
    """A role of those who speak in a conversation."""
    if role in _OTHER_ROLES:
        raise unsupported("no tools can be used here, so there are no messages of theirs")
    if role not in _ROLES:
        raise ValueError(f"must be one of {', '.join(_ROLES)}")
    return role


def no_tools(value: Any) -> Any:
    """No tools, or an empty list of them."""
    if value:
        raise unsupported("tools and functions cannot be used here")
    return value


def some(messages: tuple[Any, ...]) -> tuple[Any, ...]:
    """One message or more."""
    # Not min_length: it counts those that are right, so that one wrong message would be reported as none.
    if not messages:
        raise ValueError("must hold a message")
    return messages


def _one(number: int | None) -> int | None:
    if number is not None and number > 1:
        raise unsupported("one choice is all that there is here")
    if number is not None and number < 1:
        raise ValueError("must be 1")
    return number


def _false(value: bool | None) -> bool | None:
    if value:
        raise unsupported("nobody knows the probabilities of tokens here")
    return value


def _plain_text(form: dict[str, Any] | None) -> dict[str, Any] | None:
    if form is not None and form.get("type") != "text":
        raise unsupported("answers are text: the type must be text")
    return form


def _no_audio(kinds: list[str] | None) -> list[str] | None:
    if any(kind != "text" for kind in kinds or ()):
        raise unsupported("answers are text: no other modality can be had here")
    return kinds


class OpenAIQuery(NoQuery):
    """Clients send more than is looked at."""

    model_config = ConfigDict(extra="ignore")


class OpenAIModel(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class TextPart(OpenAIModel):
    type: Annotated[str, AfterValidator(_text_only), Field(json_schema_extra={"enum": ["text"]})]
    text: Text


Content = Annotated[
    Annotated[Text, Tag("~text")] | Annotated[list[TextPart], Tag("~parts")],
    Discriminator(lambda value: "~parts" if isinstance(value, list) else "~text"),
]


class Message(OpenAIModel):
    role: Annotated[str, AfterValidator(speaker), Field(json_schema_extra={"enum": list(_ROLES)})]
    content: Content | None = None
    tool_calls: Annotated[list[Any] | None, AfterValidator(no_tools)] = None
    function_call: Annotated[dict[str, Any] | None, AfterValidator(no_tools)] = None


class ChatCompletionBody(OpenAIModel):
    """Every other parameter is accepted; the header x-llm-refresh-ignored names those without effect."""

    model: Annotated[Key, Field(description="A key of GET /v1/models")]
    messages: Annotated[tuple[Message, ...], AfterValidator(some), Field(strict=False, max_length=MAX_TURNS)]
    models: Annotated[Keys, Field(description="Beside model: the first of them that is there answers")] = ()
    fallback: Annotated[bool | None, Field(description="true: the default answers where no named model is there")] = (
        None
    )
    stream: bool | None = None
    store: Annotated[bool | None, Field(description="true: a closed connection does not cancel the chat")] = None
    n: Annotated[int | None, AfterValidator(_one)] = None
    tools: Annotated[list[Any] | None, AfterValidator(no_tools)] = None
    functions: Annotated[list[Any] | None, AfterValidator(no_tools)] = None
    logprobs: Annotated[bool | None, AfterValidator(_false)] = None
    response_format: Annotated[dict[str, Any] | None, AfterValidator(_plain_text)] = None
    modalities: Annotated[list[str] | None, AfterValidator(_no_audio)] = None


class AnswerMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: None
    finish_reason: Literal["stop"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: Annotated[str, Field(description="The key of the model that answered")]
    choices: list[Choice]


class ServedModel(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    name: str
    capabilities: dict[str, Any]


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ServedModel]


class OpenAIErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    error: OpenAIErrorDetail
