"""The statements over `llm_notices`: write a notice with what it is about, forget it long after."""

from __future__ import annotations

import json
import uuid
from typing import Final

import sqlalchemy as sa

from shared.catalogue.sync.outcomes import RunEnded
from shared.catalogue.sync.rows import USE_DAYS
from shared.chat.usage import requests_of
from shared.clock import Ids
from shared.notices.news import DisabledEndpoint, Notice, notice_of_endpoint, notices_of, removed_keys
from shared.vocabulary import ENDED_RUNS

KEEP_DAYS: Final = 30
"""For so long a notice is kept after its end."""


# Selects how the run that ended before this one ended; it sorts the table of runs, which is short.
_BEFORE = """
SELECT status FROM llm_sync_runs WHERE id <> :id AND status = ANY(:ended) AND finished_at IS NOT NULL
ORDER BY finished_at DESC, id DESC LIMIT 1
"""


# Inserts one notice (llm_notices_pkey).
_INSERT = "INSERT INTO llm_notices (id, kind, run_id, data) VALUES (:id, :kind, :run_id, CAST(:data AS jsonb))"


class Outbox:
    """Writes what has to be told, in the transaction that makes it true."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def record(self, connection: sa.Connection, ending: RunEnded) -> None:
        """Write the notices of this ending; nothing where there is nothing to tell."""
        values = {"id": ending.run_id, "ended": list(ENDED_RUNS)}
        before = connection.execute(sa.text(_BEFORE), values).scalar()
        removed = removed_keys(ending)
        use = requests_of(connection, removed, days=USE_DAYS) if removed else {}
        for notice in notices_of(ending, before=before, use=use):
            self._insert(connection, notice, ending.run_id)

    def record_disabled(self, connection: sa.Connection, endpoint: DisabledEndpoint) -> None:
        """Write the notice of a webhook endpoint that was switched off."""
        self._insert(connection, notice_of_endpoint(endpoint), None)

    def _insert(self, connection: sa.Connection, notice: Notice, run_id: uuid.UUID | None) -> None:
        connection.execute(
            sa.text(_INSERT),
            {"id": self._ids(), "kind": notice.kind, "run_id": run_id, "data": json.dumps(notice.data)},
        )


# Deletes notices that ended, or were written, before a moment; it reads the table, which these deletions keep short.
_PRUNE = "DELETE FROM llm_notices WHERE coalesce(ended_at, created_at) < now() - make_interval(days => :days)"


def prune(connection: sa.Connection) -> int:
    """Delete notices of long ago; returns their number."""
    return connection.execute(sa.text(_PRUNE), {"days": KEEP_DAYS}).rowcount
