"""Puts the shim together: routes, problem documents, request ids, host and origin checks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, g, request
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException

from shared.clock import new_id
from shared.db import DatabaseError, DatabaseUnavailable, RoleNotGranted
from shared.redis_store import RedisUnavailable
from shared.settings import Settings
from worker.web.auth import Authenticator
from worker.web.openai.errors import as_openai_response, is_openai_path
from worker.web.problems import Problem, as_response
from worker.web.routing import Route, add_routes, problem_of
from worker.web.validation import MAX_BODY_BYTES, read_body

log = structlog.get_logger(__name__)

_UNDEFINED = ("42P01", "42703", "42883", "42501")
"""SQLSTATEs of a table, column or function that is not there, or not granted: nobody has migrated."""

RETRY_AFTER_SECONDS = "5"
"""What a 503 says that knows no better."""
_SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_REQUEST_ID = re.compile(r"[\w\-.:/+=@]{1,128}", re.ASCII)
_OF_SDKS = re.compile(r"(x-stainless|openai)-[a-z\-]{1,40}")
_EXPOSED = (
    "ETag, Location, Retry-After, X-Request-ID, x-should-retry, x-llm-refresh-chat-id, x-llm-refresh-ignored,"
    " x-llm-refresh-requested-model, x-llm-refresh-fallback-reason, x-ratelimit-limit-requests,"
    " x-ratelimit-remaining-requests, x-ratelimit-reset-requests"
)
_ALLOWED = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-ID"


def create_app(settings: Settings, routes: Sequence[Route], authenticator: Authenticator | None = None) -> Flask:
    """The Flask application with these routes. An `authenticator` that others use as well remembers tokens for all."""
    app = Flask("worker.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    add_routes(app, routes, authenticator or Authenticator(settings))
    _check_requests(app, settings)
    _allow_origins(app, frozenset(settings.cors_origins))
    register_error_handlers(app)
    return app


def request_id(value: str) -> str:
    """The id of a request: the one that its caller gave, where it can stand in a header and a log; else a new one."""
    return value if _REQUEST_ID.fullmatch(value) else str(new_id())


def default_headers(settings: Settings) -> list[tuple[str, str]]:
    """Headers that no answer goes without."""
    vary = [("Vary", "Origin")] if settings.cors_origins else []
    return [("X-Content-Type-Options", "nosniff"), *vary]


def _check_requests(app: Flask, settings: Settings) -> None:
    headers = default_headers(settings)

    @app.before_request
    def begin() -> None:
        g.request_id = request_id(request.headers.get("X-Request-ID", ""))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)
        if settings.auth_off and _host_name(request.headers.get("Host", "")) not in LOOPBACK_NAMES:
            # A web page elsewhere must not reach a server without auth by a name that it points at 127.0.0.1.
            raise Problem(400, "host_not_allowed", "in local mode this server answers to localhost and 127.0.0.1 only")
        origin = request.headers.get("Origin")
        if settings.auth_off and request.method not in _SAFE and not _may_write(origin, settings.cors_origins):
            # A page elsewhere may send a plain POST without asking first; without a token only its origin tells it.
            raise Problem(403, "origin_not_allowed", "in local mode pages of other origins may not change anything")
        read_body()

    @app.after_request
    def stamp(response: Response) -> Response:
        if response.status_code == 503:
            response.headers.setdefault("Retry-After", RETRY_AFTER_SECONDS)
        response.headers["X-Request-ID"] = g.get("request_id") or str(new_id())
        response.headers.extend(headers)
        return response


def _may_write(origin: str | None, origins: Sequence[str]) -> bool:
    return origin is None or origin in origins or _host_name(origin.partition("://")[2]) in LOOPBACK_NAMES


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _allow_origins(app: Flask, origins: frozenset[str]) -> None:
    if not origins:
        return

    @app.before_request
    def preflight() -> Response | None:
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        response = Response(status=204)
        if request.headers.get("Origin") in origins:
            response.headers["Access-Control-Allow-Methods"] = ", ".join(_methods_here())
            response.headers["Access-Control-Allow-Headers"] = ", ".join([_ALLOWED, *_headers_of_sdks()])
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    @app.after_request
    def allow(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin or ""
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response


def _headers_of_sdks() -> list[str]:
    """What OpenAI's clients send of themselves, more with each release: those that this one asks for."""
    names = request.headers.get("Access-Control-Request-Headers", "").lower().split(",")
    return [name for each in names if _OF_SDKS.fullmatch(name := each.strip())]


def _methods_here() -> list[str]:
    """The methods that this address takes; all of them where there is nothing, so that a page is told just that."""
    adapter = request_ctx.url_adapter
    allowed = sorted(set(adapter.allowed_methods()) - {"HEAD", "OPTIONS"}) if adapter is not None else []
    return allowed or ["GET", "POST", "PATCH", "DELETE"]


def _as_response(problem: Problem) -> Response:
    """A problem in the form that the clients of this address read."""
    return as_openai_response(problem) if is_openai_path(request.path) else as_response(problem)


def register_error_handlers(app: Flask) -> None:
    @app.errorhandler(Problem)
    def problem_response(problem: Problem) -> Response:
        return _as_response(problem)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return _as_response(problem_of(error))

    @app.errorhandler(DatabaseUnavailable)
    def no_database(error: DatabaseUnavailable) -> Response:
        log.error("llm_web.database_unavailable", error=str(error))
        detail = "PostgreSQL cannot be reached at the moment; try again"
        return _as_response(Problem(503, "database_unavailable", detail))

    @app.errorhandler(RedisUnavailable)
    def no_redis(error: RedisUnavailable) -> Response:
        log.error("llm_web.redis_unavailable", error=str(error))
        detail = "Redis cannot be reached at the moment; try again"
        return _as_response(Problem(503, "redis_unavailable", detail))

    @app.errorhandler(DatabaseError)
    @app.errorhandler(RoleNotGranted)
    def not_migrated(error: Exception) -> Response:
        log.error("llm_web.database_refused", error=str(error))
        detail = "the database does not hold what this version needs: the operator of this service has to migrate it"
        undefined = isinstance(error, RoleNotGranted) or getattr(error, "sqlstate", None) in _UNDEFINED
        if undefined:
            return _as_response(Problem(503, "database_not_migrated", detail))
        return _as_response(Problem(500, "internal", "something went wrong here; the log has it by the request id"))

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        log.error("llm_web.failed", path=request.path, exc_info=_without_values(error))
        return _as_response(Problem(500, "internal", "something went wrong here; the log has it by the request id"))


def _without_values(error: Exception) -> Any:
    return (type(error), error, error.__traceback__)
