"""Models that are hidden or gone: why they are inactive, and what showing them does."""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.stand_in import RunningStandIn
from shared.catalogue.edits import ModelEdit
from shared.catalogue.inactive import read_all_models
from shared.db import Caller

ANN = Caller("service_role", "ann")
THREE = [{"id": 1, "name": "GPT-4o"}, {"id": 2, "name": "Kimi K2"}, {"id": 3, "name": "Gemini 2.5 Pro"}]


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    gateway.behave()
    gateway.set_models(THREE)
    with catalogue_harness(database.url, gateway) as made:
        made.refresh()
        yield made


def edit(catalogue: CatalogueHarness, key: str, **changes: Any) -> dict[str, Any]:
    return catalogue.editor.edit(key, ModelEdit.model_validate(changes), caller=ANN)


def why(catalogue: CatalogueHarness, key: str) -> dict[str, Any] | None:
    with catalogue.database.transaction() as connection:
        by_key = {model["model_key"]: model for model in read_all_models(connection)}
    reason: dict[str, Any] | None = by_key[key]["why"]
    assert by_key[key]["is_active"] is (reason is None)
    return reason


def drop(gateway: RunningStandIn, *ids: int) -> None:
    gateway.set_models([model for model in THREE if model["id"] not in ids])


def test_a_hidden_model_says_who_hid_it_and_is_shown_again(catalogue: CatalogueHarness) -> None:
    hidden = edit(catalogue, "kimi-k2", is_active=False)["why"]
    assert (hidden["reason"], hidden["by"], hidden["listed"]) == ("hidden", "ann", True)
    assert hidden == why(catalogue, "kimi-k2")
    catalogue.refresh()
    assert why(catalogue, "kimi-k2")["by"] == "ann"
    shown = edit(catalogue, "kimi-k2", is_active=None)
    assert (shown["is_active"], shown["why"]) == (True, None)


@pytest.mark.parametrize("wish", [None, True])
def test_showing_a_model_that_upstream_dropped_leaves_it_inactive_and_says_so(
    catalogue: CatalogueHarness, gateway: RunningStandIn, wish: bool | None
) -> None:
    edit(catalogue, "kimi-k2", is_active=False)
    drop(gateway, 2)
    for _ in range(4):
        assert catalogue.refresh().status == "succeeded"
    row = edit(catalogue, "kimi-k2", is_active=wish)
    assert (row["is_active"], row["why"]["reason"], row["why"]["listed"]) == (False, "gone", False)
    assert "has not listed it since" in row["why"]["text"]
    gateway.set_models(THREE)
    catalogue.refresh()
    assert why(catalogue, "kimi-k2") is None


def test_a_model_that_is_hidden_and_gone_says_both(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    edit(catalogue, "kimi-k2", is_active=False)
    drop(gateway, 2)
    catalogue.refresh()
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["listed"]) == ("hidden", False)
    assert "hidden by ann" in reason["text"]
    assert "has not listed it since" in reason["text"]


def test_a_model_that_upstream_refused_says_when(catalogue: CatalogueHarness, gateway: RunningStandIn) -> None:
    drop(gateway, 2, 3)
    sha256 = (catalogue.refresh().held or {})["sha256"]
    catalogue.run("UPDATE llm_models SET unknown_upstream_at = now() WHERE matcha_llm_id = 2")
    catalogue.refresh(force=sha256)
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["since"] is not None) == ("refused", True)
    assert why(catalogue, "gemini-2-5-pro")["reason"] == "gone"


def test_a_hidden_model_that_moves_stays_hidden_by_the_same_operator(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    edit(catalogue, "kimi-k2", is_active=False)
    gateway.set_models([THREE[0], {"id": 22, "name": "Kimi K2"}, THREE[2]])
    catalogue.refresh()
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["by"], reason["listed"]) == ("hidden", "ann", True)


def test_a_row_whose_hidden_model_moved_names_its_new_row_and_stays_hidden(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    edit(catalogue, "kimi-k2", is_active=False)
    moved = {"id": 22, "name": "Kimi K2"}
    gateway.set_models([THREE[0], moved, THREE[2]])
    catalogue.refresh()
    cause = why(catalogue, "kimi-k2-2")
    assert cause is not None
    assert (cause["reason"], cause["listed"], cause["text"]) == (
        "gone",
        False,
        "upstream lists its model under the ID 22 now",
    )
    assert cause["since"] > cause["last_listed"]
    assert edit(catalogue, "kimi-k2-2", is_active=True)["is_active"] is False
    gateway.set_models([*THREE, moved])
    catalogue.refresh()
    for key in ("kimi-k2", "kimi-k2-2"):
        hidden = why(catalogue, key)
        assert hidden is not None
        assert (hidden["reason"], hidden["by"], hidden["listed"]) == ("hidden", "ann", True)
    assert edit(catalogue, "kimi-k2", is_active=None)["is_active"] is True
    assert why(catalogue, "kimi-k2-2")["reason"] == "hidden"


def test_where_a_model_is_now_is_told_after_it_has_moved_on_or_gone(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    for id_ in (22, 23):
        gateway.set_models([THREE[0], {"id": id_, "name": "Kimi K2"}, THREE[2]])
        catalogue.refresh()
    assert why(catalogue, "kimi-k2-2")["text"] == "upstream lists its model under the ID 23 now"
    drop(gateway, 2)
    catalogue.refresh()
    assert "has not listed it since" in why(catalogue, "kimi-k2-2")["text"]


def test_an_older_absence_and_an_older_refusal_say_nothing_of_this_one(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    drop(gateway, 2)
    catalogue.run("UPDATE llm_models SET unknown_upstream_at = now() WHERE matcha_llm_id = 2")
    catalogue.refresh()
    assert why(catalogue, "kimi-k2")["reason"] == "refused"
    gateway.set_models(THREE)
    catalogue.refresh()
    edit(catalogue, "kimi-k2", is_active=False)
    drop(gateway, 2)
    catalogue.run("UPDATE llm_models SET missed_syncs = 2 WHERE matcha_llm_id = 2")
    edit(catalogue, "kimi-k2", is_active=None)
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["since"]) == ("gone", reason["last_listed"])


def test_a_model_that_is_to_be_shown_goes_when_upstream_drops_and_refuses_it(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    drop(gateway, 2)
    catalogue.refresh()
    assert edit(catalogue, "kimi-k2", is_active=True)["is_active"] is True  # in its grace
    gateway.set_models(THREE)
    catalogue.refresh()
    drop(gateway, 2)
    catalogue.run("UPDATE llm_models SET unknown_upstream_at = now() WHERE matcha_llm_id = 2")
    catalogue.refresh()
    assert why(catalogue, "kimi-k2")["reason"] == "refused"
    assert edit(catalogue, "kimi-k2", is_active=True)["is_active"] is False


def test_a_row_that_somebody_switched_off_by_hand_is_no_riddle(catalogue: CatalogueHarness) -> None:
    catalogue.run("UPDATE llm_models SET is_active = false WHERE matcha_llm_id = 2")
    assert why(catalogue, "kimi-k2")["reason"] == "unknown"
    catalogue.refresh()
    assert why(catalogue, "kimi-k2") is None
