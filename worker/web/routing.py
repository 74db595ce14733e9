"""From a request to a handler: caller, role, query and body are checked here, once for every route."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar, Unpack, overload

from flask import Flask, Response, g, request
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import BaseConverter, Map

from shared.db import Caller
from shared.roles import Role
from worker.web.auth import Authenticator
from worker.web.bodies import NoQuery, Query
from worker.web.problems import Problem
from worker.web.validation import MAX_BODY_BYTES, parse_body, parse_query

ANYONE: frozenset[Role] = frozenset(("authenticated", "operator", "service_role"))
READERS: frozenset[Role] = frozenset(("operator", "service_role"))
"""Who may see how the system is, and every chat without its content."""
CALLERS: frozenset[Role] = frozenset(("authenticated", "service_role"))
"""Who has chats of their own."""
SERVICE: frozenset[Role] = frozenset(("service_role",))
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])", re.IGNORECASE)


B = TypeVar("B", bound=BaseModel)
Q = TypeVar("Q", bound=Query)
B_co = TypeVar("B_co", bound=BaseModel | None, covariant=True)
Q_co = TypeVar("Q_co", bound=Query, covariant=True)


@dataclass(frozen=True)
class ApiRequest(Generic[B_co, Q_co]):
    """A request that was let in, with the body and the query that its route declares."""

    caller: Caller
    request_id: str
    query: Q_co
    body: B_co
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


AnyRequest = ApiRequest[BaseModel | None, Query]
PlainRequest = ApiRequest[None, NoQuery]
"""One whose route takes neither a body nor a query."""


class RouteOptions(TypedDict, total=False):
    """What else a route says of itself."""

    roles: frozenset[Role] | None
    """Who may call it; None: anyone, without a token"""
    returns: Mapping[int, type[BaseModel] | None]
    media_type: str
    headers: Mapping[str, str]
    """Headers that it looks at, and what for"""


class Route:
    """One operation of the API: what it takes, who may call it, what comes back. openapi.json is made of these.

    A route has a body or a query or neither, and mypy sees that its handler takes just that.
    """

    @overload
    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[[PlainRequest], Response],
        summary: str,
        **options: Unpack[RouteOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[[ApiRequest[B, NoQuery]], Response],
        summary: str,
        *,
        body: type[B],
        query: type[NoQuery] = ...,
        **options: Unpack[RouteOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[[ApiRequest[None, Q]], Response],
        summary: str,
        *,
        query: type[Q],
        **options: Unpack[RouteOptions],
    ) -> None: ...
    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[[Any], Response],
        summary: str,
        *,
        body: type[BaseModel] | None = None,
        query: type[Query] = NoQuery,
        **options: Unpack[RouteOptions],
    ) -> None:
        self.method, self.path, self.handler, self.summary = method, path, handler, summary
        self.body, self.query = body, query
        self.roles = options.get("roles", ANYONE)
        self.returns = options.get("returns", {})
        self.media_type = options.get("media_type", "application/json")
        self.headers = options.get("headers", {})


def as_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=json_value)
    response = Response(data, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers.extend(dict(headers or {}))
    return response


def event_stream(events: Iterator[bytes], ending: ExitStack, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that goes out as its events come; `ending` closes with it, also when nothing was ever read of it."""
    response = Response(events, content_type="text/event-stream")
    response.headers.extend({**(headers or {}), "Cache-Control": "no-store"})
    response.headers["X-Accel-Buffering"] = "no"  # nginx would collect events
    response.call_on_close(ending.pop_all().close)
    return response


def conditional(response: Response) -> Response:
    """The response, or 304 for who has it by its ETag. The server in front dates it: a second Date would be wrong."""
    response.make_conditional(request)
    del response.headers["Date"]
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
        if match[1] == "subject":  # identity providers write some with a /, such as spiffe://example/service
            return "<path:subject>"
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
        query = parse_query(route.query, request.args) if request.args else route.query()
        body = parse_body(route.body) if route.body is not None else None
        return route.handler(ApiRequest(caller, g.request_id, query, body, path))

    return view


def forbidden(caller: Caller, roles: frozenset[Role] = SERVICE, *, what: str = "this") -> Problem:
    """What a caller gets who may not do `what`, which takes one of these roles."""
    return Problem(403, "forbidden", f"the role {caller.role} may not do {what}; it takes {' or '.join(sorted(roles))}")


_NOBODY = Caller("authenticated", "nobody")


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
