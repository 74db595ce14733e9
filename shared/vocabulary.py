"""The words of the API that have a fixed set of values: each set is written down here, and nowhere else.

openapi.json, the CHECK constraints of the tables, the words of the pages and the tables of the docs follow from these,
or a test compares them (`tests/unit/test_vocabulary.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

ChatStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
CHAT_STATUSES: Final[tuple[ChatStatus, ...]] = get_args(ChatStatus)
ENDED_CHATS: Final[tuple[ChatStatus, ...]] = ("succeeded", "failed", "cancelled", "expired")

ChatClass = Literal["interactive", "batch"]
CHAT_CLASSES: Final[tuple[ChatClass, ...]] = get_args(ChatClass)
"""The first has its turn before the second."""

RunStatus = Literal["queued", "running", "succeeded", "partial", "held", "failed", "abandoned"]
"""Of a sync run."""
RUN_STATUSES: Final[tuple[RunStatus, ...]] = get_args(RunStatus)
ENDED_RUNS: Final[tuple[RunStatus, ...]] = ("succeeded", "partial", "held", "failed", "abandoned")
GOOD_RUNS: Final[tuple[RunStatus, ...]] = ("succeeded", "partial")
"""Of those that changed the catalogue as they should."""

RunTrigger = Literal["schedule", "api", "cli", "task", "startup", "catch-up", "refusal"]
RUN_TRIGGERS: Final[tuple[RunTrigger, ...]] = get_args(RunTrigger)

ChangeKind = Literal[
    "added",
    "renamed",
    "repointed",
    "moved",
    "capability",
    "deactivated",
    "reactivated",
    "default",
    "operator",
    "erased",
]
"""What a line of the ledger says."""
CHANGE_KINDS: Final[tuple[ChangeKind, ...]] = get_args(ChangeKind)

NoticeKind = Literal["held", "failed", "promoted", "repointed", "removed", "recovered", "webhook_disabled"]
NOTICE_KINDS: Final[tuple[NoticeKind, ...]] = get_args(NoticeKind)

ModelField = Literal["llm_id", "options.responseLLM"]
"""Where a completion's body names its model: MATCHAAI_MODEL_FIELD."""

WaitingFor = Literal["turn", "limit", "upstream"]
WAITING_FOR: Final[tuple[WaitingFor, ...]] = get_args(WaitingFor)

CALLER_LIMIT: Final = "caller_limit"
"""The code of a refusal because of its caller's limit."""
CallerLimit = Literal["max_open", "per_minute"]
CALLER_LIMITS: Final[tuple[CallerLimit, ...]] = get_args(CallerLimit)
"""Which limit it was: chats open at the same time, or chats asked within a minute."""

UsageBy = Literal["caller", "model", "day"]
USAGE_BY: Final[tuple[UsageBy, ...]] = get_args(UsageBy)

FallbackReason = Literal["unknown_key", "retired_key", "inactive_key", "unknown_upstream"]
FALLBACK_REASONS: Final[tuple[FallbackReason, ...]] = get_args(FallbackReason)

GatewayErrorCode = Literal[
    "unauthorised",
    "unknown_model",
    "prompt_too_long",
    "rate_limited",
    "upstream_unavailable",
    "upstream_rejected",
    "upstream_not_json",
    "upstream_shape",
    "timeout",
]
"""What can go wrong with a call of the gateway."""
GATEWAY_ERROR_CODES: Final[tuple[GatewayErrorCode, ...]] = get_args(GatewayErrorCode)

ChatErrorCode = Literal[GatewayErrorCode, "no_model", "cancelled", "expired", "attempts_exhausted"]
"""`error.code` of a chat."""
CHAT_ERROR_CODES: Final[tuple[ChatErrorCode, ...]] = get_args(ChatErrorCode)

WebhookEvent = Literal[
    "response.completed",
    "response.failed",
    "response.cancelled",
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
]
"""What an endpoint may be registered for, as in OpenAI's events of the same names."""
WEBHOOK_EVENTS: Final[tuple[WebhookEvent, ...]] = get_args(WebhookEvent)

DeliveryStatus = Literal["waiting", "delivered", "failed"]
"""Of an event at one endpoint."""
DELIVERY_STATUSES: Final[tuple[DeliveryStatus, ...]] = get_args(DeliveryStatus)

DisabledReason = Literal["failing", "gone"]
"""Why an endpoint was switched off: it failed for three days, or it answered 410."""
DISABLED_REASONS: Final[tuple[DisabledReason, ...]] = get_args(DisabledReason)

SOURCE_NOT_SET_UP: Final = "source_not_set_up"
"""The code of a refresh of MatchaAI where that is not set up: of the refused call, and of a task's failure."""

_FOR_CALLERS: Final[Mapping[str, str]] = {
    "unauthorised": "MatchaAI refused the key of this service: its operator has to look at it.",
    "unknown_model": "MatchaAI does not know this model.",
    "prompt_too_long": "It is too long for this model: shorten it, or choose a model with a larger context.",
    "rate_limited": "MatchaAI takes no more requests at the moment: ask again later.",
    "upstream_unavailable": "MatchaAI could not be reached, or failed by itself: ask again later.",
    "upstream_rejected": "MatchaAI refused this request: the operator of this service finds why by its request id.",
    "upstream_not_json": "MatchaAI answered with no answer, but a web page or the like: it may be down.",
    "upstream_shape": "MatchaAI answered in a form that is not known: the operator of this service has to look at it.",
    "timeout": "MatchaAI took too long to answer: ask again later.",
}


def text_for_callers(code: str, *, tries: int = 1) -> str:
    """What a caller reads of a failure of the gateway: it follows from the code alone.

    The gateway's own error has the whole cause: the host, the path, a variable to check. That text is for operators.
    """
    text = _FOR_CALLERS.get(code, "It failed: the operator of this service finds why by its request id.")
    return f"{text} It was tried {tries} times." if tries > 1 else text
