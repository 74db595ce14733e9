"""The few keys that Redis keeps beside Celery's messages, and the guard before every call for one of them.

The listing's last good copy, signs of life, tasks without a row, changes of chats and the server's own figures are a
command or two each. They stand together for what they share: one client, one bound of time, and one memory of a server
that has stopped answering, so that whichever call meets the silence spares all others the wait.

Nothing here is the only copy of anything; every call is bounded and its failure is told apart from an answer.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.silence import Silence

PREFIX = "llm_refresh:"
_LISTING = PREFIX + "listing"
_ALIVE = PREFIX + "alive:"
KINDS_OF_WORKERS = ("refresh", "chat", "beat")
_TASK = PREFIX + "asked:"
_CHANGED = PREFIX + "chats"
_STILL_OPEN = PREFIX + "chats-open"
_FAILED_DISPATCHES = PREFIX + "failed_dispatch_turns"
LISTING_DAYS = 30
TIMEOUT_SECONDS = 2.0
TASK_DAYS = 1

# A slow process must not put an older copy over a newer one.
_KEEP_NEWER = """
local held = tonumber(redis.call('HGET', KEYS[1], 'version') or '-1')
if held > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'body', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class RedisUnavailable(Exception):
    """Redis cannot be reached or did not answer in time."""


class CommandForbidden(RedisUnavailable):
    """Redis answers, and does not allow the user of REDIS_URL what was asked."""


class WritesRefused(RedisUnavailable):
    """Redis answers, and takes no write from anybody. `reason` says why: `its memory is full`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Redis takes no writes: {reason}")
        self.reason = reason


def why_refused(error: redis.RedisError) -> str | None:
    """Why Redis refuses every write, where that is what an error says."""
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return "its memory is full"
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return "it is a replica, which only reads"
    return "it cannot write to its own disk" if str(error).startswith("MISCONF") else None


def connect(url: str, *, max_connections: int = 100) -> redis.Redis:
    """A client whose every call ends within about two seconds.

    redis-py would ask again three times, with pauses. A connection that the server has closed is replaced once; a
    wait for an answer is not repeated.
    """
    return redis.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=10,
        max_connections=max_connections,
    )


@dataclass(frozen=True, slots=True)
class RedisServerInfo:
    """What the Redis server says of itself, as far as it concerns the queues. Times are Unix seconds."""

    now: float
    eviction_policy: str
    appends: bool
    """whether it keeps an append-only file"""
    saves: bool
    """whether it takes snapshots from time to time"""
    last_write_good: bool
    used_bytes: int
    max_bytes: int
    """0: as much as the machine has"""


class RedisStore:
    """The few keys that this system keeps in Redis by itself. Raises RedisUnavailable.

    Where Redis has stopped answering altogether, one caller a second asks it, and the others are refused at once.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._silence = Silence()

    def ping(self) -> None:
        """Ask whether Redis answers."""
        with self._asking():
            self._client.ping()

    def check_writes(self) -> None:
        """Write a key that is gone at once. Raises WritesRefused where Redis takes none."""
        with self._asking():
            self._client.set(f"{PREFIX}probe", b"", px=1)

    def server(self) -> RedisServerInfo:
        """What the server says of itself."""
        with self._asking():
            info: Any = self._client.info()
            seconds, microseconds = self._client.time()
        return RedisServerInfo(
            now=seconds + microseconds / 1e6,
            eviction_policy=str(info.get("maxmemory_policy", "noeviction")),
            appends=bool(info.get("aof_enabled")),
            saves=bool(info.get("rdb_last_save_time")) and self._snapshots(),
            last_write_good=info.get("rdb_last_bgsave_status", "ok") == info.get("aof_last_write_status", "ok") == "ok",
            used_bytes=int(info.get("used_memory", 0)),
            max_bytes=int(info.get("maxmemory", 0)),
        )

    def _snapshots(self) -> bool:
        try:
            return any(self._client.config_get("save").values())
        except redis.ResponseError:  # hosted servers refuse CONFIG; they keep backups of their own
            return True

    def keep_listing(self, version: int, body: bytes) -> None:
        """Keep an encoded listing, unless a newer one is kept."""
        with self._asking():
            self._client.eval(_KEEP_NEWER, 1, _LISTING, str(version), body, str(LISTING_DAYS * 86_400))

    def listing(self) -> tuple[int, bytes] | None:
        """The kept listing with its version."""
        with self._asking():
            version, body = self._client.hmget(_LISTING, ["version", "body"])
        return None if version is None or body is None else (int(version), _bytes(body))

    def announce(self, kind: str, name: str, *, seconds: int) -> None:
        """Say that a process of this kind (KINDS_OF_WORKERS) is alive for some seconds more."""
        with self._asking():
            self._client.set(f"{_ALIVE}{kind}:{name}", b"1", ex=seconds)

    def withdraw(self, kind: str, name: str) -> None:
        """Say that a process is going."""
        with self._asking():
            self._client.delete(f"{_ALIVE}{kind}:{name}")

    def is_alive(self, kind: str, name: str) -> bool:
        """Whether this very process has said lately that it is alive."""
        with self._asking():
            return bool(self._client.exists(f"{_ALIVE}{kind}:{name}"))

    def alive(self) -> Mapping[str, int]:
        """How many processes of each kind are alive."""
        counts: dict[str, int] = {}
        with self._asking():
            for key in self._client.scan_iter(match=f"{_ALIVE}*", count=1000):
                kind = _bytes(key).decode().removeprefix(_ALIVE).split(":", 1)[0]
                counts[kind] = counts.get(kind, 0) + 1
        return counts

    def add_failed_dispatch_turns(self, number: int) -> None:
        """Count turns of dispatchers that failed; whoever wipes Redis begins at 0 again."""
        with self._asking():
            self._client.incrby(_FAILED_DISPATCHES, number)

    def failed_dispatch_turns(self) -> int:
        """How many turns of dispatchers have failed, of all processes."""
        with self._asking():
            number = self._client.get(_FAILED_DISPATCHES)
        return 0 if number is None else int(_bytes(number))

    def remember_task(self, task_id: str, name: str) -> None:
        """Remember that a task id was given away that no row stands for (a dry run)."""
        with self._asking():
            self._client.set(f"{_TASK}{task_id}", name, ex=TASK_DAYS * 86_400)

    def remembered_task(self, task_id: str) -> str | None:
        """The name of the task that was given this id, where no row stands for it."""
        with self._asking():
            name = self._client.get(f"{_TASK}{task_id}")
        return None if name is None else _bytes(name).decode()

    def publish_chat_changes(self, chat_ids: Collection[uuid.UUID], *, still_open: bool) -> None:
        """Wake the readers of these chats, in whichever process they are; `still_open`: not who waits for the end."""
        with self._asking():
            channel = _STILL_OPEN if still_open else _CHANGED
            self._client.publish(channel, b"".join(chat_id.bytes for chat_id in chat_ids))

    def subscribe_chat_changes(self, *, seconds: float) -> Iterator[tuple[list[uuid.UUID], bool]]:
        """Chats whose readers should look again, as they are told, and whether they are still open; no chats after so
        many seconds of silence.

        Raises RedisUnavailable when Redis goes away, or does not answer to a ping in that time either; what is told
        meanwhile is lost.
        """
        with self._asking(), contextlib.closing(self._subscription()) as subscription:
            subscription.subscribe(_CHANGED, _STILL_OPEN)
            pinged = False
            while True:
                message = subscription.get_message(timeout=seconds)
                if message is None:
                    if pinged:
                        raise redis.TimeoutError("no answer to a ping")
                    subscription.ping()
                pinged = message is None
                if message is None or message["type"] != "message":
                    yield [], False
                    continue
                data, still_open = _bytes(message["data"]), _bytes(message["channel"]) == _STILL_OPEN.encode()
                yield [uuid.UUID(bytes=data[place : place + 16]) for place in range(0, len(data) - 15, 16)], still_open

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if not self._silence.may_ask():
            raise RedisUnavailable("Redis does not answer")
        started = self._silence.now()
        try:
            yield
        except redis.TimeoutError:
            self._silence.record_no_answer(started)
            raise RedisUnavailable("Redis does not answer") from None
        except redis.exceptions.NoPermissionError:
            self._silence.record_answer()
            detail = "the user of REDIS_URL may not do that: `llm-refresh doctor` names the rights that are missing"
            raise CommandForbidden(detail) from None
        except (redis.RedisError, OSError) as error:
            reason = why_refused(error) if isinstance(error, redis.RedisError) else None
            if reason is not None:
                self._silence.record_answer()
                raise WritesRefused(reason) from None
            raise RedisUnavailable(f"Redis cannot be reached ({type(error).__name__})") from None
        self._silence.record_answer()

    def _subscription(self) -> redis.client.PubSub:
        subscription: redis.client.PubSub = self._client.pubsub()
        return subscription


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
