"""Routes of API keys, for service_role: make, list, rotate, revoke."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from flask import Response
from pydantic import BaseModel

from shared import api_keys
from shared.api_keys import NewKey, Rotation, UnknownApiKey
from shared.roles import Role
from worker.runtime import Runtime
from worker.web.bodies import NoQuery
from worker.web.problems import Problem
from worker.web.routing import SERVICE, ApiRequest, PlainRequest, Route, as_json

log = structlog.get_logger(__name__)


class ShownKey(BaseModel):
    id: str
    name: str
    subject: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None


class MadeKey(ShownKey):
    key: str


class KeysBody(BaseModel):
    keys: list[ShownKey]


@dataclass(frozen=True)
class KeyRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/api/keys",
                self.list_keys,
                "All API keys, without their secrets, newest first",
                roles=SERVICE,
                returns={200: KeysBody},
            ),
            Route(
                "POST",
                "/api/keys",
                self.create,
                "Make an API key; it is shown this once",
                roles=SERVICE,
                body=NewKey,
                returns={201: MadeKey},
            ),
            Route(
                "DELETE",
                "/api/keys/{key_id}",
                self.revoke,
                "Revoke an API key; everywhere within five seconds",
                roles=SERVICE,
                returns={200: ShownKey},
            ),
            Route(
                "POST",
                "/api/keys/{key_id}/rotate",
                self.rotate,
                "Another secret; the one before holds for a grace",
                roles=SERVICE,
                body=Rotation,
                returns={200: MadeKey},
            ),
        ]

    def list_keys(self, call: PlainRequest) -> Response:
        with self.runtime.database.transaction(call.caller) as connection:
            return as_json({"keys": api_keys.list_keys(connection)})

    def create(self, call: ApiRequest[NewKey, NoQuery]) -> Response:
        with self.runtime.database.transaction(call.caller) as connection:
            key = api_keys.create(connection, call.body, actor=call.caller.subject)
        log_key("created", key, call.caller.subject)
        return as_json(key, 201, {"Location": f"/api/keys/{key['id']}"})

    def revoke(self, call: PlainRequest) -> Response:
        try:
            with self.runtime.database.transaction(call.caller) as connection:
                revoked = api_keys.revoke(connection, call.path["key_id"], actor=call.caller.subject)
        except UnknownApiKey:
            raise _no_key() from None
        log_key("revoked", revoked, call.caller.subject)
        return as_json(revoked)

    def rotate(self, call: ApiRequest[Rotation, NoQuery]) -> Response:
        body = call.body
        try:
            with self.runtime.database.transaction(call.caller) as connection:
                key = api_keys.rotate(connection, call.path["key_id"], grace_hours=body.grace_hours)
        except UnknownApiKey:
            raise _no_key() from None
        log_key("rotated", key, call.caller.subject)
        return as_json(key)


def log_key(event: str, key: dict[str, Any], actor: str) -> None:
    """Log what was done with a key, never the key."""
    log.info(
        f"llm_keys.{event}",
        message=f"API key {key['id']} {event}",
        key_id=key["id"],
        name=key["name"],
        subject=key["subject"],
        role=key["role"],
        actor=actor,
    )


def _no_key() -> Problem:
    return Problem(404, "not_found", "no valid API key has this id: /api/keys lists them")
