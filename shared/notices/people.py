"""Notices for people, through Apprise: Slack, Teams, Mattermost, e-mail and the rest. It runs once for each batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Final

from shared.notices.apprise_calls import DEADLINE_SECONDS, ask
from shared.notices.deliveries import Waiting

LONGEST_TEXT: Final = 1500
"""Characters; some services refuse longer messages."""

_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "held": ("the list was held", "warning"),
    "failed": ("a refresh failed", "failure"),
    "recovered": ("the refresh works again", "success"),
    "promoted": ("another default model", "warning"),
    "repointed": ("ids mean other models", "warning"),
    "removed": ("models in use are gone", "warning"),
    "webhook_disabled": ("a webhook was switched off", "warning"),
}
"""kind -> title, and Apprise's type of message"""


class People:
    """Sends notices to one address of Apprise's, one after the other."""

    batch = 5

    def __init__(self, url: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._url = url
        self._deadline_seconds = deadline_seconds
        self.lease_seconds = deadline_seconds + 5

    def send(self, notices: Sequence[Waiting]) -> list[str | None]:
        """Why the receiver did not take each notice; None when it did."""
        request = {"url": self._url, "messages": [message_of(notice) for notice in notices]}
        lines, in_time = ask(request, self._deadline_seconds)
        results = [line["error"] for line in lines[: len(notices)]]
        missing = "Apprise ended" if in_time else f"the receiver did not answer within {self._deadline_seconds:g} s"
        return results + [missing] * (len(notices) - len(results))


def message_of(notice: Waiting) -> dict[str, str]:
    """What a person reads: `title`, `body`, and Apprise's `type`."""
    title, level = _TITLES.get(notice.kind, (notice.kind, "info"))
    text = str(notice.data.get("text", notice.kind))
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT - 1]}…"
    written = notice.created_at.astimezone(UTC)
    run = "" if notice.run_id is None else f"Run {notice.run_id}, "
    body = f"{text}\n\n{run}{written:%Y-%m-%d %H:%M} UTC; notice {notice.id}"
    return {"title": f"LLM Refresh: {title}", "body": body, "type": level}


def receiver_id(url: str) -> str:
    """What a receiver is called in the database: its service, and a digest that is too slow to guess passwords with."""
    digest = hashlib.scrypt(url.encode(), salt=b"llm-refresh receiver", n=2**14, r=8, p=1, dklen=6)
    return f"{scheme_of(url)}-{digest.hex()}"


def scheme_of(url: str) -> str:
    """The service that an address names: slack, mailto, json."""
    return url.partition("://")[0].lower()
