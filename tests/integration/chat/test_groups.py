"""Group commits: what counts only after the commit, and who is held up by one that cannot be written."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from harness.waiting import wait_for
from shared.chat.batch_writer import BatchWriter
from shared.chat.chat_writes import ChatWrites
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish
from shared.chat.waiting import ParkedChat
from tests.integration.chat.conftest import Chats
from tests.support.stopping import stopped

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@contextmanager
def refused_by_postgresql(chats: Chats, chat_id: uuid.UUID, *, when: str) -> Iterator[None]:
    """PostgreSQL refuses whatever changes this chat: at once, or when the transaction commits."""
    deferred = "DEFERRABLE INITIALLY DEFERRED" if when == "commit" else "NOT DEFERRABLE"
    with psycopg.connect(chats.superuser_url, autocommit=True) as owner:
        owner.execute(
            "CREATE FUNCTION test_refuses() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$"
        )
        owner.execute(
            f"CREATE CONSTRAINT TRIGGER test_refuses AFTER UPDATE ON llm_chats {deferred}"
            f" FOR EACH ROW WHEN (NEW.id = '{chat_id}') EXECUTE FUNCTION test_refuses()".encode()
        )
        try:
            yield
        finally:
            owner.execute("DROP FUNCTION test_refuses CASCADE")


def claimed_in_one_group(
    chats: Chats, chat_ids: Collection[uuid.UUID], announced: list[uuid.UUID]
) -> list[ChatClaim | ParkedChat | None]:
    async def claim() -> list[ChatClaim | ParkedChat | None]:
        loop = asyncio.get_running_loop()

        def notify(chat_ids: Collection[uuid.UUID], *, still_open: bool = False) -> None:
            announced.extend(chat_ids)

        database = chats.runtime.database
        writes = ChatWrites(database, lease_seconds=30, max_attempts=3, notify=notify, lock_seconds=0.3)
        commits = BatchWriter(writes, loop)
        claims = [loop.create_task(commits.claim(chat_id)) for chat_id in chat_ids]
        await asyncio.sleep(0)  # all are ordered before the first group is made
        commits.start()
        try:
            return await asyncio.gather(*claims)
        finally:
            await asyncio.to_thread(commits.stop)

    return asyncio.run(claim())


def test_a_claim_whose_commit_fails_is_none(chats: Chats) -> None:
    chat_id = chats.submit()
    announced: list[uuid.UUID] = []
    with refused_by_postgresql(chats, chat_id, when="commit"):
        assert claimed_in_one_group(chats, [chat_id], announced) == [None]
    assert announced == []
    assert chats.row(chat_id)["status"] == "queued"


def test_one_that_cannot_be_written_takes_no_other_of_its_group_along(chats: Chats) -> None:
    bad, *good = [chats.submit() for _ in range(4)]
    announced: list[uuid.UUID] = []
    with refused_by_postgresql(chats, bad, when="at once"):
        refused, *claims = claimed_in_one_group(chats, [bad, *good], announced)
    assert refused is None
    assert [claim.chat_id for claim in claims if isinstance(claim, ChatClaim)] == good
    assert sorted(announced) == sorted(good)


def test_a_row_that_somebody_holds_keeps_no_other_from_being_claimed(chats: Chats) -> None:
    held, *free = [chats.submit() for _ in range(4)]
    with psycopg.connect(chats.superuser_url) as other:
        other.execute("SELECT FROM llm_chats WHERE id = %s FOR UPDATE", (held,))
        late, *claims = claimed_in_one_group(chats, [held, *free], [])
    assert late is None
    assert [claim.chat_id for claim in claims if isinstance(claim, ChatClaim)] == free


def test_an_end_is_told_before_chats_whose_model_changed_are_claimed(chats: Chats) -> None:
    ending, changed = chats.submit(), chats.submit()
    (under_way,) = claimed_in_one_group(chats, [ending], [])
    assert isinstance(under_way, ChatClaim)
    chats.catalogue.run("UPDATE llm_models SET matcha_llm_id = matcha_llm_id + 1000 WHERE is_default")
    may_claim = threading.Event()

    class ClaimsLate(ChatWrites):
        """What it takes to claim them may be long: a row that somebody holds, a PostgreSQL that is slow."""

        def claim_changed(self, chat_ids: list[uuid.UUID]) -> dict[uuid.UUID, ChatClaim]:
            may_claim.wait(20)
            return super().claim_changed(chat_ids)

    async def write() -> ChatClaim | ParkedChat | None:
        loop = asyncio.get_running_loop()
        database = chats.runtime.database
        writes = ClaimsLate(database, lease_seconds=30, max_attempts=3, notify=lambda *_, **__: None)
        commits = BatchWriter(writes, loop)
        claim = loop.create_task(commits.claim(changed))
        end = loop.create_task(
            commits.write(Finish(ending, 1, status="succeeded", model=under_way.model, answer="This."), retry_seconds=0)
        )
        await asyncio.sleep(0)  # both are ordered before the group is made
        commits.start()
        try:
            assert await asyncio.wait_for(end, 10)
            assert not claim.done()
            may_claim.set()
            return await claim
        finally:
            may_claim.set()
            await asyncio.to_thread(commits.stop)

    claimed = asyncio.run(write())
    assert isinstance(claimed, ChatClaim)
    assert claimed.chat_id == changed


@pytest.mark.fault
def test_a_claim_that_was_given_up_is_not_made_later(chats: Chats) -> None:
    chat_id = chats.submit()
    with psycopg.connect(chats.superuser_url, autocommit=True) as other:
        backends = [pid for (pid,) in other.execute(BACKENDS)]
        with stopped(backends):
            assert claimed_in_one_group(chats, [chat_id], []) == [None]
        wait_for(lambda: len([pid for (pid,) in other.execute(BACKENDS) if pid in backends]) < len(backends))
    assert chats.row(chat_id)["status"] == "queued"
