"""Routes of the sync runs: their list, one of them, the dismissal of a held one; and the ledger."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from flask import Response

from shared.catalogue import ledger
from shared.catalogue.sync import holds, runs
from worker.runtime import Runtime
from worker.web import bodies
from worker.web.problems import Problem
from worker.web.routing import READERS, SERVICE, ApiRequest, PlainRequest, Route, as_json


@dataclass(frozen=True)
class RunRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime

    def routes(self) -> list[Route]:
        return [
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
        ]

    def list_runs(self, call: ApiRequest[None, bodies.RunsQuery]) -> Response:
        with self.runtime.database.transaction(call.caller) as connection:
            rows = runs.newest(connection, limit=call.query.limit, before=call.query.before)
            hold = holds.open_hold(connection)
            undecided = None if hold is None else runs.find(connection, hold.run_id)
        body = {"runs": [_linked(run) for run in rows], "undecided": None if undecided is None else _linked(undecided)}
        return as_json(body)

    def show_run(self, call: PlainRequest) -> Response:
        with self.runtime.database.transaction(call.caller) as connection:
            run = runs.find(connection, _uuid(call.path["run_id"]))
        if run is None:
            raise _no_run()
        return as_json(_linked(run))

    def dismiss_run(self, call: PlainRequest) -> Response:
        run_id = _uuid(call.path["run_id"])
        try:
            self.runtime.refresher.dismiss(run_id, actor=call.caller.subject)
        except holds.NotHeld as refused:
            with self.runtime.database.transaction(call.caller) as connection:
                if runs.find(connection, run_id) is None:
                    raise _no_run() from None
            raise Problem(409, "not_held", str(refused), members={"held": refused.held}) from None
        return self.show_run(call)

    def list_changes(self, call: ApiRequest[None, bodies.ChangesQuery]) -> Response:
        query = call.query
        with self.runtime.database.transaction(call.caller) as connection:
            rows = ledger.read_changes(connection, since=query.since, limit=query.limit, run_id=query.run)
        return as_json({"changes": rows, "next": rows[-1]["id"] if rows else query.since})


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
