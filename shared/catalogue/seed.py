"""The first models of a new database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from shared.catalogue import ledger
from shared.catalogue.facts.describer import ModelDescriber
from shared.catalogue.sync import store
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.plan import Policy, plan_sync
from shared.catalogue.sync.rows import MAPPING
from shared.db import Database
from shared.models import llm_models


def seed(database: Database, knowledge: ModelDescriber, policy: Policy) -> int:
    """Fill an empty catalogue with the mapping's models; returns how many were added, 0 where there were models."""
    parsed = parse_entries([{"id": model.id, "name": model.name} for model in knowledge.mapping.models])
    describe = knowledge.load()
    with database.transaction() as connection:
        version = store.lock(connection)
        if store.any_model(connection):
            return 0
        plan = plan_sync([], parsed, describe, policy, version.now)
        store.write_rows(connection, plan.written, (), source=MAPPING)
        ledger.append_changes(connection, plan.changes, run_id=None, actor="seed")
    return len(plan.written)


def all_models(connection: sa.Connection) -> list[dict[str, Any]]:
    """Every model row, active or not, in the listing's order."""
    query = sa.select(*store.SHOWN).order_by(
        llm_models.c.display_order, llm_models.c.model_name, llm_models.c.matcha_llm_id
    )
    return [dict(row) for row in connection.execute(query).mappings()]
