"""What a queued chat waits for and where it stands, for the answers of this web process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from shared.chat.dispatch import DispatchLimits
from shared.chat.queue_position import Line, count_ahead, position_of, read_line
from shared.chat.read import Snapshot
from shared.db import Database, DatabaseFailure

log = structlog.get_logger(__name__)

LINE_SECONDS = 1.0
"""So old may be what is known of the line."""
AGAIN_PER_SECOND = 20.0
"""So many readers of events are told anew where their chats stand; the others keep what they were told."""


class QueuePositions:
    """Explains queued chats. One for the web process; may be called in any thread."""

    def __init__(
        self, database: Database, limits: DispatchLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._line = Line()
        self._line_until = float("-inf")
        self._again_at = float("-inf")

    def with_position(self, snapshot: Snapshot) -> Snapshot:
        """The chat with `position` and `waiting_for`, where it is queued; as it is where PostgreSQL is away."""
        if snapshot.status != "queued" or snapshot.body.get("position") is not None:
            return snapshot
        try:
            with self._database.transaction(timeout_seconds=2) as connection:
                if self._clock() >= self._line_until:
                    with self._lock:
                        self._line_until = self._clock() + LINE_SECONDS
                    self._line = read_line(connection, self._limits)
                ahead = count_ahead(connection, snapshot.chat_id, snapshot.subject)
        except DatabaseFailure as error:
            log.warning("llm_web.not_explained", message="Nobody can say where a chat stands", error=str(error))
            return snapshot
        place = position_of(self._line, snapshot.chat_id, snapshot.subject, ahead=ahead)
        held = snapshot.body["waiting_for"]  # a chat that pauses says why in its row
        return _with(
            snapshot,
            position=place.position,
            waiting_for=place.waiting_for if held == "turn" else held,
        )

    def with_new_position(self, snapshot: Snapshot) -> Snapshot | None:
        """The chat as it stands now where that has changed and there is time to look; else None."""
        with self._lock:
            if snapshot.status != "queued" or self._clock() < self._again_at:
                return None
            self._again_at = self._clock() + 1 / AGAIN_PER_SECOND
        now = self.with_position(_with(snapshot, position=None))
        return now if now.body != snapshot.body else None


def _with(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, body={**snapshot.body, **fields})
