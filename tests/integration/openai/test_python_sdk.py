"""OpenAI's own SDK for Python: lists, asks, streams, and raises the class that each error belongs to."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from harness import plain_http
from harness.chatting import System
from harness.waiting import wait_for
from tests.support import openai_sdk as openai

ASKED = [{"role": "user", "content": "Which?"}]
GPT = "gpt-4o"


def ask(client: openai.OpenAI, question: str = "Which?", **more: Any) -> Any:
    return client.chat.completions.create(**{"model": GPT, "messages": [{"role": "user", "content": question}], **more})


def test_it_lists_the_models_and_shows_one(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models][:2] == ["claude-3-7-sonnet", "claude-3-5-sonnet"]
    assert all(model.object == "model" and model.created > 1_700_000_000 for model in models)
    assert client.models.retrieve(GPT).owned_by == "openai"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-9")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_it_asks_with_all_that_was_said_before(client: openai.OpenAI, system: System) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=GPT,
        temperature=0.2,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hello!"},
            {"role": "developer", "content": [{"type": "text", "text": "No lists."}]},
            {"role": "user", "content": [{"type": "text", "text": "Which"}, {"type": "text", "text": "one?"}]},
        ],
    )
    completion = raw.parse()
    ((chat_id, question, prompt, history, answer),) = system.query(
        "SELECT id, question, system_prompt, history, answer FROM llm_chats"
    )
    assert (question, prompt) == ("Which\none?", "Be brief.\n\nNo lists.")
    assert history == [["user", "Hello."], ["assistant", "Hello!"]]
    assert completion.id == f"chatcmpl-{chat_id.hex}"
    assert (completion.model, completion.usage) == (GPT, None)
    (choice,) = completion.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (answer, "assistant", "stop")
    assert raw.headers["x-llm-refresh-chat-id"] == str(chat_id)
    assert raw.headers["x-llm-refresh-ignored"] == "temperature"
    assert raw.headers["x-request-id"]
    assert "x-llm-refresh-fallback-reason" not in raw.headers


def test_it_streams_over_a_slow_model_with_signs_of_life(client: openai.OpenAI, system: System) -> None:
    system.gateway.behave(completions={"delay": 17, "padded": 5000})
    lines: list[str] = []
    with client.chat.completions.with_streaming_response.create(model=GPT, messages=ASKED, stream=True) as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = [line for line in response.iter_lines() if line]
    assert not [line for line in lines if line.startswith("id:")]
    assert lines[0].startswith("data:")
    assert len([line for line in lines if line.startswith(":")]) >= 2
    assert lines[-1] == "data: [DONE]"
    waited = [line for line in lines if '"delta":{}' in line and '"finish_reason":null' in line]
    assert len(waited) == 1, "a chunk with an empty delta after 15 s"


def test_a_stream_has_the_role_first_and_the_whole_answer(client: openai.OpenAI, system: System) -> None:
    system.gateway.behave(completions={"padded": 5000})
    chunks = list(ask(client, stream=True))
    choices = [chunk.choices[0] for chunk in chunks]
    assert (choices[0].delta.role, choices[0].finish_reason) == ("assistant", None)
    ((answer,),) = system.query("SELECT answer FROM llm_chats")
    assert "".join(choice.delta.content or "" for choice in choices) == answer
    assert len(choices) > 3, "a long answer comes in pieces"
    assert [choice.finish_reason for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {GPT}


REFUSED = [
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_value"),
    ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content", "invalid_value"),
    ({"messages": [{"role": "tool", "content": "x"}, *ASKED]}, "messages[0].role", "unsupported_parameter"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].type",
        "unsupported_parameter",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type", "invalid_value"),
    ({"messages": ASKED * 1001}, "messages", "invalid_value"),
    ({"messages": [{"role": "user", "content": "x" * 200_001}]}, "messages", "context_length_exceeded"),
    ({"model": ""}, "model", "invalid_value"),
    ({"model": 7}, "model", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
    ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
    ({"n": 2}, "n", "unsupported_parameter"),
    ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
]


@pytest.mark.parametrize(("body", "param", "code"), REFUSED, ids=[f"{param} {code}" for _, param, code in REFUSED])
def test_what_cannot_be_done_is_a_bad_request_that_names_the_field(
    client: openai.OpenAI, system: System, body: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **body)
    assert (refused.value.param, refused.value.code, refused.value.type) == (param, code, "invalid_request_error")
    assert refused.value.request_id
    assert not system.statuses()


def test_what_says_nothing_is_accepted(client: openai.OpenAI) -> None:
    nothing = {"tools": [], "n": 1, "logprobs": False, "response_format": {"type": "text"}, "modalities": ["text"]}
    assert ask(client, **nothing, seed=1, user="u", extra_body={"unheard_of": {"of": 1}, "stream_options": None})


def test_only_the_named_model_answers_unless_falling_back_is_asked_for(client: openai.OpenAI, system: System) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, model="gpt-9")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert not system.statuses()
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-9", messages=ASKED, extra_body={"models": ["gpt-9", GPT]}
    )
    assert raw.parse().model == GPT
    assert raw.headers["x-llm-refresh-requested-model"] == "gpt-9"
    assert raw.headers["x-llm-refresh-fallback-reason"] == "unknown_key"
    assert ask(client, model="gpt-9", extra_body={"fallback": True}).model == "claude-3-7-sonnet"


FAILURES = [
    ({"status": 429, "retry_after": "9999"}, "RateLimitError", "rate_limit_exceeded", "requests"),
    ({"status": 401}, "InternalServerError", "unauthorised", "upstream_error"),
    ({"shape": "none"}, "InternalServerError", "upstream_shape", "upstream_error"),
    ({"status": 400, "error": "no"}, "InternalServerError", "upstream_rejected", "upstream_error"),
    (
        {"status": 400, "error": "prompt is too long"},
        "BadRequestError",
        "context_length_exceeded",
        "invalid_request_error",
    ),
    ({"status": 404, "error": "LLM not found"}, "NotFoundError", "model_not_found", "invalid_request_error"),
]


@pytest.mark.parametrize(("behaviour", "error", "code", "kind"), FAILURES, ids=[code for _, _, code, _ in FAILURES])
def test_a_failure_of_the_model_is_raised_once_and_not_tried_again(
    client: openai.OpenAI,
    system: System,
    behaviour: dict[str, Any],
    error: str,
    code: str,
    kind: str,
) -> None:
    system.gateway.behave(completions=behaviour)
    with pytest.raises(getattr(openai, error)) as failed:
        ask(client)
    assert (failed.value.code, failed.value.type) == (code, kind)
    assert system.statuses() == {"failed": 1}, "the SDK has not asked again"
    with pytest.raises(openai.APIError) as in_stream:
        list(ask(client, "And in a stream?", stream=True))
    assert in_stream.value.code == code


def test_a_question_that_is_sent_again_gets_the_answer_of_the_first(system: System) -> None:
    """The SDK gives up waiting, and sends it again by itself: one chat, one call."""
    system.gateway.behave(completions={"delay": 4})
    with openai.OpenAI(base_url=f"{system.web.url}/v1", api_key="x", timeout=1.5) as client:
        assert "Which?" in ask(client.with_options(max_retries=5)).choices[0].message.content
    assert system.statuses() == {"succeeded": 1}
    assert system.gateway.calls()["completions"] == 1
    assert system.query("SELECT resends > 0 FROM llm_chats") == [(True,)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_whose_caller_has_gone_is_cancelled_a_minute_later(system: System, stream: bool) -> None:
    system.gateway.behave(completions={"silent": True})
    leave(system, stream=stream)
    wait_for(lambda: system.query("SELECT id FROM llm_chats WHERE cancel_at IS NOT NULL"), seconds=15)
    ((seconds,),) = system.query("SELECT extract(epoch FROM cancel_at - now())::float8 FROM llm_chats")
    assert 45 < seconds <= 60
    system.query("UPDATE llm_chats SET cancel_at = now()")
    wait_for(lambda: system.statuses() == {"cancelled": 1})
    system.gateway.wait_for_calls(lambda calls: calls["closed_by_client"] == 1)


def test_a_chat_whose_caller_has_gone_is_kept_for_the_same_question(system: System, client: openai.OpenAI) -> None:
    system.gateway.behave(completions={"delay": 6})
    leave(system)
    wait_for(lambda: system.query("SELECT id FROM llm_chats WHERE cancel_at IS NOT NULL"), seconds=15)
    ask(client)
    assert system.query("SELECT status, cancel_at, resends FROM llm_chats") == [("succeeded", None, 1)]


@pytest.mark.parametrize(("body", "headers"), [({"store": True}, {}), ({}, {"Idempotency-Key": "mine"})])
def test_a_chat_that_its_caller_can_come_back_for_is_not_given_up(
    system: System, body: dict[str, Any], headers: dict[str, str]
) -> None:
    system.gateway.behave(completions={"delay": 4})
    leave(system, body=body, headers=headers)
    wait_for(lambda: system.statuses() == {"succeeded": 1})
    assert system.query("SELECT cancel_at FROM llm_chats") == [(None,)]


def leave(system: System, *, stream: bool = False, body: Any = None, headers: Any = None) -> None:
    """Ask, and close the connection while the model works on it."""
    question = {"model": GPT, "messages": ASKED, "stream": stream, **(body or {})}

    def asks() -> None:
        try:
            with plain_http.Client(timeout=3) as http:
                address = f"{system.web.url}/v1/chat/completions"
                with http.stream("POST", address, json=question, headers=headers) as response:
                    for _ in response.iter_raw():
                        if stream:
                            return
        except httpx.TimeoutException:
            pass

    thread = threading.Thread(target=asks)
    thread.start()
    system.wait_for_calls(1)
    thread.join()
