"""The statements over `llm_webhook_endpoints`: where the events of a subject's responses go."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.models import llm_webhook_deliveries as deliveries
from shared.models import llm_webhook_endpoints as endpoints
from shared.signing import new_secret
from shared.vocabulary import WEBHOOK_EVENTS, WebhookEvent

MAX_ENDPOINTS: Final = 20
"""Of one subject."""

SHOWN: Final = tuple(
    column for column in endpoints.c if column.name not in ("secret", "previous_secret", "removed_at", "removed_by")
)
"""What is shown of an endpoint: never its secret."""

DEFAULT_GRACE_HOURS: Final = 24
MAX_GRACE_HOURS: Final = 30 * 24


class UnknownEndpoint(Exception):
    """No endpoint has this id, or it was removed."""


class TooManyEndpoints(Exception):
    """A subject has as many endpoints as it may have."""


def _visible(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be one line of visible characters")
    return text


def _event(value: object) -> object:
    if value not in WEBHOOK_EVENTS:
        raise ValueError(f"{str(value)[:64]!r} is no event; the events are {', '.join(WEBHOOK_EVENTS)}")
    return value


class NewEndpoint(BaseModel):
    """The body of `POST /api/webhooks`. Its address is checked by `destinations.check_url`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: Annotated[str, Field(min_length=1, description="https in production; no redirect is followed")]
    subject: Annotated[
        str, AfterValidator(_visible), Field(max_length=255, description="The caller whose responses make the events")
    ]
    events: Annotated[
        list[Annotated[WebhookEvent, BeforeValidator(_event)]],
        Field(min_length=1, max_length=50, description="What it is told of"),
    ]


class SecretRotation(BaseModel):
    """The body of `POST /api/webhooks/{id}/rotate`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    grace_hours: Annotated[
        float, Field(ge=0, le=MAX_GRACE_HOURS, description="So long the secret before signs along")
    ] = DEFAULT_GRACE_HOURS


# Lets those who add an endpoint to a subject take turns until their commit: an advisory lock, no index.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('llm_webhook_endpoints ' || %s, 0))"


def add(connection: sa.Connection, new: NewEndpoint, *, endpoint_id: uuid.UUID, url: str, actor: str) -> dict[str, Any]:
    """Store an endpoint with the checked `url`; returns its row with `secret`, which cannot be shown again.

    Raises TooManyEndpoints.
    """
    connection.exec_driver_sql(_ONE_AT_A_TIME, (new.subject,))
    # Counts the endpoints of a subject, by llm_webhook_endpoints_of_subject.
    number = connection.execute(
        sa.select(sa.func.count()).where(endpoints.c.subject == new.subject, endpoints.c.removed_at.is_(None))
    ).scalar_one()
    if number >= MAX_ENDPOINTS:
        raise TooManyEndpoints(f"{new.subject} has {number} endpoints, as many as one may have: remove one")
    secret = new_secret()
    # Inserts one endpoint (llm_webhook_endpoints_pkey).
    row = connection.execute(
        endpoints.insert()
        .values(
            id=endpoint_id,
            subject=new.subject,
            url=url,
            events=list(dict.fromkeys(new.events)),
            secret=secret,
            created_by=actor,
        )
        .returning(*SHOWN)
    )
    return dict(row.mappings().one()) | {"secret": secret}


def list_endpoints(connection: sa.Connection, *, subject: str | None = None) -> list[dict[str, Any]]:
    """The endpoints, of one subject or of all, the newest first."""
    # Selects endpoints that are there, of a subject by llm_webhook_endpoints_of_subject; they are few.
    query = sa.select(*SHOWN).where(endpoints.c.removed_at.is_(None))
    if subject is not None:
        query = query.where(endpoints.c.subject == subject)
    rows = connection.execute(query.order_by(endpoints.c.created_at.desc(), endpoints.c.id))
    return [dict(row) for row in rows.mappings()]


def remove(connection: sa.Connection, endpoint_id: uuid.UUID, *, actor: str) -> dict[str, Any]:
    """Take an endpoint away with its secret, and end what waits for it. Raises UnknownEndpoint.

    Its row stays for a while: who asks for its deliveries sees how they ended.
    """
    # Marks one endpoint as removed, by llm_webhook_endpoints_pkey.
    row = connection.execute(
        endpoints.update()
        .where(endpoints.c.id == endpoint_id, endpoints.c.removed_at.is_(None))
        .values(removed_at=sa.func.now(), removed_by=actor, secret="", previous_secret=None, previous_until=None)
        .returning(*SHOWN)
    )
    removed = _one(row, endpoint_id)
    end_waiting(connection, endpoint_id, "its endpoint was removed")
    return removed


def rotate(connection: sa.Connection, endpoint_id: uuid.UUID, *, grace_hours: float) -> dict[str, Any]:
    """Give an endpoint another secret; for so long events are signed with the one before as well. Raises
    UnknownEndpoint.

    One that was still signing from an earlier rotation ends. Returns its row with `secret`.
    """
    secret = new_secret()
    previous = {"previous_secret": None, "previous_until": None}
    until = sa.text("now() + make_interval(secs => :seconds)").bindparams(seconds=grace_hours * 3600)
    # Replaces the secret of one endpoint, by llm_webhook_endpoints_pkey.
    row = connection.execute(
        endpoints.update()
        .where(endpoints.c.id == endpoint_id, endpoints.c.removed_at.is_(None))
        .values(
            secret=secret,
            rotated_at=sa.func.now(),
            **({"previous_secret": endpoints.c.secret, "previous_until": until} if grace_hours else previous),
        )
        .returning(*SHOWN)
    )
    return _one(row, endpoint_id) | {"secret": secret}


def forget_previous_secrets(connection: sa.Connection) -> None:
    """Take the secrets away that do not sign any more."""
    # Clears endpoints of the table, which is short.
    connection.execute(
        endpoints.update()
        .where(endpoints.c.previous_until <= sa.func.now())
        .values(previous_secret=None, previous_until=None)
    )


def enable(connection: sa.Connection, endpoint_id: uuid.UUID) -> dict[str, Any]:
    """Switch an endpoint on again; its next event is sent at once. Raises UnknownEndpoint."""
    # Switches one endpoint on, by llm_webhook_endpoints_pkey.
    row = connection.execute(
        endpoints.update()
        .where(endpoints.c.id == endpoint_id, endpoints.c.removed_at.is_(None))
        .values(disabled_at=None, disabled_reason=None, failing_since=None, send_at=sa.func.now())
        .returning(*SHOWN)
    )
    return _one(row, endpoint_id)


@dataclass(frozen=True, slots=True)
class UnhealthyEndpoint:
    """An endpoint that is switched off, or fails for ten minutes."""

    id: uuid.UUID
    subject: str
    since: datetime
    is_disabled: bool
    last_error: str | None


def list_unhealthy(connection: sa.Connection) -> list[UnhealthyEndpoint]:
    """The endpoints that are switched off or have failed for ten minutes, the latest first."""
    table = endpoints.c
    since = sa.func.coalesce(table.disabled_at, table.failing_since)
    # Selects endpoints of the table, which is short.
    rows = connection.execute(
        sa.select(table.id, table.subject, since, table.disabled_at.is_not(None), table.last_error)
        .where(
            table.removed_at.is_(None),
            table.disabled_at.is_not(None) | (table.failing_since < sa.text("now() - interval '10 minutes'")),
        )
        .order_by(since.desc())
    )
    return [UnhealthyEndpoint(*row) for row in rows]


def end_waiting(connection: sa.Connection, endpoint_id: uuid.UUID, why: str) -> None:
    """End what waits for an endpoint as failed."""
    # Ends the waiting deliveries of one endpoint, by llm_webhook_deliveries_waiting.
    connection.execute(
        deliveries.update()
        .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.ended_at.is_(None))
        .values(status="failed", ended_at=sa.func.now(), last_error=why)
    )


def _one(rows: sa.CursorResult[Any], endpoint_id: uuid.UUID) -> dict[str, Any]:
    row = rows.mappings().first()
    if row is None:
        raise UnknownEndpoint(str(endpoint_id))
    return dict(row)
