"""Chat workers that are killed, stopped and told to go, in the middle of calls."""

import signal
import time

from celery import Celery

from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem
from tests.support.stopping import stopped


def test_sixty_chats_survive_a_kill_9_and_a_flushall_at_once(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=4)
    system.start_refresh_worker()
    worker = system.start_chat_worker()
    system.ask_many(60)
    system.wait_for_calls(60)

    began = time.monotonic()
    worker.signal(signal.SIGKILL)
    with system.redis() as client:
        client.flushdb()
    worker.wait()
    system.start_chat_worker(wait=False)  # as whoever watches over the processes does
    system.wait_until_ended(seconds=60)

    report(seconds=round(time.monotonic() - began, 1), **system.check(succeeded=60))


def test_chats_that_wait_in_redis_survive_a_flushall(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=0.2)
    with stopped([system.start_chat_worker().pid]):  # it has places, and takes no message but one that it asked for
        system.ask_many(40)
        with system.redis() as client:
            wait_for(lambda: client.llen("chat") >= 39)
            client.flushdb()
        began = time.monotonic()
    system.wait_until_ended(seconds=40)

    report(seconds=round(time.monotonic() - began, 1), **system.check(succeeded=40))


def test_sigterm_calls_no_chat_twice_whose_call_ends_within_the_drain(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=5)
    going = system.start_chat_worker()
    coming = system.start_chat_worker()
    system.ask_many(30)
    system.wait_for_calls(30)

    going.signal(signal.SIGTERM)
    assert going.wait(35) == 0
    system.wait_until_ended(seconds=30)

    figures = system.check(succeeded=30)
    assert figures["called again"] == 0
    assert coming.exit_code is None
    report(**figures)


def test_sigterm_gives_longer_calls_to_others_and_counts_no_attempt(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=36)
    going = system.start_chat_worker()
    system.ask_many(5)
    system.wait_for_calls(5)
    system.gateway.behave(completions={"delay": 0.2})  # the calls that have begun stay as slow as they are
    system.start_chat_worker()

    began = time.monotonic()
    going.signal(signal.SIGTERM)
    assert going.wait(40) == 0
    drained = time.monotonic() - began
    system.wait_until_ended(seconds=30)

    figures = system.check(succeeded=5)
    assert 29 < drained < 35
    assert all(system.chat(chat_id)["attempts"] == 1 for chat_id in system.questions)
    report(drained_after=round(drained, 1), **figures)


def test_a_stopped_worker_that_wakes_after_its_lease_writes_nothing(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=4, CHAT_LEASE_SECONDS="3")
    zombie = system.start_chat_worker()
    system.ask_many(10)
    system.wait_for_calls(10)

    zombie.signal(signal.SIGSTOP)
    system.start_chat_worker()
    system.wait_until_ended(seconds=40)
    before = system.query("SELECT id, version, answer, attempt, finished_at FROM llm_chats ORDER BY id")
    zombie.signal(signal.SIGCONT)
    wait_for(lambda: zombie.output.count("llm_chat.fenced") + zombie.output.count("llm_chat.call_closed") == 10)

    assert system.query("SELECT id, version, answer, attempt, finished_at FROM llm_chats ORDER BY id") == before
    assert {row[3] for row in before} == {2}
    report(**system.check(succeeded=10))


def test_a_worker_that_has_just_started_leaves_leases_to_those_who_still_work(
    start_system: StartSystem, report: Report
) -> None:
    lease = 10
    system = start_system(delay=45, CHAT_LEASE_SECONDS=str(lease))
    alive = system.start_chat_worker()
    system.ask_many(20)
    system.wait_for_calls(20)

    with stopped([alive.pid]):  # nobody could renew, as while PostgreSQL is away, and nobody saw it
        time.sleep(2 * lease + 1)
        system.start_chat_worker()  # returns when it consumes: its first sweep was before that, or is about now
    system.wait_until_ended(seconds=60)

    figures = system.check(succeeded=20)
    assert figures["called again"] == 0
    report(**figures)


def test_a_chat_that_kills_each_worker_is_given_up_and_takes_no_other_along(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(CHAT_LEASE_SECONDS="2", CHAT_MAX_ATTEMPTS="3")
    system.start_refresh_worker()
    system.gateway.behave(by_llm_id={25: {"silent": True}})
    poison = system.ask("I kill whoever takes me.", model="claude-3-5-sonnet")["id"]
    for attempt in (1, 2, 3):
        worker = system.start_chat_worker(wait=False)
        wait_for(lambda attempt=attempt: system.chat(poison)["attempts"] == attempt, seconds=40)
        worker.signal(signal.SIGKILL)
        worker.wait()
    wait_for(lambda: system.chat(poison)["status"] == "failed", seconds=20)
    system.start_chat_worker()
    system.ask("I do not.")
    system.wait_until_ended(seconds=20)

    assert system.chat(poison)["error"]["code"] == "attempts_exhausted"
    report(**system.check(succeeded=1))


def test_a_foreign_message_without_a_queue_wakes_a_chat_a_wrong_one_harms_none(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system()
    refresh = system.start_refresh_worker()
    chat_id = system.ask()["id"]
    system.query("UPDATE llm_chats SET publish_at = now() + interval '1 hour'")  # nobody shall dispatch it
    system.start_chat_worker()
    foreign = Celery(broker=system.variables["REDIS_URL"])
    foreign.conf.task_ignore_result = True
    foreign.send_task("llm.chat", args=["no id at all"])
    foreign.send_task("llm.chat", args=[chat_id])
    foreign.close()
    system.wait_until_ended(seconds=30)

    assert refresh.exit_code is None
    report(**system.check(succeeded=1))
