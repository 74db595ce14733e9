"""Publishes in Redis that a chat has changed. It saves readers waiting; nothing depends on it."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Collection

from shared.background import BackgroundLoop
from shared.redis_store import RedisStore, RedisUnavailable

MAX_NOTIFIED = 1000
MAX_WAITING = 10_000


class ChatNotifier:
    """Sends wake-ups from a thread of its own: whoever commits never waits for Redis. Started by the first of them."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._pending: queue.SimpleQueue[tuple[uuid.UUID, bool]] = queue.SimpleQueue()
        self._loop = BackgroundLoop(
            "chat-notifier",
            self._publish,
            event="llm_chat.readers_not_woken",
            message="Readers find out by themselves",
            expected=RedisUnavailable,
        )

    def notify(self, chat_ids: Collection[uuid.UUID], *, still_open: bool = False) -> None:
        """Wake the readers of these chats soon; `still_open`: not those who wait for the end. Never blocks or fails."""
        if not chat_ids or self._pending.qsize() > MAX_WAITING:
            return
        for chat_id in chat_ids:
            self._pending.put((chat_id, still_open))
        self._loop.start()

    def _publish(self) -> None:
        changes = {self._pending.get()}
        while len(changes) < MAX_NOTIFIED and not self._pending.empty():
            changes.add(self._pending.get())
        for still_open in (False, True):
            chat_ids = [chat_id for chat_id, is_open in changes if is_open == still_open]
            if chat_ids:
                self._store.publish_chat_changes(chat_ids, still_open=still_open)
