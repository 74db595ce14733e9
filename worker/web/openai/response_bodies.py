"""What comes in and goes out of /v1/responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from shared.chat.requests import MAX_TURNS, Key, Keys, Text
from worker.web.openai.bodies import OpenAIModel, OpenAIQuery, no_tools, some, speaker, unsupported

MAX_METADATA = 16
MAX_METADATA_NAME = 64
MAX_METADATA_VALUE = 512
_TEXTS = ("input_text", "output_text", "text")
_OTHER_PARTS = ("input_image", "input_file", "input_audio", "refusal", "image_url")
_OTHER_ITEMS = (
    "function_call",
    "function_call_output",
    "reasoning",
    "item_reference",
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "image_generation_call",
    "code_interpreter_call",
    "mcp_call",
    "custom_tool_call",
    "custom_tool_call_output",
)


def _text_only(kind: str) -> str:
    if kind in _OTHER_PARTS:
        raise unsupported("only parts of the types input_text and output_text can be sent to a model here")
    if kind not in _TEXTS:
        raise ValueError("must be input_text or output_text: no other type of part is known here")
    return kind


def _message_only(kind: str) -> str:
    if kind in _OTHER_ITEMS:
        raise unsupported("only messages can be sent to a model here")
    if kind != "message":
        raise ValueError("must be message: no other type of item is known here")
    return kind


def _nothing(value: Any) -> Any:
    if value:
        raise unsupported("this cannot be done here")
    return value


def _plain_text(text: dict[str, Any] | None) -> dict[str, Any] | None:
    form = (text or {}).get("format")
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        raise unsupported("answers are text: the type of the format must be text")
    return text


def _few(metadata: dict[str, str] | None) -> dict[str, str] | None:
    pairs = metadata or {}
    if len(pairs) > MAX_METADATA:
        raise ValueError(f"may hold {MAX_METADATA} pairs at most")
    if any(len(name) > MAX_METADATA_NAME or len(value) > MAX_METADATA_VALUE for name, value in pairs.items()):
        raise ValueError(f"names may hold {MAX_METADATA_NAME} characters, values {MAX_METADATA_VALUE}")
    return metadata


class InputPart(OpenAIModel):
    type: Annotated[str, AfterValidator(_text_only), Field(json_schema_extra={"enum": list(_TEXTS)})]
    text: Text


class InputMessage(OpenAIModel):
    type: Annotated[str, AfterValidator(_message_only), Field(json_schema_extra={"enum": ["message"]})] = "message"
    role: Annotated[str, AfterValidator(speaker)]
    content: Annotated[
        Annotated[Text, Tag("~text")] | Annotated[list[InputPart], Tag("~parts")],
        Discriminator(lambda value: "~parts" if isinstance(value, list) else "~text"),
    ]


class ResponseBody(OpenAIModel):
    """Every other parameter is accepted; the header x-llm-refresh-ignored names those without effect."""

    model: Annotated[Key, Field(description="A key of GET /v1/models")]
    input: Annotated[
        Annotated[Text, Tag("~input")]
        | Annotated[
            tuple[InputMessage, ...], AfterValidator(some), Field(strict=False, max_length=MAX_TURNS), Tag("~parts")
        ],
        Discriminator(lambda value: "~parts" if isinstance(value, list | tuple) else "~input"),
    ]
    instructions: Text | None = None
    background: Annotated[bool | None, Field(description="true: answers at once; the response is read by its id")] = (
        None
    )
    stream: bool | None = None
    store: Annotated[bool | None, Field(description="true: a closed connection does not cancel the response")] = None
    metadata: Annotated[dict[Text, Text] | None, AfterValidator(_few)] = None
    previous_response_id: str | None = None
    models: Annotated[Keys, Field(description="Beside model: the first of them that is there answers")] = ()
    fallback: Annotated[bool | None, Field(description="true: the default answers where no named model is there")] = (
        None
    )
    tools: Annotated[list[Any] | None, AfterValidator(no_tools)] = None
    text: Annotated[dict[str, Any] | None, AfterValidator(_plain_text)] = None
    conversation: Annotated[Any, AfterValidator(_nothing)] = None
    prompt: Annotated[Any, AfterValidator(_nothing)] = None
    top_logprobs: Annotated[int | None, AfterValidator(_nothing)] = None


class ResponseQuery(OpenAIQuery):
    stream: bool = False
    starting_after: Annotated[
        int | None, Field(ge=0, le=2**53, description="The sequence_number of the last event that the reader has")
    ] = None


class ItemsQuery(OpenAIQuery):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: Annotated[str | None, Field(description="The id of an item: only those behind it")] = None


class ResponseError(BaseModel):
    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class ResponseObject(BaseModel):
    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]
    background: bool
    model: Annotated[str, Field(description="The key of the model that answers")]
    output: list[dict[str, Any]]
    error: ResponseError | None
    incomplete_details: None
    instructions: str | None
    metadata: dict[str, str]
    previous_response_id: str | None
    parallel_tool_calls: bool
    tool_choice: Literal["auto"]
    tools: list[Any]
    temperature: None
    top_p: None
    usage: None


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItems(BaseModel):
    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
