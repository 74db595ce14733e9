"""An upstream that drips, falls silent or is down; and callers who change their minds."""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles

import jwt

from harness.chatting import System
from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem

SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"
DEAD, HEALTHY = "claude-3-5-sonnet", "gpt-4o"


def test_a_dripping_upstream_ends_at_the_deadline_and_its_socket_is_closed(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(CHAT_DEADLINE_SECONDS="6")
    system.start_chat_worker()
    system.gateway.behave(completions={"drip": "body", "drip_seconds": 0.5})
    began = time.monotonic()
    chat = system.ask()
    system.wait_for_calls(1)
    system.wait_until_ended(seconds=20)

    chat_row = system.chat(chat["id"])
    assert (chat_row["status"], chat_row["error"]["code"]) == ("failed", "timeout")
    system.gateway.wait_for_calls(lambda calls: calls["open"] == 0 and calls["closed_by_client"] == 1)
    report(seconds=round(time.monotonic() - began, 1), **system.check(succeeded=0))


def test_a_cancelled_call_is_closed_within_five_seconds(start_system: StartSystem, report: Report) -> None:
    system = start_system()
    system.start_chat_worker()
    system.gateway.behave(completions={"silent": True})
    chat = system.ask()
    system.wait_for_calls(1)

    began = time.monotonic()
    response = system.web.client.delete(f"/api/chats/{chat['id']}")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    system.gateway.wait_for_calls(lambda calls: calls["open"] == 0 and calls["closed_by_client"] == 1)
    closed = time.monotonic() - began

    assert closed < 5
    assert system.chat(chat["id"])["error"]["code"] == "cancelled"
    report(socket_closed_after=round(closed, 2), **system.check(succeeded=0))


def test_while_upstream_is_down_chats_wait_unspent_and_are_answered_when_it_returns(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(CHAT_RETRY_BASE_SECONDS="0.2")
    worker = system.start_chat_worker()
    system.gateway.behave(completions={"status": 503})
    system.ask_many(40)
    wait_for(lambda: "llm_chat.circuit_opened" in worker.output)
    wait_for(lambda: system.statuses()["queued"] >= 39)
    tried = system.gateway.calls()["completions"]
    wait_for(lambda: system.web.get("/readyz").json()["parts"]["matchaai"]["state"] == "down")
    assert system.web.get("/readyz").status_code == 200
    assert "llm_refresh_upstream_up 0.0" in system.web.get("/metrics").text
    wait_for(lambda: system.web.get("/readyz").json()["parts"]["workers"]["chat"] == 1)  # it has said that it lives
    examined = system.start(("llm-refresh", "doctor"))
    assert examined.wait() == 1
    assert "MatchaAI has not answered since" in examined.output
    assert "chats wait; nothing to do here" in examined.output
    assert "chats: none is stuck" in examined.output

    began = time.monotonic()
    system.gateway.behave()
    system.wait_until_ended(seconds=30)

    wait_for(lambda: "llm_refresh_upstream_up 1.0" in system.web.get("/metrics").text)
    attempts = system.query("SELECT max(attempt - attempts_returned) FROM llm_chats")[0][0]
    assert attempts == 1
    report(
        tried_while_down=tried,
        seconds=round(time.monotonic() - began, 1),
        **system.check(succeeded=40),
    )


def test_chats_that_upstream_never_answers_expire_with_their_cause(start_system: StartSystem, report: Report) -> None:
    system = start_system(CHAT_RETRY_BASE_SECONDS="0.2", CHAT_DEADLINE_SECONDS="8")
    system.start_chat_worker()
    system.gateway.behave(completions={"status": 503})
    system.ask_many(20)
    system.wait_until_ended(seconds=30)

    errors = system.query("SELECT status, error_code, error_cause FROM llm_chats")
    assert {row[:2] for row in errors} <= {("expired", "expired"), ("failed", "upstream_unavailable")}
    assert any("HTTP 503" in (row[2] or "") for row in errors)
    report(**system.check(succeeded=0))


def test_queued_chats_expire_although_no_chat_worker_lives(start_system: StartSystem, report: Report) -> None:
    system = start_system(CHAT_DEADLINE_SECONDS="4")
    system.start_refresh_worker()
    system.ask_many(10)
    system.wait_until_ended(seconds=30)

    report(**system.check(succeeded=0))


def token(subject: str) -> dict[str, str]:
    claims = {"sub": subject, "role": "authenticated", "exp": time.time() + 600}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}


def p95_of(system: System, name: str, number: int, **ask: str) -> float:
    """Seconds from question to answer, the 95th percentile of so many healthy chats, asked one after the other."""
    for each in range(number):
        system.ask(f"{name} number {each:03}?", headers=token("ben"), **ask)
    durations = f"SELECT finished_at - created_at FROM llm_chats WHERE question LIKE '{name}%' AND status = 'succeeded'"
    wait_for(lambda: len(system.query(durations)) == number, seconds=60)
    return float(round(quantiles([took.total_seconds() for (took,) in system.query(durations)], n=20)[-1], 2))


def test_beside_a_dead_model_with_more_chats_than_places_others_are_answered(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=0.5, JWT_SECRET=SECRET)
    system.start_chat_worker(concurrency=20)
    normal = p95_of(system, "Normal", 60, model=HEALTHY)

    system.gateway.behave(by_llm_id={25: {"status": 500}})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: system.ask(f"Dead {n:03}?", headers=token(f"caller {n}"), model=DEAD), range(60)))
    beside = p95_of(system, "Beside", 60, model=HEALTHY)
    waiting = system.query("SELECT count(*) FROM llm_chats WHERE status = 'queued' AND waiting_for = 'upstream'")
    assert waiting[0][0] >= 55  # the others are probes under way
    calls = system.gateway.calls()["completions"]

    system.gateway.behave()
    system.wait_until_ended(seconds=60)
    report(
        p95_normal=normal, p95_beside_a_dead_model=beside, calls_while_down=calls - 120, **system.check(succeeded=180)
    )


def test_a_caller_whose_questions_draw_errors_keeps_nobody_else_waiting(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system(delay=0.2, JWT_SECRET=SECRET, CHAT_DEADLINE_SECONDS="40")
    system.start_chat_worker(concurrency=20)
    normal = p95_of(system, "Normal", 40, model=HEALTHY)
    system.gateway.behave(by_words={"Poison": {"status": 500}})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: system.ask(f"Poison {n:03}?", headers=token("ann"), model=HEALTHY), range(200)))
    beside = p95_of(system, "Beside", 79, model=HEALTHY)
    calls = system.gateway.calls()["completions"]

    system.wait_until_ended(seconds=90)
    ends = system.query("SELECT status, error_code, count(*) FROM llm_chats GROUP BY 1, 2")
    report(p95_normal=normal, p95_beside=beside, calls_by_then=calls - 119, ends=ends, **system.check(succeeded=119))
