"""What comes in and goes out of the routes of chats."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from shared.chat.requests import Question
from shared.vocabulary import ChatErrorCode, ChatStatus, FallbackReason, GatewayErrorCode, UsageBy, WaitingFor
from worker.web.bodies import Query, Story
from worker.web.markdown_tree import Kind

ChatBody = Question
Status = ChatStatus


def _statuses(text: str) -> str:
    allowed = get_args(Status)
    if any(part not in allowed for part in text.split(",")):
        raise ValueError(f"must be one or more of {', '.join(allowed)}, separated by commas")
    return text


def _in_utc(moment: datetime) -> datetime:
    if not 1970 <= moment.year < 9999:
        raise ValueError("must lie in the years 1970 to 9998")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a character that no key and no subject has")
    return text


def _time(value: object) -> object:
    """In a query a plus sign means a space: 2026-03-01T10:00:00+01:00 arrives so where nobody has encoded it."""
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value) if isinstance(value, str) and "T" in value else value


Moment = Annotated[datetime, BeforeValidator(_time), AfterValidator(_in_utc)]
Name = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=255)]


class ChatsQuery(Query):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[uuid.UUID | None, Field(description="The id of a chat: only older ones")] = None
    status: Annotated[
        Annotated[str, AfterValidator(_statuses)] | None,
        Field(description="One of queued, running, succeeded, failed, cancelled, expired, or several with commas"),
    ] = None
    model: Annotated[Name | None, Field(description="A model_key: that answers, or that was asked for")] = None
    caller: Annotated[Name | None, Field(description="Whose chats: the subject of their tokens")] = None
    since: Annotated[Moment | None, Field(description="Accepted then or later (ISO 8601; without a zone: UTC)")] = None
    until: Annotated[Moment | None, Field(description="Accepted before then")] = None

    @model_validator(mode="after")
    def _in_order(self) -> ChatsQuery:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must lie before until")
        return self


class ChatQuery(Query):
    content: Annotated[
        bool | None,
        Field(
            description="true: with the question, systemPrompt, history and answer; false: without any of them;"
            " left out: with the answer (operator: without). Reading another's content is logged"
        ),
    ] = None
    cause: Annotated[
        bool, Field(description="true: with the whole cause of a failure; operator and service_role only")
    ] = False


class CancelQuery(Query):
    erase: Annotated[
        bool, Field(description="true: take the content of a chat that has ended away, for good; an open one: 409")
    ] = False


class Erased(BaseModel):
    subject: str
    erased: Annotated[int, Field(description="Chats whose content was taken away now")]
    cancelled: Annotated[int, Field(description="Of them those that were open, and were cancelled first")]


class UsageQuery(Query):
    by: Annotated[
        UsageBy | None,
        Field(description="A line for each caller, model or day. Without it: each model, with fallbacks and latencies"),
    ] = None
    format: Annotated[
        Literal["json", "csv"] | None, Field(description="As Accept says; csv: a report, by model where `by` is absent")
    ] = None
    days: Annotated[int, Field(ge=1, le=3660, description="Today and the days before it, in UTC")] = 30


class ChatModel(BaseModel):
    requested: str | None
    key: str
    name: str
    matcha_llm_id: int
    fallback: bool
    reason: FallbackReason | None
    story: Annotated[Story | None, Field(description="What became of a retired key")] = None


class ChatError(BaseModel):
    code: ChatErrorCode
    detail: Annotated[str, Field(description="For people. It names nothing of the inside of this service")]


class LastFailure(BaseModel):
    code: GatewayErrorCode
    at: datetime


class Timings(BaseModel):
    queued_ms: int | None
    upstream_ms: int | None
    total_ms: int | None


class Chat(BaseModel):
    id: uuid.UUID
    status: Status
    model: ChatModel
    answer: str | None = None
    question: Annotated[str | None, Field(description="With content=true")] = None
    system_prompt: Annotated[str | None, Field(description="With content=true", serialization_alias="systemPrompt")] = (
        None
    )
    history: Annotated[list[dict[str, str]] | None, Field(description="With content=true")] = None
    caller: Annotated[str | None, Field(description="Whose chat it is; for operator and service_role")] = None
    request_id: Annotated[str | None, Field(description="For operator and service_role: finds its log lines")] = None
    error: ChatError | None = None
    cause: Annotated[
        str | None, Field(description="With cause=true: why it failed, in words for operators, with host and path")
    ] = None
    waiting_for: Annotated[
        WaitingFor | None,
        Field(
            description="Queued chats: what it waits for. turn: a place; limit: a limit of its caller or of MatchaAI;"
            " upstream: MatchaAI does not answer, or asks for a pause"
        ),
    ] = None
    position: Annotated[
        int | None,
        Field(
            description="Queued chats, not in lists: roughly its place in the line, 1 is next; null: unknown",
            ge=1,
        ),
    ] = None
    waiting_since: datetime | None = None
    last_failure: Annotated[
        LastFailure | None, Field(description="Open chats: MatchaAI's last failure that made it wait")
    ] = None
    attempts: int
    timings: Timings
    created_at: datetime
    finished_at: datetime | None
    erased_at: Annotated[
        datetime | None, Field(description="When its content was taken away: `answer` and the question are gone")
    ] = None
    links: dict[str, str]


class MarkdownNode(BaseModel):
    kind: Kind
    text: Annotated[str | None, Field(description="Of text, code and code_span")] = None
    level: Annotated[int | None, Field(description="Of a heading: 1 to 6")] = None
    ordered: Annotated[bool | None, Field(description="Of a list")] = None
    start: Annotated[int | None, Field(description="Of an ordered list: its first number")] = None
    language: Annotated[str | None, Field(description="Of code: all that stands behind the fence that opens it")] = None
    head: Annotated[bool | None, Field(description="Of a cell: whether it stands in the table's head")] = None
    align: Annotated[Literal["left", "center", "right"] | None, Field(description="Of a cell")] = None
    href: Annotated[str | None, Field(description="Of a link: an address by http, https or mailto")] = None
    children: list[MarkdownNode] | None = None


class ChatMarkdown(Chat):
    markdown: Annotated[
        list[MarkdownNode] | None,
        Field(description="The blocks of `answer`; null without an answer, and where parsing it would cost too much"),
    ]


class ChatsBody(BaseModel):
    chats: list[Chat]


class Bucket(BaseModel):
    up_to_ms: int | None
    count: int


class Latency(BaseModel):
    mean_ms: int | None
    buckets: list[Bucket]


class Usage(BaseModel):
    model_key: str
    request_count: int
    last_used: datetime
    successes: int
    failures: int
    cancelled: int
    expired: int
    fallbacks: dict[str, int]
    requested: dict[str, dict[str, int]]
    latency: Latency


class UsageLine(BaseModel):
    """Summed over days: of the caller, the model or the day that is named, whichever `by` asked for."""

    caller: str | None = None
    model_key: str | None = None
    day: date | None = None
    request_count: int
    successes: int
    failures: int
    cancelled: int
    expired: int
    last_used: datetime
    mean_ms: Annotated[int | None, Field(description="Of MatchaAI's answers; null: there was none")]


class UsageBody(BaseModel):
    usage: Annotated[list[Usage] | list[UsageLine], Field(description="UsageLine with `by`")]
