"""Following a chat: whole events, from the first second to the last."""

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any, cast

import pytest

from shared.chat import read
from shared.db import Database, Rows, Statement
from shared.redis_store import RedisStore, connect
from tests.integration.chat.conftest import ANN, Chats, wait_for
from worker.web import readers as events
from worker.web.readers import Readers
from worker.web.stopping import Stopping


class Looks:
    """In front of a database: remembers which chats its readers looked up."""

    def __init__(self, chats: Chats) -> None:
        self._chats = chats
        self._under_way = 0
        self.looked: list[list[uuid.UUID]] = []

    def run(self, statement: Statement, **options: Any) -> list[Rows]:
        self.looked.append(next(iter(statement.values)))
        self._under_way += 1
        try:
            return self._chats.runtime.database.run(statement, **options)
        finally:
            self._under_way -= 1

    def readers(self, store: RedisStore) -> Readers:
        readers = Readers(cast(Database, self), store)
        readers.start()
        # After the last watch no look begins; one that outlives the database would leave its connection behind.
        self._chats.ending.callback(wait_for, lambda: self._under_way == 0)
        return readers


class Stream:
    """The events of one chat, read as they come."""

    def __init__(self, chats: Chats, chat_id: uuid.UUID, last: str | None = None) -> None:
        headers = {} if last is None else {"Last-Event-ID": last}
        self.response = chats.call("GET", f"/api/chats/{chat_id}/events", ANN, headers=headers, buffered=False)
        self._chunks: Iterator[bytes] = iter(self.response.response)

    def next(self) -> str:
        """The next comment or event, whole."""
        chunk = next(self._chunks).decode()
        assert chunk.endswith("\n\n")
        return chunk

    def event(self) -> tuple[str, str, dict[str, Any]]:
        """(id, kind, data) of the next event, comments left out."""
        while (chunk := self.next()).startswith(":"):
            pass
        lines = dict(line.split(": ", 1) for line in chunk.strip().splitlines())
        return lines["id"], lines["event"], json.loads(lines["data"])

    def over(self) -> bool:
        return next(self._chunks, None) is None


@pytest.fixture
def following(chats: Chats) -> Chats:
    chats.readers.start()
    return chats


def in_background(chats: Chats, chat_id: uuid.UUID) -> threading.Thread:
    thread = threading.Thread(target=chats.process().run, args=(chat_id,))
    thread.start()
    return thread


def test_a_reader_gets_a_comment_at_once_then_each_state_and_the_answer(following: Chats) -> None:
    following.gateway.behave(completions={"delay": 0.5})
    chat_id = following.accepted()
    stream = Stream(following, chat_id)
    assert stream.response.content_type.startswith("text/event-stream")
    assert stream.next().startswith(":")
    number, kind, data = stream.event()
    assert (number, kind, data["status"]) == ("1", "status", "queued")
    thread = in_background(following, chat_id)
    number, kind, data = stream.event()
    assert (number, kind, data["status"]) == ("2", "status", "running")
    number, kind, data = stream.event()
    assert (number, kind, data) == ("3", "answer", following.shown(chat_id, ANN))
    assert stream.over()
    thread.join()


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_what_ends_without_an_answer_ends_in_an_error_event(following: Chats, how: str) -> None:
    following.gateway.behave(completions={"status": 401})
    chat_id = following.accepted()
    stream = Stream(following, chat_id)
    stream.event()
    if how == "failed":
        following.process().run(chat_id)
    else:
        following.call("DELETE", f"/api/chats/{chat_id}")
    while (event := stream.event())[1] == "status":
        pass
    assert (event[1], event[2]["status"]) == ("error", how)
    assert stream.over()


def test_a_returning_reader_gets_unseen_events_only(
    following: Chats,
) -> None:
    chat_id = following.accepted()
    following.process().run(chat_id)
    late = Stream(following, chat_id)
    number, kind, _ = late.event()
    assert (number, kind, late.over()) == ("3", "answer", True)
    assert Stream(following, chat_id, last="1").event()[0] == "3"
    assert Stream(following, chat_id, last="no number").event()[0] == "3"
    response = following.call("GET", f"/api/chats/{chat_id}/events", headers={"Last-Event-ID": "3"})
    assert (response.status_code, response.data) == (204, b"")


def test_a_reader_that_says_it_has_seen_the_future_gets_the_end_all_the_same(following: Chats) -> None:
    chat_id = following.accepted()
    stream = Stream(following, chat_id, last="999")
    stream.next()
    following.call("DELETE", f"/api/chats/{chat_id}")
    assert stream.event()[1] == "error"
    assert stream.over()


def test_a_waiting_reader_hears_something_every_few_seconds(following: Chats) -> None:
    stream = Stream(following, following.accepted())
    stream.event()
    assert stream.next().startswith(":")


def test_a_post_that_waits_gets_the_answer(following: Chats) -> None:
    responses: list[Any] = []
    ask = threading.Thread(target=lambda: responses.append(following.ask(headers={"Prefer": "wait=20"})))
    ask.start()
    wait_for(lambda: following.sent.chat_ids)
    following.process().run(following.sent.chat_ids[0])
    ask.join()
    (response,) = responses
    assert (response.status_code, response.json["status"]) == (200, "succeeded")


def test_a_post_that_waits_no_longer_than_it_was_to_gets_the_open_chat(following: Chats) -> None:
    response = following.ask(headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json["status"]) == (202, "queued")


def test_readers_without_wake_ups_find_out_with_one_query_for_all(chats: Chats) -> None:
    looks = Looks(chats)
    deaf = looks.readers(RedisStore(connect("redis://127.0.0.1:1/0")))
    chat_ids = [chats.submit() for _ in range(20)]
    process = chats.process()
    for chat_id in chat_ids:
        process.run(chat_id)
    watches = [chats.ending.enter_context(deaf.watching(chat_id)) for chat_id in chat_ids]
    snapshots = [watch.wait(10) for watch in watches]
    assert [snapshot.status for snapshot in snapshots if snapshot is not None] == ["succeeded"] * 20
    assert [sorted(looked) for looked in looks.looked] == [sorted(chat_ids)]


def test_who_waits_for_the_end_is_not_woken_by_other_changes(chats: Chats) -> None:
    looks = Looks(chats)
    readers = looks.readers(chats.runtime.store)
    waiting, following, unchanged = (chats.submit() for _ in range(3))
    chats.ending.enter_context(readers.watching(waiting, only_end=True))
    chats.ending.enter_context(readers.watching(following))
    chats.ending.enter_context(readers.watching(unchanged))  # in the looks at all that are made now and then

    def woken(chat_id: uuid.UUID, *, still_open: bool) -> bool:
        chats.runtime.store.publish_chat_changes([chat_id], still_open=still_open)
        return any(chat_id in looked and unchanged not in looked for looked in looks.looked)

    wait_for(lambda: woken(following, still_open=True))  # it listens now, and messages come in their order
    looks.looked.clear()
    assert not woken(waiting, still_open=True)
    wait_for(lambda: woken(following, still_open=True))
    assert not woken(waiting, still_open=True)
    wait_for(lambda: woken(waiting, still_open=False))


def test_a_watch_offers_the_newest_state_alone_and_none_twice(chats: Chats) -> None:
    chat_id = chats.submit()
    watch = events.Watch(chat_id, Stopping())
    with chats.runtime.database.transaction() as connection:
        first = read.find(connection, chat_id)
        chats.catalogue.run("UPDATE llm_chats SET version = 5 WHERE id = :id", id=chat_id)
        later = read.find(connection, chat_id)
    assert first is not None
    assert later is not None
    for snapshot in (later, first, later):
        watch.offer(snapshot)
    assert watch.wait(0) == later
    watch.offer(later)
    assert watch.wait(0) is None
