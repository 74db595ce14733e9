"""The ledger: appends its lines, and reads them, oldest first for programs and newest first for people."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.rows import ModelChange
from shared.catalogue.sync.store import json_encoder, text_array
from shared.models import llm_model_changes as changes

# Appends these lines to the ledger in their order, which gives them ascending ids (llm_model_changes_pkey).
_APPEND = """
INSERT INTO llm_model_changes (run_id, kind, matcha_llm_id, model_key, before, after, actor)
SELECT %s, kind, id, key, before::jsonb, after::jsonb, %s
FROM unnest(%s::text[], %s::int[], %s::text[], %s::text[], %s::text[])
  WITH ORDINALITY AS new (kind, id, key, before, after, place) ORDER BY place
"""


def append_changes(
    connection: sa.Connection, lines: Sequence[ModelChange], *, run_id: uuid.UUID | None, actor: str
) -> None:
    """Write the ledger's lines, in their order."""
    if not lines:
        return
    dumps = json_encoder()
    connection.exec_driver_sql(
        _APPEND,
        (
            run_id,
            actor,
            text_array(change.kind for change in lines),
            text_array(change.matcha_llm_id for change in lines),
            text_array(change.model_key for change in lines),
            text_array(None if change.before is None else dumps(change.before) for change in lines),
            text_array(None if change.after is None else dumps(change.after) for change in lines),
        ),
    )


def read_changes(
    connection: sa.Connection, *, since: int, limit: int, run_id: uuid.UUID | None = None
) -> list[dict[str, Any]]:
    """Lines of the ledger after the id `since`, oldest first; of one run where it is named."""
    # Selects lines of the ledger by llm_model_changes_pkey, or of one run by llm_model_changes_run_id.
    query = sa.select(changes).where(changes.c.id > since).order_by(changes.c.id).limit(limit)
    if run_id is not None:
        query = query.where(changes.c.run_id == run_id)
    return [dict(row) for row in connection.execute(query).mappings()]


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
