"""A default that upstream drops between two syncs, on real processes, while Redis loses every message."""

import time

from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem


def test_a_dropped_default_is_replaced_within_a_minute_though_redis_is_wiped(
    start_system: StartSystem, report: Report
) -> None:
    system = start_system()
    system.start_refresh_worker()
    system.start_chat_worker()
    names = system.query("SELECT matcha_llm_id, model_name FROM llm_models WHERE NOT is_default")
    (default,) = system.query("SELECT matcha_llm_id FROM llm_models WHERE is_default")
    system.gateway.set_models([{"id": id_, "name": name} for id_, name in names])

    began = time.monotonic()
    chats = [system.ask(f"Question number {number}?", headers={"Prefer": "wait=20"}) for number in range(20)]
    assert {chat["status"] for chat in chats} == {"succeeded"}
    assert {chat["model"]["reason"] for chat in chats} == {"unknown_upstream"}
    answered = time.monotonic() - began

    runs = "SELECT status FROM llm_sync_runs WHERE trigger = 'refusal'"
    wait_for(lambda: system.query(runs), seconds=60)
    with system.redis() as client:
        client.flushdb()
    wait_for(lambda: system.query(runs) == [("succeeded",)], seconds=90)
    refreshed = time.monotonic() - began
    assert system.query("SELECT is_active FROM llm_models WHERE NOT is_active") == [(False,)]
    assert system.query("SELECT matcha_llm_id FROM llm_models WHERE is_default") != [default]
    after = system.ask("And now?", headers={"Prefer": "wait=20"})
    assert (after["status"], after["model"]["fallback"]) == ("succeeded", False)
    figures = system.check(succeeded=21)
    calls = [call["body"]["llm_id"] for call in system.gateway.calls()["requests"] if call["method"] == "POST"]
    report(
        answered_after=round(answered, 1),
        refreshed_after=round(refreshed, 1),
        asked_of_the_dropped=calls.count(default[0]),
        runs=1,
        **figures,
    )
