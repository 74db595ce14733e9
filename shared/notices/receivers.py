"""Who gets notices, from the settings: the webhook, and people."""

from __future__ import annotations

from shared.clock import utc_now
from shared.notices.people import People, receiver_id, scheme_of
from shared.notices.sender import Receiver
from shared.notices.webhook import Webhook
from shared.settings import Settings

WEBHOOK = "webhook"


def receivers_of(settings: Settings) -> list[Receiver]:
    """Each with its own channel; an address that is given twice counts once."""
    receivers: dict[str, Receiver] = {}
    url, secret = settings.notify_webhook_url, settings.notify_webhook_secret
    if url is not None and secret is not None:
        channel = Webhook(url, secret.get_secret_value(), now=utc_now)
        receivers[WEBHOOK] = Receiver(WEBHOOK, "NOTIFY_WEBHOOK_URL", channel)
    for number, secret_url in enumerate(settings.notify_urls, start=1):
        address = secret_url.get_secret_value()
        receiver = receiver_id(address)
        label = f"address {number} of NOTIFY_URLS ({scheme_of(address)})"
        receivers.setdefault(receiver, Receiver(receiver, label, People(address)))
    return list(receivers.values())
