"""Celery's Redis transport and consumer, with two costs of each message taken out. ADR 15 has the figures."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery.backends.redis import RedisBackend
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.transport import redis as kombu_redis
from redis import Redis

EVENTS_SECONDS = 0.5
"""How late Flower may learn of a task; events come in groups, at once where Celery's limit of a group is reached."""


class Channel(kombu_redis.Channel):  # kombu and Celery have no types
    """One client for all that a channel sends, where kombu makes one, with its 170 callbacks, for each command.

    A client takes its connection from the pool for each command, so that threads may share it (redis-py's words).
    """

    @cached_property
    def _sender(self) -> Redis:
        sender: Redis = super()._create_client()
        return sender

    def _create_client(self, asynchronous: bool = False) -> Redis:
        return super()._create_client(asynchronous=True) if asynchronous else self._sender


class Transport(kombu_redis.Transport):
    """kombu's transport with that channel. Named by `broker_transport`."""

    Channel = Channel


class Backend(RedisBackend):
    """Celery's results in Redis, without a subscription to the result of each task that is sent.

    Nobody here waits for a result by subscription, and one to a Redis that does not answer held its caller for a
    minute. Who does wait (`AsyncResult.get`) subscribes then.
    """

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Nothing."""


class Consumer(CeleryConsumer):
    """Celery's consumer, which sends task events in groups by the clock, not once for each turn of its loop."""

    def on_send_event_buffered(self) -> None:
        """Nothing: the timer sends them."""

    def register_with_event_loop(self, hub: Any) -> None:
        """Add the timer; Celery removes it with the loop's other entries when the connection is lost."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVENTS_SECONDS, self._flush_events)
