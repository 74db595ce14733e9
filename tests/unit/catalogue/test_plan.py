"""Identity, grace, guard and default: what a night does to the table."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalogue.edits import ModelEdit, edit_model
from shared.catalogue.facts.names import same_words
from shared.catalogue.sync.held import hold_report
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.plan import Plan, Policy, plan_sync
from shared.catalogue.sync.rows import ModelRow
from tests.support.catalogue import NIGHT, POLICY, after, by_id, describe, ledgered, nights, parsed, replay, sync
from tests.support.examples import examples

SONNET, HAIKU, GPT, GEMINI = (28, "Claude 3.7 Sonnet"), (25, "Claude 3.5 Haiku"), (40, "GPT-4o"), (35, "Gemini 2.5 Pro")
FOUR = (SONNET, HAIKU, GPT, GEMINI)


@pytest.fixture
def four() -> list[ModelRow]:
    rows, _ = sync([], *FOUR)
    return rows


def kinds(plan, id_: int | None = None) -> list[str]:
    return [change.kind for change in plan.changes if id_ is None or change.matcha_llm_id == id_]


def test_first_list_is_added_with_keys_providers_and_the_preferred_default() -> None:
    rows, plan = sync([], *FOUR)
    assert {row.model_key for row in rows} == {"claude-3-7-sonnet", "claude-3-5-haiku", "gpt-4o", "gemini-2-5-pro"}
    assert {row.provider for row in rows} == {"anthropic", "openai", "google"}
    assert [row.model_key for row in rows if row.is_default] == ["claude-3-7-sonnet"]
    assert plan.counts == {"added": 4, "updated": 0, "unchanged": 0, "deactivated": 0, "reactivated": 0, "failed": 0}


def test_the_same_list_again_changes_nothing(four: list[ModelRow]) -> None:
    rows, plan = sync(four, *FOUR)
    assert not plan.written
    assert not plan.changes
    assert plan.counts["unchanged"] == 4
    assert plan.touched == {28, 25, 40, 35}
    assert rows == four


def test_other_order_case_and_punctuation_is_a_rename_that_keeps_the_key(four: list[ModelRow]) -> None:
    rows, plan = sync(four, (28, "claude sonnet 3.7"), HAIKU, GPT, GEMINI)
    assert kinds(plan) == ["renamed"]
    assert by_id(rows)[28].model_key == "claude-3-7-sonnet"
    assert by_id(rows)[28].model_name == "claude sonnet 3.7"
    assert by_id(rows)[28].is_default


def test_an_id_with_another_name_is_repointed_and_loses_key_overrides_default(four: list[ModelRow]) -> None:
    pinned = [
        replace(row, overrides={"display_order": 7}, display_order=7) if row.matcha_llm_id == 28 else row
        for row in four
    ]
    rows, plan = sync(pinned, (28, "Claude Sonnet 4"), HAIKU, GPT, GEMINI)
    row = by_id(rows)[28]
    assert (row.model_key, row.model_name, row.overrides, row.is_default) == (
        "claude-sonnet-4",
        "Claude Sonnet 4",
        {},
        False,
    )
    assert kinds(plan, 28)[0] == "repointed"
    assert "claude-3-7-sonnet" not in {row.model_key for row in rows}
    assert plan.guard.repointed == 1


def test_the_default_that_is_lost_is_replaced_by_the_same_providers_first(four: list[ModelRow]) -> None:
    rows, plan = sync(four, (28, "Llama 4 Maverick"), HAIKU, GPT, GEMINI)
    assert [row.model_key for row in rows if row.is_default] == ["claude-3-5-haiku"]
    assert plan.promoted == ("claude-3-7-sonnet", "claude-3-5-haiku")
    assert kinds(plan, 25) == ["default"]


def test_a_name_that_returns_under_a_new_id_moves_with_everything(four: list[ModelRow]) -> None:
    edited = [
        replace(row, display_order=3, overrides={"capabilities": {"supports_vision": True}})
        if row.matcha_llm_id == 28
        else row
        for row in four
    ]
    rows, plan = sync(edited, (71, "Claude 3.7 Sonnet"), HAIKU, GPT, GEMINI)
    new, old = by_id(rows)[71], by_id(rows)[28]
    assert (new.model_key, new.display_order, new.is_default) == ("claude-3-7-sonnet", 3, True)
    assert new.capabilities["supports_vision"] is True
    assert (old.model_key, old.is_default, old.overrides) == ("claude-3-7-sonnet-28", False, {})
    assert kinds(plan) == ["moved", "moved"]
    assert plan.promoted is None


BACK_AND_FORTH = [(128,), (28,), (128,), (28,), (228,), (128,), (28,)]


@pytest.mark.parametrize("hours", [1, 24, 24 * 365 * 2], ids=["soon", "nightly", "after years"])
def test_a_model_that_comes_back_to_an_id_is_moved_with_everything(four: list[ModelRow], hours: int) -> None:
    rows = edited(edited(four, 28, display_order=3), 28, capabilities={"supports_vision": True})
    retired: dict[str, str] = {}
    for turn, ids in enumerate(BACK_AND_FORTH):
        now = NIGHT + timedelta(hours=hours * turn)
        rows, plan = sync(rows, *((id_, "Claude 3.7 Sonnet") for id_ in ids), *FOUR[1:], now=now, retired=retired)
        row = by_id(rows)[ids[0]]
        assert (row.model_key, row.display_order, row.is_default, row.is_active) == ("claude-3-7-sonnet", 3, True, True)
        assert row.overrides == {"display_order": 3, "capabilities": {"supports_vision": True}}
        assert plan.guard.absent == 0
        assert kinds(plan, ids[0]) == ["moved"]
        assert sum(row.is_default for row in rows) == 1
        retired = retired_after(retired, rows, plan)


def test_a_model_that_is_listed_under_both_ids_keeps_its_key_where_it_is(four: list[ModelRow]) -> None:
    rows, _ = sync(four, (71, "Claude 3.7 Sonnet"), *FOUR[1:])
    rows, plan = sync(rows, (71, "Claude 3.7 Sonnet"), *FOUR)
    assert by_id(rows)[71].model_key == "claude-3-7-sonnet"
    assert (by_id(rows)[28].model_key, by_id(rows)[28].is_active) == ("claude-3-7-sonnet-28", True)
    assert "moved" not in kinds(plan)
    rows, plan = sync(rows, *FOUR)
    assert (by_id(rows)[28].model_key, by_id(rows)[28].is_default) == ("claude-3-7-sonnet", True)


def test_a_main_key_goes_to_another_row_of_the_same_name_when_its_own_is_gone() -> None:
    rows, _ = sync([], (4, "Kimi K2"), (5, "Kimi K2"), GPT)
    rows, plan = sync(rows, (5, "Kimi K2"), GPT)
    assert by_id(rows)[5].model_key == "kimi-k2"
    assert plan.guard.absent == 1  # a row less is offered
    rows, _ = sync(rows, (4, "Kimi K2"), (5, "Kimi K2"), GPT)
    assert [row.model_key for row in rows[:2]] == ["kimi-k2-4", "kimi-k2"]


def test_a_row_of_the_same_name_without_the_main_key_leaves_nobody_anything() -> None:
    rows, _ = sync([], (4, "Kimi K2"), (5, "Kimi K2"), GPT)
    rows, plan = sync(rows, (4, "Kimi K2"), GPT)
    assert [row.model_key for row in rows[:2]] == ["kimi-k2", "kimi-k2-5"]
    assert not plan.changes


def test_a_hidden_model_does_not_hide_a_row_of_the_same_name() -> None:
    rows, _ = sync([], (4, "Kimi K2"), (5, "Kimi K2"), GPT)
    rows, _ = sync(edited(rows, 4, is_active=False), (5, "Kimi K2"), GPT)
    assert (by_id(rows)[5].model_key, by_id(rows)[5].is_active) == ("kimi-k2-5", True)


def test_what_an_operator_set_on_a_row_of_the_same_name_stays_when_a_key_comes() -> None:
    rows, _ = sync([], (4, "Kimi K2"), (5, "Kimi K2"), GPT)
    rows = edited(edited(rows, 4, display_order=1), 5, model_name="The second")
    rows, _ = sync(rows, (5, "Kimi K2"), GPT)
    row = by_id(rows)[5]
    assert (row.model_key, row.model_name, row.display_order) == ("kimi-k2", "The second", 1)


def test_a_model_gets_its_key_back_though_its_last_id_means_another_model_now(four: list[ModelRow]) -> None:
    rows, plan = sync(four, (71, "Claude 3.7 Sonnet"), *FOUR[1:])
    rows, plan = sync(rows, (71, "Mistral Large 3"), *FOUR[1:])
    retired = retired_after({}, rows, plan)
    assert retired["claude-3-7-sonnet"] == "Claude 3.7 Sonnet"
    rows, plan = sync(rows, (71, "Mistral Large 3"), *FOUR, retired=retired)
    assert by_id(rows)[28].model_key == "claude-3-7-sonnet"


def test_a_model_with_another_spelling_gets_the_key_that_it_had(four: list[ModelRow]) -> None:
    rows, _ = sync(four, (28, "claude sonnet 3.7"), *FOUR[1:])
    rows, plan = sync(rows, (28, "Mistral Large 3"), *FOUR[1:])
    retired = retired_after({}, rows, plan)
    rows, _ = sync(rows, (28, "Mistral Large 3"), (90, "Claude-Sonnet 3.7"), *FOUR[1:], retired=retired)
    assert by_id(rows)[90].model_key == "claude-3-7-sonnet"


def test_a_model_moves_though_a_mark_between_its_words_is_left_out() -> None:
    rows, _ = sync([], (35, "Gemini 2.5 Flash-Lite"), GPT)
    rows, plan = sync(rows, (135, "Gemini 2.5 FlashLite"), GPT)
    assert by_id(rows)[135].model_key == "gemini-2-5-flash-lite"
    assert kinds(plan) == ["moved", "moved"]


def test_names_that_change_places_take_overrides_and_the_default_along(four: list[ModelRow]) -> None:
    rows = edited(edited(four, 40, is_default=True), 28, is_active=False)
    rows, plan = sync(rows, (28, "GPT-4o"), HAIKU, (40, "Claude 3.7 Sonnet"), GEMINI)
    assert (by_id(rows)[28].is_default, by_id(rows)[28].overrides) == (True, {"is_default": True})
    assert (by_id(rows)[40].is_active, by_id(rows)[40].model_key) == (False, "claude-3-7-sonnet")
    assert plan.promoted is None


def test_a_row_left_under_an_operators_name_is_known_by_upstreams_name_again(four: list[ModelRow]) -> None:
    rows = edited(four, 28, model_name="Our Sonnet")
    rows, _ = sync(rows, (71, "Claude 3.7 Sonnet"), *FOUR[1:])
    assert (by_id(rows)[28].model_name, by_id(rows)[71].model_name) == ("Claude 3.7 Sonnet", "Our Sonnet")
    rows, _ = sync(rows, *FOUR)
    assert (by_id(rows)[28].model_name, by_id(rows)[28].model_key) == ("Our Sonnet", "claude-3-7-sonnet")


def test_a_list_that_gives_every_model_a_new_id_takes_nothing_away(four: list[ModelRow]) -> None:
    rows, plan = sync(four, *((id_ + 100, name) for id_, name in FOUR))
    assert not plan.guard.holds(POLICY.max_shrink)
    _, plan = sync(rows, *((id_ + 100, name) for id_, name in FOUR[:2]))
    assert (plan.guard.absent, plan.guard.active) == (2, 4)  # rows that were left behind do not count


def test_a_row_that_was_left_is_not_left_again(four: list[ModelRow]) -> None:
    rows, _ = sync(four, (71, "Claude 3.7 Sonnet"), HAIKU, GPT, GEMINI)
    rows, plan = sync(rows, (71, "Claude 3.7 Sonnet"), (72, "Claude 3.7 Sonnet"), HAIKU, GPT, GEMINI)
    assert by_id(rows)[72].model_key == "claude-3-7-sonnet-72"
    assert kinds(plan, 72) == ["added"]


def test_two_ids_that_swap_their_names_swap_their_keys(four: list[ModelRow]) -> None:
    rows, plan = sync(four, (28, "GPT-4o"), HAIKU, (40, "Claude 3.7 Sonnet"), GEMINI)
    assert (by_id(rows)[28].model_key, by_id(rows)[40].model_key) == ("gpt-4o", "claude-3-7-sonnet")
    assert plan.guard.repointed == 2
    assert [row.model_key for row in rows if row.is_default] == ["claude-3-7-sonnet"]


def test_a_list_that_rotates_all_ids_is_held_and_keeps_names_with_keys(four: list[ModelRow]) -> None:
    ids, names = zip(*FOUR, strict=True)
    rows, plan = sync(four, *zip(ids, (*names[1:], names[0]), strict=True))
    assert plan.guard.holds(0.5)
    assert {row.model_key: row.model_name for row in rows} == {row.model_key: row.model_name for row in four}


def test_an_id_that_is_used_again_after_retirement_is_repointed(four: list[ModelRow]) -> None:
    rows = four
    for night in nights(3):
        rows, plan = sync(rows, SONNET, GPT, GEMINI, now=night)
    assert not by_id(rows)[25].is_active
    rows, plan = sync(rows, SONNET, (25, "Mistral Large 3"), GPT, GEMINI, now=nights(5)[-1])
    assert kinds(plan) == ["repointed"]
    assert by_id(rows)[25].is_active
    assert by_id(rows)[25].model_key == "mistral-large-3"
    assert plan.guard.repointed == 0  # nothing that was offered changed its meaning


def test_names_of_one_slug_get_their_id_as_suffix_in_their_order() -> None:
    rows, _ = sync([], (1, "Command R+"), (2, "Command R Plus"), (3, "command r plus!"))
    assert [row.model_key for row in rows] == ["command-r-plus", "command-r-plus-2", "command-r-plus-3"]


def test_a_name_without_letters_still_gets_a_key() -> None:
    rows, _ = sync([], (7, "𒀀"))
    assert rows[0].model_key == "model-7"


def test_ten_thousand_entries_of_one_slug_all_get_their_own_key() -> None:
    rows, _ = sync([], *((id_, "Same Name") for id_ in range(1, 10_001)))
    assert len({row.model_key for row in rows}) == 10_000


def test_a_model_is_deactivated_after_the_grace_and_comes_back_by_itself(four: list[ModelRow]) -> None:
    first, second, third = nights(3)
    rows, plan = sync(four, SONNET, HAIKU, GEMINI, now=first)
    assert by_id(rows)[40].is_active
    assert plan.pending
    rows, _ = sync(rows, SONNET, HAIKU, GEMINI, now=second)
    assert not by_id(rows)[40].is_active
    rows, plan = sync(rows, *FOUR, now=third)
    assert kinds(plan) == ["reactivated"]
    assert (by_id(rows)[40].is_active, by_id(rows)[40].missed_syncs) == (True, 0)


def test_a_model_that_upstream_refused_needs_no_grace_when_it_is_absent(four: list[ModelRow]) -> None:
    plan = plan_sync(four, parsed(HAIKU, GPT, GEMINI), describe, POLICY, NIGHT, refused=(28, 25))
    rows = by_id(after(four, plan))
    assert (rows[28].is_active, rows[25].is_active) == (False, True)  # what is listed is offered, refused or not
    assert plan.promoted == ("claude-3-7-sonnet", "claude-3-5-haiku")
    assert plan.guard.absent == 1
    again = plan_sync(after(four, plan), parsed(HAIKU, GPT, GEMINI), describe, POLICY, NIGHT, refused=(28, 25))
    assert not again.changes


def test_an_operators_wish_to_show_a_model_is_no_reprieve_when_upstream_drops_it(four: list[ModelRow]) -> None:
    rows = edited(four, 40, is_active=True)
    without = parsed(SONNET, HAIKU, GEMINI)
    refused = plan_sync(rows, without, describe, POLICY, NIGHT, refused=(40,))
    forced = plan_sync(rows, without, describe, POLICY, NIGHT, at_once=True)
    assert not by_id(after(rows, refused))[40].is_active
    assert not by_id(after(rows, forced))[40].is_active
    for night in nights(2):
        rows, plan = sync(rows, SONNET, HAIKU, GEMINI, now=night)
    assert kinds(plan, 40) == ["deactivated"]
    assert not by_id(edited(rows, 40, is_active=True))[40].is_active


def test_a_dead_model_that_code_of_before_kept_active_goes_with_the_next_list(four: list[ModelRow]) -> None:
    kept = {"overrides": {"is_active": True}, "missed_syncs": 7, "last_missed_at": NIGHT}
    rows = [replace(row, **kept) if row.matcha_llm_id == 40 else row for row in four]
    assert not by_id(edited(rows, 40, is_active=True))[40].is_active
    rows, plan = sync(rows, SONNET, HAIKU, GEMINI, now=NIGHT + timedelta(minutes=1))
    assert (kinds(plan, 40), plan.guard.absent, plan.guard.active) == (["deactivated"], 1, 4)


def test_two_clicks_do_not_use_up_the_grace(four: list[ModelRow]) -> None:
    rows = four
    for minute in range(5):
        rows, _ = sync(rows, SONNET, HAIKU, GEMINI, now=NIGHT + timedelta(minutes=minute))
    assert by_id(rows)[40].is_active
    assert by_id(rows)[40].missed_syncs == 1


def test_a_bad_entry_whose_id_is_known_does_not_count_as_absent(four: list[ModelRow]) -> None:
    raw = [{"id": id_, "name": name} for id_, name in FOUR[:3]] + [{"id": 35, "name": "x" * 300}, "garbage"]
    plan = plan_sync(four, parse_entries(raw), describe, POLICY, NIGHT)
    assert plan.guard.absent == 0
    assert plan.counts["failed"] == 2
    assert plan.counts["unchanged"] == 3


@pytest.mark.parametrize(
    ("listed", "held"),
    [((), True), (FOUR[:1], True), (FOUR[:2], False), (((28, "A"), (25, "B"), (40, "C"), GEMINI), True)],
)
def test_the_guard_holds_empty_shrunken_and_repointed_lists(four: list[ModelRow], listed: tuple, held: bool) -> None:
    _, plan = sync(four, *listed)
    assert plan.guard.holds(POLICY.max_shrink) is held


def test_an_operators_name_stays_and_upstreams_change_below_it_is_shown(four: list[ModelRow]) -> None:
    renamed = [
        replace(
            row,
            model_name="Our Sonnet",
            overrides={"model_name": "Our Sonnet"},
            provenance={"model_name": {"source": "override", "below": {"source": "upstream", "value": row.model_name}}},
        )
        if row.matcha_llm_id == 28
        else row
        for row in four
    ]
    rows, plan = sync(renamed, (28, "Claude Sonnet 3.7"), HAIKU, GPT, GEMINI)
    row = by_id(rows)[28]
    assert (row.model_name, row.model_key) == ("Our Sonnet", "claude-3-7-sonnet")
    assert row.provenance["model_name"]["below"]["value"] == "Claude Sonnet 3.7"
    assert kinds(plan) == ["renamed"]
    assert sync(rows, (28, "Claude Sonnet 3.7"), HAIKU, GPT, GEMINI)[1].changes == ()


def test_an_operator_may_hide_a_listed_model(four: list[ModelRow]) -> None:
    rows = edited(four, 40, is_active=False)
    for night in nights(4):
        rows, _ = sync(rows, *FOUR, now=night)
    assert not by_id(rows)[40].is_active


def test_the_row_that_a_model_left_is_inactive_and_cannot_be_shown(four: list[ModelRow]) -> None:
    rows, plan = sync(four, (71, "Claude 3.7 Sonnet"), *FOUR[1:])
    assert not by_id(rows)[28].is_active
    assert (plan.counts["deactivated"], plan.guard.absent, plan.pending) == (0, 0, False)
    for wish in (None, True):
        assert not by_id(edited(rows, 28, is_active=wish))[28].is_active


def test_a_row_that_code_of_before_left_active_goes_with_the_next_list(four: list[ModelRow]) -> None:
    rows, _ = sync(four, (71, "Claude 3.7 Sonnet"), *FOUR[1:])
    rows = [replace(row, is_active=True) if row.matcha_llm_id == 28 else row for row in rows]
    rows, plan = sync(rows, (71, "Claude 3.7 Sonnet"), *FOUR[1:])
    assert (by_id(rows)[28].is_active, kinds(plan, 28), plan.counts["deactivated"]) == (False, ["moved"], 0)


def test_a_model_that_an_operator_hid_is_not_shown_by_a_second_row(four: list[ModelRow]) -> None:
    rows = edited(four, 40, is_active=False)
    rows, _ = sync(rows, SONNET, HAIKU, GEMINI, (41, "GPT-4o"))
    for ids in ((40, 41), (41, 42), (40, 41, 42), (35, 40), (41,)):  # 35 changes its name to it
        others = [entry for entry in FOUR if entry[0] not in (40, *ids)]
        rows, _ = sync(rows, *others, *((id_, "gpt 4o") for id_ in ids))
        assert [row.matcha_llm_id for row in rows if row.is_active and "4o" in row.model_name] == []


def test_a_second_row_of_a_name_stays_when_an_operator_hides_the_other(four: list[ModelRow]) -> None:
    rows, _ = sync(four, *FOUR, (41, "GPT-4o"))
    rows = edited(rows, 41, is_active=False)
    rows, _ = sync(rows, *FOUR, (41, "GPT-4o"), (42, "GPT-4o"))
    assert [row.matcha_llm_id for row in rows if row.is_active and row.model_name == "GPT-4o"] == [40, 42]


def retired_after(retired: dict[str, str], rows: list[ModelRow], plan: Plan) -> dict[str, str]:
    """As `store.retired_keys` reads it out of the ledger."""
    held = {row.model_key for row in rows}
    lines = [change.before for change in plan.changes if change.before and "upstream_name" in change.before]
    names_by_key = retired | {before["model_key"]: before["upstream_name"] for before in lines}
    return {key: name for key, name in names_by_key.items() if key not in held}


def edited(rows: list[ModelRow], id_: int, **edit: object) -> list[ModelRow]:
    written = edit_model(rows, id_, ModelEdit.model_validate(edit), policy=POLICY).written
    return list((by_id(rows) | dict(written)).values())


def test_an_operators_default_is_the_default_again_when_it_comes_back(four: list[ModelRow]) -> None:
    rows = edited(four, 40, is_default=True)
    first, second, third = nights(3)
    for night in (first, second):
        rows, plan = sync(rows, SONNET, HAIKU, GEMINI, now=night)
    assert plan.promoted == ("gpt-4o", "claude-3-7-sonnet")
    rows, plan = sync(rows, *FOUR, now=third)
    assert [row.model_key for row in rows if row.is_default] == ["gpt-4o"]


def test_a_key_that_is_not_its_names_slug_follows_the_name_between_ids(four: list[ModelRow]) -> None:
    rows = edited(four, 40, model_key="ours")
    rows, _ = sync(rows, (28, "GPT-4o"), HAIKU, (40, "Claude 3.7 Sonnet"), GEMINI)
    assert by_id(rows)[28].model_key == "ours"


def test_a_model_that_came_back_has_its_whole_grace_again(four: list[ModelRow]) -> None:
    rows, _ = sync(four, SONNET, HAIKU, GEMINI, now=NIGHT)
    rows, _ = sync(rows, *FOUR, now=NIGHT + timedelta(minutes=1))
    rows, _ = sync(rows, SONNET, HAIKU, GEMINI, now=NIGHT + timedelta(minutes=2))
    assert by_id(rows)[40].missed_syncs == 1


def test_a_pinned_key_that_is_dropped_after_nights_gives_the_key_below_it_back(four: list[ModelRow]) -> None:
    rows = edited(four, 40, model_key="ours")
    rows, _ = sync(rows, *FOUR)
    rows, _ = sync(rows, SONNET, HAIKU, (41, "GPT-4o"), GEMINI)
    assert by_id(rows)[41].model_key == "ours"
    assert by_id(edited(rows, 41, model_key=None))[41].model_key == "gpt-4o"


NAMES = st.sampled_from(
    [
        "Claude 3.7 Sonnet",
        "claude sonnet 3.7",
        "GPT-4o",
        "gpt 4o",
        "Gemini 2.5 Pro",
        "Command R+",
        "Command R plus",
        "文心",
        "!!",
        "A",
        "a 2",
        "A-2",
    ]
)
LISTS = st.lists(st.tuples(st.integers(1, 8), NAMES), max_size=8)
GARBAGE = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.fixed_dictionaries({"id": st.one_of(st.booleans(), st.integers())}),
    st.fixed_dictionaries({"id": st.integers(-2, 10), "name": st.one_of(st.none(), st.text(max_size=4), NAMES)}),
)


@given(first=st.lists(GARBAGE, max_size=12), later=st.lists(LISTS, max_size=6), hours=st.integers(0, 30))
@settings(deadline=None, max_examples=examples(150))
def test_any_lists_leave_one_active_default_unique_keys_and_a_ledger_that_replays(
    first: list, later: list, hours: int
) -> None:
    rows: list[ModelRow] = []
    changes = []
    lists = [parse_entries(first), *(parsed(*listed) for listed in later)]
    for turn, entries in enumerate(lists):
        now = NIGHT + timedelta(hours=hours * turn)
        plan = plan_sync(rows, entries, describe, Policy("gpt-4o"), now)
        before, rows = by_id(rows), after(rows, plan)
        changes.extend(plan.changes)

        assert len({row.model_key for row in rows}) == len(rows)
        active = [row for row in rows if row.is_active]
        assert sum(row.is_default for row in rows) == (1 if active else 0)
        assert all(row.is_active for row in rows if row.is_default)
        assert replay(changes) == ledgered(rows)

        again = plan_sync(rows, entries, describe, Policy("gpt-4o"), now)
        assert not again.written
        assert not again.changes

        for row in rows:
            old = before.get(row.matcha_llm_id)
            if old is not None and not same_words(old.upstream_name, row.upstream_name):
                assert "repointed" in kinds(plan, row.matcha_llm_id)
        meant = {row.model_key: row for row in before.values()}
        for row in rows:
            then = meant.get(row.model_key)
            if then is not None and not same_words(then.upstream_name, row.upstream_name):
                pytest.fail(f"{row.model_key} meant {then.upstream_name!r} and now means {row.upstream_name!r}")


def test_a_forced_list_needs_no_grace() -> None:
    rows, _ = sync([], (1, "Claude 3.7 Sonnet"), (2, "GPT-4o"), (3, "Gemini 2.5 Pro"))
    plan = plan_sync(rows, parsed((2, "GPT-4o")), describe, POLICY, NIGHT, at_once=True)
    assert [row.is_active for row in after(rows, plan)] == [False, True, False]
    assert plan.promoted == ("claude-3-7-sonnet", "gpt-4o")
    again = plan_sync(after(rows, plan), parsed((2, "GPT-4o")), describe, POLICY, NIGHT)
    assert (again.written, again.guard.absent) == ({}, 0)


def test_rows_that_upstream_never_promised_go_at_once_and_hold_no_list() -> None:
    rows, _ = sync([], (1, "Claude 3.7 Sonnet"), (2, "GPT-4o"), (3, "Gemini 2.5 Pro"), (4, "Kimi K2"))
    plan = plan_sync(rows, parsed((9, "Mistral Large 3")), describe, POLICY, NIGHT, unpromised={1, 2, 3, 4})
    assert not plan.guard.holds(POLICY.max_shrink)
    assert [row.is_active for row in after(rows, plan)] == [False, False, False, False, True]
    guarded = plan_sync(rows, parsed((9, "Mistral Large 3")), describe, POLICY, NIGHT, unpromised={1, 2})
    assert guarded.guard.holds(POLICY.max_shrink)
    assert (guarded.guard.absent, guarded.guard.active) == (2, 2)
    report = hold_report(rows, guarded, "")
    assert (report["absent"], report["active"], len(report["models"])) == (4, 4, 4)  # all that would go


def test_an_empty_list_is_held_also_where_nothing_was_promised() -> None:
    rows, _ = sync([], (1, "Claude 3.7 Sonnet"))
    assert plan_sync(rows, parsed(), describe, POLICY, NIGHT, unpromised={1}).guard.holds(POLICY.max_shrink)
