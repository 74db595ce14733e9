"""The task `llm.chat`."""

import uuid
from collections.abc import Callable

from celery import Celery, Task

from shared.task_names import CHAT_QUEUE, CHAT_TASK
from worker.chat_process import ChatProcess


def register(app: Celery, chats: Callable[[], ChatProcess]) -> None:
    """Add `llm.chat(chat_id)`. Acknowledged late: what one process has no room for waits where all can take it."""

    @app.task(name=CHAT_TASK, bind=True, ignore_result=True, acks_late=True)  # type: ignore[untyped-decorator]
    def chat(self: Task, chat_id: str) -> None:
        known = uuid.UUID(chat_id)
        if CHAT_QUEUE in app.amqp.queues.consume_from:
            chats().carry_out(known)
        else:  # sent to the default queue by a service that names none
            app.send_task(CHAT_TASK, args=(chat_id,), queue=CHAT_QUEUE, ignore_result=True)
