"""The figures behind the metrics: read from rows, and totals that never fall."""

import itertools
from collections.abc import Iterator
from datetime import datetime

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.stand_in import RunningStandIn
from shared import system_status


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    gateway.behave()
    gateway.set_models([{"id": 28, "name": "Claude 3.7 Sonnet"}, {"id": 40, "name": "GPT-4o"}])
    with catalogue_harness(database.url, gateway, grace_syncs=1, grace_min_hours=0) as made:
        yield made


def read(catalogue: CatalogueHarness) -> system_status.CatalogueFigures:
    with catalogue.database.transaction() as connection:
        return system_status.of_catalogue(connection)


def ended(catalogue: CatalogueHarness) -> dict[tuple[str, str], int]:
    return {key: number for key, number in read(catalogue).runs.items() if number}


def test_a_new_database_shows_zeros_rather_than_gaps(catalogue: CatalogueHarness) -> None:
    status = read(catalogue)
    assert set(status.runs.values()) == {0}
    assert set(status.changes.values()) == {0}
    assert (status.last_run, status.failed_in_a_row, status.promotions) == (None, 0, 0)
    assert 0 <= status.age_seconds < 86_400  # since the migration of the template that all tests copy


def test_runs_models_and_changes_are_counted(catalogue: CatalogueHarness) -> None:
    catalogue.refresh()
    status = read(catalogue)
    assert ended(catalogue) == {("succeeded", "cli"): 1}
    assert status.models == {("active", "anthropic"): 1, ("active", "openai"): 1}
    assert status.changes["added"] == 2
    assert status.last_run == "succeeded"
    assert status.age_seconds < 10


def test_totals_never_fall_while_a_night_is_tried_again_in_its_row(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    due = datetime(2026, 3, 1)
    run_id, _ = catalogue.refresher.queue.request_night(due, trigger="schedule", task_id=None, actor="beat")
    seen = []

    def note() -> None:
        seen.append((read(catalogue).runs, read(catalogue).failed_in_a_row))

    gateway.behave(llms={"status": 401})
    catalogue.refresher.perform(run_id)
    note()
    catalogue.run("UPDATE llm_sync_runs SET status = 'queued'")
    note()
    catalogue.run(
        "UPDATE llm_sync_runs SET status = 'running', attempt = 2, finished_at = NULL,"
        " lease_until = now() - interval '1 s'"
    )
    note()
    with catalogue.database.transaction() as connection:
        catalogue.refresher.abandon_expired(connection)
    note()
    catalogue.run("UPDATE llm_sync_runs SET status = 'queued'")
    gateway.behave()
    catalogue.refresher.perform(run_id)
    note()
    totals, in_a_row = zip(*seen, strict=True)
    assert in_a_row == (1, 1, 1, 2, 0)
    assert [(each["failed", "schedule"], each["succeeded", "schedule"]) for each in totals] == [
        (1, 0),
        (1, 0),
        (1, 0),
        (2, 0),
        (2, 1),
    ]
    for earlier, later in itertools.pairwise(totals):
        assert all(later[key] >= number for key, number in earlier.items())


def test_only_a_default_that_was_lost_counts_as_promoted(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    catalogue.refresh()
    assert read(catalogue).promotions == 0  # the first default took nobody's place
    gateway.set_models([{"id": 40, "name": "GPT-4o"}])
    catalogue.refresh()
    assert read(catalogue).promotions == 1
    catalogue.refresh()
    assert read(catalogue).promotions == 1


def test_the_labels_of_models_are_keys_that_the_catalogue_has_known(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    catalogue.refresh()
    gateway.set_models([{"id": 28, "name": "Claude 3.7 Sonnet"}, {"id": 40, "name": "Mistral Large"}])
    catalogue.refresh()
    with catalogue.database.transaction() as connection:
        keys = system_status.known_keys(connection, ["gpt-4o", "claude-3-7-sonnet", "mistral-large", "made-up"])
    # A retired key stays: its total would move into another label else, and look like a burst there.
    assert keys == {"gpt-4o", "claude-3-7-sonnet", "mistral-large"}


def test_the_statements_are_as_many_for_a_thousand_runs_as_for_none(catalogue: CatalogueHarness) -> None:
    catalogue.statements.clear()
    read(catalogue)
    few = len(catalogue.statements)
    with catalogue.database.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO llm_sync_runs (id, trigger, actor, status, finished_at, attempt)"
            " SELECT gen_random_uuid(), 'api', 't', 'failed', now(), 1 FROM generate_series(1, 1000)"
        )
    catalogue.statements.clear()
    status = read(catalogue)
    assert len(catalogue.statements) == few
    assert status.runs["failed", "api"] == 1000
