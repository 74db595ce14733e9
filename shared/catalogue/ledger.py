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
    connection: sa.Connection, ledger_filter: LedgerFilter, *, limit: int | None
) -> tuple[list[dict[str, Any]], int]:
    """The newest lines first, `limit` at most (None: all); and how many older ones are left out."""
    conditions = _conditions(ledger_filter)
    query = sa.select(changes).where(*conditions).order_by(changes.c.id.desc()).limit(limit)
    lines = [dict(row) for row in connection.execute(query).mappings()]
    number = connection.execute(sa.select(sa.func.count()).select_from(changes).where(*conditions)).scalar_one()
    return lines, number - len(lines)


def _conditions(ledger_filter: LedgerFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [changes.c.id > ledger_filter.after]
    if ledger_filter.kinds:
        conditions.append(changes.c.kind.in_(ledger_filter.kinds))
    if ledger_filter.key is not None:
        before = changes.c.before["model_key"].astext
        conditions.append(sa.or_(changes.c.model_key == ledger_filter.key, before == ledger_filter.key))
    if ledger_filter.run_id is not None:
        conditions.append(changes.c.run_id == ledger_filter.run_id)
    if ledger_filter.since is not None:
        conditions.append(changes.c.at >= ledger_filter.since)
    return conditions
