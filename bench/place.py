"""Where lines are measured: servers of their own, a folder for logs, and how thorough to be."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from harness.servers import Servers
from migrations.run import upgrade
from worker.local.services import start_services

ROOT = Path(__file__).parents[1]


class SafeServers(Servers):
    """Servers that write as safely as in production, which keep one Redis database for one line after the other."""

    def redis_url(self) -> str:
        with redis.Redis.from_url(self.services.redis_url) as client:
            client.flushdb()
        return self.services.redis_url


@dataclass(frozen=True)
class Place:
    """What a line works with. `quick`: fewer and smaller, to see that it runs."""

    servers: SafeServers
    folder: Path
    quick: bool
    say: Callable[[str], None]

    def choose(self, thorough: int, quick: int) -> int:
        """A size or a number of repetitions."""
        return quick if self.quick else thorough


@contextlib.contextmanager
def place(*, quick: bool, say: Callable[[str], None]) -> Iterator[Place]:
    """Start a PostgreSQL and a Valkey that write as safely as in production, and leave nothing behind."""
    # As root PostgreSQL runs as another user, who has to reach the folder: not in anybody's home.
    folder = Path(tempfile.mkdtemp(prefix="llm-refresh-bench-"))
    try:
        _with_commit_times(folder)
        services = start_services(folder, postgres=True, valkey=True, durable=True, say=lambda _: None)
        try:
            logs = folder / "logs"
            logs.mkdir(exist_ok=True)
            with contextlib.closing(SafeServers(services, upgrade)) as servers:
                yield Place(servers, logs, quick, say)
        finally:
            services.stop()
    finally:
        shutil.rmtree(folder)


def _with_commit_times(folder: Path) -> None:
    """Let the server remember when each transaction was committed: what readers wait for. Takes a restart."""
    services = start_services(folder, postgres=True, valkey=False, durable=True, say=lambda _: None)
    try:
        with psycopg.connect(services.superuser_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    finally:
        services.stop()


def alone(function: str, **arguments: Any) -> Any:
    """Call `module:function` in an interpreter of its own; returns what it returns, which has to be JSON.

    Raises RuntimeError with its last words when it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.alone", function, json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{function}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])
