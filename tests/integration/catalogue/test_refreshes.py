"""Refreshes on the real PostgreSQL, with the stand-in as the gateway."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from harness.refreshing import CatalogueHarness, catalogue_harness, entries
from harness.servers import Database
from harness.stand_in import RunningStandIn
from shared.catalogue.edits import ModelEdit
from shared.catalogue.sync import queued_runs, runs, store
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.rows import LEDGERED
from shared.db import SYSTEM, DatabaseUnavailable
from tests.support.catalogue import replay

FIVE = [
    (28, "Claude 3.7 Sonnet"),
    (25, "Claude 3.5 Sonnet"),
    (30, "Claude Opus 4.1"),
    (35, "Gemini 2.5 Flash-Lite"),
    (40, "GPT-4o"),
]


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    gateway.behave()
    gateway.set_models(entries(*FIVE))
    with catalogue_harness(database.url, gateway) as made:
        made.seed()
        yield made


def test_the_seed_holds_what_the_specification_states_and_is_sown_once(catalogue: CatalogueHarness) -> None:
    models = catalogue.models()
    assert {
        (row["matcha_llm_id"], row["model_key"], row["provider"], row["display_order"]) for row in models.values()
    } == {
        (28, "claude-3-7-sonnet", "anthropic", 1),
        (25, "claude-3-5-sonnet", "anthropic", 2),
        (30, "claude-3-opus-4-1", "anthropic", 3),
        (35, "gemini-2-5-flash-lite", "google", 4),
        (40, "gpt-4o", "openai", 5),
    }
    assert [id_ for id_, row in models.items() if row["is_default"]] == [28]
    able = models[28]["capabilities"]
    assert (able["context_window"], able["supports_vision"], able["supports_tools"]) == (200_000, False, True)
    assert catalogue.seed() == 0


def test_a_refresh_reconciles_records_and_stamps(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    gateway.set_models(
        [*entries(*FIVE), {"id": 71, "name": "Claude Sonnet 4.5", "allowed_file_input_mime_types": ["image/png"]}]
    )
    outcome = catalogue.refresh()
    assert outcome.status == "succeeded"
    assert (outcome.counts["added"], outcome.counts["unchanged"]) == (1, 5)
    added = catalogue.models()[71]
    assert (added["model_key"], added["provider"]) == ("claude-sonnet-4-5", "anthropic")
    assert added["capabilities"]["supports_vision"] is True
    assert added["provenance"]["supports_vision"]["source"] == "upstream"
    assert len({row["last_synced_at"] for row in catalogue.models().values()}) == 1
    run = catalogue.run("SELECT * FROM llm_sync_runs")[0]
    assert run["upstream_sha256"] is not None
    assert run["fetch_ms"] >= 0


def test_an_unchanged_list_writes_nothing_but_the_stamp(catalogue: CatalogueHarness) -> None:
    catalogue.refresh()
    before = catalogue.models()
    version = catalogue.run("SELECT version FROM llm_catalogue_version")[0]["version"]
    outcome = catalogue.refresh()
    assert outcome.counts["unchanged"] == 5
    after = catalogue.models()
    assert catalogue.run("SELECT version FROM llm_catalogue_version")[0]["version"] == version
    for id_, row in after.items():
        assert row["updated_at"] == before[id_]["updated_at"]
        assert row["last_synced_at"] > before[id_]["last_synced_at"]


def test_what_somebody_changed_by_hand_is_put_right_by_the_same_list(catalogue: CatalogueHarness) -> None:
    catalogue.refresh()
    catalogue.run("UPDATE llm_models SET model_name = 'gpt 4o by hand and other words' WHERE matcha_llm_id = 40")
    assert catalogue.refresh().counts["updated"] == 1
    assert catalogue.models()[40]["model_name"] == "GPT-4o"


def test_the_number_of_statements_does_not_grow_with_the_models(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    counted = []
    for size in (10, 5_000):
        gateway.set_models(entries(*FIVE, *((1_000 + n, f"Model number {size} of {n}") for n in range(size))))
        catalogue.statements.clear()
        outcome = catalogue.refresh(force=None)
        assert outcome.counts["added"] + outcome.counts["updated"] >= size
        counted.append(len(catalogue.statements))
        catalogue.run("DELETE FROM llm_models WHERE matcha_llm_id >= 1000")
    assert counted[0] == counted[1]


def test_bad_entries_are_counted_and_explained_and_the_rest_is_applied(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    bad = [
        *(None, 7),
        *({"id": True, "name": "x"}, {"name": "y"}, {"id": 0, "name": "z"}, {"id": 50}, {"id": 51, "name": "a" * 201}),
        *({"id": 52, "name": "tab\there"}, {"id": 28, "name": "Claude 3.7 Sonnet again"}, {"id": 2**31, "name": "big"}),
    ]
    gateway.set_models([*entries(*FIVE), *bad, {"id": 60, "name": "Good One"}])
    outcome = catalogue.refresh()
    assert outcome.status == "partial"
    assert (outcome.counts["failed"], outcome.counts["added"], outcome.counts["unchanged"]) == (len(bad), 1, 5)
    assert len(outcome.errors) == len(bad)
    assert all(error["reason"] for error in outcome.errors)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ({"status": 401}, "unauthorised"),
        ({"status": 503, "retry_after": "60"}, "upstream_unavailable"),
        ({"html": True, "retry_after": "60"}, "upstream_not_json"),
        ({"wrapped": "data"}, "upstream_shape"),
    ],
)
def test_an_upstream_that_fails_is_a_failed_run_with_its_cause(
    catalogue: CatalogueHarness, gateway: RunningStandIn, behaviour: dict, code: str
) -> None:
    catalogue.refresh()
    before = catalogue.models()
    gateway.behave(llms=behaviour)
    outcome = catalogue.refresh()
    assert (outcome.status, outcome.code) == ("failed", code)
    run = catalogue.run("SELECT status, error_code, error_detail FROM llm_sync_runs ORDER BY created_at DESC LIMIT 1")[
        0
    ]
    assert (run["status"], run["error_code"]) == ("failed", code)
    assert run["error_detail"]
    assert catalogue.models() == before


def test_an_empty_or_halved_list_is_held_and_the_very_list_can_be_forced(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    catalogue.refresh()
    before = catalogue.models()
    gateway.set_models([])
    assert catalogue.refresh().status == "held"
    gateway.set_models(entries(*FIVE[:2]))
    held = catalogue.refresh()
    assert held.status == "held"
    assert held.held is not None
    assert (held.held["absent"], held.held["active"]) == (3, 5)
    assert catalogue.models() == before
    assert catalogue.refresh(force="0" * 64).status == "held"
    forced = catalogue.refresh(force=held.held["sha256"])
    assert forced.status == "succeeded"
    assert [row["is_active"] for _, row in sorted(catalogue.models().items())] == [True, True, False, False, False]


def test_a_dry_run_tells_what_a_refresh_then_does_and_writes_nothing(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.set_models(entries((28, "Claude Sonnet 4"), (25, "sonnet claude 3.5"), *FIVE[2:], (99, "Kimi K2")))
    before, lines = catalogue.models(), len(catalogue.ledger())
    preview = catalogue.refresher.preview(RefreshOptions())
    assert catalogue.models() == before
    assert catalogue.run("SELECT count(*) AS n FROM llm_sync_runs")[0]["n"] == 0
    outcome = catalogue.refresh()
    assert (preview.status, preview.counts) == (outcome.status, outcome.counts)
    sentences = [
        {name: change[name] for name in ("kind", "matcha_llm_id", "model_key", "before", "after")}
        for change in catalogue.ledger()[lines:]
    ]
    assert list(preview.plan or ()) == sentences


def test_the_ledger_from_empty_gives_the_table(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    gateway.set_models(entries((71, "Claude 3.7 Sonnet"), (25, "GPT-5"), *FIVE[2:]))
    catalogue.refresh()
    shown = {id_: {name: row[name] for name in LEDGERED} for id_, row in catalogue.models().items()}
    assert replay(catalogue.ledger()) == shown


def test_the_ledger_takes_no_update_and_no_delete(catalogue: CatalogueHarness, database: Database) -> None:
    engine = sa.create_engine(database.superuser_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM llm_model_changes"))
    engine.dispose()


def test_requests_join_a_run_that_has_not_begun_and_only_one_with_the_same_options(catalogue: CatalogueHarness) -> None:
    first, _, new = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="a")
    again, _, joined = catalogue.refresher.queue.request(RefreshOptions(), trigger="cli", actor="b")
    other, _, other_new = catalogue.refresher.queue.request(RefreshOptions(source="mapping"), trigger="api", actor="c")
    assert (new, joined, other_new) == (True, False, True)
    assert first == again != other
    assert catalogue.refresher.perform(first).status == "succeeded"
    assert catalogue.refresher.perform(again).status == "succeeded"
    assert catalogue.run("SELECT attempt FROM llm_sync_runs WHERE id = :id", id=first)[0]["attempt"] == 1


def test_a_run_that_fetches_is_not_joined_and_one_follow_up_waits_behind_it(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"delay": 1.0})
    first, _, _ = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="a")
    working = threading.Thread(target=catalogue.refresher.perform, args=(first,))
    working.start()
    wait_for(lambda: catalogue.refresher.outcome(first).status == "running")
    second, _, new = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="b")
    third, _, _ = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="c")
    assert new
    assert second == third != first
    assert catalogue.refresher.perform(second).status == "succeeded"  # after the first
    working.join()
    ended = catalogue.run("SELECT id, started_at, finished_at FROM llm_sync_runs ORDER BY started_at")
    assert [run["id"] for run in ended] == [first, second]
    assert catalogue.refresher.outcome(first).status == "succeeded", "its lease lasts: nobody takes it away"
    assert ended[0]["finished_at"] <= ended[1]["started_at"]


def test_whoever_joined_a_run_that_another_carries_out_is_told_its_end(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"delay": 0.7})
    run_id, _, _ = catalogue.refresher.queue.request(RefreshOptions(), trigger="task", actor="a")
    working = threading.Thread(target=catalogue.refresher.perform, args=(run_id,))
    working.start()
    wait_for(lambda: catalogue.refresher.outcome(run_id).status == "running")
    assert catalogue.refresher.perform(run_id).status == "succeeded"
    working.join()
    assert catalogue.run("SELECT attempt FROM llm_sync_runs")[0]["attempt"] == 1


def test_a_zombie_applies_nothing(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    gateway.behave(llms={"delay": 1.0})
    gateway.set_models(entries(*FIVE, (99, "Kimi K2")))
    run_id, _, _ = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="a")
    zombie = threading.Thread(target=catalogue.refresher.perform, args=(run_id,))
    zombie.start()
    wait_for(lambda: catalogue.refresher.outcome(run_id).status == "running")
    catalogue.run("UPDATE llm_sync_runs SET lease_until = now() - interval '1 second'")
    with catalogue.database.transaction() as connection:
        assert runs.abandon_expired(connection) == [run_id]
    zombie.join()
    assert 99 not in catalogue.models()
    assert catalogue.refresher.outcome(run_id).status == "abandoned"


def test_a_zombie_whose_fetch_fails_leaves_the_end_that_the_run_has(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"delay": 1.0, "status": 401})
    run_id, _, _ = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="a")
    zombie = threading.Thread(target=catalogue.refresher.perform, args=(run_id,))
    zombie.start()
    wait_for(lambda: catalogue.refresher.outcome(run_id).status == "running")
    catalogue.run("UPDATE llm_sync_runs SET lease_until = now() - interval '1 second'")
    with catalogue.database.transaction() as connection:
        assert runs.abandon_expired(connection) == [run_id]
    zombie.join()
    assert catalogue.refresher.outcome(run_id).code == "abandoned"


def waits_for_a_lock(catalogue: CatalogueHarness) -> bool:
    return bool(catalogue.run("SELECT count(*) AS number FROM pg_locks WHERE NOT granted")[0]["number"])


def test_a_run_that_is_being_applied_is_not_abandoned(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    gateway.behave(llms={"delay": 0.7})
    run_id, _, _ = catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="a")
    with ThreadPoolExecutor() as pool:
        working = pool.submit(catalogue.refresher.perform, run_id)
        wait_for(lambda: catalogue.refresher.outcome(run_id).status == "running")
        catalogue.run("UPDATE llm_sync_runs SET lease_until = now() - interval '1 second'")
        with catalogue.database.transaction() as other:
            store.lock(other)
            wait_for(lambda: waits_for_a_lock(catalogue))
            with pytest.raises(DatabaseUnavailable), catalogue.database.transaction(lock_seconds=0.2) as connection:
                runs.abandon_expired(connection)
        assert working.result(timeout=20).status == "succeeded"


def test_an_edit_waits_for_whoever_writes_the_catalogue(catalogue: CatalogueHarness) -> None:
    edit = ModelEdit.model_validate({"display_order": 9})
    with ThreadPoolExecutor() as pool:
        with catalogue.database.transaction() as connection:
            store.lock(connection)
            editing = pool.submit(catalogue.editor.edit, "claude-3-7-sonnet", edit, caller=SYSTEM)
            wait_for(lambda: waits_for_a_lock(catalogue) or editing.done())
            assert not editing.done()
        assert editing.result(timeout=20)["display_order"] == 9


def test_two_who_ask_for_the_same_night_make_one_run(catalogue: CatalogueHarness) -> None:
    from datetime import datetime

    due = datetime(2026, 10, 25, 2, 30)
    first, new = catalogue.refresher.queue.request_night(due, trigger="schedule", task_id="t1", actor="beat")
    again, second = catalogue.refresher.queue.request_night(due, trigger="catch-up", task_id="t2", actor="upkeep")
    assert (new, second, first) == (True, False, again)


def test_failed_nights_are_tried_again_in_the_same_row_and_others_never(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    from datetime import datetime

    gateway.behave(llms={"status": 401})
    night, _ = catalogue.refresher.queue.request_night(
        datetime(2026, 3, 1), trigger="schedule", task_id=None, actor="beat"
    )
    assert catalogue.refresher.perform(night).status == "failed"
    assert catalogue.refresh().status == "failed"
    for attempt in (2, 3):
        with catalogue.database.transaction() as connection:
            assert queued_runs.requeue_nights(connection, attempts=3, base_seconds=0) == [night]
        assert catalogue.refresher.perform(night).status == "failed"
        assert catalogue.run("SELECT attempt FROM llm_sync_runs WHERE id = :id", id=night)[0]["attempt"] == attempt
    with catalogue.database.transaction() as connection:
        assert queued_runs.requeue_nights(connection, attempts=3, base_seconds=0) == []


def test_a_sync_goes_on_with_the_list_after_an_operators_edit(catalogue: CatalogueHarness) -> None:
    edit = ModelEdit.model_validate(
        {"capabilities": {"supports_vision": True}, "display_order": 9, "model_name": "Ours"}
    )
    row = catalogue.editor.edit("claude-3-7-sonnet", edit, caller=SYSTEM)
    assert row["provenance"]["supports_vision"] == {
        "source": "override",
        "below": row["provenance"]["supports_vision"]["below"],
    }
    catalogue.refresh()
    kept = catalogue.models()[28]
    assert (kept["model_name"], kept["display_order"], kept["capabilities"]["supports_vision"]) == ("Ours", 9, True)
    dropped = catalogue.editor.edit(
        "claude-3-7-sonnet",
        ModelEdit.model_validate({"model_name": None, "display_order": None, "capabilities": None}),
        caller=SYSTEM,
    )
    assert (dropped["model_name"], dropped["display_order"], dropped["overrides"]) == ("Claude 3.7 Sonnet", 1, {})
    assert dropped["capabilities"]["supports_vision"] is False


def test_the_same_list_with_a_missing_model_still_uses_up_its_grace(
    database: Database, gateway: RunningStandIn
) -> None:
    gateway.behave()
    gateway.set_models(entries(*FIVE))
    with catalogue_harness(database.url, gateway, grace_min_hours=0) as catalogue:
        catalogue.refresh()
        gateway.set_models(entries(*FIVE[:4]))
        assert catalogue.refresh().counts["deactivated"] == 0
        assert catalogue.refresh().counts["deactivated"] == 1
        assert not catalogue.models()[40]["is_active"]


def test_a_retired_key_is_not_given_to_another_model_later(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.set_models(entries(*FIVE[:4], (40, "Mistral Large 3")))
    catalogue.refresh()
    gateway.set_models(entries(*FIVE[:4], (40, "Mistral Large 3"), (41, "GPT (4o)"), (42, "Gpt~4O +")))
    catalogue.refresh()
    keys = {row["model_name"]: row["model_key"] for row in catalogue.models().values()}
    assert keys["GPT (4o)"] == "gpt-4o"  # the same model by its words
    assert keys["Gpt~4O +"] != "gpt-4o"
