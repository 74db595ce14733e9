"""What upkeep does for notices: send those that wait."""

from __future__ import annotations

from shared.clock import utc_now
from shared.notices import outbox
from shared.notices.sender import Sender
from worker.runtime import Runtime
from worker.upkeep import Duty


def notice_duties(parts: Runtime) -> list[Duty]:
    """The duties of every worker; none where no webhook is set."""
    url, secret = parts.settings.notify_webhook_url, parts.settings.notify_webhook_secret
    if url is None or secret is None:
        return []
    sender = Sender(parts.database, url=url, secret=secret.get_secret_value(), now=utc_now)

    def forget() -> None:
        with parts.database.transaction() as connection:
            outbox.prune(connection)

    return [Duty("notices", 2, sender.send_waiting, apart=True), Duty("old notices", 3600, forget)]
