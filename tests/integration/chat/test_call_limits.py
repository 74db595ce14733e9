"""The gateway's limits in PostgreSQL: which calls may begin, and what gives their room back."""

from __future__ import annotations

import threading
import uuid

from harness.waiting import wait_for
from shared.chat import call_limits
from shared.chat.dispatch import DispatchLimits
from shared.clock import new_id
from shared.system_status import read_status
from tests.integration.chat.conftest import PROCESS, Chats

TWO_AT_ONCE = DispatchLimits(max_parallel=2)
THREE_A_MINUTE = DispatchLimits(requests_per_minute=3)


def begin(chats: Chats, limits: DispatchLimits, *, process_id: uuid.UUID = PROCESS) -> tuple[uuid.UUID, float]:
    call_id = new_id()
    with chats.runtime.database.transaction() as connection:
        seconds = call_limits.begin_call(
            connection, limits, call_id=call_id, process_id=process_id, chat_id=uuid.UUID(int=7)
        )
    return call_id, seconds


def end(chats: Chats, *call_ids: uuid.UUID) -> None:
    with chats.runtime.database.transaction() as connection:
        call_limits.end_calls(connection, call_ids)


def test_a_call_begins_when_another_has_ended(chats: Chats) -> None:
    first, _ = begin(chats, TWO_AT_ONCE)
    assert begin(chats, TWO_AT_ONCE)[1] == 0
    assert begin(chats, TWO_AT_ONCE)[1] == call_limits.SOON_SECONDS
    end(chats, first)
    assert begin(chats, TWO_AT_ONCE)[1] == 0


def test_chats_wait_fairly_while_the_minute_is_used_up(chats: Chats) -> None:
    chats.submit(runtime=chats.with_settings(matchaai_requests_per_minute=3))
    chats.catalogue.run(
        "UPDATE llm_chats SET dispatched_at = NULL, created_at = created_at - interval '2 minutes',"
        " publish_at = created_at"
    )

    def look() -> tuple[int, int]:
        with chats.runtime.database.transaction() as connection:
            status = read_status(connection, requests_per_minute=3)
        return status.chats_in_line, status.chats_waiting

    assert look() == (0, 1)
    end(chats, *(begin(chats, THREE_A_MINUTE)[0] for _ in range(3)))
    assert look() == (1, 0)


def test_calls_begun_at_the_same_time_never_exceed_the_limit(chats: Chats) -> None:
    begun: list[float] = []
    threads = [threading.Thread(target=lambda: begun.append(begin(chats, TWO_AT_ONCE)[1])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seconds == 0 for seconds in begun) == [False] * 4 + [True] * 2


def test_a_call_is_counted_before_another_one_is_allowed(chats: Chats) -> None:
    begun: list[float] = []
    other = threading.Thread(target=lambda: begun.append(begin(chats, TWO_AT_ONCE)[1]))
    with chats.runtime.database.transaction() as connection:
        for number in range(2):
            ids = {"call_id": new_id(), "process_id": PROCESS, "chat_id": uuid.UUID(int=number)}
            assert call_limits.begin_call(connection, TWO_AT_ONCE, **ids) == 0
        other.start()
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_for(lambda: begun or chats.catalogue.run(waiting), seconds=2)  # a transaction that does nothing ends
    other.join()
    assert begun == [call_limits.SOON_SECONDS]


def test_a_process_that_died_gives_its_calls_back_with_its_lease(chats: Chats) -> None:
    for _ in range(2):
        begin(chats, TWO_AT_ONCE)
    chats.catalogue.run("UPDATE llm_chat_processes SET lease_until = now() - interval '1 s'")
    assert begin(chats, TWO_AT_ONCE)[1] == 0


def test_starts_count_for_a_minute_though_their_calls_have_ended(chats: Chats) -> None:
    for _ in range(3):
        call_id, seconds = begin(chats, THREE_A_MINUTE)
        assert seconds == 0
        end(chats, call_id)
    _, seconds = begin(chats, THREE_A_MINUTE)
    assert 50 < seconds <= 61
    chats.catalogue.run("UPDATE llm_call_starts SET started_at = started_at - interval '60 s'")
    assert 0 < begin(chats, THREE_A_MINUTE)[1] <= 1
    chats.catalogue.run("UPDATE llm_call_starts SET started_at = started_at - interval '2 s'")
    assert begin(chats, THREE_A_MINUTE)[1] == 0


def test_what_could_not_be_written_is_corrected_and_old_calls_are_forgotten(chats: Chats) -> None:
    (lost, _), (going, _) = begin(chats, TWO_AT_ONCE), begin(chats, TWO_AT_ONCE)
    chats.catalogue.run("UPDATE llm_call_starts SET started_at = started_at - interval '200 s'")
    with chats.runtime.database.transaction() as connection:
        call_limits.end_other_calls(connection, PROCESS, [going])
    rows = chats.catalogue.run("SELECT id, ended_at FROM llm_call_starts")
    assert [(row["id"], row["ended_at"]) for row in rows] == [(going, None)], f"{lost} is over"
