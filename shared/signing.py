"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, so that nobody makes one up or replays it.

The specification is at standardwebhooks.com; OpenAI's SDKs verify the same (`client.webhooks.unwrap`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_SECONDS: Final = 300

PREFIX: Final = "whsec_"
NEW_SECRET_BYTES: Final = 32
SECRET_BYTES: Final = range(24, 65)


def new_secret() -> str:
    """A secret of 32 random bytes: `whsec_` and their base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_SECRET_BYTES)).decode()


def signing_key(secret: str) -> bytes:
    """The bytes that a secret stands for: after `whsec_` they are base64, else the text itself is meant.

    The second is what a secret of before Standard Webhooks is, here and to OpenAI's SDKs. Raises ValueError, which
    repeats nothing of the secret.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in SECRET_BYTES:
        raise ValueError(f"{PREFIX} must be followed by the base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes")
    return key


def signed_headers(signing_secrets: Sequence[str], body: bytes, *, message_id: str, timestamp: int) -> dict[str, str]:
    """The three headers of a message, with a signature by each secret. `message_id` holds no full stop and stays the
    same when it is sent again; `timestamp` is the moment of this attempt, in Unix seconds. Raises ValueError.
    """
    if "." in message_id:
        raise ValueError("the id of a message must hold no full stop: signatures separate by it")
    return {
        ID: message_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: " ".join(f"v1,{_signature(each, body, message_id, str(timestamp))}" for each in signing_secrets),
    }


def verify(secret: str, body: bytes, headers: Mapping[str, str], *, now: float) -> bool:
    """Whether one of the signatures is of this very body, made less than TOLERANCE_SECONDS from `now`.

    What a receiver does; docs/operations.md shows it without this module. `headers` have lower-case names.
    """
    message_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not message_id or not re.fullmatch(r"[0-9]{1,12}", timestamp) or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    expected = f"v1,{_signature(secret, body, message_id, timestamp)}".encode()
    signatures = headers.get(SIGNATURE, "").split()
    return any(hmac.compare_digest(expected, signature.encode()) for signature in signatures)


def _signature(secret: str, body: bytes, message_id: str, timestamp: str) -> str:
    content = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(signing_key(secret), content, hashlib.sha256).digest()).decode()
