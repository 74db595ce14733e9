"""A refresh from beginning to end: claim, fetch, plan, guard, apply, and the honest word about how it ended."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from shared.catalogue import ledger
from shared.catalogue.sync import holds, runs, store
from shared.catalogue.sync.draft import Describe
from shared.catalogue.sync.endings import RecordNotices, UsageLookup, log_outcome, nothing_used, record_nothing
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.outcomes import Outcome, RunEnded
from shared.catalogue.sync.parse import ParsedList, parse_entries
from shared.catalogue.sync.plan import COUNTED, Plan, Policy, as_json
from shared.catalogue.sync.planner import Planner, RunFailed, errors_of
from shared.catalogue.sync.queue import RunQueue
from shared.catalogue.sync.runs import RunClaim
from shared.catalogue.sync.sources import FetchedList, Sources
from shared.clock import Ids
from shared.db import Connection, Database, DatabaseError

log = structlog.get_logger(__name__)

INTERACTIVE_FETCH_SECONDS = 15.0
"""How long a fetch that somebody waits for may take, retries included."""
NIGHTLY_FETCH_SECONDS = 60.0
UNATTENDED = ("schedule", "catch-up", "refusal")
"""Triggers of runs that nobody waits for."""
TASK_SECONDS = 36.0
"""How long a refresh may take that a service asked for by a task: waiting for another one, fetch and apply together."""
APPLY_SECONDS = 60.0
"""Bounds each statement of the transaction that plans and applies."""
LEAST_APPLY_SECONDS = 5.0
COUNT_USE_SECONDS = 20.0
"""For counting who would miss the models of a held list."""
CLAIM_PAUSE_SECONDS = 0.2
CLAIM_PATIENCE_SECONDS = 200.0
"""How long a run waits for the running one: longer than its lease."""


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
        record: RecordNotices = record_nothing,
        used: UsageLookup = nothing_used,
        callers: UsageLookup = nothing_used,
    ) -> None:
        """`describe` loads what capabilities are known from, once and late; `rules` digests all that a plan depends on
        beside the list and the table; `record` keeps what has to be told of an ending; `used` and `callers`
        count the recent requests and callers of models that go."""
        self._database = database
        self._sources = sources
        self._describe = describe
        self._rules = rules
        self._record = record
        self._planner = Planner(database, sources, policy, used=used, callers=callers)
        self.queue = RunQueue(database, configured_source=sources.configured, ids=ids)

    def now(self) -> datetime:
        """The database's time."""
        with self._database.transaction() as connection:
            return store.now(connection)

    def perform(self, run_id: uuid.UUID, *, task_id: str | None = None, within_seconds: float | None = None) -> Outcome:
        """Carry out a queued run; one that another carries out, or has carried out, only tells how it ended.

        `within_seconds`: it ends in this time, failed (`busy`) where another run is running for so long.
        Upstream's failures are recorded and told in the outcome. Raises DatabaseUnavailable, and whatever else is no
        failure of upstream, after recording it where that is possible.
        """
        started = time.monotonic()
        patience = CLAIM_PATIENCE_SECONDS
        if within_seconds is not None:
            patience = max(0.0, within_seconds - INTERACTIVE_FETCH_SECONDS - LEAST_APPLY_SECONDS)
        claim = self._claim(run_id, task_id, patience)
        if claim is None:
            return self.outcome(run_id) if within_seconds is None else self._not_started(run_id, patience)
        apply_seconds = APPLY_SECONDS
        if within_seconds is not None:
            seconds_left = within_seconds - INTERACTIVE_FETCH_SECONDS - (time.monotonic() - started)
            apply_seconds = max(LEAST_APPLY_SECONDS, seconds_left)
        request = {} if claim.request_id is None else {"request_id": claim.request_id}
        with structlog.contextvars.bound_contextvars(run_id=str(run_id), **request):
            try:
                return self._run_claim(claim, apply_seconds)
            except RunFailed as failure:
                return self._fail(claim, failure.code, failure.detail)
            except runs.FenceLost as lost:
                log.warning("llm_refresh.fenced", message="Run was taken away, nothing applied", detail=str(lost))
                return self.outcome(run_id)
            except Exception as error:
                self._fail(claim, "internal", f"{type(error).__name__}: see the worker's log")
                raise

    def _not_started(self, run_id: uuid.UUID, waited_seconds: float) -> Outcome:
        detail = f"another refresh was still running after {waited_seconds:.0f} s; nothing was fetched or changed"
        with self._database.transaction() as connection:
            if runs.close_queued(connection, run_id, code="busy", detail=detail):
                self._record(connection, RunEnded(run_id, "failed", code="busy", detail=detail))
                log.error(
                    "llm_refresh.failed",
                    message="Failed to sync models",
                    code="busy",
                    detail=detail,
                    run_id=str(run_id),
                )
        outcome = self.outcome(run_id)
        is_open = outcome.status in ("queued", "running")
        return replace(outcome, code=outcome.status, detail="another refresh is running") if is_open else outcome

    def outcome(self, run_id: uuid.UUID) -> Outcome:
        """How a run stands. Raises LookupError for a run that does not exist."""
        with self._database.transaction() as connection:
            run = runs.find(connection, run_id)
        if run is None:
            raise LookupError(f"there is no run {run_id}")
        return Outcome.of_run(run)

    def check_force(self, options: RefreshOptions, *, request_id: str | None = None) -> None:
        """See that `options.force` names a held list (`holds.require_held`). Writes nothing. Raises NotHeld."""
        if options.force is not None:
            preview = RefreshOptions(source=options.source)
            holds.require_held(self._database, options.force, lambda: self.preview(preview, request_id=request_id).held)

    def dismiss(self, run_id: uuid.UUID, *, actor: str) -> None:
        """End a hold without applying its list. Raises NotHeld."""
        with self._database.transaction() as connection:
            holds.dismiss(connection, run_id, actor=actor)
        log.info("llm_refresh.dismissed", message="Held list dismissed", run_id=str(run_id), actor=actor)

    def preview(self, options: RefreshOptions, *, request_id: str | None = None) -> Outcome:
        """What `perform` would do now: reads, and writes nothing. The status is the one that a run would end with.

        For a list that would be held, counts and plan are those of applying it by force.
        """
        try:
            fetched = self._planner.fetch(options.source, INTERACTIVE_FETCH_SECONDS, request_id)
            parsed, describe = parse_entries(fetched.entries), self._describe()
            with self._database.transaction() as connection:
                now, forced = store.now(connection), options.force == fetched.sha256
                rows, plan = self._planner.plan(connection, fetched, parsed, describe, now, forced=forced)
                held = None if forced else self._planner.held(rows, plan, fetched)
                if held is not None:
                    rows, plan = self._planner.plan(connection, fetched, parsed, describe, now, forced=True)
                elif options.force is not None:
                    self._planner.require_forced_list(connection, plan, fetched, options.force)
                plan = self._planner.with_use(connection, plan)
        except RunFailed as failure:
            return Outcome(None, "failed", code=failure.code, detail=failure.detail, plan=())
        if held is not None:
            held = self._planner.with_held_use(held, LEAST_APPLY_SECONDS)
        status = "held" if held is not None else plan.status
        return Outcome(None, status, plan.counts, errors_of(parsed), held, plan=tuple(as_json(plan)))

    def _claim(self, run_id: uuid.UUID, task_id: str | None, patience_seconds: float) -> RunClaim | None:
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                with self._database.transaction() as connection:
                    self.abandon_expired(connection)
                    claim = runs.claim(connection, run_id, task_id=task_id, configured_source=self._sources.configured)
                    status = None if claim is not None else runs.status_of(connection, run_id)
            except DatabaseError as error:
                if not runs.is_race(error):
                    raise
                status = "queued"
            else:
                if claim is not None or status not in ("queued", "running"):
                    return claim
            if time.monotonic() > deadline:
                return None
            time.sleep(CLAIM_PAUSE_SECONDS)  # another run is running and this one follows it, or another carries it out

    def abandon_expired(self, connection: Connection) -> Sequence[uuid.UUID]:
        """End the runs whose worker died; returns their ids."""
        dead = runs.abandon_expired(connection)
        for run_id in dead:
            self._record(connection, RunEnded(run_id, "abandoned"))
        return dead

    def _run_claim(self, claim: RunClaim, apply_seconds: float) -> Outcome:
        options = RefreshOptions.model_validate(claim.options)
        deadline = NIGHTLY_FETCH_SECONDS if claim.trigger in UNATTENDED else INTERACTIVE_FETCH_SECONDS
        fetched = self._planner.fetch(options.source, deadline, claim.request_id)
        inputs = hashlib.sha256(f"{fetched.source} {fetched.sha256} {self._rules()}".encode()).hexdigest()
        columns = {"source": fetched.source, "fetch_ms": fetched.milliseconds, "upstream_sha256": fetched.sha256}
        describe = self._describe()
        held: dict[str, Any] | None = None
        with self._database.transaction(timeout_seconds=apply_seconds) as connection:
            runs.hold_fence(connection, claim)
            version = store.lock(connection)
            settled = version.settled_inputs == inputs and version.settled_version == version.version
            if settled and options.force is None:
                started = time.monotonic()
                counts = dict.fromkeys(COUNTED, 0) | {"unchanged": store.touch_settled(connection)}
                store.mark_synced(connection, source=fetched.source, settled_inputs=inputs)
                durations = {"plan_ms": 0, "apply_ms": _since(started)}
                runs.close(connection, claim, "succeeded", counts=counts, **columns, **durations)
                self._record(connection, RunEnded(claim.run_id, "succeeded", claim.attempt))
                outcome, plan = Outcome(claim.run_id, "succeeded", counts), None
            else:
                started = time.monotonic()
                parsed = parse_entries(fetched.entries)
                forced = options.force == fetched.sha256
                rows, plan = self._planner.plan(connection, fetched, parsed, describe, version.now, forced=forced)
                columns["plan_ms"] = _since(started)
                held = None if forced else self._planner.held(rows, plan, fetched)
                if held is None:
                    if options.force is not None:
                        self._planner.require_forced_list(connection, plan, fetched, options.force)
                    outcome = self._apply(connection, claim, fetched, parsed, plan, inputs, columns)
        if held is not None and plan is not None:
            # Counting reads many chats: edits do not wait for it, and nothing but the figures fails with it.
            held = self._planner.with_held_use(held, min(apply_seconds, COUNT_USE_SECONDS))
            outcome = self._hold(claim, parsed, plan, held, columns)
        log_outcome(outcome, fetched.source, None if plan is None else plan.promoted)
        return outcome

    def _apply(
        self,
        connection: Connection,
        claim: RunClaim,
        fetched: FetchedList,
        parsed: ParsedList,
        plan: Plan,
        inputs: str,
        columns: Mapping[str, Any],
    ) -> Outcome:
        errors = errors_of(parsed)
        started = time.monotonic()
        plan = self._planner.with_use(connection, plan)
        store.write_rows(connection, plan.written, plan.listed, source=fetched.source)
        store.touch(connection, plan.touched, source=fetched.source)
        ledger.append_changes(connection, plan.changes, run_id=claim.run_id, actor=claim.actor)
        store.mark_synced(connection, source=fetched.source, settled_inputs=None if plan.pending else inputs)
        status, apply_ms = plan.status, _since(started)
        runs.close(connection, claim, status, counts=plan.counts, errors=list(errors), apply_ms=apply_ms, **columns)
        ending = RunEnded(claim.run_id, status, claim.attempt, changes=plan.changes, promoted=plan.promoted)
        self._record(connection, ending)
        return Outcome(claim.run_id, status, plan.counts, errors)

    def _hold(
        self, claim: RunClaim, parsed: ParsedList, plan: Plan, held: Mapping[str, Any], columns: Mapping[str, Any]
    ) -> Outcome:
        """End a run as held, with what its list would take away."""
        errors, counts = errors_of(parsed), dict.fromkeys(COUNTED, 0) | {"failed": plan.counts["failed"]}
        with self._database.transaction() as connection:
            runs.close(connection, claim, "held", counts=counts, errors=list(errors), held=held, **columns)
            self._record(connection, RunEnded(claim.run_id, "held", claim.attempt, held))
        return Outcome(claim.run_id, "held", counts, errors, held)

    def _fail(self, claim: RunClaim, code: str, detail: str) -> Outcome:
        """Record a failure in a transaction of its own."""
        log.error("llm_refresh.failed", message="Failed to sync models", code=code, detail=detail)
        try:
            with self._database.transaction() as connection:
                runs.close(connection, claim, "failed", error_code=code, error_detail=detail)
                self._record(connection, RunEnded(claim.run_id, "failed", claim.attempt, code=code, detail=detail))
        except runs.FenceLost:
            return self.outcome(claim.run_id)
        return Outcome(claim.run_id, "failed", code=code, detail=detail)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
