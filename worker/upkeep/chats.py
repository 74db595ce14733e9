"""What upkeep does for chats, in every worker: the lost lease, the lost message, the passed deadline, the old chat."""

from __future__ import annotations

import time

import structlog
from celery import Celery

from shared.chat import sweeper, usage
from shared.db import DatabaseUnavailable
from worker.flower.task_events import ChatEnds
from worker.messages import send_dispatched
from worker.runtime import Runtime
from worker.upkeep.loop import Duty

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 2.0
SWEEP_TIMEOUT_SECONDS = 5.0
SLEPT_SECONDS = 10.0
DELETE_SECONDS = 60.0
DELETE_BATCH = 1000
DELETE_BATCHES = 20
"""In one round, so that other duties have their turn."""
_CODES = {"failed": "attempts_exhausted"}
"""The error's code of a chat that upkeep ends with this status, where it is not the status."""


class LeaseWatch:
    """When leases that ran out may be taken back: not right after PostgreSQL was away, or everything slept.

    Nobody could renew a lease meanwhile. Who still works on a chat does it first, and no call is made twice. A process
    that has just started has not seen whether PostgreSQL was away: it waits as well.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._swept_at: float | None = None
        self._failed = False
        self._rests_until = float("-inf")

    def may_take(self, now: float) -> bool:
        """Whether a sweep that begins now takes leases back."""
        slept = self._swept_at is not None and now - self._swept_at > self._lease_seconds + SLEPT_SECONDS
        if self._failed or slept or self._swept_at is None:
            self._rests_until = now + self._lease_seconds / 2
        return now >= self._rests_until

    def failed(self) -> None:
        """A sweep did not come through."""
        self._failed = True

    def swept(self, now: float) -> None:
        """A sweep has come through."""
        self._failed, self._swept_at = False, now


def chat_duties(app: Celery, runtime: Runtime, ends: ChatEnds) -> list[Duty]:
    """The duties of every worker. `ends` tells Flower of the chats that upkeep ends."""
    settings = runtime.settings

    leases = LeaseWatch(settings.chat_lease_seconds)

    def sweep() -> None:
        take = leases.may_take(time.monotonic())
        try:
            with runtime.database.transaction(timeout_seconds=SWEEP_TIMEOUT_SECONDS) as connection:
                swept = sweeper.sweep(connection, max_attempts=settings.chat_max_attempts, leases=take)
        except DatabaseUnavailable:
            leases.failed()
            raise
        leases.swept(time.monotonic())
        runtime.notifier.notify(swept.changed)
        for chat_id in swept.lost_leases:
            log.warning("llm_chat.lease_lost", message="Its worker stopped, the chat goes on", chat_id=str(chat_id))
        for chat_id, status in swept.ended.items():
            log_end = log.info if status == "cancelled" else log.error  # its caller has gone: nothing is wrong here
            log_end("llm_chat.ended_by_upkeep", message="Not answered", chat_id=str(chat_id), status=status)
        ends.publish((chat_id, status, _CODES.get(status)) for chat_id, status in swept.ended.items())
        if swept.resend:
            send_dispatched(app, runtime.database, swept.resend)

    def delete_old() -> None:
        for _ in range(DELETE_BATCHES):
            with runtime.database.transaction() as connection:
                deleted = sweeper.delete_finished(
                    connection, older_than_days=settings.chat_retention_days, limit=DELETE_BATCH
                )
            if deleted < DELETE_BATCH:
                break
        for _ in range(DELETE_BATCHES):
            with runtime.database.transaction() as connection:
                deleted = usage.delete_old(connection, limit=DELETE_BATCH)
            if deleted < DELETE_BATCH:
                return

    return [Duty("open chats", SWEEP_SECONDS, sweep, apart=True), Duty("old chats", DELETE_SECONDS, delete_old)]
