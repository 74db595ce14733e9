"""Memory of a process that handles large texts."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h of glibc
LARGE_BYTES = 256 * 1024


def return_large_blocks() -> None:
    """Let large blocks go back to the system when they are freed. Does nothing where malloc is not glibc's.

    glibc raises the size from which it does so with every large block that is freed, up to 32 MiB: answers of some
    megabytes then lie in its heaps, between small blocks that live longer, and the process keeps twice their size.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 2)
