"""The provider of a model is told from its name, or not told at all: a wrong guess is worse than `other`."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.facts.provider_families import RULES
from shared.catalogue.facts.providers import OTHER, provider_of
from tests.unit.catalogue.examples import NO_MAKER, PROVIDERS


def test_a_family_tells_its_provider_however_it_is_spelled() -> None:
    providers = {provider: {name: provider_of(name) for name in names} for provider, names in PROVIDERS.items()}
    assert providers == {provider: dict.fromkeys(names, provider) for provider, names in PROVIDERS.items()}


def test_a_name_that_only_looks_like_a_models_tells_no_provider() -> None:
    assert {name: provider_of(name) for name in NO_MAKER} == dict.fromkeys(NO_MAKER, OTHER)


def test_every_rule_of_the_table_has_examples_that_it_tells() -> None:
    assert [rule for rule in RULES if {provider_of(name) for name in rule.examples} != {rule.provider}] == []


@pytest.mark.parametrize(
    "spell", [str.upper, str.lower, lambda name: f"{name} (Internal)"], ids=["upper", "lower", "tag"]
)
def test_case_and_a_tag_do_not_change_the_provider(spell: Callable[[str], str]) -> None:
    names = [name for names in PROVIDERS.values() for name in names]
    assert {name: provider_of(spell(name)) for name in names} == {name: provider_of(name) for name in names}


@given(st.text())
def test_any_text_has_an_answer(name: str) -> None:
    assert provider_of(name) in {rule.provider for rule in RULES} | {OTHER}
