"""What becomes of the rows of the hand-made tables that this system replaces. Pure.

Whoever made those tables edited them by hand, so anything may stand in a row. What a row says is kept: where this
system would say otherwise, it becomes an override, which no sync undoes. Only an upstream id that cannot be one
refuses the whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from shared.catalogue.facts.spelling import MAX_KEY
from shared.catalogue.old_rows import OldRow, moment, place_of, quoted, tidy, whole
from shared.catalogue.sync.draft import Describe
from shared.catalogue.sync.parse import MAX_ID, Entry, ParsedList
from shared.catalogue.sync.plan import Policy, plan_sync
from shared.catalogue.sync.rows import Json, ModelChange, ModelRow, addition, choose_default

MODEL_COLUMNS: Final = (
    *("id", "matcha_llm_id", "model_name", "model_key", "provider", "capabilities", "is_active", "is_default"),
    *("display_order", "created_at", "last_synced_at"),
)
MODEL_MARKS: Final = ("matcha_llm_id", "model_name", "model_key")
"""Without these a table is not a list of models. The other columns may be missing."""
USAGE_COLUMNS: Final = ("model_key", "request_count", "last_used")
USAGE_MARKS: Final = ("model_key", "request_count")

_LARGEST_ID: Final = MAX_ID - 1_000_000  # of `id`: the sequence goes on after it
_LARGEST_COUNT: Final = 2**53
_MAX_FAULTS: Final = 3


class CannotAdopt(Exception):
    """The old tables cannot be taken over as they are; the text says which row and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class AdoptedModel:
    """A row as it will stand. `old_key`: what the old row had; None where it had none. `notes`: for the operator."""

    id: int
    row: ModelRow
    created_at: datetime | None
    last_synced_at: datetime | None
    old_key: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdoptedUsage:
    """How often a model was asked, as of the day when it was asked last (UTC). What came of it is not known."""

    model_key: str
    day: date
    requests: int
    last_used: datetime


@dataclass(frozen=True)
class Adoption:
    """Everything that is taken over, in the listing's order. `notes`: about the tables, or rows of usage."""

    models: tuple[AdoptedModel, ...]
    usage: tuple[AdoptedUsage, ...]
    notes: tuple[str, ...] = ()

    def changes(self) -> list[ModelChange]:
        """The lines of the ledger: a replay gives the table."""
        return [addition(model.row) for model in self.models]


def adopt(
    models: Sequence[Json], usage: Sequence[Json], *, describe: Describe, policy: Policy, now: datetime
) -> Adoption:
    """Take over rows of the old tables; what is missing in a row counts as NULL.

    Values are as `to_jsonb` has them. Raises CannotAdopt.
    """
    ids = _upstream_ids(models)
    drafts = [OldRow(id_, raw) for id_, raw in sorted(zip(ids, models, strict=True), key=lambda pair: pair[0])]
    _assign_ids(drafts)
    entries = tuple(Entry(draft.upstream_id, draft.name, None) for draft in drafts)
    ours = plan_sync([], ParsedList(entries, (), frozenset(ids)), describe, policy, now).written
    _assign_keys(drafts, ours)
    rows = {
        entry.matcha_llm_id: draft.row(ours[entry.matcha_llm_id], entry, describe, policy)
        for draft, entry in zip(drafts, entries, strict=True)
    }
    _assign_default(drafts, rows, policy)
    adopted = [
        AdoptedModel(
            draft.id,
            rows[draft.upstream_id],
            moment(draft.raw.get("created_at")),
            moment(draft.raw.get("last_synced_at")),
            draft.old_key,
            tuple(draft.notes),
        )
        for draft in drafts
    ]
    adopted.sort(key=lambda model: (model.row.display_order, model.row.model_name, model.row.matcha_llm_id))
    counted, notes = _adopt_usage(usage, adopted, now)
    if adopted and not any(model.row.is_active for model in adopted):
        notes.append("no model is active, so there is no default: `llm-refresh set KEY is_active=true`")
    return Adoption(tuple(adopted), counted, tuple(notes))


def describe_model(model: AdoptedModel) -> str:
    """What becomes of a row, in a line."""
    row = model.row
    mark, default = "✓" if row.is_active else "✗", " [DEFAULT]" if row.is_default else ""
    overrides = []
    for name, value in row.overrides.items():
        if name == "capabilities":
            overrides += [f"{capability}={json.dumps(number)}" for capability, number in value.items()]
        else:
            overrides.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
    clauses = [f"keeps as overrides {', '.join(overrides)}" if overrides else "is kept", *model.notes]
    return f"{mark} {row.model_name} (ID: {row.matcha_llm_id}, Key: {row.model_key}){default}: {'; '.join(clauses)}"


def _upstream_ids(models: Sequence[Json]) -> list[int]:
    """The upstream id of each row. Raises CannotAdopt: a row without one can be no model."""
    ids: list[int] = []
    faults: list[str] = []
    for raw in models:
        raw_id = raw.get("matcha_llm_id")
        id_ = whole(raw_id)
        if id_ is None or not 1 <= id_ <= MAX_ID:
            faults.append(f"{place_of(raw)}: matcha_llm_id is {quoted(raw_id)}, not between 1 and {MAX_ID}")
            id_ = 0
        elif id_ in ids:
            faults.append(f"{place_of(raw)}: matcha_llm_id {id_} stands in another row too")
        ids.append(id_)
    if faults:
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise CannotAdopt(f"llm_models: {'; '.join(faults[:_MAX_FAULTS])}{more}: change or delete these rows first")
    return ids


def _assign_keys(drafts: Iterable[OldRow], ours: Mapping[int, ModelRow]) -> None:
    """Each key to one row: of several the active, default, first one keeps it; others get their id as a suffix."""
    first = sorted(
        drafts,
        key=lambda draft: (
            not draft.key,
            draft.is_active is not True,
            not draft.was_default,
            math.inf if draft.order is None else draft.order,
            draft.upstream_id,
        ),
    )
    for draft in first:
        if not draft.key:
            draft.key = ours[draft.upstream_id].model_key
            draft.notes.append(f"it had no key and gets {draft.key}")
    keys = {draft.key for draft in first}
    holders: dict[str, OldRow] = {}
    for draft in first:
        if (holder := holders.setdefault(draft.key, draft)) is not draft:
            suffix, number = f"-{draft.upstream_id}", 1
            while (key := draft.key[: MAX_KEY - len(suffix)] + suffix) in keys:
                number += 1
                suffix = f"-{draft.upstream_id}-{number}"
            draft.notes.append(f"ID {holder.upstream_id} has the key {quoted(draft.key)} too: this one becomes {key}")
            draft.key = key
            keys.add(key)
            holders[key] = draft
        if draft.old_key and tidy(draft.old_key, MAX_KEY) != draft.old_key:
            draft.notes.append(f"the key {quoted(draft.old_key)} becomes {quoted(draft.key)}")


def _assign_ids(drafts: Sequence[OldRow]) -> None:
    """Each row its own `id`, where it has one that can stay."""
    used_ids: set[int] = set()
    without: list[OldRow] = []
    for draft in drafts:
        id_ = whole(draft.raw.get("id"))
        if id_ is None or not 1 <= id_ <= _LARGEST_ID or id_ in used_ids:
            without.append(draft)
        else:
            draft.id = id_
            used_ids.add(id_)
    for number, draft in enumerate(without, max(used_ids, default=0) + 1):
        draft.id = number
        draft.notes.append(f"its id {quoted(draft.raw.get('id'))} becomes {number}")


def _assign_default(drafts: Sequence[OldRow], rows: dict[int, ModelRow], policy: Policy) -> None:
    """Exactly one active default; the old one as an override where the rules would choose another."""
    by_id = {draft.upstream_id: draft for draft in drafts}
    ours = choose_default(rows, preferred_key=policy.default_key, lost=None)
    marked = [rows[draft.upstream_id] for draft in drafts if draft.was_default]
    active = sorted(
        (row for row in marked if row.is_active), key=lambda row: (row.display_order, row.model_name, row.matcha_llm_id)
    )
    chosen = active[0].matcha_llm_id if active else ours
    if chosen is None:
        return
    row = rows[chosen]
    if chosen != ours:
        row = replace(row, overrides=dict(row.overrides) | {"is_default": True})
    rows[chosen] = replace(row, is_default=True)
    for other in marked:
        if other.matcha_llm_id != chosen:
            why = "was a default too" if other.is_active else "was the default, but is inactive"
            by_id[other.matcha_llm_id].notes.append(f"it {why}: the default is {row.model_key}")
    if not marked:
        by_id[chosen].notes.append("no row was the default: this one is by the rules")


def _adopt_usage(
    usage: Sequence[Json], models: Sequence[AdoptedModel], now: datetime
) -> tuple[tuple[AdoptedUsage, ...], list[str]]:
    """The counts under the keys of today, a line a model and day."""
    by_old_key: dict[str, AdoptedModel] = {}
    for model in models:
        if model.old_key is not None and (model.old_key not in by_old_key or model.row.model_key == model.old_key):
            by_old_key[model.old_key] = model
    counted: dict[tuple[str, date], AdoptedUsage] = {}
    notes: list[str] = []
    for raw in usage:
        key, requests = raw.get("model_key"), whole(raw.get("request_count"))
        if raw.get("request_count") in (None, 0):
            continue
        if not isinstance(key, str) or not key or requests is None or not 0 < requests <= _LARGEST_COUNT:
            notes.append(f"usage of {quoted(key)}: {quoted(raw.get('request_count'))} requests are left out")
            continue
        owner = by_old_key.get(key)
        last_used = moment(raw.get("last_used"))
        if last_used is None or last_used > now:
            last_used = min(now, (owner.created_at if owner is not None else None) or now)
            text = quoted(raw.get("last_used"))
            notes.append(f"usage of {quoted(key)}: last_used {text} becomes {last_used:%Y-%m-%d}")
        place = (owner.row.model_key if owner is not None else key, last_used.date())
        before = counted.get(place)
        counted[place] = AdoptedUsage(
            *place,
            requests + (before.requests if before is not None else 0),
            max(last_used, before.last_used) if before is not None else last_used,
        )
    return tuple(counted[place] for place in sorted(counted)), notes
