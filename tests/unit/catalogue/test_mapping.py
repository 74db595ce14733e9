"""The mapping states the specification's models once, and says what is wrong with it when something is."""

import pytest

from shared.catalogue.facts.mapping import MappingError, load_mapping, read_mapping

ONE = """
[[models]]
id = 1
key = "acme-one"
name = "Acme One"
provider = "acme"
default = true
order = 1
"""
NEWER = """
[[capabilities]]
names = ["Acme Two"]
stated = 2026-01-31
source = "model card"
values = { context_window = 5, supports_tools = false }
"""


def test_the_five_models_of_the_specification_stand_there_as_it_names_them() -> None:
    stated = [(one.id, one.key, one.name, one.provider, one.default, one.order) for one in load_mapping().models]

    assert stated == [
        (28, "claude-3-7-sonnet", "Claude 3.7 Sonnet", "anthropic", True, 1),
        (25, "claude-3-5-sonnet", "Claude 3.5 Sonnet", "anthropic", False, 2),
        (30, "claude-3-opus-4-1", "Claude Opus 4.1", "anthropic", False, 3),
        (35, "gemini-2-5-flash-lite", "Gemini 2.5 Flash-Lite", "google", False, 4),
        (40, "gpt-4o", "GPT-4o", "openai", False, 5),
    ]


def test_only_what_the_specification_says_of_capabilities_is_stated() -> None:
    assert {one.key: one.capabilities.stated() for one in load_mapping().models if one.capabilities.stated()} == {
        "claude-3-7-sonnet": {"context_window": 200000, "supports_vision": False, "supports_tools": True}
    }


@pytest.mark.parametrize(
    "name",
    [
        "Claude 3.7 Sonnet",
        "claude sonnet 3.7",
        "Anthropic: Claude 3.7 Sonnet (Legacy)",
        "Claude 3.7 Sonnet - Reasoning",
    ],
)
def test_what_is_stated_is_found_by_the_words_of_the_name(name: str) -> None:
    mapped = load_mapping().find(name)

    assert mapped is not None
    assert mapped.source == "mapping"
    assert mapped.values["context_window"] == 200000


@pytest.mark.parametrize(
    "name", ["GPT-4o", "Claude 3.5 Sonnet", "Claude 3.7 Haiku", "Claude 3.7 Sonnet Preview", "", "🚀"]
)
def test_nothing_is_found_where_nothing_is_stated(name: str) -> None:
    assert load_mapping().find(name) is None


def test_a_model_of_the_specification_is_found_by_its_name_and_no_variant_of_it_is() -> None:
    mapped = load_mapping().model("claude opus 4.1")

    assert mapped is not None
    assert (mapped.id, mapped.key) == (30, "claude-3-opus-4-1")
    assert load_mapping().model("Claude Opus 4.1 - Reasoning") is None


def test_newer_models_are_added_with_their_day_and_source() -> None:
    mapped = read_mapping(ONE + NEWER).find("two acme (Deprecated)")

    assert mapped is not None
    assert mapped.values == {"context_window": 5, "supports_tools": False}
    assert mapped.provenance() == {"source": "mapping", "detail": "model card", "date": "2026-01-31"}


def test_what_a_model_states_is_not_overruled_by_an_addition() -> None:
    text = ONE + "capabilities = { context_window = 7 }\n" + NEWER.replace("Acme Two", "One Acme")

    mapped = read_mapping(text).find("Acme One")

    assert mapped is not None
    assert mapped.values == {"context_window": 7, "supports_tools": False}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("models = 1 2", r"mapping\.toml: .*line 1, column"),
        ("", r"mapping\.toml: models: Field required"),
        (ONE.replace("id = 1", 'id = "1"'), r"mapping\.toml: models\.0\.id: "),
        (ONE.replace("id = 1", "id = 0"), r"mapping\.toml: models\.0\.id: "),
        (ONE.replace("acme-one", "Acme One"), r"mapping\.toml: models\.0\.key: "),
        (ONE.replace("order = 1", "order = 1\ncolour = 1"), r"mapping\.toml: models\.0\.colour: Extra"),
        (ONE + ONE.replace("true", "false"), r"mapping\.toml: whole: .*the same id stands there twice"),
        (ONE.replace("true", "false"), r"exactly one model must be the default"),
        (ONE + "capabilities = { context_window = true }", r"models\.0\.capabilities\.context_window: "),
        (ONE + "capabilities = { supports_vision = 1 }", r"models\.0\.capabilities\.supports_vision: "),
        (ONE + "capabilities = { supports_flying = true }", r"models\.0\.capabilities\.supports_flying: Extra"),
        (ONE + NEWER + NEWER.replace("Acme Two", "two acme"), r"the same name of capabilities stands there twice"),
    ],
)
def test_a_wrong_mapping_is_refused_with_the_place_and_the_fault(text: str, fault: str) -> None:
    with pytest.raises(MappingError, match=fault):
        read_mapping(text)
