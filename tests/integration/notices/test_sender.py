"""Notices reach their receiver signed, once where all goes well, again where it does not, and never for ever."""

import base64
import hashlib
import hmac
import itertools
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from harness.refreshing import CatalogueHarness, make_due
from shared.clock import utc_now
from shared.notices import deliveries, outbox
from shared.notices.sender import Receiver as Recipient
from shared.notices.sender import Sender
from shared.notices.webhook import Webhook
from shared.signing import new_secret
from tests.support.notices import DETAIL, write_notice
from tests.support.receiver import Receiver, receiver

SECRET = new_secret()


def sender(
    made: CatalogueHarness, hook: Receiver, *, receiver: str = "webhook", others: Sequence[str] = (), seconds: float = 8
) -> Sender:
    channel = Webhook(hook.url, SECRET, now=utc_now, deadline_seconds=seconds)
    return Sender(made.database, Recipient(receiver, "NOTIFY_WEBHOOK_URL", channel), receivers=[receiver, *others])


def state(made: CatalogueHarness, receiver: str = "webhook") -> dict[str, Any]:
    (row,) = made.run(
        "SELECT *, send_at - now() > interval '5 seconds' AS later FROM llm_notice_deliveries"
        " WHERE receiver = :receiver",
        receiver=receiver,
    )
    return dict(row)


def take(made: CatalogueHarness, limit: int = 1) -> list[Any]:
    with made.database.transaction() as connection:
        deliveries.address(connection, ["webhook"])
        return deliveries.take(connection, "webhook", limit=limit, lease_seconds=1)


def test_it_arrives_with_a_signature_that_the_documented_steps_verify(
    written: CatalogueHarness, hook: Receiver
) -> None:
    assert sender(written, hook).send_waiting() == 1
    (post,) = hook.posts
    # As docs/operations.md shows it to those who write a receiver.
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert post.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(time.time() - int(post.headers["webhook-timestamp"])) < 300
    assert post.headers["webhook-id"] == post.notice["id"]
    assert set(post.notice) == {"id", "kind", "at", "run_id", "data"}
    assert post.notice["data"]["text"] == f"The refresh failed: {DETAIL}"


def test_it_is_sent_once(written: CatalogueHarness, hook: Receiver) -> None:
    for _ in range(3):
        sender(written, hook).send_waiting()
        make_due(written)
    assert len(hook.posts) == 1
    assert state(written)["delivered"]
    (notice,) = written.run("SELECT ended_at IS NOT NULL AS ended, delivered FROM llm_notices")
    assert (notice["ended"], notice["delivered"]) == (True, True)


@pytest.mark.parametrize("status", [500, 404, 302])
def test_who_does_not_take_it_gets_it_again_later_the_same(
    written: CatalogueHarness, hook: Receiver, status: int
) -> None:
    hook.answers = [status]
    assert sender(written, hook).send_waiting() == 0
    assert state(written)["later"]
    assert state(written)["last_error"] == f"the receiver answered HTTP {status}"
    assert sender(written, hook).send_waiting() == 0  # not before its time
    assert len(hook.posts) == 1
    make_due(written)
    assert sender(written, hook).send_waiting() == 1
    first, second = hook.posts
    assert first.body == second.body


def test_the_pauses_grow_up_to_an_hour(written: CatalogueHarness, hook: Receiver) -> None:
    pauses = []
    for _ in range(12):
        make_due(written)
        hook.answers = [500]
        sender(written, hook).send_waiting()
        (row,) = written.run(
            "SELECT round(extract(epoch FROM send_at - now()) / 10) * 10 AS pause FROM llm_notice_deliveries"
        )
        pauses.append(int(row["pause"]))
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]


def test_a_receiver_that_is_not_there_is_named_without_its_address(written: CatalogueHarness) -> None:
    gone = Receiver("http://127.0.0.1:9/hook/token-of-the-receiver")
    assert sender(written, gone).send_waiting() == 0
    assert state(written)["last_error"] == "the receiver could not be reached (ClientConnectorError)"


def test_a_receiver_that_drips_is_left_at_the_deadline(written: CatalogueHarness) -> None:
    """A byte now and then meets every time-out between two bytes, and never the one for all of them."""
    stopped = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500):
                if stopped.wait(0.05):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        dripping = threading.Thread(target=drip, args=(server,))
        dripping.start()
        slow = Receiver(f"http://127.0.0.1:{server.getsockname()[1]}/hook")
        sent = sender(written, slow, seconds=0.4).send_waiting()
        stopped.set()
        dripping.join()
    assert sent == 0
    assert state(written)["last_error"] == "the receiver did not answer within 0.4 s"


def test_after_three_days_it_is_given_up(written: CatalogueHarness, hook: Receiver) -> None:
    hook.answers = [500, 500]
    written.run("UPDATE llm_notices SET created_at = now() - interval '73 hours'")
    sender(written, hook).send_waiting()
    assert state(written)["ended_at"] is not None
    assert not state(written)["delivered"]
    make_due(written)
    sender(written, hook).send_waiting()
    assert len(hook.posts) == 1


def test_two_senders_at_once_take_each_notice_once_and_do_not_wait_for_each_other(written: CatalogueHarness) -> None:
    for _ in range(5):
        write_notice(written)
    take(written, 0)
    with written.database.transaction() as one, written.database.transaction(timeout_seconds=2) as other:
        first = deliveries.take(one, "webhook", limit=4, lease_seconds=9)
        assert deliveries.take(other, "webhook", limit=4, lease_seconds=9) == []
    second = take(written, 4)
    assert (len(first), len(second)) == (4, 2)
    assert len({notice.id for notice in (*first, *second)}) == 6


def test_a_burst_is_sent_whole(written: CatalogueHarness, hook: Receiver) -> None:
    for _ in range(19):
        write_notice(written)
    sent = [sender(written, hook).send_waiting() for _ in range(3)]
    assert sent == [10, 10, 0]
    assert len({post.notice["id"] for post in hook.posts}) == len(hook.posts) == 20


def test_no_transaction_is_open_while_the_receiver_thinks(written: CatalogueHarness, hook: Receiver) -> None:
    hook.answers = [None]
    sending = threading.Thread(target=sender(written, hook).send_waiting)
    sending.start()
    while not hook.posts:
        time.sleep(0.01)
    (row,) = written.run(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        " AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    hook.released.set()
    sending.join()
    assert row["count"] == 0


def test_old_notices_are_forgotten_and_young_ones_kept(written: CatalogueHarness) -> None:
    write_notice(written)
    written.run(
        "UPDATE llm_notices SET created_at = now() - interval '31 days'"
        " WHERE id = (SELECT min(id::text)::uuid FROM llm_notices)"
    )
    with written.database.transaction() as connection:
        assert outbox.prune(connection) == 1
    assert len(written.run("SELECT FROM llm_notices")) == 1


def test_one_who_refuses_neither_holds_up_nor_repeats_what_another_takes(
    written: CatalogueHarness, hook: Receiver
) -> None:
    with receiver() as other:
        other.answers = [500, 500]
        pair = [sender(written, hook, others=["b"]), sender(written, other, receiver="b", others=["webhook"])]
        for _ in range(3):
            for one in pair:
                one.send_waiting()
            make_due(written)
        assert (len(hook.posts), len(other.posts)) == (1, 3)
    assert state(written)["delivered"]
    assert state(written, "b")["delivered"]
    assert written.run("SELECT count(*) FROM llm_notices WHERE ended_at IS NOT NULL AND delivered")[0]["count"] == 1


def write_many(made: CatalogueHarness, number: int) -> None:
    """Notices of the last two days, a few seconds apart."""
    made.run(
        "INSERT INTO llm_notices (id, kind, run_id, data, created_at) SELECT gen_random_uuid(), kind, run_id, data,"
        " now() - interval '60 seconds' - n * interval '15 seconds' FROM llm_notices, generate_series(1, :number) AS n",
        number=number,
    )


def test_a_new_notice_goes_before_ten_thousand_that_a_dead_receiver_has_left(
    written: CatalogueHarness, hook: Receiver
) -> None:
    write_many(written, 10_000)
    gone = Receiver("http://127.0.0.1:9/hook")
    for _ in range(3):
        sender(written, gone).send_waiting()
        written.run("UPDATE llm_notice_receivers SET send_at = now()")
    tries = written.run("SELECT sum(attempts) AS tries FROM llm_notice_deliveries")[0]["tries"]
    assert tries == 12  # a batch, then one at a time: a receiver that is gone is not asked ten thousand times
    with written.database.transaction() as connection:
        (waiting,) = deliveries.backlog(connection)
    assert (waiting.receiver, waiting.waiting, waiting.is_overdue) == ("webhook", 10_001, True)
    assert waiting.last_error == "the receiver could not be reached (ClientConnectorError)"
    write_notice(written)
    newest = str(written.run("SELECT id FROM llm_notices ORDER BY created_at DESC LIMIT 1")[0]["id"])
    sender(written, hook).send_waiting()
    assert [post.notice["id"] for post in hook.posts] == [newest]
    sender(written, hook).send_waiting()
    assert len(hook.posts) == 11  # it is back: what waits is due at once, the newest first
    newest_first = written.run("SELECT id FROM llm_notices ORDER BY created_at DESC LIMIT 11")
    assert {post.notice["id"] for post in hook.posts} == {str(row["id"]) for row in newest_first}


def test_a_receiver_that_fails_is_left_alone_for_seconds_and_never_for_a_minute(
    written: CatalogueHarness, hook: Receiver
) -> None:
    pauses = []
    for _ in range(5):
        hook.answers = [503]
        sender(written, hook).send_waiting()
        assert sender(written, hook).send_waiting() == 0
        (row,) = written.run("SELECT round(extract(epoch FROM send_at - now())) AS pause FROM llm_notice_receivers")
        pauses.append(int(row["pause"]))
        make_due(written)
    assert pauses == [10, 20, 30, 30, 30]


def test_what_an_address_that_is_gone_has_not_got_goes_to_the_one_in_its_place(
    written: CatalogueHarness, hook: Receiver
) -> None:
    write_notice(written)
    hook.answers = [204, 404]
    with receiver() as steady:
        sender(written, steady, receiver="steady", others=["old"]).send_waiting()
        sender(written, hook, receiver="old", others=["steady"]).send_waiting()
        hook.posts.clear()
        with written.database.transaction() as connection:
            assert deliveries.maintain(connection, ["steady", "new"]).readdressed == 0  # somebody had it a moment ago
        written.run("UPDATE llm_notice_receivers SET seen_at = now() - interval '6 minutes' WHERE receiver = 'old'")
        with written.database.transaction() as connection:
            assert deliveries.maintain(connection, ["steady", "new"]).readdressed == 1
        sender(written, hook, receiver="new", others=["steady"]).send_waiting()
        sender(written, steady, receiver="steady", others=["new"]).send_waiting()
        assert (len(hook.posts), len(steady.posts)) == (1, 2)


def test_what_a_dead_receiver_was_never_tried_with_is_given_up_too(written: CatalogueHarness) -> None:
    write_many(written, 3)
    sender(written, Receiver("http://127.0.0.1:9/hook")).send_waiting()
    written.run(
        "UPDATE llm_notice_deliveries SET created_at = created_at - interval '73 hours',"
        " send_at = now() - interval '2 hours'"
    )
    with written.database.transaction() as connection:
        assert deliveries.maintain(connection, ["webhook"]).given_up == 4
    assert written.run("SELECT count(*) FROM llm_notices WHERE ended_at IS NULL")[0]["count"] == 0


def test_code_of_before_deliveries_sends_none_of_those_that_have_them(written: CatalogueHarness) -> None:
    take(written)
    due = written.run("SELECT count(*) FROM llm_notices WHERE ended_at IS NULL AND send_at <= now()")
    assert due[0]["count"] == 0
