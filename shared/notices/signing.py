"""The signature of a notice: HMAC-SHA256 over time and body, so that neither can be made up, or sent again later."""

from __future__ import annotations

import hashlib
import hmac
import re

HEADER = "X-LLM-Refresh-Signature"
TOLERANCE_SECONDS = 300


def sign(secret: str, body: bytes, *, timestamp: int) -> str:
    """The value of the header: `t=<Unix seconds>,v1=<hex of HMAC-SHA256 over "<t>.<body>">`."""
    return f"t={timestamp},v1={_digest(secret, body, timestamp)}"


def verify(secret: str, body: bytes, header: str, *, now: float) -> bool:
    """Whether the header is a signature of this very body, made less than TOLERANCE_SECONDS before `now`.

    What a receiver does; docs/operations.md shows it without this module.
    """
    match = re.fullmatch(r"t=(\d{1,12}),v1=([0-9a-f]{64})", header)
    if match is None or abs(now - int(match[1])) > TOLERANCE_SECONDS:
        return False
    return hmac.compare_digest(match[2], _digest(secret, body, int(match[1])))


def _digest(secret: str, body: bytes, timestamp: int) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
