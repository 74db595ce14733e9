"""A web process that is told to stop: who waits has an answer that says how to go on, and no connection is cut."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from harness.processes import Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers
from harness.waiting import wait_for

QUESTION = {"question": "Which?"}
OPENAI_QUESTION = {"model": "claude-3-7-sonnet", "messages": [{"role": "user", "content": "Which?"}]}


@pytest.fixture
def shim(servers: Servers, tmp_path: Path) -> Iterator[Web]:
    """Web alone: no question is answered, and no refresh is made."""
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        variables = local_variables(
            database.url,
            servers.redis_url(),
            MATCHAAI_BASE_URL="http://127.0.0.1:9",
            MATCHAAI_API_KEY="any",
            MATCHAAI_MISSION_ID="1",
            WEB_CONCURRENCY="1",
        )
        with web(variables, tmp_path) as running:
            yield running


def test_who_waits_is_answered_before_the_process_ends(shim: Web) -> None:
    chat = shim.post("/api/chasen/chat", json=QUESTION).json()
    followed: list[str] = []
    follows = threading.Event()

    def follow() -> None:
        with (
            httpx.Client(base_url=shim.url, timeout=40) as client,
            client.stream("GET", chat["links"]["events"]) as stream,
        ):
            for line in stream.iter_lines():  # raises where the stream is cut
                followed.append(line)
                follows.set()

    def post(path: str, body: dict[str, object], **headers: str) -> httpx.Response:
        with httpx.Client(base_url=shim.url, timeout=40) as client:
            return client.post(path, json=body, headers=headers)

    with ThreadPoolExecutor(8) as threads:
        following: Future[None] = threads.submit(follow)
        posts = [threads.submit(post, "/api/chasen/chat", QUESTION, Prefer="wait=25") for _ in range(3)]
        refresh = threads.submit(post, "/api/llms/refresh", {})
        completion = threads.submit(post, "/v1/chat/completions", OPENAI_QUESTION)
        stream = threads.submit(post, "/v1/chat/completions", {**OPENAI_QUESTION, "stream": True})
        wait_for(lambda: len(shim.get("/api/chats").json()["chats"]) == 6)
        wait_for(lambda: shim.get("/api/llms/runs").json()["runs"])
        assert follows.wait(20)
        shim.process.signal(signal.SIGTERM)
        accepted = [future.result() for future in posts]
        assert [(each.status_code, each.json()["status"]) for each in accepted] == [(202, "queued")] * 3
        assert all(each.headers["Location"] == f"/api/chats/{each.json()['id']}" for each in accepted)
        assert refresh.result().status_code == 202
        following.result()
        assert "event: status" in followed
        refused = completion.result()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        assert refused.headers["Retry-After"]
        assert '"code":"stopping"' in stream.result().text.replace(" ", "")
    assert shim.process.wait(15) == 0
    assert "graceful timeout" not in shim.process.output
    assert "Traceback" not in shim.process.output


def test_idle_connections_hold_up_no_stop(shim: Web) -> None:
    with httpx.Client(base_url=shim.url) as idle:
        assert idle.get("/healthz").status_code == 200
        shim.process.signal(signal.SIGTERM)
        assert shim.process.wait(15) == 0
    assert "graceful timeout" not in shim.process.output
