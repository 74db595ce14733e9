"""The statements over `llm_webhook_deliveries`: take what is due, record how it was taken, give up what is old.

A delivery that was taken is due again after its lease, so that one whose sender died is sent again. Pauses grow with
the time that has gone by since the first failure: no counter has to be right. An endpoint that fails is tried with
one delivery at a time; when it takes that one, all that waits for it is due.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shared.notices.news import DisabledEndpoint
from shared.notices.post import PostOutcome
from shared.webhooks.endpoints import end_waiting

FIRST_PAUSE_SECONDS: Final = 10
LONGEST_PAUSE_SECONDS: Final = 3600
LONGEST_PROBE_PAUSE_SECONDS: Final = 900
"""An endpoint that fails is tried at least so often."""
GIVE_UP_HOURS: Final = 72
KEEP_DAYS: Final = 30
MAX_RETRY_AFTER_SECONDS: Final = 3600
GONE: Final = 410
"""The status of a receiver that wants nothing any more (Standard Webhooks)."""


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that was taken for sending, with where it goes."""

    id: uuid.UUID
    endpoint_id: uuid.UUID
    event_id: str
    type: str
    object_id: str
    created_at: datetime
    attempts: int
    url: str
    secrets: list[str]
    """it is signed with each: the endpoint's, and for a grace the one before"""
    is_probe: bool
    """its endpoint fails, and this is the one that it is tried with"""

    @property
    def body(self) -> bytes:
        """What is signed and sent: ids only, and the same bytes at each attempt."""
        content = {
            "id": self.event_id,
            "object": "event",
            "type": self.type,
            "created_at": int(self.created_at.timestamp()),
            "data": {"id": self.object_id},
        }
        return json.dumps(content, separators=(",", ":")).encode()


# The endpoints that anything waits for, by jumps through llm_webhook_deliveries_waiting: they cost, not the rows.
_WAITING = """
WITH RECURSIVE waiting (id) AS (
  (SELECT endpoint_id FROM llm_webhook_deliveries WHERE ended_at IS NULL ORDER BY endpoint_id LIMIT 1)
  UNION ALL
  SELECT (SELECT endpoint_id FROM llm_webhook_deliveries WHERE ended_at IS NULL AND endpoint_id > waiting.id
          ORDER BY endpoint_id LIMIT 1) FROM waiting WHERE waiting.id IS NOT NULL),
"""


_SECRETS = "array_remove(ARRAY[secret, CASE WHEN previous_until > now() THEN previous_secret END], NULL)"


# Takes what is due for endpoints that do well, the oldest first, at most so many for each; by
# llm_webhook_deliveries_waiting. Whoever takes a delivery has it for the lease. The inner limit is a constant: for
# `room`, which differs by row, the planner would expect a tenth of all that waits and sort it.
_TAKE = f"""{_WAITING}
open_endpoint AS MATERIALIZED (
  SELECT endpoint.id, url, {_SECRETS} AS secrets, %(each)s - coalesce(busy.number, 0) AS room
  FROM waiting JOIN llm_webhook_endpoints AS endpoint USING (id)
  LEFT JOIN unnest(%(busy)s::uuid[], %(numbers)s::int[]) AS busy (id, number) USING (id)
  WHERE failing_since IS NULL AND removed_at IS NULL AND disabled_at IS NULL AND send_at <= now()
    AND coalesce(busy.number, 0) < %(each)s),
ranked AS MATERIALIZED (
  SELECT delivery.id, url, secrets, room, row_number() OVER (PARTITION BY open_endpoint.id ORDER BY send_at) AS place
  FROM open_endpoint CROSS JOIN LATERAL (
    SELECT id, send_at FROM llm_webhook_deliveries
    WHERE endpoint_id = open_endpoint.id AND ended_at IS NULL AND send_at <= now()
    ORDER BY send_at LIMIT %(each)s FOR UPDATE SKIP LOCKED) AS delivery),
due AS (SELECT id, url, secrets FROM ranked WHERE place <= room ORDER BY place LIMIT %(limit)s)
UPDATE llm_webhook_deliveries AS delivery SET attempts = attempts + 1, attempted_at = now(),
  send_at = now() + make_interval(secs => %(lease)s)
FROM due WHERE delivery.id = due.id
RETURNING delivery.id, endpoint_id, event_id, type, object_id, created_at, attempts, due.url, due.secrets
"""


# Takes one delivery for each endpoint that fails and may be tried now: of several senders one has it, by a lock on its
# row. What is due is found by llm_webhook_deliveries_waiting.
_PROBE = f"""{_WAITING}
tried AS (
  UPDATE llm_webhook_endpoints SET send_at = now() + make_interval(secs => %(lease)s)
  WHERE id IN (
    SELECT endpoint.id FROM waiting JOIN llm_webhook_endpoints AS endpoint USING (id)
    WHERE failing_since IS NOT NULL AND removed_at IS NULL AND disabled_at IS NULL AND send_at <= now()
      AND (SELECT true FROM llm_webhook_deliveries
           WHERE endpoint_id = endpoint.id AND ended_at IS NULL AND send_at <= now() LIMIT 1)
    ORDER BY send_at LIMIT %(limit)s FOR UPDATE OF endpoint SKIP LOCKED)
  RETURNING id, url, {_SECRETS} AS secrets),
due AS MATERIALIZED (
  SELECT delivery.id, url, secrets FROM tried CROSS JOIN LATERAL (
    SELECT id FROM llm_webhook_deliveries
    WHERE endpoint_id = tried.id AND ended_at IS NULL AND send_at <= now()
    ORDER BY send_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS delivery)
UPDATE llm_webhook_deliveries AS delivery SET attempts = attempts + 1, attempted_at = now(),
  send_at = now() + make_interval(secs => %(lease)s)
FROM due WHERE delivery.id = due.id
RETURNING delivery.id, endpoint_id, event_id, type, object_id, created_at, attempts, due.url, due.secrets
"""


def take(
    connection: sa.Connection,
    *,
    limit: int,
    probes: int,
    each: int,
    lease_seconds: float,
    busy: Mapping[uuid.UUID, int],
) -> list[DueDelivery]:
    """Take up to `limit` deliveries that are due, `each` at most for one endpoint with those that are under way, which
    are `busy`; and beside them one each for so many endpoints that fail (`probes`).
    """
    values = {
        "limit": limit,
        "each": each,
        "lease": lease_seconds,
        "busy": list(busy),
        "numbers": list(busy.values()),
    }
    delivered_rows = connection.exec_driver_sql(_TAKE, values).mappings() if limit > 0 else ()
    probed = connection.exec_driver_sql(_PROBE, values | {"limit": probes}).mappings() if probes > 0 else ()
    return [
        *(DueDelivery(**row, is_probe=False) for row in delivered_rows),
        *(DueDelivery(**row, is_probe=True) for row in probed),
    ]


# Ends one delivery as taken, by llm_webhook_deliveries_pkey.
_DELIVERED = """
UPDATE llm_webhook_deliveries SET status = 'delivered', ended_at = now(), last_status = %s, last_error = NULL
WHERE id = %s AND ended_at IS NULL
"""


# Writes that an endpoint works, by llm_webhook_endpoints_pkey; says whether it had failed.
_WORKS = """
UPDATE llm_webhook_endpoints AS endpoint SET last_status = %s, last_error = NULL, last_delivered_at = now(),
  failing_since = NULL, send_at = CASE WHEN before.failing_since IS NULL THEN endpoint.send_at ELSE now() END
FROM (SELECT id, failing_since FROM llm_webhook_endpoints WHERE id = %s FOR NO KEY UPDATE) AS before
WHERE endpoint.id = before.id RETURNING before.failing_since IS NOT NULL
"""


# Makes all that waits for one endpoint due, by llm_webhook_deliveries_waiting.
_ALL_DUE = """
UPDATE llm_webhook_deliveries SET send_at = now() WHERE endpoint_id = %s AND ended_at IS NULL AND send_at > now()
"""


def record_delivered(connection: sa.Connection, delivery: DueDelivery, status: int | None) -> None:
    """Note that an endpoint took a delivery; what has waited for it is due, where it had failed."""
    connection.exec_driver_sql(_DELIVERED, (status, delivery.id))
    if connection.exec_driver_sql(_WORKS, (status, delivery.endpoint_id)).scalar():
        connection.exec_driver_sql(_ALL_DUE, (delivery.endpoint_id,))


# The pause after a failure: as long as it has been failing, between the first and the longest, a tenth more or less so
# that not all come back at the same moment; and what the endpoint asked for.
_PAUSE = """
  make_interval(secs => greatest(%(retry_after)s, (0.9 + 0.2 * random())
    * least(greatest(%(first)s, extract(epoch FROM now() - {since})), {longest})))
"""


# Sets when one delivery is tried again, or ends it when it is too old, by llm_webhook_deliveries_pkey.
_REFUSED = f"""
UPDATE llm_webhook_deliveries SET last_status = %(status)s, last_error = %(error)s,
  send_at = now() + {_PAUSE.format(since="(give_up_at - make_interval(hours => %(hours)s))", longest="%(longest)s")},
  status = CASE WHEN give_up_at <= now() THEN 'failed' ELSE status END,
  ended_at = CASE WHEN give_up_at <= now() THEN now() END
WHERE id = %(id)s AND ended_at IS NULL RETURNING status = 'failed'
"""


# Writes that an endpoint failed and when it is tried next, by llm_webhook_endpoints_pkey; one that is gone is switched
# off.
_FAILED = f"""
UPDATE llm_webhook_endpoints SET last_status = %(status)s, last_error = %(error)s,
  failing_since = coalesce(failing_since, now()),
  send_at = now() + {_PAUSE.format(since="coalesce(failing_since, now())", longest="%(longest_probe)s")},
  disabled_at = CASE WHEN %(gone)s THEN now() END, disabled_reason = CASE WHEN %(gone)s THEN 'gone' END
WHERE id = %(endpoint)s AND removed_at IS NULL AND disabled_at IS NULL
RETURNING id, subject, url, disabled_reason, last_error
"""


def record_failed(
    connection: sa.Connection, delivery: DueDelivery, outcome: PostOutcome
) -> tuple[bool, DisabledEndpoint | None]:
    """Note why an endpoint did not take a delivery; returns whether the delivery is given up, and the endpoint where
    that is switched off for it. What waits for the endpoint ends then.
    """
    values = {
        "id": delivery.id,
        "endpoint": delivery.endpoint_id,
        "status": outcome.status,
        "error": outcome.error,
        "gone": outcome.status == GONE,
        "first": FIRST_PAUSE_SECONDS,
        "longest": LONGEST_PAUSE_SECONDS,
        "longest_probe": LONGEST_PROBE_PAUSE_SECONDS,
        "hours": GIVE_UP_HOURS,
        "retry_after": min(outcome.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS),
    }
    given_up = bool(connection.exec_driver_sql(_REFUSED, values).scalar())
    row = connection.exec_driver_sql(_FAILED, values).first()
    if row is None or row.disabled_reason is None:
        return given_up, None
    end_waiting(connection, delivery.endpoint_id, f"{outcome.error}; its endpoint was switched off")
    return True, DisabledEndpoint(*row)


# Switches off the endpoints that have failed for three days and are still being tried; it reads the table, which is
# short. One that nobody could try, because no worker ran, gets its try first.
_DISABLE = """
UPDATE llm_webhook_endpoints SET disabled_at = now(), disabled_reason = 'failing'
WHERE failing_since < now() - make_interval(hours => %s) AND send_at > now() - interval '2 hours'
  AND removed_at IS NULL AND disabled_at IS NULL
RETURNING id, subject, url, disabled_reason, last_error
"""


def disable_failing(connection: sa.Connection) -> list[DisabledEndpoint]:
    """Switch off the endpoints that have failed for GIVE_UP_HOURS, and end what waits for them; returns them."""
    disabled = [DisabledEndpoint(*row) for row in connection.exec_driver_sql(_DISABLE, (GIVE_UP_HOURS,))]
    for endpoint in disabled:
        end_waiting(connection, endpoint.id, "its endpoint failed for three days and was switched off")
    return disabled


# Ends what waits for endpoints that are removed or switched off, and what is too old and was tried, or waits for an
# endpoint that fails; by llm_webhook_deliveries_waiting, which holds only what waits.
_END_UNDELIVERABLE = """
UPDATE llm_webhook_deliveries AS delivery SET status = 'failed', ended_at = now(),
  last_error = coalesce(delivery.last_error, CASE WHEN endpoint.removed_at IS NOT NULL THEN 'its endpoint was removed'
    WHEN endpoint.disabled_at IS NOT NULL THEN 'its endpoint was switched off' ELSE 'its endpoint took nothing' END)
FROM llm_webhook_endpoints AS endpoint
WHERE endpoint.id = delivery.endpoint_id AND delivery.ended_at IS NULL
  AND (endpoint.removed_at IS NOT NULL OR endpoint.disabled_at IS NOT NULL
    OR (delivery.give_up_at < now() - make_interval(secs => %s)
        AND (attempts > 0 OR endpoint.failing_since IS NOT NULL)))
"""


def end_undeliverable(connection: sa.Connection, *, grace_seconds: float) -> int:
    """End what nobody will send any more; returns the number. `grace_seconds`: for attempts that are under way."""
    return connection.exec_driver_sql(_END_UNDELIVERABLE, (grace_seconds,)).rowcount


# Deletes deliveries that ended long ago, by llm_webhook_deliveries_newest.
_PRUNE_DELIVERIES = """
DELETE FROM llm_webhook_deliveries WHERE created_at < now() - make_interval(days => %s) AND ended_at IS NOT NULL
"""


# Deletes endpoints that were removed long ago, with their deliveries; it reads the table, which is short.
_PRUNE_ENDPOINTS = "DELETE FROM llm_webhook_endpoints WHERE removed_at < now() - make_interval(days => %s)"


def prune(connection: sa.Connection) -> int:
    """Delete deliveries and removed endpoints of long ago; returns the number of deliveries."""
    number = connection.exec_driver_sql(_PRUNE_DELIVERIES, (KEEP_DAYS,)).rowcount
    connection.exec_driver_sql(_PRUNE_ENDPOINTS, (KEEP_DAYS,))
    return number
