"""The statements over `llm_notices`: write with what is told, take for sending, note how it went."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shared.catalogue.outcomes import Ending
from shared.catalogue.runs import ENDED
from shared.chat.usage import requests_of
from shared.clock import Ids
from shared.notices.news import USE_DAYS, notices_of, removed_keys

FIRST_PAUSE_SECONDS: Final = 10
LONGEST_PAUSE_SECONDS: Final = 3600
GIVE_UP_HOURS: Final = 72
KEEP_DAYS: Final = 30

_BEFORE = """
SELECT status FROM llm_sync_runs WHERE id <> :id AND status = ANY(:ended) AND finished_at IS NOT NULL
ORDER BY finished_at DESC, id DESC LIMIT 1
"""

_INSERT = "INSERT INTO llm_notices (id, kind, run_id, data) VALUES (:id, :kind, :run_id, CAST(:data AS jsonb))"

# The pause is set when a notice is taken: one whose sender dies is sent again after it. Doubles up to an hour.
_TAKE = """
UPDATE llm_notices SET attempts = attempts + 1,
  send_at = now() + make_interval(secs => least(:first * power(2, least(attempts, 20)), :longest))
WHERE id IN (SELECT id FROM llm_notices WHERE ended_at IS NULL AND send_at <= now()
             ORDER BY created_at, id LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id, kind, run_id, created_at, data, attempts
"""

_DELIVERED = "UPDATE llm_notices SET ended_at = now(), delivered = true, last_error = NULL WHERE id = :id"

_REFUSED = """
UPDATE llm_notices SET last_error = :error,
  ended_at = CASE WHEN created_at < now() - make_interval(hours => :hours) THEN now() END
WHERE id = :id AND ended_at IS NULL RETURNING ended_at IS NOT NULL
"""

_PRUNE = "DELETE FROM llm_notices WHERE coalesce(ended_at, created_at) < now() - make_interval(days => :days)"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice that was taken for sending."""

    id: uuid.UUID
    kind: str
    run_id: uuid.UUID
    created_at: datetime
    data: Mapping[str, Any]
    attempts: int


class Outbox:
    """Writes what has to be told of a run's ending, in the transaction that ends it."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def record(self, connection: sa.Connection, ending: Ending) -> None:
        """Write the notices of this ending; nothing where there is nothing to tell."""
        values = {"id": ending.run_id, "ended": list(ENDED)}
        before = connection.execute(sa.text(_BEFORE), values).scalar()
        removed = removed_keys(ending)
        use = requests_of(connection, removed, days=USE_DAYS) if removed else {}
        for notice in notices_of(ending, before=before, use=use):
            connection.execute(
                sa.text(_INSERT),
                {"id": self._ids(), "kind": notice.kind, "run_id": ending.run_id, "data": json.dumps(notice.data)},
            )


def take(connection: sa.Connection, *, limit: int) -> Sequence[Waiting]:
    """Take up to so many notices that are due; none is given to two senders within its pause."""
    values = {"first": FIRST_PAUSE_SECONDS, "longest": LONGEST_PAUSE_SECONDS, "limit": limit}
    return [Waiting(*row) for row in connection.execute(sa.text(_TAKE), values)]


def delivered(connection: sa.Connection, notice: Waiting) -> None:
    """Note that the receiver took it."""
    connection.execute(sa.text(_DELIVERED), {"id": notice.id})


def refused(connection: sa.Connection, notice: Waiting, why: str) -> bool:
    """Note why it could not be delivered; returns whether it is given up, which it is after GIVE_UP_HOURS."""
    values = {"id": notice.id, "error": why, "hours": GIVE_UP_HOURS}
    return bool(connection.execute(sa.text(_REFUSED), values).scalar())


def prune(connection: sa.Connection) -> int:
    """Delete notices of long ago; returns their number."""
    return connection.execute(sa.text(_PRUNE), {"days": KEEP_DAYS}).rowcount
