"""Everything that can be wrong, as OpenAI clients read it: their classes go by status, their retries by headers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from flask import Response, g

from shared.chat.read import Snapshot
from shared.vocabulary import CALLER_LIMIT
from worker.web.openai.bodies import UNSUPPORTED
from worker.web.problems import Problem

PREFIX = "/v1"
_INVALID = "invalid_request_error"


class _Form(NamedTuple):
    """How a problem goes out. `again`: whether a client's own retry may help."""

    status: int
    type: str
    code: str | None
    param: str | None = None
    again: bool = False


def _upstream(code: str, status: int = 502) -> _Form:
    return _Form(status, "upstream_error", code)


_FORMS = {
    "unauthenticated": _Form(401, _INVALID, "invalid_api_key"),
    "forbidden": _Form(403, "permission_error", None),
    "invalid_json": _Form(400, _INVALID, "invalid_value"),
    "incomplete_body": _Form(400, _INVALID, "invalid_value"),
    "unsupported_transfer_coding": _Form(501, _INVALID, "unsupported_transfer_coding"),
    "model_not_found": _Form(404, _INVALID, "model_not_found", "model"),
    "unknown_model": _Form(404, _INVALID, "model_not_found", "model"),
    "prompt_too_long": _Form(400, _INVALID, "context_length_exceeded", "messages"),
    "rate_limited": _Form(429, "requests", "rate_limit_exceeded"),
    CALLER_LIMIT: _Form(429, "requests", "rate_limit_exceeded", again=True),
    "idempotency_conflict": _Form(409, _INVALID, "idempotency_conflict"),
    "cancelled": _Form(409, _INVALID, "cancelled"),
    "no_model": _Form(503, "server_error", "no_model", again=True),
    "matchaai_not_set_up": _Form(503, "server_error", "matchaai_not_set_up"),
    "mission_not_set": _Form(503, "server_error", "mission_not_set"),
    "database_not_migrated": _Form(503, "server_error", "database_not_migrated"),
    "timeout": _upstream("timeout", 504),
    "expired": _upstream("expired", 504),
}
"""By our codes, those of problems and those of chats."""
_OF_CHATS = (
    "unauthorised",
    "upstream_unavailable",
    "upstream_rejected",
    "upstream_not_json",
    "upstream_shape",
    "attempts_exhausted",
)
_FORMS |= {code: _upstream(code) for code in _OF_CHATS}
_RETRIED = (409, 429)
"""Below 500, what clients send again by themselves."""


def as_openai_response(problem: Problem) -> Response:
    """The problem as it goes out under /v1."""
    g.refusal = (problem.code, problem.for_log)
    return document(problem)


def is_openai_path(path: str) -> bool:
    """Whether OpenAI's clients ask there."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def document(problem: Problem) -> Response:
    """As `as_openai_response`, for a request that Flask may not have seen."""
    form = _form_of(problem)
    response = Response(
        json.dumps({"error": error_of(problem)}, ensure_ascii=False), form.status, content_type="application/json"
    )
    response.headers.extend(problem.headers)
    response.headers.setdefault("Cache-Control", "no-store")
    if not form.again and (form.status in _RETRIED or form.status >= 500):
        response.headers["x-should-retry"] = "false"
    elif form.status == 503:
        response.headers.setdefault("Retry-After", "5")
    return response


def error_of(problem: Problem) -> dict[str, Any]:
    """The members of `error`."""
    form = _form_of(problem)
    return {
        "message": problem.fault_detail or problem.detail,
        "type": form.type,
        "param": problem.param if problem.param is not None else form.param,
        "code": form.code,
    }


def problem_of_chat(snapshot: Snapshot) -> Problem:
    """Why a chat that has ended has no answer."""
    error = snapshot.body["error"]
    headers = {"Retry-After": "30"} if error["code"] == "no_model" else {}
    return Problem(_FORMS[error["code"]].status, error["code"], error["detail"], headers=headers)


def invalid(param: str, detail: str, code: str = "invalid_value") -> Problem:
    """A field that is wrong, and that only its neighbours show to be so."""
    return Problem(400, code, f"{param}: {detail}", param=param)


def _form_of(problem: Problem) -> _Form:
    form = _FORMS.get(problem.code)
    if form is not None:
        return form
    if problem.code in ("invalid_body", "invalid_query"):
        return _Form(400, _INVALID, _CODES.get(problem.fault or "", "invalid_value"))
    if problem.status >= 500:
        return _Form(problem.status, "server_error", problem.code, again=True)
    return _Form(problem.status, _INVALID, problem.code)


_CODES = {"missing": "missing_required_parameter", UNSUPPORTED: UNSUPPORTED}
