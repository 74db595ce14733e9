"""One row of the hand-made tables that this system replaces: anything may stand in its columns. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from shared.catalogue.facts.capabilities import CAPABILITIES, CapabilityValues
from shared.catalogue.facts.names import clean
from shared.catalogue.facts.spelling import MAX_KEY
from shared.catalogue.sync.draft import Describe
from shared.catalogue.sync.parse import MAX_ID, MAX_NAME, Entry
from shared.catalogue.sync.plan import Policy
from shared.catalogue.sync.rows import Json, ModelRow

_SHOWN: Final = 80
_NOT_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_WHOLE_NUMBER: Final = re.compile(r"[+-]?\d{1,19}")
_IN_A_PATH: Final = re.compile(r"[A-Za-z0-9._~:@+-]+")
_TRUTH: Final = {"t": True, "true": True, "yes": True, "1": True, "f": False, "false": False, "no": False, "0": False}


class OldRow:
    """One old row on its way: what could be read of it, and what is to be said about it (`notes`)."""

    def __init__(self, upstream_id: int, raw: Json) -> None:
        self.upstream_id = upstream_id
        self.raw = raw
        self.notes: list[str] = []
        self.id = 0
        self.old_key = raw["model_key"] if isinstance(raw.get("model_key"), str) else None
        self.key = tidy(self.old_key or "", MAX_KEY)
        self.name = self._name()
        self.is_active = _truth(raw.get("is_active"))
        self.was_default = _truth(raw.get("is_default")) is True
        self.order = self._order()

    def _name(self) -> str:
        raw = self.raw.get("model_name")
        name = tidy(raw if isinstance(raw, str) else "", MAX_NAME) or self.key or f"Model {self.upstream_id}"
        if name != raw:
            self.notes.append(f"the name {quoted(raw)} becomes {quoted(name)}")
        return name

    def _order(self) -> int | None:
        raw = self.raw.get("display_order")
        order = whole(raw)
        if order is None:
            if raw is not None:
                self.notes.append(f"display_order {quoted(raw)} is no number and is left out")
            return None
        clipped = max(-MAX_ID, min(MAX_ID, order))
        if clipped != order:
            self.notes.append(f"display_order {order} becomes {clipped}")
        return clipped

    def row(self, ours: ModelRow, entry: Entry, describe: Describe, policy: Policy) -> ModelRow:
        """The row under the overrides that keep what the old one says; not the default yet."""
        overrides: dict[str, Any] = {}
        capabilities = self._capabilities(ours)
        if capabilities:
            overrides["capabilities"] = capabilities
        facts = describe(entry, capabilities)
        provenance = dict(facts.provenance)
        if self.key != ours.model_key:
            overrides["model_key"] = self.key
            below = {"source": "upstream", "value": ours.model_key}
            provenance["model_key"] = {"source": "override", "below": below}
        if not _IN_A_PATH.fullmatch(self.key):
            self.notes.append(f"the key {quoted(self.key)} cannot stand in a path: `llm-refresh set` gives it another")
        order = ours.display_order if self.order is None else self.order
        if order != ours.display_order:
            overrides["display_order"] = order
        if self.is_active is False:
            overrides["is_active"] = False
            self.notes.append(f"it was inactive and stays hidden until `llm-refresh set {self.key} is_active=null`")
        if self.is_active is None:
            self.notes.append("it said neither active nor inactive, and is inactive until a list names it")
        if (provider := self.raw.get("provider")) is not None and provider != facts.provider:
            self.notes.append(f"the provider {quoted(provider)} becomes {facts.provider}")
        return replace(
            ours,
            model_key=self.key,
            provider=facts.provider,
            capabilities=facts.capabilities,
            provenance=provenance,
            overrides=overrides,
            is_active=self.is_active is True,
            is_default=False,
            display_order=order,
            missed_syncs=policy.grace_syncs if self.is_active is None else 0,
        )

    def _capabilities(self, ours: ModelRow) -> dict[str, int | bool]:
        """What the old row states and we would not."""
        raw = self.raw.get("capabilities")
        if isinstance(raw, str):  # an object that was written as text
            with suppress(ValueError, RecursionError):
                raw = json.loads(raw)
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            self.notes.append(f"its capabilities are no object ({quoted(raw)}) and are left out")
            return {}
        overrides: dict[str, int | bool] = {}
        for name, value in raw.items():
            if value is None:
                continue
            if name not in CAPABILITIES:
                self.notes.append(f"{quoted(name)} is no capability and is left out")
            elif (valid := _capability(name, value)) is None:
                self.notes.append(f"{name} cannot be {quoted(value)} and is left out")
            elif ours.capabilities.get(name) != valid:
                overrides[name] = valid
        return {name: overrides[name] for name in CAPABILITIES if name in overrides}


def tidy(text: str, longest: int) -> str:
    """The text in the form in which names are kept, what is no text left out, cut to `longest` characters."""
    return clean(clean(_NOT_TEXT.sub(" ", text))[:longest])


def whole(value: object) -> int | None:
    """A whole number in any of the types that a hand-made column may have."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    if isinstance(value, str):
        return int(value) if _WHOLE_NUMBER.fullmatch(value.strip()) else None
    return value if isinstance(value, int) else None


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return None if value is None else _TRUTH.get(str(value).strip().lower())


def _capability(name: str, value: object) -> int | bool | None:
    """The value where this capability can have it, else None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return CapabilityValues.model_validate({name: value}).stated().get(name)
    except ValidationError:
        return None


def moment(value: object) -> datetime | None:
    """A moment as `to_jsonb` writes it; one without a zone is UTC. None for what is none (`infinity`, years BC)."""
    try:
        parsed = datetime.fromisoformat(str(value))
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def place_of(raw: Json) -> str:
    """Which row it is, for whoever has to look for it."""
    return f"row {quoted(raw['id'])}" if raw.get("id") is not None else f"row of {quoted(raw.get('model_name'))}"


def quoted(value: object) -> str:
    """A value of a row in a line of a terminal: escaped, and not too much of it."""
    text = "NULL" if value is None else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
