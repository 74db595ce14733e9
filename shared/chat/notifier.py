"""Telling readers through Redis that a chat has changed. It saves them waiting; nothing depends on it."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Collection

import structlog

from shared.redis_store import RedisStore, RedisUnavailable

log = structlog.get_logger(__name__)

MAX_NOTIFIED = 1000
MAX_WAITING = 10_000


class ChatNotifier:
    """Sends wake-ups from a thread of its own: whoever commits never waits for Redis. Started by the first of them."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._pending: queue.SimpleQueue[uuid.UUID] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def notify(self, chat_ids: Collection[uuid.UUID]) -> None:
        """Wake the readers of these chats soon. Never blocks and never fails."""
        if not chat_ids or self._pending.qsize() > MAX_WAITING:
            return
        for chat_id in chat_ids:
            self._pending.put(chat_id)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="chat-notifier", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        well = True
        while True:
            chat_ids = {self._pending.get()}
            while len(chat_ids) < MAX_NOTIFIED and not self._pending.empty():
                chat_ids.add(self._pending.get())
            try:
                self._store.publish_chat_changes(chat_ids)
                well = True
            except RedisUnavailable as error:
                if well:
                    log.warning(
                        "llm_chat.readers_not_woken", message="Readers find out by themselves", error=str(error)
                    )
                well = False
            except Exception:  # told, and survived: all readers are woken by this thread
                log.exception("llm_chat.readers_not_woken", message="Readers find out by themselves")
