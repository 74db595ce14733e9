"""What a sync would do: a pure function of the rows, the entries, the policy and the time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from shared.catalogue.sync.draft import (
    HIDDEN,
    Describe,
    Draft,
    ModelDescription,
    hidden_names,
    is_hidden,
    is_left_behind,
)
from shared.catalogue.sync.guard import Guard
from shared.catalogue.sync.identities import place, with_name
from shared.catalogue.sync.parse import Entry, ParsedList
from shared.catalogue.sync.rows import ModelChange, ModelRow, with_one_default

COUNTED: Final = ("added", "updated", "unchanged", "deactivated", "reactivated", "failed")
NOTED: Final = ("model_name", "model_key")
"""Columns of which provenance keeps, under an override, what lies below it."""


Loss = Literal["absent", "repointed"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that a plan depends on."""

    default_key: str
    max_shrink: float = 0.5
    grace_syncs: int = 2
    grace_min_hours: float = 12


@dataclass(frozen=True)
class Plan:
    """Everything a sync would write.

    `written`: rows that become other than they are. `touched`: listed ids whose rows stay. `promoted`: (old key, new
    key) where a default was lost. `pending`: whether the same list may bring more with time (a missing model under
    grace) or was refused in part.
    """

    written: Mapping[int, ModelRow]
    touched: frozenset[int]
    changes: tuple[ModelChange, ...]
    guard: Guard
    counts: Mapping[str, int]
    promoted: tuple[str, str] | None
    pending: bool
    listed: frozenset[int]
    lost: Mapping[int, Loss]
    """Ids of all active rows that go, at once or after their grace: those that are absent, or mean another model now.
    Beside those that the guard counts, the ones that upstream never promised."""
    active: int
    """How many rows were active before."""

    @property
    def status(self) -> str:
        """The status of a run that applied it."""
        return "partial" if self.counts["failed"] else "succeeded"


def plan_sync(
    rows: Sequence[ModelRow],
    parsed: ParsedList,
    describe: Describe,
    policy: Policy,
    now: datetime,
    retired: Mapping[str, str] = MappingProxyType({}),
    *,
    unpromised: Collection[int] = (),
    refused: Collection[int] = (),
    at_once: bool = False,
) -> Plan:
    """Reconcile the rows with what upstream lists at `now` (aware).

    `retired`: keys that no row holds any more -> the name of the model that each meant; none of them is given to a
    model of another name. `unpromised`: ids of rows that upstream itself never listed; where they are absent they go
    without grace, and the guard does not count them. `refused`: ids that upstream has refused to answer for since it
    last listed them; where they are absent they go without grace. `at_once`: whatever is absent goes without grace.

    Any list leaves unique keys and, while a model is active, exactly one active default; planning the same list over
    the outcome changes nothing.
    """
    before = {row.matcha_llm_id: row for row in rows}
    absent = [row for row in rows if row.matcha_llm_id not in parsed.ids_seen]
    draft = Draft(dict(before), dict(retired), hidden=hidden_names(rows))

    placed = place(draft, before, parsed.entries, absent, describe)
    for entry in parsed.entries:
        if entry.matcha_llm_id not in placed.ids:
            _refresh(draft, draft.after[entry.matcha_llm_id], entry, describe)
    for row in absent:
        id_ = row.matcha_llm_id
        if is_left_behind(row):
            _settle_left_behind(draft, draft.after[id_])
            continue
        no_grace = at_once or id_ in unpromised or id_ in refused or is_left_behind(draft.after[id_])
        _count_miss(draft, draft.after[id_], policy, now, no_grace=no_grace)
    more, promoted = with_one_default(before, draft.after, preferred_key=policy.default_key)
    draft.changes.extend(more)

    written = {id_: row for id_, row in draft.after.items() if (old := before.get(id_)) is not row and old != row}
    entry_ids = {entry.matcha_llm_id for entry in parsed.entries}
    absent_ids = {row.matcha_llm_id for row in absent}
    active = [row for row in rows if row.is_active and not is_left_behind(row)]
    lost: dict[int, Loss] = {
        row.matcha_llm_id: "absent" if row.matcha_llm_id in absent_ids else "repointed"
        for row in active
        if row.matcha_llm_id in placed.repointed
        or (row.matcha_llm_id in absent_ids and row.matcha_llm_id not in placed.moved_away)
    }
    promised = [row.matcha_llm_id for row in active if row.matcha_llm_id not in unpromised]
    guard = Guard(
        absent=sum(lost.get(id_) == "absent" for id_ in promised),
        repointed=sum(lost.get(id_) == "repointed" for id_ in promised),
        active=len(promised),
        listed=len(entry_ids),
    )
    return Plan(
        written=written,
        touched=frozenset(entry_ids - written.keys()),
        changes=tuple(draft.changes),
        guard=guard,
        counts=_counts(before, draft, entry_ids, failed=len(parsed.rejected)),
        promoted=promoted,
        listed=frozenset(entry_ids),
        lost=lost,
        active=len(active),
        pending=bool(parsed.rejected) or any(draft.after[row.matcha_llm_id].is_active for row in absent),
    )


def _refresh(draft: Draft, row: ModelRow, entry: Entry, describe: Describe) -> None:
    """Take over what upstream owns, of an entry that is still the same model."""
    facts = describe(entry, row.overrides.get("capabilities", {}))
    if _is_as_listed(row, entry, facts):
        return  # as nearly all are on nearly all nights
    renamed = with_name(replace(row, missed_syncs=0, last_missed_at=None), entry)
    if row.upstream_name != entry.name:
        draft.put("renamed", renamed)
    notes = {name: note for name, note in renamed.provenance.items() if name in NOTED and name in row.overrides}
    described = replace(
        renamed, provider=facts.provider, capabilities=facts.capabilities, provenance=dict(facts.provenance) | notes
    )
    if is_left_behind(row) and draft.is_hidden_name(entry.name):
        described = replace(described, is_active=False, overrides={**row.overrides, **HIDDEN})
    draft.put("capability", described)
    if not described.is_active and not is_hidden(described):
        draft.put("reactivated", replace(described, is_active=True))


def _is_as_listed(row: ModelRow, entry: Entry, facts: ModelDescription) -> bool:
    """Whether a row without overrides says already what would be taken over."""
    return (
        not row.overrides
        and row.is_active
        and row.last_missed_at is None
        and row.missed_syncs == 0
        and row.model_name == entry.name
        and row.provider == facts.provider
        and row.capabilities == facts.capabilities
        and row.provenance == facts.provenance
    )


def _count_miss(draft: Draft, row: ModelRow, policy: Policy, now: datetime, *, no_grace: bool) -> None:
    """Count a list without this model, and deactivate it when the grace is used up. No operator's wish is a reprieve:
    upstream answers for no model that it does not list.
    """
    grace_over = row.missed_syncs >= policy.grace_syncs
    if not row.is_active and (grace_over or not is_hidden(row)):
        return
    pause = timedelta(hours=policy.grace_min_hours)
    if not grace_over and not no_grace and row.last_missed_at is not None and now - row.last_missed_at < pause:
        return
    count = row.missed_syncs + 1
    missed = replace(row, missed_syncs=max(count, policy.grace_syncs) if no_grace else count, last_missed_at=now)
    draft.after[row.matcha_llm_id] = missed
    if missed.missed_syncs >= policy.grace_syncs and missed.is_active:
        draft.put("deactivated", replace(missed, is_active=False, is_default=False))


def _settle_left_behind(draft: Draft, row: ModelRow) -> None:
    """Its model is another row's: code of before kept such a row active for its grace."""
    if row.is_active:
        draft.put("moved", replace(row, is_active=False, is_default=False))


def _counts(before: Mapping[int, ModelRow], draft: Draft, entry_ids: set[int], *, failed: int) -> dict[str, int]:
    """Each listed entry counts once, a deactivated row and a refused entry beside them."""
    counts = dict.fromkeys(COUNTED, 0) | {"failed": failed}
    changed = {change.matcha_llm_id for change in draft.changes}
    for id_ in entry_ids:
        if id_ not in before:
            counts["added"] += 1
        elif not before[id_].is_active and draft.after[id_].is_active:
            counts["reactivated"] += 1
        else:
            counts["updated" if id_ in changed else "unchanged"] += 1
    counts["deactivated"] = sum(change.kind == "deactivated" for change in draft.changes)
    return counts


def as_json(plan: Plan) -> list[dict[str, Any]]:
    """The changes, as a preview shows them."""
    return [change.as_json() for change in plan.changes]
