"""Routes that say how this process and its parts are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response

from migrations.schema import describe_schema, head, read_schema
from shared.cache import CacheUnavailable
from shared.catalogue.listing import ListingKeeper
from shared.clock import utc_now
from shared.db import DatabaseError, DatabaseUnavailable, WrongLogin
from worker.runtime import Runtime
from worker.schedule import next_due
from worker.web import bodies
from worker.web.door import Call, Route, as_json


@dataclass(frozen=True)
class StateRoutes:
    """The handlers, with what they work with."""

    parts: Runtime
    keeper: ListingKeeper

    def routes(self) -> list[Route]:
        ready = {200: bodies.ReadyBody, 503: bodies.ReadyBody}
        return [
            Route("GET", "/healthz", self.alive, "Whether this process answers", roles=None,
                  returns={200: bodies.HealthBody}),
            Route("GET", "/readyz", self.ready, "Whether PostgreSQL is reachable and migrated, and how the parts are",
                  roles=None, returns=ready),
        ]  # fmt: skip

    def alive(self, call: Call) -> Response:
        return as_json({"status": "ok"})

    def ready(self, call: Call) -> Response:
        postgresql, migrated = self._database()
        redis, workers = self._redis()
        parts: dict[str, Any] = {
            "postgresql": postgresql,
            "migrations": migrated,
            "redis": redis,
            "workers": workers,
            "listing": {"ok": self.keeper.current is not None},
            "schedule": self._schedule(),
        }
        ready = bool(postgresql["ok"] and migrated["ok"])
        return as_json({"status": "ready" if ready else "not ready", "parts": parts}, 200 if ready else 503)

    def _schedule(self) -> dict[str, str]:
        cron, zone = self.parts.settings.refresh_cron, self.parts.settings.refresh_timezone
        return {"cron": cron, "timezone": zone, "next": next_due(cron, zone, utc_now()).at.isoformat()}

    def _database(self) -> tuple[dict[str, Any], dict[str, Any]]:
        needed = {"ok": False, "head": head(), "detail": "run `llm-refresh migrate`"}
        try:
            with self.parts.database.transaction(timeout_seconds=3) as connection:
                schema = read_schema(connection)
        except DatabaseUnavailable:
            return {"ok": False, "detail": "cannot be reached"}, {"ok": False, "head": head()}
        except (DatabaseError, WrongLogin):
            return {"ok": True}, needed
        found = {"current": schema.revision, "head": head()}
        match schema.fit:
            case "current":
                return {"ok": True}, {"ok": True, **found}
            case "behind":
                return {"ok": True}, needed | found
            case fit:
                return {"ok": True}, {"ok": fit == "newer", **found, "detail": describe_schema(schema)}

    def _redis(self) -> tuple[dict[str, Any], dict[str, int]]:
        try:
            return {"ok": True}, dict(self.parts.cache.alive())
        except CacheUnavailable:
            return {"ok": False, "detail": "cannot be reached"}, {}
