"""A refresh from beginning to end: claim, fetch, plan, guard, apply, and the honest word about how it ended."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from shared.catalogue import runs, store
from shared.catalogue.outcomes import USE, Ending, Options, Outcome, Record, Used, nothing_used, record_nothing
from shared.catalogue.parse import Parsed, Rejected, parse_entries
from shared.catalogue.plan import COUNTED, Describe, Plan, Policy, as_json, plan_sync
from shared.catalogue.runs import Claim, Trigger
from shared.catalogue.sources import Fetched, Sources
from shared.clock import Ids
from shared.db import Database, DatabaseError
from shared.gateway.errors import GatewayError

log = structlog.get_logger(__name__)

ASKED_FETCH_SECONDS = 15.0
"""How long a fetch that somebody waits for may take, retries included."""
NIGHTLY_FETCH_SECONDS = 60.0
CLAIM_PAUSE_SECONDS = 0.2
CLAIM_PATIENCE_SECONDS = 200.0
"""How long a run waits for the running one: longer than its lease."""


@dataclass(frozen=True, slots=True)
class _Failure(Exception):
    code: str
    detail: str


class Refresher:
    """Runs refreshes with the parts it is given. One may serve many threads."""

    def __init__(
        self,
        *,
        database: Database,
        sources: Sources,
        describe: Callable[[], Describe],
        policy: Policy,
        ids: Ids,
        rules: Callable[[], str],
        record: Record = record_nothing,
        used: Used = nothing_used,
    ) -> None:
        """`describe` loads what capabilities are known from, once and late; `rules` digests all that a plan depends on
        beside the list and the table; `record` keeps what has to be told of an ending; `used`
        counts the recent requests of models that go."""
        self._database = database
        self._sources = sources
        self._describe = describe
        self._policy = policy
        self._ids = ids
        self._rules = rules
        self._record = record
        self._used = used

    def request(
        self,
        options: Options,
        *,
        trigger: Trigger,
        actor: str,
        request_id: str | None = None,
        task_id: str | None = None,
        publish_pause_seconds: float = 30,
    ) -> tuple[uuid.UUID, str | None, bool]:
        """Queue a run or join one that has not begun; returns its id, its task's id and whether it is new."""
        with self._database.transaction() as connection:
            return runs.enqueue(
                connection,
                run_id=self._ids(),
                trigger=trigger,
                options=options.as_json(),
                actor=actor,
                request_id=request_id,
                task_id=task_id,
                publish_pause_seconds=publish_pause_seconds,
            )

    def request_night(
        self, due: datetime, *, trigger: Trigger, task_id: str | None, actor: str
    ) -> tuple[uuid.UUID, bool]:
        """Queue the run of the night that was due at this local time; however often asked, there is one."""
        with self._database.transaction() as connection:
            return runs.enqueue_night(
                connection, run_id=self._ids(), trigger=trigger, due=due, task_id=task_id, actor=actor
            )

    def publish_soon(self, run_id: uuid.UUID) -> None:
        """Let upkeep send the message for a queued run at its next round: Redis did not take it."""
        with self._database.transaction() as connection:
            runs.publish_soon(connection, run_id)

    def now(self) -> datetime:
        """The database's time."""
        with self._database.transaction() as connection:
            return store.now(connection)

    def perform(self, run_id: uuid.UUID, *, task_id: str | None = None) -> Outcome:
        """Carry out a queued run; one that another carries out, or has carried out, only tells how it ended.

        Upstream's failures are recorded and told in the outcome. Raises DatabaseUnavailable, and whatever else is no
        failure of upstream, after recording it where that is possible.
        """
        claim = self._claimed(run_id, task_id)
        if claim is None:
            return self.outcome(run_id)
        with structlog.contextvars.bound_contextvars(run_id=str(run_id), **_request(claim.request_id)):
            try:
                return self._carry_out(claim)
            except _Failure as failure:
                return self._failed(claim, failure.code, failure.detail)
            except runs.FenceLost as lost:
                log.warning(
                    "llm_refresh.fenced", message="[LLM Refresh] Run was taken away, nothing applied", detail=str(lost)
                )
                return self.outcome(run_id)
            except Exception as error:
                self._failed(claim, "internal", f"{type(error).__name__}: see the worker's log")
                raise

    def outcome(self, run_id: uuid.UUID) -> Outcome:
        """How a run stands. Raises LookupError for a run that does not exist."""
        with self._database.transaction() as connection:
            run = runs.find(connection, run_id)
        if run is None:
            raise LookupError(f"there is no run {run_id}")
        error = run["error"] or {}
        return Outcome(
            run_id,
            run["status"],
            dict.fromkeys(COUNTED, 0) | run["counts"],
            tuple(run["errors"]),
            run["held"],
            error.get("code"),
            error.get("detail"),
        )

    def preview(self, options: Options, *, request_id: str | None = None) -> Outcome:
        """What `perform` would do now: reads, and writes nothing. The status is the one that a run would end with."""
        try:
            fetched = self._fetch(options.source, ASKED_FETCH_SECONDS, request_id)
        except _Failure as failure:
            return Outcome(None, "failed", code=failure.code, detail=failure.detail, plan=())
        parsed = parse_entries(fetched.entries)
        describe = self._describe()
        with self._database.transaction() as connection:
            rows, retired, now = store.read_rows(connection), store.retired_keys(connection), store.now(connection)
            plan = self._with_use(connection, plan_sync(rows, parsed, describe, self._policy, now, retired))
        held = self._held(plan, fetched, options)
        status = "held" if held is not None else _status(plan)
        return Outcome(None, status, plan.counts, _errors(parsed), held, plan=tuple(as_json(plan)))

    def _claimed(self, run_id: uuid.UUID, task_id: str | None) -> Claim | None:
        give_up = time.monotonic() + CLAIM_PATIENCE_SECONDS
        while True:
            try:
                with self._database.transaction() as connection:
                    self.abandon_expired(connection)
                    claim = runs.claim(connection, run_id, task_id=task_id)
                    status = None if claim is not None else runs.status_of(connection, run_id)
            except DatabaseError as error:
                if not runs.is_race(error):
                    raise
                status = "queued"
            else:
                if claim is not None or status not in ("queued", "running"):
                    return claim
            if time.monotonic() > give_up:
                return None
            time.sleep(CLAIM_PAUSE_SECONDS)  # another run is running and this one follows it, or another carries it out

    def abandon_expired(self, connection: Any) -> Sequence[uuid.UUID]:
        """End the runs whose worker died; returns their ids."""
        dead = runs.abandon_expired(connection)
        for run_id in dead:
            self._record(connection, Ending(run_id, "abandoned"))
        return dead

    def _carry_out(self, claim: Claim) -> Outcome:
        options = Options(claim.options.get("source"), claim.options.get("force"))
        deadline = NIGHTLY_FETCH_SECONDS if claim.trigger in ("schedule", "catch-up") else ASKED_FETCH_SECONDS
        fetched = self._fetch(options.source, deadline, claim.request_id)
        inputs = hashlib.sha256(f"{fetched.source} {fetched.sha256} {self._rules()}".encode()).hexdigest()
        known = {"source": fetched.source, "fetch_ms": fetched.milliseconds, "upstream_sha256": fetched.sha256}

        describe = self._describe()
        with self._database.transaction(timeout_seconds=60) as connection:
            runs.hold_fence(connection, claim)
            version = store.lock(connection)
            if version.settled_inputs == inputs and version.settled_version == version.version:
                started = time.monotonic()
                counts = dict.fromkeys(COUNTED, 0) | {"unchanged": store.touch_settled(connection)}
                store.mark_synced(connection, source=fetched.source, settled_inputs=inputs)
                spent = {"plan_ms": 0, "apply_ms": _since(started)}
                runs.close(connection, claim, "succeeded", counts=counts, **known, **spent)
                self._record(connection, Ending(claim.run_id, "succeeded", claim.attempt))
                outcome, plan = Outcome(claim.run_id, "succeeded", counts), None
            else:
                started = time.monotonic()
                parsed = parse_entries(fetched.entries)
                rows, retired = store.read_rows(connection), store.retired_keys(connection)
                plan = plan_sync(rows, parsed, describe, self._policy, version.now, retired)
                known["plan_ms"] = _since(started)
                outcome = self._apply(connection, claim, options, fetched, parsed, plan, inputs, known)
        self._tell(outcome, plan, fetched)
        return outcome

    def _apply(
        self,
        connection: Any,
        claim: Claim,
        options: Options,
        fetched: Fetched,
        parsed: Parsed,
        plan: Plan,
        inputs: str,
        known: Mapping[str, Any],
    ) -> Outcome:
        errors = _errors(parsed)
        held = self._held(plan, fetched, options)
        if held is not None:
            counts = dict.fromkeys(COUNTED, 0) | {"failed": plan.counts["failed"]}
            runs.close(connection, claim, "held", counts=counts, errors=list(errors), held=held, **known)
            self._record(connection, Ending(claim.run_id, "held", claim.attempt, held))
            return Outcome(claim.run_id, "held", counts, errors, held)
        started = time.monotonic()
        plan = self._with_use(connection, plan)
        store.write_rows(connection, plan.written, plan.listed)
        store.touch(connection, plan.touched)
        store.append_changes(connection, plan.changes, run_id=claim.run_id, actor=claim.actor)
        store.mark_synced(connection, source=fetched.source, settled_inputs=None if plan.pending else inputs)
        status, spent = _status(plan), _since(started)
        runs.close(connection, claim, status, counts=plan.counts, errors=list(errors), apply_ms=spent, **known)
        ending = Ending(claim.run_id, status, claim.attempt, changes=plan.changes, promoted=plan.promoted)
        self._record(connection, ending)
        return Outcome(claim.run_id, status, plan.counts, errors)

    def _with_use(self, connection: Any, plan: Plan) -> Plan:
        """The plan, with how much each model that goes was used of late: a removal nobody notices is none to fear."""
        going = {change.model_key for change in plan.changes if change.kind == "deactivated"}
        if not going:
            return plan
        used = self._used(connection, going)
        told = tuple(
            replace(change, after={**(change.after or {}), USE: used.get(change.model_key, 0)})
            if change.kind == "deactivated"
            else change
            for change in plan.changes
        )
        return replace(plan, changes=told)

    def _held(self, plan: Plan, fetched: Fetched, options: Options) -> dict[str, Any] | None:
        guard = plan.guard
        if options.force == fetched.sha256 or not guard.holds(self._policy.max_shrink):
            return None
        return {
            "absent": guard.absent,
            "active": guard.active,
            "repointed": guard.repointed,
            "sha256": fetched.sha256,
        }

    def _fetch(self, source: str | None, deadline_seconds: float, request_id: str | None) -> Fetched:
        try:
            return self._sources.fetch(source, deadline_seconds=deadline_seconds, request_id=request_id)
        except GatewayError as error:
            raise _Failure(error.code, error.detail) from None
        except LookupError as error:
            raise _Failure("source_unknown", str(error)) from None

    def _failed(self, claim: Claim, code: str, detail: str) -> Outcome:
        """Record a failure in a transaction of its own."""
        log.error("llm_refresh.failed", message="[LLM Refresh] Failed to sync models", code=code, detail=detail)
        try:
            with self._database.transaction() as connection:
                runs.close(connection, claim, "failed", error_code=code, error_detail=detail)
                self._record(connection, Ending(claim.run_id, "failed", claim.attempt, code=code, detail=detail))
        except runs.FenceLost:
            return self.outcome(claim.run_id)
        return Outcome(claim.run_id, "failed", code=code, detail=detail)

    def _tell(self, outcome: Outcome, plan: Plan | None, fetched: Fetched) -> None:
        counts = dict(outcome.counts)
        if outcome.status == "held":
            log.error(
                "llm_refresh.held",
                message="[LLM Refresh] Held: the list would take away too much, nothing changed",
                **(outcome.held or {}),
            )
            return
        synced = sum(counts[name] for name in ("added", "updated", "unchanged", "reactivated"))
        log.info(
            "llm_refresh.synced",
            message=f"[LLM Refresh] Synced {synced} models",
            status=outcome.status,
            source=fetched.source,
            **counts,
        )
        if plan is not None and plan.promoted is not None:
            old, new = plan.promoted
            log.warning(
                "llm_refresh.default_promoted",
                message="[LLM Refresh] The default model is gone, another was promoted",
                lost=old,
                promoted=new,
            )


def _status(plan: Plan) -> str:
    return "partial" if plan.counts["failed"] else "succeeded"


def _errors(parsed: Parsed) -> tuple[dict[str, Any], ...]:
    return tuple(_error(rejected) for rejected in parsed.rejected[: runs.MAX_ERRORS_KEPT])


def _error(rejected: Rejected) -> dict[str, Any]:
    return {"id": rejected.id, "name": rejected.name, "reason": rejected.reason}


def _request(request_id: str | None) -> dict[str, str]:
    return {} if request_id is None else {"request_id": request_id}


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
