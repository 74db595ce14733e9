"""How many files and connections this process may have open."""

from __future__ import annotations

import contextlib
import resource

WANTED = 65_536
RESERVED = 300
"""For PostgreSQL, Redis, logs and libraries of a web process."""
MAX_CONNECTIONS = 4000
READERS_SHARE = 0.9


def raise_limit() -> int:
    """Take as many open files as the system gives; the usual soft limit is 1,024. Returns the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        with contextlib.suppress(ValueError, OSError):  # macOS says unlimited and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return limit()


def limit() -> int:
    """The number of files that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connections(files: int) -> int:
    """How many connections a web process takes with so many files: accepting one more would fail, and stop them all."""
    return max(16, min(MAX_CONNECTIONS, files - RESERVED))


def readers(files: int) -> int:
    """How many of them may be readers that stay; the rest is for requests that end."""
    return int(connections(files) * READERS_SHARE)
