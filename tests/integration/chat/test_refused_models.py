"""Models that upstream does not know: who answers, what the row says meanwhile, what is counted."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from harness.statements import execute
from harness.waiting import wait_for
from shared.catalogue.sync import queued_runs
from shared.chat import claims, figures, lifecycle, sweeper
from shared.clock import new_id
from tests.integration.chat.conftest import Chats
from worker.web.metric_families import of_chats

DEFAULT, OTHER = "claude-3-7-sonnet", "claude-3-5-sonnet"


def lists(chats: Chats, *ids: int) -> None:
    chats.gateway.set_models([{"id": id_, "name": "A model"} for id_ in ids])


def called(chats: Chats) -> list[int]:
    return [call["body"]["llm_id"] for call in chats.gateway.calls()["requests"] if call["method"] == "POST"]


def model_of(chats: Chats, chat_id: uuid.UUID) -> tuple[str, int, str | None]:
    row = chats.row(chat_id)
    return row["model_key"], row["matcha_llm_id"], row["fallback_reason"]


def used(chats: Chats) -> dict[str, dict[str, Any]]:
    return {line["model_key"]: line for line in chats.call("GET", "/api/llms/usage?days=1").json["usage"]}


@contextmanager
def while_the_next_is_asked(chats: Chats, **settings: Any) -> Iterator[uuid.UUID]:
    """A chat for 25, which upstream does not know, while 28 is being asked; its call ends with the block."""
    lists(chats, 28, 30)
    chats.gateway.behave(by_llm_id={28: {"delay": 30}})
    chat_id = chats.accepted(model=OTHER)
    process = chats.process(**settings)
    thread = threading.Thread(target=process.run, args=(chat_id,))
    thread.start()
    chats.gateway.wait_for_calls(lambda calls: calls["open"] == 1 and calls["completions"] == 2)
    yield chat_id
    process.close()
    thread.join()


def test_a_default_that_upstream_does_not_know_gives_way_to_the_next_by_the_rules(chats: Chats) -> None:
    lists(chats, 30, 35)
    chat = chats.answered()
    assert (chat["status"], chat["tries"]) == ("succeeded", 3)
    assert (chat["model_key"], chat["fallback_reason"]) == ("claude-3-opus-4-1", "unknown_upstream")
    assert called(chats) == [28, 25, 30]
    shown = chats.shown(chat["id"])["model"]
    assert (shown["requested"], shown["fallback"], shown["reason"]) == (None, True, "unknown_upstream")


def test_the_next_default_is_the_preferred_one_then_the_same_providers_first(chats: Chats) -> None:
    lists(chats, 35, 40)
    assert chats.answered(settings={"matchaai_default_model": "gpt-4o"})["model_key"] == "gpt-4o"
    assert chats.answered("Another?")["model_key"] == "gemini-2-5-flash-lite"


def test_models_that_other_chats_were_refused_are_not_asked(chats: Chats) -> None:
    lists(chats, 30)
    chats.answered()
    chats.gateway.forget_calls()
    accepted = chats.accepted("Another?")
    assert model_of(chats, accepted) == ("claude-3-opus-4-1", 30, "unknown_upstream")
    assert chats.answered("A third?", model=OTHER)["status"] == "succeeded"
    assert called(chats) == [25, 30]  # what a caller names is asked; the default that was refused is not


def test_a_chat_that_waited_while_its_default_was_refused_does_not_ask_it(chats: Chats) -> None:
    waiting = chats.accepted("Waiting?")
    assert model_of(chats, waiting) == (DEFAULT, 28, None)
    lists(chats, 30)
    chats.answered("The first?")
    chats.gateway.forget_calls()
    chats.process().run(waiting)
    assert model_of(chats, waiting) == ("claude-3-opus-4-1", 30, "unknown_upstream")
    assert called(chats) == [30]


def test_a_default_that_was_listed_again_after_its_refusal_answers_again(chats: Chats) -> None:
    lists(chats, 30)
    chats.answered()
    lists(chats, 28, 30)
    chats.catalogue.run("UPDATE llm_models SET last_synced_at = now() WHERE matcha_llm_id = 28")
    assert (chats.answered("Another?")["model_key"], chats.stored()) == (DEFAULT, 2)


def test_when_no_model_is_left_the_chat_fails_at_once_with_no_model(chats: Chats) -> None:
    lists(chats)
    chat = chats.answered()
    assert (chat["status"], chat["error_code"], chat["attempt"], chat["tries"]) == ("failed", "no_model", 1, 5)
    assert chats.answered("Another?")["tries"] == 1


def test_the_row_names_the_model_that_is_being_asked_and_a_cancel_counts_it(chats: Chats) -> None:
    with while_the_next_is_asked(chats) as chat_id:
        shown = chats.shown(chat_id)
        assert (shown["status"], shown["model"]["key"], shown["model"]["reason"]) == (
            "running",
            DEFAULT,
            "unknown_upstream",
        )
        assert chats.call("DELETE", f"/api/chats/{chat_id}").json["model"]["key"] == DEFAULT
        lines = used(chats)
    assert list(lines) == [DEFAULT]
    assert (lines[DEFAULT]["cancelled"], lines[DEFAULT]["requested"]) == (1, {"unknown_upstream": {OTHER: 1}})


def test_a_chat_that_expires_while_the_next_model_is_asked_counts_for_that_one(chats: Chats) -> None:
    with while_the_next_is_asked(chats) as chat_id:
        chats.catalogue.run("""
            UPDATE llm_chats SET lease_until = now() - interval '1 second', deadline_at = now() - interval '1 second'
        """)
        with chats.runtime.database.transaction() as connection:
            sweeper.sweep(connection, max_attempts=3)
        assert model_of(chats, chat_id) == (DEFAULT, 28, "unknown_upstream")
        assert chats.row(chat_id)["status"] == "expired"
    assert [(key, line["expired"]) for key, line in used(chats).items()] == [(DEFAULT, 1)]


def test_an_attempt_after_a_lost_lease_goes_on_with_the_model_that_was_asked_last(chats: Chats) -> None:
    with while_the_next_is_asked(chats) as chat_id:
        chats.catalogue.run("UPDATE llm_chats SET lease_until = now() - interval '1 second'")
        with chats.runtime.database.transaction() as connection:
            sweeper.sweep(connection, max_attempts=3)
            claim = claims.claim(connection, [chat_id], lease_seconds=30, max_attempts=3)[chat_id]
        assert (claim.model.requested, claim.model.key, claim.model.reason) == (OTHER, DEFAULT, "unknown_upstream")
        assert claim.attempt == 2


def test_a_lost_attempt_switches_no_model(chats: Chats) -> None:
    chat_id = chats.submit(model=OTHER)
    with chats.runtime.database.transaction() as connection:
        first = claims.claim(connection, [chat_id], lease_seconds=-1, max_attempts=3)[chat_id]
        claims.claim(connection, [chat_id], lease_seconds=30, max_attempts=3)
    with chats.runtime.database.transaction() as connection:
        switch = lifecycle.SwitchModel(chat_id, first.attempt, first.model)
        assert execute(connection, lifecycle.switch_models([switch])) == set()


def test_what_was_asked_for_is_counted_by_reason_and_bounded(chats: Chats) -> None:
    lists(chats, 28, 30, 35, 40)
    chats.answered("One?", model=OTHER)
    for number in range(3):
        chats.answered(f"Unknown {number}?", model=f"made-up-{number}")
    chats.catalogue.run("UPDATE llm_models SET is_active = false WHERE matcha_llm_id = 40")
    chats.answered("Inactive?", model="gpt-4o")
    chats.answered("No fallback?")
    assert used(chats)[DEFAULT]["requested"] == {
        "unknown_upstream": {OTHER: 1},
        "unknown_key": {"other": 3},
        "inactive_key": {"gpt-4o": 1},
    }
    with chats.runtime.database.transaction() as connection:
        totals = figures.figures(connection)
    (family,) = [metric for metric in of_chats(totals, {DEFAULT}) if metric.name == "llm_refresh_chat_fallbacks"]
    counted = {
        (sample.labels["reason"], sample.labels["requested"]): sample.value for sample in family.samples if sample.value
    }
    assert counted == {
        ("unknown_upstream", OTHER): 1,
        ("unknown_key", "other"): 3,
        ("inactive_key", "gpt-4o"): 1,
    }


def test_fallbacks_that_an_older_version_counted_keep_their_sum(chats: Chats) -> None:
    lists(chats, 28)
    chats.answered("One?", model=OTHER)
    chats.catalogue.run("""UPDATE llm_usage_stats SET fallbacks = '{"unknown_upstream": 7}'""")
    with chats.runtime.database.transaction() as connection:
        (family,) = [each for each in of_chats(figures.figures(connection), set()) if "fallbacks" in each.name]
    by_label = {sample.labels["requested"]: sample.value for sample in family.samples if sample.value}
    assert by_label == {OTHER: 1, "other": 6}


def forget_runs(chats: Chats) -> None:
    with psycopg.connect(chats.superuser_url, autocommit=True) as connection:
        connection.execute("DELETE FROM llm_sync_runs WHERE trigger = 'refusal'")


def refusal_runs(chats: Chats) -> list[dict[str, Any]]:
    return [dict(row) for row in chats.catalogue.run("SELECT * FROM llm_sync_runs WHERE trigger = 'refusal'")]


def test_refusals_ask_for_one_refresh_in_ten_minutes_however_many_look(chats: Chats) -> None:
    forget_runs(chats)
    assert chats.runtime.refresher.queue.request_after_refusal() is None
    lists(chats, 28)
    chats.answered(model=OTHER)
    run_ids: list[uuid.UUID | None] = []
    queue = chats.runtime.refresher.queue
    threads = [threading.Thread(target=lambda: run_ids.append(queue.request_after_refusal())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusal_runs(chats)) == len([run_id for run_id in run_ids if run_id is not None]) == 1
    chats.answered("Again?", model=OTHER)
    assert chats.runtime.refresher.queue.request_after_refusal() is None


def test_who_asks_after_a_refusal_waits_for_who_is_asking(chats: Chats) -> None:
    """The other's run has begun by the time its transaction commits, so that no index stands in the way."""
    forget_runs(chats)
    lists(chats, 28)
    chats.answered(model=OTHER)
    database, refresher = chats.runtime.database, chats.runtime.refresher
    with ThreadPoolExecutor() as pool:
        with database.transaction() as other:
            assert queued_runs.enqueue_after_refusal(other, run_id=new_id(), source=None)
            other.execute(
                sa.text("UPDATE llm_sync_runs SET status = 'failed', finished_at = now() WHERE trigger = 'refusal'")
            )
            asking = pool.submit(refresher.queue.request_after_refusal)
            waiting = "SELECT count(*) AS number FROM pg_locks WHERE NOT granted"
            wait_for(lambda: chats.catalogue.run(waiting)[0]["number"] or asking.done())
        assert asking.result(timeout=20) is None
    assert len(refusal_runs(chats)) == 1


def test_a_refused_model_that_the_list_lacks_goes_without_grace(chats: Chats) -> None:
    forget_runs(chats)
    chats.catalogue.run("UPDATE llm_models SET listed_by = 'matchaai'")
    names = {25: "Claude 3.5 Sonnet", 30: "Claude Opus 4.1", 35: "Gemini 2.5 Flash-Lite"}
    chats.gateway.set_models([{"id": id_, "name": name} for id_, name in names.items()])
    chat = chats.answered()
    assert (chat["model_key"], chat["fallback_reason"]) == (OTHER, "unknown_upstream")
    run_id = chats.runtime.refresher.queue.request_after_refusal()
    assert run_id is not None
    assert chats.runtime.refresher.perform(run_id).status == "succeeded"
    models = chats.catalogue.models()
    assert (models[28]["is_active"], models[40]["is_active"]) == (False, True)  # only the default was refused
    assert models[25]["is_default"]
    assert model_of(chats, chats.accepted("Now?")) == (OTHER, 25, None)
    assert chats.runtime.refresher.queue.request_after_refusal() is None


def test_a_failed_refresh_after_a_refusal_waits_for_the_next_refusal(chats: Chats) -> None:
    forget_runs(chats)
    lists(chats, 28)
    chats.answered(model=OTHER)
    run_id = chats.runtime.refresher.queue.request_after_refusal()
    assert run_id is not None
    chats.gateway.behave(llms={"status": 401})
    assert chats.runtime.refresher.perform(run_id).status == "failed"
    chats.catalogue.run(
        "UPDATE llm_sync_runs SET created_at = created_at - interval '11 minutes' WHERE trigger = 'refusal'"
    )
    chats.catalogue.run("UPDATE llm_models SET unknown_upstream_at = unknown_upstream_at - interval '12 minutes'")
    assert chats.runtime.refresher.queue.request_after_refusal() is None
    chats.answered("Again?", model=OTHER)
    assert chats.runtime.refresher.queue.request_after_refusal() is not None
