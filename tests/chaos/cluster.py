"""The processes of an installation on servers of their own, each started again when it dies, as an init system does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

from harness import plain_http
from harness.chatting import CHAT
from harness.processes import BEAT, REFRESH, WEB, Process, free_port, local_variables
from harness.refreshing import catalogue_harness
from harness.servers import Database, Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.chaos.hosts import SecondHost, second_host
from tests.chaos.keys import KeyServer

CHAT_PLACES = 8
"""Of each chat worker: together fewer than the callers want, so that it matters who has the next one."""
LEASE_SECONDS = 6.0
DEADLINE_SECONDS = 45.0
RESTART_SECONDS = 0.5


@dataclass
class Cluster:
    """Two gunicorns, chat workers, a refresh worker and two beats, a stand-in gateway, PostgreSQL and Valkey.

    `host`: a second host with a chat worker of its own, where network namespaces are allowed.
    """

    servers: Servers
    database: Database
    gateway: RunningStandIn
    keys: KeyServer
    variables: Mapping[str, str]
    folder: Path
    redis_pid: int
    home_disk: Path | None
    host: SecondHost | None = None
    web_urls: list[str] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    restarts: int = 0
    frozen: list[int] = field(default_factory=list)
    """Backends of PostgreSQL that stay stopped until the run ends."""
    _commands: dict[str, tuple[tuple[str, ...], dict[str, str]]] = field(default_factory=dict)
    _watched: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, command: tuple[str, ...], **more: str) -> None:
        """Start a process under this name, and keep it running."""
        self._commands[name] = command, more
        self._start(name)

    def _start(self, name: str) -> None:
        command, more = self._commands[name]
        self.processes[name] = Process(command, {**self.variables, **more}, self.folder / f"{name}.log")

    def watch(self) -> None:
        """Start again whatever has ended, until `stop`."""

        def look() -> None:
            while not self._watched.wait(RESTART_SECONDS):
                with self._lock:
                    for name, process in list(self.processes.items()):
                        if process.exit_code is not None and not self._watched.is_set():
                            self.restarts += 1
                            self._start(name)

        threading.Thread(target=look, name="chaos-watch", daemon=True).start()

    def stop(self) -> None:
        """End every process: all at once, then wait for each."""
        self._watched.set()
        with self._lock:
            for process in self.processes.values():
                if process.exit_code is None:
                    self.signal_tree(process, signal.SIGCONT)
                    process.signal(signal.SIGTERM)
            for process in self.processes.values():
                process.stop()

    def thaw(self) -> None:
        """Let the backends go on that were stopped for ever."""
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen.clear()

    def signal_tree(self, process: Process, number: int) -> None:
        """Send a signal to a process and all that it has forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    def names(self, kind: str) -> list[str]:
        """The names of the processes of a kind: web, chat, refresh, beat."""
        return sorted(name for name in self.processes if name.startswith(kind))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement, as superuser on a connection of its own. Raises psycopg.OperationalError."""
        with psycopg.connect(
            self.database.superuser_url, autocommit=True, connect_timeout=5, options="-c statement_timeout=15s"
        ) as connection:
            result = connection.execute(sql.encode(), values or None)
            return result.fetchall() if result.description else []

    def redis(self) -> redis.Redis:
        """A client of the cluster's Redis database."""
        return redis.Redis.from_url(self.variables["REDIS_URL"], socket_timeout=3, socket_connect_timeout=3)

    def client(self, subject: str, role: str = "authenticated", *, web: int = 0, timeout: float = 30) -> httpx.Client:
        """An HTTP client of this caller's, to one of the web addresses."""
        return plain_http.Client(
            base_url=self.web_urls[web % len(self.web_urls)],
            headers={"Authorization": f"Bearer {self.keys.token(subject, role)}"},
            timeout=timeout,
        )


def _redis_pid(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def _answers(url: str) -> bool:
    try:
        return plain_http.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def running_cluster(
    servers: Servers, folder: Path, *, delay: float, home_disk: Path | None, say: Callable[[str], None]
) -> Iterator[Cluster]:
    """A cluster that answers questions. `delay`: seconds that a completion takes; `home_disk`: a small disk of its own
    for LLM_REFRESH_HOME, where there is one."""
    with (
        RunningStandIn(delay=delay) as gateway,
        KeyServer() as keys,
        servers.database() as database,
        contextlib.ExitStack() as ending,
    ):
        with catalogue_harness(database.url, None) as seeded:
            seeded.seed()
        redis_url = servers.redis_url()
        variables = local_variables(
            database.url,
            redis_url,
            MATCHAAI_BASE_URL=gateway.url,
            MATCHAAI_API_KEY=gateway.api_key,
            MATCHAAI_MISSION_ID="7",
            JWKS_URL=keys.url,
            CHAT_LEASE_SECONDS=f"{LEASE_SECONDS:g}",
            CHAT_DEADLINE_SECONDS=f"{DEADLINE_SECONDS:g}",
            CHAT_RETRY_BASE_SECONDS="0.5",
            MATCHAAI_TIMEOUT_SECONDS="20",
            WEB_CONCURRENCY="1",
            LLM_REFRESH_HOME=str(home_disk or folder / "home"),
        )
        cluster = Cluster(servers, database, gateway, keys, variables, folder, _redis_pid(redis_url), home_disk)
        # The tests' PostgreSQL may lose what it has committed last; here its death is part of the game.
        cluster.query(f"ALTER DATABASE {database.name} SET synchronous_commit = on")
        ending.callback(cluster.stop)
        for number in (1, 2):
            port = free_port()
            cluster.web_urls.append(f"http://127.0.0.1:{port}")
            cluster.add(f"web{number}", WEB, PORT=str(port))
            chat = tuple(word.format(name=f"chat{number}", concurrency=CHAT_PLACES) for word in CHAT)
            cluster.add(f"chat{number}", chat)
            cluster.add(f"beat{number}", BEAT)
        cluster.add("refresh1", REFRESH)
        cluster.host = ending.enter_context(second_host(variables, folder, say))
        ending.callback(cluster.stop)  # before the link to the second host goes
        if cluster.host is not None:
            chat = tuple(word.format(name="far1", concurrency=CHAT_PLACES) for word in CHAT)
            cluster.add("far1", cluster.host.command(chat), **cluster.host.variables)
        began = time.monotonic()
        wait_for(lambda: all(map(_answers, cluster.web_urls)), seconds=60)
        wait_for(lambda: _ready(cluster), seconds=60)
        say(f"{len(cluster.processes)} processes are ready after {time.monotonic() - began:.0f} s")
        cluster.watch()
        yield cluster


def _ready(cluster: Cluster) -> bool:
    parts = plain_http.get(f"{cluster.web_urls[0]}/readyz", timeout=10).json()["parts"]
    workers = parts.get("workers", {})
    return (
        workers.get("chat", 0) >= len(cluster.names("chat")) + len(cluster.names("far"))
        and workers.get("refresh", 0) >= 1
    )
