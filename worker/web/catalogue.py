"""Routes of the catalogue: the listing, refreshes, runs, the tasks of refreshes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from flask import Response, request
from kombu.exceptions import OperationalError
from pydantic import BaseModel

from shared.catalogue.editing import UnknownModel
from shared.catalogue.edits import EditRefused
from shared.catalogue.inactive import read_all_models
from shared.catalogue.listing import Encoded, ListingKeeper, listing, read_models, read_state
from shared.catalogue.sync import holds, runs, store
from shared.catalogue.sync.outcomes import FORCE_REFUSED, Outcome
from shared.catalogue.sync.plan import COUNTED
from shared.chat import read, usage
from shared.chat.read import Snapshot
from shared.clock import new_id
from shared.db import Connection
from shared.redis_store import RedisUnavailable
from shared.task_errors import TaskFailure
from shared.task_names import CHAT_TASK, REFRESH_TASK
from shared.vocabulary import GATEWAY_ERROR_CODES, text_for_callers
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web import bodies
from worker.web.model_page import find_model
from worker.web.problems import Problem, problem_members
from worker.web.routing import READERS, SERVICE, ApiRequest, Route, as_json, forbidden

LISTING_PATH = "/api/llms"
POLL_SECONDS = 0.15
LOOK_SECONDS = 2.0
"""How often who waits for a refresh looks whether the servers are there that it needs."""
MAX_CHANGES_REPORTED = 1000
REPUBLISH_AFTER_SECONDS = 30.0
"""A queued run whose message was taken by Redis is published again after this; one that was not, at once."""
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
_FOR_CALLERS = {
    "database_unavailable": "PostgreSQL could not be reached, or not do this at the moment; ask again.",
    "source_unknown": "The source is not set up here: name no source.",
}
"""By the code of a refresh's failure whose own text is for operators."""
_HTTP_STATUS = {"succeeded": 200, "partial": 200, "held": 409, "failed": 502, "abandoned": 502}


@dataclass(frozen=True)
class CatalogueRoutes:
    """The handlers, with what they work with."""

    parts: Runtime
    keeper: ListingKeeper
    publisher: Publisher

    def routes(self) -> list[Route]:
        done: dict[int, type[BaseModel] | None] = {
            200: bodies.RefreshDone,
            202: bodies.Accepted,
            409: bodies.RefreshDone,
            502: bodies.RefreshDone,
        }
        return [
            Route(
                "GET",
                LISTING_PATH,
                self.list_models,
                "The active models",
                query=bodies.ListingQuery,
                returns={200: bodies.ListingBody, 304: None},
            ),
            Route(
                "POST",
                "/api/llms/refresh",
                self.refresh,
                "Refresh now, or preview it; `operator`: preview",
                roles=READERS,
                body=bodies.RefreshBody,
                returns=done,
                headers={"Prefer": "respond-async: answer 202 at once"},
            ),
            Route(
                "GET",
                "/api/llms/runs",
                self.list_runs,
                "Sync runs, newest first",
                roles=READERS,
                query=bodies.RunsQuery,
                returns={200: bodies.RunsBody},
            ),
            Route(
                "GET",
                "/api/llms/runs/{run_id}",
                self.show_run,
                "One sync run",
                roles=READERS,
                returns={200: bodies.Run},
            ),
            Route(
                "POST",
                "/api/llms/runs/{run_id}/dismiss",
                self.dismiss_run,
                "End a hold without applying its list",
                roles=SERVICE,
                returns={200: bodies.Run},
            ),
            Route(
                "GET",
                "/api/llms/changes",
                self.list_changes,
                "The ledger, oldest first",
                roles=READERS,
                query=bodies.ChangesQuery,
                returns={200: bodies.ChangesBody},
            ),
            Route(
                "GET",
                "/api/llms/{model_key}",
                self.show_model,
                "One active model; 404 says what became of a key that means none",
                returns={200: bodies.Model, 404: bodies.MissingModel},
            ),
            Route(
                "PATCH",
                "/api/llms/{model_key}",
                self.edit_model,
                "Override what a sync would set; null drops it",
                roles=SERVICE,
                body=bodies.EditBody,
                returns={200: bodies.EditedModel},
            ),
            Route(
                "GET",
                "/api/tasks/{task_id}",
                self.show_task,
                "A task of this API; `authenticated`: of an own chat",
                returns={200: bodies.TaskBody},
            ),
        ]

    def list_models(self, call: ApiRequest) -> Response:
        if call.query.provenance or call.query.all:
            return self._list_for_operators(call)
        current = self.keeper.current
        if current is None:
            raise no_listing()
        return listing_response(current)

    def show_model(self, call: ApiRequest) -> Response:
        return as_json(find_model(call.path["model_key"], self.keeper.current, self.parts.database))

    def _list_for_operators(self, call: ApiRequest) -> Response:
        if call.caller.role not in READERS:
            raise forbidden(call.caller, READERS, what="more than read the plain list (provenance, all)")
        read_listed = read_all_models if call.query.all else read_models
        with self.parts.database.transaction(call.caller) as connection:
            models = read_listed(connection, provenance=call.query.provenance)
            state = read_state(connection, stale_after=self.parts.cadence.stale_after)
        return as_json(listing(models, state))

    def refresh(self, call: ApiRequest) -> Response:
        body: bodies.RefreshBody = call.body
        if not body.dry_run and call.caller.role not in SERVICE:
            raise forbidden(call.caller, what="more than preview a refresh (dryRun: true)")
        if body.source == "matchaai" and not self.parts.settings.upstream_given:
            detail = "MatchaAI is not set up here: name no source, or have the operator of this service set it up"
            raise Problem(422, "source_not_set_up", detail)
        if body.dry_run:
            return self._preview(call, body)
        if body.force is not None:
            self._check_force(call, body, body.force)
        return self._refresh(call, body)

    def _check_force(self, call: ApiRequest, body: bodies.RefreshBody, sha256: str) -> None:
        """See that `force` names a list that a run held, or, for who waits, one that a run would hold now."""
        with self.parts.database.transaction(call.caller) as connection:
            if holds.is_held(connection, sha256):
                return
            hold = holds.open_hold(connection)
        held = None if hold is None else hold.held
        if not call.respond_async:
            preview, _ = self._previewed(call, bodies.RefreshBody(source=body.source, dry_run=True))
            held = (preview.held if preview is not None else None) or held
        if held is None or held["sha256"] != sha256:
            detail = holds.explain_refusal(sha256, held)
            raise Problem(409, "not_held", detail, members={"held": held})

    def _preview(self, call: ApiRequest, body: bodies.RefreshBody) -> Response:
        outcome, task_id = self._previewed(call, body)
        if outcome is not None:
            return self._done(outcome)
        return _accepted(None, "queued", {"task": f"/api/tasks/{task_id}"})

    def _previewed(self, call: ApiRequest, body: bodies.RefreshBody) -> tuple[Outcome | None, str]:
        """What a dry run says, or None when it takes longer than the caller waits; and its task's id."""
        task_id = str(new_id())
        self.parts.database.check()  # what the worker will need, and what this answer is made of
        self.parts.store.remember_task(task_id, REFRESH_TASK)
        if not self.publisher.refresh(body, task_id=task_id, run_id=None, request_id=call.request_id):
            raise _no_redis("Redis takes no messages at the moment; try again")
        deadline, look = self._deadline(call), time.monotonic() + LOOK_SECONDS
        while time.monotonic() < deadline:
            if time.monotonic() > look:
                self.parts.database.check()
                look = time.monotonic() + LOOK_SECONDS
            status, result = self._result(task_id)
            if status == "SUCCESS":
                return _outcome(result), task_id
            if isinstance(result, TaskFailure):
                return _outcome(result.values), task_id
            if status == "FAILURE":
                self.parts.database.check()
                raise Problem(500, "internal", "the preview failed; the worker's log has it by the request id")
            time.sleep(POLL_SECONDS)
        return None, task_id

    def _refresh(self, call: ApiRequest, body: bodies.RefreshBody) -> Response:
        run_id, task_id, new = self.parts.refresher.request(
            body,
            trigger="api",
            actor=call.caller.subject,
            request_id=call.request_id,
            task_id=str(new_id()),
            publish_pause_seconds=REPUBLISH_AFTER_SECONDS,
        )
        sent = True
        if new:
            sent = self.publisher.refresh(body, task_id=str(task_id), run_id=str(run_id), request_id=call.request_id)
            if not sent:
                self.parts.refresher.publish_soon(run_id)
        links = {"run": f"/api/llms/runs/{run_id}", "task": f"/api/tasks/{task_id}"}
        deadline = self._deadline(call) if sent else time.monotonic()
        look = time.monotonic() + LOOK_SECONDS
        while True:
            outcome = self.parts.refresher.outcome(run_id)
            if outcome.status in runs.ENDED:
                return self._done(outcome)
            if time.monotonic() > deadline:
                return _accepted(run_id, outcome.status, links)
            if outcome.status == "queued" and time.monotonic() > look:
                look += LOOK_SECONDS
                if not self._redis_answers():  # no worker gets the message: there is nothing to wait for now
                    return _accepted(run_id, outcome.status, links)
            time.sleep(POLL_SECONDS)

    def _redis_answers(self) -> bool:
        try:
            self.parts.store.ping()
        except RedisUnavailable:
            return False
        return True

    def _result(self, task_id: str) -> tuple[str, Any]:
        try:
            return self.publisher.result(task_id)
        except OperationalError:
            raise _no_redis("Redis cannot be reached at the moment; try again") from None

    def _deadline(self, call: ApiRequest) -> float:
        wait = self.parts.settings.refresh_wait_seconds
        if call.respond_async:
            wait = 0.0
        elif call.wait_seconds is not None:
            wait = min(wait, call.wait_seconds)
        return time.monotonic() + wait

    def _done(self, outcome: Outcome) -> Response:
        with self.parts.database.transaction() as connection:
            models, now = read_models(connection), store.now(connection)
            removed = usage.of_removed(connection, _changes_of(connection, outcome))
        dry_run = outcome.plan is not None
        body: dict[str, Any] = {
            "success": outcome.status in runs.GOOD or (dry_run and outcome.status == "held"),
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

    def list_runs(self, call: ApiRequest) -> Response:
        with self.parts.database.transaction(call.caller) as connection:
            found = runs.newest(connection, limit=call.query.limit, before=call.query.before)
            hold = holds.open_hold(connection)
            undecided = None if hold is None else runs.find(connection, hold.run_id)
        body = {"runs": [_linked(run) for run in found], "undecided": None if undecided is None else _linked(undecided)}
        return as_json(body)

    def show_run(self, call: ApiRequest) -> Response:
        with self.parts.database.transaction(call.caller) as connection:
            run = runs.find(connection, _uuid(call.path["run_id"]))
        if run is None:
            raise _no_run()
        return as_json(_linked(run))

    def dismiss_run(self, call: ApiRequest) -> Response:
        run_id = _uuid(call.path["run_id"])
        try:
            self.parts.refresher.dismiss(run_id, actor=call.caller.subject)
        except holds.NotHeld as refused:
            with self.parts.database.transaction(call.caller) as connection:
                if runs.find(connection, run_id) is None:
                    raise _no_run() from None
            raise Problem(409, "not_held", str(refused), members={"held": refused.held}) from None
        return self.show_run(call)

    def list_changes(self, call: ApiRequest) -> Response:
        query = call.query
        with self.parts.database.transaction(call.caller) as connection:
            found = store.read_changes(connection, since=query.since, limit=query.limit, run_id=query.run)
        return as_json({"changes": found, "next": found[-1]["id"] if found else query.since})

    def edit_model(self, call: ApiRequest) -> Response:
        key = call.path["model_key"]
        try:
            return as_json(self.parts.editor.edit(key, call.body, caller=call.caller))
        except UnknownModel:
            raise Problem(404, "unknown_model", f"no model has the key {key!r}; /api/llms lists them") from None
        except EditRefused as refused:
            raise Problem(409, "edit_refused", str(refused)) from None

    def show_task(self, call: ApiRequest) -> Response:
        task_id = call.path["task_id"]
        chat = self._chat_of_task(call, task_id)
        if chat is not None or call.caller.role not in READERS:
            return _chat_task(task_id, chat)
        with self.parts.database.transaction(call.caller) as connection:
            run = runs.find_by_task(connection, task_id)
        if run is not None:
            ended = run["status"] in runs.ENDED
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
        name = self.parts.store.remembered_task(task_id)
        if name is None:
            raise _no_task()
        status, result = self._result(task_id)
        body = {"id": task_id, "name": name, "status": status}
        if isinstance(result, TaskFailure):
            body |= {"result": result.values} | _error_of(result.values)
        elif status == "SUCCESS":
            body["result"] = result
        return as_json(body)

    def _chat_of_task(self, call: ApiRequest, task_id: str) -> Snapshot | None:
        """The chat whose first message this task was: it has the chat's id."""
        try:
            chat_id = uuid.UUID(task_id)
        except ValueError:
            return None
        with self.parts.database.transaction(call.caller) as connection:
            return read.find(connection, chat_id, content="none")


def no_listing() -> Problem:
    """What is answered where there has never been a listing."""
    detail = "no list of models has been read yet; see /readyz"
    return Problem(503, "listing_unavailable", detail, headers={"Retry-After": "2"})


def listing_response(current: Encoded) -> Response:
    """A listing, or 304 for those who have it."""
    response = (
        Response(status=304) if _matches(current.etag) else Response(current.body, content_type="application/json")
    )
    response.headers.update(listing_headers(current))
    return response


def listing_headers(current: Encoded) -> dict[str, str]:
    """What a listing says of itself, whether it is sent or not."""
    return {"ETag": current.etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}


def _changes_of(connection: Connection, outcome: Outcome) -> Sequence[Mapping[str, Any]]:
    if outcome.plan is not None or outcome.run_id is None:
        return outcome.plan or ()
    return store.read_changes(connection, since=0, limit=MAX_CHANGES_REPORTED, run_id=outcome.run_id)


def _explain(outcome: Outcome) -> str:
    """Why a refresh failed, for who asked for it. The run, which operators read, has the whole cause."""
    text = _public(outcome.code, outcome.detail or "the refresh failed")
    place = "the log by this request id" if outcome.run_id is None else f"/api/llms/runs/{outcome.run_id}"
    return f"{text} The whole cause: {place}" if text != outcome.detail else text


def _public(code: str | None, detail: str) -> str:
    """What a caller reads of the failure of a refresh: our own words, but not what names the inside."""
    if code in GATEWAY_ERROR_CODES:
        return text_for_callers(code)
    return _FOR_CALLERS.get(code or "", detail)


def _error_of(ended: Mapping[str, Any]) -> dict[str, Any]:
    """Why a refresh is no success, as a member of its task; nothing where it is one."""
    if ended["status"] == "held":
        detail = "the list would take away too much: nothing was changed"
        return {"error": {"code": "held", "detail": detail, "sha256": ended["held"]["sha256"]}}
    error = ended.get("error")
    return {"error": error | {"detail": _public(error["code"], error["detail"])}} if error else {}


def _chat_task(task_id: str, chat: Snapshot | None) -> Response:
    if chat is None:
        raise _no_task()
    body: dict[str, Any] = {"id": task_id, "name": CHAT_TASK, "status": _CHAT_TASK_STATUS[chat.status]}
    if chat.ended:
        body["result"] = {"chat_id": str(chat.chat_id), "status": chat.status}
        if "error" in chat.body:
            body["error"] = {"code": chat.body["error"]["code"]}
    return as_json(body)


def _no_redis(detail: str) -> Problem:
    return Problem(503, "redis_unavailable", detail, headers={"Retry-After": "5"})


def _no_task() -> Problem:
    return Problem(404, "not_found", "there is no such task: ids are those that this API gave")


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


def _accepted(run_id: uuid.UUID | None, status: str, links: dict[str, str]) -> Response:
    location = links.get("run") or links["task"]
    return as_json({"runId": run_id, "status": status, "links": links}, 202, {"Location": location})


def _linked(run: dict[str, Any]) -> dict[str, Any]:
    links = {"self": f"/api/llms/runs/{run['id']}", "changes": f"/api/llms/changes?run={run['id']}"}
    if run["task_id"] is not None:
        links["task"] = f"/api/tasks/{run['task_id']}"
    return run | {"links": links}


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise _no_run() from None


def _no_run() -> Problem:
    return Problem(404, "not_found", "there is no such run: /api/llms/runs lists them")


def _matches(etag: str) -> bool:
    """Whether If-None-Match names this tag (RFC 9110, 13.1.2: compared weakly)."""
    given = request.headers.get("If-None-Match")
    if given is None:
        return False
    return request.if_none_match.contains_weak(etag.strip('"')) or given.strip() == "*"
