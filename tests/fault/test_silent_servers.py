"""PostgreSQL or Redis stopped as a whole (SIGSTOP): what web answers, and within what time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from harness import plain_http
from harness.chatting import System
from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem
from tests.fault.test_chat_servers import postgres_pid
from tests.support.stopping import stopped, with_children

DATABASE_SECONDS = 5.0
CHAT_SECONDS = 3.0
REFRESH_SECONDS = 8.0
READY_SECONDS = 3.0
SPARE_SECONDS = 3.0
"""For sixty requests at once on a machine that does other work as well."""


class Asking:
    """Requests, each with its time limit: one that takes longer fails the test. A context manager."""

    def __init__(self, url: str) -> None:
        self._client = plain_http.Client(base_url=url, limits=httpx.Limits(max_connections=100))
        self.slowest = 0.0

    def __call__(self, method: str, path: str, seconds: float, **more: Any) -> httpx.Response:
        began = time.monotonic()
        response = self._client.request(method, path, timeout=seconds, **more)
        self.slowest = max(self.slowest, time.monotonic() - began)
        return response

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def at_once(self, number: int, ask: Callable[[], httpx.Response]) -> list[httpx.Response]:
        with ThreadPoolExecutor(number) as pool:
            return [each.result() for each in [pool.submit(ask) for _ in range(number)]]


@contextmanager
def running_system(start_system: StartSystem) -> Iterator[tuple[System, Asking, str]]:
    """A system with both workers, who asks it, and a chat that has ended."""
    system = start_system()
    system.start_refresh_worker()
    system.start_chat_worker()
    chat = system.ask()["id"]
    system.wait_until_ended(seconds=30)
    with Asking(system.web.url) as asking:
        yield system, asking, chat


def redis_pid(system: System) -> int:
    with system.redis() as client:
        return int(client.info("server")["process_id"])


def test_with_postgresql_stopped_each_request_is_answered_in_time(start_system: StartSystem, report: Report) -> None:
    with running_system(start_system) as (system, asking, chat):
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/api/chasen/chat", {"json": {"question": "q"}}),
            ("POST", "/api/chasen/chat", {"json": {"question": "q"}, "headers": {"Idempotency-Key": "k"}}),
            ("GET", f"/api/chats/{chat}", {}),
            ("GET", "/api/chats", {}),
            ("DELETE", f"/api/chats/{chat}", {}),
            ("POST", "/api/llms/refresh", {"json": {}}),
            ("POST", "/api/llms/refresh", {"json": {"dryRun": True}}),
            ("GET", "/api/llms/runs", {}),
            ("PATCH", "/api/llms/gpt-4o", {"json": {"display_order": 7}}),
        ]
        with stopped(with_children(postgres_pid(system))):
            for method, path, more in requests:
                response = asking(method, path, DATABASE_SECONDS, **more)
                assert (response.status_code, response.json()["code"]) == (503, "database_unavailable"), path
                assert response.headers["Retry-After"]
            ready = asking("GET", "/readyz", READY_SECONDS)
            listing = asking("GET", "/api/llms", 1.0)
        assert ready.status_code == 503
        assert not ready.json()["parts"]["postgresql"]["ok"]
        assert ready.json()["parts"]["redis"]["ok"]
        assert any(ready.json()["parts"]["workers"].values())
        assert (listing.status_code, listing.json()["count"], listing.json()["stale"]) == (200, 5, True)
        report(slowest=round(asking.slowest, 2))


def test_sixty_requests_at_once_wait_no_longer_for_a_stopped_postgresql(
    start_system: StartSystem, report: Report
) -> None:
    with running_system(start_system) as (system, asking, chat):
        with stopped(with_children(postgres_pid(system))):
            requests = (("POST", "/api/chasen/chat", {"json": {"question": "q"}}), ("GET", f"/api/chats/{chat}", {}))
            for method, path, more in requests:
                ask = partial(asking, method, path, DATABASE_SECONDS + SPARE_SECONDS, **more)
                assert {answer.status_code for answer in asking.at_once(60, ask)} == {503}
            ready = asking.at_once(60, lambda: asking("GET", "/readyz", READY_SECONDS + SPARE_SECONDS))
            assert {answer.status_code for answer in ready} == {503}
        wait_for(lambda: asking("GET", f"/api/chats/{chat}", DATABASE_SECONDS).status_code == 200)
        system.ask("And now?")
        system.wait_until_ended(seconds=30)
        report(slowest=round(asking.slowest, 2), **system.check(succeeded=2))


@pytest.mark.parametrize("number", [1, 20])
def test_with_redis_stopped_chats_are_accepted_and_a_refresh_is_answered(
    start_system: StartSystem, report: Report, number: int
) -> None:
    with running_system(start_system) as (system, asking, _):
        with stopped([redis_pid(system)]):
            chats = asking.at_once(
                number, lambda: asking("POST", "/api/chasen/chat", CHAT_SECONDS, json={"question": "q"})
            )
            runs = asking.at_once(number, lambda: asking("POST", "/api/llms/refresh", REFRESH_SECONDS, json={}))
            previews = asking.at_once(
                number, lambda: asking("POST", "/api/llms/refresh", REFRESH_SECONDS, json={"dryRun": True})
            )
            ready = asking("GET", "/readyz", READY_SECONDS)
        assert {chat.status_code for chat in chats} == {202}
        system.questions.update({chat.json()["id"]: "q" for chat in chats})
        assert {run.status_code for run in runs} == {202}
        assert {(each.status_code, each.json()["code"]) for each in previews} == {(503, "redis_unavailable")}
        assert ready.status_code == 200
        assert not ready.json()["parts"]["redis"]["ok"]
        system.wait_until_ended(seconds=60)
        report(slowest=round(asking.slowest, 2), **system.check(succeeded=number + 1))
