"""Which processes still belong to a folder. Linux only: it reads /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def live_processes(folder: Path) -> list[str]:
    """Pid and command line of each other process that works in the folder, or has it in its arguments or variables."""
    mark = os.fsencode(folder)
    values = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            identity = command + (process / "environ").read_bytes() + os.fsencode((process / "cwd").readlink())
        except OSError:  # it has ended since, or it is not ours to look at
            continue
        if mark in identity:
            values.append(f"{process.name}: {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return values


def wait_for(what: Callable[[], T], *, seconds: float = 20.0) -> T:
    """Ask until the answer is true, and return it. Raises AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return answer
