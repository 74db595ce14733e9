"""Time and ids. Both are passed in wherever they matter, so that a test can say what they are."""

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

_NANOSECONDS = 1_000_000
"""in a millisecond"""

Ids = Callable[[], uuid.UUID]


def utc_now() -> datetime:
    """The process's own clock, aware, in UTC. Leases and deadlines use the database's clock instead."""
    return datetime.now(UTC)


def new_id() -> uuid.UUID:
    """A UUID version 7, by which what this process makes has the order in which it was made.

    48 bits of Unix milliseconds, 12 bits of what is left of the time, then random bits (RFC 9562, sections 5.7 and 6.2,
    method 3). With random bits after the milliseconds, chats accepted within one of them would have their turn in any
    order.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), _NANOSECONDS)
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 7 << 76
    value |= (nanoseconds * (1 << 12) // _NANOSECONDS) << 64
    value |= 0b10 << 62
    return uuid.UUID(int=value | int.from_bytes(os.urandom(8)) >> 2)
