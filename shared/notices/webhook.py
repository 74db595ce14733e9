"""The webhook: a signed POST for each notice, within a total deadline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import httpx

from shared.certificates import trusted
from shared.notices.deliveries import Waiting
from shared.notices.signing import HEADER, sign

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
        async with httpx.AsyncClient(
            verify=trusted(), trust_env=False, follow_redirects=False, timeout=self._deadline_seconds
        ) as client:
            return await asyncio.gather(*(self._post(client, notice) for notice in notices))

    async def _post(self, client: httpx.AsyncClient, notice: Waiting) -> str | None:
        """Only the head of the answer is read."""
        body = encode(notice)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "llm-refresh",
            HEADER: sign(self._secret, body, timestamp=int(self._now().timestamp())),
        }
        try:
            # httpx's own time-outs are for each read: a receiver that drips would never meet them.
            async with (
                asyncio.timeout(self._deadline_seconds),
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                return None if response.is_success else f"the receiver answered HTTP {response.status_code}"
        except (TimeoutError, httpx.TimeoutException):
            return f"the receiver did not answer within {self._deadline_seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # By its type: texts of errors can quote the address, and that may hold a token of the receiver's.
            return f"the receiver could not be reached ({type(error).__name__})"


def encode(notice: Waiting) -> bytes:
    """The body that is signed and sent: the same bytes at each attempt."""
    content = {
        "id": str(notice.id),
        "kind": notice.kind,
        "at": notice.created_at.astimezone(UTC).isoformat(),
        "run_id": str(notice.run_id),
        "data": dict(notice.data),
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
