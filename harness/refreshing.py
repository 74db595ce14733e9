"""A refresher on real servers: its database, and the stand-in gateway as its source."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from harness.stand_in import RunningStandIn
from shared.catalogue import ledger, seed
from shared.catalogue.edits import Editor
from shared.catalogue.facts.describer import ModelDescriber
from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.sync.endings import RecordNotices, UsageLookup, record_nothing
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.outcomes import Outcome
from shared.catalogue.sync.plan import Policy
from shared.catalogue.sync.refresh import Refresher
from shared.catalogue.sync.rows import USE_DAYS
from shared.catalogue.sync.sources import Sources
from shared.chat.usage import callers_of
from shared.clock import new_id
from shared.db import Database
from shared.gateway.client import GatewayClient
from worker.runtime import used

DEFAULT_KEY = "claude-3-7-sonnet"


@dataclass
class CatalogueHarness:
    """What a test of refreshes works with."""

    database: Database
    refresher: Refresher
    editor: Editor
    describer: ModelDescriber
    policy: Policy
    statements: list[str] = field(default_factory=list)

    def refresh(self, **options: Any) -> Outcome:
        """Request a run and carry it out."""
        run_id, _, _ = self.refresher.queue.request(RefreshOptions(**options), trigger="cli", actor="test")
        return self.refresher.perform(run_id)

    def seed(self) -> int:
        return seed.seed(self.database, self.describer, self.policy)

    def models(self) -> dict[int, dict[str, Any]]:
        """Every row by upstream's id."""
        with self.database.transaction() as connection:
            rows = connection.execute(sa.text("SELECT * FROM llm_models")).mappings().all()
        return {row["matcha_llm_id"]: dict(row) for row in rows}

    def ledger(self) -> list[dict[str, Any]]:
        with self.database.transaction() as connection:
            return ledger.read_changes(connection, since=0, limit=1_000_000)

    def run(self, sql: str, **values: Any) -> Any:
        """One statement as service_role; its rows where it has any."""
        with self.database.transaction() as connection:
            result = connection.execute(sa.text(sql), values)
            return result.mappings().all() if result.returns_rows else result.rowcount


def entries(*models: tuple[int, str]) -> list[dict[str, object]]:
    """What a gateway lists for these ids and names."""
    return [{"id": id_, "name": name} for id_, name in models]


def make_due(catalogue: CatalogueHarness) -> None:
    """Let all notices be sent now."""
    catalogue.run("UPDATE llm_notice_deliveries SET send_at = now()")
    catalogue.run("UPDATE llm_notice_receivers SET send_at = now()")


def count_callers(connection: Any, keys: Collection[str]) -> Mapping[str, int]:
    """As production counts them."""
    return callers_of(connection, keys, days=USE_DAYS)


@contextmanager
def catalogue_harness(
    url: str,
    gateway: RunningStandIn | None,
    *,
    record: RecordNotices = record_nothing,
    callers: UsageLookup = count_callers,
    **policy: Any,
) -> Iterator[CatalogueHarness]:
    """A catalogue on this database, with this stand-in as its gateway; the mapping alone without one."""
    address = url.replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(address, application_name="test", pool_size=8)
    describer = ModelDescriber(load_mapping())
    rules = Policy(**({"default_key": DEFAULT_KEY} | policy))
    make: Callable[[], GatewayClient] | None = None
    if gateway is not None:
        running = gateway
        make = lambda: GatewayClient(base_url=running.url, api_key=running.api_key)  # noqa: E731
    refresher = Refresher(
        database=database,
        sources=Sources(load_mapping(), make),
        describe=describer.load,
        policy=rules,
        ids=new_id,
        rules=lambda: describer.digest(rules),
        record=record,
        used=used,
        callers=callers,
    )
    made = CatalogueHarness(
        database, refresher, Editor(database=database, mapping=load_mapping(), policy=rules), describer, rules
    )
    sa.event.listen(database.engine, "before_cursor_execute", lambda *arguments: made.statements.append(arguments[2]))
    try:
        yield made
    finally:
        database.dispose()
