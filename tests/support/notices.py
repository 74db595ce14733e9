"""Notices as the end of a run leaves them."""

from __future__ import annotations

from harness.refreshing import CatalogueHarness
from shared.catalogue.sync.outcomes import RunEnded
from shared.clock import new_id
from shared.notices.outbox import Outbox

DETAIL = "no answer – in <15> s"


def write_notice(catalogue: CatalogueHarness) -> None:
    """Write a failed run and its notice."""
    run_id = new_id()
    catalogue.run(
        "INSERT INTO llm_sync_runs (id, trigger, actor, status, finished_at) VALUES (:id, 'api', 't', 'failed', now())",
        id=run_id,
    )
    with catalogue.database.transaction() as connection:
        Outbox(new_id).record(connection, RunEnded(run_id, "failed", code="timeout", detail=DETAIL))
