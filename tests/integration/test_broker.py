"""Celery's transport on a real server."""

from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery

from shared.settings import read_settings
from worker.celery_app import make_celery


def celery_app(redis_url: str) -> Celery:
    return make_celery(
        read_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://a:b@c/d", "LLM_REFRESH_ENV": "local"})
    )


def test_a_channel_sends_with_one_client_and_messages_arrive(redis_url: str) -> None:
    app = celery_app(redis_url)
    with app.connection_for_write() as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        with connection.SimpleQueue("test-of-the-broker", channel=channel) as queue:
            for number in range(3):
                queue.put({"number": number})
            messages = [queue.get(timeout=10) for _ in range(3)]
            assert [message.payload["number"] for message in messages] == [0, 1, 2]
            assert first.exists("unacked", "unacked_index") == 0
            messages[0].ack()
        channel.close()
        assert first.llen("test-of-the-broker") == 2, "what a worker has not done when it leaves is back in the queue"
    app.close()


def test_messages_that_cannot_be_given_back_are_no_panic(redis_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Redis takes nothing more from us, as while it is away: kombu would write them into a file."""
    place = urlsplit(redis_url)
    with redis.Redis.from_url(redis_url) as owner:
        owner.acl_setuser("taker", enabled=True, passwords=["+any"], categories=["+@all"], keys=["*"], channels=["*"])
        app = celery_app(place._replace(netloc=f"taker:any@{place.hostname}:{place.port}").geturl())
        with app.connection_for_write() as connection:
            channel = connection.channel()
            with connection.SimpleQueue("test-of-the-broker", channel=channel) as queue:
                queue.put({"number": 1})
                queue.get(timeout=10)
            owner.acl_deluser("taker")
            channel.close()
        app.close()
    output = "".join(capfd.readouterr())
    assert "llm_worker.messages_not_returned" in output
    assert "UNABLE TO RESTORE" not in output
    assert "EMERGENCY DUMP" not in output
