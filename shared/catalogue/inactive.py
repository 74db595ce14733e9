"""Why a model is inactive: hidden by an operator, gone upstream, or refused by it; and every model with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.rows import MAPPING
from shared.catalogue.sync.store import SHOWN
from shared.models import llm_models

# Who hid each hidden model, and when each model that is gone was made inactive: the newest line of the ledger that did
# so, under its id or, where it has moved since, under its key.
_LINES = """
WITH hidden AS MATERIALIZED (
  SELECT id, matcha_llm_id, model_key, actor, at, kind FROM llm_model_changes
  WHERE after -> 'overrides' ->> 'is_active' = 'false'
    AND before -> 'overrides' ->> 'is_active' IS DISTINCT FROM 'false'
), dropped AS MATERIALIZED (
  SELECT DISTINCT ON (matcha_llm_id) matcha_llm_id, at FROM llm_model_changes
  WHERE kind = 'deactivated' ORDER BY matcha_llm_id, id DESC
)
SELECT model.matcha_llm_id, hider.actor, hider.at, dropped.at
FROM llm_models AS model
LEFT JOIN LATERAL (
  SELECT actor, at FROM hidden WHERE hidden.matcha_llm_id = model.matcha_llm_id OR hidden.model_key = model.model_key
  ORDER BY kind = 'operator' DESC, id DESC LIMIT 1) AS hider ON model.overrides ->> 'is_active' = 'false'
LEFT JOIN dropped USING (matcha_llm_id)
WHERE NOT model.is_active
"""
_COLUMNS = (
    *SHOWN,
    llm_models.c.overrides,
    llm_models.c.provenance,
    llm_models.c.missed_syncs,
    llm_models.c.last_synced_at,
    llm_models.c.unknown_upstream_at,
    llm_models.c.listed_by,
)
_INSIDE = ("missed_syncs", "last_synced_at", "unknown_upstream_at", "listed_by")
_EDITED = ("overrides", "provenance")


def read_all_models(connection: sa.Connection, *, provenance: bool = False) -> list[dict[str, Any]]:
    """Every model as operators see it, by display order, then name; `why` is None for an active one."""
    query = sa.select(*_COLUMNS).order_by(
        llm_models.c.display_order, llm_models.c.model_name, llm_models.c.matcha_llm_id
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    reasons = _reasons(connection, rows)
    for row in rows:
        row["why"] = reasons.get(row["matcha_llm_id"])
        for name in _INSIDE if provenance else (*_INSIDE, *_EDITED):
            del row[name]
    return rows


def why_inactive(connection: sa.Connection, matcha_llm_id: int) -> dict[str, Any] | None:
    """Why this model is inactive; None while it is active."""
    query = sa.select(*_COLUMNS).where(llm_models.c.matcha_llm_id == matcha_llm_id)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return _reasons(connection, rows).get(matcha_llm_id)


def _reasons(connection: sa.Connection, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    inactive = [row for row in rows if not row["is_active"]]
    if not inactive:
        return {}
    lines = {id_: rest for id_, *rest in connection.execute(sa.text(_LINES))}
    return {row["matcha_llm_id"]: explain(row, *lines[row["matcha_llm_id"]]) for row in inactive}


def explain(
    row: Mapping[str, Any], hidden_by: str | None, hidden_at: datetime | None, dropped_at: datetime | None
) -> dict[str, Any]:
    """Why an inactive model is so, as the API shows it. Pure.

    `reason`: `hidden`, `gone`, `refused` (gone, and upstream said that it does not know it), or `unknown` (somebody
    changed the row outside). `listed`: whether upstream listed it last time, so that showing it makes it active.
    """
    listed = row["missed_syncs"] == 0
    hidden = row["overrides"].get("is_active") is False
    refused = row["unknown_upstream_at"]
    parts, since, by = [], dropped_at, None
    if hidden:
        reason, since, by = "hidden", hidden_at, hidden_by
        parts.append(f"hidden by {hidden_by or 'an operator'}" + (f" on {_day(hidden_at)}" if hidden_at else ""))
    elif listed:
        reason = "unknown"
        parts.append("made inactive outside of syncs and edits; the next refresh that lists it shows it")
    else:
        reason = "gone" if refused is None else "refused"
    if not listed:
        parts.append(_gone(row))
        if refused is not None:
            parts.append(f"upstream answered on {_day(refused)} that it does not know it")
    return {
        "reason": reason,
        "since": since,
        "by": by,
        "listed": listed,
        "last_listed": row["last_synced_at"],
        "text": "; ".join(parts),
    }


def _gone(row: Mapping[str, Any]) -> str:
    moved_to = row["provenance"].get("moved_to", {}).get("value")
    if moved_to is not None:
        return f"upstream lists its model under the ID {moved_to} now"
    if row["listed_by"] == MAPPING:
        return "only the built-in mapping has listed it, upstream never has"
    if row["last_synced_at"] is None:
        return "upstream has never listed it"
    return f"upstream has not listed it since {_day(row['last_synced_at'])}"


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
