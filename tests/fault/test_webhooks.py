"""A worker that is killed between sending an event and recording it: the event comes again, under the same id."""

from __future__ import annotations

import signal

import pytest

from harness.waiting import wait_for
from tests.fault.conftest import StartSystem
from tests.support import openai_sdk as openai
from tests.support.receiver import receiver


@pytest.mark.timeout(240)
def test_an_event_that_was_sent_and_not_recorded_comes_again(start_system: StartSystem) -> None:
    system = start_system()
    chat, refresh = system.start_chat_worker(), system.start_refresh_worker()
    with receiver() as hook, openai.OpenAI(base_url=f"{system.web.url}/v1", api_key="any") as client:
        made = system.web.post(
            "/api/webhooks", json={"url": hook.url, "subject": "local", "events": ["response.completed"]}
        ).json()
        hook.answers = [None]  # it has the event, and its answer does not come before the kill
        response = client.responses.create(model="gpt-4o", input="Which?", background=True)
        wait_for(lambda: hook.posts, seconds=40)
        for process in (chat, refresh):
            process.signal(signal.SIGKILL)
            process.wait()
        hook.released.set()
        ((status, attempts),) = system.query("SELECT status, attempts FROM llm_webhook_deliveries")
        assert (status, attempts) == ("waiting", 1)
        system.start_refresh_worker()
        wait_for(lambda: len(hook.posts) == 2, seconds=90)
        wait_for(lambda: system.query("SELECT id FROM llm_webhook_deliveries WHERE status = 'delivered'"), seconds=20)
        one, other = hook.posts
        assert one.body == other.body
        assert one.headers["webhook-id"] == other.headers["webhook-id"]
        client.webhooks.verify_signature(one.body, one.headers, secret=made["secret"])
        event = client.webhooks.unwrap(other.body, other.headers, secret=made["secret"])
        assert event.data.id == response.id
