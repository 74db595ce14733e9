"""Models that move between ids and come back, on the real PostgreSQL, with the stand-in as the gateway."""

from collections.abc import Iterator

import pytest

from shared.catalogue import resolve as keys
from shared.catalogue.edits import ModelEdit
from shared.catalogue.report import sentence
from shared.catalogue.sync.rows import LEDGERED
from shared.db import Caller
from tests.support.catalogue import replay
from tests.support.refreshing import Bench, bench
from tests.support.servers import Database
from tests.support.stand_in import RunningStandIn

OPERATOR = Caller("service_role", "operator")
OTHERS = [(25, "Claude 3.5 Sonnet"), (35, "Gemini 2.5 Flash-Lite"), (40, "GPT-4o")]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningStandIn]:
    with RunningStandIn() as sandbox:
        yield sandbox


@pytest.fixture
def at(database: Database, gateway: RunningStandIn) -> Iterator[Bench]:
    with bench(database.url, gateway) as made:
        yield made


def refresh(at: Bench, gateway: RunningStandIn, *listed: tuple[int, str]) -> None:
    gateway.set_models([{"id": id_, "name": name} for id_, name in (*listed, *OTHERS)])
    assert at.refresh().status == "succeeded"


def answers(at: Bench, key: str | None) -> tuple[int, bool]:
    with at.database.transaction() as connection:
        model = keys.resolve(connection, key)
    return model.matcha_llm_id, model.fallback


def test_a_default_that_moves_away_and_back_answers_at_once_each_time(at: Bench, gateway: RunningStandIn) -> None:
    refresh(at, gateway, (28, "Claude 3.7 Sonnet"))
    at.editor.edit("claude-3-7-sonnet", ModelEdit.model_validate({"display_order": 0}), caller=OPERATOR)
    for id_ in (128, 28, 128, 28):
        refresh(at, gateway, (id_, "Claude 3.7 Sonnet"))
        row = at.models()[id_]
        assert (row["model_key"], row["display_order"], row["is_default"]) == ("claude-3-7-sonnet", 0, True)
        assert answers(at, None) == answers(at, "claude-3-7-sonnet") == (id_, False)
        assert answers(at, "no-such-key") == (id_, True)
    assert replay(at.ledger()) == {id_: {name: row[name] for name in LEDGERED} for id_, row in at.models().items()}
    told = [sentence(line) for line in at.ledger() if line["kind"] == "moved"]
    assert told[-2:] == [
        "ID 128 was left by its model and keeps the key claude-3-7-sonnet-128",
        "claude-3-7-sonnet moved from ID 128 to ID 28",
    ]


def test_a_key_that_its_model_exchanged_when_it_came_back_still_means_it(at: Bench, gateway: RunningStandIn) -> None:
    for id_ in (28, 128, 28):
        refresh(at, gateway, (id_, "Claude 3.7 Sonnet"))
    assert at.models()[28]["model_key"] == "claude-3-7-sonnet"
    assert answers(at, "claude-3-7-sonnet-28") == (28, False)
    refresh(at, gateway, (28, "Mistral Large 3"), (128, "Claude 3.7 Sonnet"))
    assert answers(at, "claude-3-7-sonnet-28") == (128, True)


def test_two_ids_that_change_places_exchange_all_that_belongs_to_the_names(at: Bench, gateway: RunningStandIn) -> None:
    refresh(at, gateway, (28, "Claude 3.7 Sonnet"), (30, "Claude Opus 4.1"))
    at.editor.edit("gpt-4o", ModelEdit.model_validate({"is_default": True}), caller=OPERATOR)
    at.editor.edit("claude-3-7-sonnet", ModelEdit.model_validate({"is_active": False}), caller=OPERATOR)
    gateway.set_models(
        [{"id": 40, "name": "Claude 3.7 Sonnet"}, {"id": 28, "name": "GPT-4o"}, {"id": 30, "name": "Claude Opus 4.1"}]
        + [{"id": id_, "name": name} for id_, name in OTHERS[:2]]
    )
    assert at.refresh().status == "succeeded"
    assert answers(at, None) == (28, False)
    assert at.models()[40]["is_active"] is False
    assert [row["model_key"] for row in at.models().values() if row["is_default"]] == ["gpt-4o"]
