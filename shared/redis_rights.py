"""What the Redis user of REDIS_URL has to be allowed, and whether it is: tried without leaving anything behind."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial

import redis

from shared.redis_store import RedisUnavailable
from shared.task_names import CHAT_QUEUE, DEFAULT_QUEUE, REFRESH_QUEUE

ADVICE = "ACL SETUSER <user> ~* &* +@all -@admin -@dangerous +info"
"""What is enough, and documented in docs/operations.md."""


def missing_rights(client: redis.Redis) -> list[str]:
    """What the user may not do and has to, in words. Raises RedisUnavailable when Redis does not answer."""
    missing: dict[str, None] = {}
    for right, probe in _probes(client):
        try:
            probe()
        except redis.exceptions.NoPermissionError:
            missing[right] = None
        except redis.exceptions.AuthenticationError:
            raise RedisUnavailable("Redis refuses the user or the password of REDIS_URL") from None
        except redis.exceptions.ResponseError:
            continue  # the command was allowed; what it met is another matter
        except (redis.RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis cannot be reached ({type(error).__name__})") from None
    return list(missing)


def _probes(client: redis.Redis) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each right, with a call that takes it and changes nothing that anybody reads."""
    nobody = f"llm-refresh-probe-{uuid.uuid4()}"
    commands: list[tuple[str, tuple[str, ...]]] = [
        ("to wait for messages (BRPOP)", ("BRPOP", nobody, "0.01")),
        ("to write results (celery-task-meta-*)", ("SET", f"celery-task-meta-{nobody}", "", "PX", "1")),
        ("to write keys (llm_refresh:*)", ("SET", f"llm_refresh:{nobody}", "", "PX", "1")),
        ("to look keys up (SCAN)", ("SCAN", "0", "MATCH", nobody, "COUNT", "1")),
        ("to run scripts (EVAL)", ("EVAL", "return 1", "0")),
    ]
    for queue in (REFRESH_QUEUE, CHAT_QUEUE, DEFAULT_QUEUE):
        commands.append(("to write lists (the queues)", ("LREM", queue, "1", nobody)))
        commands.append(("to write sets (_kombu.binding.*)", ("SREM", f"_kombu.binding.{queue}", nobody)))
    # Ours, those of Celery's events and commands (kombu puts the database's number before them), those of results.
    channels = (f"llm_refresh:{nobody}", f"/0.{nobody}", f"celery-task-meta-{nobody}")
    commands += [("to publish to channels (&*)", ("PUBLISH", channel, "")) for channel in channels]
    for right, command in commands:
        yield right, partial(client.execute_command, *command)
    yield "to use transactions (MULTI)", partial(_transaction, client)
    for channel in channels:
        yield "to subscribe to channels (&*)", partial(_subscribe, client, channel)


def _transaction(client: redis.Redis) -> None:
    with client.pipeline(transaction=True) as pipeline:
        pipeline.ping()
        pipeline.execute()


def _subscribe(client: redis.Redis, channel: str) -> None:
    subscription = client.pubsub()
    try:
        for subscribe in (subscription.subscribe, subscription.psubscribe):
            subscribe(channel)
            subscription.parse_response(block=True, timeout=2)
    finally:
        subscription.close()
