"""OpenAI's own SDK for Node: lists, asks, streams, and raises the class that each error belongs to."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.chatting import System
from tests.support.node import installed

FOLDER = Path(__file__).parent / "node"
Run = Callable[..., Any]

pytestmark = pytest.mark.timeout(400)  # the first of them installs the package


@pytest.fixture(scope="module")
def folder() -> Path:
    return installed(FOLDER)


@pytest.fixture
def run(folder: Path, system: System) -> Run:
    """Runs a scenario of sdk.mjs with what it is given, and returns what it prints."""

    def runs(scenario: str, *given: str) -> Any:
        command = ["node", "sdk.mjs", scenario, f"{system.web.url}/v1", *given]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return runs


def test_it_lists_the_models_and_shows_one(run: Run) -> None:
    listed = run("list")
    assert listed["ids"][:2] == ["claude-3-7-sonnet", "claude-3-5-sonnet"]
    assert (listed["one"]["object"], listed["one"]["owned_by"]) == ("model", "openai")


def test_it_asks(run: Run, system: System) -> None:
    result = run("ask")
    ((chat_id, answer),) = system.query("SELECT id, answer FROM llm_chats")
    assert result["completion"]["choices"][0]["message"]["content"] == answer
    assert result["headers"] == [str(chat_id), "temperature"]
    assert result["request_id"]


def test_it_falls_back_when_it_is_asked_to(run: Run) -> None:
    assert run("fallback") == {"model": "gpt-4o", "reason": "unknown_key"}


def test_it_streams(run: Run, system: System) -> None:
    system.gateway.behave(completions={"delay": 6, "padded": 5000})
    chunks = run("stream")["chunks"]
    ((answer,),) = system.query("SELECT answer FROM llm_chats")
    assert chunks[0]["delta"]["role"] == "assistant"
    assert "".join(chunk["delta"].get("content") or "" for chunk in chunks) == answer
    assert [chunk["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]


def test_its_helper_for_streams_gathers_the_answer(run: Run, system: System) -> None:
    gathered = run("helper")
    ((answer,),) = system.query("SELECT answer FROM llm_chats")
    assert gathered == {"content": answer, "finish_reason": "stop"}


def test_it_raises_the_class_of_each_error(run: Run) -> None:
    assert run("errors")["raised"] == [
        ["NotFoundError", 404, "model_not_found", "model", "invalid_request_error"],
        ["BadRequestError", 400, "unsupported_parameter", "n", "invalid_request_error"],
        ["BadRequestError", 400, "invalid_value", "messages", "invalid_request_error"],
    ]


def test_a_failure_of_the_model_is_raised_once_and_not_tried_again(run: Run, system: System) -> None:
    system.gateway.behave(completions={"status": 400, "error": "no"})
    raised = run("failure")
    assert raised["asked"] == ["InternalServerError", 502, "upstream_rejected"]
    assert raised["streamed"] == [True, "upstream_rejected"]
    assert system.statuses() == {"failed": 2}, "one for each question: the SDK has not asked again"


def test_a_question_that_is_sent_again_gets_the_answer_of_the_first(run: Run, system: System) -> None:
    system.gateway.behave(completions={"delay": 4})
    assert "Which?" in run("resend")["content"]
    assert system.statuses() == {"succeeded": 1}
    assert system.gateway.calls()["completions"] == 1


def test_a_limit_raises_its_class_with_its_headers_and_a_retry_waits_as_long_as_it_says(
    run: Run, system: System
) -> None:
    system.gateway.behave(completions={"delay": 60})
    open_chat = system.web.post("/api/chasen/chat", json={"question": "Which?"}).json()["id"]
    system.gateway.wait_for_calls(lambda calls: calls["open"] == 1)
    system.gateway.behave()
    assert system.web.client.patch("/api/callers/local", json={"max_open": 1}).status_code == 200
    try:
        output = run("limits", open_chat)
    finally:
        system.query("DELETE FROM llm_callers")
    assert output["refused"] == [True, 429, "rate_limit_exceeded", "requests"]
    assert output["refused_headers"][:2] == ["1", "0"]
    assert output["refused_headers"][2]
    assert output["attempts"] == [[429, "0"], [200, "1"]], "the open chat is cancelled between the two"
    assert output["waited_ms"] >= output["asked_for_ms"] > 0
    assert "Which?" in output["content"]
    assert output["headers"][:2] == ["1", "0"]
    assert system.statuses() == {"cancelled": 1, "succeeded": 1}


def test_a_stream_that_is_asked_for_usage_has_none_and_nothing_breaks(run: Run) -> None:
    output = run("usage")
    assert set(output["choices"]) == {1}, "clients that read choices[0] of each chunk go on"
    assert "Which?" in output.pop("content")
    assert (output["usages"], output["usage"], output["ignored"]) == (0, None, "stream_options")


def test_it_asks_in_the_background_and_goes_on_from_there(run: Run, system: System) -> None:
    system.gateway.behave(completions={"delay": 1})
    output = run("responses")
    assert "Which?" in output.pop("text")
    types = output.pop("types")
    assert (types[0], types[-1], len(types)) == ("response.in_progress", "response.completed", 8)
    assert output == {"status": "queued", "next": True, "items": ["And?"], "gone": "NotFoundError"}
