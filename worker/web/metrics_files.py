"""The files in which web processes add up their figures: taken in full beforehand, so that a full disk ends nobody.

prometheus_client writes to a mapped file that it makes without blocks. On a full disk such a write is no error but a
SIGBUS, which ends the process: every request of it, and of those that follow.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own variable, set by gunicorn's master: where its processes keep their figures for each other."""
FILE_BYTES = 2 * 1024 * 1024
"""Room for `MAX_LABEL_SETS` (worker/web/metrics.py), each of about 4 kB."""


def make_folder(at: Path | None) -> Path:
    """A fresh folder: there, where what a killed run has left is removed, or a temporary one. Raises OSError."""
    if at is None:
        return Path(tempfile.mkdtemp(prefix="llm-refresh-web-"))
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(mode=0o700, parents=True)
    return at


def reserve(folder: Path, pid: int) -> None:
    """Make a process's file with all its blocks, before prometheus_client opens it. Raises OSError on a full disk."""
    file = _file(folder, pid)
    try:
        with file.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, FILE_BYTES)
            else:
                stream.write(bytes(FILE_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
    except OSError:
        file.unlink(missing_ok=True)
        raise


def shrink(folder: Path, pid: int) -> None:
    """Give back what a process that has ended did not use; its figures still count."""
    try:
        with _file(folder, pid).open("r+b") as stream:
            used = struct.unpack("i", stream.read(4))[0]
            if 8 <= used < FILE_BYTES:
                stream.truncate(used)
    except (OSError, struct.error):
        return


def _file(folder: Path, pid: int) -> Path:
    return folder / f"histogram_{pid}.db"  # the name that prometheus_client gives the file of all histograms
