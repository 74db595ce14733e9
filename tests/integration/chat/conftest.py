"""Chats on the real PostgreSQL and Valkey, with the stand-in as their gateway: the routes, and who answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import jwt
import psycopg
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from shared.chat import places
from shared.chat.chat_request import AcceptedChat, ChatRequest
from shared.chat.dispatch import dispatch_limits_of
from shared.chat.requests import Question
from shared.db import Caller, Database
from shared.settings import Settings, read_settings
from worker.chat.gateway import make_chat_gateway
from worker.chat.process import ChatProcess
from worker.runtime import Runtime, build_runtime
from worker.web.app import create_app
from worker.web.chat_markdown import ChatMarkdownRoutes
from worker.web.chats import ChatRoutes
from worker.web.queue_positions import QueuePositions
from worker.web.readers import Readers

SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"
ANN, BEN = Caller("authenticated", "ann"), Caller("authenticated", "ben")
SERVICE = Caller("service_role", "service")
PROCESS = uuid.UUID(int=1)


@dataclass
class Unsent:
    """In place of the sender of messages: remembers what it was to send."""

    chat_ids: list[uuid.UUID] = field(default_factory=list)

    def chat(self, accepted: AcceptedChat, *, request_id: str | None) -> None:
        if accepted.new and accepted.place == "free":
            self.chat_ids.append(accepted.snapshot.chat_id)


@dataclass
class Chats:
    """What a test of chats works with."""

    settings: Settings
    runtime: Runtime
    gateway: RunningStandIn
    catalogue: CatalogueHarness
    sent: Unsent
    client: FlaskClient
    readers: Readers
    superuser_url: str
    ending: ExitStack

    def with_settings(self, **changed: Any) -> Runtime:
        """A runtime with other settings, on the same servers."""
        return self.ending.enter_context(_runtime(self.settings.model_copy(update=changed)))

    def routes(self, runtime: Runtime) -> FlaskClient:
        """A client of the routes with this runtime."""
        return _client(runtime, self.sent)[0]

    def process(self, **changed: Any) -> ChatProcess:
        """A running chat process, ended with the test."""
        runtime = self.with_settings(**changed)
        process = ChatProcess(
            runtime.settings, runtime.database, runtime.notifier, lambda: make_chat_gateway(runtime.settings)
        )
        process.start()
        self.ending.callback(process.close)
        return process

    def call(self, method: str, path: str, caller: Caller = ANN, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token(caller)}", **more.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **more)

    def ask(self, question: str = "Which?", *, caller: Caller = ANN, headers: Any = None, **body: Any) -> TestResponse:
        return self.call("POST", "/api/chasen/chat", caller, json={"question": question, **body}, headers=headers or {})

    def accepted(self, question: str = "Which?", **more: Any) -> uuid.UUID:
        """The id of a chat that was just accepted."""
        response = self.ask(question, **more)
        assert response.status_code == 202, response.text
        return uuid.UUID(response.json["id"])

    def answered(self, question: str = "Which?", **more: Any) -> dict[str, Any]:
        """A chat, asked and carried out by a process of its own."""
        settings = more.pop("settings", {})
        chat_id = self.accepted(question, **more)
        self.process(**settings).run(chat_id)
        return self.row(chat_id)

    def row(self, chat_id: uuid.UUID) -> dict[str, Any]:
        return dict(self.catalogue.run("SELECT * FROM llm_chats WHERE id = :id", id=chat_id)[0])

    def shown(self, chat_id: uuid.UUID, caller: Caller = SERVICE) -> dict[str, Any]:
        response = self.call("GET", f"/api/chats/{chat_id}", caller)
        assert response.status_code == 200, response.text
        return dict(response.json)

    def stored(self) -> int:
        return int(self.catalogue.run("SELECT count(*) AS number FROM llm_chats")[0]["number"])

    def submit(self, question: str = "Which?", *, runtime: Runtime | None = None, **more: Any) -> uuid.UUID:
        """The id of a chat accepted beside the routes."""
        request = ChatRequest(Question(question=question, **more), ANN, None, None)
        return (runtime or self.runtime).submitter.submit(request).snapshot.chat_id


def token(caller: Caller, **claims: Any) -> str:
    return jwt.encode({"sub": caller.subject, "role": caller.role, "exp": time.time() + 600, **claims}, SECRET)


def _runtime(settings: Settings) -> Any:
    class Closing:
        def __enter__(self) -> Runtime:
            self.runtime = build_runtime(settings, "test", pool_size=8)
            return self.runtime

        def __exit__(self, *_: object) -> None:
            self.runtime.close()

    return Closing()


def _client(runtime: Runtime, sent: Any) -> tuple[FlaskClient, Readers]:
    readers = Readers(runtime.database, runtime.store)
    positions = QueuePositions(runtime.database, dispatch_limits_of(runtime.settings))
    routes = [*ChatRoutes(runtime, sent, readers, positions).routes(), *ChatMarkdownRoutes(runtime).routes()]
    app = create_app(runtime.settings, routes)
    return app.test_client(), readers


@dataclass(frozen=True)
class Place:
    """A database for the tests of one module, emptied before each: a new one would take most of a test's time."""

    catalogue: CatalogueHarness
    url: str
    superuser_url: str

    def empty(self) -> None:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # the ledger is append-only for all others
            connection.execute(
                "TRUNCATE llm_chats, llm_usage_stats, llm_usage_totals, llm_caller_usage, llm_chat_waits, llm_models,"
                " llm_model_changes, llm_callers, llm_chat_processes, llm_call_starts RESTART IDENTITY"
            )


@pytest.fixture(scope="module")
def place(servers: Servers) -> Iterator[Place]:
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        yield Place(catalogue, database.url, database.superuser_url)


@pytest.fixture
def chats(servers: Servers, place: Place, gateway: RunningStandIn) -> Iterator[Chats]:
    gateway.behave()
    gateway.wait_for_calls(lambda calls: calls["open"] == 0)
    gateway.forget_calls()
    place.empty()
    place.catalogue.seed()
    with ExitStack() as ending:
        settings = read_settings(
            {
                "LLM_REFRESH_ENV": "production",
                "DATABASE_URL": place.url,
                "REDIS_URL": servers.redis_url(),
                "JWT_SECRET": SECRET,
                "MATCHAAI_BASE_URL": gateway.url,
                "MATCHAAI_API_KEY": gateway.api_key,
                "MATCHAAI_MISSION_ID": "7",
                "CHAT_RETRY_BASE_SECONDS": "0.05",
            }
        )
        runtime = ending.enter_context(_runtime(settings))
        with runtime.database.transaction() as connection:  # every chat has its turn at once
            places.announce(connection, PROCESS, "chat@test", 1000, lease_seconds=3600)
        sent = Unsent()
        client, readers = _client(runtime, sent)
        yield Chats(settings, runtime, gateway, place.catalogue, sent, client, readers, place.superuser_url, ending)


def as_caller(database: Database, caller: Caller, sql: str, **values: Any) -> Any:
    """One statement as this caller."""
    with database.transaction(caller) as connection:
        result = connection.execute(sa.text(sql), values)
        return result.mappings().all() if result.returns_rows else result.rowcount


__all__ = ["ANN", "BEN", "SERVICE", "Chats", "as_caller", "token", "wait_for"]
