"""Limits of this process: how many files and connections it may have open, and how it gives memory back."""

from __future__ import annotations

import contextlib
import ctypes
import resource

WANTED = 65_536
RESERVED = 300
"""For PostgreSQL, Redis, logs and libraries of a web process."""
MAX_CONNECTIONS = 4000
READERS_SHARE = 0.9
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h of glibc
LARGE_BYTES = 256 * 1024


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


def return_large_blocks() -> None:
    """Let large blocks go back to the system when they are freed. Does nothing where malloc is not glibc's.

    glibc raises the size from which it does so with every large block that is freed, up to 32 MiB: answers of some
    megabytes then lie in its heaps, between small blocks that live longer, and the process keeps twice their size.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 2)
