"""However a background response ends, its caller's endpoints get one event, written with the end."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from shared.chat import erasure, lifecycle
from shared.db import Caller
from tests.integration.webhooks.conftest import ANN, Hooks

URL = "http://127.0.0.1:9/hook"


def run_out(hooks: Hooks, column: str) -> None:
    hooks.catalogue.run(f"UPDATE llm_chats SET {column} = now() - interval '1 minute'")
    hooks.sweep()


def answer(hooks: Hooks) -> None:
    hooks.finish(hooks.ask())


def fail(hooks: Hooks) -> None:
    hooks.finish(hooks.ask(), error_code="timeout", error_detail="It took too long.")


def cancel(hooks: Hooks) -> None:
    with hooks.catalogue.database.transaction() as connection:
        assert lifecycle.cancel(connection, hooks.ask(), ANN)


def cancel_while_running(hooks: Hooks) -> None:
    chat_id = hooks.ask()
    hooks.claim(chat_id)
    with hooks.catalogue.database.transaction() as connection:
        assert lifecycle.cancel(connection, chat_id, Caller("service_role", "ops"))


def leave(hooks: Hooks) -> None:
    hooks.ask()
    run_out(hooks, "cancel_at")


def erase(hooks: Hooks) -> None:
    hooks.ask()
    erasure.erase_caller(hooks.catalogue.database, "ann", actor="ops")


def expire_in_the_queue(hooks: Hooks) -> None:
    hooks.ask()
    run_out(hooks, "deadline_at")


def expire_while_running(hooks: Hooks) -> None:
    hooks.claim(hooks.ask())
    run_out(hooks, "deadline_at")


def exhaust_attempts(hooks: Hooks) -> None:
    chat_id = hooks.ask()
    for _ in range(3):
        hooks.claim(chat_id)
        run_out(hooks, "lease_until")


@pytest.mark.parametrize(
    ("end", "event"),
    [
        (answer, "response.completed"),
        (fail, "response.failed"),
        (exhaust_attempts, "response.failed"),
        (expire_in_the_queue, "response.failed"),
        (expire_while_running, "response.failed"),
        (cancel, "response.cancelled"),
        (cancel_while_running, "response.cancelled"),
        (leave, "response.cancelled"),
        (erase, "response.cancelled"),
    ],
)
def test_every_way_to_end_makes_exactly_one_event(hooks: Hooks, end: Callable[[Hooks], None], event: str) -> None:
    hooks.endpoint(URL)
    end(hooks)
    hooks.sweep()
    (chat,) = hooks.catalogue.run("SELECT id, finished_at FROM llm_chats")
    delivery = hooks.delivery()
    assert (delivery["type"], delivery["status"], delivery["attempts"]) == (event, "waiting", 0)
    assert delivery["object_id"] == f"resp_{chat['id'].hex}"
    assert delivery["event_id"] == f"evt_{chat['id'].hex}"
    assert delivery["created_at"] == chat["finished_at"]


def test_no_statement_that_ends_a_chat_escapes(hooks: Hooks) -> None:
    """Whoever writes `finished_at` makes the event: the trigger knows no list of ways to end."""
    hooks.endpoint(URL)
    hooks.ask()
    hooks.catalogue.run("UPDATE llm_chats SET status = 'cancelled', finished_at = now(), error_code = 'cancelled'")
    hooks.catalogue.run("UPDATE llm_chats SET finished_at = now(), version = version + 1")
    assert hooks.delivery()["type"] == "response.cancelled"


def test_a_rolled_back_end_makes_no_event(hooks: Hooks) -> None:
    hooks.endpoint(URL)
    chat_id = hooks.ask()
    with pytest.raises(ZeroDivisionError), hooks.catalogue.database.transaction() as connection:
        lifecycle.cancel(connection, chat_id, ANN)
        raise ZeroDivisionError
    assert hooks.deliveries() == []


def test_each_endpoint_for_the_event_gets_its_own_delivery(hooks: Hooks) -> None:
    first, second = hooks.endpoint(URL), hooks.endpoint(URL, "response.completed", "batch.completed")
    hooks.endpoint(URL, "response.failed", "response.cancelled")
    hooks.endpoint(URL, subject="ben")
    answer(hooks)
    rows = hooks.deliveries()
    assert {row["endpoint_id"] for row in rows} == {first["id"], second["id"]}
    assert len({row["event_id"] for row in rows}) == 1


@pytest.mark.parametrize("options", [{"response": False}, {"background": False}])
def test_who_waits_for_the_answer_gets_no_event(hooks: Hooks, options: dict[str, bool]) -> None:
    hooks.endpoint(URL)
    hooks.finish(hooks.ask(**options))
    assert hooks.deliveries() == []


def test_many_ends_at_once_make_an_event_each(hooks: Hooks) -> None:
    hooks.endpoint(URL)
    hooks.finish(*[hooks.ask() for _ in range(40)])
    assert len({row["event_id"] for row in hooks.deliveries()}) == 40


def test_nobody_but_the_service_sees_endpoints_or_deliveries(hooks: Hooks) -> None:
    hooks.event(URL)
    for table in ("llm_webhook_endpoints", "llm_webhook_deliveries"):
        for role in ("authenticated", "operator", "anon"):
            with psycopg.connect(hooks.superuser_url) as connection:
                if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                    continue
                connection.execute(f"SET ROLE {role}".encode())
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT * FROM {table}".encode())
