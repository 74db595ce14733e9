"""A caller who waits for the end of a chat over a connection of its own, and who may go before."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import structlog
from flask import request

from shared.chat import lifecycle, read
from shared.chat.chat_request import AcceptedChat
from shared.chat.read import Snapshot
from shared.db import Caller, DatabaseFailure
from worker.runtime import Runtime
from worker.web.openai.connection import connection_watch
from worker.web.problems import Problem
from worker.web.readers import Watch

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often it is looked whether the caller is still there."""
COMMENT_SECONDS = 5.0
COMMENT = b": still here\n\n"
GIVE_UP_SECONDS = 60.0
"""So long after its caller has gone a chat is cancelled."""
LATE_SECONDS = 30.0
"""A chat that has not ended so long after its deadline is one that PostgreSQL cannot tell about."""
CLIENT_GONE = 499
"""The status in the log of a request whose caller closed the connection; nobody receives it."""


class CallerDisconnected(Exception):
    """The caller has closed its connection."""


class WaitingCaller:
    """One connection that waits for one chat. Made while its request is handled."""

    def __init__(
        self, runtime: Runtime, chat_id: uuid.UUID, caller: Caller, *, resends: int = 0, can_return: bool = False
    ) -> None:
        """`can_return`: the caller has an id to come back with, or wants the answer in any case."""
        self._runtime = runtime
        self._chat_id = chat_id
        self._caller = caller
        self._resends = resends
        self._can_return = can_return
        self._has_gone: Callable[[], bool] = connection_watch(request.environ)
        self._ended = False
        self._ends_at = time.monotonic() + runtime.settings.chat_deadline_seconds + LATE_SECONDS

    def look_up(self) -> Snapshot:
        """The chat as it is now. Raises what `Database.transaction` raises, and Problem."""
        with self._runtime.database.transaction(self._caller) as connection:
            snapshot = read.find(connection, self._chat_id)
        if snapshot is None:
            raise Problem(404, "not_found", "there is no such chat of yours")
        return snapshot

    def begin(self, watch: Watch, accepted: AcceptedChat) -> Snapshot:
        """The chat as it is at the beginning: one that was there before may have changed until the watch began."""
        first = accepted.snapshot if accepted.new else self.look_up()
        watch.mark_seen(first)
        self._ended = first.ended
        return first

    def news(self, watch: Watch) -> Snapshot | None:
        """The next snapshot; None if there is none for a while.

        Raises CallerDisconnected, Problem, DatabaseFailure.
        """
        snapshot = watch.wait(POLL_SECONDS)
        if snapshot is not None:
            self._ended = snapshot.ended
            return snapshot
        if self._has_gone():
            raise CallerDisconnected
        if watch.stopping.is_over:
            raise Problem(503, "stopping", "this server process stops; ask again: it goes on where it is")
        if time.monotonic() >= self._ends_at:
            late = self.look_up()
            if late.ended:
                return late
            raise Problem(503, "no_end", "the chat should have ended; ask for it again")
        return None

    def until_ended(self, watch: Watch, snapshot: Snapshot) -> Snapshot | None:
        """The chat when it has ended; None where its caller has gone."""
        try:
            while not snapshot.ended:
                snapshot = self.news(watch) or snapshot
        except CallerDisconnected:
            self.leave()
            return None
        return snapshot

    def leave(self) -> None:
        """The connection has ended. An open chat that its caller cannot come back for is cancelled soon."""
        if self._can_return or self._ended:
            return
        try:
            with self._runtime.database.transaction() as connection:
                lifecycle.cancel_later(connection, self._chat_id, resends=self._resends, seconds=GIVE_UP_SECONDS)
        except DatabaseFailure as error:  # then it is answered, and nobody reads it
            log.warning(
                "llm_web.not_given_up",
                message="A chat without a caller goes on",
                chat_id=str(self._chat_id),
                error=str(error),
            )


def database_unavailable() -> Problem:
    """What a stream ends with that PostgreSQL tells nothing more about."""
    return Problem(503, "database_unavailable", "PostgreSQL cannot be reached at the moment; try again")


def is_resent() -> bool:
    """Whether an SDK says that it sends this again: it got no answer before."""
    count = request.headers.get("x-stainless-retry-count", "")
    return count.isascii() and count.isdigit() and int(count[:9]) > 0
