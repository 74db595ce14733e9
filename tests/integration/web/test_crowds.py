"""More connections than places, few open files, and a full disk: web goes on."""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import plain_http
from harness.processes import BIN, WEB, Process, Web, free_port, local_variables
from harness.refreshing import catalogue_harness
from harness.servers import Database, Servers
from harness.waiting import wait_for

PLACES = 100
"""Of a web process with 400 open files."""


@pytest.fixture(scope="module")
def migrated(servers: Servers) -> Iterator[Database]:
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        yield database


@contextlib.contextmanager
def one_web(before: str, folder: Path, variables: dict[str, str]) -> Iterator[Web]:
    """One web process, started by a shell after these words."""
    port = free_port()
    command = ("/bin/sh", "-c", f"{before}; exec {BIN}/{' '.join(WEB)}")
    given = {**variables, "PORT": str(port), "WEB_CONCURRENCY": "1", "LOG_FORMAT": "console"}
    with Process(command, given, folder / "web.log") as process:
        running = Web(process, port)
        try:
            wait_for(lambda: running.answers() or process.exit_code is not None, seconds=40)
            assert process.exit_code is None, process.output
            yield running
        finally:
            running.client.close()


def answers(running: Web, path: str = "/api/llms") -> int:
    return plain_http.get(running.url + path, timeout=20).status_code


def test_idle_connections_make_room_for_requests(migrated: Database, servers: Servers, tmp_path: Path) -> None:
    variables = local_variables(migrated.url, servers.redis_url())
    with contextlib.ExitStack() as opened, one_web("ulimit -n 400", tmp_path, variables) as running:
        assert re.search(rf"Up to {PLACES} connections", running.process.output)
        place = urlsplit(running.url)
        idle = [
            opened.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
            for _ in range(3 * PLACES)
        ]
        for half in idle[::3]:  # some have begun a request
            with contextlib.suppress(OSError):
                half.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        for _ in range(20):
            assert answers(running) == 200
        idle[0].settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""  # the oldest has gone
        assert running.process.exit_code is None
        assert not re.search("Too many open files|Traceback|Socket error", running.process.output)


def test_readers_leave_places_for_requests(migrated: Database, servers: Servers, tmp_path: Path) -> None:
    variables = local_variables(
        migrated.url,
        servers.redis_url(),
        MATCHAAI_BASE_URL="http://127.0.0.1:9/x",
        MATCHAAI_API_KEY="key",
        MATCHAAI_MISSION_ID="1",
    )
    with contextlib.ExitStack() as opened, one_web("ulimit -n 400", tmp_path, variables) as running:
        chat = running.post("/api/chasen/chat", json={"question": "q"})
        address = urlsplit(running.url)
        request = f"GET {chat.json()['links']['events']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        heads = []
        for _ in range(PLACES):
            reader = socket.create_connection((address.hostname, address.port), timeout=20)
            opened.enter_context(reader)
            reader.sendall(request)
            heads.append(reader.recv(4096))
        statuses = [int(head.split()[1]) for head in heads]
        assert statuses.count(200) == PLACES * 9 // 10
        assert statuses.count(503) == PLACES // 10
        assert all(b"Retry-After" in head for head in heads if b" 503 " in head[:20])
        assert answers(running) == 200
        wait = running.post("/api/chasen/chat", json={"question": "q"}, headers={"Prefer": "wait=20"})
        assert wait.status_code == 202  # accepted, and not waited for: there is no place for that


def test_the_soft_limit_of_open_files_is_raised(migrated: Database, servers: Servers, tmp_path: Path) -> None:
    variables = local_variables(migrated.url, servers.redis_url(), CHAT_CONCURENCY="10")
    with one_web("ulimit -Sn 256; ulimit -Hn 1500", tmp_path, variables) as running:
        assert "Up to 1200 connections" in running.process.output
        assert "CHAT_CONCURENCY is not read: CHAT_CONCURRENCY is" in running.process.output


def mounted(folder: Path, kilobytes: int) -> str:
    """Shell words that give a process a small disk at a folder, in a name space of its own, where that is allowed."""
    mount = f"mount -t tmpfs -o size={kilobytes}k tmpfs {folder}"
    tried = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("a disk of its own cannot be mounted here")
    return mount


def shared_metrics(running: Web) -> float:
    families = text_string_to_metric_families(running.get("/metrics").text)
    return next(s.value for family in families for s in family.samples if s.name == "llm_refresh_web_metrics_shared")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
@pytest.mark.parametrize(("kilobytes", "shared"), [(64, 0.0), (8192, 1.0)])
def test_web_serves_on_a_full_disk(
    migrated: Database, servers: Servers, tmp_path: Path, kilobytes: int, shared: float
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    words = mounted(home, kilobytes)
    variables = local_variables(migrated.url, servers.redis_url(), LLM_REFRESH_HOME=str(home))
    # The disk is seen by this shell and by what it becomes; it fills it once web answers.
    fill = f"(until [ -e {tmp_path}/fill ]; do sleep 0.1; done; cat /dev/zero > {home}/rest; touch {tmp_path}/full) &"
    inner = f"{words}; {fill} exec {BIN}/{' '.join(WEB)}"
    with one_web(f"exec unshare -m sh -c '{inner}'", tmp_path, variables) as running:
        assert shared_metrics(running) == shared
        (tmp_path / "fill").touch()
        wait_for((tmp_path / "full").exists)
        paths = ["/api/llms", "/api/llms/runs", "/healthz", "/readyz", "/nowhere", "/api/llms/runs/x", "/openapi.json"]
        before = {path: answers(running, path) for path in paths}
        assert before["/api/llms"] == before["/healthz"] == 200
        for path in paths:
            assert plain_http.request("POST", running.url + path).status_code in (400, 404, 405)
        assert shared_metrics(running) == shared
        assert "llm_refresh_http_request_seconds_count" in running.get("/metrics").text
        assert "SIGBUS" not in running.process.output
        assert "was sent" not in running.process.output
