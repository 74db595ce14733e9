"""The messages that start tasks: the only place that sends `llm.refresh` and `llm.chat`."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.background import BackgroundLoop
from shared.catalogue.sync.options import RefreshOptions
from shared.chat import dispatch
from shared.chat.chat_request import AcceptedChat
from shared.chat.dispatch import DispatchedChat, DispatchTurn
from shared.clock import new_id
from shared.db import Database, DatabaseFailure
from shared.task_names import CHAT_QUEUE, CHAT_TASK, REFRESH_QUEUE, REFRESH_TASK, REQUEST_ID_HEADER, RUN_ID_HEADER

log = structlog.get_logger(__name__)

SOCKET_TIMEOUT_SECONDS = 2.0
MAX_UNSENT = 10_000
REST_SECONDS = 2.0
"""After a message that Redis did not take, the next ones are left to upkeep for so long."""
BUSY_SECONDS = 0.005
BUSY_TURNS = 5
"""So often is looked again whether somebody else still gives places away; then it is left to the chat processes."""


def send_chat(
    app: Celery, chat_id: uuid.UUID, *, task_id: str | None, request_id: str | None, producer: Any = None
) -> None:
    """Send `llm.chat`, by this producer or one of the app's. Raises kombu's OperationalError, OSError."""
    app.send_task(
        CHAT_TASK,
        args=(str(chat_id),),
        task_id=task_id,
        queue=CHAT_QUEUE,
        headers={REQUEST_ID_HEADER: request_id},
        retry=False,
        ignore_result=True,
        producer=producer,
    )


def send_dispatched(app: Celery, database: Database, chats: Sequence[DispatchedChat]) -> None:
    """Send the messages of chats whose dispatch is committed. Those that Redis does not take wait for another turn.

    Raises what `Database.transaction` raises; the chats get their messages as lost ones then.
    """
    batch = list(chats)
    try:
        with app.producer_or_acquire() as producer:
            for chat in chats:
                # The first message has the chat's own id, which /api/tasks is asked for; later ones new ones.
                task_id = str(chat.chat_id if chat.first else new_id())
                send_chat(app, chat.chat_id, task_id=task_id, request_id=chat.request_id, producer=producer)
                batch.pop(0)
    except (OperationalError, OSError) as error:
        log.warning(
            "llm_chat.not_published", message="Redis took no message", chats=len(batch), error=type(error).__name__
        )
        with database.transaction() as connection:
            dispatch.take_back(
                connection,
                [chat.chat_id for chat in batch],
                seconds=dispatch.MESSAGE_SECONDS,
                maybe_sent=batch[0].chat_id if batch and _may_have_arrived(error) else None,
            )


def _may_have_arrived(error: Exception) -> bool:
    """Whether Redis only did not answer in time: then it may take the message when it goes on."""
    return isinstance(error.__cause__ or error, (TimeoutError, redis.TimeoutError))


def send_refresh(
    app: Celery, arguments: RefreshOptions, *, task_id: str, run_id: str | None, request_id: str | None
) -> None:
    """Send `llm.refresh`; `run_id`: the queued run, None for a dry run. Raises kombu's OperationalError, OSError."""
    kwargs = arguments.model_dump(exclude_defaults=True)
    headers = {REQUEST_ID_HEADER: request_id}
    display_kwargs = kwargs
    if run_id is not None:
        headers[RUN_ID_HEADER] = run_id
        display_kwargs = kwargs | {"run_id": run_id}
    app.send_task(
        REFRESH_TASK,
        kwargs=kwargs,
        kwargsrepr=repr(display_kwargs),  # what Flower shows and searches
        task_id=task_id,
        queue=REFRESH_QUEUE,
        headers=headers,
        retry=False,
    )


class _Unsent(NamedTuple):
    """A chat that has a place and no message yet; of None others look which chat's turn it is."""

    chat_id: uuid.UUID | None
    request_id: str | None


class Publisher:
    """The web process's messages: sent within bounded time. One that was not sent is upkeep's to send."""

    def __init__(self, app: Celery, take_turn: Callable[[], DispatchTurn]) -> None:
        """`take_turn` dispatches waiting chats and sends their messages."""
        self._app = app
        self._take_turn = take_turn
        self._unsent: queue.SimpleQueue[_Unsent] = queue.SimpleQueue()
        self._resting_until = float("-inf")
        self._sender = BackgroundLoop(
            "chat-messages",
            self._send_chats,
            pause_seconds=0.0,
            event="llm_queue.not_published",
            message="Chats were not sent to Redis, upkeep sends them",
            expected=(OperationalError, OSError, DatabaseFailure),
        )

    def chat(self, accepted: AcceptedChat, *, request_id: str | None) -> None:
        """Send `llm.chat` soon where this chat is new and has a place, from a thread of its own: no caller waits for
        Redis; a lost message costs seconds. One that waits is left to who dispatches.
        """
        if not accepted.new or accepted.place == "full" or self._unsent.qsize() >= MAX_UNSENT:
            return
        chat_id = accepted.snapshot.chat_id
        self._unsent.put(_Unsent(chat_id if accepted.place == "free" else None, request_id))
        self._sender.start()

    def _send_chats(self) -> None:
        batch = [self._unsent.get()]
        while not self._unsent.empty():
            batch.append(self._unsent.get())
        if time.monotonic() < self._resting_until:
            return
        try:
            with self._app.producer_or_acquire() as producer:
                for chat_id, request_id in batch:
                    if chat_id is not None:
                        # It has the chat's own id, which /api/tasks is asked for; later messages have new ones.
                        send_chat(self._app, chat_id, task_id=str(chat_id), request_id=request_id, producer=producer)
        except Exception:
            self._resting_until = time.monotonic() + REST_SECONDS
            raise
        if any(chat_id is None for chat_id, _ in batch):
            self._dispatch()

    def _dispatch(self) -> None:
        """Take the turn of chats that came while somebody else gave places away; that takes some milliseconds."""
        for _ in range(BUSY_TURNS):
            if not self._take_turn().busy:
                return
            time.sleep(BUSY_SECONDS)

    def refresh(self, arguments: RefreshOptions, *, task_id: str, run_id: str | None, request_id: str) -> bool:
        """Send `llm.refresh`; `run_id` is the queued run's, None for a dry run. False where Redis did not take it."""
        try:
            send_refresh(self._app, arguments, task_id=task_id, run_id=run_id, request_id=request_id)
        except (OperationalError, OSError) as error:
            log.warning(
                "llm_queue.not_published",
                message="Redis took no message, upkeep will send it",
                task=REFRESH_TASK,
                task_id=task_id,
                error=type(error).__name__,
            )
            return False
        return True

    def result(self, task_id: str) -> tuple[str, Any]:
        """The state that Celery's result backend knows, and the result, of a task that no row stands for.

        Raises OperationalError when Redis cannot be reached.
        """
        backend = self._app.backend
        try:
            meta = backend.get_task_meta(task_id)
        except (*backend.connection_errors, OSError) as error:
            raise OperationalError(type(error).__name__) from None
        return meta["status"], meta.get("result")
