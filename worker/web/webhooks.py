"""Routes of webhooks, for service_role: endpoints of subjects, and what became of the events sent to them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import structlog
from flask import Response
from pydantic import BaseModel, Field

from shared.clock import new_id
from shared.vocabulary import DeliveryStatus, DisabledReason, WebhookEvent
from shared.webhooks import delivery_history, endpoints
from shared.webhooks.delivery_history import EndpointOff, UnknownDelivery
from shared.webhooks.destinations import check_url
from shared.webhooks.endpoints import NewEndpoint, SecretRotation, TooManyEndpoints, UnknownEndpoint
from worker.runtime import Runtime
from worker.web.bodies import NoQuery, Query
from worker.web.problems import Problem
from worker.web.routing import SERVICE, ApiRequest, PlainRequest, Route, as_json

log = structlog.get_logger(__name__)


class EndpointsQuery(Query):
    subject: Annotated[str | None, Field(max_length=255, description="Only this caller's endpoints")] = None


class DeliveriesQuery(Query):
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ShownEndpoint(BaseModel):
    id: uuid.UUID
    subject: str
    url: str
    events: list[WebhookEvent]
    created_at: datetime
    created_by: str
    send_at: Annotated[datetime, Field(description="Nothing is sent before")]
    failing_since: Annotated[datetime | None, Field(description="Since then every attempt has failed")]
    last_status: Annotated[int | None, Field(description="Of the last answer")]
    last_error: str | None
    last_delivered_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None
    rotated_at: Annotated[datetime | None, Field(description="When its secret was replaced")]
    previous_until: Annotated[datetime | None, Field(description="Until then the secret before signs along")]


class MadeEndpoint(ShownEndpoint):
    secret: Annotated[str, Field(description="whsec_ and base64: events are signed with it. It is shown this once")]


class EndpointsBody(BaseModel):
    webhooks: list[ShownEndpoint]


class ShownDelivery(BaseModel):
    id: uuid.UUID
    endpoint_id: uuid.UUID
    event_id: Annotated[str, Field(description="Also the header webhook-id, at each attempt")]
    type: WebhookEvent
    object_id: Annotated[str, Field(description="data.id of the event")]
    created_at: datetime
    status: DeliveryStatus
    attempts: int
    attempted_at: datetime | None
    last_status: Annotated[int | None, Field(description="Of the last answer; null: there was none")]
    last_error: str | None
    ended_at: datetime | None
    next_attempt_at: Annotated[datetime | None, Field(description="Not before; null: it has ended")]


class DeliveriesBody(BaseModel):
    deliveries: list[ShownDelivery]


@dataclass(frozen=True)
class WebhookRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime

    def routes(self) -> list[Route]:
        one = "/api/webhooks/{endpoint_id}"
        return [
            Route(
                "GET",
                "/api/webhooks",
                self.list_endpoints,
                "Webhook endpoints, without their secrets, newest first",
                roles=SERVICE,
                query=EndpointsQuery,
                returns={200: EndpointsBody},
            ),
            Route(
                "POST",
                "/api/webhooks",
                self.add,
                "Register an endpoint; its secret is shown this once",
                roles=SERVICE,
                body=NewEndpoint,
                returns={201: MadeEndpoint},
            ),
            Route(
                "DELETE",
                one,
                self.remove,
                "Remove an endpoint and end its deliveries",
                roles=SERVICE,
                returns={200: ShownEndpoint},
            ),
            Route(
                "POST",
                f"{one}/enable",
                self.enable,
                "Switch an endpoint on again",
                roles=SERVICE,
                returns={200: ShownEndpoint},
            ),
            Route(
                "POST",
                f"{one}/rotate",
                self.rotate,
                "Another secret, shown this once; the one before signs along for a grace",
                roles=SERVICE,
                body=SecretRotation,
                returns={200: MadeEndpoint},
            ),
            Route(
                "GET",
                f"{one}/deliveries",
                self.list_of_endpoint,
                "Its deliveries, newest first",
                roles=SERVICE,
                query=DeliveriesQuery,
                returns={200: DeliveriesBody},
            ),
            Route(
                "GET",
                "/api/webhooks/deliveries",
                self.list_all,
                "The deliveries of all endpoints, newest first",
                roles=SERVICE,
                query=DeliveriesQuery,
                returns={200: DeliveriesBody},
            ),
            Route(
                "POST",
                "/api/webhooks/deliveries/{delivery_id}/redeliver",
                self.redeliver,
                "Send an event again, with the same webhook-id",
                roles=SERVICE,
                returns={200: ShownDelivery},
            ),
        ]

    def list_endpoints(self, call: ApiRequest[None, EndpointsQuery]) -> Response:
        query = call.query
        with self.runtime.database.transaction(call.caller) as connection:
            return as_json({"webhooks": endpoints.list_endpoints(connection, subject=query.subject)})

    def add(self, call: ApiRequest[NewEndpoint, NoQuery]) -> Response:
        body = call.body
        try:
            url = check_url(body.url, local=self.runtime.settings.local)
        except ValueError as wrong:
            raise Problem(422, "invalid_body", f"url: {wrong}", param="url") from None
        try:
            with self.runtime.database.transaction(call.caller) as connection:
                endpoint = endpoints.add(connection, body, endpoint_id=new_id(), url=url, actor=call.caller.subject)
        except TooManyEndpoints as many:
            raise Problem(409, "too_many_endpoints", str(many)) from None
        log_endpoint("added", endpoint, call.caller.subject)
        return as_json(endpoint, 201, {"Location": f"/api/webhooks/{endpoint['id']}"})

    def remove(self, call: PlainRequest) -> Response:
        with self._report_unknown_id(), self.runtime.database.transaction(call.caller) as connection:
            endpoint = endpoints.remove(connection, _id(call.path["endpoint_id"]), actor=call.caller.subject)
        log_endpoint("removed", endpoint, call.caller.subject)
        return as_json(endpoint)

    def enable(self, call: PlainRequest) -> Response:
        with self._report_unknown_id(), self.runtime.database.transaction(call.caller) as connection:
            endpoint = endpoints.enable(connection, _id(call.path["endpoint_id"]))
        log_endpoint("enabled", endpoint, call.caller.subject)
        return as_json(endpoint)

    def rotate(self, call: ApiRequest[SecretRotation, NoQuery]) -> Response:
        body = call.body
        with self._report_unknown_id(), self.runtime.database.transaction(call.caller) as connection:
            endpoint = endpoints.rotate(connection, _id(call.path["endpoint_id"]), grace_hours=body.grace_hours)
        log_endpoint("rotated", endpoint, call.caller.subject)
        return as_json(endpoint)

    def list_of_endpoint(self, call: ApiRequest[None, DeliveriesQuery]) -> Response:
        query = call.query
        with self._report_unknown_id(), self.runtime.database.transaction(call.caller) as connection:
            rows = delivery_history.list_deliveries(
                connection, endpoint_id=_id(call.path["endpoint_id"]), limit=query.limit
            )
        return as_json({"deliveries": rows})

    def list_all(self, call: ApiRequest[None, DeliveriesQuery]) -> Response:
        query = call.query
        with self.runtime.database.transaction(call.caller) as connection:
            return as_json({"deliveries": delivery_history.list_deliveries(connection, limit=query.limit)})

    def redeliver(self, call: PlainRequest) -> Response:
        try:
            with self._report_unknown_id(), self.runtime.database.transaction(call.caller) as connection:
                return as_json(delivery_history.redeliver(connection, _id(call.path["delivery_id"], UnknownDelivery)))
        except EndpointOff as off:
            raise Problem(409, "endpoint_off", str(off)) from None

    @contextmanager
    def _report_unknown_id(self) -> Iterator[None]:
        """Answers 404 for an id that means nothing."""
        try:
            yield
        except UnknownEndpoint:
            raise Problem(404, "not_found", "no endpoint has this id: /api/webhooks lists them") from None
        except UnknownDelivery:
            raise Problem(404, "not_found", "no delivery has this id: /api/webhooks/deliveries lists them") from None


def _id(text: str, unknown: type[Exception] = UnknownEndpoint) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise unknown(text) from None


def log_endpoint(event: str, endpoint: dict[str, Any], actor: str) -> None:
    """Log what was done with an endpoint; of its address nothing: that may hold a token."""
    log.info(
        f"llm_webhook.{event}",
        message=f"Webhook endpoint {event}",
        endpoint_id=str(endpoint["id"]),
        subject=endpoint["subject"],
        actor=actor,
    )
