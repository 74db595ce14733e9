"""A file system that takes calls and never answers, as a lost network mount does."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def hung_disk(folder: Path) -> Iterator[None]:
    """Mount one over `folder`. Every call below it waits, and fails at the end of the block. Raises OSError, also
    where this user may not mount."""
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)  # nobody reads it: the kernel's questions stay open
    try:
        options = f"fd={server},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if _libc.mount(b"hung", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount", str(folder))
        try:
            yield
        finally:
            _libc.umount2(os.fsencode(folder), MNT_DETACH)
    finally:
        os.close(server)  # ends the calls that wait
