"""Events of background responses, as OpenAI's SDKs for Python and Node take them from a real receiver."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.chatting import System
from harness.waiting import wait_for
from tests.support import openai_sdk as openai
from tests.support.node import installed
from tests.support.receiver import Post, Receiver

GPT = "gpt-4o"
EVENTS = ["response.completed", "response.failed", "response.cancelled"]


@pytest.fixture
def secret(system: System, hook: Receiver) -> Iterator[str]:
    """The secret of an endpoint at the receiver, for whoever calls."""
    made = system.web.post("/api/webhooks", json={"url": hook.url, "subject": "local", "events": EVENTS})
    assert made.status_code == 201, made.text
    yield made.json()["secret"]
    system.query("UPDATE llm_webhook_endpoints SET removed_at = now()")


def first(hook: Receiver) -> Post:
    wait_for(lambda: hook.posts, seconds=30)
    return hook.posts[0]


def test_a_completed_response_is_told_and_can_be_read_by_its_id(
    system: System, client: openai.OpenAI, hook: Receiver, secret: str
) -> None:
    response = client.responses.create(model=GPT, input="Which?", background=True)
    post = first(hook)
    event: Any = client.webhooks.unwrap(post.body, post.headers, secret=secret)
    assert (event.type, event.object, event.data.id) == ("response.completed", "event", response.id)
    message = client.responses.retrieve(event.data.id)
    assert message.status == "completed"
    assert message.output_text.encode() not in post.body
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(post.body + b" ", post.headers, secret=secret)


def test_a_failed_and_a_cancelled_response_are_told(
    system: System, client: openai.OpenAI, hook: Receiver, secret: str
) -> None:
    system.gateway.behave(completions={"status": 400})
    failed = client.responses.create(model=GPT, input="Which?", background=True)
    wait_for(lambda: hook.posts, seconds=30)
    system.gateway.behave(completions={"delay": 20})
    cancelled = client.responses.create(model=GPT, input="And?", background=True)
    system.wait_for_calls(1)
    client.responses.cancel(cancelled.id)
    wait_for(lambda: len(hook.posts) == 2, seconds=30)
    events: list[Any] = [client.webhooks.unwrap(post.body, post.headers, secret=secret) for post in hook.posts]
    assert [(event.type, event.data.id) for event in events] == [
        ("response.failed", failed.id),
        ("response.cancelled", cancelled.id),
    ]


def test_a_response_in_the_foreground_is_told_by_its_own_answer(
    client: openai.OpenAI, hook: Receiver, secret: str
) -> None:
    assert client.responses.create(model=GPT, input="Which?").status == "completed"
    response = client.responses.create(model=GPT, input="Which?", background=True)
    assert json.loads(first(hook).body)["data"]["id"] == response.id
    assert len(hook.posts) == 1


@pytest.mark.timeout(400)  # the package may have to be installed
def test_the_sdk_for_node_takes_it_and_refuses_another_secret(
    system: System, client: openai.OpenAI, hook: Receiver, secret: str
) -> None:
    folder = installed(Path(__file__).parent / "node")
    response = client.responses.create(model=GPT, input="Which?", background=True)
    post = first(hook)
    stdin_text = json.dumps({"body": post.body.decode(), "headers": post.headers, "secret": secret})
    command = ["node", "sdk.mjs", "unwrap", f"{system.web.url}/v1", stdin_text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    assert (message["event"]["type"], message["event"]["data"]["id"]) == ("response.completed", response.id)
    assert message["refused"] == "InvalidWebhookSignatureError"
