"""`llm-refresh up` as a real process: every process of the Procfile, on ports and in a home of its own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.folders import server_folder
from harness.waiting import wait_for
from shared.environment import STATE_FILE
from worker.local.ports import free_port

ROOT = Path(__file__).parents[2]
INHERITED = ("PATH", "HOME", "LANG", "LLM_REFRESH_POSTGRES_BIN", "LLM_REFRESH_VALKEY_SERVER")
READY_SECONDS = 90.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class RunningUp:
    """Where it listens, and what it has said."""

    url: str
    home: Path
    lines: list[str]

    @property
    def state(self) -> dict[str, str]:
        """The addresses that it left in its home, by the names of the variables."""
        left: dict[str, str] = json.loads((self.home / STATE_FILE).read_text())
        return left


@contextlib.contextmanager
def running_up(**variables: str) -> Iterator[RunningUp]:
    """Start everything with these variables and wait until it is ready; at the end nothing is left of it."""
    port = free_port()
    with server_folder("up") as home:
        environ = own_environment(
            LLM_REFRESH_HOME=str(home), PORT=str(port), FLOWER_PORT=str(free_port()), WEB_CONCURRENCY="1", **variables
        )
        lines: list[str] = []
        with process([sys.executable, "-m", "worker.cli", "up"], environ, lines):
            yield RunningUp(f"http://127.0.0.1:{port}", home, lines)


@contextlib.contextmanager
def process(command: list[str], environ: Mapping[str, str], lines: list[str], ready: str = "ready: ") -> Iterator[None]:
    """A process in the project's folder, from the line that holds `ready` to its end."""
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    reader = threading.Thread(target=_read, args=(running.stdout, lines))
    reader.start()
    try:
        wait_for(lambda: any(ready in line for line in lines) or running.poll() is not None, seconds=READY_SECONDS)
        assert running.poll() is None, "".join(lines)
        yield
    finally:
        running.terminate()
        try:
            running.wait(STOP_SECONDS)
        finally:
            running.kill()
            running.wait()
            reader.join(10)
            running.stdout.close()


def _read(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)


def own_environment(**variables: str) -> dict[str, str]:
    """What a process needs of ours, and these: no setting of the person who runs the tests."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | variables
