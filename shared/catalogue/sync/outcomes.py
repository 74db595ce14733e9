"""How a refresh ends, and what its end tells others. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.catalogue.sync.plan import COUNTED
from shared.catalogue.sync.rows import ModelChange

FORCE_REFUSED: Final = "force_refused"
"""The code of a run whose list is neither the one that was to be forced nor held."""


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
