"""Each capability comes from the most trusted source that states it, and says from which."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.facts.capabilities import CAPABILITIES, CapabilityStatement, resolve

VALUES = st.dictionaries(st.sampled_from(CAPABILITIES), st.booleans() | st.integers(1, 9))


def test_the_capabilities_are_those_of_the_contract() -> None:
    assert CAPABILITIES == (
        "context_window",
        "max_output",
        "supports_vision",
        "supports_tools",
        "supports_files",
        "supports_websearch",
        "supports_reasoning",
        "supports_audio",
    )


@pytest.mark.parametrize(
    ("mime_types", "values"),
    [
        (("image/png", "application/pdf"), {"supports_vision": True, "supports_files": True}),
        (("application/pdf",), {"supports_files": True}),
        ((), {"supports_files": False}),
        (None, {}),
    ],
)
def test_file_types_tell_vision_and_files_and_nothing_where_there_are_none(
    mime_types: tuple[str, ...] | None, values: dict[str, bool]
) -> None:
    resolved = resolve("Acme One", mime_types, {})

    assert resolved.values == values
    assert set(resolved.provenance) == set(values)
    assert all(origin == {"source": "upstream", "detail": "file types"} for origin in resolved.provenance.values())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Acme One - Reasoning", {"supports_reasoning": True}),
        ("Acme One (Thinking)", {"supports_reasoning": True}),
        ("Acme One (Non-Reasoning)", {"supports_reasoning": False}),
        ("Acme One Web Search", {"supports_websearch": True}),
        ("Acme Vision One", {}),
        ("Acme Researcher", {}),
    ],
)
def test_what_upstream_says_in_the_name_is_upstreams_word(name: str, values: dict[str, bool]) -> None:
    resolved = resolve(name, None, {})

    assert resolved.values == values
    assert all(origin == {"source": "upstream", "detail": "name"} for origin in resolved.provenance.values())


def test_what_nobody_states_is_absent_and_not_false() -> None:
    assert resolve("Acme One", None, {}).values == {}


def test_the_mapping_is_trusted_more_than_public_data_and_less_than_upstream() -> None:
    mapping = CapabilityStatement("mapping", {"supports_vision": False, "context_window": 1}, detail="model 28")
    data = CapabilityStatement(
        "models-dev:acme", {"context_window": 2, "max_output": 3}, detail="acme-one", date="2025-02-19"
    )

    resolved = resolve("Acme One", ("image/png",), {}, mapping, data)

    assert resolved.values == {
        "supports_files": True,
        "supports_vision": True,
        "context_window": 1,
        "max_output": 3,
    }
    assert resolved.provenance["supports_vision"] == {"source": "upstream", "detail": "file types"}
    assert resolved.provenance["context_window"] == {"source": "mapping", "detail": "model 28"}
    assert resolved.provenance["max_output"] == {
        "source": "models-dev:acme",
        "detail": "acme-one",
        "date": "2025-02-19",
    }


def test_an_override_shows_what_is_below_it() -> None:
    resolved = resolve("Acme One", (), {"supports_files": True, "supports_audio": False})

    assert resolved.values == {"supports_files": True, "supports_audio": False}
    assert resolved.provenance == {
        "supports_files": {
            "source": "override",
            "below": {"value": False, "source": "upstream", "detail": "file types"},
        },
        "supports_audio": {"source": "override"},
    }


def test_an_override_of_null_or_of_no_capability_is_none() -> None:
    assert resolve("Acme One", None, {"supports_files": None, "colour": "red"}).values == {}


@given(VALUES, VALUES, VALUES, st.none() | st.lists(st.sampled_from(["image/png", "text/csv"])).map(tuple))
def test_the_trust_order_holds_for_each_capability_by_itself(
    overrides: dict[str, Any],
    mapping: dict[str, Any],
    data: dict[str, Any],
    mime_types: tuple[str, ...] | None,
) -> None:
    upstream = resolve("Acme One", mime_types, {}).values
    layers = {"override": overrides, "upstream": upstream, "mapping": mapping, "data": data}

    resolved = resolve(
        "Acme One", mime_types, overrides, CapabilityStatement("mapping", mapping), CapabilityStatement("data", data)
    )

    assert set(resolved.values) == set(resolved.provenance) == set().union(*layers.values())
    for capability, value in resolved.values.items():
        source = next(source for source, layer in layers.items() if capability in layer)
        assert value == layers[source][capability]
        assert resolved.provenance[capability]["source"] == source
