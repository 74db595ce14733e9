"""Endpoints, chats that end, and the sender, on the real PostgreSQL and a real receiver."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.statements import execute
from shared.chat import claims, lifecycle, sweeper
from shared.chat.accept import Submitter
from shared.chat.chat_request import ChatRequest
from shared.chat.lifecycle import Finish
from shared.chat.requests import Question
from shared.clock import new_id, utc_now
from shared.db import Caller
from shared.db import Database as SharedDatabase
from shared.notices.outbox import Outbox
from shared.webhooks import delivery_history, endpoints
from shared.webhooks.endpoints import NewEndpoint
from shared.webhooks.sender import EventSender

ANN = Caller("authenticated", "ann")
RESPONSES = ("response.completed", "response.failed", "response.cancelled")


@dataclass
class Hooks:
    """What a test of webhooks works with."""

    catalogue: CatalogueHarness
    superuser_url: str

    def endpoint(self, url: str, *events: str, subject: str = "ann") -> dict[str, Any]:
        """Register an endpoint, for all events of responses where none is named."""
        new = NewEndpoint(url=url, subject=subject, events=list(events or RESPONSES))
        with self.catalogue.database.transaction() as connection:
            return endpoints.add(connection, new, endpoint_id=new_id(), url=url, actor="test")

    def ask(self, *, background: bool = True, response: bool = True, caller: Caller = ANN) -> uuid.UUID:
        """Accept a chat; by default one of a background response."""
        options: Mapping[str, Any] | None = {"background": background, "metadata": {}} if response else None
        submitter = Submitter(self.catalogue.database, ids=new_id, deadline_seconds=600, max_open=100_000)
        request = ChatRequest(Question(question="Which?"), caller, None, None, response=options)
        return submitter.submit(request).snapshot.chat_id

    def claim(self, *chat_ids: uuid.UUID) -> dict[uuid.UUID, claims.ChatClaim]:
        with self.catalogue.database.transaction() as connection:
            return claims.claim(connection, chat_ids, lease_seconds=30, max_attempts=3)

    def finish(self, *chat_ids: uuid.UUID, **failure: str) -> None:
        """Answer these chats, or fail them with `error_code` and the like."""
        claimed = self.claim(*chat_ids).values()
        end: dict[str, Any] = {"status": "failed", **failure} if failure else {"status": "succeeded", "answer": "This."}
        with self.catalogue.database.transaction() as connection:
            execute(
                connection,
                lifecycle.finish([Finish(each.chat_id, each.attempt, model=each.model, **end) for each in claimed]),
            )

    def sweep(self) -> None:
        with self.catalogue.database.transaction() as connection:
            sweeper.sweep(connection, max_attempts=3)

    def event(self, url: str, **more: Any) -> dict[str, Any]:
        """An endpoint, and one event that waits for it; returns the endpoint."""
        endpoint = self.endpoint(url, **more)
        self.finish(self.ask())
        return endpoint

    def sender(self, *, local: bool = True, seconds: float = 15, database: SharedDatabase | None = None) -> EventSender:
        return EventSender(
            database or self.catalogue.database,
            local=local,
            now=utc_now,
            record_disabled=Outbox(new_id).record_disabled,
            deadline_seconds=seconds,
        )

    def send(self, **options: Any) -> None:
        self.sender(**options).send_due()

    def deliveries(self) -> list[dict[str, Any]]:
        with self.catalogue.database.transaction() as connection:
            return delivery_history.list_deliveries(connection)

    def delivery(self) -> dict[str, Any]:
        (only,) = self.deliveries()
        return only

    def state(self, endpoint: dict[str, Any]) -> dict[str, Any]:
        (row,) = self.catalogue.run("SELECT * FROM llm_webhook_endpoints WHERE id = :id", id=endpoint["id"])
        return dict(row)

    def later(self, **past: float) -> None:
        """Let so much time pass for all that waits and all that fails, such as `hours=73`."""
        interval = f"interval '{' '.join(f'{number} {unit}' for unit, number in past.items())}'"
        self.catalogue.run(
            f"UPDATE llm_webhook_endpoints SET send_at = send_at - {interval},"
            f" failing_since = failing_since - {interval}"
        )
        self.catalogue.run(
            f"UPDATE llm_webhook_deliveries SET send_at = send_at - {interval}, give_up_at = give_up_at - {interval}"
        )


@pytest.fixture
def hooks(database: Database) -> Iterator[Hooks]:
    with catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        yield Hooks(catalogue, database.superuser_url)
