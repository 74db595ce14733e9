"""Held lists: what they keep, forcing and dismissing them, and how long they wait for a decision."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from harness.refreshing import CatalogueHarness, catalogue_harness, entries
from harness.servers import Database
from harness.stand_in import RunningStandIn
from shared.catalogue.edits import ModelEdit
from shared.catalogue.sync import holds
from shared.catalogue.sync import runs as sync_runs
from shared.catalogue.sync.options import RefreshOptions
from shared.db import SYSTEM

ALL = [(1_000 + number, f"Model {number}") for number in range(206)]
TWO = ALL[:2]
OTHER_TWO = ALL[2:4]


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    """A catalogue of 206 models."""
    gateway.behave()
    gateway.set_models(entries(*ALL))
    with catalogue_harness(database.url, gateway) as made:
        assert made.refresh().counts["added"] == 206
        yield made


def hold(catalogue: CatalogueHarness, gateway: RunningStandIn, *listed: tuple[int, str]) -> dict[str, Any]:
    """Let a refresh meet this list; what the held run keeps."""
    gateway.set_models(entries(*listed))
    outcome = catalogue.refresh()
    assert outcome.status == "held"
    assert outcome.held is not None
    return dict(outcome.held)


def waiting(catalogue: CatalogueHarness) -> holds.Hold | None:
    with catalogue.database.transaction() as connection:
        return holds.open_hold(connection)


def active(catalogue: CatalogueHarness) -> list[int]:
    return sorted(id_ for id_, row in catalogue.models().items() if row["is_active"])


def use(
    catalogue: CatalogueHarness, key: str, *, requests: int, subjects: tuple[str, ...] = (), days_ago: int = 0
) -> None:
    """Chats by this model, so many days ago."""
    catalogue.run(
        "INSERT INTO llm_usage_stats (model_key, day, request_count, last_used, latency_buckets)"
        " VALUES (:key, (now() AT TIME ZONE 'UTC')::date - :days, :requests, now(), '{}')",
        key=key,
        days=days_ago,
        requests=requests,
    )
    for subject in subjects:
        catalogue.run(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
            " deadline_at, created_at) VALUES (:id, :subject, '', 'q', :key, 'n', 1, now(),"
            " now() - make_interval(days => :days))",
            id=uuid.uuid4(),
            subject=subject,
            key=key,
            days=days_ago,
        )


def test_a_held_run_keeps_the_models_that_would_go_the_most_used_first(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    use(catalogue, "model-77", requests=5, subjects=("ann", "bob", "ann"))
    use(catalogue, "model-78", requests=9, subjects=("ann",))
    use(catalogue, "model-79", requests=99, subjects=("eve",), days_ago=40)
    held = hold(catalogue, gateway, *TWO)
    assert (held["absent"], held["active"], held["repointed"], len(held["models"])) == (204, 206, 0, 204)
    assert held["models"][0] == {
        "matcha_llm_id": 1078,
        "model_key": "model-78",
        "name": "Model 78",
        "kind": "absent",
        "requests": 9,
        "callers": 1,
    }
    assert (held["models"][1]["model_key"], held["models"][1]["callers"]) == ("model-77", 2)
    assert {model["requests"] for model in held["models"][2:]} == {0}
    assert catalogue.run("SELECT held FROM llm_sync_runs WHERE status = 'held'")[0]["held"] == held


def test_a_held_run_keeps_500_models_at_most(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    gateway.set_models(entries(*ALL, *((5_000 + number, f"Other {number}") for number in range(600))))
    catalogue.refresh()
    held = hold(catalogue, gateway, *TWO)
    assert (held["absent"], len(held["models"])) == (804, 500)


def test_repointed_and_absent_models_are_told_apart_and_moved_ones_are_neither(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    repointed = [(id_, f"Another {id_}") for id_, _ in ALL[:120]]
    moved = [(9_000, "Model 200")]
    held = hold(catalogue, gateway, *repointed, *ALL[120:200], *moved)
    kinds = {model["model_key"]: (model["kind"], model.get("becomes")) for model in held["models"]}
    assert kinds["model-0"] == ("repointed", "Another 1000")
    assert "model-200" not in kinds  # it is listed under another id: nothing of it is taken away
    assert kinds["model-201"] == ("absent", None)
    assert (held["absent"], held["repointed"]) == (5, 120)


def test_a_forced_list_takes_effect_at_once_and_is_not_held_again(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    held = hold(catalogue, gateway, *TWO)
    preview = catalogue.refresher.preview(RefreshOptions())
    assert (preview.status, preview.counts["deactivated"], preview.held) == ("held", 204, held)
    assert len(active(catalogue)) == 206
    forced = catalogue.refresh(force=held["sha256"])
    assert (forced.status, forced.counts["deactivated"]) == ("succeeded", 204)
    assert active(catalogue) == [id_ for id_, _ in TWO]
    assert waiting(catalogue) is None
    again = catalogue.refresh()
    assert (again.status, again.counts["unchanged"]) == ("succeeded", 2)


def test_a_force_takes_models_that_are_to_be_shown_along_and_the_report_counts_them(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    for number in range(100, 110):
        catalogue.editor.edit(f"model-{number}", ModelEdit(is_active=True), caller=SYSTEM)
    held = hold(catalogue, gateway, *TWO)
    assert (held["absent"], held["active"], len(held["models"])) == (204, 206, 204)
    assert catalogue.refresh(force=held["sha256"]).counts["deactivated"] == 204
    assert len(active(catalogue)) == 2
    assert catalogue.refresh().status == "succeeded"


def test_the_report_counts_what_is_listed_and_what_goes_also_after_moves(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    moved = [(8_000 + number, name) for number, (_, name) in enumerate(ALL[:100])]
    gateway.set_models(entries(*moved, *ALL[100:]))
    assert catalogue.refresh().status == "succeeded"
    assert len(active(catalogue)) == 206  # the rows that they left are none of them
    held = hold(catalogue, gateway, *moved[:2])
    preview = catalogue.refresher.preview(RefreshOptions())
    assert (held["absent"], held["active"], preview.counts["deactivated"]) == (204, 206, 204)
    assert {model["matcha_llm_id"] for model in held["models"]} == set(active(catalogue)) - {8_000, 8_001}
    assert catalogue.refresh(force=held["sha256"]).counts["deactivated"] == 204


def test_an_empty_list_can_be_forced(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    held = hold(catalogue, gateway)
    assert catalogue.refresh(force=held["sha256"]).counts["deactivated"] == 206
    assert active(catalogue) == []


def test_a_force_of_another_sha256_is_refused_with_the_one_that_is_held(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    held = hold(catalogue, gateway, *TWO)
    with pytest.raises(holds.NotHeld, match=held["sha256"]) as refused:
        catalogue.refresher.check_force(RefreshOptions(force="0" * 64))
    assert refused.value.held == held
    catalogue.refresher.check_force(RefreshOptions(force=held["sha256"]))


def test_a_force_where_nothing_is_held_is_refused(catalogue: CatalogueHarness) -> None:
    listed = catalogue.run("SELECT upstream_sha256 FROM llm_sync_runs")[0]["upstream_sha256"]
    for sha256 in ("0" * 64, listed):
        with pytest.raises(holds.NotHeld, match="no list is held"):
            catalogue.refresher.check_force(RefreshOptions(force=sha256))


def test_a_list_that_only_a_dry_run_has_seen_can_be_forced(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    gateway.set_models(entries(*TWO))
    held = catalogue.refresher.preview(RefreshOptions()).held
    assert held is not None
    catalogue.refresher.check_force(RefreshOptions(force=held["sha256"]))
    assert catalogue.refresh(force=held["sha256"]).status == "succeeded"


def test_a_force_meets_a_list_that_has_changed_and_holds_that_one(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    held = hold(catalogue, gateway, *TWO)
    gateway.set_models(entries(*OTHER_TWO))
    forced = catalogue.refresh(force=held["sha256"])
    assert forced.status == "held"
    assert forced.held is not None
    assert forced.held["sha256"] != held["sha256"]
    assert len(active(catalogue)) == 206


def test_a_force_meets_a_good_list_and_changes_nothing(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    held = hold(catalogue, gateway, *TWO)
    gateway.set_models(entries(*ALL, (9_000, "New One")))
    forced = catalogue.refresh(force=held["sha256"])
    assert (forced.status, forced.code) == ("failed", "force_refused")
    assert "another one now" in (forced.detail or "")
    assert 9_000 not in catalogue.models()
    assert waiting(catalogue) is not None
    assert catalogue.refresh().status == "succeeded"
    assert waiting(catalogue) is None


def test_failures_do_not_hide_a_hold_and_a_good_run_ends_it(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    held = hold(catalogue, gateway, *TWO)
    gateway.behave(llms={"status": 401})
    assert [catalogue.refresh().status for _ in range(2)] == ["failed", "failed"]
    found = waiting(catalogue)
    assert found is not None
    assert found.held == held
    gateway.behave()
    gateway.set_models(entries(*ALL))
    catalogue.refresh()
    assert waiting(catalogue) is None


def test_a_dismissed_hold_asks_no_more_until_the_list_comes_again(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    first = hold(catalogue, gateway, *TWO)
    second = hold(catalogue, gateway, *TWO)
    assert first == second
    found = waiting(catalogue)
    assert found is not None
    catalogue.refresher.dismiss(found.run_id, actor="ann")
    catalogue.refresher.dismiss(found.run_id, actor="bob")
    assert waiting(catalogue) is None
    runs = catalogue.run("SELECT dismissed_by FROM llm_sync_runs WHERE status = 'held'")
    assert {run["dismissed_by"] for run in runs} == {"ann"}
    hold(catalogue, gateway, *TWO)
    again = waiting(catalogue)
    assert again is not None
    with catalogue.database.transaction() as connection:
        shown = sync_runs.find(connection, again.run_id)
    assert shown is not None
    assert shown["dismissed"] is None
    assert shown["dismissed_before"]["by"] == "ann"


def test_a_hold_that_was_dismissed_or_followed_by_another_cannot_be_forced_any_more(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    first = hold(catalogue, gateway, *TWO)
    second = hold(catalogue, gateway, *OTHER_TWO)
    catalogue.refresher.check_force(RefreshOptions(force=second["sha256"]))
    with pytest.raises(holds.NotHeld, match=second["sha256"]):
        catalogue.refresher.check_force(RefreshOptions(force=first["sha256"]))
    found = waiting(catalogue)
    assert found is not None
    catalogue.refresher.dismiss(found.run_id, actor="ann")
    gateway.set_models(entries(*ALL))
    for held in (first, second):
        with pytest.raises(holds.NotHeld, match="no list is held"):
            catalogue.refresher.check_force(RefreshOptions(force=held["sha256"]))
    gateway.set_models(entries(*OTHER_TWO))  # what upstream lists now may be forced, whatever was decided before
    catalogue.refresher.check_force(RefreshOptions(force=second["sha256"]))


def test_a_run_that_holds_nothing_cannot_be_dismissed(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    good = catalogue.run("SELECT id FROM llm_sync_runs")[0]["id"]
    with pytest.raises(holds.NotHeld, match="was not held"):
        catalogue.refresher.dismiss(good, actor="ann")
    with pytest.raises(holds.NotHeld, match="no run"):
        catalogue.refresher.dismiss(uuid.uuid4(), actor="ann")
    hold(catalogue, gateway, *TWO)
    found = waiting(catalogue)
    assert found is not None
    gateway.set_models(entries(*ALL))
    catalogue.refresh()
    with pytest.raises(holds.NotHeld, match="a later run was good"):
        catalogue.refresher.dismiss(found.run_id, actor="ann")


def test_a_count_of_callers_that_takes_too_long_fails_no_hold(database: Database, gateway: RunningStandIn) -> None:
    gateway.behave()
    gateway.set_models(entries(*ALL[:4]))
    with catalogue_harness(database.url, gateway, callers=never_ending) as catalogue:
        catalogue.refresh()
        gateway.set_models(entries(*ALL[:1]))
        held = catalogue.refresher.preview(RefreshOptions()).held or {}
    assert {(model["requests"], model["callers"]) for model in held["models"]} == {(0, None)}


def never_ending(connection: Any, keys: Any) -> dict[str, int]:
    connection.execute(sa.text("SELECT pg_sleep(60)"))
    return {}
