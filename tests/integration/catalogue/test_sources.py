"""Another source is set up: it is noticed, refreshed once, and its first list is not held for the mapping's models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import local_variables, worker
from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from shared.catalogue.sync import queued_runs
from shared.task_errors import of_outcome
from shared.vocabulary import SOURCE_NOT_SET_UP
from worker.local.stand_in import default_models

REAL = [{"id": 500 + number, "name": f"Real {number}"} for number in range(20)]


@pytest.fixture
def mapped(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    """A catalogue of the mapping: seeded, and refreshed once without a gateway."""
    gateway.behave()
    gateway.set_models(REAL)
    with catalogue_harness(database.url, None) as made:
        made.seed()
        made.refresh()
        yield made


@pytest.fixture
def upstream(mapped: CatalogueHarness, database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    """The same catalogue, for processes with a gateway."""
    with catalogue_harness(database.url, gateway) as made:
        yield made


def follow(catalogue: CatalogueHarness) -> str | None:
    """What upkeep does; how the run that it asked for ended, None where it asked for none."""
    run_id = catalogue.refresher.queue.request_for_new_source()
    return None if run_id is None else catalogue.refresher.perform(run_id).status


def later(catalogue: CatalogueHarness) -> None:
    """Two hours pass."""
    catalogue.run(
        "UPDATE llm_sync_runs SET created_at = created_at - interval '2 hours',"
        " finished_at = finished_at - interval '2 hours'"
    )


def active(catalogue: CatalogueHarness) -> set[int]:
    return {id_ for id_, row in catalogue.models().items() if row["is_active"]}


def test_the_first_real_list_is_refreshed_once_and_takes_the_mappings_models_away(upstream: CatalogueHarness) -> None:
    assert upstream.refresher.queue.needs_first()
    assert follow(upstream) == "succeeded"
    assert active(upstream) == {model["id"] for model in REAL}
    assert not upstream.refresher.queue.needs_first()
    assert follow(upstream) is None
    later(upstream)
    assert follow(upstream) is None


def test_a_first_real_list_over_nothing_but_the_seed_is_not_held(database: Database, gateway: RunningStandIn) -> None:
    gateway.behave()
    gateway.set_models(REAL)
    with catalogue_harness(database.url, gateway) as catalogue:
        catalogue.seed()
        assert follow(catalogue) is None  # the first refresh is the first night's, or make up's
        assert catalogue.refresh().status == "succeeded"
        assert active(catalogue) == {model["id"] for model in REAL}


def test_an_empty_first_list_is_held_and_not_asked_for_again(
    upstream: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.set_models([])
    assert follow(upstream) == "held"
    later(upstream)
    assert follow(upstream) is None
    assert not upstream.refresher.queue.needs_first()


def test_a_failed_first_refresh_is_left_to_the_night_and_to_make_up(
    upstream: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"status": 401})
    assert follow(upstream) == "failed"
    later(upstream)
    assert follow(upstream) is None
    assert upstream.refresher.queue.needs_first()
    with upstream.database.transaction() as connection:
        assert queued_runs.source_changed(connection, "matchaai")
        assert queued_runs.source_tried(connection, "matchaai")


def test_real_models_are_guarded_on_the_way_back_and_forth(
    upstream: CatalogueHarness, mapped: CatalogueHarness, gateway: RunningStandIn
) -> None:
    follow(upstream)
    later(upstream)
    assert follow(mapped) == "held"  # the mapping lists none of the 20 that MatchaAI promised
    assert len(active(mapped)) == 20
    later(mapped)
    assert follow(mapped) is None
    assert follow(upstream) is None
    gateway.set_models(REAL[:5])
    assert upstream.refresh().status == "held"


def test_models_of_the_mapping_that_upstream_lists_are_promised_from_then_on(
    upstream: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.set_models(default_models())
    assert follow(upstream) == "succeeded"
    promised = upstream.run("SELECT DISTINCT listed_by FROM llm_models WHERE is_active")
    assert [row["listed_by"] for row in promised] == ["matchaai"]
    gateway.set_models([model for model in default_models() if model["id"] != 28])
    upstream.refresh()
    assert 28 in active(upstream)


def test_a_source_that_an_operator_names_is_no_new_one(upstream: CatalogueHarness) -> None:
    follow(upstream)
    later(upstream)
    upstream.refresh(source="mapping")
    assert follow(upstream) is None


def test_two_kinds_of_processes_do_not_refresh_by_turns(upstream: CatalogueHarness, gateway: RunningStandIn) -> None:
    gateway.set_models(default_models()[:8])
    assert follow(upstream) == "succeeded"
    with catalogue_harness(str(upstream.database.engine.url.render_as_string(hide_password=False)), None) as old:
        assert follow(old) is None


def test_matchaai_asked_for_where_it_is_not_set_up_fails_with_the_code_of_the_call(mapped: CatalogueHarness) -> None:
    outcome = mapped.refresh(source="matchaai")
    assert (outcome.status, outcome.code) == ("failed", SOURCE_NOT_SET_UP)
    assert "What to do: name a source that is set up" in str(of_outcome(outcome))


def test_a_worker_that_starts_with_another_source_refreshes_by_itself(
    mapped: CatalogueHarness, database: Database, redis_url: str, gateway: RunningStandIn, tmp_path: Path
) -> None:
    upstream = {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key}
    with worker(local_variables(database.url, redis_url, **upstream), tmp_path):
        wait_for(lambda: active(mapped) == {model["id"] for model in REAL}, seconds=60)
    last = mapped.run("SELECT status, trigger, actor, source FROM llm_sync_runs ORDER BY created_at DESC LIMIT 1")[0]
    assert dict(last) == {"status": "succeeded", "trigger": "startup", "actor": "upkeep", "source": "matchaai"}
