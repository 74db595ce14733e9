"""Celery's Redis transport and consumer, without some costs of each message (ADR 15) and a panic that helps nobody."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import structlog
from celery.backends.redis import RedisBackend
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis import Redis

log = structlog.get_logger(__name__)

EVENTS_SECONDS = 0.5
"""How late Flower may learn of a task; events come in groups, at once where Celery's limit of a group is reached."""


class QoS(virtual.QoS):
    """Knows the messages that this process has taken and not done yet, and gives them back when it ends.

    Where Redis is away, kombu writes them into a file for somebody to read. Nobody has to: each is of a row in
    PostgreSQL that gets another message.
    """

    def restore_unacked(self) -> list[tuple[BaseException, Any]]:
        """Give the messages back; returns none that could not be."""
        failures: list[tuple[BaseException, Any]] = super().restore_unacked()
        if failures:
            log.warning(
                "llm_worker.messages_not_returned",
                message="Redis is away: messages that were taken are not given back; upkeep sends others",
                number=len(failures),
                error=str(failures[0][0]),
            )
        return []


class Channel(kombu_redis.Channel):  # kombu and Celery have no types
    """One client for all that a channel sends, where kombu makes one, with its 170 callbacks, for each command.

    A client takes its connection from the pool for each command, so that threads may share it (redis-py's words).
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        if not self.ack_emulation:
            self.QoS = QoS  # type: ignore[assignment]  # as kombu does where Redis keeps no copies

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
