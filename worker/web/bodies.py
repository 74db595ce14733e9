"""What comes in and goes out, as pydantic models: they validate the one and describe both in openapi.json."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.catalogue.edits import ModelEdit
from shared.catalogue.facts.capabilities import CapabilityValues
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.rows import USE_DAYS
from shared.roles import Role
from shared.vocabulary import FallbackReason

RefreshBody = RefreshOptions
EditBody = ModelEdit


class Query(BaseModel):
    """Query parameters: unknown ones are refused, so that a typing mistake is not silence."""

    model_config = ConfigDict(extra="forbid")


class NoQuery(Query):
    pass


class ListingQuery(Query):
    provenance: Annotated[
        bool, Field(description="With where each capability is known from; operator and service_role only")
    ] = False
    all: Annotated[bool, Field(description="Inactive ones too, each with why; operator and service_role only")] = False


class RunsQuery(Query):
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    before: Annotated[uuid.UUID | None, Field(description="The id of a run: only older ones")] = None


class ChangesQuery(Query):
    since: Annotated[int, Field(ge=0, le=2**63 - 1, description="`next` of the page before")] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    run: Annotated[uuid.UUID | None, Field(description="Only the changes of this run")] = None


class Model(BaseModel):
    id: int
    matcha_llm_id: int
    model_name: str
    model_key: str
    provider: str
    capabilities: Annotated[CapabilityValues, Field(description="One that is absent is unknown, which is not false")]
    is_active: bool
    is_default: bool
    display_order: int


class Why(BaseModel):
    reason: Annotated[
        Literal["hidden", "gone", "refused", "unknown"],
        Field(description="Hidden by an operator, no longer listed, not known to upstream, or changed outside"),
    ]
    since: datetime | None
    by: str | None
    listed: Annotated[bool, Field(description="Whether upstream lists it: showing it makes it active then")]
    last_listed: datetime | None
    text: str


class EditedModel(Model):
    overrides: dict[str, Any]
    provenance: dict[str, Any]
    why: Annotated[Why | None, Field(description="Why it is inactive, also after it was to be shown; null if active")]


class ListedModel(Model):
    overrides: Annotated[dict[str, Any] | None, Field(description="With provenance=1")] = None
    provenance: Annotated[dict[str, Any] | None, Field(description="With provenance=1")] = None
    why: Annotated[Why | None, Field(description="With all=1: why it is inactive")] = None


class ListingBody(BaseModel):
    models: list[ListedModel]
    defaultModel: str | None
    count: int
    lastSynced: datetime | None
    stale: bool
    source: str | None


class EntryError(BaseModel):
    id: int | str | None
    name: str | None
    reason: str


class SyncResults(BaseModel):
    added: int
    updated: int
    unchanged: int
    deactivated: int
    reactivated: int
    failed: int
    errors: list[EntryError]


class HeldModel(BaseModel):
    matcha_llm_id: int
    model_key: str
    name: str
    kind: Annotated[
        Literal["absent", "repointed"],
        Field(description="No longer listed, or its id means another model"),
    ]
    becomes: Annotated[str | None, Field(description="Of a repointed one: the model that its id means")] = None
    requests: Annotated[
        int | None, Field(description=f"Chats by this model in {USE_DAYS} days; null: counting took too long")
    ]
    callers: Annotated[int | None, Field(description="Distinct subjects of these chats; null: counting took too long")]


class Held(BaseModel):
    absent: int
    active: int
    repointed: int
    sha256: str
    models: Annotated[list[HeldModel], Field(description="Those that would go, the most used first; 500 at most")] = []


class Dismissal(BaseModel):
    at: datetime
    by: str


class ChangePreview(BaseModel):
    kind: str
    matcha_llm_id: int
    model_key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Removed(BaseModel):
    model_key: str
    kind: Literal["deactivated", "repointed"]
    days: int
    request_count: Annotated[int, Field(description="Chats by this model over these days")]
    last_used: datetime | None


class RefreshDone(BaseModel):
    success: bool
    status: Literal["succeeded", "partial", "held", "failed"]
    runId: uuid.UUID | None
    dryRun: Literal[True] | None = None
    syncResults: SyncResults
    held: Held | None = None
    plan: list[ChangePreview] | None = None
    removed: list[Removed]
    models: list[Model]
    timestamp: datetime


class Accepted(BaseModel):
    runId: uuid.UUID | None
    status: str
    links: dict[str, str]


class Run(BaseModel):
    id: uuid.UUID
    trigger: str
    scheduled_for: datetime | None
    status: str
    source: str | None
    options: dict[str, Any]
    counts: dict[str, int]
    errors: list[EntryError]
    held: Held | None
    dismissed: Annotated[Dismissal | None, Field(description="Who has decided not to apply a held list")]
    dismissed_before: Annotated[
        Dismissal | None, Field(description="Of a held run: the last time that this very list was dismissed")
    ]
    error: dict[str, str] | None
    fetch_ms: int | None
    plan_ms: int | None
    apply_ms: int | None
    upstream_sha256: str | None
    task_id: str | None
    request_id: str | None
    actor: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class RunsBody(BaseModel):
    runs: list[Run]
    undecided: Annotated[Run | None, Field(description="The held run that waits for a decision, whatever came after")]


class Change(BaseModel):
    id: int
    run_id: uuid.UUID | None
    kind: str
    model_key: Annotated[str | None, Field(description="null of kind `erased`, which is about no model")]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    actor: str
    at: datetime


class ChangesBody(BaseModel):
    changes: list[Change]
    next: int


class TaskBody(BaseModel):
    id: str
    name: str
    status: str
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class ReadyBody(BaseModel):
    status: Literal["ready", "not ready"]
    parts: dict[str, Any]


class MeBody(BaseModel):
    subject: str
    role: Role
    auth: Annotated[bool, Field(description="False in local mode without a secret for tokens: no token is looked at")]


class HealthBody(BaseModel):
    status: Literal["ok"]
    version: Annotated[str, Field(description="The version of this program, as in pyproject.toml")]


class ProblemBody(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class Story(BaseModel):
    """What became of a key: the model that has its id now."""

    kind: str
    matcha_llm_id: int
    model_name: str | None
    model_key: str | None
    at: datetime


class MissingModel(ProblemBody):
    reason: FallbackReason
    story: Annotated[Story | None, Field(description="Of a retired key")]
