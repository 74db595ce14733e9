"""Why a model is inactive: hidden by an operator, gone upstream, or refused by it; and every model with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.catalogue.facts.names import words
from shared.catalogue.sync.draft import MOVED_TO
from shared.catalogue.sync.rows import MAPPING, upstream_name
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
  WHERE kind = 'deactivated' OR (kind = 'moved' AND after -> 'provenance' ? 'moved_to')
  ORDER BY matcha_llm_id, id DESC
)
SELECT model.matcha_llm_id, hider.kind, hider.actor, hider.at, dropped.at
FROM llm_models AS model
LEFT JOIN LATERAL (
  SELECT kind, actor, at FROM hidden
  WHERE hidden.matcha_llm_id = model.matcha_llm_id OR hidden.model_key = model.model_key
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
    rows = _read_rows(connection)
    reasons = _reasons(connection, rows)
    for row in rows:
        row["why"] = reasons.get(row["matcha_llm_id"])
        for name in _INSIDE if provenance else (*_INSIDE, *_EDITED):
            del row[name]
    return rows


def why_inactive(connection: sa.Connection, matcha_llm_id: int) -> dict[str, Any] | None:
    """Why this model is inactive; None while it is active."""
    active = sa.select(llm_models.c.is_active).where(llm_models.c.matcha_llm_id == matcha_llm_id)
    if connection.execute(active).scalar():
        return None
    return _reasons(connection, _read_rows(connection)).get(matcha_llm_id)


def _read_rows(connection: sa.Connection) -> list[dict[str, Any]]:
    in_order = llm_models.c.display_order, llm_models.c.model_name, llm_models.c.matcha_llm_id
    return [dict(row) for row in connection.execute(sa.select(*_COLUMNS).order_by(*in_order)).mappings()]


@dataclass(frozen=True, slots=True)
class RowHistory:
    """What is known of an inactive row beside itself. `hidden_by`: None where a sync hid it with another row of its
    name. `dropped_at`: when it last went, perhaps before an absence that is over. `elsewhere`: another id under which
    upstream lists its model now.
    """

    hidden_by: str | None = None
    hidden_at: datetime | None = None
    dropped_at: datetime | None = None
    elsewhere: int | None = None


def _reasons(connection: sa.Connection, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    inactive = {row["matcha_llm_id"]: row for row in rows if not row["is_active"]}
    if not inactive:
        return {}
    lines = {line[0]: line for line in connection.execute(sa.text(_LINES))}
    listed_as: dict[tuple[str, ...], int] = {}
    for row in sorted(rows, key=lambda row: not row["is_active"]):
        if _is_listed(row):
            listed_as.setdefault(_name_of(row), row["matcha_llm_id"])
    hiders = {_name_of(inactive[line[0]]): line for line in lines.values() if line.kind == "operator"}
    reasons: dict[int, dict[str, Any]] = {}
    for id_, row in inactive.items():
        _, kind, actor, hidden_at, dropped_at = lines[id_]
        if kind not in ("operator", None):  # a sync, which followed an operator
            hider = hiders.get(_name_of(row))
            actor = hider.actor if hider is not None else None
        elsewhere = None if _is_listed(row) else listed_as.get(_name_of(row))
        reasons[id_] = explain(row, RowHistory(actor, hidden_at, dropped_at, elsewhere))
    return reasons


def _is_listed(row: Mapping[str, Any]) -> bool:
    return row["missed_syncs"] == 0 and MOVED_TO not in row["provenance"]


def _name_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    return words(upstream_name(row["model_name"], row["overrides"], row["provenance"]))


def explain(row: Mapping[str, Any], history: RowHistory) -> dict[str, Any]:
    """Why an inactive model is so, as the API shows it. Pure.

    `reason`: `hidden`, `gone`, `refused` (gone, and upstream said that it does not know it), or `unknown` (somebody
    changed the row outside). `listed`: whether upstream listed it last time, so that showing it makes it active.
    `since`: never before it was last listed, unless it is hidden.
    """
    is_listed, last_listed = _is_listed(row), row["last_synced_at"]
    refused = _after(row["unknown_upstream_at"], last_listed)
    parts, by = [], None
    since = None if is_listed else _after(history.dropped_at, last_listed) or last_listed
    if row["overrides"].get("is_active") is False:
        reason, since, by = "hidden", history.hidden_at, history.hidden_by
        who = f"hidden by {by}" if by else "hidden"
        parts.append(who + (f" on {_day(since)}" if since else ""))
    elif is_listed:
        reason = "unknown"
        parts.append("made inactive outside of syncs and edits; the next refresh that lists it shows it")
    else:
        reason = "gone" if refused is None else "refused"
    if not is_listed:
        parts.append(_gone(row, history.elsewhere))
        if refused is not None:
            parts.append(f"upstream answered on {_day(refused)} that it does not know it")
    return {
        "reason": reason,
        "since": since,
        "by": by,
        "listed": is_listed,
        "last_listed": last_listed,
        "text": "; ".join(parts),
    }


def _after(moment: datetime | None, other: datetime | None) -> datetime | None:
    return moment if moment is not None and (other is None or moment > other) else None


def _gone(row: Mapping[str, Any], elsewhere: int | None) -> str:
    if elsewhere is not None:
        return f"upstream lists its model under the ID {elsewhere} now"
    if row["listed_by"] == MAPPING:
        return "only the built-in mapping has listed it, upstream never has"
    if row["last_synced_at"] is None:
        return "upstream has never listed it"
    return f"upstream has not listed it since {_day(row['last_synced_at'])}"


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
