"""One line for each request, and a warning for each refusal: who asked for what, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import structlog
from flask import Flask, Response, g, request
from flask.signals import request_finished, request_started

from shared.db import Caller
from shared.logs import DirectLines

log = structlog.get_logger(__name__)

UNMATCHED: Final = "unmatched"
_QUIET: Final = "/healthz"
_REFUSALS: Final = (401, 403, 429)


class HttpExchange(NamedTuple):
    """A request whose answer has begun. `route` is the template of its path; `seconds` until the answer's head."""

    method: str
    route: str
    status: int
    seconds: float
    caller: Caller | None
    request_id: str


Observe = Callable[[HttpExchange], None]


class AccessLog:
    """Writes the line of a request."""

    def __init__(self, lines: DirectLines) -> None:
        self._lines = lines

    def observe(self, exchange: HttpExchange) -> None:
        """Write the line, unless only the liveness was asked for."""
        if exchange.route == _QUIET:
            return
        caller = exchange.caller
        self._lines.write(
            "llm_web.request",
            {
                "method": exchange.method,
                "route": exchange.route,
                "status": exchange.status,
                "ms": round(exchange.seconds * 1000, 1),
                "subject": None if caller is None else caller.subject,
                "role": None if caller is None else caller.role,
                "request_id": exchange.request_id,
            },
        )


def observe_requests(app: Flask, observers: Sequence[Observe]) -> None:
    """Let these know of each request that Flask answers, and warn of each that was refused."""

    def begin(sender: Flask, **_: Any) -> None:
        g.started = time.perf_counter()

    def end(sender: Flask, response: Response, **_: Any) -> None:
        route = UNMATCHED if request.endpoint is None else request.endpoint.partition(" ")[2]
        seconds = time.perf_counter() - g.started
        exchange = HttpExchange(
            request.method, route, response.status_code, seconds, g.get("caller"), g.get("request_id", "")
        )
        if exchange.status in _REFUSALS:
            _log_refusal(exchange)
        for observe in observers:
            observe(exchange)

    request_started.connect(begin, app, weak=False)
    request_finished.connect(end, app, weak=False)


def _log_refusal(exchange: HttpExchange) -> None:
    code, reason = g.get("refusal") or (None, None)
    caller = exchange.caller
    log.warning(
        "llm_web.refused",
        message=f"Refused with {exchange.status}: {reason}",
        status=exchange.status,
        code=code,
        reason=reason,
        method=exchange.method,
        route=exchange.route,
        subject=None if caller is None else caller.subject,
        role=None if caller is None else caller.role,
        request_id=exchange.request_id,
    )
