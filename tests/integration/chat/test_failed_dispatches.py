"""Turns of a chat process's dispatcher that fail are counted in Redis, where `/metrics` reads them."""

from __future__ import annotations

from contextlib import ExitStack

from pydantic import SecretStr

from harness.waiting import wait_for
from shared.chat.dispatch import DispatchLimits
from shared.redis_store import RedisStore, connect
from tests.integration.chat.conftest import Chats
from worker.celery_app import make_celery
from worker.chat.dispatcher import Dispatcher, DispatchLoop, FailedTurns
from worker.runtime import Runtime

NOWHERE = "127.0.0.1:1"


def dispatching(runtime: Runtime, ending: ExitStack) -> None:
    """A loop that takes turns until the test ends."""
    app = make_celery(runtime.settings)
    ending.callback(app.close)
    loop = DispatchLoop(Dispatcher(app, runtime.database, DispatchLimits()), FailedTurns(runtime.store))
    loop.start()
    ending.callback(loop.stop)


def test_each_turn_that_fails_is_counted(chats: Chats) -> None:
    away = chats.with_settings(database_url=SecretStr(f"postgresql://nobody@{NOWHERE}/nothing"))
    with ExitStack() as ending:
        dispatching(away, ending)
        wait_for(lambda: chats.runtime.store.failed_dispatch_turns() >= 2)


def test_turns_that_succeed_are_not(chats: Chats) -> None:
    chat_id = chats.submit()
    chats.catalogue.run("UPDATE llm_chats SET dispatched_at = NULL, publish_at = now()")
    with ExitStack() as ending:
        dispatching(chats.runtime, ending)
        wait_for(lambda: chats.row(chat_id)["dispatched_at"] is not None)
    assert chats.runtime.store.failed_dispatch_turns() == 0


def test_what_redis_did_not_take_is_written_later(chats: Chats) -> None:
    class Away(RedisStore):
        """A store whose server comes back."""

        def __init__(self) -> None:
            self.current = RedisStore(connect(f"redis://{NOWHERE}/0"))

        def add_failed_dispatch_turns(self, number: int) -> None:
            self.current.add_failed_dispatch_turns(number)

    store = Away()
    failed_turns = FailedTurns(store)
    failed_turns.add()
    failed_turns.add()
    store.current = chats.runtime.store
    failed_turns.write()
    failed_turns.write()
    assert chats.runtime.store.failed_dispatch_turns() == 2
