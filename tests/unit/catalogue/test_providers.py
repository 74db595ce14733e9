"""The provider of a model is told from its name, or not told at all: a wrong guess is worse than `other`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.facts.provider_families import RULES, Rule
from shared.catalogue.facts.providers import OTHER, provider_of
from tests.unit.catalogue.examples import NO_MAKER, PROVIDERS


@pytest.mark.parametrize(
    ("provider", "name"), [(provider, name) for provider, names in PROVIDERS.items() for name in names]
)
def test_a_family_tells_its_provider_however_it_is_spelled(provider: str, name: str) -> None:
    assert provider_of(name) == provider


@pytest.mark.parametrize("name", NO_MAKER)
def test_a_name_that_only_looks_like_a_models_tells_no_provider(name: str) -> None:
    assert provider_of(name) == OTHER


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.provider}: {rule.prefix}")
def test_every_rule_of_the_table_has_examples_that_it_tells(rule: Rule) -> None:
    assert rule.examples
    assert {provider_of(name) for name in rule.examples} == {rule.provider}


@pytest.mark.parametrize("name", [name for names in PROVIDERS.values() for name in names])
@pytest.mark.parametrize(
    "spell", [str.upper, str.lower, lambda name: f"{name} (Internal)"], ids=["upper", "lower", "tag"]
)
def test_case_and_a_tag_do_not_change_the_provider(name: str, spell: object) -> None:
    assert callable(spell)
    assert provider_of(spell(name)) == provider_of(name)


@given(st.text())
def test_any_text_has_an_answer(name: str) -> None:
    assert provider_of(name) in {rule.provider for rule in RULES} | {OTHER}
