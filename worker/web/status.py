"""Routes that say how this process and its parts are."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Any, Final

import structlog
from flask import Response

from migrations.schema import describe_schema, head, read_schema
from shared.catalogue.listing_cache import ListingCache
from shared.clock import utc_now
from shared.db import DatabaseError, DatabaseFailure, DatabaseUnavailable, RoleNotGranted
from shared.redis_store import KINDS_OF_WORKERS, RedisUnavailable, WritesRefused
from shared.upstream_health import read_health
from worker.runtime import Runtime
from worker.schedule import next_due
from worker.web import bodies
from worker.web.routing import PlainRequest, Route, as_json

log = structlog.get_logger(__name__)

PROBE_SECONDS = 2.0
"""A part that has not answered by then is named as silent; the others are told of as they are."""
RETRY_AFTER_SECONDS = 5
UPSTREAM_UNKNOWN: Final = {"ok": None, "state": "unknown"}


@dataclass(frozen=True)
class StatusRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime
    listing_cache: ListingCache
    version: str = field(default_factory=lambda: metadata.version("llm-refresh"))

    def routes(self) -> list[Route]:
        ready = {200: bodies.ReadyBody, 503: bodies.ReadyBody}
        return [
            Route(
                "GET",
                "/healthz",
                self.alive,
                "Whether this process answers",
                roles=None,
                returns={200: bodies.HealthBody},
            ),
            Route(
                "GET",
                "/readyz",
                self.ready,
                "Whether PostgreSQL is reachable and migrated, and how the parts are",
                roles=None,
                returns=ready,
            ),
            Route("GET", "/api/me", self.me, "Who is calling, by which role", returns={200: bodies.MeBody}),
        ]

    def me(self, call: PlainRequest) -> Response:
        return as_json(
            {"subject": call.caller.subject, "role": call.caller.role, "auth": not self.runtime.settings.auth_off}
        )

    def alive(self, call: PlainRequest) -> Response:
        return as_json({"status": "ok", "version": self.version})

    def ready(self, call: PlainRequest) -> Response:
        probes = {"postgresql": self._database, "redis": self._redis, "matchaai": self._upstream}
        results = _probed(probes, seconds=PROBE_SECONDS)
        silent = {"ok": False, "detail": "does not answer"}
        postgresql, migrated = results.get("postgresql") or (silent, {"ok": False, "head": head()})
        redis, workers = results.get("redis") or (silent, {})
        parts: dict[str, Any] = {
            "postgresql": postgresql,
            "migrations": migrated,
            "redis": redis,
            "matchaai": results.get("matchaai") or UPSTREAM_UNKNOWN,
            "workers": workers,
            "listing": {"ok": self.listing_cache.current is not None},
            "schedule": self._schedule(),
        }
        ready = bool(postgresql["ok"] and migrated["ok"])
        if ready:
            return as_json({"status": "ready", "parts": parts})
        return as_json({"status": "not ready", "parts": parts}, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})

    def _upstream(self) -> dict[str, Any]:
        """For information: this process is ready also while MatchaAI is down. Names no model: anybody may read it."""
        try:
            with self.runtime.database.transaction(timeout_seconds=1.5) as connection:
                health = read_health(connection)
        except DatabaseFailure:
            return UPSTREAM_UNKNOWN
        failure = None
        if health.last_failure_code is not None:
            failure = {
                "code": health.last_failure_code,
                "status": health.last_failure_status,
                "at": _iso(health.last_failure_at),
            }
        return {
            "ok": health.is_up,
            "state": health.state,
            "since": _iso(health.since),
            "last_success_at": _iso(health.last_success_at),
            "last_failure": failure,
            "failures_in_a_row": health.failures_in_a_row,
            "models_down": len(health.models),
            "chats_waiting": health.chats_waiting,
        }

    def _schedule(self) -> dict[str, str]:
        cron, zone = self.runtime.settings.refresh_cron, self.runtime.settings.refresh_timezone
        return {"cron": cron, "timezone": zone, "next": next_due(cron, zone, utc_now()).at.isoformat()}

    def _database(self) -> tuple[dict[str, Any], dict[str, Any]]:
        needed = {"ok": False, "head": head(), "detail": "run `llm-refresh migrate`"}
        try:
            with self.runtime.database.transaction(timeout_seconds=1.5) as connection:
                schema = read_schema(connection)
        except DatabaseUnavailable:
            return {"ok": False, "detail": "cannot be reached"}, {"ok": False, "head": head()}
        except (DatabaseError, RoleNotGranted):
            return {"ok": True}, needed
        revisions = {"current": schema.revision, "head": head()}
        match schema.fit:
            case "current":
                return {"ok": True}, {"ok": True, **revisions}
            case "behind":
                return {"ok": True}, needed | revisions
            case fit:
                return {"ok": True}, {"ok": fit == "newer", **revisions, "detail": describe_schema(schema)}

    def _redis(self) -> tuple[dict[str, Any], dict[str, int]]:
        try:
            self.runtime.store.check_writes()
            alive = self.runtime.store.alive()
            return {"ok": True}, {kind: alive.get(kind, 0) for kind in KINDS_OF_WORKERS}
        except WritesRefused as error:
            return {"ok": False, "detail": f"takes no writes: {error.reason}"}, {}
        except RedisUnavailable:
            return {"ok": False, "detail": "cannot be reached"}, {}


def _probed(probes: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, Any]:
    """What these probes, made at the same time, give within so many seconds; those that are late are left out."""
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def probe(name: str, look: Callable[[], Any]) -> None:
        try:
            answers.put((name, look()))
        except Exception:  # it counts as silent, and the log has why
            log.exception("llm_web.probe_failed", part=name)

    deadline = time.monotonic() + seconds
    for name, look in probes.items():
        threading.Thread(target=probe, args=(name, look), name=f"probe-{name}", daemon=True).start()
    results: dict[str, Any] = {}
    try:
        while len(results) < len(probes):
            name, result = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            results[name] = result
    except queue.Empty:
        pass
    return results


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
