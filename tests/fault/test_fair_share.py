"""Fair share and the gateway's limits with real processes: what waits, who goes first, and what no fault may break."""

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import jwt

from harness.chatting import System
from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem
from tests.support.stopping import stopped

SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"
IN_PLACES = "SELECT count(*) FROM llm_chats WHERE dispatched_at IS NOT NULL AND finished_at IS NULL"


def token(subject: str) -> dict[str, str]:
    claims = {"sub": subject, "role": "authenticated", "exp": time.time() + 600}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}


def flood(system: System, subject: str, number: int) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        responses = pool.map(lambda n: system.ask(f"{subject} {n:04}?", headers=token(subject)), range(number))
        return [chat["id"] for chat in responses]


def messages(system: System) -> int:
    """Messages that Redis holds."""
    with system.redis() as client:
        return int(client.llen("chat"))


def test_a_guest_is_answered_before_a_flood_and_redis_holds_no_more_than_the_places(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=1.0, JWT_SECRET=SECRET)
    system.start_chat_worker(concurrency=10)
    system.start_chat_worker(concurrency=10)
    flood(system, "flood", 300)
    most = messages(system)
    guest = system.ask("May I?", headers=token("guest"))["id"]
    finished = f"SELECT finished_at FROM llm_chats WHERE id = '{guest}'"
    while system.query(finished)[0][0] is None:
        most = max(most, messages(system))
    before = system.query(f"""
        SELECT count(*) FROM llm_chats WHERE subject = 'flood' AND finished_at > (
          SELECT created_at FROM llm_chats WHERE id = '{guest}') AND finished_at < ({finished})
    """)[0][0]
    waited = system.query(f"SELECT extract(epoch FROM finished_at - created_at) FROM llm_chats WHERE id = '{guest}'")
    assert most <= 20 + 3
    assert before <= 3 * 23, "the places and the reserve empty themselves twice at most until the guest is answered"
    system.wait_until_ended(seconds=120)
    figures = system.check(succeeded=301)
    assert figures["called again"] == 0
    report(guest_seconds=round(float(waited[0][0]), 2), flood_before=before, messages=most, **figures)


def test_two_floods_survive_a_kill_9_a_flushall_and_a_stopped_process(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=1.0, JWT_SECRET=SECRET, CHAT_LEASE_SECONDS="6")
    system.start_refresh_worker()
    killed = system.start_chat_worker(concurrency=8)
    frozen = system.start_chat_worker(concurrency=8)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda subject: flood(system, subject, 60), ("ann", "ben")))

    killed.signal(signal.SIGKILL)
    with system.redis() as client:
        client.flushdb()
    killed.wait()
    system.start_chat_worker(concurrency=8)
    most = system.query(IN_PLACES)[0][0]
    with stopped([frozen.pid]):
        wait_for(lambda: system.statuses()["succeeded"] >= 70, seconds=90)
    system.wait_until_ended(seconds=120)

    figures = system.check(succeeded=120)
    first = system.query("SELECT subject FROM llm_chats ORDER BY finished_at LIMIT 80")
    shares = Counter(subject for (subject,) in first)
    assert min(shares.values()) >= 30, shares
    report(in_places=most, shares=dict(shares), **figures)


def test_a_flood_that_waits_gets_no_second_message(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=3.0, JWT_SECRET=SECRET)
    system.start_refresh_worker()
    system.start_chat_worker(concurrency=4)
    flood(system, "flood", 24)
    system.wait_until_ended(seconds=90)  # the last ones wait much longer than upkeep's pause
    assert system.query("SELECT max(publishes) FROM llm_chats") == [(1,)]
    report(**system.check(succeeded=24))


def test_the_gateway_never_has_more_calls_than_it_takes(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=0.5, JWT_SECRET=SECRET, MATCHAAI_MAX_PARALLEL="5")
    for _ in range(2):
        system.start_chat_worker(concurrency=20)
    chats = flood(system, "flood", 60)
    system.wait_for_calls(5)
    for chat_id in system.query("SELECT id::text FROM llm_chats WHERE status = 'running' LIMIT 3"):
        system.web.client.delete(f"/api/chats/{chat_id[0]}", headers=token("flood"))  # its call is open for a while
    wait_for(lambda: any(system.web.client.get(f"/api/chats/{each}", headers=token("flood")).json()["waiting_for"]
                         == "limit" for each in chats[-3:]))  # fmt: skip
    system.wait_until_ended(seconds=120)
    assert system.gateway.calls()["most_open"] == 5
    figures = system.check()
    assert figures["succeeded"] >= 57
    report(**figures)


def test_the_gateway_never_has_more_starts_in_a_minute_than_it_takes(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=0.1, JWT_SECRET=SECRET, MATCHAAI_REQUESTS_PER_MINUTE="20")
    for _ in range(2):
        system.start_chat_worker(concurrency=20)
    system.gateway.behave(completions={"status": 503, "times": 3})  # what is tried again counts as well
    flood(system, "flood", 30)
    wait_for(lambda: system.statuses()["succeeded"] == 30, seconds=100)
    starts = [each["at"] for each in system.gateway.calls()["requests"] if each["method"] == "POST"]
    within_a_minute = max(sum(begin <= at < begin + 60 for at in starts) for begin in starts)
    assert within_a_minute <= 20
    assert len(starts) == 33
    report(within_a_minute=within_a_minute, **system.check(succeeded=30))


def test_sixty_chats_pass_six_seconds_of_429_with_few_calls(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=0.2)
    worker = system.start_chat_worker(concurrency=40)
    system.gateway.behave(completions={"status": 429, "retry_after": "1"})
    system.ask_many(60)
    wait_for(lambda: "llm_chat.paused" in worker.output)
    time.sleep(6)
    refused = system.gateway.calls()["completions"]
    assert system.query("SELECT count(*) FROM llm_chats WHERE status = 'running'")[0][0] <= 1, "no place is held"
    system.gateway.behave()
    system.wait_until_ended(seconds=60)
    assert system.gateway.calls()["completions"] < 110
    assert system.query("SELECT max(attempt - attempts_returned) FROM llm_chats") == [(1,)]
    report(refused=refused, **system.check(succeeded=60))
