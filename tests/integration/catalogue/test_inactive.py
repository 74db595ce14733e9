"""Models that are hidden or gone: why they are inactive, and what showing them does."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.catalogue.edits import ModelEdit
from shared.catalogue.inactive import read_all_models
from shared.db import Caller
from tests.support.refreshing import Bench, bench
from tests.support.servers import Database
from tests.support.stand_in import RunningStandIn

ANN = Caller("service_role", "ann")
THREE = [{"id": 1, "name": "GPT-4o"}, {"id": 2, "name": "Kimi K2"}, {"id": 3, "name": "Gemini 2.5 Pro"}]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningStandIn]:
    with RunningStandIn() as sandbox:
        yield sandbox


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[Bench]:
    gateway.behave()
    gateway.set_models(THREE)
    with bench(database.url, gateway) as made:
        made.refresh()
        yield made


def edit(catalogue: Bench, key: str, **changes: Any) -> dict[str, Any]:
    return catalogue.editor.edit(key, ModelEdit.model_validate(changes), caller=ANN)


def why(catalogue: Bench, key: str) -> dict[str, Any] | None:
    with catalogue.database.transaction() as connection:
        found = {model["model_key"]: model for model in read_all_models(connection)}
    reason: dict[str, Any] | None = found[key]["why"]
    assert found[key]["is_active"] is (reason is None)
    return reason


def drop(gateway: RunningStandIn, *ids: int) -> None:
    gateway.set_models([model for model in THREE if model["id"] not in ids])


def test_a_hidden_model_says_who_hid_it_and_is_shown_again(catalogue: Bench) -> None:
    hidden = edit(catalogue, "kimi-k2", is_active=False)["why"]
    assert (hidden["reason"], hidden["by"], hidden["listed"]) == ("hidden", "ann", True)
    assert hidden == why(catalogue, "kimi-k2")
    catalogue.refresh()
    assert why(catalogue, "kimi-k2")["by"] == "ann"  # type: ignore[index]
    shown = edit(catalogue, "kimi-k2", is_active=None)
    assert (shown["is_active"], shown["why"]) == (True, None)


@pytest.mark.parametrize("wish", [None, True])
def test_showing_a_model_that_upstream_dropped_leaves_it_inactive_and_says_so(
    catalogue: Bench, gateway: RunningStandIn, wish: bool | None
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


def test_a_model_that_is_hidden_and_gone_says_both(catalogue: Bench, gateway: RunningStandIn) -> None:
    edit(catalogue, "kimi-k2", is_active=False)
    drop(gateway, 2)
    catalogue.refresh()
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["listed"]) == ("hidden", False)
    assert "hidden by ann" in reason["text"]
    assert "has not listed it since" in reason["text"]


def test_a_model_that_upstream_refused_says_when(catalogue: Bench, gateway: RunningStandIn) -> None:
    drop(gateway, 2, 3)
    sha256 = (catalogue.refresh().held or {})["sha256"]
    catalogue.run("UPDATE llm_models SET unknown_upstream_at = now() WHERE matcha_llm_id = 2")
    catalogue.refresh(force=sha256)
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["since"] is not None) == ("refused", True)
    assert why(catalogue, "gemini-2-5-pro")["reason"] == "gone"  # type: ignore[index]


def test_a_hidden_model_that_moves_stays_hidden_by_the_same_operator(catalogue: Bench, gateway: RunningStandIn) -> None:
    edit(catalogue, "kimi-k2", is_active=False)
    gateway.set_models([THREE[0], {"id": 22, "name": "Kimi K2"}, THREE[2]])
    catalogue.refresh()
    reason = why(catalogue, "kimi-k2")
    assert reason is not None
    assert (reason["reason"], reason["by"], reason["listed"]) == ("hidden", "ann", True)


def test_a_row_that_somebody_switched_off_by_hand_is_no_riddle(catalogue: Bench) -> None:
    catalogue.run("UPDATE llm_models SET is_active = false WHERE matcha_llm_id = 2")
    assert why(catalogue, "kimi-k2")["reason"] == "unknown"  # type: ignore[index]
    catalogue.refresh()
    assert why(catalogue, "kimi-k2") is None
