"""The task `llm.chat`."""

import uuid
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore

from shared.task_errors import ChatFailed, of_chat, of_invalid_chat
from shared.task_names import CHAT_QUEUE, CHAT_TASK
from worker.chat.process import ChatProcess
from worker.flower.task_events import RETRIED, REVOKED, publish_event
from worker.messages import send_chat
from worker.tasks.arguments import bind_arguments, log_refusal

_FAILED = ("failed", "expired", "not_found")


def register(
    app: Celery, chats: Callable[[], ChatProcess], state_of: Callable[[uuid.UUID], tuple[str, str | None]]
) -> None:
    """Add `llm.chat(chat_id)` -> `{chat_id, status}`. Raises ChatFailed; ADR 24 has the other ends.

    Acknowledged late: what one process has no room for waits where all can take it. `state_of` gives the status and
    the error's code of a chat that another process, or its caller, has ended.
    """

    @app.task(name=CHAT_TASK, bind=True, ignore_result=True, acks_late=True, throws=(ChatFailed,))
    def chat(self: Task, *args: Any, **kwargs: Any) -> dict[str, str]:
        try:
            id_ = _chat_id(**bind_arguments(_chat_id, args, kwargs))
        except ValueError as error:
            log_refusal(CHAT_TASK, self.request.id, str(error))
            raise of_invalid_chat(str(error)) from None
        chat_id = str(id_)
        if CHAT_QUEUE not in app.amqp.queues.consume_from:  # sent to the default queue by a service that names none
            send_chat(app, id_, task_id=None, request_id=None)
            return {"chat_id": chat_id, "status": "sent on"}
        end = chats().run(id_)
        status, code = (end.status, end.error_code) if end is not None else state_of(id_)
        if status == "cancelled":
            publish_event(self, REVOKED, terminated=False, signum=None, expired=False)
            raise Ignore
        if status in _FAILED:
            raise of_chat(id_, status, code)
        if status != "succeeded":  # a worker that stops, a circuit that is open: it is no success of this task
            text = f"chat {id_} is {status}: another message, a probe or its deadline carries on"
            publish_event(self, RETRIED, exception=text, traceback="")
            raise Ignore
        return {"chat_id": chat_id, "status": status}


def _chat_id(chat_id: object) -> uuid.UUID:
    """What `llm.chat` takes. Raises ValueError, which does not quote it: it may be a question sent by mistake."""
    try:
        return uuid.UUID(str(chat_id))
    except ValueError:
        raise ValueError("chat_id is not the id of a chat") from None
