"""Accepting a question over HTTP, by whichever route: what is missing or too much, and the refusals as problems."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from flask import request

from shared.catalogue.resolve import ModelNotFound, NoModel
from shared.chat.accept import IdempotencyConflict
from shared.chat.admission import CallerOverLimit, RequestAllowance
from shared.chat.chat_request import AcceptedChat, ChatRequest
from shared.chat.open_chats import TooManyOpen
from shared.chat.requests import MAX_IDEMPOTENCY_KEY_CHARS, Question
from shared.vocabulary import CALLER_LIMIT
from worker.chat.gateway import missing_configuration
from worker.runtime import Runtime
from worker.web.problems import Problem
from worker.web.routing import AnyRequest

log = structlog.get_logger(__name__)


def accept_question(
    runtime: Runtime,
    question: Question,
    call: AnyRequest,
    *,
    joins: Literal["none", "given_up", "any"] = "none",
    response: Mapping[str, Any] | None = None,
) -> AcceptedChat:
    """Commit the question; `response` is what its row keeps of a response. Raises Problem; nothing is stored then."""
    missing = missing_configuration(runtime.settings)
    if missing is not None:
        log.error(
            "llm_web.not_set_up",
            message="A chat was refused: something is not set up",
            code=missing.code,
            advice=missing.advice,
        )
        raise Problem(503, missing.code, missing.detail)
    limit = runtime.settings.chat_max_chars
    if question.characters > limit:
        detail = f"the question and all that goes with it hold {question.characters} characters; they may hold {limit}"
        raise Problem(422, "prompt_too_long", detail)
    try:
        return runtime.submitter.submit(
            ChatRequest(question, call.caller, call.request_id, idempotency_key(), joins, response)
        )
    except CallerOverLimit as error:
        raise _over_limit(error) from None
    except TooManyOpen:
        raise Problem(503, "too_many_chats", "too many chats are open; try again") from None
    except IdempotencyConflict as error:
        raise Problem(409, "idempotency_conflict", str(error)) from None
    except ModelNotFound as error:
        raise Problem(404, "model_not_found", str(error)) from None
    except NoModel as error:
        raise Problem(503, "no_model", str(error), headers={"Retry-After": "30"}) from None


def _over_limit(error: CallerOverLimit) -> Problem:
    allowance = error.allowance
    return Problem(
        429,
        CALLER_LIMIT,
        f"{error}; try again in {error.retry_after} s",
        headers={"Retry-After": str(error.retry_after), **rate_headers(allowance)},
        members={
            "limit": allowance.limit,
            "allowed": allowance.allowed,
            "retry_after_seconds": round(max(0.0, error.retry_seconds), 3),
        },
    )


def rate_headers(allowance: RequestAllowance | None) -> dict[str, str]:
    """What a caller may still ask, in OpenAI's headers; none beside a chat that was there already."""
    if allowance is None:
        return {}
    return {
        "x-ratelimit-limit-requests": str(allowance.allowed),
        "x-ratelimit-remaining-requests": str(allowance.remaining),
        "x-ratelimit-reset-requests": _duration(allowance.reset_seconds),
    }


def _duration(seconds: float) -> str:
    """As OpenAI writes durations: 12s, 1m0s."""
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def idempotency_key() -> str | None:
    """The request's Idempotency-Key. Raises Problem."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARS or not key.isprintable():
        detail = f"Idempotency-Key takes 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible characters"
        raise Problem(400, "invalid_idempotency_key", detail)
    return key
