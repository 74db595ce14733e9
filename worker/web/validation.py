"""The body and the query of a request: read, validated, and told what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from flask import request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from shared.field_errors import words_of
from worker.web.bodies import Query
from worker.web.problems import Problem

MAX_BODY_BYTES = 1024 * 1024
MAX_FAULTS_SHOWN = 3
UNION_TAGS = {"~text": "a list of parts", "~input": "a list of messages", "~parts": None}
"""Steps in pydantic's paths that say which of several forms a field was taken for; no caller has written them. What
was taken for a text could have been the other form as well."""


def read_body() -> None:
    """Read the request's body to its end, for whoever looks at it later. Raises Problem 400, 408 or 413.

    Half of a body is none: a sender that went away in the middle of `{"dryRun": true}` has asked for nothing yet. The
    server hands on what came, so it is counted here, for every route, also for those that look at no body.
    """
    expected = request.content_length
    if not expected and "Transfer-Encoding" not in request.headers:
        return
    try:
        data = request.get_data()
    except RequestEntityTooLarge:
        raise Problem(413, "body_too_large", f"the body may hold {MAX_BODY_BYTES} bytes at most") from None
    except (ClientDisconnected, OSError, ParseException) as error:  # chunks that stop before the last one, or are none
        cause = error.__context__ if isinstance(error, ClientDisconnected) else error
        if isinstance(cause, TimeoutError):
            raise Problem(408, "request_timeout", f"{cause}; nothing was done") from None
        raise Problem(400, "incomplete_body", "the body broke off before its last chunk; nothing was done") from None
    if expected is None and len(data) >= MAX_BODY_BYTES:  # sent in chunks, and cut at the limit
        raise Problem(413, "body_too_large", f"the body may hold {MAX_BODY_BYTES} bytes at most")
    if expected is not None and len(data) < expected:
        detail = f"Content-Length says {expected} bytes, and {len(data)} came; nothing was done"
        raise Problem(400, "incomplete_body", detail)


def parse_body(model: type[BaseModel]) -> BaseModel:
    """The request's body as this model. Raises Problem 400, 415 or 422."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "unsupported_media_type", "send the body as it is, without a Content-Encoding")
    data = request.get_data()
    if not data.strip():
        data = b"{}"
    elif request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise Problem(415, "unsupported_media_type", "send the body as JSON, with Content-Type: application/json")
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        status = 400 if first["type"] == "json_invalid" else 422
        code = "invalid_json" if status == 400 else "invalid_body"
        raise _invalid(error, status, code, "body") from None


def parse_query(model: type[Query], values: MultiDict[str, str]) -> Query:
    """Query parameters as this model. Raises Problem 400, also for one that is given twice: one of both would count."""
    for name, given in values.lists():
        if len(given) > 1 and name in model.model_fields:
            detail = f"{name}: may be given once"
            raise Problem(400, "invalid_query", detail, param=name, fault="repeated")
    try:
        return model.model_validate(values.to_dict())
    except ValidationError as error:
        raise _invalid(error, 400, "invalid_query", "query") from None


def _invalid(error: ValidationError, status: int, code: str, where: str) -> Problem:
    first = error.errors(include_url=False, include_input=False)[0]
    param = path_of(first["loc"])
    return Problem(
        status,
        code,
        _describe_errors(error, where),
        param=param,
        fault=first["type"],
        fault_detail=f"{param or where}: {_words(first)}",
    )


def _describe_errors(error: ValidationError, where: str) -> str:
    faults = error.errors(include_url=False, include_input=False)
    texts = [f"{_named(fault['loc']) or where}: {_words(fault)}" for fault in faults[:MAX_FAULTS_SHOWN]]
    more = len(faults) - MAX_FAULTS_SHOWN
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")


def _named(place: Sequence[int | str]) -> str:
    return ".".join(str(step) for step in place if step not in UNION_TAGS)


def path_of(place: Sequence[int | str]) -> str | None:
    """Where a field stands, as a caller writes it: messages[0].content."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place if step not in UNION_TAGS)
    return path.removeprefix(".") or None


def _words(fault: ErrorDetails) -> str:
    """What is wrong with a field."""
    if fault["type"] == "json_invalid":
        if "hex escape" in fault["msg"]:
            return "not JSON in UTF-8: a \\u that is cut short, or half of a surrogate pair"
        return f"not JSON in UTF-8 ({fault['ctx']['error']})"
    words = words_of(fault)
    if fault["type"] == "extra_forbidden":
        return f"{words}; /openapi.json lists those that there are"
    others = [UNION_TAGS[step] for step in fault["loc"] if isinstance(step, str) and UNION_TAGS.get(step)]
    return f"{words} or {others[-1]}" if fault["type"] == "string_type" and others else words
