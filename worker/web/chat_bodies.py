"""What comes in and goes out of the routes of chats."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from shared.chat.questions import Question
from worker.web.bodies import Query

ChatBody = Question


class ChatsQuery(Query):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[uuid.UUID | None, Field(description="The id of a chat: only older ones")] = None


class UsageQuery(Query):
    days: Annotated[int, Field(ge=1, le=3660, description="Today and the days before it, in UTC")] = 30


class ChatModel(BaseModel):
    requested: str | None
    key: str
    name: str
    matcha_llm_id: int
    fallback: bool
    reason: Literal["unknown_key", "retired_key", "inactive_key", "unknown_upstream"] | None
    story: Annotated[dict[str, Any] | None, Field(description="What became of a retired key")] = None


class ChatError(BaseModel):
    code: str
    detail: str


class LastFailure(BaseModel):
    code: str
    at: datetime


class Timings(BaseModel):
    queued_ms: int | None
    upstream_ms: int | None
    total_ms: int | None


class Chat(BaseModel):
    id: uuid.UUID
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
    model: ChatModel
    answer: str | None = None
    error: ChatError | None = None
    waiting_for: Annotated[
        Literal["turn", "limit", "upstream"] | None,
        Field(description="Open chats: what it waits for. upstream: MatchaAI does not answer, or asks for a pause"),
    ] = None
    waiting_since: datetime | None = None
    last_failure: Annotated[
        LastFailure | None, Field(description="Open chats: MatchaAI's last failure that made it wait")
    ] = None
    attempts: int
    timings: Timings
    created_at: datetime
    finished_at: datetime | None
    links: dict[str, str]


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


class UsageBody(BaseModel):
    usage: list[Usage]
