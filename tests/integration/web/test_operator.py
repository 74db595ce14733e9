"""The role `operator`: reads what `/ops` shows without the content of chats, previews, and does nothing else."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest

from harness.processes import Process, Web, web
from tests.integration.web.conftest import SECRET, Stack

NOWHERE = "00000000-0000-7000-8000-000000000000"
QUESTION, ANSWER = "What did the board decide?", "It decided nothing."


@dataclass
class Guarded:
    """A web process that asks for tokens, beside the worker of the stack."""

    web: Web
    url: str
    process: Process

    def ask(self, role: str, method: str, path: str, *, subject: str = "olga", **more: object) -> httpx.Response:
        claims = {"sub": subject, "role": role, "exp": int(time.time()) + 600}
        headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}
        return self.web.client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def guarded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    with web(stack.variables | {"JWT_SECRET": SECRET, "WEB_CONCURRENCY": "1"}, folder) as shim:
        yield Guarded(shim, stack.variables["DATABASE_URL"].replace("+psycopg", ""), shim.process)


@pytest.fixture(scope="module")
def chat(guarded: Guarded) -> str:
    """The id of an answered chat of anna's."""
    return insert(guarded.url, "anna", "succeeded", created="now()")


def insert(url: str, subject: str, status: str, *, created: str, model: str = "gpt-4o", id_: str | None = None) -> str:
    chat_id = id_ or str(uuid.UUID(int=(int(time.time() * 1000) << 80) | uuid.uuid4().int >> 48))
    ended = status not in ("queued", "running")
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL ROLE service_role")
        connection.execute(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, system_prompt, history, model_key, model_name,"
            " matcha_llm_id, status, answer, error_code, error_detail, deadline_at, created_at, finished_at,"
            " request_id)"
            " VALUES (%s, %s, 'x', %s, 'Be short.', '[[\"user\", \"Hello\"]]', %s, 'A model', 71, %s, %s, %s, %s,"
            f" now() + interval '1 day', {created}, CASE WHEN %s THEN now() END, 'request-1')",
            (
                chat_id,
                subject,
                QUESTION,
                model,
                status,
                ANSWER if status == "succeeded" else None,
                "timeout" if status == "failed" else None,
                "too slow" if status == "failed" else None,
                ended,
            ),
        )
    return chat_id


@pytest.mark.parametrize(
    "path",
    [
        "/api/llms",
        "/api/llms?provenance=1",
        "/api/llms?all=1",
        "/api/llms/runs",
        "/api/llms/changes",
        "/api/llms/usage",
        "/api/chats",
        "/metrics",
        "/readyz",
        "/api/me",
    ],
)
def test_an_operator_reads_what_the_page_shows(guarded: Guarded, chat: str, path: str) -> None:
    response = guarded.ask("operator", "GET", path)
    assert response.status_code == 200, response.text
    assert QUESTION not in response.text
    assert ANSWER not in response.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/llms/refresh", {}),
        ("POST", "/api/llms/refresh", {"force": "0" * 64}),
        ("POST", f"/api/llms/runs/{NOWHERE}/dismiss", None),
        ("PATCH", "/api/llms/gpt-4o", {"display_order": 1}),
        ("POST", "/api/chasen/chat", {"question": "q"}),
        ("DELETE", f"/api/chats/{NOWHERE}", None),
        ("GET", f"/api/chats/{NOWHERE}/events", None),
        ("GET", f"/api/chats/{NOWHERE}?content=true", None),
    ],
)
def test_an_operator_does_nothing(guarded: Guarded, method: str, path: str, body: object) -> None:
    response = (
        guarded.ask("operator", method, path, json=body) if body is not None else guarded.ask("operator", method, path)
    )
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert "operator" in response.json()["detail"]


def test_an_operator_previews_a_refresh(guarded: Guarded, stack: Stack) -> None:
    before = guarded.ask("operator", "GET", "/api/llms/runs").json()
    response = guarded.ask("operator", "POST", "/api/llms/refresh", json={"dryRun": True})
    assert (response.status_code, response.json()["dryRun"]) == (200, True)
    assert guarded.ask("operator", "GET", "/api/llms/runs").json() == before
    accepted = guarded.ask("operator", "POST", "/api/llms/refresh", json={"dryRun": True}, params={})
    assert accepted.status_code == 200


def test_an_operator_sees_a_chat_without_what_was_said(guarded: Guarded, chat: str) -> None:
    for query in ("", "?content=false"):
        shown = guarded.ask("operator", "GET", f"/api/chats/{chat}{query}").json()
        assert (shown["status"], shown["caller"], shown["request_id"]) == ("succeeded", "anna", "request-1")
        assert {"answer", "question", "systemPrompt", "history"}.isdisjoint(shown)
    task = guarded.ask("operator", "GET", f"/api/tasks/{chat}")
    assert (task.status_code, ANSWER in task.text) == (200, False)


def test_reading_anothers_content_is_asked_for_and_logged(guarded: Guarded, chat: str) -> None:
    without = guarded.ask("service_role", "GET", f"/api/chats/{chat}?content=false", subject="quiet").json()
    assert "answer" not in without
    whole = guarded.ask("service_role", "GET", f"/api/chats/{chat}?content=true", subject="reader").json()
    assert (whole["question"], whole["systemPrompt"], whole["answer"]) == (QUESTION, "Be short.", ANSWER)
    assert whole["history"] == [{"role": "user", "content": "Hello"}]
    lines = [line for line in guarded.process.output.splitlines() if "llm_chat.read_by_another" in line]
    assert any("reader" in line and "anna" in line and chat in line for line in lines)
    assert not any("quiet" in line for line in lines)


def test_the_owner_of_a_chat_reads_all_of_it_and_nobody_else_of_the_role(guarded: Guarded, chat: str) -> None:
    mine = guarded.ask("authenticated", "GET", f"/api/chats/{chat}?content=true", subject="anna").json()
    assert (mine["question"], mine["answer"], "caller" in mine) == (QUESTION, ANSWER, False)
    assert guarded.ask("authenticated", "GET", f"/api/chats/{chat}?content=true", subject="bob").status_code == 404


def test_chats_are_found_by_status_model_caller_and_time(guarded: Guarded) -> None:
    caller = f"filter-{uuid.uuid4()}"
    url = guarded.url
    failed = insert(url, caller, "failed", created="now()")
    other = insert(url, caller, "succeeded", created="now()", model="gpt-4o-mini")
    old = insert(
        url, caller, "failed", created="'2026-01-02T10:00:00Z'", id_=str(uuid.UUID(int=1_767_348_000_000 << 80))
    )

    def found(**query: str) -> set[str]:
        response = guarded.ask("operator", "GET", "/api/chats", params={"caller": caller, **query})
        assert response.status_code == 200, response.text
        return {each["id"] for each in response.json()["chats"]}

    assert found() == {failed, other, old}
    assert found(status="failed") == {failed, old}
    assert found(status="failed,succeeded") == {failed, other, old}
    assert found(model="gpt-4o-mini") == {other}
    assert found(since="2026-02-01T00:00:00Z") == {failed, other}
    assert found(since="2026-01-02T11:00:00+01:00", until="2026-01-02T11:00:01+01:00") == {old}
    assert found(until="2026-01-02T10:00:00") == set()
    assert found(before=other) == {failed, old}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("status=done", "status: must be one or more of queued"),
        ("status=", "status"),
        ("since=yesterday", "since: must be a time"),
        ("since=2026-02-01&until=2026-01-01", "since must lie before until"),
        ("caller=%00", "caller"),
        ("model=" + "a" * 300, "model: may hold 255"),
        ("stauts=failed", "stauts: no such field"),
    ],
)
def test_a_filter_that_is_none_is_named(guarded: Guarded, query: str, named: str) -> None:
    response = guarded.ask("operator", "GET", f"/api/chats?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_query")
    assert named in response.json()["detail"]


def test_everybody_learns_the_role_of_their_token(guarded: Guarded) -> None:
    for role in ("authenticated", "operator", "service_role"):
        shown = guarded.ask(role, "GET", "/api/me").json()
        assert shown == {"subject": "olga", "role": role, "auth": True}


@pytest.mark.parametrize("column", ["question", "answer", "system_prompt", "history", "body_sha256", "idempotency_key"])
def test_postgresql_itself_keeps_content_from_operators(guarded: Guarded, column: str) -> None:
    with psycopg.connect(guarded.url) as connection:
        connection.execute("SET LOCAL ROLE operator")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT {column} FROM llm_chats")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM llm_chats",
        "UPDATE llm_chats SET status = 'failed'",
        "UPDATE llm_models SET is_active = false",
        "TRUNCATE llm_chats",
        "INSERT INTO llm_usage_stats DEFAULT VALUES",
        "UPDATE llm_sync_runs SET status = 'failed'",
        "SELECT * FROM llm_notices",
        "DELETE FROM llm_model_changes",
        "UPDATE llm_catalogue_version SET version = 0",
    ],
)
def test_postgresql_itself_lets_operators_write_nothing(guarded: Guarded, statement: str) -> None:
    with psycopg.connect(guarded.url) as connection:
        connection.execute("SET LOCAL ROLE operator")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_postgresql_shows_operators_every_model_and_run(guarded: Guarded) -> None:
    with psycopg.connect(guarded.url) as connection:
        connection.execute("SET LOCAL ROLE operator")
        for table in ("llm_models", "llm_sync_runs", "llm_model_changes", "llm_usage_stats", "llm_upstream_calls"):
            connection.execute(f"SELECT count(*) FROM {table}")
        assert connection.execute("SELECT count(*) FROM llm_chats").fetchone() != (0,)
