"""Erasing: what was asked and answered is nowhere any more, and every count is as it was."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import psycopg
import pytest
import redis

from harness.servers import Servers
from shared.chat import erasure
from shared.db import Caller, DatabaseError
from tests.integration.chat.conftest import ANN, BEN, SERVICE, Chats, as_caller

MARK = "xyzzy-4711"
OPERATOR = Caller("operator", "olga")


def marked(chats: Chats, *, caller: Caller = ANN, key: str = MARK) -> uuid.UUID:
    """An open chat with the mark in every field that a caller fills."""
    return chats.accepted(
        f"question {MARK}",
        caller=caller,
        systemPrompt=f"system {MARK}",
        models=[f"model {MARK}", f"other {MARK}"],
        history=[{"role": f"user {MARK}", "content": f"history {MARK}"}],
        headers={"Idempotency-Key": f"key {key}", "X-Request-ID": f"request-{MARK}"},
    )


def everything(chats: Chats, servers: Servers) -> str:
    """Every row of every table, and every key of Redis with its value."""
    with psycopg.connect(chats.superuser_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [row[0] for (table,) in tables for row in connection.execute(f'SELECT t::text FROM "{table}" t')]
    client = redis.Redis.from_url(servers.redis_url())
    dumped = [repr((key, client.dump(key))) for key in client.scan_iter()]
    return "\n".join(rows + dumped)


def usage(chats: Chats) -> Any:
    return chats.catalogue.run("SELECT * FROM llm_usage_stats ORDER BY model_key, day")


def ledger(chats: Chats) -> list[dict[str, Any]]:
    return [
        dict(row) for row in chats.catalogue.run("SELECT * FROM llm_model_changes WHERE kind = 'erased' ORDER BY id")
    ]


def test_a_subject_of_an_erasure_may_hold_a_slash(chats: Chats) -> None:
    response = chats.call("DELETE", "/api/callers/spiffe:%2F%2Fexample%2Fjob/chats", SERVICE)
    assert (response.status_code, response.json["subject"]) == (200, "spiffe://example/job")


def test_what_a_caller_said_is_gone_from_everywhere_and_the_counts_stay(chats: Chats, servers: Servers) -> None:
    answered = marked(chats)
    chats.process().run(answered)
    chats.catalogue.run("UPDATE llm_chats SET answer = answer || :mark WHERE id = :id", mark=MARK, id=answered)
    waiting, others = marked(chats, key="two"), chats.answered("Of Ben?", caller=BEN)
    before = usage(chats)
    assert MARK in everything(chats, servers)

    response = chats.call("DELETE", "/api/callers/ann/chats", SERVICE)
    assert response.status_code == 200, response.text
    assert response.json == {"subject": "ann", "erased": 2, "cancelled": 1}
    assert MARK not in everything(chats, servers)
    assert (chats.row(answered)["status"], chats.row(waiting)["status"]) == ("succeeded", "cancelled")
    assert chats.row(others["id"]) == others
    counted = {row["model_key"]: row for row in usage(chats)}
    for row in before:
        now = counted[row["model_key"]]
        assert (now["successes"], now["latency_buckets"]) == (row["successes"], row["latency_buckets"])
    assert sum(row["cancelled"] for row in counted.values()) == 1
    (line,) = ledger(chats)
    assert (line["actor"], line["after"]) == ("service", {"subject": "ann", "chats": 2, "cancelled": 1})
    assert (line["before"], line["model_key"], line["run_id"]) == (None, None, None)

    shown = chats.call("GET", f"/api/chats/{answered}?content=true", ANN).json
    assert (shown["status"], shown["erased_at"] is not None) == ("succeeded", True)
    assert {"answer", "question", "systemPrompt", "history"}.isdisjoint(shown)
    assert chats.call("DELETE", "/api/callers/ann/chats", SERVICE).json["erased"] == 0  # nothing is left, no line
    assert len(ledger(chats)) == 1


def test_an_answer_that_comes_after_the_erasure_is_not_stored(chats: Chats) -> None:
    chats.gateway.behave(completions={"delay": 1.5})
    chat_id, process = marked(chats), chats.process()
    thread = threading.Thread(target=process.run, args=(chat_id,))
    thread.start()
    chats.gateway.wait_for_calls(lambda calls: calls["open"] == 1)
    assert erasure.erase_caller(chats.runtime.database, "ann", actor="test").erased == 1
    thread.join(timeout=20)
    row = chats.row(chat_id)
    assert (row["status"], row["answer"], row["question"]) == ("cancelled", None, "")


def test_the_same_question_and_key_after_an_erasure_is_a_new_chat(chats: Chats) -> None:
    first = marked(chats)
    chats.call("DELETE", "/api/callers/ann/chats", SERVICE)
    assert marked(chats) != first


def test_one_erases_a_chat_of_ones_own_when_it_has_ended(chats: Chats, servers: Servers) -> None:
    chat_id = marked(chats)
    opened = chats.call("DELETE", f"/api/chats/{chat_id}?erase=1", ANN)
    assert (opened.status_code, opened.json["code"]) == (409, "chat_open")
    assert chats.row(chat_id)["question"] == f"question {MARK}"
    assert chats.call("DELETE", f"/api/chats/{chat_id}?erase=1", BEN).status_code == 404
    chats.process().run(chat_id)
    assert chats.call("DELETE", f"/api/chats/{chat_id}?erase=1", BEN).status_code == 404
    assert chats.call("DELETE", f"/api/chats/{chat_id}?erase=1", OPERATOR).status_code == 403
    assert chats.row(chat_id)["answer"] is not None
    for _ in range(2):  # it may be repeated
        erased = chats.call("DELETE", f"/api/chats/{chat_id}?erase=1", ANN)
        assert (erased.status_code, erased.json["status"], "answer" in erased.json) == (200, "succeeded", False)
    assert MARK not in everything(chats, servers)
    assert ledger(chats) == []


def test_service_role_erases_anothers_chat_with_a_line(chats: Chats) -> None:
    chat_id = chats.answered()["id"]
    assert chats.call("DELETE", f"/api/chats/{chat_id}?erase=1", SERVICE).status_code == 200
    (line,) = ledger(chats)
    assert (line["actor"], line["after"]["subject"], line["after"]["chats"]) == ("service", "ann", 1)


@pytest.mark.parametrize("caller", [ANN, OPERATOR])
def test_only_service_role_erases_a_callers_chats(chats: Chats, caller: Caller) -> None:
    chat_id = marked(chats)
    refused = chats.call("DELETE", "/api/callers/ann/chats", caller)
    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    assert chats.row(chat_id)["status"] == "queued"
    for column in erasure.CONTENT:
        with pytest.raises(DatabaseError):
            as_caller(chats.runtime.database, caller, f"UPDATE llm_chats SET {column} = NULL")
    with pytest.raises(DatabaseError):
        as_caller(chats.runtime.database, caller, "UPDATE llm_chats SET erased_at = now()")


def test_postgresql_keeps_the_answer_of_a_chat_that_is_not_erased(chats: Chats) -> None:
    chat_id = chats.answered()["id"]
    with pytest.raises(DatabaseError, match="llm_chats_answered"):
        as_caller(chats.runtime.database, SERVICE, "UPDATE llm_chats SET answer = NULL WHERE id = :id", id=chat_id)
    other = marked(chats)
    with pytest.raises(DatabaseError, match="llm_chats_answered"):
        as_caller(chats.runtime.database, SERVICE, "UPDATE llm_chats SET erased_at = now() WHERE id = :id", id=other)


def test_many_chats_are_erased_in_steps_with_one_line(chats: Chats) -> None:
    number = erasure.BATCH + 7
    with psycopg.connect(chats.superuser_url) as connection:
        connection.execute(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, status,"
            " answer, deadline_at, finished_at) SELECT gen_random_uuid(), 'ann', 'x', %s, 'k', 'K', 1, 'succeeded',"
            " 'a', now(), now() FROM generate_series(1, %s)",
            (MARK, number),
        )
    assert erasure.erase_caller(chats.runtime.database, "ann", actor="test").erased == number
    left = "SELECT count(*) AS number FROM llm_chats WHERE question <> '' OR answer IS NOT NULL OR erased_at IS NULL"
    assert chats.catalogue.run(left)[0]["number"] == 0
    assert [line["after"]["chats"] for line in ledger(chats)] == [number]
