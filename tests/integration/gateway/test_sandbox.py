"""The stand-in itself: it asks for the key, says what it is, and ends when it should."""

import os
import signal
import socket

import httpx
import pytest

from harness import plain_http
from harness.stand_in import RunningStandIn
from shared.gateway.wire import render_prompt


def asked(sandbox: RunningStandIn, method: str, path: str, key: str | None, body: object = None) -> httpx.Response:
    headers = {} if key is None else {"MATCHA-API-KEY": key}
    with plain_http.Client(timeout=20) as http:
        return http.request(method, f"http://127.0.0.1:{sandbox.port}{path}", headers=headers, json=body)


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/rest/api/v1/llms"),
        ("POST", "/rest/api/v1/completions"),
        ("GET", "/_sandbox/calls"),
        ("PUT", "/_sandbox/behaviour"),
        ("PUT", "/_sandbox/models"),
    ],
)
def test_nothing_is_had_without_the_key(sandbox: RunningStandIn, method: str, path: str, key: str | None) -> None:
    answer = asked(sandbox, method, path, key)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-stand-in"] == "llm-refresh sandbox"


def test_the_list_is_bare_and_holds_the_fields_that_were_selected(sandbox: RunningStandIn) -> None:
    answer = asked(sandbox, "GET", "/rest/api/v1/llms?select=id,name", sandbox.api_key)

    entries = answer.json()
    assert len(entries) == 27
    assert {"id": 28, "name": "Claude 3.7 Sonnet"} in entries
    assert len({entry["id"] for entry in entries}) == 27
    assert answer.headers["x-stand-in"] == "llm-refresh sandbox"


def test_a_completion_that_names_no_model_is_answered_by_the_missions_own(sandbox: RunningStandIn) -> None:
    answer = asked(sandbox, "POST", "/rest/api/v1/completions", sandbox.api_key, {"mission_id": "7", "input": "Why?"})

    assert "[stand-in for MatchaAI] model Claude 3.7 Sonnet (28) answers:" in answer.text


def test_an_answer_repeats_the_question_without_the_conversation_above_it(sandbox: RunningStandIn) -> None:
    prompt = render_prompt("Be brief.", [("user", "Is it?"), ("assistant", "It is.")], "Why? Really?")
    answer = asked(sandbox, "POST", "/rest/api/v1/completions", sandbox.api_key, {"mission_id": "7", "input": prompt})

    assert "you asked “Why? Really?” (input of" in str(answer.json())


@pytest.mark.parametrize("body", [None, [], {"input": "Why?"}, {"mission_id": 7}, {"mission_id": 7, "input": 7}])
def test_a_body_that_matchaai_would_not_take_is_rejected(sandbox: RunningStandIn, body: object) -> None:
    assert asked(sandbox, "POST", "/rest/api/v1/completions", sandbox.api_key, body).status_code == 400


def test_it_records_what_it_was_asked_but_never_the_key(sandbox: RunningStandIn) -> None:
    asked(sandbox, "GET", "/rest/api/v1/llms", "a-wrong-key")
    asked(sandbox, "GET", "/rest/api/v1/llms", sandbox.api_key)

    calls = sandbox.calls()

    assert [request["key"] for request in calls["requests"]] == ["wrong", "right"]
    assert "a-wrong-key" not in str(calls)
    assert sandbox.api_key not in str(calls)


def test_a_misbehaviour_that_it_does_not_know_is_refused(sandbox: RunningStandIn) -> None:
    with pytest.raises(ValueError, match="dalay"):
        sandbox.behave(completions={"dalay": 3})


def test_any_json_list_may_be_its_models() -> None:
    with RunningStandIn(models=[{"id": True}, 7, None, {"id": 3, "name": "Three"}]) as odd:
        entries = asked(odd, "GET", "/rest/api/v1/llms", odd.api_key).json()

    assert entries == [{"id": True}, 7, None, {"id": 3, "name": "Three"}]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_when_asked_to_even_with_a_call_under_way(signal_number: int) -> None:
    with RunningStandIn() as sandbox:
        sandbox.behave(llms={"silent": True})
        with socket.create_connection(("127.0.0.1", sandbox.port)) as call:
            call.sendall(
                f"GET /rest/api/v1/llms HTTP/1.1\r\nHost: a\r\nMATCHA-API-KEY: {sandbox.api_key}\r\n\r\n".encode()
            )
            sandbox.wait_for_calls(lambda calls: calls["open"] == 1)
            os.kill(sandbox.process.pid, signal_number)

            assert sandbox.process.wait(10) == 0


def test_it_ends_with_whoever_started_it() -> None:
    with RunningStandIn() as sandbox:
        assert sandbox.process.stdin is not None
        sandbox.process.stdin.close()

        assert sandbox.process.wait(10) == 0
