"""What processes cost, read from /proc (Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SESSION, _UTIME, _STIME = 3, 11, 12  # fields of /proc/<pid>/stat after the name


def cpu_seconds(session: int) -> float:
    """CPU time of all processes of a session, which is what a process of the Procfile and its children are."""
    return sum(int(fields[_UTIME]) + int(fields[_STIME]) for _, fields in _processes(session)) / _TICKS


def resident_megabytes(session: int) -> float:
    """The memory of all processes of a session in 10^6 bytes, what they share counted once (PSS)."""
    kilobytes = 0
    for process, _ in _processes(session):
        with contextlib.suppress(OSError):  # it has ended
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


def _processes(session: int) -> Iterator[tuple[Path, list[str]]]:
    """The processes of a session, each with the fields of its `stat` after the name."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            fields = (process / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[_SESSION]) == session:
            yield process, fields


def cpu_of_one(pid: int) -> float:
    """CPU time of one process of one thread, such as PostgreSQL's for one connection; finer than `cpu_seconds`."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def peak_megabytes(pid: int | str = "self") -> float:
    """The most memory (resident) that a process has ever had, in 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError("VmHWM")
