"""What a held list would take away, so that somebody can decide about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from shared.catalogue.sync.plan import Plan
from shared.catalogue.sync.rows import ModelRow

MAX_MODELS: Final = 500
"""A held run keeps so many models; how many there are its counts say in any case."""


def hold_report(rows: Iterable[ModelRow], plan: Plan, sha256: str) -> dict[str, Any]:
    """What a list that the guard holds would take away: counts and models, of all that would go when it is forced.

    Beside what made the guard hold it these are the models that upstream never promised.
    """
    kinds = list(plan.lost.values())
    return {
        "absent": kinds.count("absent"),
        "active": plan.active,
        "repointed": kinds.count("repointed"),
        "sha256": sha256,
        "models": affected_models(rows, plan),
    }


def affected_models(rows: Iterable[ModelRow], plan: Plan) -> list[dict[str, Any]]:
    """The active models that a list would take away, as `held.models` shows them but for their use.

    `kind`: `absent` (no longer listed), or `repointed` (its id means another model; `becomes` is that one's name).
    """
    by_id = {row.matcha_llm_id: row for row in rows}
    models: list[dict[str, Any]] = []
    for id_, loss in plan.lost.items():
        row = by_id[id_]
        model = {"matcha_llm_id": id_, "model_key": row.model_key, "name": row.model_name, "kind": loss}
        if loss == "repointed":
            model["becomes"] = plan.written[id_].upstream_name
        models.append(model)
    return models


def with_use(
    models: Sequence[Mapping[str, Any]], requests: Mapping[str, int] | None, callers: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """The models with their recent requests and callers, the most used first, MAX_MODELS at most.

    A count that is not known is None for each of them.
    """
    used = [
        {
            **model,
            "requests": None if requests is None else requests.get(model["model_key"], 0),
            "callers": None if callers is None else callers.get(model["model_key"], 0),
        }
        for model in models
    ]
    return sorted(used, key=_by_use)[:MAX_MODELS]


def _by_use(model: Mapping[str, Any]) -> tuple[int, int, str]:
    return -(model["requests"] or 0), -(model["callers"] or 0), model["model_key"]


def summary(held: Mapping[str, Any]) -> str:
    """What is wrong with a held list, in one clause."""
    if not held["active"] or held["absent"] == held["active"]:
        return f"none of the {held['active']} active models is listed" if held["active"] else "the list is empty"
    return f"{held['absent']} of {held['active']} active models absent, {held['repointed']} repointed"


def use_words(model: Mapping[str, Any]) -> str:
    """How much one of the models was used."""
    callers = "?" if model["callers"] is None else model["callers"]
    return f"{model['requests']} requests, {callers} callers"


def most_used(held: Mapping[str, Any], most: int = 5) -> str:
    """The most used of the models that would go, in one clause; empty where none was used."""
    used = [model for model in held.get("models", ()) if model["requests"]]
    texts = [f"{model['model_key']} ({use_words(model)})" for model in used[:most]]
    more = len(used) - most
    return ", ".join([*texts, *([f"{more} more"] if more > 0 else [])])
