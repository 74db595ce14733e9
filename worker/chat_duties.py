"""What upkeep does for chats, in every worker: the lost lease, the lost message, the passed deadline, the old chat."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.chat import lifecycle
from shared.clock import new_id
from shared.task_names import CHAT_QUEUE, CHAT_TASK, REQUEST_ID_HEADER
from worker.runtime import Runtime
from worker.upkeep import Duty

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 2.0
RETIRE_SECONDS = 60.0
RETIRE_BATCH = 1000
RETIRE_BATCHES = 20
"""In one round, so that other duties have their turn."""


def chat_duties(app: Celery, parts: Runtime) -> list[Duty]:
    """The duties of every worker."""
    settings = parts.settings

    def sweep() -> None:
        with parts.database.transaction() as connection:
            swept = lifecycle.sweep(connection, max_attempts=settings.chat_max_attempts)
        parts.wakeups.tell(swept.changed)
        for chat_id in swept.lost_leases:
            log.warning("llm_chat.lease_lost", message="[ChaSen Chat] Its worker stopped, the chat goes on",
                        chat_id=str(chat_id))  # fmt: skip
        for chat_id, status in swept.ended.items():
            log.error("llm_chat.ended_by_upkeep", message="[ChaSen Chat] Not answered",
                      chat_id=str(chat_id), status=status)  # fmt: skip
        if not swept.publish:
            return
        unsent = dict(swept.publish)
        try:
            with app.producer_or_acquire() as producer:
                for chat_id, request_id in swept.publish:
                    publish(app, str(chat_id), task_id=str(new_id()), request_id=request_id, producer=producer)
                    del unsent[chat_id]
        except (OperationalError, OSError) as error:  # a later round finds them again
            log.warning("llm_chat.not_published", message="[ChaSen Chat] Redis took no message",
                        chats=len(unsent), error=type(error).__name__)  # fmt: skip
            with parts.database.transaction() as connection:
                lifecycle.unsent(connection, list(unsent))

    def retire() -> None:
        for _ in range(RETIRE_BATCHES):
            with parts.database.transaction() as connection:
                gone = lifecycle.retire(connection, older_than_days=settings.chat_retention_days, limit=RETIRE_BATCH)
            if gone < RETIRE_BATCH:
                return

    return [Duty("open chats", SWEEP_SECONDS, sweep), Duty("old chats", RETIRE_SECONDS, retire)]


def publish(app: Celery, chat_id: str, *, task_id: str, request_id: str | None, producer: Any = None) -> None:
    """Send the message for a chat, by this producer or one of the app's. Raises kombu's OperationalError, OSError."""
    app.send_task(
        CHAT_TASK,
        args=(chat_id,),
        task_id=task_id,
        queue=CHAT_QUEUE,
        headers={REQUEST_ID_HEADER: request_id},
        retry=False,
        ignore_result=True,
        producer=producer,
    )
