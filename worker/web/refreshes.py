"""Route of refreshes: asked for, awaited for a while, previewed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from flask import Response
from kombu.exceptions import OperationalError
from pydantic import BaseModel

from shared.catalogue import ledger
from shared.catalogue.listing import read_models
from shared.catalogue.sync import holds, store
from shared.catalogue.sync.outcomes import FORCE_REFUSED, Outcome
from shared.catalogue.sync.plan import COUNTED
from shared.chat import usage
from shared.clock import new_id
from shared.db import Connection
from shared.redis_store import RedisUnavailable
from shared.task_errors import TaskFailure
from shared.task_names import REFRESH_TASK
from shared.vocabulary import ENDED_RUNS, GATEWAY_ERROR_CODES, GOOD_RUNS, SOURCE_NOT_SET_UP, text_for_callers
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web import bodies
from worker.web.bodies import NoQuery
from worker.web.problems import Problem, problem_members
from worker.web.routing import READERS, SERVICE, AnyRequest, ApiRequest, Route, as_json, forbidden
from worker.web.stopping import Stopping

POLL_SECONDS = 0.15
LOOK_SECONDS = 2.0
"""How often who waits for a refresh looks whether the servers are there that it needs."""
MAX_CHANGES_REPORTED = 1000
_FOR_CALLERS = {
    "database_unavailable": "PostgreSQL could not be reached, or not do this at the moment; ask again.",
    SOURCE_NOT_SET_UP: "The source is not set up here: name no source.",
}
"""By the code of a refresh's failure whose own text is for operators."""
_HTTP_STATUS = {"succeeded": 200, "partial": 200, "held": 409, "failed": 502, "abandoned": 502}


@dataclass(frozen=True)
class RefreshRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime
    publisher: Publisher
    stopping: Stopping = field(default_factory=Stopping)

    def routes(self) -> list[Route]:
        responses: dict[int, type[BaseModel] | None] = {
            200: bodies.RefreshDone,
            202: bodies.Accepted,
            409: bodies.RefreshDone,
            502: bodies.RefreshDone,
        }
        return [
            Route(
                "POST",
                "/api/llms/refresh",
                self.refresh,
                "Refresh now, or preview it; `operator`: preview",
                roles=READERS,
                body=bodies.RefreshBody,
                returns=responses,
                headers={"Prefer": "respond-async: answer 202 at once"},
            ),
        ]

    def refresh(self, call: ApiRequest[bodies.RefreshBody, NoQuery]) -> Response:
        body = call.body
        if not body.dry_run and call.caller.role not in SERVICE:
            raise forbidden(call.caller, what="more than preview a refresh (dryRun: true)")
        if body.source == "matchaai" and not self.runtime.settings.upstream_given:
            detail = "MatchaAI is not set up here: name no source, or have the operator of this service set it up"
            raise Problem(422, SOURCE_NOT_SET_UP, detail)
        if body.dry_run:
            return self._preview(call, body)
        if body.force is not None:
            self._require_held(call, body, body.force)
        return self._refresh(call, body)

    def _require_held(self, call: AnyRequest, body: bodies.RefreshBody, sha256: str) -> None:
        """See that `force` names a list that a run held, or, for callers that wait, one that a run would hold now."""

        def held_now() -> Mapping[str, Any] | None:
            if call.respond_async:
                return None
            preview, _ = self._run_preview(call, bodies.RefreshBody(source=body.source, dry_run=True))
            return None if preview is None else preview.held

        try:
            holds.require_held(self.runtime.database, sha256, held_now, caller=call.caller)
        except holds.NotHeld as error:
            raise Problem(409, "not_held", str(error), members={"held": error.held}) from None

    def _preview(self, call: AnyRequest, body: bodies.RefreshBody) -> Response:
        outcome, task_id = self._run_preview(call, body)
        if outcome is not None:
            return self._result_response(outcome)
        return _accepted_response(None, "queued", {"task": f"/api/tasks/{task_id}"})

    def _run_preview(self, call: AnyRequest, body: bodies.RefreshBody) -> tuple[Outcome | None, str]:
        """What a dry run says, or None when it takes longer than the caller waits; and its task's id."""
        task_id = str(new_id())
        self.runtime.database.check()  # what the worker will need, and what this answer is made of
        self.runtime.store.remember_task(task_id, REFRESH_TASK)
        if not self.publisher.refresh(body, task_id=task_id, run_id=None, request_id=call.request_id):
            raise _no_redis("Redis takes no messages at the moment; try again")
        deadline, look = self._deadline(call), time.monotonic() + LOOK_SECONDS
        while time.monotonic() < deadline and not self.stopping.begun:
            if time.monotonic() > look:
                self.runtime.database.check()
                look = time.monotonic() + LOOK_SECONDS
            status, result = task_result(self.publisher, task_id)
            if status == "SUCCESS":
                return _outcome(result), task_id
            if isinstance(result, TaskFailure):
                return _outcome(result.values), task_id
            if status == "FAILURE":
                self.runtime.database.check()
                raise Problem(500, "internal", "the preview failed; the worker's log has it by the request id")
            time.sleep(POLL_SECONDS)
        return None, task_id

    def _refresh(self, call: AnyRequest, body: bodies.RefreshBody) -> Response:
        run_id, task_id, new = self.runtime.refresher.queue.request(
            body,
            trigger="api",
            actor=call.caller.subject,
            request_id=call.request_id,
            task_id=str(new_id()),
        )
        is_published = True
        if new:
            is_published = self.publisher.refresh(
                body, task_id=str(task_id), run_id=str(run_id), request_id=call.request_id
            )
            if not is_published:
                self.runtime.refresher.queue.publish_soon(run_id)
        links = {"run": f"/api/llms/runs/{run_id}", "task": f"/api/tasks/{task_id}"}
        deadline = self._deadline(call) if is_published else time.monotonic()
        look = time.monotonic() + LOOK_SECONDS
        while True:
            outcome = self.runtime.refresher.outcome(run_id)
            if outcome.status in ENDED_RUNS:
                return self._result_response(outcome)
            if time.monotonic() > deadline or self.stopping.begun:
                return _accepted_response(run_id, outcome.status, links)
            if outcome.status == "queued" and time.monotonic() > look:
                look += LOOK_SECONDS
                if not self._redis_answers():  # no worker gets the message: there is nothing to wait for now
                    return _accepted_response(run_id, outcome.status, links)
            time.sleep(POLL_SECONDS)

    def _redis_answers(self) -> bool:
        try:
            self.runtime.store.ping()
        except RedisUnavailable:
            return False
        return True

    def _deadline(self, call: AnyRequest) -> float:
        wait = self.runtime.settings.refresh_wait_seconds
        if call.respond_async:
            wait = 0.0
        elif call.wait_seconds is not None:
            wait = min(wait, call.wait_seconds)
        return time.monotonic() + wait

    def _result_response(self, outcome: Outcome) -> Response:
        with self.runtime.database.transaction() as connection:
            models, now = read_models(connection), store.now(connection)
            removed = usage.of_removed(connection, _changes_of(connection, outcome))
        dry_run = outcome.plan is not None
        body: dict[str, Any] = {
            "success": outcome.status in GOOD_RUNS or (dry_run and outcome.status == "held"),
            "status": "failed" if outcome.status == "abandoned" else outcome.status,
            "runId": outcome.run_id,
            "syncResults": {name: outcome.counts.get(name, 0) for name in COUNTED} | {"errors": list(outcome.errors)},
            "removed": removed,
            "models": models,
            "timestamp": now.astimezone(UTC).isoformat(),
        }
        if dry_run:
            body |= {"dryRun": True, "plan": list(outcome.plan or ())}
        if outcome.held is not None:
            body["held"] = outcome.held
        status = 200 if dry_run and outcome.status == "held" else _HTTP_STATUS[outcome.status]
        if outcome.code == FORCE_REFUSED:
            status = 409
        if outcome.status in ("failed", "abandoned"):
            members = problem_members(status, outcome.code or "failed", _explain(outcome))
            response = as_json(members | body | {"status": "failed"}, status)
            response.content_type = "application/problem+json"
            return response
        return as_json(body, status)


def _changes_of(connection: Connection, outcome: Outcome) -> Sequence[Mapping[str, Any]]:
    if outcome.plan is not None or outcome.run_id is None:
        return outcome.plan or ()
    return ledger.read_changes(connection, since=0, limit=MAX_CHANGES_REPORTED, run_id=outcome.run_id)


def _explain(outcome: Outcome) -> str:
    """Why a refresh failed, for who asked for it. The run, which operators read, has the whole cause."""
    text = failure_text(outcome.code, outcome.detail or "the refresh failed")
    place = "the log by this request id" if outcome.run_id is None else f"/api/llms/runs/{outcome.run_id}"
    return f"{text} The whole cause: {place}" if text != outcome.detail else text


def failure_text(code: str | None, detail: str) -> str:
    """What a caller reads of the failure of a refresh: our own words, but not what names the inside."""
    if code in GATEWAY_ERROR_CODES:
        return text_for_callers(code)
    return _FOR_CALLERS.get(code or "", detail)


def _no_redis(detail: str) -> Problem:
    return Problem(503, "redis_unavailable", detail, headers={"Retry-After": "5"})


def _outcome(result: dict[str, Any]) -> Outcome:
    error = result.get("error") or {}
    return Outcome(
        None,
        result["status"],
        result["counts"],
        tuple(result.get("errors", ())),
        result.get("held"),
        error.get("code"),
        error.get("detail"),
        tuple(result.get("plan", ())),
    )


def _accepted_response(run_id: uuid.UUID | None, status: str, links: dict[str, str]) -> Response:
    location = links.get("run") or links["task"]
    return as_json({"runId": run_id, "status": status, "links": links}, 202, {"Location": location})


def task_result(publisher: Publisher, task_id: str) -> tuple[str, Any]:
    """The state and result that Celery knows of a task. Raises Problem 503 when Redis cannot be reached."""
    try:
        return publisher.result(task_id)
    except OperationalError:
        raise _no_redis("Redis cannot be reached at the moment; try again") from None
