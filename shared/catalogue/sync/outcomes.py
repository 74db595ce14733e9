"""How a refresh ends, and what its end tells others."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from shared.catalogue.sync.plan import COUNTED
from shared.catalogue.sync.rows import ModelChange
from shared.db import Connection

log = structlog.get_logger(__name__)

USE_DAYS: Final = 30
"""How far back it is counted how often the models were used that a refresh takes away, and by how many callers."""
USE: Final = f"used_{USE_DAYS}_days"
"""In the ledger's line of a removal: how often the model was asked in the days before it."""


@dataclass(frozen=True)
class Outcome:
    """How a refresh ended, or that it has not ended yet (`queued`, `running`). `run_id` is None for a dry run."""

    run_id: uuid.UUID | None
    status: str
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    errors: tuple[Mapping[str, Any], ...] = ()
    held: Mapping[str, Any] | None = None
    code: str | None = None
    detail: str | None = None
    plan: tuple[Mapping[str, Any], ...] | None = None

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> Outcome:
        """How this run of the API stands."""
        error = run["error"] or {}
        return cls(
            uuid.UUID(run["id"]),
            run["status"],
            dict.fromkeys(COUNTED, 0) | run["counts"],
            tuple(run["errors"]),
            run["held"],
            error.get("code"),
            error.get("detail"),
        )

    def as_result(self) -> dict[str, Any]:
        """What the task `llm.refresh` returns; of a dry run or a failure, what belongs to it as well."""
        result: dict[str, Any] = {
            "run_id": None if self.run_id is None else str(self.run_id),
            "status": self.status,
            "counts": dict(self.counts),
        }
        if self.plan is not None:
            result |= {"dry_run": True, "plan": list(self.plan), "errors": list(self.errors), "held": self.held}
        if self.code is not None:
            result["error"] = {"code": self.code, "detail": self.detail}
        return result


@dataclass(frozen=True, slots=True)
class RunEnded:
    """What the transaction that ends a run knows of it: for those who have to be told, whether they watch or not."""

    run_id: uuid.UUID
    status: str
    attempt: int = 1
    held: Mapping[str, Any] | None = None
    code: str | None = None
    detail: str | None = None
    changes: Sequence[ModelChange] = ()
    promoted: tuple[str, str] | None = None


RecordNotices = Callable[[Any, RunEnded], None]
"""Takes note of an ending in the transaction (a connection) that makes it true; it writes there, or not at all."""


def record_nothing(connection: Connection, ending: RunEnded) -> None:
    """For those who tell nobody."""


UsageLookup = Callable[[Any, Collection[str]], Mapping[str, int]]
"""(connection, model keys) -> requests, or callers, of each in the last USE_DAYS days; unused keys may be absent."""


FORCE_REFUSED: Final = "force_refused"
"""The code of a run whose list is neither the one that was to be forced nor held."""


def nothing_used(connection: Connection, keys: Collection[str]) -> Mapping[str, int]:
    """Of no model is it known that it was used."""
    return {}


def log_outcome(outcome: Outcome, source: str, promoted: tuple[str, str] | None) -> None:
    """Log how a run ended that asked this source; `promoted`: the default that is gone, and its successor."""
    counts = dict(outcome.counts)
    if outcome.status == "held":
        log.error(
            "llm_refresh.held",
            message="Held: the list would take away too much, nothing changed",
            **{name: value for name, value in (outcome.held or {}).items() if name != "models"},
        )
        return
    synced = sum(counts[name] for name in ("added", "updated", "unchanged", "reactivated"))
    log.info(
        "llm_refresh.synced",
        message=f"Synced {synced} models",
        status=outcome.status,
        source=source,
        **counts,
    )
    if promoted is not None:
        old, new = promoted
        log.warning(
            "llm_refresh.default_promoted",
            message="The default model is gone, another was promoted",
            lost=old,
            promoted=new,
        )
