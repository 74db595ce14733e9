"""What upkeep does for webhooks: send events to endpoints, switch off those that fail for days, forget what is old."""

from __future__ import annotations

from shared.clock import new_id, utc_now
from shared.notices.outbox import Outbox
from shared.webhooks import deliveries
from shared.webhooks.sender import EventSender, record_nobody
from worker.runtime import Runtime
from worker.upkeep.loop import Duty


def webhook_duties(runtime: Runtime) -> list[Duty]:
    """The duties of every worker."""
    settings = runtime.settings
    sender = EventSender(
        runtime.database,
        local=settings.local,
        now=utc_now,
        record_disabled=Outbox(new_id).record_disabled if settings.notifies else record_nobody,
    )

    def forget() -> None:
        with runtime.database.transaction() as connection:
            deliveries.prune(connection)

    return [
        Duty("webhook events", 1, sender.send_due, apart=True),
        Duty("failing webhooks", 30, sender.disable_failing),
        Duty("old webhook events", 3600, forget),
    ]
