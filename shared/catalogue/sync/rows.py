"""Model rows and changes as values: what plan and edits compute with, and store reads and writes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from shared.vocabulary import ChangeKind

Json = Mapping[str, Any]
MATCHAAI: Final = "matchaai"
MAPPING: Final = "mapping"
"""The sources of lists, as runs and rows name them."""

UNORDERED: Final = 1000
"""The display order of a model that nobody has given one: after those that have, then by name."""

USE_DAYS: Final = 30
"""How far back it is counted how often the models were used that a refresh takes away, and by how many callers."""
USE: Final = f"used_{USE_DAYS}_days"
"""In the ledger's line of a removal: how often the model was asked in the days before it."""

LEDGERED: Final = (
    "model_name",
    "model_key",
    "provider",
    "capabilities",
    "is_active",
    "is_default",
    "display_order",
    "overrides",
    "provenance",
)
"""Columns whose every change stands in the ledger, so that a replay of the ledger gives the table."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row of `llm_models`, without what the database counts and stamps itself."""

    matcha_llm_id: int
    model_name: str
    model_key: str
    provider: str
    capabilities: Json
    is_active: bool = True
    is_default: bool = False
    display_order: int = UNORDERED
    missed_syncs: int = 0
    last_missed_at: datetime | None = None
    overrides: Json = field(default_factory=dict)
    provenance: Json = field(default_factory=dict)

    @property
    def upstream_name(self) -> str:
        """The name that upstream gave, also while an operator's name is shown instead."""
        return upstream_name(self.model_name, self.overrides, self.provenance)

    def shown(self) -> dict[str, Any]:
        """The ledgered columns."""
        return {name: getattr(self, name) for name in LEDGERED}


def upstream_name(model_name: str, overrides: Json, provenance: Json) -> str:
    """The name that upstream gave to a row of these columns."""
    if "model_name" not in overrides:
        return model_name
    return str(provenance.get("model_name", {}).get("below", {}).get("value", model_name))


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A line of the ledger: `before` and `after` hold the columns that changed, and only those."""

    kind: ChangeKind
    matcha_llm_id: int
    model_key: str
    before: Json | None
    after: Json | None

    def as_json(self) -> dict[str, Any]:
        """What a preview shows; the ledger's own line has an id, a run, an actor and a time as well."""
        return {
            "kind": self.kind,
            "matcha_llm_id": self.matcha_llm_id,
            "model_key": self.model_key,
            "before": self.before,
            "after": self.after,
        }


def difference(kind: ChangeKind, before: ModelRow, after: ModelRow) -> ModelChange | None:
    """The change that makes `after` of `before`; None where no ledgered column differs.

    Where the key changes, upstream's name stands beside it: it tells whom the old key meant.
    """
    old, new = before.shown(), after.shown()
    names = [name for name in LEDGERED if old[name] != new[name]]
    if not names:
        return None
    changed_from, changed_to = {name: old[name] for name in names}, {name: new[name] for name in names}
    if "model_key" in names:
        changed_from["upstream_name"] = before.upstream_name
    return ModelChange(kind, after.matcha_llm_id, after.model_key, changed_from, changed_to)


def addition(row: ModelRow) -> ModelChange:
    """The change that makes a row of nothing."""
    return ModelChange("added", row.matcha_llm_id, row.model_key, None, row.shown())


def choose_default(rows: Mapping[int, ModelRow], *, preferred_key: str, lost: ModelRow | None) -> int | None:
    """The id of the model that becomes the default when there is none; None when no model is active.

    The preferred key, else the first by order and name of the provider that lost its default, else the first of all.
    """
    active = sorted(
        (row for row in rows.values() if row.is_active),
        key=lambda row: (row.display_order, row.model_name, row.matcha_llm_id),
    )
    for row in active:
        if row.model_key == preferred_key:
            return row.matcha_llm_id
    same_maker = [row for row in active if lost is not None and row.provider == lost.provider]
    for row in same_maker or active:
        return row.matcha_llm_id
    return None


def with_one_default(
    before: Mapping[int, ModelRow], after: dict[int, ModelRow], *, preferred_key: str
) -> tuple[list[ModelChange], tuple[str, str] | None]:
    """Give `after` exactly one active default while any row is active; returns the changes, and who was replaced.

    An operator's choice is the default whenever it is active, also when it comes back. The second value is (old key,
    new key) where a default was lost and another promoted.
    """
    current = next((row for row in after.values() if row.is_default), None)
    wished = next((row for row in after.values() if row.is_active and row.overrides.get("is_default")), None)
    if current is not None and (wished is None or current is wished):
        return [], None
    lost = next((row for row in before.values() if row.is_default), None)
    chosen = (
        wished.matcha_llm_id if wished is not None else choose_default(after, preferred_key=preferred_key, lost=lost)
    )
    if chosen is None:
        return [], None
    changes: list[ModelChange] = []
    for old, is_default in ((current, False), (after[chosen], True)):
        if old is not None:
            after[old.matcha_llm_id] = new = replace(old, is_default=is_default)
            changes.extend(filter(None, [difference("default", old, new)]))
    promoted = (lost.model_key, after[chosen].model_key) if lost is not None and current is None else None
    return changes, promoted
