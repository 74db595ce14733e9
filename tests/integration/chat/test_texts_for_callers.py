"""Whatever the gateway does, nothing that a caller gets names its host, its path, a variable, or words of a driver."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.chat import claims, sweeper
from shared.db import Caller, DatabaseError
from shared.settings import Settings
from tests.integration.chat.conftest import ANN, SERVICE, Chats, as_caller, token, wait_for

VARIABLES = re.compile("|".join(name.upper() for name in Settings.model_fields if "_" in name))
OPERATOR = Caller("operator", "olga")

BEHAVIOURS: dict[str, tuple[dict[str, Any], str]] = {
    "key refused": ({"status": 401}, "unauthorised"),
    "not JSON": ({"body": "not JSON", "content_type": "application/json"}, "upstream_not_json"),
    "a form that is not known": ({"shape": "none"}, "upstream_shape"),
    "a list": ({"body": "[]", "content_type": "application/json"}, "upstream_shape"),
    "refused": ({"status": 400, "error": "Property mission_id must be an integer."}, "upstream_rejected"),
    "too long": ({"status": 413}, "prompt_too_long"),
    "a redirect": ({"redirect": "http://elsewhere.example/"}, "upstream_rejected"),
    "a login page": ({"html": True, "status": 403}, "unauthorised"),
    "too many": ({"status": 429, "retry_after": "999999"}, "rate_limited"),
    "unknown": ({"status": 404, "error": "Unknown model."}, "no_model"),
    "packed": ({"gzip": True, "body": "x", "headers": {"Content-Encoding": "br"}}, "upstream_not_json"),
}


def seen(chats: Chats, chat_id: uuid.UUID, caller: Caller) -> dict[str, str]:
    """What a caller gets of a chat, by where."""
    chat = f"/api/chats/{chat_id}"
    paths = [chat, "/api/chats", f"{chat}/events", f"{chat}/markdown"]
    return {path: chats.call("GET", path, caller).text for path in paths}


def inside(chats: Chats, text: str, *, gateway: str | None = None) -> list[str]:
    """What a text names that no caller shall read."""
    host = urlsplit(gateway or chats.gateway.url).netloc
    matches = [word for word in (host, "/rest/api", "psycopg", "aiohttp", "SQLSTATE") if word in text]
    return matches + VARIABLES.findall(text)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_nothing_that_a_caller_gets_names_the_inside(chats: Chats, name: str) -> None:
    behaviour, code = BEHAVIOURS[name]
    chats.gateway.set_models([{"id": row, "name": "A model"} for row in (25, 28, 30, 35, 40)])
    chats.gateway.behave(completions=behaviour)
    chat = chats.answered()
    assert (chat["status"], chat["error_code"]) == ("failed", code)
    for caller in (ANN, SERVICE):
        for place, text in seen(chats, chat["id"], caller).items():
            assert not inside(chats, text), place
    assert inside(chats, chat["error_cause"]), "operators read where it failed"


def test_operators_read_the_whole_cause_where_they_look_at_the_chat(chats: Chats) -> None:
    chats.gateway.behave(completions={"status": 401})
    chat = chats.answered()
    for caller in (OPERATOR, SERVICE):
        shown = chats.call("GET", f"/api/chats/{chat['id']}?cause=true", caller).json
        assert urlsplit(chats.gateway.url).netloc in shown["cause"]
        assert "cause" not in chats.call("GET", f"/api/chats/{chat['id']}", caller).json
    refused = chats.call("GET", f"/api/chats/{chat['id']}?cause=true", ANN)
    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    assert as_caller(chats.runtime.database, OPERATOR, "SELECT error_cause FROM llm_chats")[0]["error_cause"]


@pytest.mark.parametrize("column", ["error_cause", "last_failure"])
def test_postgresql_itself_keeps_the_cause_from_callers(chats: Chats, column: str) -> None:
    chats.answered()
    with pytest.raises(DatabaseError) as refused:
        as_caller(chats.runtime.database, ANN, f"SELECT {column} FROM llm_chats")
    assert refused.value.sqlstate == "42501"
    assert as_caller(chats.runtime.database, ANN, "SELECT question, answer, error_detail FROM llm_chats")


def test_a_gateway_that_is_not_there_is_named_to_operators_alone(chats: Chats) -> None:
    nowhere = "http://127.0.0.1:1/rest/api/v1"
    process = chats.process(matchaai_base_url=nowhere)
    chat_id = chats.accepted()
    process.run(chat_id)
    wait_for(lambda: chats.row(chat_id)["last_failure"])
    for place, text in seen_open(chats, chat_id).items():
        assert not inside(chats, text, gateway=nowhere), place
    process.close()
    chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() - interval '1 minute', lease_until = NULL")
    with chats.runtime.database.transaction() as connection:
        sweeper.sweep(connection, max_attempts=3)
    row = chats.row(chat_id)
    assert (row["status"], "127.0.0.1:1" in row["error_cause"]) == ("expired", True)
    for place, text in seen(chats, chat_id, ANN).items():
        assert not inside(chats, text, gateway=nowhere), place


def seen_open(chats: Chats, chat_id: uuid.UUID) -> dict[str, str]:
    """What its caller gets of a chat that is open: its events go on, so they are left out."""
    return {path: chats.call("GET", path, ANN).text for path in (f"/api/chats/{chat_id}", "/api/chats")}


@pytest.mark.parametrize("missing", ["matchaai_base_url", "matchaai_mission_id"])
def test_what_is_not_set_up_is_named_to_operators_alone(chats: Chats, missing: str) -> None:
    client = chats.routes(chats.with_settings(**{missing: None}))
    answer = client.post("/api/chasen/chat", json={"question": "q"}, headers={"Authorization": f"Bearer {token(ANN)}"})
    assert (answer.status_code, inside(chats, answer.text)) == (503, [])


@pytest.mark.parametrize("taken", [False, True])
def test_an_expired_chat_says_that_it_never_had_its_turn_only_where_it_had_none(chats: Chats, taken: bool) -> None:
    chat_id = chats.accepted()
    with chats.runtime.database.transaction() as connection:
        if taken:
            claims.claim(connection, [chat_id], lease_seconds=30, max_attempts=3)
    chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() - interval '1 minute'")
    with chats.runtime.database.transaction() as connection:
        sweeper.sweep(connection, max_attempts=3)
    assert ("never had its turn" in chats.shown(chat_id)["error"]["detail"]) is not taken
