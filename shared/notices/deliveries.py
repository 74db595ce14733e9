"""The statements over deliveries: a notice has one for each receiver, with tries and pauses of its own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

FIRST_PAUSE_SECONDS: Final = 10
LONGEST_PAUSE_SECONDS: Final = 3600
PROBE_PAUSE_SECONDS: Final = 30
"""A receiver that fails is tried with its newest notice alone, at least so often."""
GIVE_UP_HOURS: Final = 72
GONE_MINUTES: Final = 5
"""An address that no process has had for so long is gone."""


# The pause after a try, which doubles up to the longest.
_PAUSE = "least(:first * power(2, least(delivery.attempts{}, 20)), :longest)"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice that was taken for sending to one receiver."""

    id: uuid.UUID
    kind: str
    run_id: uuid.UUID | None
    created_at: datetime
    data: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one receiver."""

    receiver: str
    waiting: int
    oldest: datetime
    is_overdue: bool
    """ten minutes old"""
    last_error: str | None
    """None where the last try went well"""


def _pauses(longest: int = LONGEST_PAUSE_SECONDS) -> dict[str, int]:
    return {"first": FIRST_PAUSE_SECONDS, "longest": longest}


# Gives each notice that has no deliveries yet (llm_notices_waiting) one for each receiver (llm_notice_deliveries_pkey).
# `send_at` is infinite once a notice has its deliveries: code of before them leaves it alone then.
_ADDRESS = """
WITH fresh AS (
  UPDATE llm_notices SET send_at = 'infinity'
  WHERE id IN (SELECT id FROM llm_notices WHERE ended_at IS NULL AND send_at < 'infinity' FOR UPDATE SKIP LOCKED)
  RETURNING id, created_at)
INSERT INTO llm_notice_deliveries (notice_id, receiver, created_at)
SELECT id, receiver, created_at FROM fresh CROSS JOIN unnest(CAST(:receivers AS text[])) AS receiver
ON CONFLICT DO NOTHING
"""


def address(connection: sa.Connection, receivers: Sequence[str]) -> None:
    """Give each new notice a delivery for each of these receivers."""
    connection.execute(sa.text(_ADDRESS), {"receivers": list(receivers)})


# Inserts a receiver that has no row yet, by llm_notice_receivers_pkey.
_INSERT_RECEIVER = "INSERT INTO llm_notice_receivers (receiver) VALUES (:receiver) ON CONFLICT DO NOTHING"


# Locks the row of a receiver that may be tried now, by llm_notice_receivers_pkey: of several senders one probes a
# receiver that fails.
_ADMIT = """
SELECT failures FROM llm_notice_receivers WHERE receiver = :receiver AND send_at <= now() FOR UPDATE SKIP LOCKED
"""


# Notes once a minute that a process has this receiver, by llm_notice_receivers_pkey.
_MARK_SEEN = """
UPDATE llm_notice_receivers SET seen_at = now() WHERE receiver = :receiver AND seen_at < now() - interval '1 minute'
"""


# Sets when a receiver that fails is tried next, by llm_notice_receivers_pkey.
_PROBE = """
UPDATE llm_notice_receivers SET send_at = now() + make_interval(secs => greatest(:lease,
  least(:first * power(2, least(failures - 1, 20)), :longest))) WHERE receiver = :receiver
"""


# Takes the newest deliveries that are due for a receiver, by llm_notice_deliveries_waiting. Whoever takes a notice has
# it for the lease: one whose sender dies is sent again after it.
_TAKE = f"""
UPDATE llm_notice_deliveries AS delivery SET attempts = delivery.attempts + 1,
  send_at = now() + make_interval(secs => greatest(:lease, {_PAUSE.format("")}))
FROM llm_notices AS notice
WHERE notice.id = delivery.notice_id AND delivery.receiver = :receiver AND delivery.notice_id IN (
  SELECT notice_id FROM llm_notice_deliveries WHERE receiver = :receiver AND ended_at IS NULL AND send_at <= now()
  ORDER BY created_at DESC, notice_id DESC LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING notice.id, notice.kind, notice.run_id, notice.created_at, notice.data, delivery.attempts
"""


def take(connection: sa.Connection, receiver: str, *, limit: int, lease_seconds: float) -> list[Waiting]:
    """Take up to so many notices that are due, the newest first; of a receiver that fails only one, now and then.

    None is given to two senders within the lease.
    """
    connection.execute(sa.text(_INSERT_RECEIVER), {"receiver": receiver})
    failures = connection.execute(sa.text(_ADMIT), {"receiver": receiver}).scalar()
    if failures is None:
        return []
    connection.execute(sa.text(_MARK_SEEN), {"receiver": receiver})
    values = {"receiver": receiver, "lease": lease_seconds}
    if failures:
        limit = 1
        connection.execute(sa.text(_PROBE), values | _pauses(PROBE_PAUSE_SECONDS))
    rows = connection.execute(sa.text(_TAKE), values | _pauses() | {"limit": limit})
    return sorted((Waiting(*row) for row in rows), key=lambda notice: (notice.created_at, notice.id), reverse=True)


# Locks notices in the order of their ids, by llm_notices_pkey, so that of two receivers' ends one sees the other.
_LOCK = "SELECT id FROM llm_notices WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"


# Ends one delivery as delivered, by llm_notice_deliveries_pkey.
_DELIVERED = """
UPDATE llm_notice_deliveries SET ended_at = now(), delivered = true, last_error = NULL
WHERE notice_id = :id AND receiver = :receiver
"""


# Sets when one delivery is tried again, or ends it when it is too old, by llm_notice_deliveries_pkey.
_REFUSED = f"""
UPDATE llm_notice_deliveries AS delivery SET last_error = :error,
  send_at = now() + make_interval(secs => {_PAUSE.format(" - 1")}),
  ended_at = CASE WHEN created_at < now() - make_interval(hours => :hours) THEN now() END
WHERE notice_id = :id AND receiver = :receiver AND ended_at IS NULL RETURNING ended_at IS NOT NULL
"""


# Lets all that waits for a receiver that failed and now answers be sent at once, by llm_notice_receivers_pkey and
# llm_notice_deliveries_waiting.
_RECOVER = """
WITH receiver AS (
  SELECT receiver, failures FROM llm_notice_receivers WHERE receiver = :receiver AND failures > 0 FOR UPDATE),
good AS (
  UPDATE llm_notice_receivers SET failures = 0, send_at = now(), last_error = NULL
  WHERE receiver = (SELECT receiver FROM receiver))
UPDATE llm_notice_deliveries SET send_at = now()
WHERE receiver = (SELECT receiver FROM receiver) AND ended_at IS NULL
"""


# Counts a failure of a receiver and sets its pause, by llm_notice_receivers_pkey.
_FAILED = """
UPDATE llm_notice_receivers SET failures = failures + 1, last_error = :error,
  send_at = now() + make_interval(secs => least(:first * power(2, least(failures, 20)), :longest))
WHERE receiver = :receiver
"""


# Ends the notices whose deliveries have all ended, by llm_notice_deliveries_pkey and llm_notices_pkey.
_END_NOTICES = """
UPDATE llm_notices AS notice SET ended_at = now(), delivered = ends.delivered, attempts = ends.attempts,
  last_error = ends.last_error
FROM (SELECT notice_id, bool_and(delivered) AS delivered, max(attempts) AS attempts, max(last_error) AS last_error
      FROM llm_notice_deliveries WHERE notice_id = ANY(:ids) GROUP BY notice_id
      HAVING bool_and(ended_at IS NOT NULL)) AS ends
WHERE notice.id = ends.notice_id AND notice.ended_at IS NULL
"""


def record(connection: sa.Connection, receiver: str, results: Sequence[tuple[Waiting, str | None]]) -> set[uuid.UUID]:
    """Note how each was taken: None, or why not. Returns those that are given up, as all are after GIVE_UP_HOURS."""
    ids = [notice.id for notice, _ in results]
    connection.execute(sa.text(_LOCK), {"ids": ids})
    given_up = set()
    for notice, error in results:
        values = {"id": notice.id, "receiver": receiver}
        if error is None:
            connection.execute(sa.text(_DELIVERED), values)
        elif connection.execute(
            sa.text(_REFUSED), values | _pauses() | {"error": error, "hours": GIVE_UP_HOURS}
        ).scalar():
            given_up.add(notice.id)
    errors = [error for _, error in results if error is not None]
    if len(errors) < len(results):
        connection.execute(sa.text(_RECOVER), {"receiver": receiver})
    else:
        values = {"receiver": receiver, "error": errors[0]}
        connection.execute(sa.text(_FAILED), values | _pauses(PROBE_PAUSE_SECONDS))
    connection.execute(sa.text(_END_NOTICES), {"ids": ids})
    return given_up


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What was done about deliveries that nobody sends."""

    readdressed: int
    given_up: int


# Ends what waits for addresses that are gone (llm_notice_deliveries_waiting) and gives it to those that have come
# since.
_READDRESS = """
WITH gone AS (
  UPDATE llm_notice_deliveries AS delivery SET ended_at = now(), last_error = 'its address is no longer set'
  WHERE ended_at IS NULL AND receiver <> ALL(CAST(:receivers AS text[])) AND NOT EXISTS (
    SELECT FROM llm_notice_receivers AS known
    WHERE known.receiver = delivery.receiver AND seen_at > now() - make_interval(mins => :minutes))
  RETURNING notice_id, created_at)
INSERT INTO llm_notice_deliveries (notice_id, receiver, created_at)
SELECT DISTINCT notice_id, receiver, created_at FROM gone CROSS JOIN unnest(CAST(:receivers AS text[])) AS receiver
ON CONFLICT DO NOTHING
"""


# Ends deliveries that are too old, by llm_notice_deliveries_waiting. After each try of a receiver that fails only the
# newest is tried: the others grow old untried.
_GIVE_UP = """
UPDATE llm_notice_deliveries SET ended_at = now(), last_error = coalesce(last_error, 'its receiver took nothing')
WHERE ended_at IS NULL AND created_at < now() - make_interval(hours => :hours) AND send_at < now() - interval '1 hour'
"""


# Ends open notices (llm_notices_waiting) whose deliveries have all ended (llm_notice_deliveries_pkey).
_SWEEP = """
UPDATE llm_notices AS notice SET ended_at = now(), delivered = ends.delivered, last_error = ends.last_error
FROM (SELECT notice_id, bool_and(delivery.delivered) AS delivered, max(delivery.last_error) AS last_error
      FROM llm_notices JOIN llm_notice_deliveries AS delivery ON notice_id = id
      WHERE llm_notices.ended_at IS NULL GROUP BY notice_id HAVING bool_and(delivery.ended_at IS NOT NULL)) AS ends
WHERE notice.id = ends.notice_id AND notice.ended_at IS NULL
"""


# Deletes receivers that no process has had for a day and that nothing waits for (llm_notice_deliveries_waiting).
_FORGET_RECEIVERS = """
DELETE FROM llm_notice_receivers AS known WHERE seen_at < now() - interval '1 day'
AND NOT EXISTS (SELECT FROM llm_notice_deliveries WHERE receiver = known.receiver AND ended_at IS NULL)
"""


def maintain(connection: sa.Connection, receivers: Sequence[str]) -> Maintenance:
    """Give what waits for addresses that are gone to those of these that have not had it, and give up what is old."""
    values = {"receivers": list(receivers), "minutes": GONE_MINUTES}
    readdressed = connection.execute(sa.text(_READDRESS), values).rowcount
    given_up = connection.execute(sa.text(_GIVE_UP), {"hours": GIVE_UP_HOURS}).rowcount
    connection.execute(sa.text(_SWEEP))
    connection.execute(sa.text(_FORGET_RECEIVERS))
    return Maintenance(readdressed, given_up)


# Counts what waits for each receiver, by llm_notice_deliveries_waiting.
_BACKLOG = """
SELECT receiver, count(*), min(created_at), min(created_at) < now() - interval '10 minutes', max(known.last_error)
FROM llm_notice_deliveries LEFT JOIN llm_notice_receivers AS known USING (receiver)
WHERE ended_at IS NULL GROUP BY receiver ORDER BY receiver
"""


def backlog(connection: sa.Connection) -> list[Backlog]:
    """What waits, by receiver."""
    return [Backlog(*row) for row in connection.execute(sa.text(_BACKLOG))]
