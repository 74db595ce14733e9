"""Where the servers of tests keep their data."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")  # Linux has it; a container's may be small
_ROOM_BYTES = 2 * 1024**3
_OURS = "llm-refresh-servers-"


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """A new folder, removed at the end: in memory where there is room, as each database of a test is 330 new files.

    Not pytest's tmp_path: as root, PostgreSQL runs as another user, who cannot pass through pytest's folders.
    """
    _forget_the_killed()
    folder = Path(tempfile.mkdtemp(prefix=f"{_OURS}{name}-{os.getpid()}-", dir=_memory()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _forget_the_killed() -> None:
    """Give back the memory that tests left which were killed."""
    for left in _MEMORY.glob(f"{_OURS}*"):
        if not Path(f"/proc/{left.name.split('-')[-2]}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _memory() -> Path | None:
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
        return _MEMORY
    return None
