"""Sends what waits in the outbox to one receiver: later again when it is not taken, however others fare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared.db import Database
from shared.notices import deliveries
from shared.notices.deliveries import Waiting

log = structlog.get_logger(__name__)


class NoticeChannel(Protocol):
    """A way to a receiver."""

    batch: int
    """so many notices are sent together"""
    lease_seconds: float
    """longer than sending a batch takes"""

    def send(self, notices: Sequence[Waiting]) -> list[str | None]:
        """Why the receiver did not take each notice, with nothing of its address; None when it did."""


@dataclass(frozen=True)
class Receiver:
    """Somebody who gets notices."""

    id: str
    """in the database; it says nothing secret"""
    label: str
    """for operators: which address of the settings it is"""
    channel: NoticeChannel


class Sender:
    """Sends to one receiver what waits for it. Several may: one at a time takes a notice, and it may arrive twice."""

    def __init__(self, database: Database, receiver: Receiver, *, receivers: Sequence[str]) -> None:
        """`receivers`: the ids of all that are set up, this one among them."""
        self._database = database
        self._receiver = receiver
        self._receivers = receivers

    def send_waiting(self) -> int:
        """Send the notices that are due; returns how many were delivered. No transaction is open meanwhile.

        Raises DatabaseUnavailable.
        """
        receiver = self._receiver
        with self._database.transaction() as connection:
            deliveries.address(connection, self._receivers)
            waiting = deliveries.take(
                connection, receiver.id, limit=receiver.channel.batch, lease_seconds=receiver.channel.lease_seconds
            )
        if not waiting:
            return 0
        results = list(zip(waiting, receiver.channel.send(waiting), strict=True))
        with self._database.transaction() as connection:
            given_up = deliveries.record(connection, receiver.id, results)
        for notice, error in results:
            _log_result(receiver.label, notice, error, given_up=notice.id in given_up)
        return sum(error is None for _, error in results)


def _log_result(receiver: str, notice: Waiting, error: str | None, *, given_up: bool) -> None:
    fields = {"notice_id": str(notice.id), "kind": notice.kind, "receiver": receiver, "attempts": notice.attempts}
    if error is None:
        log.info("llm_notice.delivered", message="Notice delivered", **fields)
    elif given_up:
        log.error("llm_notice.given_up", message="Notice given up", why=error, **fields)
    else:
        log.warning("llm_notice.refused", message="Notice not delivered yet", why=error, **fields)
