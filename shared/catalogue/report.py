"""The ledger and the provenance in words a person reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared.catalogue.sync.rows import USE, USE_DAYS

_FIELDS = ("model_name", "model_key", "provider", "is_active", "is_default", "display_order")


def sentence(change: Mapping[str, Any]) -> str:
    """One line of the ledger as a sentence."""
    kind, key, id_ = change["kind"], change["model_key"], change["matcha_llm_id"]
    before, after = change["before"] or {}, change["after"] or {}
    match kind:
        case "erased":
            number = after.get("chats")
            chats = "1 chat" if number == 1 else f"{number} chats"
            return f"the content of {chats} of {after.get('subject')} was erased"
        case "added":
            return f"{key} (ID {id_}) was added: {after.get('model_name')}"
        case "renamed":
            return f"{key} (ID {id_}) was renamed: {_changes(before, after)}"
        case "repointed":
            was = before.get("upstream_name", before.get("model_name"))
            return (
                f"ID {id_} means another model now: {was} became {after.get('model_name')}; {_changes(before, after)}"
            )
        case "moved" if "matcha_llm_id" in before:
            return f"{key} moved from ID {before['matcha_llm_id']} to ID {id_}"
        case "moved" if "provenance" not in after:
            return f"ID {id_} has the key of its model again: {_changes(before, after)}"
        case "moved":
            return f"ID {id_} was left by its model and keeps the key {key}"
        case "deactivated":
            used = after.get(USE)
            return f"{key} (ID {id_}) is gone" + (
                f"; {used} requests in its last {USE_DAYS} days" if used is not None else ""
            )
        case "reactivated":
            return f"{key} (ID {id_}) is back"
        case "default":
            return f"{key} (ID {id_}) {'is the default now' if after.get('is_default') else 'is no longer the default'}"
        case _:
            return f"{key} (ID {id_}), {kind}: {_changes(before, after)}"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    texts = [
        f"{name} {_value_text(before.get(name))} -> {_value_text(after[name])}" for name in _FIELDS if name in after
    ]
    old, new = before.get("capabilities", {}), after.get("capabilities", {})
    texts += [
        f"{name} {_value_text(old.get(name))} -> {_value_text(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if not texts:
        texts = [f"{name} changed" for name in ("overrides", "provenance") if name in after]
    return ", ".join(texts)


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def coverage(models: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Source -> keys of the models of which it states a capability; `unknown` -> those of which nothing is known."""
    keys_by_source: dict[str, list[str]] = {}
    for model in models:
        notes = {name: note for name, note in model["provenance"].items() if name in model["capabilities"]}
        for source in sorted({note["source"] for note in notes.values()}) or ["unknown"]:
            keys_by_source.setdefault(source, []).append(model["model_key"])
    return dict(sorted(keys_by_source.items()))
