"""The processes that answer chats, as the Procfile starts them, on servers of their own; and the check all end in."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from harness.processes import REFRESH, Process, Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for

CHAT = (
    "celery",
    "-A",
    "worker.main",
    "worker",
    "--hostname",
    "{name}@%h",
    "-Q",
    "chat",
    "-P",
    "threads",
    "-c",
    "{concurrency}",
    "--without-gossip",
    "--without-mingle",
    "--prefetch-multiplier=1",
)
OPEN = ("queued", "running")


@dataclass
class System:
    """Web and workers on a database and a Redis of this test's own, with the stand-in as their gateway."""

    gateway: RunningStandIn
    variables: dict[str, str]
    folder: Path
    database_url: str
    ending: contextlib.ExitStack
    web: Web = field(init=False)
    questions: dict[str, str] = field(default_factory=dict)
    """chat id -> its question"""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, command: Sequence[str], **variables: str) -> Process:
        """A process, ended with the test."""
        log = self.folder / f"{command[0]}-{next(self._numbers)}.log"
        return self.ending.enter_context(Process(tuple(command), {**self.variables, **variables}, log))

    def start_web(self, **variables: str) -> Web:
        return self.ending.enter_context(web({**self.variables, **variables}, self.folder))

    def start_refresh_worker(self) -> Process:
        return self.start(REFRESH)

    def start_chat_worker(self, *, concurrency: int = 200, wait: bool = True, **variables: str) -> Process:
        """A chat worker; by default returns when it consumes and its places are known."""
        name = f"chat{next(self._numbers)}"
        command = [word.format(name=name, concurrency=concurrency) for word in CHAT]
        process = self.start(command, **variables)
        if wait:
            wait_for(lambda: f"{name}@" in process.output and "ready." in process.output, seconds=40)
            announced = f"SELECT 1 FROM llm_chat_processes WHERE node LIKE '{name}@%'"
            wait_for(lambda: self.query(announced) != [], seconds=40)
        return process

    def ask(self, question: str = "Which?", *, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Ask, and remember what was accepted."""
        response = self.web.post("/api/chasen/chat", json={"question": question, **body}, headers=headers)
        assert response.status_code in (200, 202), response.text
        chat: dict[str, Any] = response.json()
        self.questions[chat["id"]] = question
        return chat

    def ask_many(self, number: int) -> list[str]:
        """Ask so many different questions at about the same time; returns the chats' ids."""
        with ThreadPoolExecutor(8) as pool:
            chats = list(pool.map(lambda each: self.ask(f"Question number {each:04}?"), range(number)))
        return [chat["id"] for chat in chats]

    def chat(self, chat_id: str) -> dict[str, Any]:
        response = self.web.get(f"/api/chats/{chat_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def statuses(self) -> Counter[str]:
        """How many rows have each status."""
        return Counter(status for (status,) in self.query("SELECT status FROM llm_chats"))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            result = connection.execute(sql.encode())
            return result.fetchall() if result.description else []

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.variables["REDIS_URL"])

    def wait_for_calls(self, number: int) -> None:
        """Wait until so many completions are under way at the gateway."""
        self.gateway.wait_for_calls(lambda calls: calls["open"] >= number)

    def wait_until_ended(self, *, seconds: float) -> None:
        # One look at all: between two a chat may go from running to queued, and be seen in neither.
        wait_for(lambda: not self.statuses().keys() & set(OPEN), seconds=seconds)

    def check(self, *, succeeded: int | None = None) -> dict[str, Any]:
        """The one check: no accepted chat without exactly one stored end, each answer the answer to its own question.

        Returns figures: accepted, by status, calls made upstream, chats called more than once.
        """
        rows = self.query("SELECT id::text, status, answer, question FROM llm_chats")
        assert {row[0] for row in rows} == set(self.questions), "an accepted chat is missing, or one came from nowhere"
        for chat_id, status, answer, question in rows:
            assert status not in OPEN, f"chat {chat_id} is still {status}"
            assert (answer is not None) == (status == "succeeded")
            assert question == self.questions[chat_id]
            assert answer is None or f"{question}”" in answer, f"chat {chat_id} has another's answer"
        ended = self.statuses()
        counted = self.query("SELECT coalesce(sum(request_count), 0), coalesce(sum(successes), 0) FROM llm_usage_stats")
        assert tuple(map(int, counted[0])) == (len(rows), ended["succeeded"]), "usage does not match what ended"
        if succeeded is not None:
            assert ended["succeeded"] == succeeded, dict(ended)
        prompts = Counter(
            request["body"]["input"] for request in self.gateway.calls()["requests"] if request["method"] == "POST"
        )
        return {
            "accepted": len(rows),
            **dict(ended),
            "calls": prompts.total(),
            "called again": prompts.total() - len(prompts),
        }


@contextlib.contextmanager
def chat_system(
    servers: Servers, folder: Path, *, delay: float = 0.0, start_web: bool = True, **variables: str
) -> Iterator[System]:
    """A system with a web process and nothing else yet; `variables` are settings. Its gateway takes `delay` seconds."""
    with (
        RunningStandIn(delay=delay) as gateway,
        servers.database() as database,
        contextlib.ExitStack() as ending,
    ):
        with catalogue_harness(database.url, None) as catalogue:
            catalogue.seed()
        settings = local_variables(
            database.url,
            servers.redis_url(),
            MATCHAAI_BASE_URL=gateway.url,
            MATCHAAI_API_KEY=gateway.api_key,
            MATCHAAI_MISSION_ID="7",
        )
        system = System(gateway, {**settings, **variables}, folder, database.superuser_url, ending)
        # The tests' PostgreSQL may lose what it has committed last; here its death is part of the game.
        system.query(f"ALTER DATABASE {database.name} SET synchronous_commit = on")
        if start_web:
            system.web = system.start_web()
        yield system
