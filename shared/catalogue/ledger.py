"""The ledger as a person reads it: the newest lines first, by kind, key and time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.models import llm_model_changes as changes


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which lines: of these kinds, of a key (also one that a model had before), of a run, after an id, since a time."""

    kinds: Sequence[str] = ()
    key: str | None = None
    run_id: uuid.UUID | None = None
    after: int = 0
    since: datetime | None = None


def newest_changes(
    connection: sa.Connection, wanted: LedgerFilter, *, limit: int | None
) -> tuple[list[dict[str, Any]], int]:
    """The newest lines first, `limit` at most (None: all); and how many older ones are left out."""
    conditions = _conditions(wanted)
    query = sa.select(changes).where(*conditions).order_by(changes.c.id.desc()).limit(limit)
    lines = [dict(row) for row in connection.execute(query).mappings()]
    number = connection.execute(sa.select(sa.func.count()).select_from(changes).where(*conditions)).scalar_one()
    return lines, number - len(lines)


def _conditions(wanted: LedgerFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [changes.c.id > wanted.after]
    if wanted.kinds:
        conditions.append(changes.c.kind.in_(wanted.kinds))
    if wanted.key is not None:
        before = changes.c.before["model_key"].astext
        conditions.append(sa.or_(changes.c.model_key == wanted.key, before == wanted.key))
    if wanted.run_id is not None:
        conditions.append(changes.c.run_id == wanted.run_id)
    if wanted.since is not None:
        conditions.append(changes.c.at >= wanted.since)
    return conditions
