"""Fallbacks: which model answers in place of another, and for which reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

import sqlalchemy as sa

from shared.catalogue.facts.names import same_words
from shared.catalogue.sync.rows import upstream_name
from shared.models import llm_model_changes as changes
from shared.models import llm_models as models
from shared.vocabulary import FallbackReason

FLAGGED_SECONDS = 10.0
"""A flag that is younger is not written again."""
REFUSED = "(unknown_upstream_at > coalesce(last_synced_at, '-infinity'))"
"""Of a row of `llm_models`: whether upstream has refused the model since it was last listed."""

_NEXT_DEFAULT = sa.text(f"""
    SELECT model_key, model_name, matcha_llm_id, is_default FROM llm_models
    WHERE is_active AND {REFUSED} IS NOT TRUE AND matcha_llm_id <> ALL(:refused)
    ORDER BY is_default DESC, model_key = :preferred DESC,
      provider = (SELECT provider FROM llm_models WHERE is_default) DESC NULLS LAST,
      display_order, model_name COLLATE "C", matcha_llm_id LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Resolution:
    """The model that answers for what was asked for.

    `requested` is None when no model was named: the default is then no fallback. `reason` says why another answers
    than the one that was named; `story` says of a retired key what became of it: `{kind, matcha_llm_id, model_name,
    model_key, at}` of the model that has its id now. `others` are keys that are tried in order before the default;
    `strict` says that the default may not answer for a model that was named.
    """

    requested: str | None
    key: str
    name: str
    matcha_llm_id: int
    reason: FallbackReason | None = None
    story: Mapping[str, Any] | None = None
    others: tuple[str, ...] = ()
    strict: bool = False

    @property
    def fallback(self) -> bool:
        """Whether another model answers than the one that was named."""
        return self.reason is not None


def live(connection: sa.Connection, key: str | None) -> Resolution | None:
    """The active model of this key, or the default when it is None; None where there is none. For any role."""
    condition = models.c.is_default if key is None else models.c.model_key == key
    row = connection.execute(
        sa.select(models.c.model_key, models.c.model_name, models.c.matcha_llm_id).where(models.c.is_active, condition)
    ).first()
    return None if row is None else Resolution(key, *row)


def next_default(connection: sa.Connection, refused: Collection[int], *, preferred_key: str = "") -> Resolution | None:
    """The default, or the next by the rules, without models that upstream refuses; None when none is left.

    `refused`: upstream's ids beside those that are flagged. Another one than the default has the reason
    `unknown_upstream`.
    """
    row = connection.execute(_NEXT_DEFAULT, {"refused": list(refused), "preferred": preferred_key}).first()
    if row is None:
        return None
    return Resolution(
        None, row.model_key, row.model_name, row.matcha_llm_id, None if row.is_default else "unknown_upstream"
    )


def default_instead(
    connection: sa.Connection, of: Resolution, refused: Collection[int], *, preferred_key: str = ""
) -> Resolution | None:
    """Who answers in place of a model that upstream does not know: the first of its `others` that was not refused,
    else, unless it is strict, see `next_default`. None when no model is left.
    """
    model = next(
        (other for key in of.others if (other := live(connection, key)) and other.matcha_llm_id not in refused),
        None,
    )
    if model is None and not of.strict:
        model = next_default(connection, refused, preferred_key=preferred_key)
    if model is None:
        return None
    return replace(model, requested=of.requested, reason="unknown_upstream", others=of.others, strict=of.strict)


def describe_missing(key: str, reason: FallbackReason, story: Mapping[str, Any] | None) -> str:
    """Why a key names no model that may answer, and what to do."""
    match reason:
        case "inactive_key":
            why = f"the model {key} is not active at the moment"
        case "retired_key" if story is not None:
            now = f": its id {story['matcha_llm_id']} now means {story['model_name']}"
            now += f", whose key is {story['model_key']}" if story["model_key"] not in (None, key) else ""
            why = f"the key {key} was retired on {story['at'][:10]}{now}"
        case "unknown_upstream":
            why = f"MatchaAI does not know the model {key} any more"
        case "unknown_key" | "retired_key":
            why = f"no model has the key {key}"
        case _:
            assert_never(reason)
    return f"{why}; the list of models says which there are"


def flag_unknown(connection: sa.Connection, matcha_llm_id: int) -> None:
    """Note that upstream does not know this id, and let the next refresh look at every row again."""
    lately = sa.text(f"""
        SELECT FROM llm_models WHERE matcha_llm_id = :id AND {REFUSED}
          AND unknown_upstream_at > now() - make_interval(secs => :seconds)
    """)
    if connection.execute(lately, {"id": matcha_llm_id, "seconds": FLAGGED_SECONDS}).first() is not None:
        return  # many chats of one model are refused at the same time: they need not wait for each other
    # The version's row first, as everyone does who writes models: so nobody waits for one who waits for them.
    connection.execute(sa.text("UPDATE llm_catalogue_version SET settled_inputs = NULL"))
    connection.execute(
        models.update().where(models.c.matcha_llm_id == matcha_llm_id).values(unknown_upstream_at=sa.func.now())
    )


def refused_ids(connection: sa.Connection) -> frozenset[int]:
    """Ids of the active models that upstream has refused since it last listed them."""
    rows = connection.execute(sa.text(f"SELECT matcha_llm_id FROM llm_models WHERE is_active AND {REFUSED}"))
    return frozenset(rows.scalars())


def why_missing(connection: sa.Connection, key: str) -> Resolution | tuple[FallbackReason, Mapping[str, Any] | None]:
    """Why no active model has this key; or the model itself, where the key was its own and only became another."""
    if connection.execute(sa.select(models.c.id).where(models.c.model_key == key)).first() is not None:
        return "inactive_key", None
    before = changes.c.before["model_key"].astext
    change = connection.execute(
        sa.select(changes.c.kind, changes.c.matcha_llm_id, changes.c.before, changes.c.after, changes.c.at)
        .where(changes.c.before.has_key("model_key"), before == key)
        .order_by(changes.c.id.desc())
        .limit(1)
    ).first()
    if change is None:
        return "unknown_key", None
    now = connection.execute(
        sa.select(
            models.c.model_name, models.c.model_key, models.c.is_active, models.c.overrides, models.c.provenance
        ).where(models.c.matcha_llm_id == change.matcha_llm_id)
    ).first()
    if now is not None and now.is_active and change.kind == "moved":
        name_before = change.before.get("upstream_name")
        name_now = upstream_name(now.model_name, now.overrides, now.provenance)
        if name_before is not None and same_words(name_before, name_now):
            return Resolution(key, now.model_key, now.model_name, change.matcha_llm_id)
    after = change.after or {}
    return "retired_key", {
        "kind": change.kind,
        "matcha_llm_id": change.matcha_llm_id,
        "model_name": after.get("model_name") or (now.model_name if now is not None else None),
        "model_key": after.get("model_key") or (now.model_key if now is not None else None),
        "at": change.at.isoformat(),
    }
