"""Routes of callers: what each has open and may do, and changing its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flask import Response
from pydantic import BaseModel, Field

from shared import callers
from shared.callers import LISTED, MAX_SUBJECT, CallerEdit
from worker.runtime import Runtime
from worker.web.bodies import NoQuery, Query
from worker.web.problems import Problem
from worker.web.routing import READERS, SERVICE, ApiRequest, Route, as_json


class CallersQuery(Query):
    limit: Annotated[int, Field(ge=1, le=10_000)] = LISTED
    subject: Annotated[
        str | None, Field(max_length=MAX_SUBJECT, description="This caller alone, also where it has asked nothing yet")
    ] = None


class CallerLimits(BaseModel):
    max_open: Annotated[int | None, Field(description="Chats open at the same time")]
    max_running: Annotated[int | None, Field(description="Chats that run at the same time")]
    per_minute: Annotated[int | None, Field(description="Chats asked within a minute")]
    weight: Annotated[float | None, Field(description="The share of places among callers")]


class ShownCaller(CallerLimits):
    """The limits are the caller's own; null: as `defaults` says."""

    subject: str
    open: Annotated[int, Field(description="Chats that are queued or run, without lines of batches")]
    running: int
    requests_today: Annotated[int, Field(description="Chats that ended today (UTC), and those that are open")]
    longest_wait_seconds: Annotated[float | None, Field(description="Of its queued chats; null: none is queued")]


class CallersBody(BaseModel):
    callers: Annotated[list[ShownCaller], Field(description="Those with the most open chats first")]
    total: Annotated[int, Field(description="How many there are, also those beyond `limit`")]
    defaults: Annotated[CallerLimits, Field(description="Of callers without limits of their own; null: no limit")]


@dataclass(frozen=True)
class CallerRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/api/callers",
                self.list_callers,
                "Callers with chats of today or limits of their own",
                roles=READERS,
                query=CallersQuery,
                returns={200: CallersBody},
            ),
            Route(
                "PATCH",
                "/api/callers/{subject}",
                self.set_limits,
                "Set limits of a caller; null drops its own and lets the setting apply",
                roles=SERVICE,
                body=CallerEdit,
                returns={200: ShownCaller},
            ),
        ]

    def list_callers(self, call: ApiRequest[None, CallersQuery]) -> Response:
        with self.runtime.database.transaction(call.caller) as connection:
            listed = callers.list_callers(connection, limit=call.query.limit, subject=call.query.subject)
        defaults = callers.defaults_of(self.runtime.settings)
        return as_json({"callers": listed.callers, "total": listed.total, "defaults": defaults})

    def set_limits(self, call: ApiRequest[CallerEdit, NoQuery]) -> Response:
        subject, edit = call.path["subject"], call.body
        if len(subject) > MAX_SUBJECT or not subject.isprintable() or not subject.strip():
            raise Problem(422, "invalid_body", f"a subject holds 1 to {MAX_SUBJECT} printable characters")
        if not edit.changes:
            raise Problem(422, "invalid_body", f"the body names no limit: {', '.join(callers.LIMITS)}")
        with self.runtime.database.transaction(call.caller) as connection:
            return as_json(
                callers.set_limits(connection, subject, edit, actor=call.caller.subject, role=call.caller.role)
            )
