"""Route of tasks: what became of one that this API sent, for whoever asks Celery's way."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response

from shared.catalogue.sync import runs
from shared.catalogue.sync.plan import COUNTED
from shared.chat import read
from shared.chat.read import Snapshot
from shared.task_errors import TaskFailure
from shared.task_names import CHAT_TASK, REFRESH_TASK
from shared.vocabulary import ENDED_RUNS
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web import bodies
from worker.web.problems import Problem
from worker.web.refreshes import failure_text, task_result
from worker.web.routing import READERS, AnyRequest, PlainRequest, Route, as_json

_TASK_STATUS = {
    "queued": "PENDING",
    "running": "STARTED",
    "held": "FAILURE",
    "failed": "FAILURE",
    "abandoned": "FAILURE",
}
_CHAT_TASK_STATUS = {
    "queued": "PENDING",
    "running": "STARTED",
    "succeeded": "SUCCESS",
    "cancelled": "REVOKED",
    "failed": "FAILURE",
    "expired": "FAILURE",
}


@dataclass(frozen=True)
class TaskRoutes:
    """The handler, with what it works with."""

    runtime: Runtime
    publisher: Publisher

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/api/tasks/{task_id}",
                self.show_task,
                "A task of this API; `authenticated`: of an own chat",
                returns={200: bodies.TaskBody},
            ),
        ]

    def show_task(self, call: PlainRequest) -> Response:
        task_id = call.path["task_id"]
        chat = self._chat_of_task(call, task_id)
        if chat is not None or call.caller.role not in READERS:
            return _chat_task(task_id, chat)
        with self.runtime.database.transaction(call.caller) as connection:
            run = runs.find_by_task(connection, task_id)
        if run is not None:
            ended = run["status"] in ENDED_RUNS
            body: dict[str, Any] = {
                "id": task_id,
                "name": REFRESH_TASK,
                "status": _TASK_STATUS.get(run["status"], "SUCCESS"),
            }
            if ended:
                counts = dict.fromkeys(COUNTED, 0) | run["counts"]
                body["result"] = {"run_id": run["id"], "status": run["status"], "counts": counts}
                body |= _error_of(run)
            return as_json(body)
        name = self.runtime.store.remembered_task(task_id)
        if name is None:
            raise _no_task()
        status, result = task_result(self.publisher, task_id)
        body = {"id": task_id, "name": name, "status": status}
        if isinstance(result, TaskFailure):
            body |= {"result": result.values} | _error_of(result.values)
        elif status == "SUCCESS":
            body["result"] = result
        return as_json(body)

    def _chat_of_task(self, call: AnyRequest, task_id: str) -> Snapshot | None:
        """The chat whose first message this task was: it has the chat's id."""
        try:
            chat_id = uuid.UUID(task_id)
        except ValueError:
            return None
        with self.runtime.database.transaction(call.caller) as connection:
            return read.find(connection, chat_id, content="none")


def _error_of(ended: Mapping[str, Any]) -> dict[str, Any]:
    """Why a refresh is no success, as a member of its task; nothing where it is one."""
    if ended["status"] == "held":
        detail = "the list would take away too much: nothing was changed"
        return {"error": {"code": "held", "detail": detail, "sha256": ended["held"]["sha256"]}}
    error = ended.get("error")
    return {"error": error | {"detail": failure_text(error["code"], error["detail"])}} if error else {}


def _chat_task(task_id: str, chat: Snapshot | None) -> Response:
    if chat is None:
        raise _no_task()
    body: dict[str, Any] = {"id": task_id, "name": CHAT_TASK, "status": _CHAT_TASK_STATUS[chat.status]}
    if chat.ended:
        body["result"] = {"chat_id": str(chat.chat_id), "status": chat.status}
        if "error" in chat.body:
            body["error"] = {"code": chat.body["error"]["code"]}
    return as_json(body)


def _no_task() -> Problem:
    return Problem(404, "not_found", "there is no such task: ids are those that this API gave")
