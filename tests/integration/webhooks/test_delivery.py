"""Events arrive signed, again where they are not taken, under the same id, and never for ever."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import cast

import pytest
import sqlalchemy as sa

from harness.waiting import wait_for
from shared.clock import utc_now
from shared.db import Database
from shared.notices.deliveries import address
from shared.notices.sender import Receiver as OperatorReceiver
from shared.notices.sender import Sender
from shared.notices.webhook import Webhook
from shared.signing import new_secret, verify
from shared.webhooks import deliveries, delivery_history, endpoints
from shared.webhooks.delivery_history import EndpointOff
from shared.webhooks.endpoints import MAX_ENDPOINTS, TooManyEndpoints, UnhealthyEndpoint
from shared.webhooks.sender import MAX_PER_ENDPOINT
from tests.integration.webhooks.conftest import Hooks
from tests.support import openai_sdk as openai
from tests.support.receiver import Receiver, receiver

NOWHERE = "http://127.0.0.1:9/hook"


def unhealthy(hooks: Hooks) -> list[UnhealthyEndpoint]:
    with hooks.catalogue.database.transaction() as connection:
        return endpoints.list_unhealthy(connection)


def test_it_arrives_as_the_sdk_of_openai_takes_it(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    hooks.send()
    (post,) = hook.posts
    event = openai.OpenAI(api_key="any", webhook_secret=endpoint["secret"]).webhooks.unwrap(post.body, post.headers)
    (chat,) = hooks.catalogue.run("SELECT id, floor(extract(epoch FROM finished_at)) AS at FROM llm_chats")
    assert event.type == "response.completed"
    assert (event.data.id, event.created_at) == (f"resp_{chat['id'].hex}", chat["at"])
    assert json.loads(post.body).keys() == {"id", "object", "type", "created_at", "data"}
    assert post.headers["webhook-id"] == event.id
    row = hooks.delivery()
    assert (row["status"], row["attempts"], row["last_status"], row["next_attempt_at"]) == ("delivered", 1, 204, None)
    assert hooks.state(endpoint)["last_delivered_at"]


def test_it_is_sent_once(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    for _ in range(3):
        hooks.send()
        hooks.later(hours=1)
    assert len(hook.posts) == 1


@pytest.mark.parametrize("status", [500, 404, 302, 429])
def test_what_is_not_taken_comes_again_under_the_same_id(hooks: Hooks, hook: Receiver, status: int) -> None:
    endpoint = hooks.event(hook.url)
    hook.answers = [status]
    hooks.send()
    row = hooks.delivery()
    assert (row["status"], row["attempts"], row["last_status"]) == ("waiting", 1, status)
    assert row["last_error"] == f"the receiver answered HTTP {status}"
    hooks.send()
    assert len(hook.posts) == 1  # not before its time, and a redirect is followed nowhere
    hooks.later(seconds=30)
    hooks.send()
    first, second = hook.posts
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert verify(endpoint["secret"], second.body, second.headers, now=time.time())
    assert hooks.delivery()["status"] == "delivered"
    assert hooks.state(endpoint)["failing_since"] is None


def test_pauses_grow_with_the_time_that_it_fails(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    pauses = []
    for hours in (0, 0.05, 0.15, 12):
        hook.answers = [500]
        hooks.later(hours=max(hours, 0.01))
        hooks.send()
        pauses.append((hooks.state(endpoint)["send_at"] - utc_now()).total_seconds())
    assert len(hook.posts) == 4
    assert pauses == sorted(pauses)
    assert pauses[0] < 12
    assert 800 < pauses[-1] <= 990
    assert hooks.state(endpoint)["failing_since"]


def test_a_receiver_may_ask_for_a_longer_pause(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hook.answers, hook.retry_after = [503], "1200"
    hooks.send()
    hooks.later(seconds=1000)
    hooks.send()
    assert len(hook.posts) == 1
    hooks.later(seconds=300)
    hooks.send()
    assert len(hook.posts) == 2


def test_an_endpoint_that_fails_is_tried_with_one_and_then_gets_all(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hook.answers = [500]
    hooks.send()
    hooks.finish(*[hooks.ask() for _ in range(9)])
    hook.answers = [500]
    hooks.later(seconds=30)
    hooks.send()
    assert len(hook.posts) == 2
    hooks.later(minutes=5)
    hooks.send()
    assert {row["status"] for row in hooks.deliveries()} == {"delivered"}


def test_a_recovered_endpoint_gets_what_paused_at_once(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hooks.finish(hooks.ask())
    hook.answers = [500, 500]
    hooks.send()
    first = hooks.deliveries()[0]["id"]
    hooks.catalogue.run(
        "UPDATE llm_webhook_deliveries SET send_at = now() + interval '1 hour' WHERE id <> :id", id=first
    )
    hooks.later(seconds=30)
    hooks.send()
    assert [row["status"] for row in hooks.deliveries()] == ["delivered", "delivered"]


def test_one_event_that_is_never_taken_stops_no_other(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    bad = hooks.delivery()["event_id"]
    hook.refused_ids = {bad}
    for _ in range(3):
        hooks.send()
        hooks.finish(*[hooks.ask() for _ in range(3)])
        hooks.later(minutes=3)
    hooks.send()
    waiting = [row["event_id"] for row in hooks.deliveries() if row["status"] != "delivered"]
    assert waiting == [bad]


def test_an_endpoint_that_fails_for_three_days_is_switched_off(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(f"{hook.url}?token=hidden")
    hook.answers = [500, 500]
    hooks.send()
    assert unhealthy(hooks) == []
    hooks.later(hours=71)
    assert [(each.is_disabled, each.subject) for each in unhealthy(hooks)] == [(False, "ann")]
    hooks.sender().disable_failing()
    hooks.send()
    assert hooks.state(endpoint)["disabled_at"] is None
    hooks.later(hours=2)
    hooks.sender().disable_failing()
    state = hooks.state(endpoint)
    assert state["disabled_at"]
    assert state["disabled_reason"] == "failing"
    assert [(each.is_disabled, each.id) for each in unhealthy(hooks)] == [(True, endpoint["id"])]
    assert hooks.delivery()["status"] == "failed"
    (notice,) = hooks.catalogue.run("SELECT kind, run_id, data FROM llm_notices")
    assert (notice["kind"], notice["run_id"], notice["data"]["subject"]) == ("webhook_disabled", None, "ann")
    assert str(endpoint["id"]) in notice["data"]["text"]
    assert "hidden" not in str(notice["data"])
    hooks.finish(hooks.ask())
    assert len(hooks.deliveries()) == 1  # what is off makes no events


def test_an_endpoint_that_nobody_could_try_is_not_switched_off(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    hook.answers = [500]
    hooks.send()
    hooks.later(hours=100)  # no worker ran meanwhile
    hooks.sender().disable_failing()
    assert hooks.state(endpoint)["disabled_at"] is None


def test_gone_switches_off_at_once_and_enable_on_again(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    hooks.finish(hooks.ask())
    hook.answers = [410, 410]
    hooks.send()
    assert hooks.state(endpoint)["disabled_reason"] == "gone"
    assert {row["status"] for row in hooks.deliveries()} == {"failed"}
    assert len(hooks.catalogue.run("SELECT FROM llm_notices")) == 1
    row = hooks.deliveries()[0]
    with pytest.raises(EndpointOff, match="enable"), hooks.catalogue.database.transaction() as connection:
        delivery_history.redeliver(connection, row["id"])
    with hooks.catalogue.database.transaction() as connection:
        endpoints.enable(connection, endpoint["id"])
        delivery_history.redeliver(connection, row["id"])
    hooks.send()
    assert hook.posts[-1].headers["webhook-id"] == row["event_id"]
    assert next(each for each in hooks.deliveries() if each["id"] == row["id"])["status"] == "delivered"


def test_a_redelivery_goes_at_once_under_the_same_id(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hooks.send()
    hooks.later(hours=100)
    with hooks.catalogue.database.transaction() as connection:
        shown = delivery_history.redeliver(connection, hooks.delivery()["id"])
    assert shown["status"] == "waiting"
    hook.answers = [500]
    hooks.send()
    assert hooks.delivery()["status"] == "waiting"  # for three days from now
    hooks.later(seconds=30)
    hooks.send()
    assert len(hook.posts) == 3
    assert len({(post.headers["webhook-id"], post.body) for post in hook.posts}) == 1
    assert hooks.delivery()["attempts"] == 3


def test_a_removed_endpoint_gets_nothing_more(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    with hooks.catalogue.database.transaction() as connection:
        endpoints.remove(connection, endpoint["id"], actor="test")
        assert endpoints.list_endpoints(connection) == []
    hooks.finish(hooks.ask())
    hooks.send()
    assert hook.posts == []
    assert hooks.delivery()["last_error"] == "its endpoint was removed"
    assert hooks.state(endpoint)["secret"] == ""


def test_an_event_that_ends_beside_a_removal_is_ended_too(hooks: Hooks) -> None:
    endpoint = hooks.endpoint(NOWHERE)
    chat_id = hooks.ask()
    with hooks.catalogue.database.transaction() as removing:
        endpoints.remove(removing, endpoint["id"], actor="test")
        hooks.finish(chat_id)  # sees the endpoint, and is not held up by its removal
    hooks.send()
    hooks.sender().disable_failing()
    assert (hooks.delivery()["status"], hooks.delivery()["attempts"]) == ("failed", 0)


def test_a_delivery_whose_sender_died_is_sent_again(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    with hooks.catalogue.database.transaction() as connection:
        (taken,) = deliveries.take(connection, limit=5, probes=5, each=5, lease_seconds=20, busy={})
    hooks.send()
    assert hook.posts == []
    hooks.later(seconds=21)
    hooks.send()
    assert hook.posts[0].headers["webhook-id"] == taken.event_id
    assert hooks.delivery()["attempts"] == 2


def test_two_senders_share_what_is_due(hooks: Hooks, hook: Receiver) -> None:
    hooks.endpoint(hook.url)
    hooks.finish(*[hooks.ask() for _ in range(30)])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda sender: sender.send_due(), [hooks.sender(), hooks.sender()]))
    assert len(hook.posts) == 30
    assert {row["status"] for row in hooks.deliveries()} == {"delivered"}


def test_an_endpoint_that_hangs_holds_up_no_other(hooks: Hooks, hook: Receiver) -> None:
    with receiver() as slow:
        slow.answers = [None] * 50
        hooks.endpoint(slow.url)
        hooks.endpoint(hook.url)
        hooks.finish(*[hooks.ask() for _ in range(20)])
        sending = threading.Thread(target=hooks.sender(seconds=4).send_due)
        sending.start()
        wait_for(lambda: len(hook.posts) == 20, seconds=20)
        assert len(slow.posts) <= 4
        hooks.finish(hooks.ask())  # what comes while one hangs goes out as well
        wait_for(lambda: len(hook.posts) == 21, seconds=20)
        slow.released.set()
        sending.join(60)
        assert not sending.is_alive()


def test_what_ends_while_the_sender_looks_for_more_makes_room_for_what_waits(hooks: Hooks, hook: Receiver) -> None:
    hooks.endpoint(hook.url)
    hooks.finish(*[hooks.ask() for _ in range(MAX_PER_ENDPOINT + 1)])
    hook.held = threading.Event()

    class EndsWhileItLooks:
        """The database, where all that is under way ends before its second look has been read."""

        transactions = 0

        @contextmanager
        def transaction(self) -> Iterator[sa.Connection]:
            self.transactions += 1
            is_second_look = self.transactions == 2  # nothing is recorded before: no answer has come
            with hooks.catalogue.database.transaction() as connection:
                yield connection
            if is_second_look:
                assert hook.held is not None
                hook.held.set()
                wait_for(lambda: [row["status"] for row in hooks.deliveries()].count("delivered") == MAX_PER_ENDPOINT)

    hooks.sender(database=cast(Database, EndsWhileItLooks())).send_due()
    assert {row["status"] for row in hooks.deliveries()} == {"delivered"}


def test_a_receiver_that_does_not_answer_is_left_at_the_deadline(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hook.answers = [None]
    hooks.send(seconds=0.5)
    assert hooks.delivery()["last_error"] == "the receiver did not answer within 0.5 s"
    assert hooks.delivery()["last_status"] is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_connection_is_refused_where_the_address_is(hooks: Hooks, hook: Receiver, host: str) -> None:
    """The name was fine when it was registered: what it leads to at the connection counts."""
    hooks.event(hook.url.replace("http://127.0.0.1", f"https://{host}"))
    hooks.send(local=False)
    assert hook.posts == []
    assert "nothing was sent: the address of its host is loopback" in hooks.delivery()["last_error"]


def test_production_sends_nothing_in_plain_text(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hooks.send(local=False)
    assert hook.posts == []
    assert "over https alone" in hooks.delivery()["last_error"]


def test_the_notice_of_a_disabled_endpoint_reaches_operators(hooks: Hooks, hook: Receiver) -> None:
    hooks.event(hook.url)
    hook.answers = [410]
    hooks.send()
    secret = new_secret()
    operators = OperatorReceiver("webhook", "NOTIFY_WEBHOOK_URL", Webhook(hook.url, secret, now=utc_now))
    assert Sender(hooks.catalogue.database, operators, receivers=["webhook"]).send_waiting() == 1
    post = hook.posts[-1]
    assert (post.notice["kind"], post.notice["run_id"]) == ("webhook_disabled", None)
    assert "answered 410 Gone" in post.notice["data"]["text"]
    assert verify(secret, post.body, post.headers, now=time.time())


def test_events_go_to_no_receiver_of_notices(hooks: Hooks) -> None:
    hooks.event(NOWHERE)
    with hooks.catalogue.database.transaction() as connection:
        address(connection, ["webhook"])
    assert hooks.catalogue.run("SELECT FROM llm_notice_deliveries") == []


def test_a_subject_has_at_most_so_many_endpoints(hooks: Hooks) -> None:
    for _ in range(MAX_ENDPOINTS):
        hooks.endpoint(NOWHERE)
    with pytest.raises(TooManyEndpoints, match="remove one"):
        hooks.endpoint(NOWHERE)
    hooks.endpoint(NOWHERE, subject="ben")


def test_old_deliveries_and_removed_endpoints_are_forgotten(hooks: Hooks) -> None:
    endpoint = hooks.event(NOWHERE)
    hooks.finish(hooks.ask())
    with hooks.catalogue.database.transaction() as connection:
        assert deliveries.prune(connection) == 0
        endpoints.remove(connection, endpoint["id"], actor="test")
    hooks.catalogue.run("UPDATE llm_webhook_deliveries SET created_at = now() - interval '31 days'")
    with hooks.catalogue.database.transaction() as connection:
        assert deliveries.prune(connection) == 2
    hooks.catalogue.run("UPDATE llm_webhook_endpoints SET removed_at = now() - interval '31 days'")
    with hooks.catalogue.database.transaction() as connection:
        deliveries.prune(connection)
    assert hooks.catalogue.run("SELECT FROM llm_webhook_endpoints") == []
