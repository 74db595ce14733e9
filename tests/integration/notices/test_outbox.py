"""What is worth telling is written in the transaction that makes it true, and nothing else is."""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.stand_in import RunningStandIn
from shared.clock import new_id
from shared.notices.outbox import Outbox

SEEDED = ((25, "Claude 3.5 Sonnet"), (30, "Claude Opus 4.1"), (35, "Gemini 2.5 Flash-Lite"), (40, "GPT-4o"))
SONNET, HAIKU, GPT, GEMINI = (28, "Claude 3.7 Sonnet"), (25, "Claude 3.5 Haiku"), (40, "GPT-4o"), (35, "Gemini 2.5 Pro")


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    """Four models, known since a good sync, of which the first is the default."""
    gateway.behave()
    record = Outbox(new_id).record
    with catalogue_harness(database.url, gateway, record=record, grace_syncs=1, grace_min_hours=0) as made:
        lists(gateway, SONNET, HAIKU, GPT, GEMINI)
        made.refresh()
        yield made


def lists(gateway: RunningStandIn, *models: tuple[int, str]) -> None:
    gateway.set_models([{"id": id_, "name": name} for id_, name in models])


def notices(catalogue: CatalogueHarness) -> list[dict[str, Any]]:
    rows = catalogue.run("SELECT kind, run_id, data FROM llm_notices ORDER BY created_at, id")
    return [dict(row) for row in rows]


def kinds(catalogue: CatalogueHarness) -> list[str]:
    return [notice["kind"] for notice in notices(catalogue)]


def test_a_good_run_after_good_runs_is_no_news(catalogue: CatalogueHarness) -> None:
    catalogue.refresh()
    assert kinds(catalogue) == []


def test_a_held_list_is_told_with_what_applies_it(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    lists(gateway, SONNET)
    outcome = catalogue.refresh()
    (notice,) = notices(catalogue)
    assert (notice["kind"], notice["run_id"]) == ("held", outcome.run_id)
    assert (notice["data"]["absent"], notice["data"]["active"]) == (3, 4)
    assert f"--force {outcome.held['sha256']}" in notice["data"]["text"]


def test_a_failure_is_told_with_its_cause_and_the_way_back_once(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"status": 401})
    catalogue.refresh()
    gateway.behave()
    catalogue.refresh()
    catalogue.refresh()
    failed, recovered = notices(catalogue)
    assert (failed["kind"], failed["data"]["code"]) == ("failed", "unauthorised")
    assert (recovered["kind"], recovered["data"]["before"]) == ("recovered", "failed")


def test_a_night_that_works_at_its_second_attempt_has_recovered(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    due = catalogue.refresher.now().replace(tzinfo=None)
    run_id, _ = catalogue.refresher.queue.request_night(due, trigger="schedule", task_id=None, actor="beat")
    gateway.behave(llms={"status": 401})
    catalogue.refresher.perform(run_id)
    gateway.behave()
    catalogue.run("UPDATE llm_sync_runs SET status = 'queued' WHERE id = :id", id=run_id)
    catalogue.refresher.perform(run_id)
    assert kinds(catalogue) == ["failed", "recovered"]


def test_a_run_whose_worker_died_has_failed(catalogue: CatalogueHarness) -> None:
    catalogue.run(
        "INSERT INTO llm_sync_runs (id, trigger, actor, status, attempt, started_at, lease_until)"
        " VALUES (:id, 'api', 'test', 'running', 1, now(), now() - interval '1 second')",
        id=new_id(),
    )
    catalogue.refresh()
    assert kinds(catalogue) == ["failed", "recovered"]


def test_a_lost_default_is_told_with_who_took_its_place(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    lists(gateway, HAIKU, GPT, GEMINI)
    catalogue.refresh()
    (notice,) = notices(catalogue)
    assert notice["kind"] == "promoted"
    assert (notice["data"]["lost"], notice["data"]["promoted"]) == ("claude-3-7-sonnet", "claude-3-5-haiku")


def test_an_id_that_means_another_model_is_told_with_both_names(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    lists(gateway, SONNET, HAIKU, GPT, (35, "Mistral Large"))
    catalogue.refresh()
    (notice,) = notices(catalogue)
    (model,) = notice["data"]["models"]
    assert (notice["kind"], model["matcha_llm_id"]) == ("repointed", 35)
    assert (model["before"]["model_name"], model["after"]["model_name"]) == ("Gemini 2.5 Pro", "Mistral Large")


def test_a_removed_model_is_told_only_when_it_was_in_use(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    for key, day in (("gpt-4o", "now()"), ("gemini-2-5-pro", "now() - interval '40 days'")):
        catalogue.run(
            "INSERT INTO llm_usage_stats (model_key, day, request_count, last_used, latency_buckets)"
            f" VALUES (:key, ({day})::date, 41, {day}, '{{}}')",
            key=key,
        )
    lists(gateway, SONNET, HAIKU)
    catalogue.refresh()
    (notice,) = notices(catalogue)
    assert notice["kind"] == "removed"
    assert [(m["model_key"], m["request_count"]) for m in notice["data"]["models"]] == [("gpt-4o", 41)]
    assert "gpt-4o (41 requests in 30 days)" in notice["data"]["text"]


def test_what_was_not_applied_is_not_told(database: Database, gateway: RunningStandIn) -> None:
    def record_and_break(connection: Any, ending: Any) -> None:
        Outbox(new_id).record(connection, ending)
        if ending.changes:
            raise RuntimeError("the transaction ends here")

    with catalogue_harness(database.url, gateway, record=record_and_break, grace_syncs=1, grace_min_hours=0) as broken:
        broken.seed()
        lists(
            gateway, (25, "Claude 3.5 Sonnet"), (30, "Claude Opus 4.1"), (35, "Gemini 2.5 Flash-Lite"), (40, "GPT-4o")
        )
        with pytest.raises(RuntimeError):
            broken.refresh()
        assert broken.models()[28]["is_default"]
        assert kinds(broken) == ["failed"]
