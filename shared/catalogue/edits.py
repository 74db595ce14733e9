"""What operators change: overrides that no sync undoes, each a line of the ledger with its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from shared.catalogue import ledger
from shared.catalogue.facts.capabilities import CAPABILITIES, CapabilityValues
from shared.catalogue.facts.mapping import Mapping as ModelMapping
from shared.catalogue.facts.names import clean
from shared.catalogue.inactive import why_inactive
from shared.catalogue.sync import store
from shared.catalogue.sync.draft import MAX_KEY, is_listed
from shared.catalogue.sync.parse import MAX_NAME
from shared.catalogue.sync.plan import Policy
from shared.catalogue.sync.rows import UNORDERED, ModelChange, ModelRow, difference, with_one_default
from shared.db import Caller, Database

log = structlog.get_logger(__name__)

ModelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=MAX_KEY)]


class CapabilityEdits(CapabilityValues):
    """Capabilities to override; null drops an override."""


class ModelEdit(BaseModel):
    """The body of `PATCH /api/llms/{model_key}`: what is given is overridden, null drops an override."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model_name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)] | None = None
    model_key: ModelKey | None = None
    display_order: int | None = Field(default=None, ge=-1_000_000, le=1_000_000)
    is_default: bool | None = None
    is_active: bool | None = None
    capabilities: CapabilityEdits | None = None

    @field_validator("model_name")
    @classmethod
    def _as_kept(cls, name: str | None) -> str | None:
        cleaned = None if name is None else clean(name)
        if cleaned == "":
            raise ValueError("is empty")
        return cleaned


class EditRefused(Exception):
    """An edit that would break a promise; the text says which and what to do instead."""


@dataclass(frozen=True)
class EditResult:
    """The rows that an edit writes, and its lines of the ledger."""

    row: ModelRow
    written: Mapping[int, ModelRow] = field(default_factory=dict)
    changes: Sequence[ModelChange] = ()


def edit_model(
    rows: Sequence[ModelRow], id_: int, edit: ModelEdit, *, policy: Policy, order: int = UNORDERED
) -> EditResult:
    """Apply an operator's edit to the row with this upstream id.

    `order`: the display order that the mapping gives this model, for when an operator's is dropped. Raises
    EditRefused.
    """
    before = {row.matcha_llm_id: row for row in rows}
    fields = edit.model_fields_set
    row = before[id_]
    if "model_name" in fields:
        row = _with_name(row, edit.model_name)
    if "model_key" in fields:
        row = _with_key(row, edit.model_key, {other.model_key for other in rows if other.matcha_llm_id != id_})
    if "display_order" in fields:
        row = _with_override(row, "display_order", edit.display_order)
        row = replace(row, display_order=order if edit.display_order is None else edit.display_order)
    if "capabilities" in fields:
        row = _with_capabilities(row, edit.capabilities)
    if "is_active" in fields:
        row = _with_override(row, "is_active", edit.is_active)
        row = replace(row, is_active=_may_show(row, edit.is_active, policy))
    if "is_default" in fields:
        row = _as_default(row, edit.is_default)

    after = dict(before)
    changes: list[ModelChange] = []
    if row.overrides.get("is_default"):
        for other in rows:
            if other.matcha_llm_id != id_ and other.overrides.get("is_default"):
                after[other.matcha_llm_id] = freed = _with_override(other, "is_default", None)
                changes.extend(filter(None, [difference("operator", other, freed)]))
    if row.is_default and not row.is_active:
        row = replace(row, is_default=False)
    after[id_] = row
    changes.extend(filter(None, [difference("operator", before[id_], row)]))
    more, _ = with_one_default(before, after, preferred_key=policy.default_key)
    changes.extend(more)
    if before[id_].is_default and not any(other.is_default for other in after.values()):
        raise EditRefused("this is the last active model: without it there would be no default")
    written = {key: value for key, value in after.items() if before[key] != value}
    return EditResult(after[id_], written, tuple(changes))


def _may_show(row: ModelRow, wish: bool | None, policy: Policy) -> bool:
    """Whether a row is active after an operator's wish. To show a model means not to hide it: what upstream does not
    list stays inactive, or active for the rest of its grace.
    """
    return wish is not False and (is_listed(row) or (row.is_active and row.missed_syncs < policy.grace_syncs))


def _with_override(row: ModelRow, name: str, value: Any) -> ModelRow:
    overrides = {key: old for key, old in row.overrides.items() if key != name}
    return replace(row, overrides=overrides if value is None else overrides | {name: value})


def _with_note(row: ModelRow, name: str, below: Any) -> ModelRow:
    provenance = {key: note for key, note in row.provenance.items() if key != name}
    note = {name: {"source": "override", "below": {"source": "upstream", "value": below}}}
    return replace(row, provenance=provenance if below is None else provenance | note)


def _with_name(row: ModelRow, name: str | None) -> ModelRow:
    upstream = row.upstream_name
    if name is None:
        return replace(_with_note(_with_override(row, "model_name", None), "model_name", None), model_name=upstream)
    return replace(_with_note(_with_override(row, "model_name", name), "model_name", upstream), model_name=name)


def _with_key(row: ModelRow, key: str | None, others: set[str]) -> ModelRow:
    below = str(row.provenance.get("model_key", {}).get("below", {}).get("value", row.model_key))
    new_key = below if key is None else key
    if new_key in others:
        raise EditRefused(f"another model has the key {new_key!r}; give that one another key first")
    row = _with_note(_with_override(row, "model_key", key), "model_key", None if key is None else below)
    return replace(row, model_key=new_key)


def _as_default(row: ModelRow, wish: bool | None) -> ModelRow:
    if wish is False and row.is_default:
        raise EditRefused("there is always one default: make another model the default instead")
    if wish and not row.is_active:
        how = "make it active first" if is_listed(row) else "upstream does not list it"
        raise EditRefused(f"an inactive model cannot be the default: {how}")
    if wish:
        return _with_override(row, "is_default", True)
    # Dropped: the rule decides anew, and may well decide for the same model.
    return replace(_with_override(row, "is_default", None), is_default=False) if wish is None else row


def _with_capabilities(row: ModelRow, edit: CapabilityEdits | None) -> ModelRow:
    overrides = dict(row.overrides.get("capabilities", {}))
    values, provenance = dict(row.capabilities), dict(row.provenance)
    for name in CAPABILITIES if edit is None else edit.model_fields_set:
        value = None if edit is None else getattr(edit, name)
        note = provenance.pop(name, None)
        below = note.get("below") if note is not None and note["source"] == "override" else None
        if note is not None and note["source"] != "override":
            below = {"value": values[name], **note}
        values.pop(name, None)
        overrides.pop(name, None)
        if value is not None:
            values[name] = overrides[name] = value
            provenance[name] = {"source": "override"} | ({"below": below} if below else {})
        elif below is not None:
            values[name] = below["value"]
            provenance[name] = {key: part for key, part in below.items() if key != "value"}
    return replace(_with_override(row, "capabilities", overrides or None), capabilities=values, provenance=provenance)


class UnknownModel(LookupError):
    """No row has this key."""


class Editor:
    """Edits model rows. A sync and an edit wait for each other, so that neither loses what the other wrote."""

    def __init__(self, *, database: Database, mapping: ModelMapping, policy: Policy) -> None:
        self._database = database
        self._mapping = mapping
        self._policy = policy

    def edit(self, key: str, edit: ModelEdit, *, caller: Caller) -> dict[str, Any]:
        """Apply an edit to the model with this key; returns the row as the API shows it, with why it is inactive.

        Raises UnknownModel and EditRefused; then nothing was written.
        """
        with self._database.transaction(caller) as connection:
            store.lock(connection)
            rows = store.read_rows(connection)
            row = next((row for row in rows if row.model_key == key), None)
            if row is None:
                raise UnknownModel(key)
            mapped = self._mapping.model(row.upstream_name)
            order = mapped.order if mapped is not None else UNORDERED
            edited = edit_model(rows, row.matcha_llm_id, edit, policy=self._policy, order=order)
            store.write_rows(connection, edited.written, ())
            ledger.append_changes(connection, edited.changes, run_id=None, actor=caller.subject)
            body = store.shown_row(connection, row.matcha_llm_id)
            body["why"] = why_inactive(connection, row.matcha_llm_id)
        log.info(
            "llm_refresh.edited",
            message=f"{caller.subject} edited {key}",
            model_key=body["model_key"],
            fields=sorted(edit.model_fields_set),
        )
        return body
