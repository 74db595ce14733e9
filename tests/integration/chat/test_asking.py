"""What is accepted, what is refused, and who sees what."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.chat.open_chats import COUNT_MARGIN, COUNT_SECONDS, TooManyOpen
from shared.db import Caller, DatabaseError
from tests.integration.chat.conftest import ANN, BEN, SERVICE, Chats, as_caller, token

PATH = "/api/chasen/chat"
OTHER_KEY = {"Idempotency-Key": "one"}


def problem(response: Any) -> tuple[int, str]:
    assert response.content_type == "application/problem+json", response.text
    assert response.json["request_id"] == response.headers["X-Request-ID"]
    return response.status_code, response.json["code"]


BAD_BODIES = {
    "broken JSON": (b'{"question": "Wh', 400, "invalid_json"),
    "a list": (b"[]", 422, "invalid_body"),
    "a number as question": (b'{"question": 5}', 422, "invalid_body"),
    "no question": (b"{}", 422, "invalid_body"),
    "nothing at all": (b"", 422, "invalid_body"),
    "an empty question": (b'{"question": ""}', 422, "invalid_body"),
    "a blank question": (b'{"question": " \\n\\t "}', 422, "invalid_body"),
    "an unknown field": (b'{"question": "Which?", "temperature": 1}', 422, "invalid_body"),
    "a field of another name": (b'{"question": "Which?", "system_prompt": "Be brief."}', 422, "invalid_body"),
    "a model that is no text": (b'{"question": "Which?", "model": 25}', 422, "invalid_body"),
    "a model of two lines": (b'{"question": "Which?", "model": "a\\nb"}', 422, "invalid_body"),
    "a model too long": (json.dumps({"question": "Which?", "model": "m" * 201}).encode(), 422, "invalid_body"),
    "history that is no list": (b'{"question": "Which?", "history": "Hello"}', 422, "invalid_body"),
    "a turn without content": (b'{"question": "Which?", "history": [{"role": "user"}]}', 422, "invalid_body"),
    "a turn with more": (
        b'{"question": "Which?", "history": [{"role": "user", "content": "a", "name": "b"}]}',
        422,
        "invalid_body",
    ),
    "invalid UTF-8": (b'{"question": "Wh\xff?"}', 400, "invalid_json"),
    "NUL": (b'{"question": "Wh\\u0000?"}', 422, "invalid_body"),
    "NUL in the system prompt": (b'{"question": "Which?", "systemPrompt": "\\u0000"}', 422, "invalid_body"),
    "NUL in the history": (
        b'{"question": "Which?", "history": [{"role": "user", "content": "\\u0000"}]}',
        422,
        "invalid_body",
    ),
    "NUL in the model": (b'{"question": "Which?", "model": "\\u0000"}', 422, "invalid_body"),
    "a lone surrogate": (b'{"question": "Wh\\ud800?"}', 400, "invalid_json"),
    "too many characters": (json.dumps({"question": "q" * 200_001}).encode(), 422, "prompt_too_long"),
    "too many with the history": (
        json.dumps({"question": "q", "history": [{"role": "user", "content": "h" * 200_000}]}).encode(),
        422,
        "prompt_too_long",
    ),
    "more than a megabyte": (json.dumps({"question": "q" * 1_100_000}).encode(), 413, "body_too_large"),
}


@pytest.mark.parametrize(("body", "status", "code"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_input_is_refused_and_nothing_is_stored(chats: Chats, body: bytes, status: int, code: str) -> None:
    response = chats.call("POST", PATH, data=body, content_type="application/json")
    assert problem(response) == (status, code)
    assert (chats.stored(), chats.sent.chat_ids) == (0, [])


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"[]", "body: must be an object"),
        (b"{}", "question: is missing"),
        (b'{"question": 5, "model": true}', "question: must be a text; model: must be a text"),
        (b'{"question": " "}', "question: must not be empty"),
        (
            b'{"question": "Which?", "temperature": 1}',
            "temperature: no such field; /openapi.json lists those that there are",
        ),
        (b'{"question": "Which?", "history": "Hello"}', "history: must be a list"),
        (b'{"question": "Which?", "history": [{"role": "user"}]}', "history.0.content: is missing"),
        (json.dumps({"question": "Which?", "model": "m" * 201}).encode(), "model: may hold 200 at most"),
        (
            json.dumps({"question": "q" * 200_001}).encode(),
            "the question and all that goes with it hold 200001 characters; they may hold 200000",
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_who_sends_it(chats: Chats, body: bytes, detail: str) -> None:
    response = chats.call("POST", PATH, data=body, content_type="application/json")
    assert response.json["detail"] == detail


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
def test_an_idempotency_key_that_cannot_be_one_is_refused(chats: Chats, key: str) -> None:
    assert problem(chats.ask(headers={"Idempotency-Key": key})) == (400, "invalid_idempotency_key")
    assert chats.stored() == 0


def test_accepted_means_committed_and_the_message_holds_the_id_alone(chats: Chats) -> None:
    response = chats.ask("Which?", systemPrompt="Be brief", headers={"X-Request-ID": "from-outside"})
    assert response.status_code == 202
    body = response.json
    assert response.headers["Location"] == body["links"]["self"] == f"/api/chats/{body['id']}"
    assert body["status"] == "queued"
    assert body["model"] == {
        "requested": None,
        "key": "claude-3-7-sonnet",
        "name": "Claude 3.7 Sonnet",
        "matcha_llm_id": 28,
        "fallback": False,
        "reason": None,
    }
    (chat_id,) = chats.sent.chat_ids
    row = chats.row(chat_id)
    assert (row["subject"], row["request_id"], row["status"]) == ("ann", "from-outside", "queued")
    assert chats.shown(chat_id, ANN) == body


def test_the_same_idempotency_key_gives_the_same_chat_and_another_body_is_refused(chats: Chats) -> None:
    first = chats.ask("Which?", headers=OTHER_KEY)
    again = chats.call(
        "POST",
        PATH,
        headers=OTHER_KEY,
        content_type="application/json",
        data=b'{"model": null, "question": "Wh\\u0069ch?", "history": []}',
    )
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])
    assert problem(chats.ask("Other?", headers=OTHER_KEY)) == (409, "idempotency_conflict")
    assert len(chats.sent.chat_ids) == chats.stored() == 1


def test_two_callers_may_use_the_same_idempotency_key(chats: Chats) -> None:
    mine = chats.ask("Which?", headers=OTHER_KEY)
    theirs = chats.ask("Other?", caller=BEN, headers=OTHER_KEY)
    assert theirs.status_code == 202
    assert mine.json["id"] != theirs.json["id"]


def test_a_caller_sees_their_own_chats_and_a_service_sees_all(chats: Chats) -> None:
    mine, theirs = chats.accepted(caller=ANN), chats.accepted(caller=BEN)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        assert problem(chats.call(method, f"/api/chats/{theirs}{path}", ANN)) == (404, "not_found")
        assert problem(chats.call(method, f"/api/chats/{mine}0{path}", ANN)) == (404, "not_found")
    assert chats.row(theirs)["status"] == "queued"

    def listed(caller: Caller) -> list[str]:
        return [chat["id"] for chat in chats.call("GET", "/api/chats", caller).json["chats"]]

    assert listed(ANN) == [str(mine)]
    assert listed(SERVICE) == [str(theirs), str(mine)]
    assert chats.shown(theirs, SERVICE)["id"] == str(theirs)


def test_the_list_goes_on_where_it_stopped(chats: Chats) -> None:
    ids = [str(chats.accepted()) for _ in range(5)][::-1]
    first = chats.call("GET", "/api/chats?limit=3").json["chats"]
    rest = chats.call("GET", f"/api/chats?limit=3&before={first[-1]['id']}").json["chats"]
    assert [chat["id"] for chat in (*first, *rest)] == ids
    assert problem(chats.call("GET", "/api/chats?limit=0")) == (400, "invalid_query")


def test_above_the_limit_of_open_chats_the_next_is_told_when_to_come_back(chats: Chats) -> None:
    client = chats.routes(chats.with_settings(chat_max_queued=3))
    headers = {"Authorization": f"Bearer {token(ANN)}"}

    def ask() -> Any:
        return client.post(PATH, json={"question": "Which?"}, headers=headers)

    ids = [ask().json["id"] for _ in range(3)]
    refused = ask()
    assert problem(refused) == (503, "too_many_chats")
    assert int(refused.headers["Retry-After"]) > 0
    assert chats.stored() == 3
    chats.call("DELETE", f"/api/chats/{ids[0]}")
    assert ask().status_code == 202


def test_who_counts_beside_others_and_finds_little_room_counts_alone(chats: Chats) -> None:
    runtime = chats.with_settings(chat_max_queued=COUNT_MARGIN + 3)

    def open_by_others(number: int) -> None:
        chats.catalogue.run(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
            " deadline_at) SELECT gen_random_uuid(), 'x', '', 'q', 'k', 'n', 1, now() + interval '1 hour'"
            " FROM generate_series(1, :n)",
            n=number,
        )
        time.sleep(COUNT_SECONDS)  # what is tested is the next look

    assert chats.submit(runtime=runtime)
    open_by_others(COUNT_MARGIN)
    assert chats.submit(runtime=runtime)  # 2,001 were open, and nobody else asked
    assert chats.submit(runtime=runtime)
    with pytest.raises(TooManyOpen):
        chats.submit(runtime=runtime)
    chats.catalogue.run("DELETE FROM llm_chats WHERE subject = 'x' AND id IN (SELECT id FROM llm_chats LIMIT 2002)")
    assert chats.submit(runtime=runtime)
    open_by_others(COUNT_MARGIN + 3)
    with pytest.raises(TooManyOpen):
        chats.submit(runtime=runtime)


def test_without_any_active_model_nothing_is_accepted(chats: Chats) -> None:
    chats.catalogue.run("UPDATE llm_models SET is_default = false, is_active = false")
    assert problem(chats.ask()) == (503, "no_model")
    assert problem(chats.ask(model="claude-3-7-sonnet")) == (503, "no_model")
    assert chats.stored() == 0


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"matchaai_mission_id": None}, "mission_not_set"),
        ({"matchaai_base_url": None}, "matchaai_not_set_up"),
        ({"matchaai_api_key": None}, "matchaai_not_set_up"),
    ],
)
def test_what_is_not_set_up_is_said_before_anything_is_accepted(
    chats: Chats, changed: dict[str, Any], code: str
) -> None:
    client = chats.routes(chats.with_settings(**changed))
    response = client.post(PATH, json={"question": "Which?"}, headers={"Authorization": f"Bearer {token(ANN)}"})
    assert problem(response) == (503, code)
    assert chats.stored() == 0


def test_the_last_places_are_given_away_once_whoever_asks_at_the_same_time(chats: Chats) -> None:
    processes = [chats.with_settings(chat_max_queued=10) for _ in range(2)]

    def ask(number: int) -> bool:
        try:
            chats.submit(f"Question {number}?", runtime=processes[number % 2])
        except TooManyOpen:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        accepted = list(pool.map(ask, range(40)))

    assert (accepted.count(True), chats.stored()) == (10, 10)


def test_postgresql_lets_a_caller_read_and_write_nothing(chats: Chats) -> None:
    mine = chats.accepted(caller=ANN)
    refused = [
        "UPDATE llm_chats SET answer = 'mine', status = 'succeeded'",
        "UPDATE llm_chats SET attempt = 9",
        "UPDATE llm_chats SET status = 'running'",
        "UPDATE llm_chats SET status = 'cancelled', finished_at = now()",
        "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, deadline_at)"
        " VALUES (gen_random_uuid(), 'ann', '', 'q', 'k', 'n', 1, now())",
        "DELETE FROM llm_chats",
        "UPDATE llm_usage_stats SET request_count = 0",
    ]
    for statement in refused:
        with pytest.raises(DatabaseError) as raised:
            as_caller(chats.runtime.database, ANN, statement)
        assert raised.value.sqlstate == "42501", statement
    assert [row["id"] for row in as_caller(chats.runtime.database, ANN, "SELECT id FROM llm_chats")] == [mine]


def test_a_cancelled_chat_ends_at_once_and_stays_as_it_ended(chats: Chats) -> None:
    chat_id = chats.accepted()
    first = chats.call("DELETE", f"/api/chats/{chat_id}").json
    assert (first["status"], first["error"]["code"]) == ("cancelled", "cancelled")
    assert chats.call("DELETE", f"/api/chats/{chat_id}").json == first
    chats.process().run(chat_id)
    assert chats.shown(chat_id, ANN) == first
    assert chats.gateway.calls()["completions"] == 0
    usage = chats.call("GET", "/api/llms/usage").json["usage"]
    assert [(each["model_key"], each["request_count"], each["cancelled"]) for each in usage] == [
        ("claude-3-7-sonnet", 1, 1)
    ]
