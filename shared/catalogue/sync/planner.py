"""What a run would write, and what speaks against it: fetch a list, plan, ask the guard, count who is concerned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from shared.catalogue import fallback
from shared.catalogue.sync import holds, store
from shared.catalogue.sync.draft import Describe
from shared.catalogue.sync.endings import UsageLookup
from shared.catalogue.sync.held import hold_report, with_use
from shared.catalogue.sync.outcomes import FORCE_REFUSED
from shared.catalogue.sync.parse import ParsedList, RejectedEntry
from shared.catalogue.sync.plan import Plan, Policy, plan_sync
from shared.catalogue.sync.rows import USE, ModelRow
from shared.catalogue.sync.runs import MAX_ERRORS_KEPT
from shared.catalogue.sync.sources import FetchedList, Sources
from shared.db import Connection, Database, DatabaseUnavailable
from shared.gateway.errors import GatewayError
from shared.vocabulary import SOURCE_NOT_SET_UP

log = structlog.get_logger(__name__)


class RunFailed(Exception):
    """A run that ends as failed: its code and, in words, why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Planner:
    """Plans with the parts it is given; writes nothing. One may serve many threads."""

    def __init__(
        self, database: Database, sources: Sources, policy: Policy, *, used: UsageLookup, callers: UsageLookup
    ) -> None:
        """`used` and `callers` count the recent requests and callers of models that go."""
        self._database = database
        self._sources = sources
        self._policy = policy
        self._used = used
        self._callers = callers

    def fetch(self, source: str | None, deadline_seconds: float, request_id: str | None) -> FetchedList:
        """The list of this source, or of the one that is set up. Raises RunFailed."""
        try:
            return self._sources.fetch(source, deadline_seconds=deadline_seconds, request_id=request_id)
        except GatewayError as error:
            raise RunFailed(error.code, error.detail) from None
        except LookupError as error:
            raise RunFailed(SOURCE_NOT_SET_UP, str(error)) from None

    def plan(
        self,
        connection: Connection,
        fetched: FetchedList,
        parsed: ParsedList,
        describe: Describe,
        now: datetime,
        *,
        forced: bool,
    ) -> tuple[list[ModelRow], Plan]:
        """The rows, and what this list would make of them; `forced`: what is absent goes at once."""
        rows, retired = store.read_rows(connection), store.retired_keys(connection)
        unpromised = store.unpromised_ids(connection, fetched.source)
        plan = plan_sync(
            rows,
            parsed,
            describe,
            self._policy,
            now,
            retired,
            unpromised=unpromised,
            refused=fallback.refused_ids(connection),
            at_once=forced,
        )
        return rows, plan

    def held(self, rows: Sequence[ModelRow], plan: Plan, fetched: FetchedList) -> dict[str, Any] | None:
        """What the guard has against this list, and whom it would take away; None when it may be applied."""
        must_hold = plan.guard.holds(self._policy.max_shrink)
        return hold_report(rows, plan, fetched.sha256) if must_hold else None

    def require_forced_list(self, connection: Connection, plan: Plan, fetched: FetchedList, sha256: str) -> None:
        """Raises RunFailed unless this very list is the one to force, and a held one."""
        is_held = plan.guard.holds(self._policy.max_shrink) or holds.is_held(connection, sha256)
        if sha256 == fetched.sha256 and is_held:
            return
        other = "" if sha256 == fetched.sha256 else f"the list is another one now (sha256 {fetched.sha256}), and "
        raise RunFailed(FORCE_REFUSED, f"{other}nothing holds it: refresh without force; nothing was changed")

    def with_use(self, connection: Connection, plan: Plan) -> Plan:
        """The plan, with how much each model that goes was used of late: a removal nobody notices is none to fear."""
        removed = {change.model_key for change in plan.changes if change.kind == "deactivated"}
        if not removed:
            return plan
        used = self._used(connection, removed)
        changes = tuple(
            replace(change, after={**(change.after or {}), USE: used.get(change.model_key, 0)})
            if change.kind == "deactivated"
            else change
            for change in plan.changes
        )
        return replace(plan, changes=changes)

    def with_held_use(self, held: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What is held, its models with their use; a count that takes longer than `seconds` is None."""
        model_keys = {model["model_key"] for model in held["models"]}
        counts: list[Mapping[str, int] | None] = []
        for count in (self._used, self._callers):
            try:
                with self._database.transaction(timeout_seconds=seconds) as connection:
                    counts.append(count(connection, model_keys) if model_keys else {})
            except DatabaseUnavailable as error:
                message = "The use of models that would go was not counted"
                log.warning("llm_refresh.use_not_counted", message=message, error=str(error))
                counts.append(None)
        return {**held, "models": with_use(held["models"], *counts)}


def errors_of(parsed: ParsedList) -> tuple[dict[str, Any], ...]:
    """The entries that were refused, as a run keeps them: MAX_ERRORS_KEPT at most."""
    return tuple(_error(rejected) for rejected in parsed.rejected[:MAX_ERRORS_KEPT])


def _error(rejected: RejectedEntry) -> dict[str, Any]:
    return {"id": rejected.id, "name": rejected.name, "reason": rejected.reason}
