"""Sends notices: a signed POST each, within a total deadline, again later when it is not taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx
import structlog

from shared.certificates import trusted
from shared.db import Database
from shared.notices import outbox
from shared.notices.outbox import Waiting
from shared.notices.signing import HEADER, sign

log = structlog.get_logger(__name__)

BATCH = 10
DEADLINE_SECONDS = 8.0
"""For one notice, however slowly the receiver answers."""


class Sender:
    """Sends what waits in the outbox. Several may: a notice is taken by one at a time, and may arrive twice."""

    def __init__(
        self,
        database: Database,
        *,
        url: str,
        secret: str,
        now: Callable[[], datetime],
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._database = database
        self._url = url
        self._secret = secret
        self._now = now

    def send_waiting(self) -> int:
        """Send the notices that are due; returns how many were delivered. No transaction is open meanwhile.

        Raises DatabaseUnavailable.
        """
        with self._database.transaction() as connection:
            waiting = outbox.take(connection, limit=BATCH)
        if not waiting:
            return 0
        answers = asyncio.run(self._posted(waiting))
        given_up = set()
        with self._database.transaction() as connection:
            for notice, wrong in zip(waiting, answers, strict=True):
                if wrong is None:
                    outbox.delivered(connection, notice)
                elif outbox.refused(connection, notice, wrong):
                    given_up.add(notice.id)
        for notice, wrong in zip(waiting, answers, strict=True):
            _tell(notice, wrong, given_up=notice.id in given_up)
        return answers.count(None)

    async def _posted(self, waiting: Sequence[Waiting]) -> list[str | None]:
        async with httpx.AsyncClient(
            verify=trusted(), trust_env=False, follow_redirects=False, timeout=self._deadline_seconds
        ) as client:
            return await asyncio.gather(*(self._post(client, notice) for notice in waiting))

    async def _post(self, client: httpx.AsyncClient, notice: Waiting) -> str | None:
        """Why the receiver did not take it; None when it did. Only the head of its answer is read."""
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
    told = {
        "id": str(notice.id),
        "kind": notice.kind,
        "at": notice.created_at.astimezone(UTC).isoformat(),
        "run_id": str(notice.run_id),
        "data": dict(notice.data),
    }
    return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _tell(notice: Waiting, wrong: str | None, *, given_up: bool) -> None:
    told = {"notice_id": str(notice.id), "kind": notice.kind, "attempts": notice.attempts}
    if wrong is None:
        log.info("llm_notice.delivered", message="[LLM Refresh] Notice delivered", **told)
    elif given_up:
        log.error("llm_notice.given_up", message="[LLM Refresh] Notice given up", why=wrong, **told)
    else:
        log.warning("llm_notice.refused", message="[LLM Refresh] Notice not delivered yet", why=wrong, **told)
