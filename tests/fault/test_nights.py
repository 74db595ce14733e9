"""Nights by real beats: two of them make one run, and none of them costs no night."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import BEAT, local_variables, worker
from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for

EVERY_MINUTE = "* * * * *"


@pytest.fixture
def catalogue(database: Database) -> Iterator[CatalogueHarness]:
    with catalogue_harness(database.url, None) as made:
        made.seed()
        yield made


def nights(catalogue: CatalogueHarness, status: str = "succeeded") -> list[dict]:
    return [
        dict(row)
        for row in catalogue.run(
            "SELECT * FROM llm_sync_runs WHERE scheduled_for IS NOT NULL AND status = :status", status=status
        )
    ]


@pytest.mark.timeout(240)
def test_two_beats_make_one_run_a_night(
    catalogue: CatalogueHarness, database: Database, redis_url: str, tmp_path: Path
) -> None:
    variables = local_variables(database.url, redis_url, REFRESH_CRON=EVERY_MINUTE)
    with (
        worker(variables, tmp_path),
        worker(variables, tmp_path, BEAT) as one,
        worker(variables, tmp_path, BEAT) as other,
    ):
        wait_for(lambda: len(nights(catalogue)) >= 2, seconds=150)
        assert (one.exit_code, other.exit_code) == (None, None)
        assert one.output.count("Sending due task") + other.output.count("Sending due task") >= 2
    runs = catalogue.run("SELECT scheduled_for, attempt FROM llm_sync_runs WHERE scheduled_for IS NOT NULL")
    assert len({run["scheduled_for"] for run in runs}) == len(runs)
    assert {run["attempt"] for run in runs if run["attempt"]} == {1}
    print(f"\nnights {len(runs)}, beats 2, runs a night 1")


@pytest.mark.timeout(240)
def test_a_night_without_beat_is_made_up_for_by_the_workers(
    catalogue: CatalogueHarness, database: Database, redis_url: str, tmp_path: Path
) -> None:
    catalogue.run("UPDATE llm_catalogue_version SET watermark = now() - interval '2 days'")
    variables = local_variables(database.url, redis_url)
    with worker(variables, tmp_path), worker(variables, tmp_path):
        wait_for(lambda: nights(catalogue), seconds=60)
    assert [run["trigger"] for run in nights(catalogue)] == ["catch-up"]
    print("\nnights missed 1, runs 1, workers 2")


@pytest.mark.timeout(240)
def test_a_run_whose_worker_is_killed_is_abandoned_and_the_night_tried_again(
    catalogue: CatalogueHarness, database: Database, redis_url: str, tmp_path: Path
) -> None:
    catalogue.run("UPDATE llm_catalogue_version SET watermark = now() - interval '2 days'")
    with RunningStandIn() as gateway:
        gateway.behave(llms={"silent": True})
        upstream = {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key}
        variables = local_variables(database.url, redis_url, **upstream)
        with worker(variables, tmp_path) as killed:
            wait_for(lambda: nights(catalogue, "running"), seconds=60)
            killed.signal(signal.SIGKILL)
            killed.wait()
        gateway.behave()
        gateway.set_models(
            [{"id": model["matcha_llm_id"], "name": model["model_name"]} for model in catalogue.models().values()]
        )
        catalogue.run(
            "UPDATE llm_sync_runs SET lease_until = now()"
        )  # the lease's three minutes are not waited for here
        with worker(variables, tmp_path):
            wait_for(
                lambda: nights(catalogue, "abandoned") or nights(catalogue, "queued") or nights(catalogue), seconds=60
            )
            catalogue.run("UPDATE llm_sync_runs SET finished_at = finished_at - interval '5 minutes'")
            wait_for(lambda: nights(catalogue), seconds=90)
    assert [(run["attempt"], run["status"]) for run in nights(catalogue)] == [(2, "succeeded")]
    print("\nnights 1, attempts 2, lost 0")
