"""Which model answers for a key: its own, another that the caller named, or the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from shared.catalogue.fallback import Resolution, describe_missing, live, next_default, why_missing
from shared.vocabulary import FallbackReason


class NoModel(Exception):
    """There is no active default: no model can answer."""


class ModelNotFound(Exception):
    """None of the models that may answer is there. The text says why the first of them is not."""

    def __init__(self, key: str, reason: FallbackReason, story: Mapping[str, Any] | None) -> None:
        super().__init__(describe_missing(key, reason, story))
        self.key = key
        self.reason = reason
        self.story = story


def resolve(
    connection: sa.Connection,
    key: str | None,
    *,
    preferred_key: str = "",
    others: Sequence[str] = (),
    strict: bool = False,
) -> Resolution:
    """The model that answers for this key: its own, the first of the others that is there, or the default, with the
    reason. None means the default; `strict` excludes it for a key.

    A key that its model exchanged for another when it moved between ids still means this model. A default that
    upstream has refused since it was last listed gives way to the next by the rules: `preferred_key`
    (MATCHAAI_DEFAULT_MODEL), the same provider's first, the first. For service_role: others see neither inactive
    models nor the ledger. Raises NoModel, and ModelNotFound if `strict`.
    """
    model = _resolve(connection, key, preferred_key=preferred_key, others=others, strict=strict)
    return replace(model, others=tuple(others), strict=strict)


def _resolve(
    connection: sa.Connection, key: str | None, *, preferred_key: str, others: Sequence[str], strict: bool
) -> Resolution:
    own = None if key is None else live(connection, key)
    if own is not None:
        return own
    if key is not None and (strict or others):
        match = _first_named(connection, key, others)
        if not isinstance(match, ModelNotFound):
            return match
        if strict:
            raise match
    default = next_default(connection, (), preferred_key=preferred_key) or live(connection, None)
    if default is None:
        raise NoModel("no model is active: refresh the catalogue, or activate one")
    if key is None:
        return default
    why = why_missing(connection, key)
    if isinstance(why, Resolution):
        return why
    reason, story = why
    return replace(default, requested=key, reason=reason, story=story)


def _first_named(connection: sa.Connection, key: str, others: Sequence[str]) -> Resolution | ModelNotFound:
    """The model of this key, or of the first of the others that has one; else why the first is not there."""
    why = why_missing(connection, key)
    if isinstance(why, Resolution):
        return why
    reason, story = why
    for other in others:
        model = live(connection, other) or why_missing(connection, other)
        if isinstance(model, Resolution):
            return replace(model, requested=key, reason=reason, story=story)
    return ModelNotFound(key, reason, story)
