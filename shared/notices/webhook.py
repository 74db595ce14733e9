"""The webhook of operators: a signed POST for each notice, within a total deadline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import aiohttp

from shared.certificates import ssl_context
from shared.notices.deliveries import Waiting
from shared.notices.post import post_signed

DEADLINE_SECONDS: Final = 8.0
"""For one notice, however slowly the receiver answers."""


class Webhook:
    """Sends notices to one address, several at once."""

    batch = 10

    def __init__(
        self, url: str, secret: str, *, now: Callable[[], datetime], deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._url = url
        self._secret = secret
        self._now = now
        self._deadline_seconds = deadline_seconds
        self.lease_seconds = deadline_seconds + 2

    def send(self, notices: Sequence[Waiting]) -> list[str | None]:
        """Why the receiver did not take each notice; None when it did."""
        return asyncio.run(self._post_all(notices))

    async def _post_all(self, notices: Sequence[Waiting]) -> list[str | None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=ssl_context())) as session:
            return await asyncio.gather(*(self._post(session, notice) for notice in notices))

    async def _post(self, session: aiohttp.ClientSession, notice: Waiting) -> str | None:
        outcome = await post_signed(
            session,
            self._url,
            encode(notice),
            secrets=(self._secret,),
            message_id=str(notice.id),
            timestamp=int(self._now().timestamp()),
            deadline_seconds=self._deadline_seconds,
        )
        return outcome.error


def encode(notice: Waiting) -> bytes:
    """The body that is signed and sent: the same bytes at each attempt."""
    content = {
        "id": str(notice.id),
        "kind": notice.kind,
        "at": notice.created_at.astimezone(UTC).isoformat(),
        "run_id": None if notice.run_id is None else str(notice.run_id),
        "data": dict(notice.data),
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
