"""What a sync would do: a pure function of the rows, the entries, the policy and the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from shared.catalogue.names import same_words, slug, words
from shared.catalogue.parse import Entry, Parsed
from shared.catalogue.rows import UNORDERED, Change, ChangeKind, Json, ModelRow, addition, difference, with_one_default

COUNTED: Final = ("added", "updated", "unchanged", "deactivated", "reactivated", "failed")
MAX_KEY: Final = 200  # characters, as of a name
NOTED: Final = ("model_name", "model_key")
"""Columns of which provenance keeps, under an override, what lies below it."""


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of an entry beside its id and name.

    `key`: the one that the mapping gives to this name; None where the name makes its own.
    """

    provider: str
    capabilities: Json
    provenance: Json
    key: str | None = None
    display_order: int = UNORDERED


Loss = Literal["absent", "repointed"]
Describe = Callable[[Entry, Json], Described]
"""Describes an entry under the capability overrides of its row."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that a plan depends on."""

    default_key: str
    max_shrink: float = 0.5
    grace_syncs: int = 2
    grace_min_hours: float = 12


@dataclass(frozen=True, slots=True)
class Guard:
    """How much of the catalogue a list would take away: active rows that are absent, or mean another model now.

    A row counts once: not while it is kept active by an operator although upstream dropped it long ago, and not when
    upstream never promised it.
    """

    absent: int
    repointed: int
    active: int
    listed: int

    def holds(self, max_shrink: float) -> bool:
        """Whether the list is too empty, or too different, to be believed."""
        return self.listed == 0 or self.absent + self.repointed > max_shrink * self.active


@dataclass(frozen=True)
class Plan:
    """Everything a sync would write.

    `written`: rows that become other than they are. `touched`: listed ids whose rows stay. `promoted`: (old key, new
    key) where a default was lost. `pending`: whether the same list may bring more with time (a missing model under
    grace) or was refused in part.
    """

    written: Mapping[int, ModelRow]
    touched: frozenset[int]
    changes: tuple[Change, ...]
    guard: Guard
    counts: Mapping[str, int]
    promoted: tuple[str, str] | None
    pending: bool
    listed: frozenset[int]
    lost: Mapping[int, Loss]
    """Ids of the active rows that the guard counts: those that are absent, or that mean another model now."""


@dataclass
class _Draft:
    """The table as it becomes, the changes that lead there, who holds which key, and whom a retired key meant."""

    after: dict[int, ModelRow]
    retired: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    holders: dict[str, int] = field(default_factory=dict)

    def put(self, kind: ChangeKind, row: ModelRow) -> None:
        old = self.after.get(row.matcha_llm_id)
        change = addition(row) if old is None else difference(kind, old, row)
        self.after[row.matcha_llm_id] = row
        if change is not None:
            self.changes.append(change)

    def claim(self, wanted: str, id_: int, name: str) -> str:
        """The key, or, where another row holds it or it meant another model, the key with the id as suffix."""
        key, tries = wanted[:MAX_KEY], 0
        while not self._may_have(key, name) or self.holders.setdefault(key, id_) != id_:
            tries += 1
            suffix = f"-{id_}" if tries == 1 else f"-{id_}-{tries}"
            key = wanted[: MAX_KEY - len(suffix)].rstrip("-") + suffix
        return key

    def _may_have(self, key: str, name: str) -> bool:
        return key not in self.retired or same_words(self.retired[key], name)


def plan_sync(
    rows: Sequence[ModelRow],
    parsed: Parsed,
    describe: Describe,
    policy: Policy,
    now: datetime,
    retired: Mapping[str, str] = MappingProxyType({}),
    *,
    unpromised: Collection[int] = (),
    at_once: bool = False,
) -> Plan:
    """Reconcile the rows with what upstream lists at `now` (aware).

    `retired`: keys that no row holds any more -> the name of the model that each meant; none of them is given to a
    model of another name. `unpromised`: ids of rows that upstream itself never listed; where they are absent they go
    without grace, and the guard does not count them. `at_once`: whatever is absent goes without grace.

    Any list leaves unique keys and, while a model is active, exactly one active default; planning the same list over
    the outcome changes nothing.
    """
    before = {row.matcha_llm_id: row for row in rows}
    absent = [row for row in rows if row.matcha_llm_id not in parsed.ids_seen]
    strange = [entry for entry in parsed.entries if _is_strange(before.get(entry.matcha_llm_id), entry)]
    draft = _Draft(dict(before), dict(retired))

    _place_strange(draft, before, strange, absent, describe)
    strange_ids = {entry.matcha_llm_id for entry in strange}
    for entry in parsed.entries:
        if entry.matcha_llm_id not in strange_ids:
            _refresh(draft, before[entry.matcha_llm_id], entry, describe)
    for row in absent:
        no_grace = at_once or row.matcha_llm_id in unpromised
        _miss(draft, draft.after[row.matcha_llm_id], policy, now, no_grace=no_grace)
    more, promoted = with_one_default(before, draft.after, preferred_key=policy.default_key)
    draft.changes.extend(more)

    written = {id_: row for id_, row in draft.after.items() if (old := before.get(id_)) is not row and old != row}
    listed = {entry.matcha_llm_id for entry in parsed.entries}
    absent_ids = {row.matcha_llm_id for row in absent}
    guarded = [row for row in rows if _is_guarded(row, row.matcha_llm_id in absent_ids, policy, unpromised)]
    lost: dict[int, Loss] = {
        row.matcha_llm_id: "absent" if row.matcha_llm_id in absent_ids else "repointed"
        for row in guarded
        if row.matcha_llm_id in absent_ids or row.matcha_llm_id in strange_ids
    }
    guard = Guard(
        absent=sum(loss == "absent" for loss in lost.values()),
        repointed=sum(loss == "repointed" for loss in lost.values()),
        active=len(guarded),
        listed=len(listed),
    )
    return Plan(
        written=written,
        touched=frozenset(listed - written.keys()),
        changes=tuple(draft.changes),
        guard=guard,
        counts=_counts(before, draft, listed, failed=len(parsed.rejected)),
        promoted=promoted,
        listed=frozenset(listed),
        lost=lost,
        pending=bool(parsed.rejected) or any(draft.after[row.matcha_llm_id].is_active for row in absent),
    )


def _is_guarded(row: ModelRow, absent: bool, policy: Policy, unpromised: Collection[int]) -> bool:
    """Whether the guard counts this row among those that a list may take away."""
    kept_although_gone = absent and row.missed_syncs >= policy.grace_syncs
    return row.is_active and not kept_although_gone and row.matcha_llm_id not in unpromised


def _is_strange(row: ModelRow | None, entry: Entry) -> bool:
    """Whether nothing under this id was ever this model."""
    return row is None or not same_words(row.upstream_name, entry.name)


def _place_strange(
    draft: _Draft,
    before: Mapping[int, ModelRow],
    strange: Sequence[Entry],
    absent: Sequence[ModelRow],
    describe: Describe,
) -> None:
    """Give the entries that are new under their id a row and a key.

    A key follows its model's name: to the new id of a model that moved, or between ids that changed places. What no
    name claims any more is a retired key.
    """
    moves = _moves(strange, absent)
    moved_away = {row.matcha_llm_id for row in moves.values()}
    leaving = [before[entry.matcha_llm_id] for entry in strange if entry.matcha_llm_id in before]
    left = _by_words(leaving)
    gone = moved_away | {row.matcha_llm_id for row in leaving}
    draft.holders.update((row.model_key, id_) for id_, row in before.items() if id_ not in gone)
    draft.retired.update((row.model_key, row.upstream_name) for row in leaving)

    keys: dict[int, str] = {}
    for entry in strange:
        id_ = entry.matcha_llm_id
        same_name = moves.get(id_) or next(iter(left.pop(words(entry.name), ())), None)
        if same_name is not None:
            keys[id_] = draft.claim(same_name.model_key, id_, entry.name)
    for id_, old in moves.items():
        suffixed = draft.claim(f"{old.model_key}-{old.matcha_llm_id}", old.matcha_llm_id, old.upstream_name)
        left_behind = {"moved_to": {"source": "upstream", "value": id_}}
        draft.put("moved", replace(old, model_key=suffixed, is_default=False, overrides={}, provenance=left_behind))
    for entry in strange:
        id_, from_row = entry.matcha_llm_id, moves.get(entry.matcha_llm_id)
        overrides: Json = from_row.overrides if from_row is not None else {}
        known = describe(entry, overrides.get("capabilities", {}))
        row = ModelRow(
            matcha_llm_id=id_,
            model_name=entry.name,
            model_key=keys.get(id_) or draft.claim(known.key or slug(entry.name) or f"model-{id_}", id_, entry.name),
            provider=known.provider,
            capabilities=known.capabilities,
            is_active=bool(overrides.get("is_active", True)),
            is_default=from_row is not None and from_row.is_default,
            display_order=from_row.display_order if from_row is not None else known.display_order,
            overrides=overrides,
            provenance=known.provenance,
        )
        row = _named(_with_key_note(row, from_row), entry)
        if id_ in before:
            draft.put("repointed", row)
        elif from_row is None:
            draft.put("added", row)
        else:
            draft.after[id_] = row
            origin = {"matcha_llm_id": from_row.matcha_llm_id}
            draft.changes.append(Change("moved", id_, row.model_key, origin, {"matcha_llm_id": id_} | row.shown()))


def _moves(strange: Sequence[Entry], absent: Sequence[ModelRow]) -> dict[int, ModelRow]:
    """The new id of a model -> the absent row of the same name that it left; a row is left once."""
    left = _by_words([row for row in absent if "moved_to" not in row.provenance])
    moves: dict[int, ModelRow] = {}
    for entry in strange:
        candidates = left.get(words(entry.name))
        if candidates:
            moves[entry.matcha_llm_id] = candidates.pop(0)
    return moves


def _by_words(rows: Sequence[ModelRow]) -> dict[tuple[str, ...], list[ModelRow]]:
    grouped: dict[tuple[str, ...], list[ModelRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (not row.is_active, row.matcha_llm_id)):
        grouped[words(row.upstream_name)].append(row)
    return dict(grouped)


def _named(row: ModelRow, entry: Entry) -> ModelRow:
    """The row with the name that is shown: an operator's, with upstream's noted below it, or upstream's."""
    if "model_name" not in row.overrides:
        return replace(row, model_name=entry.name)
    below = {"source": "upstream", "value": entry.name}
    provenance = dict(row.provenance) | {"model_name": {"source": "override", "below": below}}
    return replace(row, model_name=str(row.overrides["model_name"]), provenance=provenance)


def _with_key_note(row: ModelRow, from_row: ModelRow | None) -> ModelRow:
    """A pinned key goes along with its model, and with it the key that lies below."""
    if from_row is None or "model_key" not in from_row.provenance:
        return row
    return replace(row, provenance=dict(row.provenance) | {"model_key": from_row.provenance["model_key"]})


def _refresh(draft: _Draft, row: ModelRow, entry: Entry, describe: Describe) -> None:
    """Take over what upstream owns, of an entry that is still the same model."""
    known = describe(entry, row.overrides.get("capabilities", {}))
    if _is_as_listed(row, entry, known):
        return  # as nearly all are on nearly all nights
    named = _named(replace(row, missed_syncs=0, last_missed_at=None), entry)
    if row.upstream_name != entry.name:
        draft.put("renamed", named)
    notes = {name: note for name, note in named.provenance.items() if name in NOTED and name in row.overrides}
    described = replace(
        named, provider=known.provider, capabilities=known.capabilities, provenance=dict(known.provenance) | notes
    )
    draft.put("capability", described)
    if not row.is_active and row.overrides.get("is_active", True):
        draft.put("reactivated", replace(described, is_active=True))


def _is_as_listed(row: ModelRow, entry: Entry, known: Described) -> bool:
    """Whether a row without overrides says already what would be taken over."""
    return (
        not row.overrides
        and row.is_active
        and row.last_missed_at is None
        and row.missed_syncs == 0
        and row.model_name == entry.name
        and row.provider == known.provider
        and row.capabilities == known.capabilities
        and row.provenance == known.provenance
    )


def _miss(draft: _Draft, row: ModelRow, policy: Policy, now: datetime, *, no_grace: bool) -> None:
    """Count a list without this model, and deactivate it when the grace is used up."""
    hidden, held = row.overrides.get("is_active") is False, row.overrides.get("is_active") is True
    gone = row.missed_syncs >= policy.grace_syncs
    if (not row.is_active and not hidden) or (gone and (hidden or held)):
        return
    pause = timedelta(hours=policy.grace_min_hours)
    if not no_grace and row.last_missed_at is not None and now - row.last_missed_at < pause:
        return
    count = row.missed_syncs + 1
    missed = replace(row, missed_syncs=max(count, policy.grace_syncs) if no_grace else count, last_missed_at=now)
    draft.after[row.matcha_llm_id] = missed
    if missed.missed_syncs >= policy.grace_syncs and not held and not hidden:
        draft.put("deactivated", replace(missed, is_active=False, is_default=False))


def _counts(before: Mapping[int, ModelRow], draft: _Draft, listed: set[int], *, failed: int) -> dict[str, int]:
    """Each listed entry counts once, a deactivated row and a refused entry beside them."""
    counts = dict.fromkeys(COUNTED, 0) | {"failed": failed}
    changed = {change.matcha_llm_id for change in draft.changes}
    for id_ in listed:
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
