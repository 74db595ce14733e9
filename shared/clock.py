"""Time and ids. Both are passed in wherever they matter, so that a test can say what they are."""

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

Ids = Callable[[], uuid.UUID]


def utc_now() -> datetime:
    """The process's own clock, aware, in UTC. Leases and deadlines use the database's clock instead."""
    return datetime.now(UTC)


def new_id() -> uuid.UUID:
    """A UUID version 7: 48 bits of Unix milliseconds, then random bits (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return uuid.UUID(int=value)
