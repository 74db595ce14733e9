"""What of a run's ending, or of a webhook's, is worth telling. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from shared.catalogue.sync.held import most_used, summary
from shared.catalogue.sync.outcomes import RunEnded
from shared.catalogue.sync.rows import USE_DAYS, ModelChange
from shared.vocabulary import GOOD_RUNS, DisabledReason, NoticeKind

MAX_MODELS_NAMED: Final = 50
"""A notice names so many models; how many there are it says in any case."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. `data` is what the receiver gets beside id, kind, time and run."""

    kind: NoticeKind
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """A webhook endpoint of a caller that was switched off."""

    id: uuid.UUID
    subject: str
    url: str
    reason: DisabledReason
    last_error: str | None


def notice_of_endpoint(endpoint: DisabledEndpoint) -> Notice:
    """What to tell of an endpoint that was switched off: of its address only the host, the rest may hold a token."""
    host = urlsplit(endpoint.url).hostname or ""
    cause = "it answered 410 Gone" if endpoint.reason == "gone" else "it failed for three days"
    text = (
        f"The webhook endpoint {endpoint.id} of {endpoint.subject} ({host}) was switched off: {cause}."
        + (f" The last error: {endpoint.last_error}." if endpoint.last_error else "")
        + f" When it works again: llm-refresh webhooks enable {endpoint.id}"
    )
    return Notice(
        "webhook_disabled",
        {
            "text": text,
            "endpoint_id": str(endpoint.id),
            "subject": endpoint.subject,
            "host": host,
            "reason": endpoint.reason,
            "last_error": endpoint.last_error,
        },
    )


def removed_keys(ending: RunEnded) -> list[str]:
    """The keys of the models that a run deactivated: whoever asks for `notices_of` looks up their use first."""
    return [change.model_key for change in ending.changes if change.kind == "deactivated"]


def notices_of(ending: RunEnded, *, before: str | None, use: Mapping[str, Mapping[str, Any]]) -> list[Notice]:
    """What to tell of this ending.

    `before` is how the run before it ended, `use` the recent requests of removed models (`request_count`, `last_used`).
    """
    if ending.status == "held":
        held = ending.held or {}
        return [Notice("held", {"text": _held(held), **held})]
    if ending.status not in GOOD_RUNS:
        text = f"The refresh failed: {ending.detail or 'its worker stopped without a word'}"
        return [Notice("failed", {"text": text, "code": ending.code or ending.status, "attempt": ending.attempt})]
    notices: list[Notice] = []
    if ending.attempt > 1 or (before is not None and before not in GOOD_RUNS):
        was = before if before is not None and before not in GOOD_RUNS else "failed"
        notices.append(
            Notice("recovered", {"text": f"The refresh works again; the one before was {was}", "before": was})
        )
    if ending.promoted is not None:
        lost, new = ending.promoted
        notices.append(
            Notice(
                "promoted",
                {"text": f"The default model {lost} is gone, {new} took its place", "lost": lost, "promoted": new},
            )
        )
    notices += _repointed([change for change in ending.changes if change.kind == "repointed"])
    notices += _removed([key for key in removed_keys(ending) if key in use], use)
    return notices


def _held(held: Mapping[str, Any]) -> str:
    used = most_used(held)
    return (
        f"The list was held: {summary(held)}; nothing was changed."
        + (f" Of these were used in {USE_DAYS} days: {used}." if used else " None of them was used.")
        + f" To apply it: llm-refresh refresh --force {held['sha256']}; to wait for a better one:"
        f" llm-refresh refresh --dismiss {held['sha256']}"
    )


def _repointed(changes: Sequence[ModelChange]) -> list[Notice]:
    if not changes:
        return []
    models = [
        {
            "matcha_llm_id": change.matcha_llm_id,
            "model_key": change.model_key,
            "before": _name_and_key(change.before),
            "after": _name_and_key(change.after),
        }
        for change in changes[:MAX_MODELS_NAMED]
    ]
    text = f"{len(changes)} ids mean another model now: " + ", ".join(_listed([change.model_key for change in changes]))
    return [Notice("repointed", {"text": text, "count": len(changes), "models": models})]


def _removed(keys: Sequence[str], use: Mapping[str, Mapping[str, Any]]) -> list[Notice]:
    if not keys:
        return []
    models = [
        {
            "model_key": key,
            "request_count": use[key]["request_count"],
            "last_used": use[key]["last_used"].isoformat(),
            "days": USE_DAYS,
        }
        for key in keys[:MAX_MODELS_NAMED]
    ]
    texts = [f"{key} ({use[key]['request_count']} requests in {USE_DAYS} days)" for key in keys]
    text = "Models that were in use are gone: " + ", ".join(_listed(texts))
    return [Notice("removed", {"text": text, "count": len(keys), "models": models})]


def _name_and_key(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if name in ("model_name", "model_key")}


def _listed(names: Sequence[str], most: int = 5) -> list[str]:
    more = len(names) - most
    return [*names[:most], *([f"and {more} more"] if more > 0 else [])]
