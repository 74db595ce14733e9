"""What upkeep does for notices: send those that wait, each receiver on a thread of its own."""

from __future__ import annotations

import structlog

from shared.notices import deliveries, outbox
from shared.notices.receivers import receivers_of
from shared.notices.sender import Sender
from worker.runtime import Runtime
from worker.upkeep.loop import Duty

log = structlog.get_logger(__name__)


def notice_duties(runtime: Runtime) -> list[Duty]:
    """The duties of every worker; none where nobody is to be notified."""
    receivers = receivers_of(runtime.settings)
    if not receivers:
        return []
    ids = [receiver.id for receiver in receivers]
    senders = [Sender(runtime.database, receiver, receivers=ids) for receiver in receivers]

    def maintain() -> None:
        with runtime.database.transaction() as connection:
            maintenance = deliveries.maintain(connection, ids)
        if maintenance.readdressed:
            log.warning(
                "llm_notice.readdressed",
                message="Notices of an old address go to others",
                notices=maintenance.readdressed,
            )
        if maintenance.given_up:
            log.error("llm_notice.given_up", message="Notices given up", notices=maintenance.given_up)

    def forget() -> None:
        with runtime.database.transaction() as connection:
            outbox.prune(connection)

    return [
        *(
            Duty(f"notices to {receiver.id}", 2, sender.send_waiting, apart=True)
            for receiver, sender in zip(receivers, senders, strict=True)
        ),
        Duty("deliveries of notices", 60, maintain),
        Duty("old notices", 3600, forget),
    ]
