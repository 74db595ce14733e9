"""The queue of refreshes: who asks for a run, and which runs upkeep asks for by itself."""

from __future__ import annotations

import uuid
from datetime import datetime

from shared.catalogue.sync import holds, queued_runs, store
from shared.catalogue.sync.options import RefreshOptions
from shared.clock import Ids
from shared.db import Connection, Database
from shared.vocabulary import RunTrigger

NEW_SOURCE_PAUSE_SECONDS = 3600.0
"""Upkeep refreshes for a new source at most once in so long: during an upgrade, processes may have different ones."""


class RunQueue:
    """Queues runs, for whichever source is set up. One may serve many threads."""

    def __init__(self, database: Database, *, configured_source: str, ids: Ids) -> None:
        self._database = database
        self._configured_source = configured_source
        self._ids = ids

    def request(
        self,
        options: RefreshOptions,
        *,
        trigger: RunTrigger,
        actor: str,
        request_id: str | None = None,
        task_id: str | None = None,
    ) -> tuple[uuid.UUID, str | None, bool]:
        """Queue a run or join one that has not begun; returns its id, its task's id and whether it is new."""
        with self._database.transaction() as connection:
            return queued_runs.enqueue(
                connection,
                run_id=self._ids(),
                trigger=trigger,
                options=options.as_row(),
                source=options.source or self._configured_source,
                actor=actor,
                request_id=request_id,
                task_id=task_id,
            )

    def request_night(
        self, due: datetime, *, trigger: RunTrigger, task_id: str | None, actor: str
    ) -> tuple[uuid.UUID, bool]:
        """Queue the run of the night that was due at this local time; however often asked, there is one."""
        with self._database.transaction() as connection:
            return queued_runs.enqueue_night(
                connection, run_id=self._ids(), trigger=trigger, due=due, task_id=task_id, actor=actor
            )

    def request_for_new_source(self) -> uuid.UUID | None:
        """Queue one run when the last good one asked another source than is set up now; None where none is due.

        Whether that run is good, held or failed: upkeep does not ask again, the next night does.
        """
        source = self._configured_source
        with self._database.transaction() as connection:
            if not self._is_new(connection, source):
                return None
        with self._database.transaction() as connection:
            store.lock(connection)  # workers take turns: one of them queues it
            if not self._is_new(connection, source):
                return None
            run_id, _, new = queued_runs.enqueue(
                connection,
                run_id=self._ids(),
                trigger="startup",
                options={},
                source=source,
                actor="upkeep",
                request_id=None,
                task_id=None,
                is_published=False,
            )
        return run_id if new else None

    def _is_new(self, connection: Connection, source: str) -> bool:
        return (
            queued_runs.source_changed(connection, source)
            and not queued_runs.source_tried(connection, source)
            and not queued_runs.followed_source(connection, pause_seconds=NEW_SOURCE_PAUSE_SECONDS)
        )

    def needs_first(self) -> bool:
        """Whether `make up` has to refresh: no run was ever good, or the last good one asked another source.

        Not while a list of the source that is set up now is held: that waits for a decision.
        """
        source = self._configured_source
        with self._database.transaction() as connection:
            if not queued_runs.ever_succeeded(connection):
                return True
            hold = holds.open_hold(connection)
            return queued_runs.source_changed(connection, source) and (hold is None or hold.source != source)

    def request_after_refusal(self) -> uuid.UUID | None:
        """Queue a run where the gateway has refused a model that it listed; None when none is due."""
        run_id = self._ids()
        with self._database.transaction() as connection:
            new = queued_runs.enqueue_after_refusal(connection, run_id=run_id, source=self._configured_source)
        return run_id if new else None

    def publish_soon(self, run_id: uuid.UUID) -> None:
        """Let upkeep send the message for a queued run at its next round: Redis did not take it."""
        with self._database.transaction() as connection:
            queued_runs.publish_soon(connection, run_id)
