"""What became of deliveries: lists them, and sends one again."""

from __future__ import annotations

import uuid
from typing import Any, Final

import sqlalchemy as sa

from shared.models import llm_webhook_deliveries as deliveries
from shared.models import llm_webhook_endpoints as endpoints
from shared.webhooks.deliveries import GIVE_UP_HOURS
from shared.webhooks.endpoints import UnknownEndpoint

SHOWN: Final = (
    *(column for column in deliveries.c if column.name not in ("send_at", "give_up_at")),
    # When it is tried next: not before its endpoint is.
    sa.case((deliveries.c.ended_at.is_(None), sa.func.greatest(deliveries.c.send_at, endpoints.c.send_at))).label(
        "next_attempt_at"
    ),
)


class UnknownDelivery(Exception):
    """No delivery has this id."""


class EndpointOff(Exception):
    """The endpoint of a delivery was removed or switched off. The text says what to do."""


def list_deliveries(
    connection: sa.Connection, *, endpoint_id: uuid.UUID | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Deliveries, the newest first: of one endpoint, or of all. Raises UnknownEndpoint."""
    # Selects one endpoint, removed or not, by llm_webhook_endpoints_pkey.
    if (
        endpoint_id is not None
        and connection.execute(sa.select(endpoints.c.id).where(endpoints.c.id == endpoint_id)).first() is None
    ):
        raise UnknownEndpoint(str(endpoint_id))
    # Selects deliveries, by llm_webhook_deliveries_of_endpoint or llm_webhook_deliveries_newest.
    query = sa.select(*SHOWN).join_from(deliveries, endpoints)
    if endpoint_id is not None:
        query = query.where(deliveries.c.endpoint_id == endpoint_id)
    rows = connection.execute(query.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


# Makes one delivery wait again as if it were new, and its endpoint due; by llm_webhook_deliveries_pkey and
# llm_webhook_endpoints_pkey.
_REDELIVER = """
WITH endpoint AS (
  UPDATE llm_webhook_endpoints SET send_at = now()
  WHERE id = (SELECT endpoint_id FROM llm_webhook_deliveries WHERE id = %(id)s)
    AND removed_at IS NULL AND disabled_at IS NULL
  RETURNING id)
UPDATE llm_webhook_deliveries AS delivery SET status = 'waiting', ended_at = NULL, send_at = '-infinity',
  give_up_at = now() + make_interval(hours => %(hours)s)
FROM endpoint WHERE delivery.id = %(id)s AND delivery.endpoint_id = endpoint.id RETURNING delivery.id
"""


def redeliver(connection: sa.Connection, delivery_id: uuid.UUID) -> dict[str, Any]:
    """Send a delivery again, whatever became of it: with the same `webhook-id`, at once, and for three days.

    Raises UnknownDelivery, EndpointOff.
    """
    done = connection.exec_driver_sql(_REDELIVER, {"id": delivery_id, "hours": GIVE_UP_HOURS}).first()
    # Selects one delivery, by llm_webhook_deliveries_pkey.
    query = sa.select(*SHOWN, endpoints.c.removed_at).join_from(deliveries, endpoints)
    row = connection.execute(query.where(deliveries.c.id == delivery_id)).mappings().first()
    if row is None:
        raise UnknownDelivery(str(delivery_id))
    if done is None:
        if row["removed_at"] is not None:
            raise EndpointOff("the endpoint of this delivery was removed")
        raise EndpointOff(
            f"the endpoint of this delivery is switched off: llm-refresh webhooks enable {row['endpoint_id']}"
        )
    return {name: value for name, value in row.items() if name != "removed_at"}
