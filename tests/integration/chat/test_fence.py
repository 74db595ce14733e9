"""A model of who may write what for a chat, played against PostgreSQL: one stored end, and the first answer is it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness.statements import execute
from shared.chat import claims, figures, lifecycle, sweeper
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release
from tests.integration.chat.conftest import SERVICE, Chats
from tests.support.examples import examples

MAX_ATTEMPTS = 3
OPEN = ("queued", "running")


@dataclass
class Model:
    """What a chat's row should be."""

    status: str = "queued"
    attempt: int = 0
    returned: int = 0
    lease_lost: bool = False
    late: bool = False
    answer: str | None = None
    held: list[ChatClaim] = field(default_factory=list)
    """each claim that somebody has ever made, and may still write for"""

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def spent(self) -> int:
        return self.attempt - self.returned

    @property
    def claimable(self) -> bool:
        free = self.status == "queued" or (self.status == "running" and self.lease_lost)
        return free and not self.late and self.spent < MAX_ATTEMPTS


class Fence(RuleBasedStateMachine):
    def __init__(self, chats: Chats) -> None:
        super().__init__()
        self.chats = chats

    @initialize()
    def ask(self) -> None:
        self.chats.catalogue.run("DELETE FROM llm_chats")
        self.counted_before = self.counted()
        self.model = Model()
        self.chat_id: uuid.UUID = self.chats.submit()

    def counted(self) -> int:
        with self.chats.runtime.database.transaction() as connection:
            return sum(figures.figures(connection).outcomes.values())

    def held(self, data: st.DataObject) -> ChatClaim:
        return data.draw(st.sampled_from(self.model.held))

    @rule()
    def is_claimed(self) -> None:
        with self.chats.runtime.database.transaction() as connection:
            rows = claims.claim(connection, [self.chat_id], lease_seconds=30, max_attempts=MAX_ATTEMPTS)
        assert bool(rows) == self.model.claimable
        for claim in rows.values():
            self.model.attempt += 1
            self.model.status, self.model.lease_lost = "running", False
            assert claim.attempt == self.model.attempt
            self.model.held.append(claim)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def an_answer_comes(self, data: st.DataObject) -> None:
        claim = self.held(data)
        answer = f"of attempt {claim.attempt}"
        end = Finish(self.chat_id, claim.attempt, "succeeded", claim.model, answer=answer, tries=1, upstream_ms=5)
        with self.chats.runtime.database.transaction() as connection:
            assert (execute(connection, lifecycle.finish([end])) == {self.chat_id}) == self.model.open
        if self.model.open:
            self.model.status, self.model.answer = "succeeded", answer

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def a_failure_comes(self, data: st.DataObject) -> None:
        claim = self.held(data)
        end = Finish(self.chat_id, claim.attempt, "failed", claim.model, error_code="timeout", error_detail="Late.")
        counts = self.model.open and claim.attempt == self.model.attempt
        with self.chats.runtime.database.transaction() as connection:
            assert (execute(connection, lifecycle.finish([end])) == {self.chat_id}) == counts
        if counts:
            self.model.status = "failed"

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), counted=st.booleans())
    def it_is_given_back(self, data: st.DataObject, counted: bool) -> None:
        claim = self.held(data)
        counts = self.model.status == "running" and claim.attempt == self.model.attempt
        with self.chats.runtime.database.transaction() as connection:
            given = execute(connection, lifecycle.release([Release(self.chat_id, claim.attempt, 1, counted=counted)]))
        assert (given == {self.chat_id}) == counts
        if counts:
            self.model.status = "queued"
            self.model.returned += 0 if counted else 1

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def a_heart_beats(self, data: st.DataObject) -> None:
        claim = self.held(data)
        with self.chats.runtime.database.transaction() as connection:
            still_open = claims.renew(connection, {self.chat_id: claim.attempt}, lease_seconds=30)
        assert bool(still_open) == self.model.open
        if self.model.status == "running" and claim.attempt == self.model.attempt and not self.model.late:
            self.model.lease_lost = False

    @precondition(lambda self: self.model.status == "running")
    @rule()
    def a_lease_runs_out(self) -> None:
        self.chats.catalogue.run("UPDATE llm_chats SET lease_until = now() - interval '1 second'")
        self.model.lease_lost = True

    @precondition(lambda self: self.model.status == "running")
    @rule()
    def another_takes_it_over(self) -> None:
        """What two rules in a row do, too: so that there are often several who may write."""
        self.a_lease_runs_out()
        self.is_claimed()

    @precondition(lambda self: self.model.open)
    @rule()
    def the_deadline_passes(self) -> None:
        self.chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() - interval '1 minute'")
        self.model.late = True

    @rule()
    def it_is_swept(self) -> None:
        with self.chats.runtime.database.transaction() as connection:
            sweeper.sweep(connection, max_attempts=MAX_ATTEMPTS)
        if self.model.open and self.model.late:
            self.model.status = "expired"
        elif self.model.status == "running" and self.model.lease_lost:
            self.model.status = "queued" if self.model.spent < MAX_ATTEMPTS else "failed"

    @rule()
    def it_is_cancelled(self) -> None:
        with self.chats.runtime.database.transaction() as connection:
            assert lifecycle.cancel(connection, self.chat_id, SERVICE) == self.model.open
        if self.model.open:
            self.model.status = "cancelled"

    @invariant()
    def the_row_is_what_the_model_says(self) -> None:
        row = self.chats.row(self.chat_id)
        assert (row["status"], row["answer"]) == (self.model.status, self.model.answer)
        assert (row["attempt"], row["attempts_returned"]) == (self.model.attempt, self.model.returned)
        assert (row["finished_at"] is None) == self.model.open

    @invariant()
    def it_is_counted_once_when_it_has_ended(self) -> None:
        assert self.counted() - self.counted_before == (0 if self.model.open else 1)


@pytest.mark.hypothesis
def test_a_chat_has_one_stored_end_whoever_writes_and_whenever(chats: Chats) -> None:
    run_state_machine_as_test(
        lambda: Fence(chats),
        settings=settings(
            max_examples=examples(20), stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
