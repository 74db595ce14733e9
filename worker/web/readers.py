"""Waiting readers of a web process: woken through Redis, else by one query every so often for all of them together.

A reader costs a greenlet that sleeps. What has changed is read once, in one statement, for all who wait.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.background import BackgroundLoop
from shared.chat import read
from shared.chat.read import Snapshot
from shared.db import Database, DatabaseFailure
from shared.redis_store import RedisStore, RedisUnavailable
from worker.web.stopping import Stopping

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
"""What the loss of a wake-up costs at most."""
LISTEN_SECONDS = 5.0


class Watch:
    """One reader of one chat. `version` is what it has, which never falls; `only_end`: it waits for nothing else."""

    def __init__(self, chat_id: uuid.UUID, stopping: Stopping, *, only_end: bool = False) -> None:
        self.chat_id = chat_id
        self.stopping = stopping
        self.only_end = only_end
        self.version = 0
        self._latest: Snapshot | None = None
        self._news = threading.Event()

    def offer(self, snapshot: Snapshot) -> None:
        """Let the reader have a snapshot, unless it has that or a later one."""
        if snapshot.version > self.version and (self._latest is None or snapshot.version > self._latest.version):
            self._latest = snapshot
            self._news.set()

    def mark_seen(self, snapshot: Snapshot) -> None:
        """The reader has this one: only later ones are news."""
        self.version = max(self.version, snapshot.version)

    def wake(self) -> None:
        """Let the reader look around, although there is no news."""
        self._news.set()

    def wait(self, seconds: float) -> Snapshot | None:
        """The next snapshot; None when nothing has changed in so many seconds, or the process is to stop meanwhile.

        States in between may be skipped.
        """
        was_stopping = self.stopping.begun
        deadline = time.monotonic() + seconds
        while self._news.wait(max(0.0, deadline - time.monotonic())):
            self._news.clear()
            snapshot, self._latest = self._latest, None
            if snapshot is not None and snapshot.version > self.version:  # it may have been offered before `mark_seen`
                self.version = snapshot.version
                return snapshot
            if self.stopping.begun and not was_stopping:
                return None
        return None


class Readers:
    """All waiting readers of this process."""

    def __init__(
        self, database: Database, store: RedisStore, *, most: int = 3600, stopping: Stopping | None = None
    ) -> None:
        """`most`: how many there may be. Each holds a connection, and some have to be left for requests that end.

        `stopping` wakes them all.
        """
        self._most = most
        self._stopping = stopping or Stopping()
        self._stopping.on_begin(self._wake_all)
        self._count = 0
        self._database = database
        self._store = store
        self._watches: dict[uuid.UUID, set[Watch]] = {}
        self._woken: set[uuid.UUID] = set()
        self._wake = threading.Event()
        self._look_at_all = 0.0

    def start(self) -> None:
        """Start listening to Redis and looking into PostgreSQL."""
        BackgroundLoop(
            "chat-listener",
            self._listen,
            event="llm_web.not_listening",
            message="No wake-ups, looking by ourselves",
            expected=RedisUnavailable,
        ).start()
        BackgroundLoop(
            "chat-reader", self._look, event="llm_web.readers_wait", message="Readers wait", expected=DatabaseFailure
        ).start()

    @property
    def full(self) -> bool:
        """Whether there is no place for another reader."""
        return self._count >= self._most

    @contextmanager
    def watching(self, chat_id: uuid.UUID, *, only_end: bool = False) -> Iterator[Watch]:
        """A watch that is told of every change from now on, or with `only_end` of the last at least.

        Read the chat after this has begun, so that none is missed.
        """
        watch = Watch(chat_id, self._stopping, only_end=only_end)
        self._watches.setdefault(chat_id, set()).add(watch)
        self._count += 1
        try:
            yield watch
        finally:
            self._count -= 1
            others = self._watches[chat_id]
            others.discard(watch)
            if not others:
                del self._watches[chat_id]

    def _wake_all(self) -> None:
        for watches in self._watches.copy().values():
            for watch in watches.copy():
                watch.wake()

    def _listen(self) -> None:
        for changed, still_open in self._store.subscribe_chat_changes(seconds=LISTEN_SECONDS):
            mine = [chat_id for chat_id in changed if chat_id in self._watches]
            if still_open:
                mine = [chat_id for chat_id in mine if not all(watch.only_end for watch in self._watches[chat_id])]
            if mine:
                self._woken.update(mine)
                self._wake.set()

    def _look(self) -> None:
        self._wake.wait(max(0.0, self._look_at_all - time.monotonic()))
        self._wake.clear()
        chat_ids, self._woken = self._woken, set()
        if time.monotonic() >= self._look_at_all:
            chat_ids, self._look_at_all = set(self._watches), time.monotonic() + POLL_SECONDS
        self._read(chat_ids)

    def _read(self, chat_ids: set[uuid.UUID]) -> None:
        watched = {chat_id: self._watches.get(chat_id, set()) for chat_id in chat_ids}
        versions = {chat_id: min(watch.version for watch in watches) for chat_id, watches in watched.items() if watches}
        if not versions:
            return
        (rows,) = self._database.run(read.newer_than(versions), at_once=True)
        for snapshot in map(read.snapshot_of, rows):
            for watch in list(self._watches.get(snapshot.chat_id, ())):
                watch.offer(snapshot)
