"""Who dispatches: a turn, and the thread of a chat process that takes one when a call ends, and from time to time."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable

from celery import Celery
from kombu.exceptions import OperationalError

from shared.background import BackgroundLoop
from shared.chat import dispatch, places
from shared.chat.dispatch import NO_LIMITS, DispatchLimits, DispatchTurn
from shared.db import Database, DatabaseFailure
from shared.redis_store import RedisStore, RedisUnavailable
from worker.messages import send_dispatched

TURN_SECONDS = 0.2
"""How soon a chat has its turn of which no process was told that a place is free for it. While nobody was seen waiting,
calls that end within it share a turn."""
IDLE_SECONDS = 1.0
"""How often is looked for waiting chats while none was seen and no place was lacking."""
NEARLY_ALL = 0.9
"""Of the places of a process: while so many are taken, all places of all processes may be."""
PAUSE_SECONDS = 0.025
"""Between two turns at least: calls that end within it share one."""
DATABASE_SECONDS = 5.0
ANNOUNCE_SECONDS = 2.0
SHORTEST_LEASE_SECONDS = 5.0


class Dispatcher:
    """Takes turns for whoever asks. Belongs to one thread."""

    def __init__(self, app: Celery, database: Database, limits: DispatchLimits) -> None:
        self._app = app
        self._database = database
        self._limits = limits
        self._after = ""

    def take_turn(self) -> DispatchTurn:
        """Dispatch the chats whose turn it is and send their messages.

        Raises what `Database.transaction` raises; what has been dispatched gets its message as a lost one then.
        """
        while True:
            with self._database.transaction(timeout_seconds=DATABASE_SECONDS) as connection:
                turn = dispatch.take_turn(connection, self._limits, after=self._after)
            self._after = turn.after
            if turn.dispatched:
                send_dispatched(self._app, self._database, turn.dispatched)
            if not turn.again:
                return turn


class FailedTurns:
    """Counts turns that fail, in Redis; what cannot be written there waits for the next turn."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._unwritten = 0

    def add(self) -> None:
        """Count one."""
        self._unwritten += 1
        self.write()

    def write(self) -> None:
        """Write what is counted and not written yet."""
        if self._unwritten:
            with contextlib.suppress(RedisUnavailable):
                self._store.add_failed_dispatch_turns(self._unwritten)
                self._unwritten = 0


class DispatchLoop:
    """Takes turns in a thread of its own, from `start` to `stop`."""

    def __init__(self, dispatcher: Dispatcher, failed_turns: FailedTurns) -> None:
        self._dispatcher = dispatcher
        self._failed_turns = failed_turns
        self._waiting = True
        self._wanted = threading.Event()
        self._loop = BackgroundLoop(
            "chat-dispatcher",
            self._turn,
            pause_seconds=PAUSE_SECONDS,
            event="llm_chat.not_dispatched",
            message="Waiting chats were not dispatched",
            expected=(DatabaseFailure, OperationalError, OSError),
        )

    def start(self) -> None:
        """Start the thread. Does nothing where it has been started."""
        self._loop.start()

    def stop(self) -> None:
        """End the thread after the turn under way."""
        self._loop.finish()
        self._wanted.set()
        self._loop.join(DATABASE_SECONDS)

    def place_freed(self, *, may_be_awaited: bool) -> None:
        """A call has ended: who waits has a turn, where a chat was seen waiting or its place `may_be_awaited`."""
        if self._waiting or may_be_awaited:
            self._wanted.set()

    def _turn(self) -> None:
        if not self._waiting:
            time.sleep(TURN_SECONDS)
        self._wanted.wait(TURN_SECONDS if self._waiting else IDLE_SECONDS)
        self._wanted.clear()
        try:
            turn = self._dispatcher.take_turn()
        except Exception:
            self._failed_turns.add()
            raise
        self._failed_turns.write()
        self._waiting = turn.waiting
        if turn.busy:
            self._wanted.set()


class Places:
    """Announces the places of one chat process: all of them until it drains, then those of the calls it finishes."""

    def __init__(
        self, database: Database, process_id: uuid.UUID, node: str, places: int, *, lease_seconds: float
    ) -> None:
        self._database = database
        self._process_id = process_id
        self._node = node
        self._number: Callable[[], int] = lambda: places
        self._lease_seconds = max(lease_seconds, SHORTEST_LEASE_SECONDS)
        self._wanted = threading.Event()
        self._loop = BackgroundLoop(
            "chat-places",
            self._turn,
            event="llm_chat.places_not_announced",
            message="The places of this process are not announced",
            expected=DatabaseFailure,
        )

    def start(self) -> None:
        """Announce at once and every two seconds from now on."""
        self._wanted.set()
        self._loop.start()

    def drain(self, running: Callable[[], int]) -> None:
        """Take the free places back at once; `running` says how many calls are left. Safe in a signal handler."""
        self._number = running
        self._wanted.set()

    def withdraw(self) -> None:
        """End the announcements and take all places back; they end with their lease where PostgreSQL is away."""
        self._loop.finish()
        self._wanted.set()
        self._loop.join(DATABASE_SECONDS)
        try:
            with self._database.transaction(timeout_seconds=1) as connection:
                places.withdraw(connection, self._process_id)
        except DatabaseFailure:
            return

    def _turn(self) -> None:
        self._wanted.wait(min(ANNOUNCE_SECONDS, self._lease_seconds / 3))
        self._wanted.clear()
        with self._database.transaction(timeout_seconds=DATABASE_SECONDS) as connection:
            places.announce(connection, self._process_id, self._node, self._number(), lease_seconds=self._lease_seconds)


class ChatPlaces:
    """What a chat process does for its turn among all: its places are announced, and it dispatches.

    Nothing happens before `start`, which is when the process takes messages.
    """

    def __init__(
        self,
        app: Celery,
        database: Database,
        store: RedisStore,
        limits: DispatchLimits,
        *,
        process_id: uuid.UUID,
        lease_seconds: float,
    ) -> None:
        self.process_id = process_id
        self._database = database
        self._limits = limits
        self._lease_seconds = lease_seconds
        self._number = 0
        self._dispatching = DispatchLoop(Dispatcher(app, database, limits), FailedTurns(store))
        self._places: Places | None = None

    def start(self, node: str, places: int) -> None:
        """Announce so many places and begin to dispatch. Does nothing where it has been started."""
        if self._places is None:
            self._number = places
            self._places = Places(self._database, self.process_id, node, places, lease_seconds=self._lease_seconds)
            self._places.start()
            self._dispatching.start()

    def place_freed(self, taken: int) -> None:
        """A call has ended; before, so many places of this process were taken. Safe in any thread."""
        self._dispatching.place_freed(may_be_awaited=self._limits != NO_LIMITS or taken >= self._number * NEARLY_ALL)

    def drain(self, running: Callable[[], int]) -> None:
        """As `Places.drain`. Others dispatch what is left."""
        if self._places is not None:
            self._places.drain(running)

    def close(self) -> None:
        """End both."""
        self._dispatching.stop()
        if self._places is not None:
            self._places.withdraw()
