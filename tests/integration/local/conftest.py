import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.folders import server_folder
from harness.waiting import live_processes
from worker.local.home import PASSWORDS_FILE
from worker.local.services import start_services

ROOT = Path(__file__).parents[3]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own; whatever still runs in it is ended afterwards."""
    with server_folder("test") as made:
        made.chmod(0o755)
        yield made
        for process in live_processes(made):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.split(":")[0]), signal.SIGKILL)


@pytest.fixture(scope="package")
def made_home() -> Iterator[Path]:
    """A home whose PostgreSQL has been made, stopped."""
    with server_folder("home") as home:
        home.chmod(0o755)
        start_services(home, postgres=True, valkey=False, durable=False, say=lambda _: None).stop()
        yield home


def copy_home(made: Path, home: Path) -> None:
    """Give a test its own copy: for those that are not about the first start, and need not make a PostgreSQL."""
    home.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", made / PASSWORDS_FILE, made / "postgres", home], check=True)


@pytest.fixture
def start_python(folder: Path) -> Iterator[Start]:
    """Start Python code in a process group of its own, its output readable line by line."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "MARK": str(folder), **(environ or {})},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
