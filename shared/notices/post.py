"""One signed POST: what notices and callers' events have in common on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from shared.signing import signed_headers


@dataclass(frozen=True, slots=True)
class PostOutcome:
    """How a receiver took a message. `error` is None where it did, and holds nothing of the address."""

    status: int | None
    """of the answer; None where there was none"""
    error: str | None
    retry_after_seconds: float | None = None


async def post_signed(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    *,
    secrets: Sequence[str],
    message_id: str,
    timestamp: int,
    deadline_seconds: float,
) -> PostOutcome:
    """Send a body within the deadline, however slowly the receiver answers. A status from 200 to 299 is success.

    Each of the secrets signs it.
    No redirect is followed, no proxy of the environment is used, and only the head of the answer is read.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "llm-refresh"}
    headers |= signed_headers(secrets, body, message_id=message_id, timestamp=timestamp)
    try:
        # aiohttp's own time-outs begin anew with each step: a receiver that drips would never meet them.
        async with (
            asyncio.timeout(deadline_seconds),
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            response.close()  # the body of the answer is nobody's
            if 200 <= response.status < 300:
                return PostOutcome(response.status, None)
            error = f"the receiver answered HTTP {response.status}"
            return PostOutcome(response.status, error, _seconds(response.headers.get("Retry-After")))
    except TimeoutError:
        return PostOutcome(None, f"the receiver did not answer within {deadline_seconds:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        refused = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(refused, AddressRefused):
            return PostOutcome(None, str(refused))
        # By its type: texts of errors can quote the address, and that may hold a token of the receiver's.
        return PostOutcome(None, f"the receiver could not be reached ({type(error).__name__})")


class AddressRefused(OSError):
    """Nothing is sent to where a name leads. The text says why, and holds no address."""


def _seconds(retry_after: str | None) -> float | None:
    """The pause that an answer asks for; its other form, a date, is nobody's here."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() and len(retry_after) < 7 else None
