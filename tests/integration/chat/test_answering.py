"""From an accepted chat to its one answer: what goes upstream, by which model, and what is told of it."""

import io
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from shared.catalogue import resolve
from tests.integration.chat.conftest import BEN, Chats, wait_for
from worker.chat.process import ChatProcess


def sent(chats: Chats) -> list[dict[str, Any]]:
    return [request["body"] for request in chats.gateway.calls()["requests"] if request["method"] == "POST"]


def model_of(chat: dict[str, Any]) -> tuple[Any, ...]:
    return chat["model_key"], chat["matcha_llm_id"], chat["fallback_reason"]


def test_the_specifications_own_call_reaches_the_upstream_with_its_llm_id(chats: Chats) -> None:
    chat = chats.answered("What is up?", model="claude-3-5-sonnet", systemPrompt="Be brief.")
    assert sent(chats) == [{"mission_id": 7, "llm_id": 25, "input": "Be brief.\n\nWhat is up?"}]
    assert (chat["status"], model_of(chat)) == ("succeeded", ("claude-3-5-sonnet", 25, None))
    assert "What is up?" in chat["answer"]
    assert (chat["attempt"], chat["tries"]) == (1, 1)


def test_history_comes_in_order_before_the_question(chats: Chats) -> None:
    history = [{"role": "user", "content": "First."}, {"role": "assistant", "content": "Second."}]
    chats.answered("Third?", history=history)
    (body,) = sent(chats)
    prompt = body["input"]
    assert prompt.index("First.") < prompt.index("Second.") < prompt.index("Third?")
    assert prompt.endswith("Third?")


def test_the_other_model_field_and_the_request_id_go_along(chats: Chats) -> None:
    chats.answered(headers={"X-Request-ID": "from-outside"}, settings={"matchaai_model_field": "options.responseLLM"})
    (request,) = [request for request in chats.gateway.calls()["requests"] if request["method"] == "POST"]
    assert request["body"] == {"mission_id": 7, "options": {"responseLLM": 28}, "input": "Which?"}
    assert request["headers"]["x-request-id"] == "from-outside"


def test_without_a_model_the_default_answers_and_that_is_no_fallback(chats: Chats) -> None:
    assert model_of(chats.answered()) == ("claude-3-7-sonnet", 28, None)


def test_the_log_names_the_model_of_the_callers_list_that_answers_instead(chats: Chats, log: io.StringIO) -> None:
    assert model_of(chats.answered(models=["claude-9", "gpt-4o"])) == ("gpt-4o", 40, "unknown_key")
    assert "[ChaSen Chat] Model claude-9 not found, using gpt-4o (ID: 40)" in log.getvalue()


def test_an_unknown_key_falls_back_and_everyone_is_told(chats: Chats, log: io.StringIO) -> None:
    chat = chats.answered(model="claude-9")
    assert model_of(chat) == ("claude-3-7-sonnet", 28, "unknown_key")
    shown = chats.shown(chat["id"])["model"]
    assert (shown["requested"], shown["fallback"], shown["reason"]) == ("claude-9", True, "unknown_key")
    assert "[ChaSen Chat] Model claude-9 not found, using default (ID: 28)" in log.getvalue()
    assert "[ChaSen Chat] Using model: claude-3-7-sonnet (MatchaAI LLM ID: 28)" in log.getvalue()
    (usage,) = chats.call("GET", "/api/llms/usage?days=1").json["usage"]
    assert (usage["successes"], usage["fallbacks"]) == (1, {"unknown_key": 1})


def test_an_inactive_key_falls_back_with_that_reason(chats: Chats) -> None:
    chats.catalogue.run("UPDATE llm_models SET is_active = false WHERE matcha_llm_id = 25")
    assert model_of(chats.answered(model="claude-3-5-sonnet")) == ("claude-3-7-sonnet", 28, "inactive_key")


def test_a_retired_key_falls_back_and_tells_what_has_its_id_now(chats: Chats) -> None:
    chats.catalogue.run("UPDATE llm_models SET model_key = 'gpt-9', model_name = 'GPT-9' WHERE matcha_llm_id = 40")
    for after in ('{"model_key": "gpt-8", "model_name": "GPT-8"}', '{"model_key": "gpt-9", "model_name": "GPT-9"}'):
        chats.catalogue.run(
            "INSERT INTO llm_model_changes (kind, matcha_llm_id, model_key, before, after, actor)"
            " VALUES ('repointed', 40, 'x', '{\"model_key\": \"gpt-4o\"}', CAST(:after AS jsonb), 'test')",
            after=after,
        )
    chat = chats.answered(model="gpt-4o")
    assert model_of(chat) == ("claude-3-7-sonnet", 28, "retired_key")
    story = chats.shown(chat["id"])["model"]["story"]
    assert story.pop("at")
    assert story == {"kind": "repointed", "matcha_llm_id": 40, "model_name": "GPT-9", "model_key": "gpt-9"}


def test_a_key_that_changed_its_meaning_while_the_chat_waited_is_resolved_again(chats: Chats) -> None:
    moved = chats.accepted("Moved?", model="gpt-4o")
    gone = chats.accepted("Gone?", model="claude-3-5-sonnet")
    chats.catalogue.run("UPDATE llm_models SET matcha_llm_id = 99 WHERE model_key = 'gpt-4o'")
    chats.catalogue.run("UPDATE llm_models SET is_active = false WHERE model_key = 'claude-3-5-sonnet'")
    chats.gateway.set_models([{"id": 28, "name": "Claude 3.7 Sonnet"}, {"id": 99, "name": "GPT-4o"}])
    process = chats.process()
    for chat_id in (moved, gone):
        process.run(chat_id)
    assert model_of(chats.row(moved)) == ("gpt-4o", 99, None)
    assert model_of(chats.row(gone)) == ("claude-3-7-sonnet", 28, "inactive_key")
    assert [body["llm_id"] for body in sent(chats)] == [99, 28]


def test_a_model_that_upstream_does_not_know_is_answered_by_the_default_and_flagged(chats: Chats) -> None:
    chats.gateway.set_models([{"id": 28, "name": "Claude 3.7 Sonnet"}])
    chats.catalogue.run("UPDATE llm_catalogue_version SET settled_inputs = 'settled'")
    chat = chats.answered(model="claude-3-5-sonnet")
    assert (chat["status"], model_of(chat), chat["attempt"], chat["tries"]) == (
        "succeeded",
        ("claude-3-7-sonnet", 28, "unknown_upstream"),
        1,
        2,
    )
    assert [body["llm_id"] for body in sent(chats)] == [25, 28]
    flagged = chats.catalogue.run("SELECT matcha_llm_id FROM llm_models WHERE unknown_upstream_at IS NOT NULL")
    assert [row["matcha_llm_id"] for row in flagged] == [25]
    assert chats.catalogue.run("SELECT settled_inputs FROM llm_catalogue_version")[0]["settled_inputs"] is None


@pytest.fixture(autouse=True)
def all_models(chats: Chats) -> None:
    chats.gateway.set_models([{"id": row, "name": "A model"} for row in (25, 28, 30, 35, 40)])


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ({"status": 400, "error": "The prompt is too long."}, "prompt_too_long"),
        ({"shape": "error", "error": "No."}, "upstream_rejected"),
        ({"status": 401}, "unauthorised"),
        ({"body": "not JSON", "content_type": "application/json"}, "upstream_not_json"),
        ({"shape": "none"}, "upstream_shape"),
    ],
)
def test_what_is_permanent_is_tried_once_and_named(chats: Chats, behaviour: dict[str, Any], code: str) -> None:
    chats.gateway.behave(completions=behaviour)
    chat = chats.answered()
    assert (chat["status"], chat["error_code"], chat["attempt"], chat["tries"]) == ("failed", code, 1, 1)
    assert chats.shown(chat["id"])["error"]["detail"]


@pytest.mark.parametrize(
    "behaviour",
    [
        {"status": 503},
        {"html": True},
        {"reset": "before_answer"},
        {"status": 429},
        {"truncated": True, "no_length": True},
        {"reset": "in_answer", "no_length": True},
        {"body": ""},
    ],
)
def test_what_may_pass_is_tried_again_within_the_same_attempt(chats: Chats, behaviour: dict[str, Any]) -> None:
    chats.gateway.behave(completions={**behaviour, "times": 2})
    chat = chats.answered()
    assert (chat["status"], chat["attempt"], chat["tries"]) == ("succeeded", 1, 3)


def test_a_chat_given_to_a_process_twice_and_to_another_is_answered_once(chats: Chats) -> None:
    chats.gateway.behave(completions={"delay": 0.5})
    one, other = chats.process(), chats.process()
    chat_id = chats.accepted()
    threads = [threading.Thread(target=process.run, args=(chat_id,)) for process in (one, one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.run(chat_id)
    assert chats.gateway.calls()["completions"] == 1
    row = chats.row(chat_id)
    assert (row["status"], row["attempt"], row["version"]) == ("succeeded", 1, 3)


def test_prompts_and_answers_are_in_no_log_line(chats: Chats, log: io.StringIO) -> None:
    chats.answered("the-secret-question", systemPrompt="the-secret-prompt")
    chats.gateway.behave(completions={"status": 400, "error": "no, the-secret-question is bad"})
    chats.answered("the-secret-question", systemPrompt="the-secret-prompt")
    assert "llm_chat.answered" in log.getvalue()
    assert "llm_chat.failed" in log.getvalue()
    assert "the-secret" not in log.getvalue()


def test_a_call_is_closed_when_its_chat_is_cancelled(chats: Chats) -> None:
    chats.gateway.behave(completions={"silent": True})
    chat_id = chats.accepted()
    process = chats.process(chat_lease_seconds=3)
    thread = threading.Thread(target=process.run, args=(chat_id,))
    thread.start()
    chats.gateway.wait_for_calls(lambda calls: calls["open"] == 1)
    chats.call("DELETE", f"/api/chats/{chat_id}")
    thread.join(timeout=10)
    assert not thread.is_alive()
    chats.gateway.wait_for_calls(lambda calls: calls["closed_by_client"] == 1)
    assert chats.row(chat_id)["status"] == "cancelled"


def test_a_drained_process_claims_nothing_more_and_gives_back_what_it_holds(chats: Chats) -> None:
    chats.gateway.behave(completions={"silent": True})
    held, late = chats.accepted("Held?"), chats.accepted("Late?")
    process = chats.process()
    thread = threading.Thread(target=process.run, args=(held,))
    thread.start()
    chats.gateway.wait_for_calls(lambda calls: calls["open"] == 1)
    process.drain()
    process.run(late)
    process.close()
    thread.join(timeout=10)
    rows = [chats.row(chat_id) for chat_id in (held, late)]
    attempts = [(row["status"], row["attempt"], row["attempts_returned"]) for row in rows]
    assert attempts == [("queued", 1, 1), ("queued", 0, 0)]
    due = chats.catalogue.run("SELECT count(*) AS number FROM llm_chats WHERE publish_at <= now()")[0]["number"]
    assert due == 2


def carried_out(process: ChatProcess, chat_ids: list[uuid.UUID]) -> None:
    """Give chats to a process, as its threads do, and wait until none of them holds a thread."""
    threads = [threading.Thread(target=process.run, args=(chat_id,)) for chat_id in chat_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)


def test_chats_that_wait_for_the_gateway_hold_no_place_and_the_last_is_still_probed(chats: Chats) -> None:
    chats.gateway.behave(completions={"status": 503})
    process = chats.process()
    chat_ids = [chats.accepted() for _ in range(40)]
    carried_out(process, chat_ids)
    rows = [chats.row(chat_id) for chat_id in chat_ids]
    assert {(row["status"], row["waiting_for"], row["last_failure_code"]) for row in rows} == {
        ("queued", "upstream", "upstream_unavailable")
    }
    for chat_id in chat_ids[:-1]:
        chats.call("DELETE", f"/api/chats/{chat_id}")
    chats.gateway.behave()
    wait_for(lambda: chats.row(chat_ids[-1])["status"] == "succeeded")
    assert chats.shown(chat_ids[-1])["attempts"] == 1


def test_while_one_model_is_down_its_chats_wait_uncalled_and_others_are_answered(chats: Chats) -> None:
    chats.gateway.behave(by_llm_id={25: {"status": 500}})
    process = chats.process()
    carried_out(process, [chats.accepted(model="claude-3-5-sonnet") for _ in range(5)])
    chats.gateway.forget_calls()
    late, healthy = chats.accepted("Late?", model="claude-3-5-sonnet"), chats.accepted(model="gpt-4o")
    carried_out(process, [late, healthy])
    assert chats.row(healthy)["status"] == "succeeded"
    row = chats.row(late)
    assert (row["status"], row["waiting_for"], row["started_at"]) == ("queued", "upstream", None)
    chats.gateway.behave()
    wait_for(lambda: chats.row(late)["status"] == "succeeded")
    prompts = [request["body"]["input"] for request in chats.gateway.calls()["requests"] if request["llm_id"] == 25]
    assert prompts[0].endswith("Late?"), "the probe is a chat that has not failed yet"


def test_when_the_circuit_closes_all_who_waited_are_due(chats: Chats) -> None:
    chats.gateway.behave(completions={"status": 503})
    process = chats.process()
    chat_ids = [chats.accepted(f"Number {number}?") for number in range(12)]
    carried_out(process, chat_ids)
    chats.gateway.behave()
    wait_for(lambda: any(chats.row(chat_id)["status"] == "succeeded" for chat_id in chat_ids))
    soon = "SELECT count(*) AS number FROM llm_chats WHERE status = 'queued' AND publish_at > now() + interval '3 s'"
    wait_for(lambda: chats.catalogue.run(soon)[0]["number"] == 0)


def test_a_process_that_starts_wakes_those_who_waited_for_another(chats: Chats) -> None:
    chats.gateway.behave(completions={"status": 503})
    process = chats.process()
    chat_id = chats.accepted()
    carried_out(process, [chat_id, *(chats.accepted() for _ in range(5))])
    process.close()
    assert chats.row(chat_id)["waiting_for"] == "upstream"
    chats.process()
    due = "SELECT count(*) AS number FROM llm_chats WHERE publish_at < now() + interval '3 s'"
    wait_for(lambda: chats.catalogue.run(due)[0]["number"] == 6)


def test_a_caller_whose_questions_fail_keeps_nobody_else_waiting(chats: Chats) -> None:
    chats.gateway.behave(by_words={"Poison": {"status": 500}})
    process = chats.process()
    carried_out(process, [chats.accepted("Poison?") for _ in range(30)])
    assert {row["status"] for row in chats.catalogue.run("SELECT status FROM llm_chats")} == {"queued"}
    good = chats.accepted(caller=BEN)
    carried_out(process, [good])
    assert chats.row(good)["status"] == "succeeded"


def test_leases_are_renewed_while_a_call_lasts(chats: Chats) -> None:
    chats.gateway.behave(completions={"delay": 2})
    chat_id = chats.accepted()
    process = chats.process(chat_lease_seconds=1)
    thread = threading.Thread(target=process.run, args=(chat_id,))
    thread.start()
    wait_for(lambda: chats.row(chat_id)["status"] == "running")
    first = chats.row(chat_id)["lease_until"]
    wait_for(lambda: (chats.row(chat_id)["lease_until"] or first) > first)
    thread.join(timeout=10)
    assert (chats.row(chat_id)["status"], chats.row(chat_id)["attempt"]) == ("succeeded", 1)


def test_the_reason_why_a_key_is_gone_is_not_for_every_role(chats: Chats) -> None:
    """The ledger is not open to `authenticated`, whose questions are resolved all the same."""
    with chats.runtime.database.transaction() as connection:
        assert resolve.resolve(connection, "nothing").reason == "unknown_key"
    assert chats.ask(model="nothing").json["model"]["reason"] == "unknown_key"


def test_a_row_that_somebody_holds_takes_no_other_chat_along(chats: Chats) -> None:
    chats.gateway.behave(completions={"delay": 1})
    ids = [chats.accepted(f"Question {number}?") for number in range(4)]
    process = chats.process()
    with ThreadPoolExecutor() as pool, psycopg.connect(chats.superuser_url) as other:
        carried = [pool.submit(process.run, chat_id) for chat_id in ids]
        chats.gateway.wait_for_calls(lambda calls: calls["open"] == 4)
        other.execute("SELECT FROM llm_chats WHERE id = %s FOR UPDATE", (ids[0],))
        wait_for(lambda: all(chats.row(chat_id)["status"] == "succeeded" for chat_id in ids[1:]))
        assert chats.row(ids[0])["status"] == "running"
        other.rollback()
        for each in carried:
            each.result(timeout=20)
    assert chats.row(ids[0])["status"] == "succeeded"
    assert chats.gateway.calls()["completions"] == 4
