"""From a request to a handler: host, caller, role, query and body are checked here, once for every route."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import Flask, Response, g, request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge
from werkzeug.routing import BaseConverter, Map

from shared.db import Caller
from shared.roles import Role
from worker.web.auth import Authenticator
from worker.web.bodies import NoQuery, Query
from worker.web.problems import Problem

ANYONE: frozenset[Role] = frozenset(("authenticated", "operator", "service_role"))
READERS: frozenset[Role] = frozenset(("operator", "service_role"))
"""Who may see how the system is, and every chat without its content."""
CALLERS: frozenset[Role] = frozenset(("authenticated", "service_role"))
"""Who has chats of their own."""
SERVICE: frozenset[Role] = frozenset(("service_role",))
MAX_BODY_BYTES = 1024 * 1024
MAX_FAULTS_TOLD = 3
UNION_TAGS = frozenset(("~text", "~parts"))
"""Steps in pydantic's paths that say which of several forms a field was taken for; no caller has written them."""
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])", re.IGNORECASE)


@dataclass(frozen=True)
class ApiRequest:
    """A request that was let in."""

    caller: Caller
    request_id: str
    query: Any
    body: Any
    path: Mapping[str, str]

    @property
    def respond_async(self) -> bool:
        """Whether the caller prefers not to wait (RFC 7240)."""
        return "respond-async" in (request.headers.get("Prefer") or "").lower()

    @property
    def wait_seconds(self) -> float | None:
        """How long the caller prefers to wait (RFC 7240), if it says so."""
        match = _WAIT.search(request.headers.get("Prefer") or "")
        return float(match[1]) if match else None


Handler = Callable[[ApiRequest], Response]


@dataclass(frozen=True)
class Route:
    """One operation of the API: what it takes, who may call it, what comes back. openapi.json is made of these."""

    method: str
    path: str
    handler: Handler
    summary: str
    roles: frozenset[Role] | None = ANYONE
    query: type[Query] = NoQuery
    body: type[BaseModel] | None = None
    returns: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that it looks at, and what for."""


def as_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=json_value)
    response = Response(data, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers.extend(dict(headers or {}))
    return response


def json_value(value: object) -> object:
    """How a value that JSON does not know goes out."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


class _Segment(BaseConverter):
    """One segment of a path, but for the words that other routes have at its place."""

    def __init__(self, url_map: Map, *words: str) -> None:
        super().__init__(url_map)
        self.regex = f"(?!(?:{'|'.join(map(re.escape, words))})(?:/|$))[^/]+" if words else "[^/]+"


def add_routes(app: Flask, routes: Sequence[Route], authenticator: Authenticator) -> None:
    """Open these routes.

    A path with a word of its own belongs to that word for every method: `PATCH /api/llms/runs` edits no model, and
    OPTIONS does not offer it.
    """
    app.url_map.converters["segment"] = _Segment
    paths = [route.path for route in routes]
    for route in routes:
        view = _view(route, authenticator)
        app.add_url_rule(
            _rule(route.path, paths),
            endpoint=f"{route.method} {route.path}",
            view_func=view,
            methods=[route.method],
        )


def _rule(path: str, paths: Sequence[str]) -> str:
    """A path as Flask writes it, its parameters without the words of the other paths."""

    def parameter(match: re.Match[str]) -> str:
        before = path[: match.start()]
        words = sorted({other[len(before) :].partition("/")[0] for other in paths if other.startswith(before)})
        excluded = ", ".join(f'"{word}"' for word in words if word and not word.startswith("{"))
        return f"<segment({excluded}):{match[1]}>" if excluded else f"<{match[1]}>"

    return re.sub(r"{(\w+)}", parameter, path)


def _view(route: Route, authenticator: Authenticator) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        if any("\x00" in segment for segment in path.values()):  # PostgreSQL's text takes none: nothing is called so
            raise Problem(404, "not_found", "nothing has a NUL character in its name")
        caller = authenticator.caller(request.headers.get("Authorization")) if route.roles is not None else _NOBODY
        if route.roles is not None:
            g.caller = caller
        if route.roles is not None and caller.role not in route.roles:
            raise forbidden(caller, route.roles)
        query = _parsed(route.query, request.args, "query") if request.args else route.query()
        body = _body(route.body) if route.body is not None else None
        return route.handler(ApiRequest(caller, g.request_id, query, body, path))

    return view


def forbidden(caller: Caller, roles: frozenset[Role] = SERVICE, *, what: str = "this") -> Problem:
    """What a caller gets who may not do `what`, which takes one of these roles."""
    return Problem(403, "forbidden", f"the role {caller.role} may not do {what}; it takes {' or '.join(sorted(roles))}")


_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "datetime_from_date_parsing": "must be a time (ISO 8601)",
    "datetime_parsing": "must be a time (ISO 8601)",
    "extra_forbidden": "no such field; /openapi.json lists those that there are",
    "greater_than_equal": "must be {ge} or more",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "not JSON in UTF-8 ({error})",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_type": "must be a text",
    "string_too_short": "must hold {min_length} or more characters",
    "string_too_long": "may hold {max_length} characters at most",
    "too_short": "must hold {min_length} or more",
    "too_long": "may hold {max_length} at most",
    "tuple_type": "must be a list",
    "uuid_parsing": "must be an id (a UUID)",
}
"""By pydantic's names for what can be wrong."""
_NOBODY = Caller("authenticated", "nobody")


def read_body() -> None:
    """Read the request's body to its end, for whoever looks at it later. Raises Problem 400 or 413.

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
    except (ClientDisconnected, OSError, ParseException):  # chunks that stop before the last one, or are none
        raise Problem(400, "incomplete_body", "the body broke off before its last chunk; nothing was done") from None
    if expected is None and len(data) >= MAX_BODY_BYTES:  # sent in chunks, and cut at the limit
        raise Problem(413, "body_too_large", f"the body may hold {MAX_BODY_BYTES} bytes at most")
    if expected is not None and len(data) < expected:
        detail = f"Content-Length says {expected} bytes, and {len(data)} came; nothing was done"
        raise Problem(400, "incomplete_body", detail)


def _body(model: type[BaseModel]) -> BaseModel:
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


def _parsed(model: type[Query], values: Mapping[str, Any], where: str) -> Query:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _invalid(error, 400, f"invalid_{where}", where) from None


def _invalid(error: ValidationError, status: int, code: str, where: str) -> Problem:
    first = error.errors(include_url=False, include_input=False)[0]
    param = path_of(first["loc"])
    return Problem(
        status,
        code,
        _describe_errors(error, where),
        param=param,
        fault=first["type"],
        fault_detail=f"{param or where}: {_words(first, where)}",
    )


def _describe_errors(error: ValidationError, where: str) -> str:
    faults = error.errors(include_url=False, include_input=False)
    texts = [f"{_named(fault['loc']) or where}: {_words(fault, where)}" for fault in faults[:MAX_FAULTS_TOLD]]
    more = len(faults) - MAX_FAULTS_TOLD
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")


def _named(place: Sequence[int | str]) -> str:
    return ".".join(str(step) for step in place if step not in UNION_TAGS)


def path_of(place: Sequence[int | str]) -> str | None:
    """Where a field stands, as a caller writes it: messages[0].content."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place if step not in UNION_TAGS)
    return path.removeprefix(".") or None


def _words(fault: ErrorDetails, where: str) -> str:
    """What is wrong with a field, in the words of who sends it; pydantic's speak of Python."""
    template = _WORDS.get(fault["type"])
    if template is None:
        return fault["msg"].removeprefix("Value error, ")
    return template.format(where=where, **fault.get("ctx", {}))


def problem_of(error: HTTPException) -> Problem:
    """Werkzeug's own refusals, as ours."""
    status = error.code or 500
    if isinstance(error, RequestEntityTooLarge):
        return Problem(413, "body_too_large", f"the body may hold {MAX_BODY_BYTES} bytes at most")
    codes = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    details = {
        404: "there is nothing at this address; /openapi.json tells what there is",
        405: "this address does not take this method; the header Allow tells which it takes",
    }
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return Problem(
        status, codes.get(status, f"http_{status}"), details.get(status, error.description or ""), headers=headers
    )
