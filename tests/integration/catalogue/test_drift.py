"""Models that move between ids and come back, on the real PostgreSQL, with the stand-in as the gateway."""

from collections.abc import Iterator

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from harness.stand_in import RunningStandIn
from shared.catalogue import resolve
from shared.catalogue.edits import ModelEdit
from shared.catalogue.report import sentence
from shared.catalogue.sync.rows import LEDGERED
from shared.db import Caller
from tests.support.catalogue import replay

OPERATOR = Caller("service_role", "operator")
OTHERS = [(25, "Claude 3.5 Sonnet"), (35, "Gemini 2.5 Flash-Lite"), (40, "GPT-4o")]


@pytest.fixture
def catalogue(database: Database, gateway: RunningStandIn) -> Iterator[CatalogueHarness]:
    with catalogue_harness(database.url, gateway) as made:
        yield made


def refresh(catalogue: CatalogueHarness, gateway: RunningStandIn, *listed: tuple[int, str]) -> None:
    gateway.set_models([{"id": id_, "name": name} for id_, name in (*listed, *OTHERS)])
    assert catalogue.refresh().status == "succeeded"


def answers(catalogue: CatalogueHarness, key: str | None) -> tuple[int, bool]:
    with catalogue.database.transaction() as connection:
        model = resolve.resolve(connection, key)
    return model.matcha_llm_id, model.fallback


def test_a_default_that_moves_away_and_back_answers_at_once_each_time(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    refresh(catalogue, gateway, (28, "Claude 3.7 Sonnet"))
    catalogue.editor.edit("claude-3-7-sonnet", ModelEdit.model_validate({"display_order": 0}), caller=OPERATOR)
    for id_ in (128, 28, 128, 28):
        refresh(catalogue, gateway, (id_, "Claude 3.7 Sonnet"))
        row = catalogue.models()[id_]
        assert (row["model_key"], row["display_order"], row["is_default"]) == ("claude-3-7-sonnet", 0, True)
        assert answers(catalogue, None) == answers(catalogue, "claude-3-7-sonnet") == (id_, False)
        assert answers(catalogue, "no-such-key") == (id_, True)
    assert replay(catalogue.ledger()) == {
        id_: {name: row[name] for name in LEDGERED} for id_, row in catalogue.models().items()
    }
    sentences = [sentence(line) for line in catalogue.ledger() if line["kind"] == "moved"]
    assert sentences[-2:] == [
        "ID 128 was left by its model and keeps the key claude-3-7-sonnet-128",
        "claude-3-7-sonnet moved from ID 128 to ID 28",
    ]


def test_a_key_that_its_model_exchanged_when_it_came_back_still_means_it(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    for id_ in (28, 128, 28):
        refresh(catalogue, gateway, (id_, "Claude 3.7 Sonnet"))
    assert catalogue.models()[28]["model_key"] == "claude-3-7-sonnet"
    assert answers(catalogue, "claude-3-7-sonnet-28") == (28, False)
    refresh(catalogue, gateway, (28, "Mistral Large 3"), (128, "Claude 3.7 Sonnet"))
    assert answers(catalogue, "claude-3-7-sonnet-28") == (128, True)


def test_two_ids_that_change_places_exchange_all_that_belongs_to_the_names(
    catalogue: CatalogueHarness, gateway: RunningStandIn
) -> None:
    refresh(catalogue, gateway, (28, "Claude 3.7 Sonnet"), (30, "Claude Opus 4.1"))
    catalogue.editor.edit("gpt-4o", ModelEdit.model_validate({"is_default": True}), caller=OPERATOR)
    catalogue.editor.edit("claude-3-7-sonnet", ModelEdit.model_validate({"is_active": False}), caller=OPERATOR)
    gateway.set_models(
        [{"id": 40, "name": "Claude 3.7 Sonnet"}, {"id": 28, "name": "GPT-4o"}, {"id": 30, "name": "Claude Opus 4.1"}]
        + [{"id": id_, "name": name} for id_, name in OTHERS[:2]]
    )
    assert catalogue.refresh().status == "succeeded"
    assert answers(catalogue, None) == (28, False)
    assert catalogue.models()[40]["is_active"] is False
    assert [row["model_key"] for row in catalogue.models().values() if row["is_default"]] == ["gpt-4o"]
