"""The Procfile's processes against a test's own servers."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from harness import plain_http
from harness.waiting import wait_for

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
WEB = ("gunicorn", "-c", "python:worker.web.gunicorn_conf", "worker.web.wsgi:app")
REFRESH = (
    "celery",
    "-A",
    "worker.main",
    "worker",
    "--hostname",
    "refresh@%h",
    "-Q",
    "refresh,celery",
    "-P",
    "threads",
    "-c",
    "2",
    "--without-gossip",
    "--without-mingle",
)
BEAT = ("celery", "-A", "worker.main", "beat", "-S", "worker.schedule:Scheduler")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One process, its output in a file; a context manager that ends it with SIGTERM, then SIGKILL."""

    def __init__(self, command: tuple[str, ...], variables: Mapping[str, str], log: Path, *, cwd: Path = ROOT) -> None:
        self.log = log
        # Only what is named here: a test does not depend on the environment it runs in.
        base_environ = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=cwd,
                env={**base_environ, "PYTHONUNBUFFERED": "1", **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = 30) -> int:
        return self._process.wait(seconds)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, 9)
                self._process.wait(10)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Web:
    """A running web process, and a client of it."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.client = plain_http.Client(base_url=self.url, timeout=40)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.client.post(path, **more)

    def answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def workers(self) -> dict[str, int]:
        """How many of each kind are there; no entry for a kind of which there is none."""
        counts: dict[str, int] = self.client.get("/readyz").json()["parts"]["workers"]
        return {kind: number for kind, number in counts.items() if number}


@contextlib.contextmanager
def web(variables: Mapping[str, str], folder: Path, *, port: int | None = None, cwd: Path = ROOT) -> Iterator[Web]:
    """gunicorn with two web processes, ready to answer."""
    chosen_port = port or free_port()
    with Process(WEB, {**variables, "PORT": str(chosen_port)}, folder / f"web-{chosen_port}.log", cwd=cwd) as process:
        running = Web(process, chosen_port)
        try:
            wait_for(lambda: running.answers() or process.exit_code is not None, seconds=30)
            assert process.exit_code is None, process.output
            yield running
        finally:
            running.client.close()


@contextlib.contextmanager
def worker(
    variables: Mapping[str, str], folder: Path, command: tuple[str, ...] = REFRESH, *, cwd: Path = ROOT
) -> Iterator[Process]:
    """A Celery process of the Procfile."""
    name = next((word.split("@")[0] for word in command if "@" in word), command[3])
    with Process(command, variables, folder / f"{name}-{time.monotonic_ns()}.log", cwd=cwd) as process:
        yield process


def local_variables(database_url: str, redis_url: str, **more: str) -> dict[str, str]:
    """The variables of local mode, with auth off, against these servers."""
    return {
        "LLM_REFRESH_ENV": "local",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "LOG_FORMAT": "json",
        **more,
    }
