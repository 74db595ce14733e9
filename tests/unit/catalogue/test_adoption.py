"""What becomes of the rows of the hand-made tables that this system replaces."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.adoption import Adoption, CannotAdopt, adopt, describe_model
from shared.catalogue.facts.names import clean
from shared.catalogue.sync.plan import plan_sync
from tests.support.catalogue import NIGHT, POLICY, by_id, describe, parsed, replay

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def old(id_: Any, name: Any, key: Any, **more: Any) -> dict[str, Any]:
    row = {
        "id": 1,
        "matcha_llm_id": id_,
        "model_name": name,
        "model_key": key,
        "provider": "openai",
        "capabilities": {},
        "is_active": True,
        "is_default": False,
        "display_order": 1000,
        "created_at": "2025-12-07T00:00:00+00:00",
        "last_synced_at": None,
    }
    return row | more


def adopted(*rows: dict[str, Any], usage: list[dict[str, Any]] | None = None) -> Adoption:
    numbered = [row | {"id": number} if row["id"] == 1 else row for number, row in enumerate(rows, 1)]
    return adopt(numbered, usage or [], describe=describe, policy=POLICY, now=NOW)


def notes(adoption: Adoption) -> str:
    return "\n".join([*(note for model in adoption.models for note in model.notes), *adoption.notes])


def test_a_row_that_says_what_we_would_say_gets_no_override() -> None:
    (model,) = adopted(old(40, "GPT-4o", "gpt-4o", is_default=True)).models
    assert model.row.overrides == {}
    assert (model.id, model.row.is_default, model.created_at) == (1, True, datetime(2025, 12, 7, tzinfo=UTC))
    assert model.notes == ()


def test_what_was_chosen_by_hand_becomes_an_override() -> None:
    first, second = adopted(
        old(40, "GPT-4o", "gpt-4o", display_order=0),
        old(68, "GPT-5 Mini", "small", is_default=True, capabilities={"context_window": 8}, display_order=9),
    ).models
    assert (first.row.overrides, first.row.is_default) == ({"display_order": 0}, False)
    assert second.row.overrides == {
        "capabilities": {"context_window": 8},
        "model_key": "small",
        "display_order": 9,
        "is_default": True,
    }
    assert second.row.provenance["model_key"]["below"]["value"] == "gpt-5-mini"
    assert second.row.capabilities == {"context_window": 8}


def test_an_inactive_row_is_hidden_and_one_that_says_nothing_waits_for_a_list() -> None:
    adoption = adopted(old(1, "A", "a", is_active=False), old(2, "B", "b", is_active=None), old(3, "C", "c"))
    rows = by_id(model.row for model in adoption.models)
    assert [rows[id_].is_active for id_ in (1, 2, 3)] == [False, False, True]
    plan = plan_sync(list(rows.values()), parsed((1, "A"), (2, "B"), (3, "C")), describe, POLICY, NIGHT)
    assert [(rows | dict(plan.written))[id_].is_active for id_ in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize(
    ("defaults", "chosen"),
    [
        ([(1, True), (2, True)], 1),
        ([(2, True)], 2),
        ([], 1),
        ([(1, False)], 2),
        ([(1, False), (3, True)], 3),
    ],
)
def test_exactly_one_active_row_is_the_default(defaults: list[tuple[int, bool]], chosen: int) -> None:
    marked = dict(defaults)
    adoption = adopted(
        *(
            old(id_, f"Model {id_}", f"model-{id_}", is_default=id_ in marked, is_active=marked.get(id_, True))
            for id_ in (1, 2, 3)
        )
    )
    assert [model.row.matcha_llm_id for model in adoption.models if model.row.is_default] == [chosen]
    assert ("default" in notes(adoption)) == (defaults != [(2, True)])


def test_a_key_that_two_rows_have_stays_with_the_active_one() -> None:
    adoption = adopted(old(1, "A", "x", is_active=False), old(2, "B", "x"), usage=[used("x", 3)])
    assert {model.row.matcha_llm_id: model.row.model_key for model in adoption.models} == {1: "x-1", 2: "x"}
    assert "ID 2 has the key 'x' too" in notes(adoption)
    assert [use.model_key for use in adoption.usage] == ["x"]


def used(key: Any, requests: Any, last_used: Any = "2026-02-01T00:00:00+00:00") -> dict[str, Any]:
    return {"model_key": key, "request_count": requests, "last_used": last_used}


def test_counts_are_kept_on_the_day_of_the_last_use() -> None:
    adoption = adopted(
        old(1, "A", " a\n"),
        usage=[
            used(" a\n", 2),
            used(" a\n", 5),
            used("gone", 1, "2020-01-01T00:00:00+00:00"),
            used("gone", 0),
            used(None, 4),
            used("a", None),
        ],
    )
    assert [(use.model_key, use.day, use.requests) for use in adoption.usage] == [
        ("a", date(2026, 2, 1), 7),
        ("gone", date(2020, 1, 1), 1),
    ]
    assert "usage of NULL: 4 requests are left out" in notes(adoption)


@pytest.mark.parametrize("last_used", [None, "infinity", "2999-01-01T00:00:00+00:00"])
def test_a_last_use_that_cannot_be_is_bounded_and_said(last_used: str | None) -> None:
    adoption = adopted(old(1, "A", "a"), usage=[used("a", 1, last_used)])
    assert adoption.usage[0].last_used == datetime(2025, 12, 7, tzinfo=UTC)
    assert "becomes 2025-12-07" in notes(adoption)


@pytest.mark.parametrize(
    ("row", "expected_note"),
    [
        (old(1, "A\x07\nB", "a"), "the name 'A\\x07\\nB' becomes 'A B'"),
        (old(1, None, "a"), "the name NULL becomes 'a'"),
        (old(1, "x" * 300, "a"), "becomes"),
        (old(1, "A", None), "it had no key and gets a"),
        (old(1, "A", " "), "the key ' ' becomes 'a'"),
        (old(1, "A", "a/b"), "the key 'a/b' cannot stand in a path"),
        (old(1, "A", "a\tb"), "the key 'a\\tb' becomes 'a b'"),
        (old(1, "A", "a", capabilities={"speed": 3}), "'speed' is no capability"),
        (old(1, "A", "a", capabilities={"context_window": "big"}), "context_window cannot be 'big'"),
        (old(1, "A", "a", capabilities={"supports_vision": 1}), "supports_vision cannot be 1"),
        (old(1, "A", "a", capabilities=[1]), "its capabilities are no object ([1])"),
        (old(1, "A", "a", display_order="first"), "display_order 'first' is no number"),
        (old(1, "A", "a", display_order=10**12), "display_order 1000000000000 becomes 2147483647"),
        (old(1, "A", "a", id="0b5e"), "its id '0b5e' becomes 1"),
        (old(1, "A", "a", provider="Acme"), "the provider 'Acme' becomes other"),
    ],
)
def test_what_cannot_be_kept_is_left_out_with_a_note(row: dict[str, Any], expected_note: str) -> None:
    adoption = adopted(row)
    assert expected_note in notes(adoption)
    assert "\n" not in describe_model(adoption.models[0])


def test_values_of_other_types_that_say_the_same_are_taken() -> None:
    (model,) = adopted(
        old(
            "28",
            "A",
            "GPT-4o_V1",
            is_active="t",
            is_default="yes",
            display_order=5.0,
            capabilities='{"context_window": 8.0, "supports_tools": null}',
        )
    ).models
    row = model.row
    assert (row.matcha_llm_id, row.model_key, row.is_active, row.is_default, row.display_order) == (
        28,
        "GPT-4o_V1",
        True,
        True,
        5,
    )
    assert row.capabilities == {"context_window": 8}


@pytest.mark.parametrize("id_", [None, 0, -1, 2**31, 2**63, "x", 1.5, True])
def test_a_row_without_an_upstream_id_refuses_the_whole(id_: Any) -> None:
    with pytest.raises(CannotAdopt, match="matcha_llm_id is") as refused:
        adopted(old(1, "A", "a"), old(id_, "B", "b"))
    assert "\n" not in str(refused.value)


def test_an_upstream_id_that_stands_twice_refuses_the_whole() -> None:
    with pytest.raises(CannotAdopt, match="matcha_llm_id 1 stands in another row too"):
        adopted(old(1, "A", "a"), old(1, "B", "b"))


anything = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
names = st.sampled_from(["GPT-4o", "gpt 4O", "Claude 3.7 Sonnet", "Kimi K2", "", "\x00", "文心一言"]) | anything
old_rows = st.lists(
    st.fixed_dictionaries(
        {"matcha_llm_id": st.integers(1, 2**31 - 1), "model_name": names, "model_key": names | st.just("x")},
        optional={
            "id": anything,
            "provider": anything,
            "is_active": anything,
            "is_default": anything,
            "display_order": anything,
            "created_at": anything,
            "capabilities": anything
            | st.dictionaries(st.sampled_from(["context_window", "supports_vision", "odd"]), anything),
        },
    ),
    max_size=6,
    unique_by=lambda row: row["matcha_llm_id"],
)
old_usage = st.lists(
    st.fixed_dictionaries({"model_key": names, "request_count": anything}, optional={"last_used": anything})
)


@given(old_rows, old_usage)
def test_whatever_stands_there_a_whole_catalogue_comes_of_it(rows: list[dict], usage: list[dict]) -> None:
    adoption = adopt(rows, usage, describe=describe, policy=POLICY, now=NOW)
    table = [model.row for model in adoption.models]
    assert {row.matcha_llm_id for row in table} == {row["matcha_llm_id"] for row in rows}
    assert len({row.model_key for row in table}) == len({model.id for model in adoption.models}) == len(rows)
    assert all(row.model_key and clean(row.model_name) == row.model_name for row in table)
    assert sum(row.is_default for row in table) == any(row.is_active for row in table)
    assert all(row.is_active for row in table if row.is_default)
    assert replay(adoption.changes()) == {row.matcha_llm_id: row.shown() for row in table}
    assert len({(use.model_key, use.day) for use in adoption.usage}) == len(adoption.usage)


@given(old_rows)
def test_lists_of_the_same_models_undo_nothing_that_was_adopted(rows: list[dict]) -> None:
    table = [model.row for model in adopt(rows, [], describe=describe, policy=POLICY, now=NOW).models]
    listed = parsed(*((row.matcha_llm_id, row.model_name) for row in table))
    for night in range(3):
        plan = plan_sync(table, listed, describe, POLICY, NIGHT + timedelta(days=night))
        after = by_id(table) | dict(plan.written)
        for row in table:
            new = after[row.matcha_llm_id]
            assert (new.model_key, new.display_order, new.overrides) == (
                row.model_key,
                row.display_order,
                row.overrides,
            )
            assert new.capabilities == row.capabilities
            assert new.is_active or row.overrides.get("is_active") is False
            assert new.is_default or not row.is_default or "is_default" not in row.overrides
        table = list(after.values())
