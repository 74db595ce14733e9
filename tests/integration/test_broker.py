"""Celery's transport on a real server."""

from shared.settings import read_settings
from worker.celery_app import make_celery


def test_a_channel_sends_with_one_client_and_messages_arrive(redis_url: str) -> None:
    app = make_celery(
        read_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://a:b@c/d", "LLM_REFRESH_ENV": "local"})
    )
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
