"""The heartbeat of a chat process: renews the leases of its calls, and finds those whose chats have ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

from shared.background import BackgroundLoop
from shared.chat import claims
from shared.db import Database, DatabaseFailure

CHECK_SECONDS = 2.0
"""How soon a call is closed whose chat has ended: cancelled, past its deadline, or answered by another process."""
BEAT_SECONDS = 5.0
"""How long the server may take for a heartbeat; a connection that does not answer is replaced in time for the lease."""


class Heartbeat:
    """Beats in a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        attempts: Callable[[], dict[uuid.UUID, int]],
        claimed_ids: Callable[[], set[uuid.UUID]],
        on_ended: Callable[[dict[uuid.UUID, int]], None],
    ) -> None:
        """All three are called in the heartbeat's thread.

        `attempts` are the calls that are made now, by chat; `claimed_ids` all chats that the process has in hand;
        `on_ended` takes those of the attempts whose chats have ended.
        """
        self._database = database
        self._lease_seconds = lease_seconds
        self._attempts, self._claimed_ids, self._on_ended = attempts, claimed_ids, on_ended
        pause = min(CHECK_SECONDS, lease_seconds / 3)
        self._renewals = _every(max(1, int(lease_seconds / 3 / pause)))
        self._renewal_missed = False
        self._beat_at = time.monotonic()
        self._loop = BackgroundLoop(
            "chat-heartbeat",
            self._beat,
            pause_seconds=pause,
            event="llm_chat.no_heartbeat",
            message="Leases not renewed",
            expected=DatabaseFailure,
        )

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self, *, within_seconds: float) -> None:
        """End the thread; returns when it has ended, or after so many seconds."""
        self._loop.stop(within_seconds=within_seconds)

    @property
    def overdue_seconds(self) -> float:
        """How long the heartbeat is late; 0 while leases are renewed as they should be."""
        return max(0.0, time.monotonic() - self._beat_at - self._lease_seconds)

    def _beat(self) -> None:
        """Renew the leases of all calls, keep queued chats in hand, report the calls whose chats have ended."""
        renew = next(self._renewals) or self._renewal_missed
        attempts = self._attempts()
        self._renewal_missed = renew  # until it is done
        still_open = self._still_open(attempts, self._claimed_ids(), renew=renew)
        self._renewal_missed = False
        self._beat_at = time.monotonic()
        ended = {chat_id: attempt for chat_id, attempt in attempts.items() if chat_id not in still_open}
        if ended:
            self._on_ended(ended)

    def _still_open(
        self, attempts: dict[uuid.UUID, int], claimed_ids: set[uuid.UUID], *, renew: bool
    ) -> set[uuid.UUID]:
        if not claimed_ids:
            return set()
        seconds = min(BEAT_SECONDS, self._lease_seconds / 6)
        with self._database.transaction(timeout_seconds=max(0.5, seconds)) as connection:
            if not renew:
                return claims.still_open(connection, attempts)
            still_open = claims.renew(connection, attempts, lease_seconds=self._lease_seconds)
            # Those that nobody has claimed, and those whose lease was lost meanwhile: nobody else need start on them.
            claims.postpone(connection, claimed_ids, seconds=self._lease_seconds)
            return still_open


def _every(number: int) -> Iterator[bool]:
    """True for each so-many-th."""
    while True:
        for place in range(number):
            yield place == number - 1
