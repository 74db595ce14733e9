"""PostgreSQL and Redis that die, fall silent and come back, while chats are asked and answered."""

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from harness.chatting import System
from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem


def postgres_pid(system: System) -> int:
    return int(system.query("SELECT pg_read_file('postmaster.pid')")[0][0].split()[0])


def test_answers_outlive_an_immediate_restart_of_postgresql_while_calls_finish(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=3)
    system.start_refresh_worker()
    system.start_chat_worker()
    system.ask_many(50)
    system.wait_for_calls(50)

    os.kill(postgres_pid(system), signal.SIGQUIT)  # what `pg_ctl restart -m immediate` sends; it is started again
    began = time.monotonic()

    def ended() -> bool:
        try:
            statuses = system.statuses()
        except psycopg.OperationalError:
            return False
        return not statuses["queued"] and not statuses["running"]

    wait_for(ended, seconds=60)
    figures = system.check(succeeded=50)
    assert figures["called again"] == 0
    report(seconds=round(time.monotonic() - began, 1), **figures)


def test_redis_killed_with_a_full_queue_loses_no_chat(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=0.3)
    system.start_refresh_worker()
    system.start_chat_worker(concurrency=10)
    system.ask_many(60)
    system.wait_for_calls(5)

    with system.redis() as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGKILL)  # it comes back empty: in tests nothing of it is kept
    began = time.monotonic()
    system.wait_until_ended(seconds=90)

    report(seconds=round(time.monotonic() - began, 1), **system.check(succeeded=60))


def test_a_silent_redis_delays_no_post_and_loses_no_chat(start_system: StartSystem, report: Report) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:  # accepts, and never answers
        system = start_system(delay=0.2, start_web=False)
        system.web = system.start_web(REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        system.start_chat_worker()
        took = []
        for number in range(30):
            began = time.monotonic()
            system.ask(f"Question number {number:04}?")
            took.append(time.monotonic() - began)
        system.wait_until_ended(seconds=40)

        assert max(took) < 1.5  # one exchange with this Redis takes two seconds
        report(slowest_post_ms=round(max(took) * 1000), **system.check(succeeded=30))


def test_chats_asked_while_postgresql_is_away_are_refused_and_none_is_half_there(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system()
    system.start_chat_worker()
    os.kill(postgres_pid(system), signal.SIGQUIT)
    refused = 0
    for number in range(400):
        question = f"Question number {number:04}?"
        response = system.web.post("/api/chasen/chat", json={"question": question})
        if response.status_code == 202:
            system.questions[response.json()["id"]] = question
            if len(system.questions) == 20:
                break
        else:
            assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
            refused += 1
            time.sleep(0.05)
    system.wait_until_ended(seconds=40)

    report(refused=refused, **system.check(succeeded=20))


def test_an_accepted_question_is_not_refused_when_postgresql_goes_away(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=6)
    system.start_chat_worker()
    name = system.query("SELECT current_database()")[0][0]
    outside = system.database_url.replace(f"/{name}", "/postgres")
    with ThreadPoolExecutor() as pool, psycopg.connect(outside, autocommit=True) as server:
        asking = pool.submit(lambda: system.ask("Which?", headers={"Prefer": "wait=3"}))
        system.wait_for_calls(1)
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        accepted = asking.result()
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    system.wait_until_ended(seconds=40)

    assert accepted["status"] in ("queued", "running")
    report(**system.check(succeeded=1))
